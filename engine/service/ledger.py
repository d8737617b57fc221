"""The ledger at the door: attempts put together from snapshots, jobs and receipts, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.catalog import Tx
from engine.evidence.receipts import read_receipt
from engine.model import DrillRecord, Job, JobKind, JobState, Snapshot
from engine.model.views import Attempt, DrillView, JobView, SnapshotView
from engine.rebuilding import MADE_ELSEWHERE

if TYPE_CHECKING:
    from engine.service import Engine


class LedgerFacet:
    """``engine.ledger``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def entries(self, connection_name: str | None = None, limit: int = 100) -> tuple[Attempt, ...]:
        """Snapshots with their newest drill, and checkpoints that made none, newest first."""
        with self._engine.catalog.read() as tx:
            only = catalogs.connections.by_name(tx, connection_name).id if connection_name is not None else None
            snapshots = catalogs.snapshots.list_recent(tx, connection_id=only, limit=limit)
            attempts = [(s.taken_at, self.of_snapshot(tx, s)) for s in snapshots]
            attempts += [
                (job.created_at, Attempt(None, self._engine.jobs.view(tx, job), None))
                for job in catalogs.jobs.list_recent(tx, connection_id=only, limit=limit)
                if job.kind is JobKind.CHECKPOINT and job.snapshot_id is None
            ]
        attempts.sort(key=lambda pair: pair[0], reverse=True)
        return tuple(attempt for _, attempt in attempts[:limit])

    def of_job(self, job_id: str) -> Attempt:
        """What a job came to: its snapshot and *its own* drill, as far as there are any."""
        with self._engine.catalog.read() as tx:
            job = catalogs.jobs.get(tx, job_id)
            snapshot = catalogs.snapshots.get(tx, job.snapshot_id) if job.snapshot_id is not None else None
            return self.attempt(tx, snapshot, job)

    def attempt(self, tx: Tx, snapshot: Snapshot | None, job: Job) -> Attempt:
        """A job with ``snapshot``, which is its own, and its own drill."""
        drill = catalogs.drills.get(tx, job.drill_id) if job.drill_id is not None else None
        return self._attempt(tx, snapshot, job, drill)

    def of_drill(self, tx: Tx, drill: DrillRecord) -> Attempt:
        """A drill with its snapshot and the job that made it."""
        snapshot = catalogs.snapshots.get(tx, drill.snapshot_id)
        return self._attempt(tx, snapshot, catalogs.jobs.get(tx, drill.job_id), drill)

    def of_snapshot(self, tx: Tx, snapshot: Snapshot) -> Attempt:
        """A snapshot with its newest drill and the job that made that drill (or, undrilled, the snapshot's own)."""
        drills = catalogs.drills.for_snapshot(tx, snapshot.id)
        drill = drills[0] if drills else None
        if drill is None and snapshot.job_id == MADE_ELSEWHERE:
            name = catalogs.connections.get(tx, snapshot.connection_id).name
            return Attempt(self.snapshot_view(tx, snapshot), _job_elsewhere(snapshot, name), None)
        job = catalogs.jobs.get(tx, drill.job_id if drill is not None else snapshot.job_id)
        return self._attempt(tx, snapshot, job, drill)

    def _attempt(self, tx: Tx, snapshot: Snapshot | None, job: Job, drill: DrillRecord | None) -> Attempt:
        return Attempt(
            snapshot=self.snapshot_view(tx, snapshot) if snapshot is not None else None,
            job=self._engine.jobs.view(tx, job),
            drill=self.drill_view(tx, drill) if drill is not None else None,
        )

    def snapshot_view(self, tx: Tx, snapshot: Snapshot) -> SnapshotView:
        tls = snapshot.details.tls
        destination = catalogs.destinations.get(tx, snapshot.destination_id)
        return SnapshotView(
            id=snapshot.id,
            connection=catalogs.connections.get(tx, snapshot.connection_id).name,
            destination=destination.name,
            tag=snapshot.tag,
            taken_at=snapshot.taken_at,
            object_key=snapshot.object_key,
            size_bytes=snapshot.size_bytes,
            artifact_sha256=snapshot.artifact_sha256,
            rows=snapshot.rows,
            tables=snapshot.tables,
            tables_in_source=snapshot.details.relations_total,
            counts=snapshot.counts,
            not_captured=snapshot.details.not_captured,
            versions=snapshot.details.versions,
            tls="unix socket" if tls.transport == "unix" else f"{tls.sslmode}, {tls.version or 'no TLS'}",
            location=f"{destination.where}/{snapshot.object_key}",
            removal=catalogs.removals.of_snapshot(tx, snapshot.id),
        )

    def drill_view(self, tx: Tx, drill: DrillRecord) -> DrillView:
        """The drill as its receipt says; the receipt's signature is checked on the way."""
        installation = catalogs.installation.get(tx)
        assert installation is not None
        receipt = read_receipt(drill.receipt, installation.signer_public)
        return DrillView(
            id=drill.id,
            verdict=receipt.verdict,
            drilled_at=receipt.drilled_at,
            restore_s=receipt.timings.total_s,
            timings=receipt.timings,
            isolation=receipt.isolation,
            versions=receipt.versions,
            normalised=receipt.normalised,
            tables=receipt.tables,
            skips=receipt.skips,
            failures=receipt.failures,
            receipt_sha256=drill.receipt_sha256,
            structure=receipt.structure,
        )


def _job_elsewhere(snapshot: Snapshot, connection: str) -> JobView:
    """The job of a snapshot that another machine has taken, of which nothing else is known here."""
    return JobView(
        id=snapshot.job_id,
        kind=JobKind.CHECKPOINT,
        connection=connection,
        tag=snapshot.tag,
        state=JobState.SUCCEEDED,
        attempt=1,
        created_at=snapshot.taken_at,
        started_at=None,
        finished_at=None,
        cancel_requested=False,
        snapshot_id=snapshot.id,
        drill_id=None,
        progress=None,
        error=None,
        with_drill=False,
    )
