"""The worker processes that announced themselves, and when each was last heard of."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, delete, insert, select, update

from engine.catalog.schema import workers as table
from engine.catalog.transaction import Tx
from engine.errors import CatalogError
from engine.model import Worker


def register(tx: Tx, worker: Worker) -> None:
    """Announce a worker; one that bears the same id is replaced."""
    tx.change(delete(table).where(table.c.id == worker.id))
    tx.change(
        insert(table).values(
            id=worker.id,
            host=worker.host,
            pid=worker.pid,
            version=worker.version,
            threads=worker.threads,
            started_at=worker.started_at,
            heartbeat_at=worker.heartbeat_at,
            stopped_at=worker.stopped_at,
            labels=",".join(sorted(worker.labels)),
            place=worker.place,
        )
    )


def beat(tx: Tx, worker_id: str, now: datetime) -> None:
    """Note that the worker lives. Raises CatalogError catalog.fenced for one that is not registered, or stopped."""
    alive = update(table).where(table.c.id == worker_id, table.c.stopped_at.is_(None))
    if not tx.change(alive.values(heartbeat_at=now)):
        raise CatalogError("catalog.fenced", f"the worker is not registered any more: {worker_id}")


def stop(tx: Tx, worker_id: str, now: datetime) -> None:
    """Note that the worker ended. Said once or more often, by itself or by whoever found it dead: the first counts."""
    tx.change(update(table).where(table.c.id == worker_id, table.c.stopped_at.is_(None)).values(stopped_at=now))


def live(tx: Tx, now: datetime, within_s: float) -> list[Worker]:
    """Workers that did not stop and were heard of in the last ``within_s`` seconds, oldest first."""
    since = now - timedelta(seconds=within_s)
    return _records(
        tx,
        select(table)
        .where(table.c.stopped_at.is_(None), table.c.heartbeat_at >= since)
        .order_by(table.c.started_at, table.c.id),
    )


def list_all(tx: Tx) -> list[Worker]:
    """Every worker that ever announced itself, newest first."""
    return _records(tx, select(table).order_by(table.c.started_at.desc(), table.c.id))


def _records(tx: Tx, query: Select[Any]) -> list[Worker]:
    return [_record(row) for row in tx.rows(query)]


def _record(row: Row[Any]) -> Worker:
    return Worker(
        id=row.id,
        host=row.host,
        pid=row.pid,
        version=row.version,
        threads=row.threads,
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        stopped_at=row.stopped_at,
        labels=frozenset(label for label in row.labels.split(",") if label),
        place=row.place,
    )
