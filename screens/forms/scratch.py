"""A server for drills: understood as it is pasted, tried for real, sealed and saved only then."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from engine.errors import ConfigError, OffsiteError
from engine.model.views import ScratchServerView
from engine.service.connections import check_name
from screens.forms.address import say_address
from screens.forms.form import Form, FormBody, button
from screens.phrase import Phrase, Tone
from screens.widgets.fields import Field, Secret, Text
from screens.widgets.say import Say


class AddScratch(Form[str | None]):
    """Closes with the server's name, or None."""

    TITLE_TEXT = "New scratch server: drills may restore into it"
    HELP = (
        "For what this host lacks, such as an extension. Its role needs CREATEDB and CREATEROLE and should be no "
        "superuser; a drill makes a database there and drops it. A server that holds a database of yours, or that does "
        "not say who it is, is refused."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t", "submit", "test, save", key_display="^t", id="scratch.save", tooltip="Try it, then save it"),
    ]

    def body(self) -> ComposeResult:
        with FormBody():
            yield Field(
                "Connection string",
                Secret(placeholder="paste it: postgresql://driller:…@host:5432/postgres"),
                id="string",
            )
            note = Phrase("its role needs CREATEDB and CREATEROLE; never a server with a database of yours", Tone.DIM)
            yield Field("Name", Text(placeholder="it stands in commands"), id="name", note=note)
            with Horizontal(classes="buttons"):
                yield button("Test and save", "submit")
        yield Say(id="steps")

    def on_mount(self) -> None:
        self.query_one("#steps").display = False

    @on(Text.Changed)
    def _typed(self, event: Text.Changed) -> None:
        field = self.field("string")
        if event.input is field.control:
            say_address(field, self.engine.connections.read)

    def submit(self) -> None:
        text, name, door = self.field("string").text, self.field("name").text, self.engine.scratch
        try:
            self.engine.connections.read(text)
        except ConfigError as e:
            self.refuse("string", e.message, e.hint)
            return
        try:
            check_name(name)
        except ConfigError as e:
            self.refuse("name", e.message if name else "it needs a name", e.hint)
            return
        self._busy("looking whether a drill could use it · esc stops")
        self.call("try", lambda token: door.add(name, text, token), self._added, self._broke)

    def _added(self, server: ScratchServerView) -> None:
        self.dismiss(server.name)

    def _broke(self, error: OffsiteError) -> None:
        self._busy("")
        self.fail(error)

    def _busy(self, text: str) -> None:
        board = self.query_one("#steps", Say)
        board.display = bool(text)
        board.show(*((Phrase("● ", Tone.BUSY) + Phrase(text, Tone.DIM),) if text else ()))

    def stopped(self) -> None:
        self._busy("")
        super().stopped()
