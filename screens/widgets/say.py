"""Lines of text that change only when their words do."""

from __future__ import annotations

from textual.widgets import Static

from screens.phrase import Phrase
from screens.widgets.tones import content


class Say(Static):
    """Shows phrases, one a line. Says nothing to the terminal when it is told what it says already."""

    def __init__(self, *lines: Phrase, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._lines = lines

    @property
    def lines(self) -> tuple[Phrase, ...]:
        return self._lines

    @property
    def text(self) -> str:
        """What is shown, without tones."""
        return "\n".join(line.text for line in self._lines)

    def on_mount(self) -> None:
        self.update(content(self, self._lines))

    def show(self, *lines: Phrase) -> None:
        """Show ``lines`` instead. A widget of fixed height is not laid out anew for it."""
        if lines == self._lines:
            return
        self._lines = lines
        if self.is_mounted:
            height = self.styles.height
            self.update(content(self, lines), layout=height is None or height.is_auto)
