"""A connection: what was pasted is understood at once, looked at for real, and saved only then.

The connection string is typed and pasted unseen, and never shown again: what it says stands beneath it, without the
password. What the look found is read before anything is saved, each finding with the SQL that mends it.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button

from engine.errors import ConfigError, OffsiteError
from engine.model.views import ConnectionView, PreflightView
from engine.model.watch import AddressView
from engine.service import CancelToken
from engine.service.connections import check_name
from engine.service.durations import duration_text, parse_duration
from engine.service.postgres import grant_recipe
from screens import present_connections as words
from screens.forms.address import say_address
from screens.forms.form import Form, FormBody, button
from screens.forms.text import TextSheet
from screens.phrase import Phrase, Tone
from screens.widgets.bar import confirm
from screens.widgets.fields import Choice, Field, Secret, Text
from screens.widgets.findings import Findings
from screens.widgets.say import Say

Looked = tuple[AddressView | None, PreflightView]
_ROLE = (
    "Run this as an administrator of the database, with a password of your own. Then paste",
    "postgresql://offsitedb_reader:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full",
)


class ConnectionForm(Form[str | None]):
    """First the fields, then what the look found. Closes with the connection's name, or None."""

    HELP = (
        "Paste the connection string of a role that only reads; ^g shows the SQL that makes one. It is tested before "
        "it is saved: what can be captured, what cannot and why, and the SQL that mends it, which y copies."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t", "submit", "test", key_display="^t", id="connection.test", tooltip="Connect and look"),
        Binding(
            "ctrl+g", "role", "read-only role", key_display="^g", id="connection.role", tooltip="The SQL for a role"
        ),
        Binding("enter,s", "save", "save", key_display="enter", id="connection.save", tooltip="Seal it and save it"),
        Binding("t", "again", "test again", id="connection.again", tooltip="Look again, after something was mended"),
        Binding("a", "accept", "accept empty", id="connection.accept", tooltip="Save although no row can be read"),
    ]

    def __init__(self, progress: Phrase | None = None) -> None:
        super().__init__(progress)
        self._found: PreflightView | None = None
        self._accepts_empty = False
        self._suggested = ""
        self._taken: frozenset[str] = frozenset()

    # what differs between a new one and an old one

    @property
    def named(self) -> str:
        """The connection's name, as entered."""
        return self.field("name").text

    def look_at(self, text: str, token: CancelToken) -> Looked:
        """The look itself, in the background."""
        return self.engine.connections.try_out(text, accept_empty=self._accepts_empty, cancel=token)

    def keep(self, text: str, destination: str, token: CancelToken) -> None:
        """Save it, in the background."""
        raise NotImplementedError

    # what is shown

    def body(self) -> ComposeResult:
        with FormBody():
            yield Field("Connection string", Secret(placeholder=self._string_placeholder()), id="string")
            yield Field("Name", Text(placeholder="it stands in reports and commands"), id="name")
            yield Field("Backups go to", Choice(()), id="where")
            yield Field("Newest proof", Text(placeholder="optional: at most how old, such as 6 h or 1 d"), id="proof")
            yield Field("Restore time", Text(placeholder="optional: at most how long, such as 15 min"), id="restore")
            with Horizontal(classes="buttons"):
                yield button("Test", "submit")
                yield button("How to make a read-only role", "role")
        with Vertical(id="found"):
            yield Say(id="found-head")
            yield Findings(id="findings")
        yield Say(id="steps")

    def on_mount(self) -> None:
        self.query_one("#found").display = False
        self.query_one("#steps").display = False
        self.field("where").display = False

        def read(_token: CancelToken) -> tuple[list[tuple[str, str]], frozenset[str]]:
            places = [(d.name, d.name) for d in self.engine.destinations.list()]
            return places, frozenset(c.name for c in self.engine.connections.list())

        self.call("known", read, self._know)

    def _know(self, known: tuple[list[tuple[str, str]], frozenset[str]]) -> None:
        places, self._taken = known
        where = self.field("where")
        assert isinstance(where.control, Choice)
        where.control.offer(places)
        where.display = len(places) > 1
        self.preset(where.control)

    def preset(self, where: Choice) -> None:
        """Choose what is chosen already."""
        del where

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        found = self._found
        if action in ("again", "save", "accept") and found is None:
            return False
        if action == "save" and found is not None and found.blocking:
            return False
        if action == "accept" and found is not None and not words.blocked_only_by_emptiness(found):
            return False
        if action in ("submit", "role", "step") and found is not None:
            return False
        return super().check_action(action, parameters)

    def copyable(self) -> tuple[str, str] | None:
        if self._found is None:
            return super().copyable()
        item = self.query_one(Findings).item
        return (item.what, item.sql) if item is not None and item.sql else None

    @on(Text.Changed)
    def _typed(self, event: Text.Changed) -> None:
        field = self.field("string")
        if event.input is not field.control:
            return
        self._read_string()

    def _read_string(self) -> None:
        """Say what the string is about; its database's name is a name for the connection."""
        address = say_address(self.field("string"), self.engine.connections.read, notes=True)
        if address is not None:
            self.suggest(words.suggested_name(address.address))

    def suggest(self, name: str) -> None:
        """The database's name as the connection's, as long as nobody typed another."""
        control = self.field("name").control
        if name and control.value in ("", self._suggested):
            control.value = self._suggested = name

    # trying it

    def submit(self) -> None:
        for id in ("name", "where", "proof", "restore"):
            self.field(id).say()
        text = self.field("string").text
        if text:
            self._read_string()  # a key can be quicker than the news of what was pasted
        if self._may_try(text):
            self._look(text)

    def _may_try(self, text: str) -> bool:
        """Whether every field will do; says which does not."""
        try:
            self._check_string(text)
        except ConfigError as e:
            self.refuse("string", e.message, e.hint)
            return False
        if not self._check_name():
            return False
        if not self.field("where").text:
            self.notice(Phrase("! ", Tone.WARN) + Phrase("there is no place for backups yet; add a destination first"))
            return False
        for id in ("proof", "restore"):
            try:
                self.target(id)
            except ConfigError as e:
                self.refuse(id, e.message, e.hint)
                return False
        return True

    def _check_string(self, text: str) -> None:
        """Raises ConfigError for a string that says nothing."""
        self.engine.connections.read(text)

    def _check_name(self) -> bool:
        name = self.field("name").text
        try:
            check_name(name)
        except ConfigError as e:
            self.refuse("name", e.message if name else "it needs a name", e.hint)
            return False
        if name in self._taken:
            self.refuse("name", f"there is a connection {name} already")
            return False
        return True

    def target(self, id: str) -> float | None:
        """A target in seconds, None for none. Raises ConfigError."""
        text = self.field(id).text
        return parse_duration(text) if text else None

    def _look(self, text: str) -> None:
        self._busy("connecting, then looking at what can be captured · esc stops")
        self.call("try", lambda token: self.look_at(text, token), self._show_found, self._broke)

    def _show_found(self, looked: Looked) -> None:
        address, found = looked
        self._found = found
        self._busy("")
        who = words.address_phrase(address) if address is not None else Phrase(self.named, Tone.STRONG)
        self.query_one("#found-head", Say).show(
            Phrase(" ") + who,
            Phrase(" ") + words.captured_phrase(found),
            Phrase(" ") + words.verdict_phrase(found),
        )
        self.query_one(FormBody).display = False
        self.query_one("#found").display = True
        self.query_one(Findings).show(words.findings(found))
        self.query_one(Findings).focus()
        self.refresh_bindings()

    def _back_to_fields(self) -> None:
        self._found = None
        self.query_one("#found").display = False
        self.query_one(FormBody).display = True
        self.field("string").take_focus()
        self.refresh_bindings()

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

    # what the keys do

    def action_again(self) -> None:
        if not self.trying:
            self.notice()
            self._look(self.field("string").text)

    def action_save(self) -> None:
        if self.trying:
            return
        self.notice()
        self._busy("looking once more, then sealing and saving it · esc stops")
        text, where = self.field("string").text, self.field("where").text
        self.call("try", lambda token: self.keep(text, where, token), lambda _none: self._kept(), self._broke)

    def _kept(self) -> None:
        self.console.nudge()
        self.dismiss(self.named)

    def action_accept(self) -> None:
        def agreed() -> None:
            self._accepts_empty = True
            self.action_again()

        def refused() -> None:
            self.notice(Phrase("nothing was accepted", Tone.DIM))

        self.ask(confirm("A backup without a single row?", "empty", agreed, refused))

    def action_role(self) -> None:
        self.app.push_screen(TextSheet("A role that only reads", ("the SQL", _ROLE, grant_recipe(()))))

    @on(Button.Pressed, "#role")
    def _role(self) -> None:
        self.action_role()

    def action_back(self) -> None:
        if self._found is not None and not self.trying and not self.query_one("#notice", Say).display:
            self._back_to_fields()
            return
        super().action_back()

    def _string_placeholder(self) -> str:
        return "paste it: postgresql://reader:…@host:5432/database"


