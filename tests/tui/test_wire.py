"""The terminal shows the same with less sent: held against a small terminal of our own, for any sequence of writes."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from offsitedb_tui.wire import Wire, parse

WIDTH, HEIGHT = 12, 3
STYLES = ("", "\x1b[31m", "\x1b[1;38;2;1;2;3;48;5;9m", "\x1b[7m")
LETTERS = "ab 名é·█e\u0301"


class Screen:
    """A terminal: moves, styles, wide and combining characters, wide ones erased when one half is overwritten."""

    def __init__(self) -> None:
        self.cells = [[(" ", "")] * (WIDTH + 2) for _ in range(HEIGHT)]
        self.x = self.y = 0
        self.style = ""

    def write(self, data: str) -> None:
        for part in re.split(r"(\x1b\[[0-9;]*[Hm])", data):
            if part.endswith("H") and part.startswith("\x1b"):
                y, x = part[2:-1].split(";")
                self.y, self.x = int(y) - 1, int(x) - 1
            elif part.startswith("\x1b"):
                self.style = "" if part == "\x1b[0m" else self.style + part
            else:
                for ch in part:
                    self.put(ch)

    def put(self, ch: str) -> None:
        row, width = self.cells[self.y], cell_len(ch)
        if ch in "\r\n":
            return
        if width == 0:
            back = 1 if row[self.x - 1][0] else 2
            text, style = row[self.x - back]
            row[self.x - back] = (text + ch, style)
            return
        if row[self.x][0] == "" and self.x:
            row[self.x - 1] = (" ", "?")
        after = self.x + width
        if after < len(row) and row[after][0] == "":
            row[after] = (" ", "?")
        row[self.x] = (ch, self.style)
        if width == 2:
            row[self.x + 1] = ("", self.style)
        self.x += width


@st.composite
def paint(draw: st.DrawFn) -> str:
    """One update: some pieces at places, as Textual writes them, the cursor left somewhere."""
    out = []
    for _ in range(draw(st.integers(1, 4))):
        y, x = draw(st.integers(1, HEIGHT)), draw(st.integers(1, WIDTH))
        text, room = "", WIDTH - x + 1
        while room > 0 and draw(st.booleans()):
            run = draw(st.text(LETTERS, min_size=1, max_size=6))
            while cell_len(run) > room or run[:1] == "\u0301":
                run = run[1:] if run[:1] == "\u0301" else run[:-1]
            room -= cell_len(run)
            style = draw(st.sampled_from(STYLES))
            text += f"{style}{run}\x1b[0m" if style and run else run
        out.append(f"\x1b[{y};{x}H{text}\r\n" if text else "")
    return "".join(out) + f"\x1b[{draw(st.integers(1, HEIGHT))};{draw(st.integers(1, WIDTH))}H"


@settings(max_examples=400, deadline=None)
@given(st.lists(paint(), min_size=1, max_size=6))
def test_any_writes_look_the_same(paints: list[str]) -> None:
    plain, quiet, wire = Screen(), Screen(), Wire()
    for data in paints:
        plain.write(data)
        quiet.write(wire.needed(data))
        assert quiet.cells == plain.cells
        assert (quiet.x, quiet.y) == (plain.x, plain.y)


def test_what_is_shown_already_is_not_sent() -> None:
    wire = Wire()
    line = "\x1b[1;1H\x1b[31mred\x1b[0m plain\x1b[1;1H"
    assert wire.needed(line) == line
    assert wire.needed(line) == ""
    assert wire.needed("\x1b[1;1H\x1b[31mred\x1b[0m pLain\x1b[1;1H") == "\x1b[1;6HL\x1b[1;1H"


def test_a_cleared_screen_is_sent_again() -> None:
    wire = Wire()
    line = "\x1b[2;3Hword\x1b[1;1H"
    wire.needed(line)
    assert wire.needed("\x1b[?1049h") == "\x1b[?1049h"
    assert wire.needed(line) == line
    wire.forget()
    assert wire.needed(line) == line


def test_what_is_not_understood_goes_through() -> None:
    wire = Wire()
    for data in ("\x1b[?25l", "\x1b]52;c;aGk=\x07", "\x1b[3;1H\x1b]8;;x\x1b\\link\x1b[1;1H"):
        assert wire.needed(data) == data
    assert parse("\x1b]0;title\x07") is None
    assert parse("\u0301first") is None
