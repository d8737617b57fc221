"""What was asked for over HTTP: requests by their ``Idempotency-Key``, and checkpoints that equal requests share.

Both are looked up in the writing transaction that would queue the job, and there is one writer at a time: of any number
of equal requests, at any number of servers, one queues the job and the others find it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select

from engine.catalog.schema import connections, drills, jobs, snapshots
from engine.catalog.schema_access import api_requests as table
from engine.catalog.transaction import Tx
from engine.model import JobKind, JobState, Verdict
from engine.model.apikeys import DrillCount

_UNENDED = [state.value for state in JobState if not state.ended]


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request that was given an ``Idempotency-Key``."""

    request_sha256: str
    job_id: str


def find(tx: Tx, api_key_id: str, idempotency_key: str) -> KeptRequest | None:
    """The request that this key was given to before."""
    mine = select(table).where(table.c.api_key_id == api_key_id, table.c.idempotency_key == idempotency_key)
    row = tx.row(mine)
    return None if row is None else KeptRequest(row.request_sha256, row.job_id)


def keep(
    tx: Tx, api_key_id: str, idempotency_key: str, request_sha256: str, job_id: str, now: datetime, forget: datetime
) -> None:
    """Remember the request, and no more those from before ``forget``."""
    tx.change(delete(table).where(table.c.created_at < forget))
    tx.change(
        insert(table).values(
            api_key_id=api_key_id,
            idempotency_key=idempotency_key,
            request_sha256=request_sha256,
            job_id=job_id,
            created_at=now,
        )
    )


def in_flight(tx: Tx, connection_id: str, tag: str | None, requested_by: str) -> str | None:
    """The job of an equal checkpoint that the same caller asked for and that has not ended."""
    equal = (
        select(jobs.c.id)
        .where(
            jobs.c.kind == JobKind.CHECKPOINT.value,
            jobs.c.connection_id == connection_id,
            jobs.c.tag.is_(None) if tag is None else jobs.c.tag == tag,
            jobs.c.requested_by == requested_by,
            jobs.c.state.in_(_UNENDED),
            jobs.c.with_drill.is_(True),
            jobs.c.cancel_requested_at.is_(None),
        )
        .order_by(jobs.c.created_at.desc(), jobs.c.id)
        .limit(1)
    )
    row = tx.row(equal)
    return None if row is None else str(row.id)


def states(tx: Tx, job_ids: Collection[str]) -> dict[str, JobState]:
    """The states of these jobs, in one query."""
    found = tx.rows(select(jobs.c.id, jobs.c.state).where(jobs.c.id.in_(list(job_ids))))
    return {row.id: JobState(row.state) for row in found}


def checkpoints(tx: Tx, *, connection_ids: Collection[str] | None, tag: str | None, limit: int) -> list[str]:
    """Ids of the newest checkpoints, newest first, of these connections (None: all) and this tag where given."""
    query = select(jobs.c.id).where(jobs.c.kind == JobKind.CHECKPOINT.value)
    if connection_ids is not None:
        query = query.where(jobs.c.connection_id.in_(list(connection_ids)))
    if tag is not None:
        query = query.where(jobs.c.tag == tag)
    return [row.id for row in tx.rows(query.order_by(jobs.c.created_at.desc(), jobs.c.id).limit(limit))]


def jobs_by_state(tx: Tx, *, connection_ids: Collection[str] | None) -> dict[JobState, int]:
    """How many jobs are in each state."""
    query = select(jobs.c.state, func.count().label("n")).group_by(jobs.c.state)
    if connection_ids is not None:
        query = query.where(jobs.c.connection_id.in_(list(connection_ids)))
    return {JobState(row.state): int(row.n) for row in tx.rows(query)}


def drills_by_verdict(tx: Tx, *, connection_ids: Collection[str] | None) -> list[DrillCount]:
    """How many drills of each connection in use ended with each verdict."""
    query = (
        select(connections.c.name, drills.c.verdict, func.count().label("n"))
        .join_from(drills, snapshots, snapshots.c.id == drills.c.snapshot_id)
        .join(connections, connections.c.id == snapshots.c.connection_id)
        .where(connections.c.removed_at.is_(None))
        .group_by(connections.c.name, drills.c.verdict)
        .order_by(connections.c.name, drills.c.verdict)
    )
    if connection_ids is not None:
        query = query.where(connections.c.id.in_(list(connection_ids)))
    return [DrillCount(row.name, Verdict(row.verdict), int(row.n)) for row in tx.rows(query)]
