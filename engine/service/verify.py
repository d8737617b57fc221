"""Verification at the door: whether the history, the rows, the receipts and the destinations say the same.

Nothing is mended here: what is wrong is named, with what to do next. What the holder of the signing key wrote anew from
the first event on cannot be told from the truth; only a copy that left this host in time can show it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.catalog import Tx, bound
from engine.catalog.installation import Identity
from engine.catalog.snapshots import Stored
from engine.clock import from_rfc3339
from engine.errors import CatalogError, FormatError, KeyAccessError, OffsiteError
from engine.evidence import chain, proofs
from engine.evidence.manifests import Manifest, read_manifest
from engine.evidence.rows import Known, RowFinding
from engine.model import CHECKED, Checked, EventHead, EvidenceStanding, Part, Role, Verification, VerifyFinding
from engine.service.access import WORKER, acting_as, needs
from engine.service.duties import Duty
from engine.snapshot import Keys
from engine.storage.base import Storage

if TYPE_CHECKING:
    from engine.service import Engine

LOOK_EVERY_S = 3600.0
DAILY = timedelta(hours=23)
"""A day but for the hour that a look may be early."""
NAMED = 1000
"""Findings that are named at most."""
_PAGE = 200
_ASK = "Find out who can write to the catalog's database besides this program"
_HINTS = {
    Part.HISTORY: f"Hold it against the newest report or signed end that left this host in time. {_ASK}.",
    Part.RECEIPTS: "`offsitedb receipt ID` shows what was signed, where it can be read; drill the snapshot anew.",
    Part.KEYS: "`offsitedb key status` says which key this catalog is sealed under; enter what does not open anew.",
}
_ROW_HINTS = {
    "snapshots": "`offsitedb verify --manifests` holds it against its manifest, which is signed, too.",
    "drills": "`offsitedb receipt {short}` shows what was signed; drill the snapshot anew.",
    "connections": "Look at it and set it as it should be: `offsitedb connection list`.",
    "destinations": "Look at it and set it as it should be: `offsitedb destination list`.",
    "operators": "Give every operator a new password: `offsitedb operator list`, `offsitedb operator reset NAME`.",
    "api_keys": "Revoke the key and make a new one: `offsitedb apikey revoke {key}`.",
    "retention_policies": "Look at it and set it as it should be: `offsitedb retention show NAME`.",
    "schedules": "Look at it and set it as it should be: `offsitedb schedule show NAME`.",
}
Said = Callable[[Part, int, int | None], None]
"""Hears how many things of a part were looked at, of how many."""


class VerifyFacet:
    """``engine.verify``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def check(self, *, said: Said | None = None, cancel: CancelToken | None = None) -> Verification:
        """Everything that the catalog says, against its history. Raises CatalogError when it cannot be read at all."""
        return self._run(manifests=False, said=said or _quiet, cancel=cancel or CancelToken())

    @needs(Role.OPERATOR)
    def check_all(self, *, said: Said | None = None, cancel: CancelToken | None = None) -> Verification:
        """As :meth:`check`, and the manifest of each snapshot that is there, read at its destination."""
        return self._run(manifests=True, said=said or _quiet, cancel=cancel or CancelToken())

    def standing(self) -> EvidenceStanding:
        """How many events there are, how far they are signed, and what the last daily check found."""
        with self._engine.catalog.read() as tx:
            last, head = catalogs.events.last(tx), catalogs.events.newest_head(tx)
            checked = catalogs.events.list_recent(tx, kind=CHECKED, limit=1)
        return EvidenceStanding(
            events=last.seq if last is not None else 0,
            signed_seq=head.seq if head is not None else None,
            signed_at=head.signed_at if head is not None else None,
            checked_at=checked[0].at if checked else None,
            wrong=int(checked[0].data.get("wrong") or 0) if checked else 0,
        )

    def sign(self) -> EventHead | None:
        """Sign the end of the history as it is now; the newest signed end, None without any event.

        Raises KeyAccessError, CatalogError.
        """
        engine = self._engine
        signer = engine.keys.open().signer
        with engine.catalog.write() as tx:
            return chain.sign_head(tx, signer, engine.clock)

    def duty(self) -> Duty:
        return Duty("evidence", LOOK_EVERY_S, self.look)

    def look(self) -> None:
        """Once a day: look at all of the catalog, write down what came of it, and sign the end of the history."""
        engine = self._engine
        with engine.catalog.read() as tx:
            due = self._due(tx)
        if due:
            found = self.check()
            data: dict[str, str | int | bool | None] = {
                "wrong": found.wrong,
                "events": found.events,
                "first": f"{found.findings[0].subject}: {found.findings[0].text}"[:300] if found.findings else None,
            }
            with acting_as(WORKER), engine.catalog.write() as tx:
                if self._due(tx):  # no other worker was faster
                    chain.append_event(tx, engine.clock, actor=engine.actor, kind=CHECKED, subject="catalog", data=data)
        with engine.catalog.read() as tx:
            unsigned = self._unsigned(tx)
        if unsigned:
            self.sign()

    def _due(self, tx: Tx) -> bool:
        checked = catalogs.events.list_recent(tx, kind=CHECKED, limit=1) or catalogs.events.list_after(tx, 0, limit=1)
        return bool(checked) and self._engine.clock.now() - checked[0].at >= DAILY

    def _unsigned(self, tx: Tx) -> bool:
        """Whether the end of the history is a day old and not signed."""
        last, head = catalogs.events.last(tx), catalogs.events.newest_head(tx)
        if last is None or (head is not None and head.seq == last.seq):
            return False
        return head is None or last.kind == CHECKED or self._engine.clock.now() - head.signed_at >= DAILY

    def _run(self, *, manifests: bool, said: Said, cancel: CancelToken) -> Verification:
        began = time.monotonic()
        keys, refused = self._keys()
        with self._engine.catalog.read() as tx:
            installation = catalogs.installation.identity(tx)
            if installation is None:
                raise CatalogError("catalog.damaged", "the catalog does not say whose it is")
            run = _Run(installation, said, cancel)
            run.history(tx)
            run.rows(tx)
            run.receipts(tx)
            self._sealed(tx, run, keys, refused)
        if manifests:
            self._manifests(run)
        return Verification(
            at=self._engine.clock.now(),
            catalog=self._engine.catalog.where,
            catalog_id=installation.catalog_id,
            checked=tuple(run.checked),
            findings=tuple(run.findings),
            events=run.events,
            signed_seq=run.signed_seq,
            signed_at=run.signed_at,
            unsigned=run.events - (run.signed_seq or 0),
            wrong=sum(part.wrong for part in run.checked),
            took_s=round(time.monotonic() - began, 3),
        )

    def _keys(self) -> tuple[Keys | None, OffsiteError | None]:
        try:
            return self._engine.keys.open(), None
        except OffsiteError as e:
            return None, e
        except ValueError as e:  # a public key in the catalog that is none
            return None, KeyAccessError("key.row-altered", f"the keys of the catalog cannot be read: {e}")

    def _sealed(self, tx: Tx, run: _Run, keys: Keys | None, refused: OffsiteError | None) -> None:
        """The signing key and every sealed value, where the master key can be had."""
        with run.part(Part.KEYS) as part:
            if keys is None:
                assert refused is not None
                if refused.code in ("key.row-altered", "key.wrong"):
                    part.wrong("the master key", f"{refused.message} [{refused.code}]", refused.hint)
                else:
                    part.note = f"not looked at: {refused.message} [{refused.code}]"
                return
            part.count = 1
            if keys.signer.public_hex != run.installation.signer_public:
                part.wrong("the signing key", "the catalog names another public key than the one it seals")
            try:
                for table, column, row_id, value in _cells(tx):
                    part.look()
                    self._cell(part, keys, table, column, row_id, value)
            except (CatalogError, ValueError) as e:
                part.wrong("sealed values", f"they cannot be read: {e}")

    def _cell(self, part: _Part, keys: Keys, table: str, column: str, row_id: str, value: str) -> None:
        try:
            self._engine.keys.unseal(keys, table, column, row_id, value)
        except KeyAccessError as e:
            what = f"{bound.KINDS[table].words} {row_id}"
            part.wrong(what, f"its sealed {column.replace('_', ' ')} does not open: {e.message}")

    def _manifests(self, run: _Run) -> None:
        """The manifest of every snapshot that is there: bytes, signature, and what it says."""
        stores: dict[str, Storage | OffsiteError] = {}
        skipped: dict[str, int] = {}
        with run.part(Part.MANIFESTS) as part:
            after = ""
            while True:
                with self._engine.catalog.read() as tx:
                    page = catalogs.snapshots.stored_after(tx, after, limit=_PAGE)
                    for one in page:
                        if one.destination_id not in stores:
                            stores[one.destination_id] = self._open(tx, one.destination_id)
                if not page:
                    break
                after = page[-1].id
                for one in page:
                    part.look()
                    store = stores[one.destination_id]
                    try:
                        if isinstance(store, OffsiteError):
                            raise store
                        data = b"".join(store.read(one.manifest_key, cancel=run.cancel))
                    except OffsiteError as e:
                        run.cancel.check()
                        if e.code == "store.missing":
                            text, hint = "its manifest is not at the destination", "`offsitedb reconcile DESTINATION`."
                            part.wrong(f"snapshot {one.id}", text, hint)
                        else:
                            part.not_read()
                            said = f"{e.message} [{e.code}]"
                            skipped[said] = skipped.get(said, 0) + 1
                        continue
                    for text in _manifest(data, one, run.installation):
                        part.wrong(f"snapshot {one.id}", text, f"`offsitedb snapshot verify {one.id[:12]}`.")
            part.note = "; ".join(f"{n} could not be read: {why}" for why, n in skipped.items())

    def _open(self, tx: Tx, destination_id: str) -> Storage | OffsiteError:
        try:
            return self._engine.open_storage(catalogs.destinations.get(tx, destination_id))
        except OffsiteError as e:
            return e


