"""Recovering a lost installation: the place that is left, and the recovery code. Nothing is written before both fit.

The code and the secret key are typed unseen, and held no longer than the form is open.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from engine.errors import ConfigError
from engine.model.recovery import Recovered
from engine.service import CancelToken, RecoveryPlace
from engine.service.buckets import bucket_policy
from screens.forms.destination import BUCKET, FOLDER, AddDestination
from screens.forms.form import FormBody, button
from screens.phrase import Phrase, Tone
from screens.widgets.fields import Choice, Field, Secret, Text
from screens.widgets.say import Say


class RecoverInstallation(AddDestination):
    """Asks for a destination and the code, and rebuilds. Closes with the name of the destination, or None."""

    TITLE_TEXT = "Recover a lost installation"
    HELP = (
        "The destination that the lost machine wrote to, a key that may read it, and the recovery code: nothing else "
        "is needed. Nothing at the destination is changed, and nothing here before the code has opened the bundle of "
        "keys, the manifests and an artifact. What was scheduled stays at rest until you say so."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t", "submit", "recover", key_display="^t", id="recover.submit", tooltip="Look, then rebuild"),
    ]
    found: Recovered | None = None

    def body(self) -> ComposeResult:
        with FormBody():
            kinds = ((BUCKET, "a bucket (S3 and compatible)"), (FOLDER, "a folder"))
            yield Field("Kind", Choice(kinds), id="kind")
            yield Field("Folder", Text(placeholder="/mnt/backups/offsitedb"), id="folder")
            yield Field("Provider", Choice([(p.name, p.title) for p in self._providers.values()]), id="provider")
            yield Field("Endpoint", Text(), id="endpoint")
            yield Field("Plain http", Choice((("no", "refuse"), ("yes", "accept, the network is mine"))), id="http")
            yield Field("Region", Text(), id="region")
            yield Field("Bucket", Text(placeholder="its name"), id="bucket")
            yield Field("Prefix", Text(placeholder="as the lost machine had it"), id="prefix")
            yield from self.key_fields()
            yield Field("Recovery code", Secret(placeholder="odbr1-…, typed unseen"), id="code")
            catalog = Text(placeholder="only where several installations have used the place")
            yield Field("Catalog", catalog, id="catalog")
            with Horizontal(classes="buttons"):
                yield button("Recover", "submit")
        yield Say(id="steps")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return False if action == "rights" else super().check_action(action, parameters)

    def submit(self) -> None:
        for id in ("folder", "bucket", "code"):
            self.field(id).say()
        needed = ("folder" if self._folder else "bucket", "code")
        empty = next((id for id in needed if not self.field(id).text), None)
        if empty is not None:
            self.refuse(empty, "this is needed")
            return
        try:
            place = self._place()
        except ConfigError as e:
            self.fail(e)
            return
        if place is None:
            return
        code, catalog = self.field("code").text, self.field("catalog").text or None
        self.query_one("#steps", Say).show(Phrase("● ", Tone.BUSY) + Phrase("reading · esc stops", Tone.DIM))
        self.query_one("#steps", Say).display = True

        def run(token: CancelToken) -> Recovered:
            return self.console.recover(place, code, catalog, token)

        self.call("try", run, self._recovered, self._broke)

    def _recovered(self, found: Recovered) -> None:
        self.found = found
        self.made(found.destination)

    def _place(self) -> RecoveryPlace | None:
        """What is entered; None when a part of the key is missing, which is said. Raises ConfigError."""
        if self._folder:
            return RecoveryPlace(folder=Path(self.field("folder").text))
        spec = self._spec()
        bucket_policy(spec)  # refuses what cannot be, before anything is asked of it
        keys = self.keys()
        return None if keys is None else RecoveryPlace(bucket=spec, keys=keys)

    def _fit(self) -> None:
        super()._fit()
        self.field("prune").display = False
