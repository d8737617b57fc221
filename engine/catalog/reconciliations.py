"""Listings of destinations held against the ledger, each as it was found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select

from engine.catalog.failures import damaged
from engine.catalog.schema import jobs, snapshots
from engine.catalog.schema_running import reconciliations as table
from engine.catalog.transaction import Tx
from engine.codec import from_json, to_json
from engine.model.retention import Reconciled, Reconciliation


@dataclass(frozen=True, slots=True)
class Expected:
    """What the ledger says lies at a destination for one snapshot, whether it was removed or not."""

    snapshot_id: str
    connection_id: str
    object_key: str
    manifest_key: str
    size_bytes: int


def add(tx: Tx, record: Reconciliation) -> None:
    tx.change(
        insert(table).values(
            id=record.id,
            destination_id=record.destination_id,
            reconciled_at=record.reconciled_at,
            objects=record.objects,
            size_bytes=record.size_bytes,
            listing_sha256=record.listing_sha256,
            outcome=to_json(record.outcome),
        )
    )


def newest(tx: Tx, destination_id: str) -> Reconciliation | None:
    """The newest reconciliation of a destination."""
    query = select(table).where(table.c.destination_id == destination_id)
    row = tx.row(query.order_by(table.c.reconciled_at.desc()).limit(1))
    return None if row is None else _record(row)


def list_recent(tx: Tx, *, limit: int) -> list[Reconciliation]:
    """At most ``limit`` reconciliations of all destinations, newest first."""
    return [_record(row) for row in tx.rows(select(table).order_by(table.c.reconciled_at.desc()).limit(limit))]


def expected(tx: Tx, destination_id: str) -> list[Expected]:
    """Every snapshot that was ever registered at a destination, oldest first."""
    s = snapshots.c
    query = select(s.id, s.connection_id, s.object_key, s.manifest_key, s.size_bytes)
    rows = tx.rows(query.where(s.destination_id == destination_id).order_by(s.taken_at, s.seq))
    return [Expected(row.id, row.connection_id, row.object_key, row.manifest_key, row.size_bytes) for row in rows]


def first_at(tx: Tx, destination_id: str) -> datetime | None:
    """When the first snapshot at a destination was taken; None where there is none."""
    s = snapshots.c
    row = tx.row(select(s.taken_at).where(s.destination_id == destination_id).order_by(s.taken_at).limit(1))
    return None if row is None else row.taken_at


def known_keys(tx: Tx) -> set[str]:
    """Keys of every artifact and manifest that was ever registered, wherever it lies."""
    rows = tx.tuples(select(snapshots.c.object_key, snapshots.c.manifest_key))
    return {key for row in rows for key in row}


def being_written(tx: Tx) -> set[str]:
    """Keys of artifacts that jobs are writing, or have left and not registered."""
    found = select(jobs.c.object_key).where(jobs.c.object_key.is_not(None))
    return {row.object_key for row in tx.rows(found)}


def _record(row: Row[Any]) -> Reconciliation:
    try:
        outcome = from_json(Reconciled, row.outcome)
    except ValueError as e:
        raise damaged(f"reconciliation {row.id}", str(e)) from e
    return Reconciliation(
        id=row.id,
        destination_id=row.destination_id,
        reconciled_at=row.reconciled_at,
        objects=row.objects,
        size_bytes=row.size_bytes,
        listing_sha256=row.listing_sha256,
        outcome=outcome,
    )
