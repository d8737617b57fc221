"""Where artifacts go. A removed destination keeps its row: old snapshots still name it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, insert, select, update

from engine.catalog.schema import connections as users
from engine.catalog.schema import destinations as table
from engine.catalog.transaction import Tx
from engine.errors import ConfigError
from engine.model import BucketSpec, Destination, DestinationKind, SealedKeys


def add(tx: Tx, record: Destination) -> None:
    """Add a destination. Raises ConfigError config.name-taken."""
    if tx.row(_live().where(table.c.name == record.name)):
        raise ConfigError("config.name-taken", f"there is a destination called {record.name} already")
    tx.change(
        insert(table).values(
            id=record.id,
            name=record.name,
            kind=record.kind.value,
            folder=record.folder,
            created_at=record.created_at,
            tested_at=record.tested_at,
            **_place(record),
            **_keys(record),
        )
    )


def change_keys(tx: Tx, record: Destination) -> None:
    """Write the sealed keys and the CA of ``record`` anew. Raises ConfigError config.not-found."""
    values = {**_keys(record), "ca_pem": _place(record)["ca_pem"], "tested_at": record.tested_at}
    if not tx.change(update(table).where(table.c.id == record.id, table.c.removed_at.is_(None)).values(**values)):
        raise ConfigError("config.not-found", f"there is no destination {record.id}")


def get(tx: Tx, destination_id: str) -> Destination:
    """The destination with this id, removed or not. Raises ConfigError config.not-found."""
    row = tx.row(select(table).where(table.c.id == destination_id))
    if row is None:
        raise ConfigError("config.not-found", f"there is no destination {destination_id}")
    return _record(row)


def by_name(tx: Tx, name: str) -> Destination:
    """The destination in use under this name. Raises ConfigError config.not-found."""
    row = tx.row(_live().where(table.c.name == name))
    if row is None:
        raise ConfigError("config.not-found", f"there is no destination called {name}")
    return _record(row)


def list_all(tx: Tx) -> list[Destination]:
    """Every destination that was not removed, by name."""
    return [_record(row) for row in tx.rows(_live().order_by(table.c.name))]


def list_ever(tx: Tx) -> list[tuple[Destination, datetime | None]]:
    """Every destination there ever was, by id, and when it was removed: old snapshots may still lie at one."""
    return [(_record(row), row.removed_at) for row in tx.rows(select(table).order_by(table.c.id))]


def mark_tested(tx: Tx, destination_id: str, at: datetime) -> None:
    """Note that writing to and reading from it worked. Raises ConfigError config.not-found."""
    if not tx.change(update(table).where(table.c.id == destination_id).values(tested_at=at)):
        raise ConfigError("config.not-found", f"there is no destination {destination_id}")


def remove(tx: Tx, destination_id: str, at: datetime) -> None:
    """Take a destination out of use. Raises ConfigError config.in-use, config.not-found."""
    live = select(users.c.name).where(users.c.destination_id == destination_id, users.c.removed_at.is_(None))
    names = [str(row.name) for row in tx.rows(live.order_by(users.c.name))]
    if names:
        raise ConfigError(
            "config.in-use",
            f"the destination is used by {', '.join(names)}",
            hint=f"Remove or move the connection first: `offsitedb connection remove {names[0]}`.",
        )
    gone = update(table).where(table.c.id == destination_id, table.c.removed_at.is_(None)).values(removed_at=at)
    if not tx.change(gone):
        raise ConfigError("config.not-found", f"there is no destination {destination_id}")


def _live() -> Select[Any]:
    return select(table).where(table.c.removed_at.is_(None))


def _record(row: Row[Any]) -> Destination:
    return Destination(
        id=row.id,
        name=row.name,
        kind=DestinationKind(row.kind),
        folder=row.folder,
        created_at=row.created_at,
        tested_at=row.tested_at,
        bucket=_spec(row),
        keys=_sealed(row),
    )


def _place(record: Destination) -> dict[str, str | bool | None]:
    spec = record.bucket
    if spec is None:
        return {"ca_pem": None}
    return {
        "bucket": spec.bucket,
        "provider": spec.provider,
        "endpoint": spec.endpoint,
        "region": spec.region,
        "prefix": spec.prefix,
        "ca_pem": spec.ca_pem,
        "allow_http": spec.allow_http,
    }


def _keys(record: Destination) -> dict[str, str | None]:
    keys = record.keys
    return {
        "access_key_sealed": keys.access_key if keys else None,
        "secret_key_sealed": keys.secret_key if keys else None,
        "prune_access_key_sealed": keys.prune_access_key if keys else None,
        "prune_secret_key_sealed": keys.prune_secret_key if keys else None,
    }


def _spec(row: Row[Any]) -> BucketSpec | None:
    if row.bucket is None:
        return None
    return BucketSpec(
        bucket=row.bucket,
        provider=row.provider,
        endpoint=row.endpoint,
        region=row.region,
        prefix=row.prefix or "",
        ca_pem=row.ca_pem,
        allow_http=row.allow_http,
    )


def _sealed(row: Row[Any]) -> SealedKeys | None:
    if row.access_key_sealed is None or row.secret_key_sealed is None:
        return None
    return SealedKeys(
        row.access_key_sealed, row.secret_key_sealed, row.prune_access_key_sealed, row.prune_secret_key_sealed
    )
