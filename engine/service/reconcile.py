"""Reconciliation at the door: a destination's listing held against the ledger, in both directions, and written down.

What is missing is looked at twice before it is said. What nobody here knows is counted and never touched: other
catalogs may share the place. Uploads that nobody will finish are aborted. A snapshot whose object is missing is marked
so; when the object is found again, the mark goes.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.catalog import Tx
from engine.catalog.reconciliations import Expected
from engine.errors import OffsiteError, StoreError
from engine.evidence import chain
from engine.model import Destination, Role
from engine.model.retention import (
    LockState,
    Reconciled,
    Reconciliation,
    ReconciliationView,
    Removal,
    RemovalResult,
)
from engine.service.access import needs
from engine.service.duties import Duty
from engine.snapshot import manifest_key_of
from engine.storage.base import Storage

if TYPE_CHECKING:
    from engine.service import Engine

LOOK_EVERY_S = 6 * 3600.0
EVERY = timedelta(days=7)
RULE = "reconciliation"
_NAMED = 1000
"""Keys that each list of an outcome names at most."""
_OURS = "v1/"
_log = logging.getLogger("offsitedb.worker")


@dataclass(frozen=True, slots=True)
class _Listing:
    sizes: Mapping[str, int]
    sha256: str


@dataclass(frozen=True, slots=True)
class _Found:
    """What was seen: snapshots whose artifact is gone or there again, and the outcome but for its totals."""

    missing: tuple[Expected, ...]
    again: tuple[Expected, ...]
    outcome: Reconciled


class ReconcileFacet:
    """``engine.reconcile``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @needs(Role.ADMIN)
    def run(self, destination: str, *, cancel: CancelToken | None = None) -> ReconciliationView:
        """List the destination and hold it against the ledger. Raises ConfigError, StoreError, KeyAccessError."""
        with self._engine.catalog.read() as tx:
            record = catalogs.destinations.by_name(tx, destination)
        return self._run(record, cancel or CancelToken())

    def last(self, destination: str) -> ReconciliationView | None:
        """The newest reconciliation of a destination; None: there was none. Raises ConfigError."""
        with self._engine.catalog.read() as tx:
            record = catalogs.destinations.by_name(tx, destination)
            found = catalogs.reconciliations.newest(tx, record.id)
        return None if found is None else _view(record.name, found)

    def recent(self, limit: int = 1000) -> tuple[ReconciliationView, ...]:
        """Reconciliations of all destinations, newest first."""
        with self._engine.catalog.read() as tx:
            found = catalogs.reconciliations.list_recent(tx, limit=limit)
            names = {one.destination_id: "" for one in found}
            names = {id_: catalogs.destinations.get(tx, id_).name for id_ in names}
        return tuple(_view(names[one.destination_id], one) for one in found)

    def duty(self) -> Duty:
        return Duty("reconcile", LOOK_EVERY_S, self.look)

    def look(self) -> None:
        """Reconcile each destination in use that was not reconciled for a week, or whose first snapshot is as old."""
        with self._engine.catalog.read() as tx:
            due = [d for d in catalogs.destinations.list_all(tx) if self._is_due(tx, d)]
        for destination in due:
            with self._engine.catalog.read() as tx:
                if not self._is_due(tx, destination):  # another worker did it meanwhile
                    continue
            try:
                self._run(destination, CancelToken())
            except OffsiteError as e:  # of one destination: the others have their turn
                _log.warning("reconcile %s: %s [%s] %s", destination.name, e.message, e.code, e.hint)

    def _is_due(self, tx: Tx, destination: Destination) -> bool:
        last = catalogs.reconciliations.newest(tx, destination.id)
        since = catalogs.reconciliations.first_at(tx, destination.id) if last is None else last.reconciled_at
        return since is not None and self._engine.clock.now() - since >= EVERY

    def _run(self, destination: Destination, cancel: CancelToken) -> ReconciliationView:
        engine = self._engine
        storage = engine.open_storage(destination)
        before = self._ledger(destination.id)
        listing = _list(storage, cancel)
        swept = storage.sweep(now=engine.clock.now())
        cancel.check()
        found = self._compare(destination.id, storage, before, listing)
        lock = self._lock(storage, before, listing)
        now = engine.clock.now()
        outcome = Reconciled(
            snapshots=found.outcome.snapshots,
            missing=found.outcome.missing[:_NAMED],
            unknown=found.outcome.unknown[:_NAMED],
            mismatched=found.outcome.mismatched[:_NAMED],
            lingering=found.outcome.lingering[:_NAMED],
            found_again=tuple(e.object_key for e in found.again)[:_NAMED],
            foreign=found.outcome.foreign,
            aborted_uploads=len(swept),
            aborted_bytes=sum(left.size_bytes for left in swept),
            lock=lock,
        )
        record = Reconciliation(
            id=secrets.token_hex(16),
            destination_id=destination.id,
            reconciled_at=now,
            objects=len(listing.sizes),
            size_bytes=sum(listing.sizes.values()),
            listing_sha256=listing.sha256,
            outcome=outcome,
        )
        with engine.catalog.write() as tx:
            self._mark(tx, found, now)
            catalogs.reconciliations.add(tx, record)
            self._tell(tx, record, found)
        return _view(destination.name, record)

    def _ledger(self, destination_id: str) -> list[tuple[Expected, RemovalResult | None]]:
        with self._engine.catalog.read() as tx:
            gone = catalogs.removals.at_destination(tx, destination_id)
            return [(e, gone.get(e.snapshot_id)) for e in catalogs.reconciliations.expected(tx, destination_id)]

    def _compare(
        self,
        destination_id: str,
        storage: Storage,
        before: Sequence[tuple[Expected, RemovalResult | None]],
        listing: _Listing,
    ) -> _Found:
        """``before`` is older than the listing: whatever came meanwhile is looked up in the ledger of now."""
        after = {e.snapshot_id: (e, result) for e, result in self._ledger(destination_id)}
        with self._engine.catalog.read() as tx:
            written = catalogs.reconciliations.being_written(tx)
            everywhere = catalogs.reconciliations.known_keys(tx)  # one place may be two destinations
            ours = catalogs.watch.names(tx).keys()
        missing, mismatched, gone = [], [], []
        for expected, was in before:
            _, now = after[expected.snapshot_id]
            if _there(was) and _there(now):
                lost, wrong = _look(storage, expected, listing)
                mismatched += wrong
                missing += lost
                if expected.object_key in lost:
                    gone.append(expected)
        known = {key: result for e, result in after.values() for key in (e.object_key, e.manifest_key)}
        again = [
            e
            for e, result in after.values()
            if result is RemovalResult.MISSING and listing.sizes.get(e.object_key) == e.size_bytes
        ]
        here = [key for key in listing.sizes if key.split("/")[1] in ours]
        known_here = everywhere | {key for one in written for key in (one, manifest_key_of(one))}
        unknown = [key for key in here if key not in known_here]
        lingering = [key for key in here if known.get(key) is RemovalResult.REMOVED and _still(storage, key)]
        outcome = Reconciled(
            snapshots=sum(_there(result) for _, result in after.values()),
            missing=tuple(missing),
            unknown=tuple(unknown),
            mismatched=tuple(mismatched),
            lingering=tuple(lingering),
            found_again=(),
            foreign=len(listing.sizes) - len(here),
            aborted_uploads=0,
            aborted_bytes=0,
        )
        return _Found(tuple(gone), tuple(again), outcome)

    def _lock(
        self, storage: Storage, before: Sequence[tuple[Expected, RemovalResult | None]], listing: _Listing
    ) -> LockState | None:
        """The Object Lock of the newest snapshot: what a bucket's default does to every new one."""
        there = [e for e, result in before if _there(result) and e.object_key in listing.sizes]
        held = storage.held(there[-1].object_key) if there else None
        return None if held is None else LockState(held.mode, held.until)

    def _mark(self, tx: Tx, found: _Found, now: datetime) -> None:
        """Snapshots whose artifact is missing, and those whose artifact is there again."""
        for e in found.missing:
            was = catalogs.removals.of_snapshot(tx, e.snapshot_id)
            if was is not None and was.result.gone:
                continue  # removed while we looked
            removal = Removal(
                snapshot_id=e.snapshot_id,
                connection_id=e.connection_id,
                job_id=None,
                rule=RULE,
                result=RemovalResult.MISSING,
                detail="",
                removed_at=now,
            )
            catalogs.removals.begin(tx, removal)
            self._event(tx, "snapshot.missing", e.snapshot_id, {"object": e.object_key, "rule": RULE})
        for e in found.again:
            if catalogs.removals.take_back(tx, e.snapshot_id, RemovalResult.MISSING):
                self._event(tx, "snapshot.found", e.snapshot_id, {"object": e.object_key})

    def _tell(self, tx: Tx, record: Reconciliation, found: _Found) -> None:
        seen = found.outcome
        data: dict[str, str | int | bool | None] = {
            "objects": record.objects,
            "bytes": record.size_bytes,
            "listing_sha256": record.listing_sha256,
            "missing": len(seen.missing),
            "mismatched": len(seen.mismatched),
            "unknown": len(seen.unknown),
            "lingering": len(seen.lingering),
            "found_again": len(found.again),
            "aborted_uploads": record.outcome.aborted_uploads,
        }
        self._event(tx, "destination.reconciled", record.destination_id, data)

    def _event(self, tx: Tx, kind: str, subject: str, data: Mapping[str, str | int | bool | None]) -> None:
        chain.append_event(tx, self._engine.clock, actor=self._engine.actor, kind=kind, subject=subject, data=data)