class AddConnection(ConnectionForm):
    """A new one."""

    TITLE_TEXT = "New connection: the database to protect"

    def keep(self, text: str, destination: str, token: CancelToken) -> None:
        proof_s, restore_s = self.target("proof"), self.target("restore")
        connections, name = self.engine.connections, self.named
        connections.add(name, destination, text, accept_empty=self._accepts_empty, cancel=token)
        if (proof_s, restore_s) != (None, None):
            connections.set_targets(name, proof_s=proof_s, restore_s=restore_s)


class EditConnection(ConnectionForm):
    """One that is there: another string, destination or target. Its name stays."""

    def __init__(self, view: ConnectionView) -> None:
        super().__init__()
        self._view = view
        self._accepts_empty = view.accept_empty

    @property
    def named(self) -> str:
        return self._view.name

    def on_mount(self) -> None:
        self.title_line(Phrase("Edit ", Tone.STRONG) + Phrase(self._view.name, Tone.STRONG))
        self.field("name").display = False
        for id, seconds in (("proof", self._view.proof_target_s), ("restore", self._view.restore_target_s)):
            if seconds is not None:
                self.field(id).control.value = duration_text(seconds)

    def preset(self, where: Choice) -> None:
        where.value = self._view.destination

    def suggest(self, name: str) -> None:
        """It has a name."""

    def look_at(self, text: str, token: CancelToken) -> Looked:
        if text:
            return super().look_at(text, token)
        return None, self.engine.connections.preflight(self._view.name, token)

    def keep(self, text: str, destination: str, token: CancelToken) -> None:
        connections, name = self.engine.connections, self._view.name
        connections.edit(
            name, text=text or None, destination=destination, accept_empty=self._accepts_empty, cancel=token
        )
        connections.set_targets(name, proof_s=self.target("proof"), restore_s=self.target("restore"))

    def _check_string(self, text: str) -> None:
        if text:
            super()._check_string(text)

    def _check_name(self) -> bool:
        return True

    def _string_placeholder(self) -> str:
        return "empty keeps the one that is sealed"
