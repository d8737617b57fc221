"""The drills that ended with a verdict, each with its signed receipt, in the order in which they were written."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, func, insert, select

from engine.catalog.schema import connections, snapshots
from engine.catalog.schema import drills as table
from engine.catalog.transaction import Tx
from engine.errors import ConfigError
from engine.model import DrillRecord, Verdict
from engine.model.watch import DrillLine

_FOUND_AT_MOST = 20


class ProofLine(NamedTuple):
    """A drill and its snapshot as lists show them, beside the receipt, all of it as it is stored."""

    position: int
    id: str
    snapshot_id: str
    verdict: str
    finished_at: str
    restore_s: float
    skips: int
    receipt: str
    receipt_sha256: str
    connection_id: str | None
    object_key: str | None
    artifact_sha256: str | None
    size_bytes: int | None
    taken_at: str | None
    counts: str | None
    tables: int | None
    tables_in_source: int | None


def add(tx: Tx, record: DrillRecord) -> None:
    """Write a drill down as the newest one."""
    row = tx.row(select(func.coalesce(func.max(table.c.position), 0).label("n")))
    tx.change(
        insert(table).values(
            id=record.id,
            snapshot_id=record.snapshot_id,
            job_id=record.job_id,
            verdict=record.verdict.value,
            started_at=record.started_at,
            finished_at=record.finished_at,
            restore_s=record.restore_s,
            receipt=record.receipt,
            receipt_sha256=record.receipt_sha256,
            skips=record.skips,
            summary=record.summary,
            position=1 + (int(row.n) if row else 0),
        )
    )


def get(tx: Tx, drill_id: str) -> DrillRecord:
    """The drill with this id. Raises ConfigError config.not-found."""
    row = tx.row(select(table).where(table.c.id == drill_id))
    if row is None:
        raise ConfigError("config.not-found", f"there is no drill {drill_id}")
    return _record(row)


def for_snapshot(tx: Tx, snapshot_id: str) -> list[DrillRecord]:
    """Every drill of a snapshot, newest first."""
    return _records(tx, select(table).where(table.c.snapshot_id == snapshot_id).order_by(table.c.position.desc()))


def newest_for(tx: Tx, snapshot_ids: Collection[str]) -> dict[str, DrillRecord]:
    """The newest drill of each of these snapshots, by snapshot id; snapshots without a drill are not in it."""
    latest = (
        select(func.max(table.c.position))
        .where(table.c.snapshot_id.in_(list(snapshot_ids)))
        .group_by(table.c.snapshot_id)
        .scalar_subquery()
    )
    found = _records(tx, select(table).where(table.c.position.in_(latest)))
    return {drill.snapshot_id: drill for drill in found}


def find(tx: Tx, prefix: str) -> list[DrillRecord]:
    """Drills whose id begins with ``prefix``, newest first, 20 at the most."""
    fits = table.c.id.startswith(prefix.lower(), autoescape=True)
    return _records(tx, select(table).where(fits).order_by(table.c.position.desc()).limit(_FOUND_AT_MOST))


def lines(tx: Tx, *, connection_id: str | None = None, limit: int) -> list[DrillLine]:
    """At most ``limit`` drills, newest first, of one connection where it is given; no receipt is read."""
    t, s = table.c, snapshots.c
    query = (
        select(
            *(t.id, t.snapshot_id, t.finished_at, t.verdict, t.skips, t.restore_s, t.summary, t.receipt_sha256),
            *(s.tag, s.taken_at, connections.c.name),
        )
        .join_from(table, snapshots, s.id == t.snapshot_id)
        .join(connections, connections.c.id == s.connection_id)
        .order_by(t.position.desc())
        .limit(limit)
    )
    if connection_id is not None:
        query = query.where(s.connection_id == connection_id)
    return [
        DrillLine(
            id=row.id,
            snapshot_id=row.snapshot_id,
            connection=row.name,
            tag=row.tag,
            taken_at=row.taken_at,
            drilled_at=row.finished_at,
            verdict=Verdict(row.verdict),
            skips=row.skips,
            restore_s=row.restore_s,
            summary=row.summary,
            receipt_sha256=row.receipt_sha256,
        )
        for row in tx.rows(query)
    ]


def previous_receipt_sha256(tx: Tx, drill_id: str) -> str | None:
    """Hash of the receipt that was written before this drill's; None for the first."""
    mine = select(table.c.position).where(table.c.id == drill_id).scalar_subquery()
    before = select(table.c.receipt_sha256).where(table.c.position < mine)
    row = tx.row(before.order_by(table.c.position.desc()).limit(1))
    return None if row is None else str(row.receipt_sha256)


def proofs_after(tx: Tx, position: int, *, limit: int) -> list[ProofLine]:
    """At most ``limit`` drills behind ``position``, in the order in which they were written, unread."""
    t, s = table.c, snapshots.c
    query = (
        select(
            *(t.position, t.id, t.snapshot_id, t.verdict, t.finished_at, t.restore_s, t.skips),
            *(t.receipt, t.receipt_sha256, s.connection_id, s.object_key, s.artifact_sha256, s.size_bytes),
            *(s.taken_at, s.counts, s.tables, s.tables_in_source),
        )
        .join_from(table, snapshots, s.id == t.snapshot_id, isouter=True)
        .where(t.position > position)
        .order_by(t.position)
        .limit(limit)
    )
    return [ProofLine(*row) for row in tx.tuples(query)]


def list_recent(tx: Tx, *, limit: int) -> list[DrillRecord]:
    """At most ``limit`` drills, newest first."""
    return _records(tx, select(table).order_by(table.c.position.desc()).limit(limit))


def last_receipt_sha256(tx: Tx) -> str | None:
    """What the next receipt has to name as its predecessor; None for the first."""
    row = tx.row(select(table.c.receipt_sha256).order_by(table.c.position.desc()).limit(1))
    return None if row is None else str(row.receipt_sha256)


def _records(tx: Tx, query: Select[Any]) -> list[DrillRecord]:
    return [_record(row) for row in tx.rows(query)]


def _record(row: Row[Any]) -> DrillRecord:
    return DrillRecord(
        id=row.id,
        snapshot_id=row.snapshot_id,
        job_id=row.job_id,
        verdict=Verdict(row.verdict),
        started_at=row.started_at,
        finished_at=row.finished_at,
        restore_s=row.restore_s,
        receipt=row.receipt,
        receipt_sha256=row.receipt_sha256,
        skips=row.skips,
        summary=row.summary,
    )
