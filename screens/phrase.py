"""Text for the screens that cannot do harm: pieces with a tone, cleaned as they are made. Pure: no Textual.

Names of tables, roles and errors come from other people's databases. A widget of this program takes a :class:`Phrase`
and nothing else, and a phrase cannot hold a control, bidi or zero-width character, nor be parsed as markup: it is
turned into styled cells piece by piece. The room refuses colours: a piece has a tone, the theme says how it looks.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

LONGEST = 2000
"""Characters of one piece: a name of 64 KiB must not cost a screen more than a line."""

_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_ASCII = str.maketrans(
    {
        "⛭": "*",
        "✓": "+",
        "✗": "x",
        "●": "o",
        "○": ".",
        "–": "-",
        "·": "|",
        "→": ">",
        "…": "~",
        "█": "#",
        "░": ".",
        "›": ">",
        "─": "-",
        "▁": "_",
        "▂": "_",
        "▃": "_",
        "▄": "=",
        "▅": "=",
        "▆": "=",
        "▇": "#",
        "⁞": ":",
    }
)


class Tone(StrEnum):
    """What a piece of text means; the theme decides how that looks. Never the only carrier: there is always a word."""

    PLAIN = "plain"
    DIM = "dim"
    STRONG = "strong"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    BUSY = "busy"
    CODE = "code"


def visible(text: str, *, keep: str = "") -> str:
    """``text`` with control, bidi and zero-width characters made visible; ``keep`` lists those that may stay."""
    if text.isascii() and text.isprintable():
        return text
    out: list[str] = []
    for ch in text:
        if ch in keep or ch == " " or (unicodedata.category(ch) not in _UNSEEN and not _stacks(ch)):
            out.append(ch)
        elif ord(ch) < 0x20:
            out.append(chr(0x2400 + ord(ch)))
        else:
            out.append(f"<{ord(ch):04x}>")
    return "".join(out)


def _stacks(ch: str) -> bool:
    """Enclosing and variation marks, and what a terminal may draw over its neighbours."""
    return 0xFE00 <= ord(ch) <= 0xFE0F or 0xE0100 <= ord(ch) <= 0xE01EF or unicodedata.category(ch) == "Me"


@lru_cache(maxsize=4096)
def _clean(text: str) -> str:
    short = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return visible(short)


@dataclass(frozen=True, slots=True, init=False)
class Phrase:
    """A line of text in pieces, each with its tone. Adding phrases joins them."""

    pieces: tuple[tuple[str, Tone], ...]

    def __init__(self, text: str = "", tone: Tone = Tone.PLAIN) -> None:
        object.__setattr__(self, "pieces", ((_clean(text), tone),) if text else ())

    @classmethod
    def _of(cls, pieces: Iterable[tuple[str, Tone]]) -> Phrase:
        made = cls()
        object.__setattr__(made, "pieces", tuple(p for p in pieces if p[0]))
        return made

    def __add__(self, other: Phrase | str) -> Phrase:
        added = other if isinstance(other, Phrase) else Phrase(other)
        return Phrase._of((*self.pieces, *added.pieces))

    def __bool__(self) -> bool:
        return bool(self.pieces)

    @property
    def text(self) -> str:
        """Without tones."""
        return "".join(text for text, _ in self.pieces)

    @property
    def cells(self) -> int:
        """Columns on a terminal."""
        return sum(cell_len(text) for text, _ in self.pieces)

    def fit(self, columns: int, *, right: bool = False) -> Phrase:
        """Exactly ``columns`` wide: padded, or cut with an ellipsis."""
        if columns <= 0:
            return Phrase()
        missing = columns - self.cells
        if missing >= 0:
            space = ((" " * missing, Tone.PLAIN),)
            return Phrase._of((*space, *self.pieces) if right else (*self.pieces, *space))
        kept: list[tuple[str, Tone]] = []
        room = columns - 1
        tone = Tone.PLAIN
        for text, tone in self.pieces:
            size = cell_len(text)
            if size > room:
                kept.append((set_cell_size(text, room), tone))
                break
            kept.append((text, tone))
            room -= size
        kept.append(("…", tone))
        return Phrase._of(kept)

    def in_ascii(self) -> Phrase:
        """Our own glyphs as ASCII, for terminals without them. Other people's names stay as they are."""
        return Phrase._of((text.translate(_ASCII), tone) for text, tone in self.pieces)


def joined(parts: Iterable[Phrase | str], by: str = " · ") -> Phrase:
    """Non-empty ``parts`` with a dim separator between them."""
    out = Phrase()
    for part in parts:
        phrase = part if isinstance(part, Phrase) else Phrase(part)
        if not phrase:
            continue
        out = out + Phrase(by, Tone.DIM) + phrase if out else phrase
    return out


def next_steps(hint: str, margin: str = "", tone: Tone = Tone.PLAIN) -> tuple[Phrase, ...]:
    """A hint, its first line behind an arrow and those below it under the first: SQL stands as it is pasted."""
    lines = [line for line in paragraphs(hint, tone) if line]
    return tuple(Phrase(margin + ("  " if n else "→ "), Tone.DIM) + line for n, line in enumerate(lines))


def paragraphs(text: str, tone: Tone = Tone.PLAIN) -> tuple[Phrase, ...]:
    """Text of several lines (SQL, a policy, a receipt) as one phrase a line."""
    return tuple(Phrase(line, tone) for line in text.expandtabs(4).split("\n"))
