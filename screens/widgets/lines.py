"""Several lines to read: wrapped, scrolled by key and wheel, repainted line by line where their words changed."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from screens.phrase import Phrase
from screens.widgets.tones import TONE_CLASSES, segments

_HANG = 2
_BAR = 1
"""The last column is the scroll bar's, whether there is one or not: its coming breaks no line anew."""


def wrap(line: Phrase, columns: int) -> list[Phrase]:
    """``line`` in as many lines as it needs, broken at blanks; what follows hangs two columns in."""
    if line.cells <= columns or columns < 2 * _HANG:
        return [line]
    text = line.text
    indent = min(len(text) - len(text.lstrip(" ")) + _HANG, columns // 2)
    out: list[Phrase] = []
    now, used, has_word = Phrase(), 0, False
    for word in _words(line):
        for part in _parts(word, columns - indent):
            size = cell_len(part.text.rstrip(" "))
            if has_word and used + size > columns:
                out.append(_without_end(now))
                now, used = Phrase(" " * indent), indent
            now, used = now + part, used + part.cells
            has_word = has_word or bool(size)
    return [*out, now]


def _without_end(line: Phrase) -> Phrase:
    """``line`` without the blanks at its end: they need no room."""
    out, left = Phrase(), len(line.text.rstrip(" "))
    for text, tone in line.pieces:
        out = out + Phrase(text[:left], tone)
        left = max(0, left - len(text))
    return out


def _words(line: Phrase) -> list[Phrase]:
    """``line`` cut behind its blanks, and nowhere else: a word may be of several pieces."""
    found: list[Phrase] = []
    for text, tone in line.pieces:
        start = 0
        for n in range(1, len(text) + 1):
            if n == len(text) or (text[n - 1] == " " and text[n] != " "):
                piece = Phrase(text[start:n], tone)
                if found and not found[-1].text.endswith(" "):
                    found[-1] = found[-1] + piece
                else:
                    found.append(piece)
                start = n
    return found


def _parts(word: Phrase, columns: int) -> list[Phrase]:
    """A word that is longer than a line, cut."""
    if cell_len(word.text.rstrip(" ")) <= columns:
        return [word]
    return [
        Phrase(text[n : n + step], tone)
        for text, tone in word.pieces
        for step in [max(1, columns if text.isascii() else columns // 2)]
        for n in range(0, len(text), step)
    ]


class Lines(ScrollView, can_focus=True, inherit_bindings=False):
    """Shows phrases, one a line or wrapped over several. Costs nothing when it is told what it shows already."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*TONE_CLASSES}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_up", "Up", show=False, id="lines.up"),
        Binding("down,j", "scroll_down", "Down", show=False, id="lines.down"),
        Binding("pageup", "page_up", "Page up", show=False, id="lines.page-up"),
        Binding("pagedown,space", "page_down", "Page down", show=False, id="lines.page-down"),
        Binding("home,g", "scroll_home", "First", show=False, id="lines.first"),
        Binding("end,G", "scroll_end", "Last", show=False, id="lines.last"),
    ]

    def __init__(self, *lines: Phrase, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._phrases = lines
        self._broken: list[Phrase] = []
        self._broken_at = -1

    @property
    def phrases(self) -> tuple[Phrase, ...]:
        return self._phrases

    @property
    def text(self) -> str:
        """What is shown, unwrapped and without tones: for copying and tests."""
        return "\n".join(line.text.rstrip() for line in self._phrases)

    def show(self, *lines: Phrase, end: bool = False) -> None:
        """Show ``lines`` instead; with ``end`` the last of them stays in view if it was."""
        if lines == self._phrases:
            return
        at_end = self.scroll_offset.y >= self.max_scroll_y
        before = self._wrapped()
        self._phrases, self._broken_at = lines, -1
        after = self._wrapped()
        if len(before) != len(after):
            self._measure()
            height = self.styles.height
            self.refresh(layout=height is None or height.is_auto)
            if end and at_end:
                self.call_after_refresh(self.scroll_end, animate=False)
            return
        top = self.scroll_offset.y
        for y in range(self.size.height):
            if top + y < len(after) and before[top + y] != after[top + y]:
                self.refresh(Region(0, y, self.size.width, 1))

    def on_mount(self) -> None:
        self._measure()

    def on_resize(self, event: events.Resize) -> None:
        del event
        self._measure()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Textual's question to a widget of automatic height."""
        del container, viewport
        return sum(len(wrap(line, width - _BAR)) for line in self._phrases)

    def render_line(self, y: int) -> Strip:
        """Textual's line API: one line of the widget."""
        lines, n, width = self._wrapped(), y + self.scroll_offset.y, self.size.width
        if n >= len(lines):
            return Strip.blank(width, self.rich_style)
        return Strip(segments(self, lines[n].fit(width)), width)

    def _wrapped(self) -> list[Phrase]:
        width = self.size.width - _BAR
        if width != self._broken_at:
            self._broken = [part for line in self._phrases for part in wrap(line, width)]
            self._broken_at = width
        return self._broken

    def _measure(self) -> None:
        self.virtual_size = Size(0, len(self._wrapped()))