class _Part:
    """One part while it is looked at."""

    def __init__(self, run: _Run, part: Part) -> None:
        self._run = run
        self.part = part
        self.count = self.bad = self.unread = 0
        self.total: int | None = None
        self.note = ""

    def look(self) -> None:
        """At one more thing."""
        self.count += 1
        if self.count % 500 == 0:
            self._run.cancel.check()
            self._run.said(self.part, self.count, self.total)

    def not_read(self) -> None:
        """The thing just looked for could not be had."""
        self.count -= 1
        self.unread += 1

    def wrong(self, subject: str, text: str, hint: str = "") -> None:
        self.bad += 1
        if len(self._run.findings) < NAMED:
            self._run.findings.append(VerifyFinding(self.part, subject, text, hint or _HINTS.get(self.part, "")))

    def __enter__(self) -> _Part:
        self._run.said(self.part, 0, None)
        return self

    def __exit__(self, *exc: object) -> None:
        self._run.checked.append(Checked(self.part, self.count, self.bad, self.note, self.unread))


class _Run:
    """One verification: what was looked at and what was found."""

    def __init__(self, installation: Identity, said: Said, cancel: CancelToken) -> None:
        self.installation = installation
        self.said = said
        self.cancel = cancel
        self.checked: list[Checked] = []
        self.findings: list[VerifyFinding] = []
        self.events = 0
        self.signed_seq: int | None = None
        self.signed_at: datetime | None = None
        self._known = Known()
        self._between: list[RowFinding] = []

    def part(self, part: Part) -> _Part:
        return _Part(self, part)

    def history(self, tx: Tx) -> None:
        """The chain and its signed ends; on the way, what each event says of rows."""
        with self.part(Part.HISTORY) as part:
            for name in catalogs.events.missing_guards(tx):
                part.wrong("the database", f"it does not refuse to change the history any more: {name} is gone")
            last = catalogs.events.last_seq(tx)
            part.total = last
            for told in chain.walk(tx, self.installation.signer_public):
                for finding in told.findings:
                    part.wrong(f"event {finding.seq}", finding.detail)
                if told.seq is None:
                    break
                part.look()
                self.events = told.seq
                self._between += self._known.hear(told.seq, told.kind, told.data)
                if told.signed_at is not None:
                    self.signed_seq, self.signed_at = told.seq, _at(told.signed_at)

    def rows(self, tx: Tx) -> None:
        with self.part(Part.ROWS) as part:
            for finding in self._between:
                self._row(tx, part, finding)
            for one in self._known.compare(tx):
                part.look()
                if one is not None:
                    self._row(tx, part, one)
            part.note = "; ".join(
                f"{n:,} were bound as they were found{_event_words(tx, seq)}" for n, seq in self._known.adopted.values()
            )

    def receipts(self, tx: Tx) -> None:
        with self.part(Part.RECEIPTS) as part:
            try:
                for drill_id, wrong in proofs.judge_all(tx, self.installation.signer_public):
                    part.look()
                    for text in wrong:
                        part.wrong(f"receipt of drill {drill_id}", text)
            except CatalogError as e:
                part.wrong("receipts", f"they cannot be read: {e.message}")

    def _row(self, tx: Tx, part: _Part, finding: RowFinding) -> None:
        table, _, key = finding.label.partition("/")
        hint = _ROW_HINTS.get(table, f"{_ASK}.").format(key=key, short=key[:12])
        part.wrong(finding.words, finding.detail + _event_words(tx, finding.seq), hint)


