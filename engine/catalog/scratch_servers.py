"""Servers that drills may restore into instead of a cluster of their own. Of the string only its sealed form."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, insert, select, update

from engine.catalog.schema import connections as users
from engine.catalog.schema import scratch_servers as table
from engine.catalog.transaction import Tx
from engine.errors import ConfigError
from engine.model import ScratchServer


def add(tx: Tx, record: ScratchServer) -> None:
    """Add a server. Raises ConfigError config.name-taken."""
    if tx.row(_live().where(table.c.name == record.name)):
        raise ConfigError("config.name-taken", f"there is a scratch server called {record.name} already")
    tx.change(
        insert(table).values(
            id=record.id,
            name=record.name,
            conninfo_sealed=record.conninfo_sealed,
            created_at=record.created_at,
            tested_at=record.tested_at,
        )
    )


def get(tx: Tx, server_id: str) -> ScratchServer:
    """The server with this id, in use. Raises ConfigError config.not-found."""
    row = tx.row(_live().where(table.c.id == server_id))
    if row is None:
        raise ConfigError("config.not-found", f"there is no scratch server {server_id}")
    return _record(row)


def by_name(tx: Tx, name: str) -> ScratchServer:
    """The server in use under this name. Raises ConfigError config.not-found."""
    row = tx.row(_live().where(table.c.name == name))
    if row is None:
        raise ConfigError(
            "config.not-found",
            f"there is no scratch server called {name}",
            hint="List them: `offsitedb scratch list`.",
        )
    return _record(row)


def list_all(tx: Tx) -> list[ScratchServer]:
    """Every server that was not removed, by name."""
    return [_record(row) for row in tx.rows(_live().order_by(table.c.name))]


def mark_tested(tx: Tx, server_id: str, at: datetime) -> None:
    """Note that a drill could use it at that time."""
    tx.change(update(table).where(table.c.id == server_id).values(tested_at=at))


def remove(tx: Tx, server_id: str, at: datetime) -> None:
    """Take a server out of use and forget its string. Raises ConfigError config.in-use."""
    rows = tx.rows(select(users.c.name).where(users.c.scratch_server_id == server_id, users.c.removed_at.is_(None)))
    if rows:
        names = ", ".join(sorted(row.name for row in rows))
        raise ConfigError(
            "config.in-use",
            f"drills of {names} restore into it",
            hint="Give them another first: `offsitedb connection edit NAME --scratch none`.",
        )
    tx.change(update(table).where(table.c.id == server_id).values(removed_at=at, conninfo_sealed=""))


def use(tx: Tx, connection_id: str, server_id: str | None) -> None:
    """Have the drills of a connection restore into this server, or (None) into a cluster of their own."""
    live = update(users).where(users.c.id == connection_id, users.c.removed_at.is_(None))
    if not tx.change(live.values(scratch_server_id=server_id)):
        raise ConfigError("config.not-found", f"there is no connection {connection_id}")


def _live() -> Select[Any]:
    return select(table).where(table.c.removed_at.is_(None))


def _record(row: Row[Any]) -> ScratchServer:
    return ScratchServer(
        id=row.id,
        name=row.name,
        conninfo_sealed=row.conninfo_sealed,
        created_at=row.created_at,
        tested_at=row.tested_at,
    )
