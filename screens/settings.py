"""What an installation stands on: destinations, the key, workers, the tools of this machine, and how it looks."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.model.views import Doctor
from engine.model.watch import Overview
from engine.service import doctor as doctors
from screens.base import Page
from screens.phrase import Phrase, Tone
from screens.sections.alerts import AlertsSection
from screens.sections.apikeys import ApiKeysSection
from screens.sections.base import Section
from screens.sections.destinations import DestinationsSection
from screens.sections.host import LookSection, ToolsSection, WorkersSection
from screens.sections.key import KeySection
from screens.sections.operators import OperatorsSection
from screens.sections.posture import PostureSection
from screens.sections.scratch import ScratchSection
from screens.widgets.tabs import Tabs

SECTIONS: tuple[type[Section], ...] = (
    *(DestinationsSection, KeySection, AlertsSection, OperatorsSection, ApiKeysSection),
    *(WorkersSection, ToolsSection, PostureSection, ScratchSection, LookSection),
)


class SettingsPage(Page):
    """Sections to step through with left and right."""

    MODE = "settings"
    HELP = (
        "What the installation stands on. Destinations are tried with a real round trip. The recovery code is the only "
        "way back to your snapshots when this machine is gone. Tools lists what should be mended, with the cure; "
        "Posture states the security of all of it, weaker things first."
    )
    AUTO_FOCUS = "#destinations"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "elsewhere('c')", "checkpoint", show=False, id="settings.checkpoint", tooltip="On other pages"),
        Binding("d", "elsewhere('d')", "drill", show=False, id="settings.drill", tooltip="On other pages"),
        Binding(
            "left_square_bracket,left",
            "section(-1)",
            "section before",
            show=False,
            key_display="[",
            id="settings.before",
            tooltip="The section before this one",
        ),
        Binding(
            "right_square_bracket,right",
            "section(1)",
            "next section",
            show=False,
            key_display="]",
            id="settings.next",
            tooltip="The section after this one",
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._at = 0

    def body(self) -> ComposeResult:
        yield Tabs(*(section.TITLE for section in SECTIONS), id="sections")
        for n, kind in enumerate(SECTIONS):
            section = kind(self.examine)
            section.display = n == 0
            yield section

    @property
    def section(self) -> Section:
        """The one that is shown."""
        return self.query_one(SECTIONS[self._at])

    def on_screen_resume(self) -> None:
        self.section.entered()

    def arrive(self, **where: str) -> None:
        places = [section.PLACE for section in SECTIONS]
        if where.get("section") in places:
            self._go(places.index(where["section"]))

    def look(self, overview: Overview) -> None:
        self.section.look(overview)

    def copyable(self) -> tuple[str, str] | None:
        return self.section.copyable()

    def on_tabs_clicked(self, event: Tabs.Clicked) -> None:
        event.stop()
        self._go(event.n)

    def action_section(self, by: int) -> None:
        self._go((self._at + by) % len(SECTIONS))

    def action_elsewhere(self, key: str) -> None:
        """Checkpoints and drills are of a connection or a snapshot, and there is none here."""
        where = "2 Connections" if key == "c" else "3 Snapshots"
        self.notice(Phrase(f"1 Ledger or {where}, then {key}: here is nothing that it could mean", Tone.DIM))

    def action_refresh(self) -> None:
        super().action_refresh()
        self.section.entered()

    def examine(self) -> None:
        """Ask the doctor in the background: it looks for keyrings and programs, which takes a while."""
        self.call("doctor", lambda _token: doctors.examine(self.engine), self._examined, keep=True)

    def _examined(self, doctor: Doctor) -> None:
        for section in self.query(Section):
            section.examined(doctor)

    def _go(self, to: int) -> None:
        if to == self._at:
            return
        self.section.display = False
        self._at = to
        self.query_one(Tabs).show(to)
        section = self.section
        section.display = True
        section.entered()
        if self.console.overview is not None:
            section.look(self.console.overview)
        self.set_focus(section.query(section.FOCUS).first())


__all__ = ["SECTIONS", "SettingsPage"]
