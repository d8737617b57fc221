"""What is told to whom, and how far that has come.

A delivery is taken by moving its ``next_at`` on in one transaction: whoever takes it has it until then, and a sender
that dies lets go of it by that. What became of an attempt is written with the number of the attempt, so that a sender
that took too long does not overwrite the next one; that something *has* arrived counts whoever says so.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, and_, exists, func, insert, or_, select, update

from engine.catalog.schema_running import alert_channels
from engine.catalog.schema_running import deliveries as table
from engine.catalog.transaction import Tx
from engine.model import Delivery, Occasion


def add(tx: Tx, delivery: Delivery) -> None:
    """Write down what is to be told. Raises Internal for a second one of an incident, channel and occasion."""
    tx.change(
        insert(table).values(
            id=delivery.id,
            channel_id=delivery.channel_id,
            incident_id=delivery.incident_id,
            occasion=delivery.occasion.value,
            body=delivery.body,
            created_at=delivery.created_at,
            next_at=delivery.next_at,
            attempts=delivery.attempts,
            delivered_at=delivery.delivered_at,
            error=delivery.error,
        )
    )


def get(tx: Tx, delivery_id: str) -> Delivery | None:
    row = tx.row(select(table).where(table.c.id == delivery_id))
    return None if row is None else _record(row)


def told_of(tx: Tx, incident_id: str) -> set[str]:
    """Ids of the channels, still in use, that are or will be told that the incident opened."""
    query = (
        select(table.c.channel_id)
        .join_from(table, alert_channels, alert_channels.c.id == table.c.channel_id)
        .where(table.c.incident_id == incident_id, table.c.occasion == Occasion.OPENED.value)
        .where(alert_channels.c.removed_at.is_(None))
    )
    return {row.channel_id for row in tx.rows(query)}


def any_due(tx: Tx, now: datetime) -> bool:
    """Whether there is something to send: a cheap look before :func:`take`."""
    return tx.row(_due(now).limit(1)) is not None


def take(tx: Tx, now: datetime, hold_s: float, *, without: Collection[str] = ()) -> Delivery | None:
    """The delivery that is due longest, held for ``hold_s`` seconds; None when there is none but to the channels
    ``without``.

    That an incident closed is not told before it was told, or given up, that it opened.
    """
    due = _due(now).where(table.c.channel_id.not_in(list(without))) if without else _due(now)
    row = tx.row(due.order_by(table.c.next_at, table.c.created_at, table.c.id).limit(1))
    if row is None:
        return None
    held = {"next_at": now + timedelta(seconds=hold_s), "attempts": row.attempts + 1}
    tx.change(update(table).where(table.c.id == row.id).values(**held))
    return get(tx, row.id)


def arrived(tx: Tx, delivery: Delivery, at: datetime, *, again_at: datetime | None = None) -> None:
    """It has arrived; ``again_at``: when the next heartbeat is due."""
    done: dict[str, object] = {"delivered_at": at, "next_at": again_at, "error": None}
    if again_at is not None:
        done["attempts"] = 0
    tx.change(update(table).where(table.c.id == delivery.id).values(**done))


def failed(tx: Tx, delivery: Delivery, error: str, again_at: datetime | None) -> None:
    """This attempt was in vain. ``again_at`` None: there is none after it."""
    mine = update(table).where(
        table.c.id == delivery.id, table.c.attempts == delivery.attempts, _waits(), table.c.next_at.is_not(None)
    )
    tx.change(mine.values(error=error, next_at=again_at))


def postpone(tx: Tx, delivery: Delivery, until: datetime, why: str) -> None:
    """Not sent, and that is right: a heartbeat of a proof that is not fresh."""
    mine = update(table).where(table.c.id == delivery.id, table.c.attempts == delivery.attempts)
    tx.change(mine.values(next_at=until, error=why, attempts=0))


def drop(tx: Tx, channel_id: str, why: str) -> None:
    """What waits for a channel that is removed is not told any more."""
    tx.change(
        update(table)
        .where(table.c.channel_id == channel_id, table.c.next_at.is_not(None))
        .values(next_at=None, error=why)
    )


def list_recent(tx: Tx, *, limit: int, channel_ids: Collection[str] | None = None) -> list[Delivery]:
    """At most ``limit`` deliveries, newest first."""
    query = select(table).order_by(table.c.created_at.desc(), table.c.id).limit(limit)
    if channel_ids is not None:
        query = query.where(table.c.channel_id.in_(list(channel_ids)))
    return [_record(row) for row in tx.rows(query)]


def newest_of(tx: Tx, channel_id: str) -> Delivery | None:
    """The channel's newest delivery of which something is known: arrived, or tried in vain. Of a heartbeat its beat."""
    known = or_(table.c.delivered_at.is_not(None), table.c.error.is_not(None))
    query = select(table).where(table.c.channel_id == channel_id, known)
    beats = table.c.occasion.in_([Occasion.BEAT.value])
    row = tx.row(query.order_by(beats.desc(), table.c.created_at.desc(), table.c.id).limit(1))
    return None if row is None else _record(row)


def waiting(tx: Tx) -> dict[str, int]:
    """How many deliveries of incidents are under way, by channel id."""
    query = (
        select(table.c.channel_id, func.count().label("n"))
        .where(table.c.next_at.is_not(None), table.c.occasion != Occasion.BEAT.value)
        .group_by(table.c.channel_id)
    )
    return {row.channel_id: int(row.n) for row in tx.rows(query)}


def _due(now: datetime) -> Select[Any]:
    opening = table.alias("opening")
    untold = exists().where(
        opening.c.channel_id == table.c.channel_id,
        opening.c.incident_id == table.c.incident_id,
        opening.c.occasion == Occasion.OPENED.value,
        opening.c.next_at.is_not(None),
    )
    return select(table).where(table.c.next_at <= now, ~and_(table.c.occasion == Occasion.CLOSED.value, untold))


def _waits() -> Any:
    return or_(table.c.delivered_at.is_(None), table.c.occasion == Occasion.BEAT.value)


def _record(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        channel_id=row.channel_id,
        incident_id=row.incident_id,
        occasion=Occasion(row.occasion),
        body=row.body,
        created_at=row.created_at,
        next_at=row.next_at,
        attempts=row.attempts,
        delivered_at=row.delivered_at,
        error=row.error,
    )
