"""Snapshots whose objects are gone, and every attempt to delete one. A snapshot's own row stays: it is evidence."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, exists, func, insert, select, update

from engine.catalog.schema import snapshots
from engine.catalog.schema_running import deletions
from engine.catalog.schema_running import removals as table
from engine.catalog.transaction import Tx
from engine.errors import StoreError
from engine.model.retention import Deletion, Removal, RemovalResult

_LOCKED = RemovalResult.LOCKED.value


def begin(tx: Tx, record: Removal) -> None:
    """Write down that a snapshot is being removed, before anything of it is; one that was locked is tried again."""
    tx.change(delete(table).where(table.c.snapshot_id == record.snapshot_id, table.c.result == _LOCKED))
    tx.change(
        insert(table).values(
            snapshot_id=record.snapshot_id,
            connection_id=record.connection_id,
            job_id=record.job_id,
            rule=record.rule,
            result=record.result.value,
            detail=record.detail,
            removed_at=record.removed_at,
            kept_until=record.kept_until,
        )
    )


def settle(
    tx: Tx,
    snapshot_id: str,
    result: RemovalResult,
    at: datetime,
    *,
    detail: str = "",
    kept_until: datetime | None = None,
) -> bool:
    """What became of a removal that was begun; False when somebody else settled it."""
    begun = update(table).where(table.c.snapshot_id == snapshot_id, table.c.result == RemovalResult.REMOVING.value)
    return bool(tx.change(begun.values(result=result.value, detail=detail, removed_at=at, kept_until=kept_until)))


def take_back(tx: Tx, snapshot_id: str, result: RemovalResult) -> bool:
    """The object is there after all: forget the removal with this result. Whether there was one."""
    gone = delete(table).where(table.c.snapshot_id == snapshot_id, table.c.result == result.value)
    return bool(tx.change(gone))


def of_snapshot(tx: Tx, snapshot_id: str) -> Removal | None:
    """What became of a snapshot's object; None: it is there, and nobody tried to remove it."""
    row = tx.row(select(table).where(table.c.snapshot_id == snapshot_id))
    return None if row is None else _record(row)


def refuse_gone(tx: Tx, snapshot_id: str) -> None:
    """Raise StoreError ``store.removed`` when the snapshot's object is gone."""
    found = of_snapshot(tx, snapshot_id)
    if found is not None and found.result.gone:
        raise StoreError(
            "store.removed",
            f"snapshot {snapshot_id[:12]} is not there any more: {found.words}",
            context={"snapshot": snapshot_id, "result": found.result.value},
        )


def list_recent(
    tx: Tx,
    *,
    connection_id: str | None = None,
    results: Collection[RemovalResult] | None = None,
    limit: int,
) -> list[Removal]:
    """At most ``limit`` removals, newest first, of one connection and with these results where given."""
    query = select(table).order_by(table.c.removed_at.desc(), table.c.snapshot_id).limit(limit)
    if connection_id is not None:
        query = query.where(table.c.connection_id == connection_id)
    if results is not None:
        query = query.where(table.c.result.in_([result.value for result in results]))
    return [_record(row) for row in tx.rows(query)]


def every(tx: Tx) -> list[Removal]:
    """Every snapshot that is gone, being removed, or locked."""
    return [_record(row) for row in tx.rows(select(table))]


def count(tx: Tx, connection_id: str) -> int:
    """How many snapshots of the connection retention has removed."""
    mine = table.c.connection_id == connection_id
    query = select(func.count().label("n")).where(mine, table.c.result == RemovalResult.REMOVED.value)
    row = tx.row(query)
    return 0 if row is None else int(row.n)


def at_destination(tx: Tx, destination_id: str) -> dict[str, RemovalResult]:
    """What became of snapshots that were at a destination, by snapshot id; those that are there are not in it."""
    query = (
        select(table.c.snapshot_id, table.c.result)
        .join_from(table, snapshots, snapshots.c.id == table.c.snapshot_id)
        .where(snapshots.c.destination_id == destination_id)
    )
    return {row.snapshot_id: RemovalResult(row.result) for row in tx.rows(query)}


def is_gone() -> ColumnElement[bool]:
    """A condition on ``snapshots``: its object is gone. For queries that look at many."""
    return exists().where(table.c.snapshot_id == snapshots.c.id, gone_result())


def gone_result() -> ColumnElement[bool]:
    """A condition on ``removals``: the object is gone."""
    return table.c.result != _LOCKED


def note_deletion(tx: Tx, record: Deletion) -> None:
    """One attempt to delete an object, and what was true afterwards."""
    tx.change(
        insert(deletions).values(
            id=record.id,
            destination_id=record.destination_id,
            snapshot_id=record.snapshot_id,
            object_key=record.object_key,
            version=record.version,
            rule=record.rule,
            result=record.result,
            detail=record.detail,
            deleted_at=record.deleted_at,
        )
    )


def list_deletions(
    tx: Tx, *, snapshot_id: str | None = None, since: datetime | None = None, until: datetime | None = None, limit: int
) -> list[Deletion]:
    """At most ``limit`` attempts, newest first; from ``since`` on and before ``until`` where given."""
    query = select(deletions).order_by(deletions.c.deleted_at.desc(), deletions.c.id).limit(limit)
    if snapshot_id is not None:
        query = query.where(deletions.c.snapshot_id == snapshot_id)
    if since is not None:
        query = query.where(deletions.c.deleted_at >= since)
    if until is not None:
        query = query.where(deletions.c.deleted_at < until)
    return [
        Deletion(
            id=row.id,
            destination_id=row.destination_id,
            snapshot_id=row.snapshot_id,
            object_key=row.object_key,
            version=row.version,
            rule=row.rule,
            result=row.result,
            detail=row.detail,
            deleted_at=row.deleted_at,
        )
        for row in tx.rows(query)
    ]


def _record(row: Row[Any]) -> Removal:
    return Removal(
        snapshot_id=row.snapshot_id,
        connection_id=row.connection_id,
        job_id=row.job_id,
        rule=row.rule,
        result=RemovalResult(row.result),
        detail=row.detail,
        removed_at=row.removed_at,
        kept_until=row.kept_until,
    )
