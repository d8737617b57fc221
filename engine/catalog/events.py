"""The append-only history and its signed heads, as rows. Hashes and signatures are made in the evidence room.

Triggers refuse to change or remove a row, and to leave a number out. Whoever owns the database file can drop a trigger;
that is what the hashes are for.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import Row, Select, insert, select

from engine.catalog.failures import damaged
from engine.catalog.schema import events as table
from engine.catalog.schema import heads
from engine.catalog.transaction import Tx
from engine.codec import from_plain
from engine.model import Event, EventHead


def append(tx: Tx, event: Event) -> None:
    """Write the next event down. Raises Internal when its number is not the next one."""
    tx.change(
        insert(table).values(
            seq=event.seq,
            at=event.at,
            actor=event.actor,
            kind=event.kind,
            subject=event.subject,
            data=json.dumps(event.data, ensure_ascii=False, separators=(",", ":")),
            previous=event.previous,
            hash=event.hash,
        )
    )


def last(tx: Tx) -> Event | None:
    """The newest event."""
    found = _records(tx, select(table).order_by(table.c.seq.desc()).limit(1))
    return found[0] if found else None


def list_recent(
    tx: Tx, *, subject: str | None = None, kind: str | None = None, limit: int, before: int | None = None
) -> list[Event]:
    """At most ``limit`` events, newest first; ``before`` (exclusive, by ``seq``) continues a list."""
    query = select(table).order_by(table.c.seq.desc()).limit(limit)
    if subject is not None:
        query = query.where(table.c.subject == subject)
    if kind is not None:
        query = query.where(table.c.kind == kind)
    if before is not None:
        query = query.where(table.c.seq < before)
    return _records(tx, query)


def list_after(tx: Tx, seq: int, *, limit: int) -> list[Event]:
    """At most ``limit`` events that follow ``seq``, oldest first."""
    return _records(tx, select(table).where(table.c.seq > seq).order_by(table.c.seq).limit(limit))


def list_of_kinds(tx: Tx, kinds: Collection[str], *, after: int, limit: int) -> list[Event]:
    """At most ``limit`` events of these kinds that follow ``after``, oldest first."""
    query = select(table).where(table.c.seq > after, table.c.kind.in_(list(kinds)))
    return _records(tx, query.order_by(table.c.seq).limit(limit))


def add_head(tx: Tx, head: EventHead) -> None:
    """Write a signed head down."""
    tx.change(insert(heads).values(seq=head.seq, hash=head.hash, signature=head.signature, signed_at=head.signed_at))


def newest_head(tx: Tx) -> EventHead | None:
    """The signed head that covers most."""
    row = tx.row(select(heads).order_by(heads.c.seq.desc()).limit(1))
    return None if row is None else _head(row)


def heads_after(tx: Tx, seq: int, *, limit: int) -> list[EventHead]:
    """At most ``limit`` signed heads that follow ``seq``, oldest first."""
    found = tx.rows(select(heads).where(heads.c.seq > seq).order_by(heads.c.seq).limit(limit))
    return [_head(row) for row in found]


def _records(tx: Tx, query: Select[Any]) -> list[Event]:
    return [_record(row) for row in tx.rows(query)]


def _record(row: Row[Any]) -> Event:
    try:
        data = from_plain(dict[str, str | int | bool | None], json.loads(row.data))
    except ValueError as e:
        raise damaged(f"event {row.seq}", str(e)) from e
    return Event(
        seq=row.seq,
        at=row.at,
        actor=row.actor,
        kind=row.kind,
        subject=row.subject,
        data=data,
        previous=row.previous,
        hash=row.hash,
    )


def _head(row: Row[Any]) -> EventHead:
    return EventHead(seq=row.seq, hash=row.hash, signature=row.signature, signed_at=row.signed_at)
