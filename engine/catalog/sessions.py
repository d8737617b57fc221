"""Logins that last, by the SHA-256 of their tokens. An ended one is kept for a while, so that its end can be told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from engine.catalog.schema_access import sessions as table
from engine.catalog.transaction import Tx
from engine.model import Session, SessionKind


def add(tx: Tx, record: Session) -> None:
    tx.change(
        insert(table).values(
            token_sha256=record.token_sha256,
            operator_id=record.operator_id,
            kind=record.kind.value,
            source=record.source,
            created_at=record.created_at,
            seen_at=record.seen_at,
            confirmed_at=record.confirmed_at,
            ended_at=record.ended_at,
            end_reason=record.end_reason,
        )
    )


def find(tx: Tx, token_sha256: str) -> Session | None:
    row = tx.row(select(table).where(table.c.token_sha256 == token_sha256))
    return None if row is None else _record(row)


def open_by_operator(tx: Tx, seen_since: datetime, created_since: datetime) -> dict[str, int]:
    """How many sessions of each operator (by id) have neither ended nor been idle or old for too long."""
    live = (
        select(table.c.operator_id, func.count().label("n"))
        .where(table.c.ended_at.is_(None), table.c.seen_at > seen_since, table.c.created_at > created_since)
        .group_by(table.c.operator_id)
    )
    return {row.operator_id: row.n for row in tx.rows(live)}


def touch(tx: Tx, token_sha256: str, at: datetime) -> None:
    """Somebody is there."""
    tx.change(update(table).where(table.c.token_sha256 == token_sha256, table.c.ended_at.is_(None)).values(seen_at=at))


def confirm(tx: Tx, token_sha256: str, at: datetime) -> bool:
    """The password was given again. False: the session has ended."""
    live = update(table).where(table.c.token_sha256 == token_sha256, table.c.ended_at.is_(None))
    return bool(tx.change(live.values(confirmed_at=at, seen_at=at)))


def end(tx: Tx, token_sha256: str, at: datetime, reason: str) -> bool:
    """End one session; False: it had ended already. The first reason counts."""
    live = update(table).where(table.c.token_sha256 == token_sha256, table.c.ended_at.is_(None))
    return bool(tx.change(live.values(ended_at=at, end_reason=reason)))


def end_all(tx: Tx, operator_id: str, at: datetime, reason: str) -> int:
    """End every session of an operator; how many there were."""
    live = update(table).where(table.c.operator_id == operator_id, table.c.ended_at.is_(None))
    return tx.change(live.values(ended_at=at, end_reason=reason))


def sweep(tx: Tx, before: datetime) -> None:
    """Forget the sessions that began before then: none of them can still be used."""
    tx.change(delete(table).where(table.c.created_at < before))


def _record(row: Row[Any]) -> Session:
    return Session(
        token_sha256=row.token_sha256,
        operator_id=row.operator_id,
        kind=SessionKind(row.kind),
        source=row.source,
        created_at=row.created_at,
        seen_at=row.seen_at,
        confirmed_at=row.confirmed_at,
        ended_at=row.ended_at,
        end_reason=row.end_reason,
    )
