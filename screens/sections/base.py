"""What every section of the settings page has: a name, a title, a place in the page, something to copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, cast

from textual.binding import Binding, BindingType
from textual.containers import Vertical

from engine.model.views import Doctor
from engine.model.watch import Overview
from engine.service import Engine
from screens.base import Face
from screens.widgets.rows import Rows

T = TypeVar("T")


class SectionRows(Rows[T]):
    """A list of a section: Enter opens nothing here unless the section says so."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "show", show=False, id="section.choose", tooltip="Show what the cursor is on"),
    ]


class Section(Vertical):
    """One part of the settings. Its keys count while the focus is in it."""

    PLACE: ClassVar[str] = ""
    """What :meth:`screens.base.Console.go` calls it."""
    TITLE: ClassVar[str] = ""
    FOCUS: ClassVar[str] = "Rows, Lines"

    def __init__(self, examine: Callable[[], None]) -> None:
        """``examine`` asks the doctor, whose answer every section gets."""
        super().__init__(id=f"section-{self.PLACE}", classes="section")
        self.examine = examine

    @property
    def face(self) -> Face[Any]:
        return cast("Face[Any]", self.screen)

    @property
    def engine(self) -> Engine:
        return self.face.engine

    def entered(self) -> None:
        """The section is shown now: read what it shows."""

    def look(self, overview: Overview) -> None:
        """The catalog as it is now, while the section is shown."""
        del overview

    def examined(self, doctor: Doctor) -> None:
        """What the doctor found, whenever somebody asked it."""
        del doctor

    def copyable(self) -> tuple[str, str] | None:
        return None
