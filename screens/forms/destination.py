"""A new destination: only what it needs is asked, then it is tried with a real round trip, and saved if that went well.

Keys are typed unseen and never shown again; the policy that they need can be copied before they are made.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Button

from engine.errors import ConfigError, OffsiteError
from engine.model import BucketKey, BucketKeys, BucketSpec
from engine.model.views import DestinationView, ProviderView, StepView
from engine.service import CancelToken
from engine.service.buckets import bucket_policy, providers
from engine.service.connections import check_name
from screens import present_connections as words
from screens.forms.form import Form, FormBody, button
from screens.forms.text import TextSheet
from screens.phrase import Phrase, Tone
from screens.widgets.fields import Choice, Field, Secret, Text
from screens.widgets.say import Say

FOLDER, BUCKET = "folder", "bucket"


class Told(Message, bubble=False):
    """A step of the round trip is done."""

    def __init__(self, step: StepView, token: CancelToken) -> None:
        super().__init__()
        self.step = step
        self.token = token


class RoundTrip(Form[str | None]):
    """The part that trying a destination has in common: keys, steps as they come back, what failed."""

    def __init__(self, progress: Phrase | None = None) -> None:
        super().__init__(progress)
        self._steps: list[StepView] = []

    def key_fields(self) -> ComposeResult:
        yield Field("Access key id", Secret(placeholder="typed unseen, kept sealed"), id="key-id")
        yield Field("Secret access key", Secret(), id="key-secret")
        second = Choice((("no", "no"), ("yes", "yes, for pruning old snapshots")))
        yield Field("A key that deletes", second, id="prune")
        yield Field("  its key id", Secret(), id="prune-id")
        yield Field("  its secret", Secret(), id="prune-secret")
        yield Field("CA file", Text(placeholder="only for an endpoint with a CA of its own"), id="ca")

    def show_prune(self, *, bucket: bool) -> None:
        wanted = bucket and self.field("prune").text == "yes"
        for id in ("prune-id", "prune-secret"):
            self.field(id).display = wanted

    def keys(self) -> BucketKeys | None:
        """The keys as they are typed; None when one is missing, which is said."""
        needed = ["key-id", "key-secret"]
        if self.field("prune").text == "yes":
            needed += ["prune-id", "prune-secret"]
        for id in needed:
            if not self.field(id).text:
                self.refuse(id, "this is needed")
                return None
        worker = BucketKey(self.field("key-id").text, self.field("key-secret").text)
        if len(needed) == 2:
            return BucketKeys(worker)
        return BucketKeys(worker, BucketKey(self.field("prune-id").text, self.field("prune-secret").text))

    def ca_pem(self) -> str | None:
        """The content of the CA file. Raises ConfigError."""
        where = self.field("ca").text
        if not where:
            return None
        try:
            return Path(where).expanduser().read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as e:
            reason = e.strerror if isinstance(e, OSError) else "it is no PEM"
            raise ConfigError("config.invalid", f"the CA file {where} cannot be read: {reason}") from e

    def try_it(self, name: str, verb: partial[tuple[DestinationView, tuple[StepView, ...]]]) -> None:
        """Run the round trip; ``verb`` takes ``cancel`` and ``said``."""
        self._steps = []
        self._show_steps(Phrase("● ", Tone.BUSY) + Phrase("trying it, for real · esc stops", Tone.DIM))

        def run(token: CancelToken) -> object:
            return verb(cancel=token, said=lambda step: self.post_message(Told(step, token)))

        self.call("try", run, lambda _made: self.made(name), self._broke)

    def made(self, name: str) -> None:
        """It went well, and is saved."""
        self.console.nudge()
        self.dismiss(name)

    def on_told(self, told: Told) -> None:
        told.stop()
        if self.trying and not told.token.cancelled:
            self._steps.append(told.step)
            self._show_steps(Phrase("● ", Tone.BUSY) + Phrase("trying it, for real · esc stops", Tone.DIM))

    def stopped(self) -> None:
        self._show_steps(Phrase("– stopped; nothing was saved", Tone.DIM))

    def _broke(self, error: OffsiteError) -> None:
        self._show_steps(Phrase("✗ nothing was saved", Tone.BAD) if self._steps else None)
        self.fail(error)

    def _show_steps(self, last: Phrase | None = None) -> None:
        board = self.query_one("#steps", Say)
        board.show(*(words.step_phrase(step) for step in self._steps), *((last,) if last else ()))
        board.display = bool(self._steps or last)


class AddDestination(RoundTrip):
    """A folder or a bucket. Closes with its name, or None."""

    TITLE_TEXT = "New destination: where backups go"
    HELP = (
        "A bucket is what you want: it is somewhere else. A folder is for an external disk or a network mount. "
        "Nothing is saved before a round trip went well: an upload is begun and taken back, a file is uploaded in two "
        "parts, looked at, read, listed and deleted. The keys need no right to delete; ^g shows the policy to copy."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "ctrl+t", "submit", "test and save", key_display="^t", id="destination.submit", tooltip="Try, then save"
        ),
        Binding("ctrl+g", "rights", "rights", key_display="^g", id="destination.rights", tooltip="The policy to copy"),
    ]

    def __init__(self, progress: Phrase | None = None) -> None:
        super().__init__(progress)
        self._providers: dict[str, ProviderView] = {p.name: p for p in providers()}

    def body(self) -> ComposeResult:
        with FormBody():
            kinds = ((BUCKET, "a bucket (S3 and compatible)"), (FOLDER, "a folder"))
            yield Field("Kind", Choice(kinds), id="kind")
            yield Field("Name", Text(placeholder="what you want to call it, such as acme-backups"), id="name")
            note = Phrase("An external disk or a mount: not the disk of the database.", Tone.DIM)
            yield Field("Folder", Text(placeholder="/mnt/backups/offsitedb, made if absent"), id="folder", note=note)
            yield Field("Provider", Choice([(p.name, p.title) for p in self._providers.values()]), id="provider")
            yield Field("Endpoint", Text(), id="endpoint")
            yield Field("Plain http", Choice((("no", "refuse"), ("yes", "accept, the network is mine"))), id="http")
            yield Field("Region", Text(), id="region")
            yield Field("Bucket", Text(placeholder="its name; it exists already"), id="bucket")
            yield Field("Prefix", Text(placeholder="optional: everything lies beneath it"), id="prefix")
            yield from self.key_fields()
            with Horizontal(classes="buttons"):
                yield button("Test and save", "submit")
                yield button("Rights the keys need", "rights")
        yield Say(id="steps")

    def on_mount(self) -> None:
        self._show_steps()
        self._fit()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "rights" and self.is_mounted and self._folder:
            return False
        return super().check_action(action, parameters)

    @on(Choice.Changed)
    def _changed(self) -> None:
        self._fit()
        self.refresh_bindings()

    @on(Text.Changed)
    def _typed(self, event: Text.Changed) -> None:
        if event.input is self.field("endpoint").control:
            self._fit()

    @on(Button.Pressed, "#rights")
    def _rights(self) -> None:
        self.action_rights()

    @property
    def _folder(self) -> bool:
        return self.field("kind").text == FOLDER

    def _fit(self) -> None:
        """Show the fields that the choice needs, and no others."""
        folder, provider = self._folder, self._providers[self.field("provider").text]
        endpoint, region = self.field("endpoint"), self.field("region")
        shown = {
            "folder": folder,
            "provider": not folder,
            "endpoint": not folder and provider.needs_endpoint,
            "http": not folder and provider.needs_endpoint and endpoint.text.lower().startswith("http://"),
            "region": not folder and provider.region != "auto",
            "ca": not folder and provider.needs_endpoint and provider.region != "auto",
            **dict.fromkeys(("bucket", "prefix", "key-id", "key-secret", "prune"), not folder),
        }
        for id, wanted in shown.items():
            self.field(id).display = wanted
        self.show_prune(bucket=not folder)
        for rights in self.query("#rights"):
            rights.display = not folder
        for field, placeholder in (
            (endpoint, provider.endpoint_example),
            (region, f"empty means {provider.region}" if provider.region else "as the provider shows it: us-west-004"),
        ):
            assert isinstance(field.control, Text)
            field.control.placeholder = placeholder

    def action_rights(self) -> None:
        """The policies, from what is entered so far."""
        try:
            policy = bucket_policy(self._spec(for_policy=True))
        except ConfigError as e:
            self.fail(e)
            return
        about: tuple[str, ...] = (f"For {policy.where}. The worker reads, writes and lists; it cannot delete.",)
        if policy.rights:
            about += (policy.rights,)
        if "user/USER" in policy.worker:
            about += ("Put the name of the key's user in the place of USER, and attach it to the bucket.",)
        self.app.push_screen(
            TextSheet(
                "Least rights",
                ("the worker's policy", about, policy.worker),
                (
                    "the policy of the key that deletes",
                    (f"For {policy.where}. Only where old snapshots are pruned.",),
                    policy.prune,
                ),
            )
        )

    def submit(self) -> None:
        for id in ("name", "folder", "endpoint", "bucket"):
            self.field(id).say()
        name = self.field("name").text
        try:
            check_name(name)
        except ConfigError as e:
            self.refuse("name", e.message if name else "it needs a name", e.hint)
            return
        if self._folder:
            if not self.field("folder").text:
                self.refuse("folder", "say which folder")
                return
            folder = Path(self.field("folder").text)
            self.try_it(name, partial(self.engine.destinations.add_folder, name, folder))
            return
        if not self.field("bucket").text:
            self.refuse("bucket", "say which bucket")
            return
        try:
            spec = self._spec()
            bucket_policy(spec)  # refuses what cannot be, before anything is tried
        except ConfigError as e:
            self.fail(e)
            return
        keys = self.keys()
        if keys is not None:
            self.try_it(name, partial(self.engine.destinations.add_bucket, name, spec, keys))

    def _spec(self, *, for_policy: bool = False) -> BucketSpec:
        """The bucket as it is entered. A policy does not depend on where the endpoint is. Raises ConfigError."""
        provider = self._providers[self.field("provider").text]
        endpoint, region = self.field("endpoint").text or None, self.field("region").text or None
        if for_policy:
            endpoint, region = "https://localhost" if provider.needs_endpoint else None, region or "any"
        return BucketSpec(
            bucket=self.field("bucket").text or ("your-bucket" if for_policy else ""),
            provider=provider.name,
            endpoint=endpoint if provider.needs_endpoint else None,
            region=region if provider.region != "auto" else None,
            prefix=self.field("prefix").text,
            ca_pem=None if for_policy or not self.field("ca").display else self.ca_pem(),
            allow_http=self.field("http").display and self.field("http").text == "yes",
        )


class EditDestinationKeys(RoundTrip):
    """New keys for a bucket; tried before they take the place of the old ones. Closes with its name, or None."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._named = name

    def body(self) -> ComposeResult:
        with FormBody():
            yield from self.key_fields()
            with Horizontal(classes="buttons"):
                yield button("Test and save", "submit")
        yield Say(id="steps")

    def on_mount(self) -> None:
        self.title_line(Phrase("New keys for ", Tone.STRONG) + Phrase(self._named, Tone.STRONG))
        self._show_steps()
        self.show_prune(bucket=True)

    @on(Choice.Changed)
    def _changed(self) -> None:
        self.show_prune(bucket=True)

    def submit(self) -> None:
        for id in ("key-id", "key-secret", "prune-id", "prune-secret"):
            self.field(id).say()
        keys = self.keys()
        if keys is None:
            return
        try:
            ca_pem = self.ca_pem()
        except ConfigError as e:
            self.fail(e)
            return
        self.try_it(self._named, partial(self.engine.destinations.change_keys, self._named, keys, ca_pem=ca_pem))