def _event_words(tx: Tx, seq: int | None) -> str:
    event = catalogs.events.get(tx, seq) if seq is not None else None
    return "" if event is None else f" (event {seq}: {event.kind} by {event.actor}, {event.at[:16].replace('T', ' ')})"


def _cells(tx: Tx) -> Iterator[tuple[str, str, str, str]]:
    """Table, column, row and text of everything sealed in rows that are in use."""
    for connection in catalogs.connections.list_all(tx):
        yield "connections", "conninfo", connection.id, connection.conninfo_sealed
    for server in catalogs.scratch_servers.list_all(tx):
        yield "scratch_servers", "conninfo", server.id, server.conninfo_sealed
    for destination in catalogs.destinations.list_all(tx):
        if destination.keys is not None:
            for column in ("access_key", "secret_key", "prune_access_key", "prune_secret_key"):
                sealed = getattr(destination.keys, column)
                if sealed is not None:
                    yield "destinations", column, destination.id, sealed
    for channel in catalogs.alert_channels.list_all(tx):
        yield "alert_channels", "url", channel.id, channel.url_sealed
        if channel.secret_sealed is not None:
            yield "alert_channels", "secret", channel.id, channel.secret_sealed


def _manifest(data: bytes, row: Stored, installation: Identity) -> Iterator[str]:
    """What is wrong with a manifest that was read at a destination."""
    if hashlib.sha256(data).hexdigest() != row.manifest_sha256:
        yield "the manifest at the destination is not the one whose hash the ledger holds"
    try:
        manifest = read_manifest(data, installation.signer_public)
    except FormatError as e:
        yield e.message
        return
    for name, said, held in _pairs(manifest, row, installation):
        if said != held:
            yield f"its manifest says {name} {said}, and the ledger {held}"


def _pairs(manifest: Manifest, row: Stored, installation: Identity) -> Iterator[tuple[str, object, object]]:
    yield "artifact", manifest.artifact_id, row.id
    yield "catalog", manifest.catalog_id, installation.catalog_id
    yield "connection", manifest.connection_id, row.connection_id
    yield "number", manifest.seq, row.seq
    yield "object", manifest.object_key, row.object_key
    yield "SHA-256", manifest.artifact_sha256, row.artifact_sha256
    yield "size", manifest.size_bytes, row.size_bytes
    yield "taken at", _at(manifest.created_at), row.taken_at


def _at(text: str) -> datetime | None:
    with suppress(ValueError):
        return from_rfc3339(text)
    return None


def _quiet(part: Part, done: int, total: int | None) -> None:
    del part, done, total
