"""What a monthly report is made of, by month and connection: each query in pages, each page of one index.

Instants: from ``since`` on, before ``until``. Long columns are read of drills alone, a few at a time: a receipt names
every table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select

from engine.catalog.failures import damaged
from engine.catalog.incidents import record_of
from engine.catalog.schema import connections, drills, jobs, snapshots
from engine.catalog.schema import events as event_table
from engine.catalog.schema_running import deletions, incidents, reconciliations, removals, slots
from engine.catalog.transaction import Tx
from engine.codec import from_json
from engine.model import Incident, JobError, JobKind, JobState, SlotOutcome, Verdict
from engine.model.report import DeletionRow, FailedAttempt
from engine.model.retention import Reconciled, Reconciliation

PAGE = 500
RECEIPTS = 20
"""Receipts of one page: one of 100,000 tables has about 10 MB."""
_PROVEN = [verdict.value for verdict in Verdict if verdict.proven]


@dataclass(frozen=True, slots=True)
class LivedConnection:
    """A connection of the month, removed or not."""

    id: str
    name: str
    provider: str | None
    destination_id: str
    created_at: datetime
    removed_at: datetime | None
    proof_target_s: float | None
    restore_target_s: float | None


@dataclass(frozen=True, slots=True)
class SnapshotFact:
    """A snapshot's columns, and what became of its object (``removed``, ``missing``, ``locked``, ``removing``)."""

    id: str
    connection_id: str
    destination_id: str
    seq: int
    taken_at: datetime
    tag: str | None
    object_key: str
    size_bytes: int
    sha256: str
    tables: int
    tables_in_source: int
    rows: int
    kid: str
    fate: str | None
    fate_at: datetime | None
    fate_rule: str | None


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A receipt as it was signed."""

    drill_id: str
    snapshot_id: str
    position: int
    finished_at: datetime
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class EarlierDrill:
    """A drill of an earlier month, for the chart."""

    finished_at: datetime
    restore_s: float


@dataclass(frozen=True, slots=True)
class SlotFact:
    slot_at: datetime
    outcome: SlotOutcome


def lived(tx: Tx, since: datetime, until: datetime) -> list[LivedConnection]:
    """Every connection that existed at any instant between the two, by name, then by when it was made."""
    c = connections.c
    there = and_(c.created_at < until, or_(c.removed_at.is_(None), c.removed_at > since))
    rows = tx.rows(select(connections).where(there).order_by(c.name, c.created_at, c.id))
    return [
        LivedConnection(
            r.id,
            r.name,
            r.provider,
            r.destination_id,
            r.created_at,
            r.removed_at,
            r.proof_target_s,
            r.restore_target_s,
        )
        for r in rows
    ]


def taken(tx: Tx, connection_id: str, since: datetime, until: datetime) -> Iterator[SnapshotFact]:
    """Snapshots of the connection, oldest first."""
    s = snapshots.c
    after: ColumnElement[bool] = s.taken_at >= since
    while True:
        query = _snapshots().where(s.connection_id == connection_id, after, s.taken_at < until)
        rows = tx.rows(query.order_by(s.taken_at, s.id).limit(PAGE))
        yield from map(_snapshot, rows)
        if len(rows) < PAGE:
            return
        last = rows[-1]
        after = or_(s.taken_at > last.taken_at, and_(s.taken_at == last.taken_at, s.id > last.id))


def snapshots_by_id(tx: Tx, ids: list[str]) -> list[SnapshotFact]:
    """The snapshots with these ids, oldest first."""
    found: list[SnapshotFact] = []
    for start in range(0, len(ids), PAGE):
        found += map(_snapshot, tx.rows(_snapshots().where(snapshots.c.id.in_(ids[start : start + PAGE]))))
    return sorted(found, key=lambda s: (s.taken_at, s.seq))


def receipts(tx: Tx, connection_id: str, since: datetime, until: datetime) -> Iterator[StoredReceipt]:
    """Receipts of the drills that ended then, in the order in which they were written."""
    d = drills.c
    query = (
        select(d.position)
        .join_from(drills, snapshots, snapshots.c.id == d.snapshot_id)
        .where(snapshots.c.connection_id == connection_id, d.finished_at >= since, d.finished_at < until)
    )
    positions = [row.position for row in tx.rows(query.order_by(d.position))]
    for start in range(0, len(positions), RECEIPTS):
        page = _receipts().where(d.position.in_(positions[start : start + RECEIPTS]))
        yield from map(_receipt, tx.rows(page.order_by(d.position)))


def proven_before(tx: Tx, connection_id: str, begin: datetime, until: datetime) -> StoredReceipt | None:
    """The receipt that proves the newest snapshot taken before ``begin``, as drills before ``until`` say."""
    other = drills.alias("other")
    newest = (
        select(func.max(other.c.position))
        .where(other.c.snapshot_id == drills.c.snapshot_id, other.c.finished_at < until)
        .correlate(drills)
        .scalar_subquery()
    )
    query = (
        _receipts()
        .where(snapshots.c.connection_id == connection_id, snapshots.c.taken_at < begin)
        .where(drills.c.position == newest, drills.c.verdict.in_(_PROVEN))
    )
    row = tx.row(query.order_by(snapshots.c.taken_at.desc(), snapshots.c.seq.desc()).limit(1))
    return None if row is None else _receipt(row)


def earlier_times(tx: Tx, connection_id: str, since: datetime, until: datetime) -> list[EarlierDrill]:
    """When the drills that proved something ended, and how long they took; no receipt is read."""
    query = (
        select(drills.c.finished_at, drills.c.restore_s)
        .join_from(drills, snapshots, snapshots.c.id == drills.c.snapshot_id)
        .where(snapshots.c.connection_id == connection_id, drills.c.verdict.in_(_PROVEN))
        .where(drills.c.finished_at >= since, drills.c.finished_at < until)
    )
    return [
        EarlierDrill(row.finished_at, round(row.restore_s, 3)) for row in tx.rows(query.order_by(drills.c.position))
    ]


def decided(tx: Tx, connection_id: str, since: datetime, until: datetime) -> list[SlotFact]:
    """Slots of the connection, oldest first: a month of minutes has 44,640 at the most."""
    s = slots.c
    query = select(s.slot_at, s.outcome).where(s.connection_id == connection_id, s.slot_at >= since, s.slot_at < until)
    return [SlotFact(row.slot_at, SlotOutcome(row.outcome)) for row in tx.rows(query.order_by(s.slot_at))]


def failed_jobs(tx: Tx, connection_id: str, since: datetime, until: datetime) -> list[FailedAttempt]:
    """Checkpoints that made no snapshot and drills that came to no receipt, oldest first."""
    j = jobs.c
    nothing = or_(
        and_(j.kind == JobKind.CHECKPOINT.value, j.snapshot_id.is_(None)),
        and_(j.kind == JobKind.DRILL.value, j.drill_id.is_(None)),
        and_(j.kind == JobKind.CHECKPOINT.value, j.snapshot_id.is_not(None), j.with_drill, j.drill_id.is_(None)),
    )
    query = select(j.id, j.kind, j.created_at, j.finished_at, j.error, j.snapshot_id).where(
        j.connection_id == connection_id, j.state == JobState.FAILED.value, nothing
    )
    ended = query.where(j.created_at < until, or_(j.finished_at >= since, j.created_at >= since))
    return [
        _attempt(row)
        for row in tx.rows(ended.order_by(j.created_at, j.id))
        if since <= (row.finished_at or row.created_at) < until
    ]


@dataclass(frozen=True, slots=True)
class Deleted:
    """An attempt to delete an object. ``connection_id`` None: it belonged to no snapshot of the ledger."""

    destination_id: str
    connection_id: str | None
    row: DeletionRow


def deleted(tx: Tx, since: datetime, until: datetime) -> list[Deleted]:
    """Attempts to delete objects, oldest first."""
    d = deletions.c
    found: list[Deleted] = []
    after: ColumnElement[bool] = d.deleted_at >= since
    while True:
        query = (
            select(deletions, snapshots.c.connection_id)
            .join_from(deletions, snapshots, snapshots.c.id == d.snapshot_id, isouter=True)
            .where(after, d.deleted_at < until)
        )
        rows = tx.rows(query.order_by(d.deleted_at, d.id).limit(PAGE))
        for r in rows:
            row = DeletionRow(r.object_key, r.version, r.snapshot_id, r.rule, r.deleted_at, r.result, r.detail)
            found.append(Deleted(r.destination_id, r.connection_id, row))
        if len(rows) < PAGE:
            return found
        last = rows[-1]
        after = or_(d.deleted_at > last.deleted_at, and_(d.deleted_at == last.deleted_at, d.id > last.id))


def reconciled(tx: Tx, destination_id: str, since: datetime, until: datetime) -> list[Reconciliation]:
    """Reconciliations of a destination, oldest first, and before them the newest one that was earlier, if any."""
    r = reconciliations.c
    mine = select(reconciliations).where(r.destination_id == destination_id)
    before = tx.rows(mine.where(r.reconciled_at < since).order_by(r.reconciled_at.desc()).limit(1))
    within = tx.rows(mine.where(r.reconciled_at >= since, r.reconciled_at < until).order_by(r.reconciled_at))
    return [_reconciliation(row) for row in (*before, *within)]


def wrong(tx: Tx, since: datetime, until: datetime) -> list[Incident]:
    """Incidents that were open at any instant then, oldest first."""
    i = incidents.c
    there = and_(i.opened_at < until, or_(i.closed_at.is_(None), i.closed_at >= since))
    rows = tx.rows(select(incidents).where(there).order_by(i.opened_at, i.id))
    return [record_of(row) for row in rows]


def first_event(tx: Tx, since: datetime) -> int | None:
    """The number of the first event from ``since`` on."""
    e = event_table.c
    row = tx.row(select(func.min(e.seq).label("seq")).where(e.at >= since))
    return None if row is None else row.seq


def last_event_before(tx: Tx, until: datetime) -> int | None:
    """The number of the last event before ``until``."""
    e = event_table.c
    row = tx.row(select(func.max(e.seq).label("seq")).where(e.at < until))
    return None if row is None else row.seq


def _snapshots() -> Select[Any]:
    s, r = snapshots.c, removals.c
    wanted = (s.id, s.connection_id, s.destination_id, s.seq, s.taken_at, s.tag, s.object_key, s.size_bytes)
    more = (s.artifact_sha256, s.tables, s.tables_in_source, s.rows, s.kid, r.result, r.removed_at, r.rule)
    return select(*wanted, *more).join_from(snapshots, removals, r.snapshot_id == s.id, isouter=True)


def _snapshot(row: Row[Any]) -> SnapshotFact:
    return SnapshotFact(
        id=row.id,
        connection_id=row.connection_id,
        destination_id=row.destination_id,
        seq=row.seq,
        taken_at=row.taken_at,
        tag=row.tag,
        object_key=row.object_key,
        size_bytes=row.size_bytes,
        sha256=row.artifact_sha256,
        tables=row.tables,
        tables_in_source=row.tables_in_source,
        rows=row.rows,
        kid=row.kid,
        fate=row.result,
        fate_at=row.removed_at,
        fate_rule=row.rule,
    )


def _receipts() -> Select[Any]:
    d = drills.c
    columns = (d.id, d.snapshot_id, d.position, d.finished_at, d.receipt, d.receipt_sha256)
    return select(*columns).join_from(drills, snapshots, snapshots.c.id == d.snapshot_id)


def _receipt(row: Row[Any]) -> StoredReceipt:
    return StoredReceipt(row.id, row.snapshot_id, row.position, row.finished_at, row.receipt, row.receipt_sha256)


def _attempt(row: Row[Any]) -> FailedAttempt:
    try:
        error = None if row.error is None else from_json(JobError, row.error)
    except ValueError:
        error = None  # it failed, and that is what the report tells
    kind = "drill" if row.snapshot_id is not None else row.kind
    code, message = (error.code, error.message) if error is not None else ("", "")
    return FailedAttempt(row.id, kind, row.finished_at or row.created_at, code, message)


def _reconciliation(row: Row[Any]) -> Reconciliation:
    try:
        outcome = from_json(Reconciled, row.outcome)
    except ValueError as e:
        raise damaged(f"reconciliation {row.id}", str(e)) from e
    return Reconciliation(
        row.id, row.destination_id, row.reconciled_at, row.objects, row.size_bytes, row.listing_sha256, outcome
    )
