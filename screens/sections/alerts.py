"""What is wrong, and who is told of it: incidents on top, channels below, and the one under the cursor."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.errors import OffsiteError
from engine.model import ChannelAdded, ChannelView, DeliveryView, Incident
from engine.model.watch import Overview
from engine.service import CancelToken
from screens import present_alerts
from screens.phrase import Phrase, Tone
from screens.sections.base import Section, SectionRows
from screens.widgets.bar import Question, confirm
from screens.widgets.lines import Lines
from screens.widgets.rows import Column, Rows
from screens.widgets.say import Say

INCIDENTS = (
    Column("INCIDENT", 19),
    Column("OF", 12, grow=1),
    Column("SINCE", 11, drop=1),
    Column("WHAT", 20, grow=4),
)
CHANNELS = (
    Column("CHANNEL", 12, grow=1),
    Column("KIND", 9),
    Column("WHERE", 22, grow=2, drop=1),
    Column("STATE", 18, grow=3),
)
_FEW = 4
"""So many rows of each list without scrolling."""


class AlertsSection(Section):
    """Keys count for the list that has the focus; tab goes to the other one."""

    PLACE = "alerts"
    TITLE = "Alerts"
    FOCUS = "#channels"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "new", id="alerts.new", tooltip="Add a channel that is told of incidents"),
        Binding("t", "try", "test", id="alerts.test", tooltip="Send something to the channel now"),
        Binding("x", "remove", "remove", id="alerts.remove", tooltip="Tell the channel nothing any more"),
        Binding("a", "acknowledge", "seen", id="alerts.acknowledge", tooltip="Say that you have seen the incident"),
        Binding("tab", "other", "other list", show=False, id="alerts.other", priority=True),
    ]

    def __init__(self, examine: Callable[[], None]) -> None:
        super().__init__(examine)
        self._incidents: tuple[Incident, ...] | None = None
        self._deliveries: tuple[DeliveryView, ...] = ()

    def compose(self) -> ComposeResult:
        yield SectionRows[Incident](
            INCIDENTS,
            key=lambda i: i.id,
            cells=lambda i: present_alerts.incident_cells(i, self.face.now()),
            id="open-incidents",
        )
        yield Say(Phrase(" ✓ ", Tone.GOOD) + Phrase("no incident is open"), id="no-incident")
        yield SectionRows[ChannelView](
            CHANNELS,
            key=lambda c: c.name,
            cells=lambda c: present_alerts.channel_cells(c, self.face.now()),
            id="channels",
        )
        yield Say(
            Phrase("  Nobody is told of anything.", Tone.STRONG),
            Phrase("  Press n: a webhook, a heartbeat, or a service that Apprise knows.", Tone.DIM),
            id="no-channel",
        )
        yield Lines(id="alert")

    def on_mount(self) -> None:
        for id_ in ("#no-channel", "#open-incidents", "#no-incident"):
            self.query_one(id_).display = False

    def entered(self) -> None:
        self._load()

    def look(self, overview: Overview) -> None:
        """Deliveries come and go without an incident changing: whatever changed, look."""
        del overview
        self._load()

    @property
    def incident(self) -> Incident | None:
        item = self.query_one("#open-incidents", Rows).item
        return item if isinstance(item, Incident) else None

    @property
    def channel(self) -> ChannelView | None:
        item = self.query_one("#channels", Rows).item
        return item if isinstance(item, ChannelView) else None

    @property
    def _on_incidents(self) -> bool:
        return self.query_one("#open-incidents", Rows).has_focus

    def copyable(self) -> tuple[str, str] | None:
        if self._on_incidents and self.incident is not None:
            return "the incident", f"{self.incident.summary}\n{self.incident.hint}"
        return ("what is shown of the URL", self.channel.shown) if self.channel is not None else None

    def _load(self) -> None:
        def read(
            _token: CancelToken,
        ) -> tuple[tuple[Incident, ...], tuple[ChannelView, ...], tuple[DeliveryView, ...]]:
            alerts = self.engine.alerts
            return alerts.incidents(), alerts.channels(), alerts.deliveries()

        self.face.call("alerts", read, self._show)

    def _show(self, found: tuple[tuple[Incident, ...], tuple[ChannelView, ...], tuple[DeliveryView, ...]]) -> None:
        incidents, channels, self._deliveries = found
        for id_, items in (("#open-incidents", incidents), ("#channels", channels)):
            rows = self.query_one(id_, Rows)
            rows.styles.height = 1 + max(1, min(len(items), _FEW))
            rows.show(items)
        self.query_one("#open-incidents").display = bool(incidents)
        self.query_one("#no-incident").display = not incidents
        self.query_one("#no-channel").display = not channels
        first = self._incidents is None
        self._incidents = incidents
        if first and incidents and self.face.focused is self.query_one("#channels"):
            self.face.set_focus(self.query_one("#open-incidents"))
        elif not incidents and self._on_incidents:
            self.face.set_focus(self.query_one("#channels"))
        self._show_item()

    @on(Rows.Moved)
    @on(Rows.Chosen)
    def moved(self) -> None:
        self._show_item()

    def on_descendant_focus(self) -> None:
        self._show_item()

    def _show_item(self) -> None:
        board, incident, channel = self.query_one("#alert", Lines), self.incident, self.channel
        if self._on_incidents and incident is not None:
            board.show(*present_alerts.incident_lines(incident))
        elif channel is not None:
            board.show(*present_alerts.channel_lines(channel, self._deliveries, self.face.now()))
        else:
            board.show()

    # what the keys do

    def action_other(self) -> None:
        """Between the two lists."""
        if self.incident is not None:
            other = "#channels" if self._on_incidents else "#open-incidents"
            self.face.set_focus(self.query_one(other))

    def action_new(self) -> None:
        from screens.forms.channel import AddChannel  # late: seldom needed

        def added(made: ChannelAdded | None) -> None:
            self._load()
            if made is not None:
                self.face.done(f"{made.channel.name} is told of incidents from now on; t tests it")

        self.app.push_screen(AddChannel(), added)

    def action_try(self) -> None:
        channel = self.channel
        if channel is None:
            return
        name = channel.name

        def failed(error: OffsiteError) -> None:
            self._load()
            self.face.fail(error)

        def went(_sent: DeliveryView) -> None:
            self._load()
            self.face.done(f"{name} took it")

        self.face.notice(Phrase("● ", Tone.BUSY) + Phrase(f"telling {name}", Tone.DIM))
        self.face.call(f"try {name}", lambda _token: self.engine.alerts.test(name), went, failed, keep=True)

    def action_remove(self) -> None:
        channel = self.channel
        if channel is None:
            return
        name = channel.name

        def gone(_none: None) -> None:
            self._load()
            self.face.done(f"{name} is told nothing any more; its URL is forgotten")

        def agreed() -> None:
            self.face.call("remove", lambda _token: self.engine.alerts.remove(name), gone)

        def refused() -> None:
            self.face.notice(Phrase(f"{name} stays", Tone.DIM))

        self.face.ask(confirm(f"Tell {name} nothing any more?", name, agreed, refused))

    def action_acknowledge(self) -> None:
        incident = self.incident
        if incident is None:
            self.face.notice(Phrase("no incident is open", Tone.DIM))
            return
        id_ = incident.id

        def seen(found: Incident) -> None:
            self._load()
            self.face.console.nudge()
            self.face.done("seen" if found.open else "seen, and closed by that")

        def noted(text: str) -> None:
            note = text.strip() or None
            self.face.call("acknowledge", lambda _token: self.engine.alerts.acknowledge(id_, note), seen)

        prompt = Phrase("Seen: ") + Phrase(incident.name, Tone.STRONG) + Phrase(", note (optional):")
        self.face.ask(Question(prompt, noted, placeholder="enter says so, esc leaves"))
