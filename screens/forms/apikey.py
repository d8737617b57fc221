"""A new API key: its name, what it may do, which connections it reaches."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal

from engine.errors import ConfigError
from engine.model.apikeys import MadeApiKey
from engine.service.apikeys import parse_scopes
from engine.service.connections import check_name
from screens.forms.form import Form, FormBody, button
from screens.phrase import Phrase, Tone
from screens.widgets.fields import Choice, Field, Text

_MAY = (
    ("checkpoint:create checkpoint:read", "ask and look"),
    ("checkpoint:create", "ask only"),
    ("checkpoint:read", "look only"),
)


class AddApiKey(Form[MadeApiKey]):
    """Closes with the new key, or None."""

    def body(self) -> ComposeResult:
        with FormBody():
            yield Field("Name", Text(placeholder="what uses it, such as github"), id="name")
            yield Field("May", Choice(_MAY), id="may")
            yield Field(
                "Connections",
                Text(placeholder="empty means all of them"),
                id="connections",
                note=Phrase("names with blanks between them", Tone.DIM),
            )
            with Horizontal(classes="buttons"):
                yield button("Make the key", "submit")

    def on_mount(self) -> None:
        self.title_line(Phrase("New API key", Tone.STRONG))

    def submit(self) -> None:
        name = self.field("name").text
        try:
            check_name(name)
        except ConfigError as e:
            self.refuse("name", e.message if name else "it needs a name", e.hint)
            return
        scopes = parse_scopes(self.field("may").text.split())
        connections = self.field("connections").text.replace(",", " ").split()
        self.call("try", lambda _token: self.engine.apikeys.create(name, scopes, connections), self.dismiss, keep=True)
