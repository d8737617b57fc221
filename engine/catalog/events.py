"""The append-only history and its signed heads, as rows. Hashes and signatures are made in the evidence room.

Triggers refuse to change or remove a row, and to leave a number out. Whoever owns the database file can drop a trigger;
that is what the hashes are for.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, Text, cast, column, insert, select
from sqlalchemy import table as sql_table

from engine.catalog.failures import damaged
from engine.catalog.schema import events as table
from engine.catalog.schema import heads
from engine.catalog.transaction import Tx
from engine.codec import from_plain
from engine.model import Event, EventHead


class Line(NamedTuple):
    """An event as it is stored: texts, and ``data`` unread."""

    seq: int
    at: str
    actor: str
    kind: str
    subject: str
    data: str
    previous: str
    hash: str


class HeadLine(NamedTuple):
    """A signed head as it is stored."""

    seq: int
    hash: str
    signature: str
    signed_at: str


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


def last_seq(tx: Tx) -> int:
    """The number of the newest event; 0 without any."""
    found = tx.tuples(select(table.c.seq).order_by(table.c.seq.desc()).limit(1))
    return int(found[0][0]) if found else 0


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


def lines_after(tx: Tx, seq: int, *, limit: int) -> list[Line]:
    """As :func:`list_after`, as they are stored and whatever is stored: for many of them, and for judging them."""
    every = select(
        table.c.seq, *(table.c[name] for name in ("at", "actor", "kind", "subject", "data", "previous", "hash"))
    )
    return [Line(*row) for row in tx.tuples(every.where(table.c.seq > seq).order_by(table.c.seq).limit(limit))]


def head_lines_after(tx: Tx, seq: int, *, limit: int) -> list[HeadLine]:
    """As :func:`heads_after`, as they are stored."""
    every = select(heads.c.seq, heads.c.hash, heads.c.signature, heads.c.signed_at)
    return [HeadLine(*row) for row in tx.tuples(every.where(heads.c.seq > seq).order_by(heads.c.seq).limit(limit))]


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


def get(tx: Tx, seq: int) -> Line | None:
    """The event with this number, as it is stored."""
    found = lines_after(tx, seq - 1, limit=1)
    return found[0] if found and found[0].seq == seq else None


def missing_guards(tx: Tx) -> list[str]:
    """The triggers that refuse to change the history and that are not there, or switched off."""
    if tx.dialect == "sqlite":
        wanted = {
            *("events_no_update", "events_no_delete", "events_no_gap"),
            *("heads_no_update", "heads_no_delete", "heads_no_replace"),
        }
        master = sql_table("sqlite_master", column("name"), column("type"))
        found = tx.tuples(select(master.c.name).where(master.c.type == "trigger"))
    else:
        wanted = {"events_no_change", "events_no_truncate", "events_no_gap", "heads_no_change", "heads_no_truncate"}
        triggers = sql_table("pg_trigger", column("tgname"), column("tgenabled"))
        name = cast(triggers.c.tgname, Text)
        found = tx.tuples(select(name).where(name.in_(wanted), cast(triggers.c.tgenabled, Text).in_(("O", "A"))))
    return sorted(wanted - {row[0] for row in found})


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
