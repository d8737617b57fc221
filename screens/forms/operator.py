"""Adding somebody who logs in, another password, another role."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from engine.errors import OffsiteError
from engine.model import OperatorView, Role
from engine.service import CancelToken
from screens.forms.form import Form, FormBody, button
from screens.phrase import Phrase, Tone
from screens.widgets.fields import Choice, Field, Secret, Text

_ROLES = (
    (Role.VIEWER.value, "viewer: looks"),
    (Role.OPERATOR.value, "operator: works"),
    (Role.ADMIN.value, "admin: decides"),
)
_LENGTH = Phrase("15 characters or more: four or five words of your own do well", Tone.DIM)


class _OperatorForm(Form[str | None]):
    """What the three have in common: saved by ctrl+t, and gone when it went well."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t", "submit", "save", key_display="^t", id="form.submit", tooltip="Save what is entered"),
    ]

    def __init__(self, title: str) -> None:
        super().__init__(Phrase(title, Tone.STRONG))

    def stopped(self) -> None:
        self.notice(Phrase("what was under way goes on to its end", Tone.DIM))

    def typed_twice(self) -> str | None:
        """The password, if it was typed the same way twice; says so beneath the field if not."""
        password, again = self.field("password").control.value, self.field("again").control.value
        if password != again:
            self.refuse("again", "these are two different passwords")
            return None
        return password

    def went(self, view: OperatorView) -> None:
        self.dismiss(view.name)

    def failed(self, error: OffsiteError) -> None:
        if error.code == "config.password":
            self.refuse("password", error.message, error.hint)
        else:
            self.fail(error)


class AddOperator(_OperatorForm):
    """Name, role, password. The first one is an admin."""

    TITLE_TEXT = "New operator"
    HELP = "Somebody who logs in. Viewers look; operators start work; admins decide about places, keys and people."

    def __init__(self, *, first: bool) -> None:
        super().__init__("New operator: the first one, an admin" if first else "New operator")
        self._first = first

    def body(self) -> ComposeResult:
        about = Phrase("From then on everybody logs in, here and on the command line.", Tone.WARN)
        with FormBody():
            yield Field("Name", Text(), id="name", note=about if self._first else None)
            role = Field("Role", Choice(_ROLES, Role.ADMIN if self._first else Role.OPERATOR), id="role")
            role.display = not self._first
            yield role
            yield Field("Password", Secret(), id="password", note=_LENGTH)
            yield Field("Once more", Secret(), id="again")
            with Horizontal(classes="buttons"):
                yield button("save", "submit")

    def submit(self) -> None:
        name, role, password = self.field("name").text, Role(self.field("role").text), self.typed_twice()
        if password is not None:
            self.call("try", lambda _token: self.engine.operators.add(name, role, password), self.went, self.failed)


class NewPassword(_OperatorForm):
    """For somebody who forgot theirs."""

    TITLE_TEXT = "New password"
    HELP = "All their sessions end, and they log in with the new one."

    def __init__(self, name: str) -> None:
        super().__init__(f"New password for {name}")
        self._who = name

    def body(self) -> ComposeResult:
        with FormBody():
            yield Field("Password", Secret(), id="password", note=_LENGTH)
            yield Field("Once more", Secret(), id="again")
            with Horizontal(classes="buttons"):
                yield button("save", "submit")

    def submit(self) -> None:
        name, password = self._who, self.typed_twice()
        if password is not None:
            self.call("try", lambda _token: self.engine.operators.reset(name, password), self.went, self.failed)


class ChangeRole(_OperatorForm):
    """What somebody may do."""

    TITLE_TEXT = "Role"
    HELP = "Viewers look; operators start work; admins decide about places, keys and people. All their sessions end."

    def __init__(self, name: str, role: Role) -> None:
        super().__init__(f"Role of {name}")
        self._who = name
        self._role = role

    def body(self) -> ComposeResult:
        with FormBody():
            yield Field("Role", Choice(_ROLES, self._role), id="role")
            with Horizontal(classes="buttons"):
                yield button("save", "submit")

    def submit(self) -> None:
        name, role = self._who, Role(self.field("role").text)

        def change(_token: CancelToken) -> OperatorView:
            return self.engine.operators.set_role(name, role)

        self.call("try", change, self.went, self.failed)
