"""How much a table may shrink between two proven snapshots, by connection."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select

from engine.catalog.schema_running import drift_limits as table
from engine.catalog.transaction import Tx


def put(tx: Tx, connection_id: str, fraction: float, at: datetime) -> None:
    """Set the limit of a connection: 0.3 is 30 per cent."""
    tx.change(delete(table).where(table.c.connection_id == connection_id))
    tx.change(insert(table).values(connection_id=connection_id, fraction=fraction, changed_at=at))


def all_of(tx: Tx) -> dict[str, float]:
    """The limits that were set, by connection id."""
    return {row.connection_id: row.fraction for row in tx.rows(select(table))}
