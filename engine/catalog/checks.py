"""Questions that every restored copy of a connection is asked. What they say is the operator's: nothing runs here."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select

from engine.catalog.schema import checks as table
from engine.catalog.transaction import Tx
from engine.errors import ConfigError
from engine.model import OperatorCheck


def add(tx: Tx, connection_id: str, check: OperatorCheck, at: datetime) -> None:
    """Add a check to a connection. Raises ConfigError config.name-taken."""
    if tx.row(select(table.c.name).where(table.c.connection_id == connection_id, table.c.name == check.name)):
        raise ConfigError(
            "config.name-taken",
            f"there is a check called {check.name} already",
            hint="Remove it first: `offsitedb check remove CONNECTION NAME`.",
        )
    tx.change(
        insert(table).values(
            connection_id=connection_id, name=check.name, query=check.query, expect=check.expect, created_at=at
        )
    )


def list_all(tx: Tx, connection_id: str) -> list[OperatorCheck]:
    """The connection's checks, by name."""
    rows = tx.rows(select(table).where(table.c.connection_id == connection_id).order_by(table.c.name))
    return [OperatorCheck(row.name, row.query, row.expect) for row in rows]


def list_ever(tx: Tx) -> dict[str, list[OperatorCheck]]:
    """The checks of all connections, by connection id."""
    found: dict[str, list[OperatorCheck]] = {}
    for row in tx.rows(select(table).order_by(table.c.connection_id, table.c.name)):
        found.setdefault(row.connection_id, []).append(OperatorCheck(row.name, row.query, row.expect))
    return found


def remove(tx: Tx, connection_id: str, name: str) -> None:
    """Ask it no more. Raises ConfigError config.not-found."""
    if not tx.change(delete(table).where(table.c.connection_id == connection_id, table.c.name == name)):
        raise ConfigError(
            "config.not-found",
            f"there is no check called {name}",
            hint="List them: `offsitedb check list CONNECTION`.",
        )
