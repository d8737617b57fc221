"""The recovery code and its kit at the door: where the kit lies, writing it, and proving that the code still opens all.

Whether a kit is up to date is seen by its stamp, at every look of a worker: whoever changes a connection, a key or a
destination need not think of it. A destination that does not take the kit is named and tried again; it costs nothing
else. What was written and proven stands in the history of events, and is read from there.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.catalog import Tx
from engine.errors import KeyAccessError, OffsiteError, StoreError
from engine.evidence import chain
from engine.keys.binding import show_kid
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryCode, open_bundle
from engine.kit import gathering, holdings, shelf
from engine.kit.gathering import Contents
from engine.model import Destination, Event, Installation, Role, Snapshot
from engine.model.kit import KitState, KitView, RecoveryProof, RecoveryStep, RecoveryView
from engine.redact import holding
from engine.service import codeproof
from engine.service.access import WORKER, acting_as, needs
from engine.service.duties import Duty
from engine.snapshot import Keys

if TYPE_CHECKING:
    from engine.service import Engine

WRITTEN, FAILED, VERIFIED = "recovery.kit-written", "recovery.kit-failed", "recovery.verified"
"""Events. The subject of the first two is a destination, of the third the recovery key."""
VERIFY_EVERY = timedelta(days=180)
"""Older than that, nobody should rely on a code that lies in a drawer."""
LOOK_EVERY_S = 30.0
RETRY = timedelta(minutes=10)
"""A destination that refused the kit is not asked again before."""
LOOK_THERE = timedelta(days=1)
"""How often a worker looks whether the kit still lies where it was laid, as it was laid."""
_PAGE = 1000
_log = logging.getLogger("offsitedb.worker")


@dataclass(slots=True)
class Laid:
    """What the history says of the kit at one destination."""

    stamp: str | None = None
    sha256: str | None = None
    """Of the bundle; None: an older version did not say."""
    written_at: datetime | None = None
    failed_code: str | None = None
    failed: str | None = None
    failed_at: datetime | None = None


@dataclass(slots=True)
class History:
    """The events of the kit, read on from where the last look ended."""

    read_to: int = 0
    laid: dict[str, Laid] = field(default_factory=dict)
    verified: dict[str, datetime] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read_on(self, tx: Tx) -> History:
        with self._lock:
            kinds = (WRITTEN, FAILED, VERIFIED)
            while page := catalogs.events.list_of_kinds(tx, kinds, after=self.read_to, limit=_PAGE):
                for event in page:
                    self._take(event)
                self.read_to = page[-1].seq
        return self

    def at(self, destination_id: str) -> Laid:
        return self.laid.get(destination_id) or Laid()

    def _take(self, event: Event) -> None:
        if event.kind == VERIFIED:
            self.verified[event.subject] = event.at
        elif event.kind == WRITTEN:
            sha256 = event.data.get("sha256")
            self.laid[event.subject] = Laid(
                str(event.data.get("stamp")), sha256 if isinstance(sha256, str) else None, event.at
            )
        else:
            known = self.laid.setdefault(event.subject, Laid())
            known.failed_code, known.failed_at = str(event.data.get("code")), event.at
            known.failed = str(event.data.get("message"))


class RecoveryFacet:
    """``engine.recovery``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._history = History()
        self._tried: dict[str, datetime] = {}
        """When a destination last refused the kit, in this process."""
        self._seen: dict[str, datetime] = {}
        """When this process last saw the kit lie there."""

    def show(self) -> RecoveryView:
        """Where the kit lies and in which state, from the catalog alone. Raises ConfigError."""
        with self._engine.catalog.read() as tx:
            return self.facts(tx)

    def facts(self, tx: Tx) -> RecoveryView:
        """The same within a transaction, for who gathers facts."""
        contents, history = gathering.read(tx), self._history.read_on(tx)
        found = contents.installation
        verified_at = history.verified.get(found.recovery_kid)
        return RecoveryView(
            recovery_kid=found.recovery_kid,
            confirmed_at=found.recovery_confirmed_at,
            verified_at=verified_at,
            overdue=verified_at is None or self._engine.clock.now() - verified_at > VERIFY_EVERY,
            kits=tuple(_kit_view(d, history.at(d.id), contents.stamp) for d in catalogs.destinations.list_all(tx)),
        )

    @needs(Role.OPERATOR)
    def kit(self, destination: str | None = None, *, cancel: CancelToken | None = None) -> tuple[KitView, ...]:
        """Write the kit now, to one destination or to all; what came of it is in the views.

        Raises ConfigError for the name, KeyAccessError; and StoreError where one destination was named.
        """
        with self._engine.catalog.read() as tx:
            if destination is None:
                wanted = catalogs.destinations.list_all(tx)
            else:
                wanted = [catalogs.destinations.by_name(tx, destination)]
        for record in wanted:
            try:
                self._lay(record, cancel or CancelToken())
            except StoreError:
                if destination is not None:
                    raise
        names = {record.name for record in wanted}
        return tuple(view for view in self.show().kits if view.destination in names)

    def after_change(self, destination_id: str, cancel: CancelToken | None = None) -> OffsiteError | None:
        """Lay the kit down if it is not current there. Never raises for what the destination or the keyring says.

        For who has just used the destination: its adding, its new keys, a checkpoint.
        """
        try:
            with self._engine.catalog.read() as tx:
                record = catalogs.destinations.get(tx, destination_id)
                due = self._is_due(tx, record, gathering.read(tx).stamp)
            if due:
                self._lay(record, cancel or CancelToken())
        except OffsiteError as e:
            return e
        return None

    def after_checkpoint(self, destination_id: str, cancel: CancelToken) -> OffsiteError | None:
        """:meth:`after_change`, done by the worker."""
        with acting_as(WORKER):
            return self.after_change(destination_id, cancel)

    def duty(self) -> Duty:
        return Duty("recovery kit", LOOK_EVERY_S, self.look)

    def look(self) -> None:
        """Lay the kit down wherever it is stale, was never laid or is gone. What a destination refuses is named once.

        Raises KeyAccessError: without the key nothing can be laid down.
        """
        with self._engine.catalog.read() as tx:
            stamp = gathering.read(tx).stamp
            there = catalogs.destinations.list_all(tx)
            due = [d for d in there if self._is_due(tx, d, stamp)]
        for record in there:
            try:
                if record in due or self._is_gone(record):
                    self._lay(record, CancelToken())
            except StoreError as e:
                _log.info("recovery kit at %s: %s [%s]", record.name, e.message, e.code)

    @needs(Role.ADMIN)
    def verify(self, code_text: str, *, cancel: CancelToken | None = None) -> RecoveryProof:
        """Prove that the code opens what it has to: the catalog's bundle, the newest artifact and the kit everywhere.

        Raises KeyAccessError ``key.recovery-code`` for a code that cannot be read or is another installation's.
        """
        code = RecoveryCode.parse(code_text)
        with holding(code.text):
            return self._verify(code, cancel or CancelToken())

    def _verify(self, code: RecoveryCode, cancel: CancelToken) -> RecoveryProof:
        engine, at = self._engine, self._engine.clock.now()
        with engine.catalog.read() as tx:
            contents = gathering.read(tx)
            destinations = catalogs.destinations.list_all(tx)
            newest = _newest(tx)
        found = contents.installation
        masters = open_bundle(code, found.catalog_id, found.recovery_bundle).masters
        steps = [codeproof.bundle_step(found, masters)]
        for record in destinations:
            steps += self._prove_at(record, code, contents, masters, newest.get(record.id), cancel)
        proof = RecoveryProof(found.recovery_kid, all(step.ok for step in steps), at, tuple(steps))
        if proof.verified:
            self._write_down(proof, len(destinations))
        return proof

    def _prove_at(
        self,
        record: Destination,
        code: RecoveryCode,
        contents: Contents,
        masters: tuple[MasterKey, ...],
        snapshot: Snapshot | None,
        cancel: CancelToken,
    ) -> list[RecoveryStep]:
        """The kit at a destination, and the newest artifact there."""
        steps = []
        try:
            storage = self._engine.open_storage(record)
            steps.append(codeproof.kit_step(storage, record, code, contents, masters, cancel))
            if snapshot is not None:
                steps.append(codeproof.artifact_step(storage, record, snapshot, code, masters, cancel))
        except (StoreError, KeyAccessError) as e:
            steps.append(RecoveryStep(f"destination {record.name}", False, f"{e.message}. {e.hint}"))
        return steps

    def _write_down(self, proof: RecoveryProof, destinations: int) -> None:
        with self._engine.catalog.write() as tx:
            catalogs.installation.confirm_recovery(tx, proof.at)
            self._event(tx, VERIFIED, proof.recovery_kid, {"steps": len(proof.steps), "destinations": destinations})

    def _is_due(self, tx: Tx, record: Destination, stamp: str) -> bool:
        laid = self._history.read_on(tx).at(record.id)
        if laid.stamp == stamp and laid.failed_at is None:
            return False
        now, tried = self._engine.clock.now(), self._tried.get(record.id)
        return tried is None or now - tried >= RETRY

    def _is_gone(self, record: Destination) -> bool:
        """Whether a kit that was laid down is not there any more, or not that one; looked at once a day.

        Another one is what a second living installation of this name leaves, or whoever else can write there. Raises
        StoreError.
        """
        now, seen = self._engine.clock.now(), self._seen.get(record.id)
        tried = self._tried.get(record.id)
        if (seen is not None and now - seen < LOOK_THERE) or (tried is not None and now - tried < RETRY):
            return False
        with self._engine.catalog.read() as tx:
            catalog_id = gathering.read(tx).installation.catalog_id
            laid = self._history.read_on(tx).at(record.id)
        try:
            storage = self._engine.open_storage(record)
            gone = bool(shelf.missing(storage, catalog_id))
            if not gone and laid.sha256 is not None:
                there = shelf.read_bundle(storage, catalog_id, CancelToken())
                gone = hashlib.sha256(there).hexdigest() != laid.sha256
        except StoreError:
            self._tried[record.id] = now
            raise
        self._seen[record.id] = now
        if gone:
            _log.warning("recovery kit at %s: what lies there is not what was laid down; written anew", record.name)
        return gone

    def _lay(self, record: Destination, cancel: CancelToken) -> None:
        """Write the kit and note it. Raises StoreError, which is noted, and KeyAccessError."""
        engine = self._engine
        keys = engine.keys.open()
        with engine.catalog.read() as tx:
            contents = gathering.read(tx)
        found = contents.installation
        masters, seed = self._masters(record, keys), self._seed(keys, found)
        held = gathering.gather(contents, self._unsealing(keys), masters, seed, engine.clock.now())
        bundle = holdings.seal(held, keys.recovery)
        try:
            written = shelf.lay(engine.open_storage(record), found.catalog_id, found.signer_public, bundle, cancel)
        except StoreError as e:
            self._note_failure(record, e)
            raise
        now = engine.clock.now()
        self._tried.pop(record.id, None)
        self._seen[record.id] = now
        with engine.catalog.write() as tx:
            data: dict[str, str | int] = {"name": record.name, "stamp": contents.stamp, "objects": len(written)}
            data["sha256"] = hashlib.sha256(bundle).hexdigest()
            self._event(tx, WRITTEN, record.id, data)
            chain.sign_head(tx, keys.signer, engine.clock)

    def _note_failure(self, record: Destination, error: StoreError) -> None:
        """Once for each reason: a destination that is away for a week is one event."""
        self._tried[record.id] = self._engine.clock.now()
        with self._engine.catalog.write() as tx:
            if self._history.read_on(tx).at(record.id).failed_code != error.code:
                data = {"name": record.name, "code": error.code, "message": error.message}
                self._event(tx, FAILED, record.id, data)

    def _unsealing(self, keys: Keys) -> gathering.Unseal:
        return lambda table, column, row_id, value: self._engine.keys.unseal(keys, table, column, row_id, value)

    def _seed(self, keys: Keys, found: Installation) -> str:
        return self._engine.keys.unseal(keys, "installation", "signer", found.catalog_id, found.signer_sealed)

    def _masters(self, record: Destination, keys: Keys) -> tuple[MasterKey, ...]:
        """The epochs that this host has. Raises KeyAccessError.

        ``key.missing`` where one that snapshots need is not among them: the kit that lies there has it.
        """
        masters = keys.epochs.at_hand()
        with self._engine.catalog.read() as tx:
            lacking = sorted(catalogs.snapshots.kids(tx).keys() - {m.kid for m in masters})
            laid = self._history.read_on(tx).at(record.id)
        if lacking and laid.written_at is not None:
            raise KeyAccessError(
                "key.missing",
                f"the recovery kit at {record.name} stays as it is: this host's keyring lacks "
                f"{' and '.join(map(show_kid, lacking))}, which snapshots need",
            )
        return masters

    def _event(self, tx: Tx, kind: str, subject: str, data: Mapping[str, str | int]) -> None:
        chain.append_event(tx, self._engine.clock, actor=self._engine.actor, kind=kind, subject=subject, data={**data})


def _newest(tx: Tx) -> dict[str, Snapshot]:
    """The newest snapshot that is there, of those of the connections in use, by destination."""
    found: dict[str, Snapshot] = {}
    for connection in catalogs.connections.list_all(tx):
        one = catalogs.snapshots.newest_there(tx, connection.id)
        if one is not None and (one.destination_id not in found or one.taken_at > found[one.destination_id].taken_at):
            found[one.destination_id] = one
    return found


def _kit_view(record: Destination, laid: Laid, stamp: str) -> KitView:
    if laid.failed_at is not None:
        state = KitState.FAILING
    elif laid.written_at is None:
        state = KitState.ABSENT
    else:
        state = KitState.CURRENT if laid.stamp == stamp else KitState.STALE
    return KitView(record.name, record.where, state, laid.written_at, laid.failed)
