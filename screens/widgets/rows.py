"""A list of rows with a cursor, drawn line by line: ten thousand rows cost what the visible ones cost.

Textual's DataTable measures every cell and repaints the whole table for one changed cell (4 kB on the wire at 80×24).
Here a line is repainted only when its words changed; columns that find no room leave by priority.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size, Spacing
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from screens.phrase import Phrase, Tone
from screens.widgets.tones import TONE_CLASSES, segments

T = TypeVar("T")
WIDE = 100
"""From this width on there are two blank columns between two columns, below it one."""


@dataclass(frozen=True, slots=True)
class Column:
    """``width`` in columns of the terminal; ``grow`` shares out what is left; of too many columns the one with the
    highest ``drop`` leaves first (0 never leaves)."""

    title: str
    width: int
    right: bool = False
    grow: int = 0
    drop: int = 0


def fit_columns(columns: Sequence[Column], room: int, gap: int) -> list[tuple[int, int]]:
    """``(index, width)`` of the columns that find room, in order."""
    kept = list(range(len(columns)))

    def needed() -> int:
        return sum(columns[i].width for i in kept) + gap * (len(kept) - 1)

    while needed() > room:
        leaving = max(kept, key=lambda i: (columns[i].drop, i))
        if not columns[leaving].drop:
            break
        kept.remove(leaving)
    widths = {i: columns[i].width for i in kept}
    spare, shares = room - needed(), sum(columns[i].grow for i in kept)
    if shares:  # negative as well: the columns that grow are the ones that give
        for i in kept:
            widths[i] = max(1, widths[i] + spare * columns[i].grow // shares)
    return [(i, widths[i]) for i in kept]


class Rows(ScrollView, Generic[T], can_focus=True, inherit_bindings=False):
    """Rows of ``T``. ``key`` names a row (the cursor stays on it when the rows change), ``cells`` words it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--head", "rows--cursor", "rows--cursor-blurred", *TONE_CLASSES}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="rows.up"),
        Binding("down,j", "move(1)", "Down", show=False, id="rows.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="rows.page-up"),
        Binding("pagedown,space", "page(1)", "Page down", show=False, id="rows.page-down"),
        Binding("home,g", "go(0)", "First", show=False, id="rows.first"),
        Binding("end,G", "go(-1)", "Last", show=False, id="rows.last"),
        Binding("enter", "choose", "open", id="rows.open", tooltip="Open what the cursor is on"),
    ]

    @dataclass
    class Chosen(Message):
        """Enter, or a click on the row under the cursor."""

        rows: Rows[object]
        item: object

        @property
        def control(self) -> Rows[object]:
            return self.rows

    @dataclass
    class Moved(Message):
        """The cursor stands on another row now."""

        rows: Rows[object]
        item: object

        @property
        def control(self) -> Rows[object]:
            return self.rows

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        key: Callable[[T], str],
        cells: Callable[[T], Sequence[Phrase]],
        head: bool = True,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._columns = tuple(columns)
        self._key = key
        self._cells = cells
        self._head = 1 if head else 0
        self._items: Sequence[T] = ()
        self._cursor = 0
        self._drawn: dict[int, Phrase] = {}
        """What each visible row said when it was last drawn, by its number."""

    @property
    def items(self) -> Sequence[T]:
        return self._items

    @property
    def item(self) -> T | None:
        """The row under the cursor."""
        return self._items[self._cursor] if self._items else None

    @property
    def cursor(self) -> int:
        return self._cursor

    def show(self, items: Sequence[T]) -> None:
        """Show ``items`` instead; the cursor stays on its row if that is still there. Repaints what changed."""
        before, count = self.item, len(self._items)
        self._items = items
        self._cursor = self._find(before)
        if len(items) != count:
            self._drawn.clear()
            self._resize()
            self.refresh()
        else:
            self._repaint_changed()
        after = self.item
        if after is not None and (before is None or self._key(before) != self._key(after)):
            self.post_message(self.Moved(self, after))  # type: ignore[arg-type]  # a message cannot be generic

    def select(self, key: str) -> bool:
        """Put the cursor on the row with this key; False when there is none."""
        for n, item in enumerate(self._items):
            if self._key(item) == key:
                self._go(n)
                return True
        return False

    def on_resize(self, event: events.Resize) -> None:
        del event
        self._drawn.clear()
        self._resize()

    def on_focus(self, event: events.Focus) -> None:
        """As Textual does it, but only the cursor's line looks different now."""
        event.prevent_default()
        self.has_focus = True
        self._refresh_row(self._cursor)
        if self.parent is not None:
            self.parent.post_message(events.DescendantFocus(self))

    def on_blur(self, event: events.Blur) -> None:
        event.prevent_default()
        self.has_focus = False
        self._refresh_row(self._cursor)
        if self.parent is not None:
            self.parent.post_message(events.DescendantBlur(self))

    def on_click(self, event: events.Click) -> None:
        n = event.y - self._head + self.scroll_offset.y
        if event.y >= self._head and 0 <= n < len(self._items):
            if n == self._cursor:
                self.action_choose()
            else:
                self._go(n)

    def action_move(self, by: int) -> None:
        self._go(max(0, min(len(self._items) - 1, self._cursor + by)))

    def action_page(self, by: int) -> None:
        self.action_move(by * max(1, self.size.height - self._head - 1))

    def action_go(self, to: int) -> None:
        self._go(to % len(self._items) if self._items else 0)

    def action_choose(self) -> None:
        if self.item is not None:
            self.post_message(self.Chosen(self, self.item))  # type: ignore[arg-type]  # as above

    def row_text(self, n: int) -> str:
        """What row ``n`` says, for copying and tests."""
        return self._phrase(n).text.rstrip()

    def render_line(self, y: int) -> Strip:
        """Textual's line API: one line of the widget."""
        width = self.size.width
        if y < self._head:
            style = self.get_component_rich_style("rows--head")
            return Strip([Segment(self._head_phrase().fit(width).text, style)], width)
        n = y - self._head + self.scroll_offset.y
        if n >= len(self._items):
            return Strip.blank(width, self.rich_style)
        phrase = self._phrase(n)
        self._drawn[n] = phrase
        under = behind = None
        if n == self._cursor and self.has_focus:
            under = self.get_component_rich_style("rows--cursor")
        elif n == self._cursor:
            behind = self.get_component_rich_style("rows--cursor-blurred")
        return Strip(segments(self, phrase, under, behind), width).simplify()

    def _phrase(self, n: int) -> Phrase:
        cells = self._cells(self._items[n])
        line = Phrase()
        for place, (i, width) in enumerate(self._fitting()):
            cell = cells[i].fit(width, right=self._columns[i].right)
            line = line + Phrase(" " * self._gap()) + cell if place else cell
        return (Phrase(" ") + line).fit(self.size.width)

    def _head_phrase(self) -> Phrase:
        line = Phrase()
        for place, (i, width) in enumerate(self._fitting()):
            column = self._columns[i]
            cell = Phrase(column.title, Tone.DIM).fit(width, right=column.right)
            line = line + Phrase(" " * self._gap()) + cell if place else cell
        return Phrase(" ") + line

    def _gap(self) -> int:
        return 2 if self.size.width >= WIDE else 1

    def _fitting(self) -> list[tuple[int, int]]:
        return fit_columns(self._columns, max(1, self.size.width - 2), self._gap())

    def _find(self, item: T | None) -> int:
        """Where ``item`` is now; its old place, as near as there is one, if it is gone."""
        if item is None or not self._items:
            return 0
        key = self._key(item)
        if self._cursor < len(self._items) and self._key(self._items[self._cursor]) == key:
            return self._cursor
        found = next((n for n, other in enumerate(self._items) if self._key(other) == key), None)
        return min(self._cursor, len(self._items) - 1) if found is None else found

    def _go(self, to: int) -> None:
        if not self._items or to == self._cursor:
            return
        previous, self._cursor = self._cursor, to
        self._refresh_row(previous)
        self._refresh_row(to)
        self.scroll_to_region(
            Region(0, to + self._head, 1, 1), spacing=Spacing(self._head, 0, 0, 0), animate=False, immediate=True
        )
        self.post_message(self.Moved(self, self._items[to]))  # type: ignore[arg-type]  # as above

    def _resize(self) -> None:
        self.virtual_size = Size(0, len(self._items) + self._head)

    def _refresh_row(self, n: int) -> None:
        self.refresh(Region(0, n + self._head - self.scroll_offset.y, self.size.width, 1))

    def _repaint_changed(self) -> None:
        top = self.scroll_offset.y
        for n in range(top, min(len(self._items), top + self.size.height - self._head)):
            if self._drawn.get(n) != self._phrase(n):
                self._refresh_row(n)
        self._drawn = {n: p for n, p in self._drawn.items() if top <= n < top + self.size.height}
