"""API keys: rows with the hash of each, never the key. Ended ones stay, because events and jobs speak of them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, insert, or_, select, update

from engine.catalog.failures import damaged
from engine.catalog.schema_access import api_keys as table
from engine.catalog.transaction import Tx
from engine.codec import from_plain
from engine.model.apikeys import ApiKey, Scope


def add(tx: Tx, key: ApiKey) -> None:
    """Write a new key down."""
    tx.change(
        insert(table).values(
            id=key.id,
            name=key.name,
            secret_sha256=key.secret_sha256,
            scopes=json.dumps([scope.value for scope in key.scopes]),
            connections=json.dumps(list(key.connections)) if key.connections else None,
            created_at=key.created_at,
            created_by=key.created_by,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
            last_used_at=key.last_used_at,
            replaces=key.replaces,
        )
    )


def get(tx: Tx, key_id: str) -> ApiKey | None:
    """The key with this id."""
    row = tx.row(select(table).where(table.c.id == key_id))
    return None if row is None else _record(row)


def list_all(tx: Tx) -> list[ApiKey]:
    """Every key there ever was, newest first."""
    return [_record(row) for row in tx.rows(select(table).order_by(table.c.created_at.desc(), table.c.id))]


def expire(tx: Tx, key_id: str, at: datetime) -> None:
    """The key is good until ``at`` and no longer."""
    tx.change(update(table).where(table.c.id == key_id).values(expires_at=at))


def revoke(tx: Tx, key_id: str, now: datetime) -> None:
    """The key is good for nothing any more; said twice, the first time counts."""
    tx.change(update(table).where(table.c.id == key_id, table.c.revoked_at.is_(None)).values(revoked_at=now))


def touch(tx: Tx, key_id: str, now: datetime, every_s: float) -> None:
    """Note that the key was used, unless that was noted less than ``every_s`` seconds ago."""
    before = now - timedelta(seconds=every_s)
    late = or_(table.c.last_used_at.is_(None), table.c.last_used_at <= before)
    tx.change(update(table).where(table.c.id == key_id, late).values(last_used_at=now))


def _record(row: Row[Any]) -> ApiKey:
    try:
        scopes = from_plain(tuple[Scope, ...], json.loads(row.scopes))
        connections = from_plain(tuple[str, ...], json.loads(row.connections)) if row.connections else ()
    except ValueError as e:
        raise damaged(f"API key {row.id}", str(e)) from e
    return ApiKey(
        id=row.id,
        name=row.name,
        secret_sha256=row.secret_sha256,
        scopes=scopes,
        connections=connections,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        replaces=row.replaces,
    )
