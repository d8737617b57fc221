"""The one row that says whose catalog this is. Its sealed and wrapped values are opaque here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update

from engine.catalog import events
from engine.catalog.schema import installation as table
from engine.catalog.transaction import Tx
from engine.errors import ConfigError, KeyAccessError
from engine.model import Installation


def get(tx: Tx) -> Installation | None:
    """The installation; None in a catalog that was made but not set up yet."""
    row = tx.row(select(table))
    return None if row is None else _record(row)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose catalog it is, and which key its documents are signed with, in hex."""

    catalog_id: str
    signer_public: str


def identity(tx: Tx) -> Identity | None:
    """As :func:`get`, and no more than that: whatever the rest of the row is like."""
    row = tx.row(select(table.c.catalog_id, table.c.signer_public))
    return None if row is None else Identity(row.catalog_id, row.signer_public)


def put(tx: Tx, record: Installation) -> None:
    """Set the catalog up, once. Raises ConfigError config.already-initialised."""
    if get(tx) is not None:
        raise ConfigError("config.already-initialised", "this catalog is set up already")
    tx.change(
        insert(table).values(
            one=1,
            catalog_id=record.catalog_id,
            created_at=record.created_at,
            key_backend=record.key_backend,
            key_epoch=record.key_epoch,
            kid=record.kid,
            key_check=record.key_check,
            recovery_kid=record.recovery_kid,
            recovery_public=record.recovery_public,
            recovery_bundle=record.recovery_bundle,
            signer_public=record.signer_public,
            signer_sealed=record.signer_sealed,
            recovery_confirmed_at=record.recovery_confirmed_at,
        )
    )


def replace_key(
    tx: Tx,
    *,
    key_backend: str,
    key_epoch: int,
    kid: str,
    key_check: str,
    recovery_bundle: str,
) -> Installation:
    """Make another master key the active one. Sealed cells, this row's too, are not its business.

    Raises ConfigError config.not-initialised.
    """
    return _change(
        tx,
        key_backend=key_backend,
        key_epoch=key_epoch,
        kid=kid,
        key_check=key_check,
        recovery_bundle=recovery_bundle,
    )


def set_bundle(tx: Tx, recovery_bundle: str) -> Installation:
    """Put another recovery bundle in place of the one that there is. Raises ConfigError config.not-initialised."""
    return _change(tx, recovery_bundle=recovery_bundle)


def refuse_retired(tx: Tx, kid: str) -> None:
    """Say that something may still be written that was sealed under the master key ``kid``.

    Raises KeyAccessError ``key.wrong`` when that epoch was retired since the key was opened.
    """
    found = get(tx)
    if found is None or found.kid == kid:
        return
    if events.list_recent(tx, subject=kid, kind="key.retired", limit=1):
        raise KeyAccessError(
            "key.wrong",
            "the master key was rotated, and the old one retired, while this was under way; nothing was saved",
            hint="Do it again: it then uses the new key.",
        )


def set_key_backend(tx: Tx, key_backend: str) -> Installation:
    """Note that the same master key lies in another keyring now. Raises ConfigError config.not-initialised."""
    return _change(tx, key_backend=key_backend)


def confirm_recovery(tx: Tx, at: datetime) -> Installation:
    """Note that the operator typed the recovery code back. Raises ConfigError config.not-initialised."""
    return _change(tx, recovery_confirmed_at=at)


def _change(tx: Tx, **values: object) -> Installation:
    tx.change(update(table).values(**values))
    changed = get(tx)
    if changed is None:
        raise ConfigError("config.not-initialised", "this catalog is not set up yet")
    return changed


def _record(row: Row[Any]) -> Installation:
    return Installation(
        catalog_id=row.catalog_id,
        created_at=row.created_at,
        key_backend=row.key_backend,
        key_epoch=row.key_epoch,
        kid=row.kid,
        key_check=row.key_check,
        recovery_kid=row.recovery_kid,
        recovery_public=row.recovery_public,
        recovery_bundle=row.recovery_bundle,
        signer_public=row.signer_public,
        signer_sealed=row.signer_sealed,
        recovery_confirmed_at=row.recovery_confirmed_at,
    )
