"""What somebody may ask of the program through sshd's ``ForceCommand offsitedb``: `ssh host ledger --json`.

What they typed reaches no shell: it is split into words, and these must begin with a verb of the list. What reads or
writes files of the host, starts programs or holds a key in its hands is not on it.
"""

from __future__ import annotations

import os
import shlex
from contextlib import suppress

import typer

from engine.errors import AccessDenied
from offsitedb_tui.output import Talk

VARIABLE = "SSH_ORIGINAL_COMMAND"
_ALL: tuple[str, ...] = ()
ALLOWED: dict[str, tuple[str, ...]] = {
    "alerts": ("list", "test", "remove", "incidents", "acknowledge", "drift", "deliveries", "check"),
    "apikey": ("list", "revoke"),
    "catalog": ("show",),
    "check": ("add", "list", "remove"),
    "checkpoint": _ALL,
    "connection": _ALL,
    "destination": ("list", "test", "policy", "add", "edit", "remove"),
    "doctor": _ALL,
    "drill": _ALL,
    "drills": _ALL,
    "jobs": _ALL,
    "key": ("status",),
    "ledger": _ALL,
    "operator": ("add", "list", "reset", "disable", "enable", "role", "password"),
    "posture": _ALL,
    "receipt": _ALL,
    "reconcile": _ALL,
    "report": ("build", "list", "show", "stamp"),
    "restore": _ALL,
    "restores": _ALL,
    "recovery": ("show", "kit"),
    "retention": _ALL,
    "schedule": _ALL,
    "scratch": _ALL,
    "verify": _ALL,
    "workers": _ALL,
    "snapshot": ("show", "verify", "drift", "download", "pin", "unpin"),
}
"""First words, and what may follow them; an empty list: anything."""
FILES = ("--ca-file", "--folder", "--home", "--output", "-o")
"""Options that name a file of the host. ``-o -`` is a pipe."""


def arguments() -> list[str]:
    """The words that sshd handed over instead of a command line; none: the console. Leaves with 80 when refused."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return []
    try:
        return permitted(text)
    except AccessDenied as e:
        with suppress(typer.Exit):
            Talk(as_json="--json" in text.split()).fail(e)
        raise SystemExit(e.exit_status) from None


def permitted(text: str) -> list[str]:
    """The words of ``text``. Raises AccessDenied ``access.not-here``."""
    try:
        words = shlex.split(text)
    except ValueError as e:
        raise AccessDenied("access.not-here", "this cannot be read as a command: a quote is not closed") from e
    if words[:1] == ["offsitedb"]:
        words = words[1:]
    if not words or words == ["--help"]:
        return words
    first, second = words[0], words[1] if len(words) > 1 else ""
    if first not in ALLOWED or (ALLOWED[first] and second not in (*ALLOWED[first], "--help")):
        raise AccessDenied("access.not-here", f"{' '.join(words[:2])[:80]!r} is not for people who come over SSH")
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if _names_file(word, after):
            raise AccessDenied("access.not-here", f"{word.split('=')[0][:80]!r} names a file of the host")
    return words


def _names_file(word: str, after: str) -> bool:
    if word == "--":
        return False
    if word.startswith("-") and not word.startswith("--"):
        return "o" in word[1:] and not (word == "-o-" or (word == "-o" and after == "-"))
    option, given, value = word.partition("=")
    return option in FILES and (value if given else after) != "-"
