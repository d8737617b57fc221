"""A new channel for alerts. Its URL is typed unseen and never shown again; a webhook's signing secret is shown once."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from engine.errors import ConfigError, OffsiteError
from engine.model import ChannelAdded, ChannelKind, IncidentKind
from engine.service import CancelToken
from engine.service.connections import check_name
from screens.forms.form import Form, FormBody, button
from screens.phrase import Phrase, Tone
from screens.widgets.fields import Choice, Field, Secret, Text
from screens.widgets.say import Say

_KINDS = (
    (ChannelKind.WEBHOOK.value, "a webhook, signed"),
    (ChannelKind.HEARTBEAT.value, "a heartbeat"),
    (ChannelKind.APPRISE.value, "by Apprise"),
)
_EVERY = (("60", "1 min"), ("300", "5 min"), ("900", "15 min"), ("3600", "1 h"))
_NOTES = {
    ChannelKind.WEBHOOK: "An https URL that takes JSON; every request is signed.",
    ChannelKind.HEARTBEAT: "Fetched only while every proof is fresh: its silence is the alarm.",
    ChannelKind.APPRISE: "As Apprise writes it, such as ntfy://TOPIC. What it connects to is its own affair.",
}


class AddChannel(Form[ChannelAdded | None]):
    """Closes with the channel, or None. After a webhook was added its secret stands there until it is left."""

    TITLE_TEXT = "New channel: who is told of incidents"
    HELP = (
        "A webhook gets a signed JSON document when an incident opens and when it closes. A heartbeat is a URL of a "
        "watching service, fetched only while every proof is fresh. Apprise knows a hundred other services."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t", "submit", "save", key_display="^t", id="channel.submit", tooltip="Save the channel"),
        Binding("ctrl+y", "copy", "copy", show=False, key_display="^y", id="channel.copy", tooltip="Copy the secret"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._made: ChannelAdded | None = None

    def body(self) -> ComposeResult:
        kinds = (("", "all"), *((kind.value, kind.value) for kind in IncidentKind))
        with FormBody():
            yield Field("Kind", Choice(_KINDS), id="kind")
            yield Field("Name", Text(placeholder="what you want to call it, such as ops"), id="name")
            yield Field("URL", Secret(placeholder="typed unseen, kept sealed"), id="url")
            yield Field("Hears of", Choice(kinds), id="only")
            yield Field("Every", Choice(_EVERY, "300"), id="every")
            yield Field("Our own network", Choice((("no", "refuse"), ("yes", "the URL is in it"))), id="private")
            with Horizontal(classes="buttons"):
                yield button("Save", "submit")
        yield Say(id="made")

    def on_mount(self) -> None:
        self.query_one("#made").display = False
        self._fit()

    @on(Choice.Changed)
    def _changed(self) -> None:
        self._fit()

    @property
    def _kind(self) -> ChannelKind:
        return ChannelKind(self.field("kind").text)

    def _fit(self) -> None:
        """Show the fields that the kind needs, and no others."""
        kind = self._kind
        self.field("only").display = kind is not ChannelKind.HEARTBEAT
        self.field("every").display = kind is ChannelKind.HEARTBEAT
        self.field("private").display = kind is not ChannelKind.APPRISE
        self.field("url").say(Phrase(_NOTES[kind], Tone.DIM))

    def submit(self) -> None:
        if self._made is not None:
            self.dismiss(self._made)
            return
        self._fit()
        name, url, kind = self.field("name").text, self.field("url").text, self._kind
        self.field("name").say()
        try:
            check_name(name)
        except ConfigError as e:
            self.refuse("name", e.message if name else "it needs a name", e.hint)
            return
        if not url:
            self.refuse("url", "this is needed")
            return
        only = self.field("only").text if kind is not ChannelKind.HEARTBEAT else ""

        def add(_token: CancelToken) -> ChannelAdded:
            return self.engine.alerts.add(
                name,
                kind,
                url,
                only=(IncidentKind(only),) if only else (),
                every_s=int(self.field("every").text) if kind is ChannelKind.HEARTBEAT else None,
                allow_private=kind is not ChannelKind.APPRISE and self.field("private").text == "yes",
            )

        self.call("try", add, self._saved, self._broke)

    def _saved(self, made: ChannelAdded) -> None:
        self.console.nudge()
        if made.secret is None:
            self.dismiss(made)
            return
        self._made = made
        self.query_one(FormBody).display = False
        board = self.query_one("#made", Say)
        board.display = True
        board.show(
            Phrase("✓ ", Tone.GOOD) + Phrase(f"{made.channel.name} is saved. It signs with this secret:"),
            Phrase(),
            Phrase("  ") + Phrase(made.secret, Tone.CODE),
            Phrase(),
            Phrase("  It is shown this once; whoever receives the alerts needs it. ^y copies it, esc goes on."),
        )

    def copyable(self) -> tuple[str, str] | None:
        if self._made is not None and self._made.secret is not None:
            return "the signing secret", self._made.secret
        return super().copyable()

    def action_back(self) -> None:
        if self._made is not None and not self.query_one("#notice", Say).display:
            self.dismiss(self._made)
            return
        super().action_back()

    def _broke(self, error: OffsiteError) -> None:
        if error.code == "config.alert-url":
            self.refuse("url", error.message, error.hint)
        else:
            self.fail(error)
