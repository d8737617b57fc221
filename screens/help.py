"""The keys of a screen, from its own bindings; what the screen answers; what the signs mean."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import ActiveBinding
from textual.screen import Screen

from screens.base import Sheet
from screens.phrase import Phrase, Tone
from screens.widgets.lines import Lines
from screens.widgets.nav import PAGES

ANSWERS: dict[str, str] = {
    "ledger": (
        "Is everything proven, how fresh is the proof, and what runs now? One line per connection on top: how old its "
        "newest proven snapshot is, against its target, and how long a restore takes. Below it every snapshot with its "
        "verdict, newest first."
    ),
    "connections": (
        "The databases that are protected. A connection string is tested before it is saved; what stands in the way "
        "of a complete snapshot is said in plain words, with the SQL that mends it."
    ),
    "snapshots": (
        "One snapshot: what was captured, what was not and why, where it lies, its hashes, and how to get it back, "
        "whole or one table of it."
    ),
    "reports": "The signed receipts of all drills, by month: to read, to export, and to verify.",
    "walk": "The first run: a master key, its recovery code, a destination, a connection, the first checkpoint.",
}
"""For screens that do not say it themselves (HELP)."""
EVERYWHERE: tuple[tuple[str, str], ...] = (
    ("1 to 6", "the pages"),
    ("c", "checkpoint: a snapshot and its drill, now; asks for a tag"),
    ("d", "drill: restore the snapshot again and compare"),
    ("enter", "open what the cursor is on"),
    ("esc", "close what is open, leave a question, go back"),
    ("/", "show only lines that hold a word"),
    ("y", "copy what the cursor is on, or the error that is shown"),
    ("w", "start a worker for this session"),
    ("r", "look again now"),
    ("ctrl+p", "do things by name"),
    ("?", "this help"),
    ("q", "leave; what runs goes on in the worker"),
)
SIGNS: tuple[tuple[str, Tone, str], ...] = (
    ("⛭ PROVEN", Tone.GOOD, "restored from the destination, every row count equal"),
    ("⛭ PROVEN WITH SKIPS", Tone.GOOD, "the same; some objects could not be tried in a drill"),
    ("✗ FAILED", Tone.BAD, "it did not restore to what was captured"),
    ("? COULD NOT VERIFY", Tone.WARN, "the drill could not run: says nothing about the snapshot"),
    ("○ unproven", Tone.WARN, "nobody has drilled it yet"),
    ("! OVERDUE", Tone.BAD, "the newest proof is older than its target"),
    ("● running", Tone.BUSY, "a job is at it"),
)
COPYING: tuple[str, ...] = (
    "y sends text to your own terminal's clipboard (OSC 52), also over SSH.",
    "In tmux it needs: set -g set-clipboard on",
    "To select with the mouse hold shift, or option on a Mac.",
)
_KEY = 14
_NOTHING = ("elsewhere('c')", "elsewhere('d')")
"""Keys that mean nothing here."""
_SIGN = 22


class HelpSheet(Sheet[None]):
    """What the keys do. Scrolls."""

    TITLE_TEXT = "Help"
    AUTO_FOCUS = "#help"
    MOVES: ClassVar[str] = "move the cursor, as page up and down, home, end and j k g G do"

    def __init__(self, about: Screen[object]) -> None:
        super().__init__()
        self._told = help_lines(about, self.MOVES)
        """Taken now: below a sheet a screen has no active keys."""

    def body(self) -> ComposeResult:
        yield Lines(*self._told, id="help")

    def copyable(self) -> tuple[str, str] | None:
        return "this help", self.query_one("#help", Lines).text


def help_lines(about: Screen[object], moves: str) -> tuple[Phrase, ...]:
    """Everything that the sheet says about the screen ``about``."""
    mode = str(getattr(about, "MODE", ""))
    answer = str(getattr(about, "HELP", "") or ANSWERS.get(mode, ""))
    title = dict(PAGES).get(mode, str(getattr(about, "TITLE_TEXT", "")) or "This screen")
    lines = [_head(title)]
    if answer:
        lines += [Phrase(f" {answer}"), Phrase()]
    lines += [
        _head("Keys of this screen"),
        *_own_keys(about),
        _key("arrows", moves),
        _key("tab", "to the next list"),
        Phrase(),
    ]
    lines += [_head("Keys that mean the same everywhere"), *(_key(*pair) for pair in EVERYWHERE), Phrase()]
    lines += [_head("Signs"), *(_sign(*sign) for sign in SIGNS), Phrase()]
    lines += [_head("Copying"), *(Phrase(f" {text}") for text in COPYING)]
    return tuple(lines)


def _own_keys(about: Screen[object]) -> list[Phrase]:
    """The active keys of the screen and of what has its focus that are not the same everywhere."""
    common = {key for key, _ in EVERYWHERE}
    lines: list[Phrase] = []
    shown: set[str] = set()
    for active in about.active_bindings.values():
        binding = active.binding
        if not active.tooltip or binding.action in shown or active.node is about.app or binding.action in _NOTHING:
            continue
        key = about.app.get_key_display(binding)
        if key in common and not _means_something_else(active):
            continue
        shown.add(binding.action)
        lines.append(_key(_spelt(key), active.tooltip))
    return lines or [Phrase(" none of its own", Tone.DIM)]


def _means_something_else(active: ActiveBinding) -> bool:
    """A key of the whole console that this screen uses in a way of its own."""
    return active.binding.action not in ("back", "refresh", "start_worker", "app.checkpoint", "app.drill", "filter")


def _spelt(key: str) -> str:
    return {"⏎": "enter", "⇥": "tab", "←": "left", "→": "right"}.get(key, key)


def _key(key: str, what: str) -> Phrase:
    return Phrase(" ") + Phrase(key, Tone.STRONG).fit(_KEY) + Phrase(what)


def _sign(sign: str, tone: Tone, what: str) -> Phrase:
    return Phrase(" ") + Phrase(sign, tone).fit(_SIGN) + Phrase(what)


def _head(text: str) -> Phrase:
    return Phrase(f" {text}", Tone.STRONG)
