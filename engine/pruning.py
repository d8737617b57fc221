"""Applying retention: plan anew, write the decision down, remove manifest and artifact, say what is true afterwards.

The order survives a kill at any point. First the snapshot is marked as being removed, in the transaction that made the
plan: from then on nobody drills or restores it, and the next pruning finishes what this one began. Then the manifest
goes, then the artifact: what is found at a destination with its manifest is whole at every moment. Nothing is touched
where a lock holds either of them. The newest proven snapshots are never removed, whatever a policy says, and no lock
is ever lifted.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine import catalog as catalogs
from engine import retention
from engine.catalog import Catalog, Tx
from engine.catalog.retention import Policied
from engine.clock import Clock
from engine.errors import CatalogError, OffsiteError, StoreError
from engine.evidence import chain
from engine.evidence.signer import Signer
from engine.jobs import JobContext, Outcome
from engine.model import Destination, Snapshot
from engine.model.retention import Deletion, Plan, Removal, RemovalResult
from engine.progress import Phase, Progress, Unit
from engine.storage.base import Erased, Erasure, Held, Storage

BATCH = 20
"""Snapshots that are marked at once, each time by a plan made anew."""


@dataclass(frozen=True, slots=True)
class Openers:
    """How sealed things are opened; each call may raise KeyAccessError."""

    signer: Callable[[], Signer]
    storage: Callable[[Destination], Storage]


def plan_now(tx: Tx, connection_id: str, now: datetime) -> tuple[Policied, Plan | None]:
    """What the connection's policy does to its snapshots at this moment; None without a policy."""
    known = catalogs.retention.get(tx, connection_id)
    if known.policy is None:
        return known, None
    found = catalogs.retention.candidates(tx, connection_id)
    zone, target_s = zone_of(known.time_zone), known.proof_target_s
    return known, retention.plan(known.policy, found, now, zone=zone, proof_target_s=target_s)


