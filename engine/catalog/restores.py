"""Restores into servers of the user's, each with what came of it. No secret is ever in a row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, insert, select

from engine.catalog.failures import damaged
from engine.catalog.schema import connections, snapshots
from engine.catalog.schema import restores as table
from engine.catalog.transaction import Tx
from engine.codec import from_json, to_json
from engine.model.restoring import RestoreLine, RestoreOutcome, RestoreRecord


def add(tx: Tx, record: RestoreRecord) -> None:
    """Write a restore down as it ended."""
    tx.change(
        insert(table).values(
            id=record.id,
            job_id=record.job_id,
            snapshot_id=record.snapshot_id,
            target=record.target,
            started_at=record.started_at,
            finished_at=record.finished_at,
            equal=record.equal,
            outcome=to_json(record.outcome),
        )
    )


def of_job(tx: Tx, job_id: str) -> RestoreRecord | None:
    """What the job came to at its target; None while it has touched none."""
    row = tx.row(select(table).where(table.c.job_id == job_id).order_by(table.c.finished_at.desc()).limit(1))
    return None if row is None else _record(row)


def list_recent(tx: Tx, *, limit: int) -> list[RestoreLine]:
    """At most ``limit`` restores, newest first."""
    query = (
        select(table, connections.c.name.label("connection"), snapshots.c.taken_at.label("taken_at"))
        .join_from(table, snapshots, snapshots.c.id == table.c.snapshot_id)
        .join(connections, connections.c.id == snapshots.c.connection_id)
        .order_by(table.c.finished_at.desc(), table.c.id)
        .limit(limit)
    )
    return [RestoreLine(row.connection, row.taken_at, _record(row)) for row in tx.rows(query)]


def _record(row: Row[Any]) -> RestoreRecord:
    try:
        outcome = from_json(RestoreOutcome, row.outcome)
    except ValueError as e:
        raise damaged(f"restore {row.id}", str(e)) from e
    return RestoreRecord(
        id=row.id,
        job_id=row.job_id,
        snapshot_id=row.snapshot_id,
        target=row.target,
        started_at=row.started_at,
        finished_at=row.finished_at,
        equal=row.equal,
        outcome=outcome,
    )
