"""What goes to the terminal, less what the terminal shows already.

Textual paints a screen that is new, or shown again, two to four times over, and each time whole. Here every cell that
is written is compared with what was last written there, and only runs of cells that differ go out. The room knows
nothing of widgets: it sees text with styles and cursor positions in it, and lets through what it does not understand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any, TypeAlias

from rich.cells import cell_len
from textual.drivers.linux_driver import LinuxDriver

Cell: TypeAlias = tuple[str, str]
"""A character (with what combines with it; empty behind a wide one) and the escape sequences of its style."""

_MOVE = re.compile(r"\x1b\[(\d+);(\d+)H")
_STYLE = re.compile(r"(\x1b\[[0-9;:]*m)")
_PLAIN = ("\x1b[0m", "\x1b[m")
_FORGET = re.compile(r"\x1b\[[0-3]?J|\x1b\[\?1049[hl]|\x1bc")
"""Clearing, or another screen: what was shown is shown no more."""
_SPACE: Cell = (" ", "")
_GAP = 8
"""So many equal cells between two differing runs cost less than the move over them."""


class Wire:
    """Remembers what stands where."""

    def __init__(self) -> None:
        self._lines: dict[int, dict[int, Cell]] = {}
        self._cursor = ""

    def forget(self) -> None:
        """Nobody knows what the terminal shows: everything goes out again."""
        self._lines.clear()
        self._cursor = ""

    def needed(self, data: str) -> str:
        """The part of ``data`` that changes what the terminal shows."""
        if _FORGET.search(data):
            self.forget()
            return data
        head, *rest = _MOVE.split(data)
        out = [head]
        for y, x, text in zip(rest[0::3], rest[1::3], rest[2::3], strict=True):
            out += self._piece(int(y), int(x), text.rstrip("\r\n"))
        return "".join(out)

    def _piece(self, y: int, x: int, text: str) -> Iterator[str]:
        move = f"\x1b[{y};{x}H"
        if not text:  # where the cursor is left
            if move != self._cursor:
                yield move
            self._cursor = move
            return
        line = self._lines.setdefault(y, {})
        cells = parse(text)
        if cells is None:
            line.clear()
            self._cursor = ""
            yield move + text
            return
        for start, end in differing(line, x, cells):
            self._cursor = ""
            yield f"\x1b[{y};{x + start}H" + "".join(written(cells[start:end]))
        for cut, half in ((x, x - 1), (x + len(cells), x + len(cells))):  # half a wide character is none
            if line.get(cut, _SPACE)[0] == "":
                line.pop(half, None)
        line.update(enumerate(cells, x))


def parse(text: str) -> list[Cell] | None:
    """``text`` cell by cell; None where that cannot be told for sure."""
    cells: list[Cell] = []
    plain: list[str] = []
    style = ""
    for part in _STYLE.split(text):
        if part.startswith("\x1b[") and part.endswith("m") and _STYLE.fullmatch(part):
            style = "" if part in _PLAIN else style + part
            continue
        if any(ch < " " or "\x7f" <= ch < "\xa0" for ch in part):
            return None
        plain.append(part)
        for ch in part:
            width = cell_len(ch)
            if width == 0:
                if not cells:
                    return None
                at = -1 if cells[-1][0] else -2
                cells[at] = (cells[at][0] + ch, cells[at][1])
            else:
                cells += [(ch, style), ("", style)][:width]
    return cells if len(cells) == cell_len("".join(plain)) else None


def differing(line: dict[int, Cell], x: int, cells: list[Cell]) -> Iterator[tuple[int, int]]:
    """Runs of ``cells``, written at column ``x``, that ``line`` does not show; wide characters are never cut."""
    start = end = -1
    for n, cell in enumerate(cells):
        if line.get(x + n) == cell:
            continue
        if start < 0:
            start = n
        elif n - end > _GAP:
            yield _whole(cells, start, end)
            start = n
        end = n + 1
    if start >= 0:
        yield _whole(cells, start, end)


def _whole(cells: list[Cell], start: int, end: int) -> tuple[int, int]:
    while start > 0 and not cells[start][0]:
        start -= 1
    while end < len(cells) and not cells[end][0]:
        end += 1
    return start, end


def written(cells: list[Cell]) -> Iterator[str]:
    """``cells`` as they are sent: one style sequence a run."""
    for style, run in groupby(cells, key=lambda cell: cell[1]):
        text = "".join(ch for ch, _ in run)
        yield f"{style}{text}\x1b[0m" if style else text


class QuietDriver(LinuxDriver):
    """Textual's driver for terminals, behind a :class:`Wire`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.wire = Wire()
        super().__init__(*arguments, **options)

    def write(self, data: str) -> None:
        needed = self.wire.needed(data)
        if needed:
            super().write(needed)