def zone_of(name: str) -> tzinfo:
    """The time zone with this name; UTC for one that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


@dataclass(frozen=True, slots=True)
class _Marked:
    """A snapshot that is being removed. ``resumed``: an earlier pruning began it, and may have done a part."""

    snapshot: Snapshot
    rule: str
    resumed: bool


@dataclass(slots=True)
class _Tally:
    results: list[RemovalResult] = field(default_factory=list)
    freed_bytes: int = 0
    marked: int = 0
    """Snapshots of which the destination keeps an old version."""

    def count(self, result: RemovalResult) -> int:
        return self.results.count(result)


class Pruner:
    """The work of prune jobs. Holds no secrets: they are opened with each job."""

    def __init__(self, catalog: Catalog, clock: Clock, openers: Openers) -> None:
        self._catalog = catalog
        self._clock = clock
        self._openers = openers

    def work(self, context: JobContext) -> Outcome:
        """Finish what an earlier pruning began, then remove what a plan of this moment does not keep.

        Raises StoreError, KeyAccessError, Cancelled, CatalogError ``catalog.fenced``.
        """
        signer = context.signer = self._openers.signer()
        job, tally, tried = context.job, _Tally(), set[str]()
        context.report(Progress(Phase.PRUNE, 0, None, Unit.SNAPSHOTS, "planning"))
        try:
            batch = self._left_over(job.connection_id)
            while True:
                tried |= {marked.snapshot.id for marked in batch}
                self._remove_all(context, batch, tally)
                batch = self._mark(context, tried)
                if not batch:
                    break
        finally:
            self._tell(context, tally, signer)
        return Outcome()

    def _left_over(self, connection_id: str) -> list[_Marked]:
        """What an earlier pruning marked and did not finish."""
        only = (RemovalResult.REMOVING,)
        with self._catalog.read() as tx:
            found = catalogs.removals.list_recent(tx, connection_id=connection_id, results=only, limit=10_000)
            return [_Marked(catalogs.snapshots.get(tx, one.snapshot_id), one.rule, True) for one in found]

    def _mark(self, context: JobContext, tried: set[str]) -> list[_Marked]:
        """The next snapshots to remove, oldest first, marked in the transaction of the plan that says so."""
        job, now = context.job, self._clock.now()
        with self._catalog.write() as tx:
            catalogs.jobs.expect_held(tx, job.id, job.fence)
            _, plan = plan_now(tx, job.connection_id, now)
            if plan is None:
                context.log("info", "there is no policy: everything is kept")
                return []
            if plan.paused is not None:
                context.log("warning", f"paused: {plan.paused}")
                return []
            due = [d for d in reversed(plan.remove) if d.candidate.id not in tried]
            for decision in due[:BATCH]:
                removal = Removal(
                    snapshot_id=decision.candidate.id,
                    connection_id=job.connection_id,
                    job_id=job.id,
                    rule=decision.rule,
                    result=RemovalResult.REMOVING,
                    detail="",
                    removed_at=now,
                )
                catalogs.removals.begin(tx, removal)
            if due:
                self._event(tx, context, "retention.begun", snapshots=len(due[:BATCH]))
            marked = [_Marked(catalogs.snapshots.get(tx, d.candidate.id), d.rule, False) for d in due[:BATCH]]
        total = len(tried) + len(due)
        context.report(Progress(Phase.PRUNE, len(tried), total, Unit.SNAPSHOTS, f"{len(plan.keep):,} are kept"))
        return marked

    def _remove_all(self, context: JobContext, batch: Sequence[_Marked], tally: _Tally) -> None:
        """Remove each; what was marked and not begun when this ends early is there as before."""
        left = list(batch)
        try:
            while left:
                context.cancel.check()
                self._remove(context, left.pop(0), tally)
        except OffsiteError:
            self._take_back(context, [marked for marked in left if not marked.resumed])
            raise

    def _take_back(self, context: JobContext, untouched: Sequence[_Marked]) -> None:
        """They are there as before. Not if another worker holds the job by now: what was marked is its to finish."""
        job = context.job
        try:
            with self._catalog.write() as tx:
                catalogs.jobs.expect_held(tx, job.id, job.fence)
                for marked in untouched:
                    catalogs.removals.take_back(tx, marked.snapshot.id, RemovalResult.REMOVING)
                if untouched:
                    self._event(tx, context, "retention.taken-back", snapshots=len(untouched))
        except CatalogError as e:
            context.log("warning", f"what was marked stays marked, for the next pruning: {e.message}")

    def _remove(self, context: JobContext, marked: _Marked, tally: _Tally) -> None:
        snapshot = marked.snapshot
        with self._catalog.read() as tx:
            destination = catalogs.destinations.get(tx, snapshot.destination_id)
        notes: list[Deletion] = []
        untouched = not marked.resumed
        key = snapshot.object_key
        try:
            storage = self._openers.storage(destination)
            was_there = _is_there(storage, key)
            held = self._held(storage, snapshot)
            if held is not None:
                notes.append(self._note(marked, key, Erased(Erasure.LOCKED, held=held)))
                self._settle(context, marked, RemovalResult.LOCKED, notes, tally, held=held)
                return
            for key in (snapshot.manifest_key, snapshot.object_key):
                erased = storage.erase(key)
                notes.append(self._note(marked, key, erased))
                if erased.result is Erasure.LOCKED:
                    self._settle(context, marked, RemovalResult.LOCKED, notes, tally, held=erased.held)
                    return
                untouched = False
        except StoreError as e:
            denied = e.code == "store.denied"
            notes.append(self._note(marked, key, None, result="denied" if denied else "failed", detail=e.message))
            with self._catalog.write() as tx:
                for note in notes:
                    catalogs.removals.note_deletion(tx, note)
                self._event(tx, context, "retention.failed", snapshot=snapshot.id, object=key, error=e.message)
            if untouched and denied:
                self._take_back(context, [marked])
            raise
        missing = not was_there and not marked.resumed
        result = RemovalResult.MISSING if missing else RemovalResult.REMOVED
        self._settle(context, marked, result, notes, tally)

    def _held(self, storage: Storage, snapshot: Snapshot) -> Held | None:
        """The lock that keeps artifact or manifest for some time yet; the one that ends last."""
        now = self._clock.now()
        found = [storage.held(key) for key in (snapshot.object_key, snapshot.manifest_key)]
        holding = [held for held in found if held is not None and (held.until is None or held.until > now)]
        return max(holding, key=lambda held: held.until or datetime.max.replace(tzinfo=UTC), default=None)

    def _settle(
        self,
        context: JobContext,
        marked: _Marked,
        result: RemovalResult,
        notes: Sequence[Deletion],
        tally: _Tally,
        *,
        held: Held | None = None,
    ) -> None:
        """Write down what is true, and tell of it, in one transaction."""
        snapshot, now = marked.snapshot, self._clock.now()
        kept = next((note.detail for note in notes if note.result == Erasure.MARKED.value), "")
        until = held.until if held is not None else None
        detail = kept if held is None else _lock_words(held)
        with self._catalog.write() as tx:
            for note in notes:
                catalogs.removals.note_deletion(tx, note)
            if not catalogs.removals.settle(tx, snapshot.id, result, now, detail=detail, kept_until=until):
                return  # another pruning was faster
            chain.append_event(
                tx,
                self._clock,
                actor=f"job:{context.job.id}",
                kind=f"snapshot.{result}",
                subject=snapshot.id,
                data={
                    "connection": snapshot.connection_id,
                    "object": snapshot.object_key,
                    "rule": marked.rule,
                    "detail": detail,
                    "taken_at": f"{snapshot.taken_at:%Y-%m-%dT%H:%M:%SZ}",
                },
            )
        tally.results.append(result)
        tally.marked += bool(kept)
        tally.freed_bytes += snapshot.size_bytes if result is RemovalResult.REMOVED and not kept else 0
        words = f"{snapshot.id[:12]} of {snapshot.taken_at:%Y-%m-%d %H:%M} UTC: {result}"
        context.log("info", f"{words} ({detail or marked.rule})")

    def _note(
        self, marked: _Marked, key: str, erased: Erased | None, *, result: str = "", detail: str = ""
    ) -> Deletion:
        if erased is not None:
            result, detail = erased.result.value, erased.detail
            if erased.held is not None:
                detail = _lock_words(erased.held)
            elif erased.result is Erasure.MISSING and marked.resumed:
                detail = "an earlier pruning that was interrupted had removed it"
        return Deletion(
            id=secrets.token_hex(16),
            destination_id=marked.snapshot.destination_id,
            snapshot_id=marked.snapshot.id,
            object_key=key,
            version=", ".join(erased.versions) or None if erased is not None else None,
            rule=marked.rule,
            result=result,
            detail=detail,
            deleted_at=self._clock.now(),
        )

    def _event(self, tx: Tx, context: JobContext, kind: str, **data: str | int) -> None:
        job = context.job
        chain.append_event(tx, self._clock, actor=f"job:{job.id}", kind=kind, subject=job.connection_id, data=data)

    def _tell(self, context: JobContext, tally: _Tally, signer: Signer) -> None:
        if not tally.results:
            return
        removed, locked = tally.count(RemovalResult.REMOVED), tally.count(RemovalResult.LOCKED)
        missing = tally.count(RemovalResult.MISSING)
        with self._catalog.write() as tx:
            chain.append_event(
                tx,
                self._clock,
                actor=f"job:{context.job.id}",
                kind="retention.applied",
                subject=context.job.connection_id,
                data={
                    "removed": removed,
                    "locked": locked,
                    "missing": missing,
                    "old_versions_kept": tally.marked,
                    "freed_bytes": tally.freed_bytes,
                    "job": context.job.id,
                },
            )
            chain.sign_head(tx, signer, self._clock)
        note = f"{removed} removed, {locked} locked, {missing} missing"
        done = len(tally.results)
        context.report(Progress(Phase.PRUNE, done, done, Unit.SNAPSHOTS, note))


def _is_there(storage: Storage, key: str) -> bool:
    try:
        storage.stat(key)
    except StoreError as e:
        if e.code == "store.missing":
            return False
        raise
    return True


def _lock_words(held: Held) -> str:
    return held.mode if held.until is None else f"{held.mode} until {held.until:%Y-%m-%dT%H:%M:%SZ}"
