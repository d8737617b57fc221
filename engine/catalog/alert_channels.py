"""Where alerts go. Of URLs and secrets only their sealed form; what is removed loses them.

``only`` holds the kinds of incidents that a channel hears of, with blanks between them, and of a heartbeat the seconds
between two beats.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, insert, select, update

from engine.catalog.failures import damaged
from engine.catalog.schema_running import alert_channels as table
from engine.catalog.transaction import Tx
from engine.errors import ConfigError
from engine.model import AlertChannel, ChannelKind, IncidentKind


def add(tx: Tx, channel: AlertChannel) -> None:
    """Add a channel. Raises ConfigError config.name-taken."""
    if tx.row(_live().where(table.c.name == channel.name)):
        raise ConfigError(
            "config.name-taken",
            f"there is a channel called {channel.name} already",
            hint=f"Choose another name, or remove the old one: `offsitedb alerts remove {channel.name}`.",
        )
    only = " ".join(kind.value for kind in channel.only) if channel.every_s is None else str(channel.every_s)
    tx.change(
        insert(table).values(
            id=channel.id,
            name=channel.name,
            kind=channel.kind.value,
            url_sealed=channel.url_sealed,
            secret_sealed=channel.secret_sealed,
            shown=channel.shown,
            only=only,
            allow_private=channel.allow_private,
            created_at=channel.created_at,
        )
    )


def get(tx: Tx, channel_id: str) -> AlertChannel | None:
    """The channel with this id, if it is in use."""
    row = tx.row(_live().where(table.c.id == channel_id))
    return None if row is None else _record(row)


def by_name(tx: Tx, name: str) -> AlertChannel:
    """The channel in use under this name. Raises ConfigError config.not-found."""
    row = tx.row(_live().where(table.c.name == name))
    if row is None:
        raise ConfigError(
            "config.not-found", f"there is no channel called {name}", hint="List them: `offsitedb alerts list`."
        )
    return _record(row)


def list_all(tx: Tx) -> list[AlertChannel]:
    """Every channel that was not removed, by name."""
    return [_record(row) for row in tx.rows(_live().order_by(table.c.name))]


def names(tx: Tx) -> dict[str, str]:
    """The name of every channel there ever was, by id."""
    return {row.id: row.name for row in tx.rows(select(table.c.id, table.c.name))}


def remove(tx: Tx, channel_id: str, at: datetime) -> None:
    """Take a channel out of use and forget its URL and secret."""
    live = update(table).where(table.c.id == channel_id, table.c.removed_at.is_(None))
    tx.change(live.values(removed_at=at, url_sealed="", secret_sealed=None))


def _live() -> Select[Any]:
    return select(table).where(table.c.removed_at.is_(None))


def _record(row: Row[Any]) -> AlertChannel:
    try:
        kind = ChannelKind(row.kind)
        beats = kind is ChannelKind.HEARTBEAT
        only = () if beats else tuple(IncidentKind(word) for word in row.only.split())
        every_s = int(row.only) if beats else None
    except ValueError as e:
        raise damaged(f"channel {row.name}", str(e)) from e
    return AlertChannel(
        id=row.id,
        name=row.name,
        kind=kind,
        url_sealed=row.url_sealed,
        secret_sealed=row.secret_sealed,
        shown=row.shown,
        only=only,
        every_s=every_s,
        allow_private=row.allow_private,
        created_at=row.created_at,
    )
