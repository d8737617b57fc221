"""The databases that are protected. Of a connection string the catalog knows only its sealed form."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, insert, select
from sqlalchemy import update as update_rows

from engine.catalog.schema import connections as table
from engine.catalog.transaction import Tx
from engine.errors import ConfigError
from engine.model import ConnectionRecord


def add(tx: Tx, record: ConnectionRecord) -> None:
    """Add a connection. Raises ConfigError config.name-taken."""
    if tx.row(_live().where(table.c.name == record.name)):
        raise ConfigError("config.name-taken", f"there is a connection called {record.name} already")
    tx.change(
        insert(table).values(
            id=record.id,
            name=record.name,
            destination_id=record.destination_id,
            conninfo_sealed=record.conninfo_sealed,
            provider=record.provider,
            accept_empty=record.accept_empty,
            created_at=record.created_at,
            tested_at=record.tested_at,
            proof_target_s=record.proof_target_s,
            restore_target_s=record.restore_target_s,
            fingerprint=record.fingerprint,
            scratch_server_id=record.scratch_server_id,
            worker_label=record.worker_label,
        )
    )


def get(tx: Tx, connection_id: str) -> ConnectionRecord:
    """The connection with this id, removed or not. Raises ConfigError config.not-found."""
    row = tx.row(select(table).where(table.c.id == connection_id))
    if row is None:
        raise _unknown(connection_id)
    return _record(row)


def by_name(tx: Tx, name: str) -> ConnectionRecord:
    """The connection in use under this name. Raises ConfigError config.not-found."""
    row = tx.row(_live().where(table.c.name == name))
    if row is None:
        raise ConfigError("config.not-found", f"there is no connection called {name}")
    return _record(row)


def list_all(tx: Tx) -> list[ConnectionRecord]:
    """Every connection that was not removed, by name."""
    return [_record(row) for row in tx.rows(_live().order_by(table.c.name))]


def list_ever(tx: Tx) -> list[tuple[ConnectionRecord, datetime | None]]:
    """Every connection there ever was, by id, and when it was removed."""
    return [(_record(row), row.removed_at) for row in tx.rows(select(table).order_by(table.c.id))]


def is_removed(tx: Tx, connection_id: str) -> bool:
    """Whether the connection was taken out of use. Raises ConfigError config.not-found."""
    row = tx.row(select(table.c.removed_at).where(table.c.id == connection_id))
    if row is None:
        raise _unknown(connection_id)
    return row.removed_at is not None


def update(tx: Tx, record: ConnectionRecord) -> None:
    """Write a changed connection: string, provider, destination, accept_empty, tested_at. The name stays.

    Raises ConfigError config.not-found, also for one that was removed meanwhile.
    """
    changed = update_rows(table).where(table.c.id == record.id, table.c.removed_at.is_(None))
    touched = tx.change(
        changed.values(
            destination_id=record.destination_id,
            conninfo_sealed=record.conninfo_sealed,
            provider=record.provider,
            accept_empty=record.accept_empty,
            tested_at=record.tested_at,
        )
    )
    if not touched:
        raise _unknown(record.id)


def set_targets(tx: Tx, connection_id: str, *, proof_s: float | None, restore_s: float | None) -> None:
    """How old the newest proof may be, and how long a restore may take. Raises ConfigError config.not-found."""
    live = update_rows(table).where(table.c.id == connection_id, table.c.removed_at.is_(None))
    if not tx.change(live.values(proof_target_s=proof_s, restore_target_s=restore_s)):
        raise _unknown(connection_id)


def set_fingerprint(tx: Tx, connection_id: str, *, wanted: bool) -> None:
    """Whether snapshots from now on hold a fingerprint of each table. Raises ConfigError config.not-found."""
    live = update_rows(table).where(table.c.id == connection_id, table.c.removed_at.is_(None))
    if not tx.change(live.values(fingerprint=wanted)):
        raise _unknown(connection_id)


def set_worker_label(tx: Tx, connection_id: str, label: str | None) -> None:
    """Which workers run the connection's jobs; None: any. Raises ConfigError config.not-found."""
    live = update_rows(table).where(table.c.id == connection_id, table.c.removed_at.is_(None))
    if not tx.change(live.values(worker_label=label)):
        raise _unknown(connection_id)


def mark_tested(tx: Tx, connection_id: str, at: datetime, provider: str | None = None) -> None:
    """Note that the database could be reached and, if known, who runs it. Raises ConfigError config.not-found."""
    values: dict[str, object] = {"tested_at": at}
    if provider is not None:
        values["provider"] = provider
    if not tx.change(update_rows(table).where(table.c.id == connection_id).values(**values)):
        raise _unknown(connection_id)


def remove(tx: Tx, connection_id: str, at: datetime) -> None:
    """Take a connection out of use and forget its string; its snapshots and drills stay.

    Raises ConfigError config.not-found.
    """
    live = update_rows(table).where(table.c.id == connection_id, table.c.removed_at.is_(None))
    if not tx.change(live.values(removed_at=at, conninfo_sealed="")):
        raise _unknown(connection_id)


def next_seq(tx: Tx, connection_id: str) -> int:
    """The next snapshot number of the connection: 1, 2, 3, … A number is never given twice, used or not.

    Raises ConfigError config.not-found.
    """
    tx.change(update_rows(table).where(table.c.id == connection_id).values(last_seq=table.c.last_seq + 1))
    row = tx.row(select(table.c.last_seq).where(table.c.id == connection_id))
    if row is None:
        raise _unknown(connection_id)
    return int(row.last_seq)


def _unknown(connection_id: str) -> ConfigError:
    return ConfigError("config.not-found", f"there is no connection {connection_id}")


def _live() -> Select[Any]:
    return select(table).where(table.c.removed_at.is_(None))


def _record(row: Row[Any]) -> ConnectionRecord:
    return ConnectionRecord(
        id=row.id,
        name=row.name,
        destination_id=row.destination_id,
        conninfo_sealed=row.conninfo_sealed,
        provider=row.provider,
        accept_empty=row.accept_empty,
        created_at=row.created_at,
        tested_at=row.tested_at,
        proof_target_s=row.proof_target_s,
        restore_target_s=row.restore_target_s,
        fingerprint=row.fingerprint,
        scratch_server_id=row.scratch_server_id,
        worker_label=row.worker_label,
    )