def _list(storage: Storage, cancel: CancelToken) -> _Listing:
    hashed, sizes = hashlib.sha256(), {}
    for info in storage.list(_OURS):
        cancel.check()
        sizes[info.key] = info.size_bytes
        hashed.update(f"{info.key} {info.size_bytes}\n".encode())
    return _Listing(sizes, hashed.hexdigest())


def _look(storage: Storage, expected: Expected, listing: _Listing) -> tuple[list[str], list[str]]:
    """Keys of the snapshot that are missing, and those of another size: each asked for once more."""
    lost = [
        k for k in (expected.object_key, expected.manifest_key) if k not in listing.sizes and not _still(storage, k)
    ]
    wrong = []
    if listing.sizes.get(expected.object_key, expected.size_bytes) != expected.size_bytes:
        wrong = [expected.object_key]
    return lost, wrong


def _still(storage: Storage, key: str) -> bool:
    try:
        storage.stat(key)
    except StoreError as e:
        if e.code == "store.missing":
            return False
        raise
    return True


def _there(result: RemovalResult | None) -> bool:
    return result is None or not result.gone


def _view(name: str, record: Reconciliation) -> ReconciliationView:
    return ReconciliationView(
        destination=name,
        reconciled_at=record.reconciled_at,
        objects=record.objects,
        size_bytes=record.size_bytes,
        listing_sha256=record.listing_sha256,
        agrees=record.outcome.agrees,
        outcome=record.outcome,
    )
