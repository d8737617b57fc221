"""What the drills of a connection compare, where, and by whose hands. What it costs is said before it is chosen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from engine.model.views import ConnectionView
from engine.service import CancelToken
from screens import present_proving as words
from screens.forms.form import Form, FormBody, button
from screens.phrase import Phrase, Tone
from screens.widgets.fields import Choice, Field, Text


class ProvingForm(Form[str | None]):
    """Closes with what was changed, in words, or None."""

    HELP = (
        "Content: a fingerprint of every table is taken with the snapshot and compared after each restore, so that a "
        "changed value is found, too. Server: drills make a cluster of their own on this host; a server that was given "
        "to them (page 6, Scratch) is for what this host lacks, such as an extension. Worker label: only workers that "
        "were started with it (`offsitedb worker --label L`) run this connection's jobs."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t", "submit", "save", key_display="^t", id="proving.save", tooltip="From the next one on"),
    ]

    def __init__(self, view: ConnectionView, rows: int | None) -> None:
        super().__init__()
        self._view = view
        self._rows = rows

    def body(self) -> ComposeResult:
        content = Choice(
            (("no", "rows counted"), ("yes", "rows and content")), "yes" if self._view.fingerprint else "no"
        )
        with FormBody():
            yield Field("Compare", content, id="content")
            yield Field("Restore into", Choice(words.scratch_choices(())), id="server")
            label = Text(self._view.worker_label or "", placeholder="any worker")
            yield Field("Worker label", label, id="label")
            with Horizontal(classes="buttons"):
                yield button("Save", "submit")

    def on_mount(self) -> None:
        self.title_line(Phrase("How drills prove ", Tone.STRONG) + Phrase(self._view.name, Tone.STRONG))
        name = self._view.name

        def read(_token: CancelToken) -> tuple[int | None, list[str]]:
            return self.engine.connections.newest_size(name), list(self.engine.scratch.names().values())

        self.call("known", read, self._know)

    def _know(self, known: tuple[int | None, list[str]]) -> None:
        size, names = known
        cost = Phrase(f"content: {words.fingerprint_cost(size, self._rows)}", Tone.DIM)
        self.field("content").say(cost)
        server = self.field("server")
        assert isinstance(server.control, Choice)
        server.control.offer(words.scratch_choices(names))
        server.control.value = self._view.scratch or ""
        if not names:
            server.say(Phrase("no server was given to drills; page 6, Scratch, adds one", Tone.DIM))

    def submit(self) -> None:
        label = self.field("label").text.strip()
        view, server, wanted = self._view, self.field("server").text, self.field("content").text == "yes"

        def save(_token: CancelToken) -> list[str]:
            said = []
            if wanted != view.fingerprint:
                self.engine.connections.set_fingerprint(view.name, wanted=wanted)
                said.append(f"content is {'compared from the next checkpoint on' if wanted else 'not compared'}")
            if server != (view.scratch or ""):
                self.engine.scratch.use(view.name, server or None)
                said.append(f"drills use {f'server {server}' if server else 'clusters of their own'}")
            if label != (view.worker_label or ""):
                self.engine.connections.set_worker_label(view.name, label or None)
                said.append(f"jobs are for {f'workers with the label {label}' if label else 'any worker'}")
            return said

        self.call("try", save, self._saved)

    def _saved(self, said: list[str]) -> None:
        self.console.nudge()
        self.dismiss(f"{self._view.name}: {'; '.join(said)}" if said else None)
