"""The jobs table: the truth about work, whatever the queue believes.

A worker holds a job by a lease and writes with the fence of its claim; each write that finds another fence, or a job
that runs no more, raises ``catalog.fenced`` and changes nothing. At most one checkpoint of a connection runs at a time:
the claim looks, and a partial unique index makes sure.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Update, and_, exists, func, insert, or_, select, update

from engine.catalog import job_tables
from engine.catalog.failures import damaged
from engine.catalog.schema import connections, job_log
from engine.catalog.schema import jobs as table
from engine.catalog.transaction import Tx
from engine.codec import from_json, to_json
from engine.errors import Cancelled, CatalogError, ConfigError, Internal
from engine.model import Job, JobError, JobKind, JobProgress, JobState

MAX_ATTEMPTS = 3
"""A job whose worker died this often has probably killed them: it fails instead of taking the next one down."""

_FOUND_AT_MOST = 20
_CLAIMABLE = (JobState.QUEUED.value, JobState.BLOCKED.value)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a job's log; ``n`` counts from 1 within the job."""

    n: int
    at: datetime
    level: str
    text: str


def create(tx: Tx, job: Job) -> None:
    """Write a new job down as it is given."""
    tx.change(
        insert(table).values(
            id=job.id,
            kind=job.kind.value,
            connection_id=job.connection_id,
            snapshot_id=job.snapshot_id,
            drill_id=job.drill_id,
            tag=job.tag,
            state=job.state.value,
            attempt=job.attempt,
            fence=job.fence,
            worker_id=job.worker_id,
            lease_until=job.lease_until,
            cancel_requested_at=job.cancel_requested_at,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            error=_json(job.error),
            object_key=job.object_key,
            progress=_json(job.progress),
            request_sealed=job.request_sealed,
            with_drill=job.with_drill,
            requested_by=job.requested_by,
        )
    )


def get(tx: Tx, job_id: str) -> Job:
    """The job with this id. Raises ConfigError config.not-found."""
    row = tx.row(select(table).where(table.c.id == job_id))
    if row is None:
        raise ConfigError("config.not-found", f"there is no job {job_id}")
    return _record(row)


def find(tx: Tx, prefix: str) -> list[Job]:
    """Jobs whose id begins with ``prefix``, newest first, 20 at the most."""
    fits = table.c.id.startswith(prefix.lower(), autoescape=True)
    return _records(tx, select(table).where(fits).order_by(table.c.created_at.desc()).limit(_FOUND_AT_MOST))


def list_recent(
    tx: Tx, *, states: Collection[JobState] | None = None, connection_id: str | None = None, limit: int
) -> list[Job]:
    """At most ``limit`` jobs, newest first, of these states and this connection where given."""
    query = select(table).order_by(table.c.created_at.desc(), table.c.id).limit(limit)
    if states is not None:
        query = query.where(table.c.state.in_([state.value for state in states]))
    if connection_id is not None:
        query = query.where(table.c.connection_id == connection_id)
    return _records(tx, query)


def queued(tx: Tx) -> list[Job]:
    """Every queued job, oldest first."""
    return _records(
        tx, select(table).where(table.c.state == JobState.QUEUED.value).order_by(table.c.created_at, table.c.id)
    )


def open_of(tx: Tx, kind: JobKind, connection_id: str) -> Job | None:
    """The oldest job of this kind and connection that has not ended."""
    mine = select(table).where(table.c.kind == kind.value, table.c.connection_id == connection_id)
    ended = [state.value for state in JobState if state.ended]
    found = _records(tx, mine.where(table.c.state.not_in(ended)).order_by(table.c.created_at).limit(1))
    return found[0] if found else None


def running_by_worker(tx: Tx) -> dict[str, int]:
    """How many jobs each worker runs."""
    query = select(table.c.worker_id, func.count().label("n")).where(table.c.state == JobState.RUNNING.value)
    return {row.worker_id: int(row.n) for row in tx.rows(query.group_by(table.c.worker_id)) if row.worker_id}


def labelled(tx: Tx, labels: Collection[str], limit: int) -> list[str]:
    """Ids of queued jobs whose connection asks for one of ``labels``, oldest first."""
    query = select(table.c.id).join(connections, connections.c.id == table.c.connection_id)
    wanted = query.where(table.c.state == JobState.QUEUED.value, connections.c.worker_label.in_(labels))
    return [row.id for row in tx.rows(wanted.order_by(table.c.created_at, table.c.id).limit(limit))]


