"""What the rules of alerts look at, in queries whose number does not grow with the catalog. Reads, never writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, or_, select

from engine.catalog.schema import connections, drills, jobs, snapshots, workers
from engine.catalog.schema_running import schedules
from engine.catalog.transaction import Tx
from engine.codec import from_json
from engine.model import JobError, JobKind, JobState, Verdict

_PROVEN = [verdict.value for verdict in Verdict if verdict.proven]
_ENDED = (JobState.SUCCEEDED.value, JobState.FAILED.value)
"""Of these a job says whether it can be done; one that was cancelled says nothing."""
_LIVE = tuple(state.value for state in JobState if not state.ended)


@dataclass(frozen=True, slots=True)
class EndedJob:
    """The newest job of a kind that succeeded or failed."""

    id: str
    kind: JobKind
    snapshot_id: str | None
    failed: bool
    at: datetime
    finished_at: datetime | None
    error: JobError | None


def newest_ended(tx: Tx) -> dict[str, list[EndedJob]]:
    """By connection id, of connections in use: the newest checkpoint where it came to no snapshot, and the newest
    checkpoint and drill that were to prove one. A snapshot that a policy spared the drill says nothing of proof.
    """
    checkpoint = jobs.c.kind == JobKind.CHECKPOINT.value
    tried = or_(
        jobs.c.drill_id.is_not(None), and_(jobs.c.state == JobState.FAILED.value, jobs.c.snapshot_id.is_not(None))
    )
    nothing = [row for row in _newest(tx, checkpoint) if row.state == JobState.FAILED.value and row.snapshot_id is None]
    by_connection: dict[str, list[EndedJob]] = {}
    for row in (*nothing, *_newest(tx, tried)):
        by_connection.setdefault(row.connection_id, []).append(_ended(row))
    return by_connection


def _newest(tx: Tx, which: ColumnElement[bool]) -> list[Row[Any]]:
    """The newest ended job of each connection and kind.

    One pass over the jobs: a search for each connection reads all of them where it has no job of a kind.
    """
    ended = (jobs.c.state.in_(_ENDED), jobs.c.kind.in_([JobKind.CHECKPOINT.value, JobKind.DRILL.value]), which)
    newest = (
        select(jobs.c.connection_id, jobs.c.kind, func.max(jobs.c.created_at).label("at"))
        .where(*ended)
        .group_by(jobs.c.connection_id, jobs.c.kind)
        .subquery()
    )
    query = (
        select(jobs)
        .join(connections, connections.c.id == jobs.c.connection_id)
        .join(
            newest,
            (newest.c.connection_id == jobs.c.connection_id)
            & (newest.c.kind == jobs.c.kind)
            & (newest.c.at == jobs.c.created_at),
        )
        .where(*ended, _in_use())
        .order_by(jobs.c.id)
    )
    found = {(row.connection_id, row.kind): row for row in tx.rows(query)}  # of several at one instant the last id
    return list(found.values())


def two_newest_proven(tx: Tx) -> dict[str, list[str]]:
    """Ids of the two newest snapshots whose newest drill proved them, newest first, by connection id."""
    other = drills.alias("other")
    last = select(func.max(other.c.position)).where(other.c.snapshot_id == drills.c.snapshot_id).correlate(drills)
    nth = [
        select(snapshots.c.id)
        .join_from(snapshots, drills, drills.c.snapshot_id == snapshots.c.id)
        .where(snapshots.c.connection_id == connections.c.id)
        .where(drills.c.verdict.in_(_PROVEN), drills.c.position == last.scalar_subquery())
        .order_by(snapshots.c.taken_at.desc(), snapshots.c.seq.desc())
        .limit(1)
        .offset(n)
        .correlate(connections)
        .scalar_subquery()
        for n in range(2)
    ]
    query = select(connections.c.id, nth[0].label("newest"), nth[1].label("before")).where(_in_use())
    return {row.id: [i for i in (row.newest, row.before) if i is not None] for row in tx.rows(query)}


def work_since(tx: Tx) -> datetime | None:
    """Since when there is something for a worker to do: the oldest live job, or the oldest schedule that is on."""
    scheduled = select(func.min(schedules.c.changed_at)).where(schedules.c.enabled)
    waiting = select(func.min(jobs.c.created_at)).where(jobs.c.state.in_(_LIVE))
    row = tx.row(select(scheduled.scalar_subquery().label("scheduled"), waiting.scalar_subquery().label("waiting")))
    return min((at for at in (row or ()) if at is not None), default=None)


def blocked(tx: Tx) -> list[str]:
    """Names of the connections whose jobs wait for the master key."""
    query = (
        select(connections.c.name)
        .join_from(jobs, connections, connections.c.id == jobs.c.connection_id)
        .where(jobs.c.state == JobState.BLOCKED.value)
        .distinct()
        .order_by(connections.c.name)
    )
    return [row.name for row in tx.rows(query)]


def last_begun(tx: Tx) -> datetime | None:
    """When a job that runs now was last begun."""
    row = tx.row(select(func.max(jobs.c.started_at).label("at")).where(jobs.c.state == JobState.RUNNING.value))
    return None if row is None else row.at


def last_heard(tx: Tx) -> datetime | None:
    """When any worker was last heard of, also one that signed off."""
    row = tx.row(select(func.max(workers.c.heartbeat_at).label("at")))
    return None if row is None else row.at


def _in_use() -> Any:
    return connections.c.removed_at.is_(None)


def _ended(row: Row[Any]) -> EndedJob:
    try:
        error = None if row.error is None else from_json(JobError, row.error)
    except ValueError:
        error = None  # whoever opens the job is told that its row is damaged; here it failed, and that is enough
    return EndedJob(
        row.id,
        JobKind(row.kind),
        row.snapshot_id,
        row.state == JobState.FAILED.value,
        row.created_at,
        row.finished_at,
        error,
    )
