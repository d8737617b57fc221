"""When checkpoints are due, the slots that were decided, and which snapshots of each connection are drilled.

The look for due work reads one index and nothing else. A slot is one row for ever: whoever decides it first has decided
it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from engine.catalog.schema import connections, jobs
from engine.catalog.schema_running import drill_policies, slots
from engine.catalog.schema_running import schedules as table
from engine.catalog.transaction import Tx
from engine.model import JobKind, JobState, Schedule, Slot, SlotOutcome

_AT_ONCE = 500
"""Rows of one INSERT: five values each, and SQLite takes 32,766."""
_LIVE = [state.value for state in JobState if not state.ended]


def get(tx: Tx, connection_id: str) -> Schedule | None:
    """The connection's schedule, if it has one."""
    row = tx.row(select(table).where(table.c.connection_id == connection_id))
    return None if row is None else _record(row)


def put(tx: Tx, schedule: Schedule) -> None:
    """Write the connection's schedule, in place of the one that it had."""
    tx.change(delete(table).where(table.c.connection_id == schedule.connection_id))
    tx.change(
        insert(table).values(
            connection_id=schedule.connection_id,
            cron=schedule.cron,
            time_zone=schedule.time_zone,
            enabled=schedule.enabled,
            next_at=schedule.next_at,
            changed_at=schedule.changed_at,
        )
    )


def remove(tx: Tx, connection_id: str) -> bool:
    """Forget the schedule; its slots stay. Whether there was one."""
    return bool(tx.change(delete(table).where(table.c.connection_id == connection_id)))


def list_all(tx: Tx) -> dict[str, Schedule]:
    """The schedules of all connections in use, by connection id."""
    live = table.join(connections, connections.c.id == table.c.connection_id)
    query = select(table).select_from(live).where(connections.c.removed_at.is_(None))
    return {row.connection_id: _record(row) for row in tx.rows(query)}


def due(tx: Tx, now: datetime, *, limit: int) -> list[Schedule]:
    """At most ``limit`` schedules whose next slot has come, the longest due first."""
    query = select(table).where(table.c.next_at <= now).order_by(table.c.next_at, table.c.connection_id).limit(limit)
    return [_record(row) for row in tx.rows(query)]


def move(tx: Tx, connection_id: str, next_at: datetime | None) -> None:
    """The next slot that is to be decided."""
    tx.change(update(table).where(table.c.connection_id == connection_id).values(next_at=next_at))


def add_slots(tx: Tx, decided: Sequence[Slot]) -> None:
    """Write slots down that nobody has decided yet. Raises CatalogError for one that somebody has."""
    for start in range(0, len(decided), _AT_ONCE):
        rows = [
            {
                "connection_id": slot.connection_id,
                "slot_at": slot.slot_at,
                "outcome": slot.outcome.value,
                "job_id": slot.job_id,
                "decided_at": slot.decided_at,
            }
            for slot in decided[start : start + _AT_ONCE]
        ]
        tx.change(insert(slots).values(rows))


def list_slots(tx: Tx, connection_id: str, *, limit: int) -> list[Slot]:
    """At most ``limit`` slots of the connection that were decided, newest first."""
    query = select(slots).where(slots.c.connection_id == connection_id).order_by(slots.c.slot_at.desc()).limit(limit)
    return [
        Slot(row.connection_id, row.slot_at, SlotOutcome(row.outcome), row.job_id, row.decided_at)
        for row in tx.rows(query)
    ]


def known(tx: Tx, connection_ids: Collection[str]) -> dict[str, datetime | None]:
    """The newest slot that was decided, of those of the connections that are in use."""
    newest = (
        select(slots.c.slot_at)
        .where(slots.c.connection_id == connections.c.id)
        .correlate(connections)
        .order_by(slots.c.slot_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = select(connections.c.id, newest.label("newest")).where(
        connections.c.id.in_(connection_ids), connections.c.removed_at.is_(None)
    )
    return {row.id: row.newest for row in tx.rows(query)}


def busy(tx: Tx, connection_ids: Collection[str]) -> set[str]:
    """Those of the connections of which a checkpoint runs or waits."""
    query = select(jobs.c.connection_id).where(
        jobs.c.state.in_(_LIVE), jobs.c.kind == JobKind.CHECKPOINT.value, jobs.c.connection_id.in_(connection_ids)
    )
    return {row.connection_id for row in tx.rows(query)}


def drill_policy(tx: Tx, connection_id: str) -> str | None:
    """Which snapshots are drilled, as it was written down; None: every one."""
    row = tx.row(select(drill_policies.c.policy).where(drill_policies.c.connection_id == connection_id))
    return None if row is None else str(row.policy)


def drill_policy_all(tx: Tx) -> dict[str, str]:
    """The same of all connections that have a policy, by connection id."""
    found = tx.rows(select(drill_policies.c.connection_id, drill_policies.c.policy))
    return {row.connection_id: row.policy for row in found}


def set_drill_policy(tx: Tx, connection_id: str, policy: str, at: datetime) -> None:
    """Which snapshots are drilled from now on."""
    tx.change(delete(drill_policies).where(drill_policies.c.connection_id == connection_id))
    tx.change(insert(drill_policies).values(connection_id=connection_id, policy=policy, changed_at=at))


def _record(row: Row[Any]) -> Schedule:
    return Schedule(
        connection_id=row.connection_id,
        cron=row.cron,
        time_zone=row.time_zone,
        enabled=row.enabled,
        next_at=row.next_at,
        changed_at=row.changed_at,
    )