def claim(
    tx: Tx, job_id: str, worker_id: str, now: datetime, lease_s: float, labels: Collection[str] = ()
) -> Job | None:
    """Take a queued or blocked job for ``worker_id`` until ``now`` + ``lease_s`` seconds, with a new fence.

    None when there is nothing to take: held by another, ended, unknown, another checkpoint of the connection runs, or
    the connection asks for a worker with a label that is not among ``labels``.
    """
    other = table.alias("other")
    taken = exists().where(
        other.c.connection_id == table.c.connection_id,
        other.c.kind == JobKind.CHECKPOINT.value,
        other.c.state == JobState.RUNNING.value,
    )
    touched = tx.change(
        update(table)
        .where(table.c.id == job_id, table.c.state.in_(_CLAIMABLE))
        .where(or_(table.c.kind != JobKind.CHECKPOINT.value, ~taken))
        .where(~exists().where(connections.c.id == table.c.connection_id, _out_of_reach(labels)))
        .values(
            state=JobState.RUNNING.value,
            fence=table.c.fence + 1,
            attempt=table.c.attempt + 1,
            worker_id=worker_id,
            lease_until=now + timedelta(seconds=lease_s),
            started_at=now,
            finished_at=None,
            error=None,
            progress=None,
        )
    )
    return get(tx, job_id) if touched else None


def renew(tx: Tx, job_id: str, fence: int, now: datetime, lease_s: float) -> Job:
    """Hold the job until ``now`` + ``lease_s`` seconds; the job says whether a cancel was asked for.

    Raises CatalogError catalog.fenced.
    """
    _held(tx, job_id, fence, _mine(job_id, fence).values(lease_until=now + timedelta(seconds=lease_s)))
    return get(tx, job_id)


def expect_held(tx: Tx, job_id: str, fence: int) -> None:
    """Raise CatalogError catalog.fenced unless this claim still holds the job."""
    mine = (table.c.id == job_id, table.c.fence == fence, table.c.state == JobState.RUNNING.value)
    if tx.row(select(table.c.id).where(*mine)) is None:
        raise _fenced(job_id, fence)


def note_object(tx: Tx, job_id: str, fence: int, object_key: str | None) -> None:
    """Where the artifact of this attempt is being written; None once nothing is left there unregistered.

    Raises CatalogError catalog.fenced.
    """
    _held(tx, job_id, fence, _mine(job_id, fence).values(object_key=object_key))


def list_unregistered(tx: Tx) -> list[Job]:
    """Jobs that have ended and may have left an object that was never registered."""
    ended = [state.value for state in JobState if state.ended]
    found = select(table.c.id).where(table.c.state.in_(ended), table.c.object_key.is_not(None))
    return [get(tx, row.id) for row in tx.rows(found.order_by(table.c.created_at, table.c.id))]


def forget_object(tx: Tx, job_id: str, object_key: str) -> None:
    """Nothing is left at ``object_key``: of a job that nobody runs, and that has begun no other object meanwhile."""
    idle = update(table).where(
        table.c.id == job_id, table.c.object_key == object_key, table.c.state != JobState.RUNNING.value
    )
    tx.change(idle.values(object_key=None))


def note_snapshot(tx: Tx, job_id: str, fence: int, snapshot_id: str) -> None:
    """The snapshot that the job made. Raises CatalogError catalog.fenced."""
    _held(tx, job_id, fence, _mine(job_id, fence).values(snapshot_id=snapshot_id))


def report(tx: Tx, job_id: str, fence: int, progress: JobProgress) -> None:
    """The newest progress. Raises CatalogError catalog.fenced."""
    _held(tx, job_id, fence, _mine(job_id, fence).values(progress=_json(progress)))


def settle(
    tx: Tx,
    job_id: str,
    fence: int,
    state: JobState,
    *,
    error: JobError | None = None,
    drill_id: str | None = None,
    now: datetime,
) -> None:
    """End the attempt: succeeded, failed, cancelled, or blocked until the master key can be had.

    Raises CatalogError catalog.fenced, Internal for a state that is no end of an attempt.
    """
    if not state.ended and state is not JobState.BLOCKED:
        raise Internal("internal.error", f"a job cannot be settled as {state}")
    values: dict[str, object] = {"state": state.value, "lease_until": None, "error": _json(error)}
    if state.ended:
        values |= {"finished_at": now, "request_sealed": None}
    if drill_id is not None:
        values["drill_id"] = drill_id
    _held(tx, job_id, fence, _mine(job_id, fence).values(**values))
    job_tables.clear(tx, job_id)


def requeue(tx: Tx, job_id: str, fence: int, now: datetime, error: JobError | None = None) -> None:
    """Give the job back, to be run again by any worker; one that was asked to stop is cancelled instead.

    Raises CatalogError catalog.fenced.
    """
    cancelled = _mine(job_id, fence).where(table.c.cancel_requested_at.is_not(None))
    if tx.change(
        cancelled.values(
            state=JobState.CANCELLED.value, lease_until=None, finished_at=now, error=_json(error), request_sealed=None
        )
    ):
        job_tables.clear(tx, job_id)
        return
    back = _mine(job_id, fence).values(
        state=JobState.QUEUED.value, worker_id=None, lease_until=None, error=_json(error), progress=None
    )
    _held(tx, job_id, fence, back)
    job_tables.clear(tx, job_id)


def end_leases(tx: Tx, worker_id: str, now: datetime) -> int:
    """End the leases of a worker that is known to be dead, so that :func:`expire` takes its jobs now; how many."""
    mine = update(table).where(table.c.worker_id == worker_id, table.c.state == JobState.RUNNING.value)
    return tx.change(mine.values(lease_until=now))


def expire(tx: Tx, now: datetime) -> list[Job]:
    """Take every running job whose lease ended from its worker, and return them as they are now.

    The fence grows, so that the old worker can write nothing any more. The job is queued again; it is cancelled if that
    was asked for, and fails with ``job.worker-lost`` when :data:`MAX_ATTEMPTS` workers died over it.
    """
    late = select(table.c.id, table.c.crashes, table.c.cancel_requested_at, table.c.worker_id).where(
        table.c.state == JobState.RUNNING.value, table.c.lease_until <= now
    )
    expired: list[Job] = []
    for row in tx.rows(late.order_by(table.c.created_at, table.c.id)):
        lost = Cancelled("job.worker-lost", f"worker {row.worker_id} did not renew its lease in time")
        error = JobError(lost.code, lost.message, lost.hint, lost.exit_status)
        gave_up = replace(error, hint=f"{MAX_ATTEMPTS} workers died over it; read their logs, then start the job anew.")
        values: dict[str, object] = {"crashes": row.crashes + 1, "fence": table.c.fence + 1, "lease_until": None}
        if row.cancel_requested_at is not None:
            values |= {"state": JobState.CANCELLED.value, "finished_at": now, "request_sealed": None}
        elif row.crashes + 1 >= MAX_ATTEMPTS:
            values |= {"state": JobState.FAILED.value, "finished_at": now, "request_sealed": None}
            values["error"] = _json(gave_up)
        else:
            values |= {"state": JobState.QUEUED.value, "worker_id": None, "progress": None, "error": _json(error)}
        tx.change(update(table).where(table.c.id == row.id).values(**values))
        job_tables.clear(tx, row.id)
        expired.append(get(tx, row.id))
    return expired


def request_cancel(tx: Tx, job_id: str, now: datetime) -> Job:
    """Ask a running job to stop; a job that waits is cancelled at once, one that ended stays as it is.

    Raises ConfigError config.not-found.
    """
    asked = update(table).where(table.c.id == job_id, table.c.cancel_requested_at.is_(None))
    tx.change(
        asked.where(table.c.state.in_(_CLAIMABLE)).values(
            state=JobState.CANCELLED.value, cancel_requested_at=now, finished_at=now, request_sealed=None
        )
    )
    tx.change(asked.where(table.c.state == JobState.RUNNING.value).values(cancel_requested_at=now))
    return get(tx, job_id)


def append_log(tx: Tx, job_id: str, at: datetime, level: str, text: str) -> None:
    """One more line of the job's log. Not fenced: what a worker that lost the job saw is worth keeping."""
    row = tx.row(select(func.coalesce(func.max(job_log.c.n), 0).label("n")).where(job_log.c.job_id == job_id))
    tx.change(insert(job_log).values(job_id=job_id, n=1 + (int(row.n) if row else 0), at=at, level=level, text=text))


def read_log(tx: Tx, job_id: str, *, after: int = 0, limit: int = 1000) -> list[LogLine]:
    """At most ``limit`` lines of the job's log that follow line ``after``, oldest first."""
    query = select(job_log).where(job_log.c.job_id == job_id, job_log.c.n > after).order_by(job_log.c.n).limit(limit)
    return [LogLine(n=row.n, at=row.at, level=row.level, text=row.text) for row in tx.rows(query)]


def _out_of_reach(labels: Collection[str]) -> ColumnElement[bool]:
    label = connections.c.worker_label
    return and_(label.is_not(None), label.not_in(labels))


def _mine(job_id: str, fence: int) -> Update:
    return update(table).where(table.c.id == job_id, table.c.fence == fence, table.c.state == JobState.RUNNING.value)


def _held(tx: Tx, job_id: str, fence: int, statement: Update) -> None:
    if not tx.change(statement):
        raise _fenced(job_id, fence)


def _fenced(job_id: str, fence: int) -> CatalogError:
    return CatalogError(
        "catalog.fenced",
        f"the job is no longer held by this worker: {job_id}",
        context={"job": job_id, "fence": fence},
    )


def _json(value: JobError | JobProgress | None) -> str | None:
    return None if value is None else to_json(value)


def _records(tx: Tx, query: Select[Any]) -> list[Job]:
    return [_record(row) for row in tx.rows(query)]


def _record(row: Row[Any]) -> Job:
    try:
        error = None if row.error is None else from_json(JobError, row.error)
        progress = None if row.progress is None else from_json(JobProgress, row.progress)
    except ValueError as e:
        raise damaged(f"job {row.id}", str(e)) from e
    return Job(
        id=row.id,
        kind=JobKind(row.kind),
        connection_id=row.connection_id,
        snapshot_id=row.snapshot_id,
        drill_id=row.drill_id,
        tag=row.tag,
        state=JobState(row.state),
        attempt=row.attempt,
        fence=row.fence,
        worker_id=row.worker_id,
        lease_until=row.lease_until,
        cancel_requested_at=row.cancel_requested_at,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        error=error,
        object_key=row.object_key,
        progress=progress,
        request_sealed=row.request_sealed,
        with_drill=row.with_drill,
        requested_by=row.requested_by,
    )
