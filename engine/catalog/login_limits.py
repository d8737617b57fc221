"""Failed logins of late, per scope. What a scope is, and what follows, is decided in ``engine.access.limits``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select

from engine.catalog.schema_access import login_limits as table
from engine.catalog.transaction import Tx
from engine.model import LoginLimit


def read(tx: Tx, scopes: Sequence[str]) -> dict[str, LoginLimit]:
    """What is known of these scopes."""
    rows = tx.rows(select(table).where(table.c.scope.in_(scopes)))
    return {row.scope: LoginLimit(row.scope, row.failures, row.last_at, row.blocked_until) for row in rows}


def put(tx: Tx, limit: LoginLimit) -> None:
    """Write a scope anew; one without failures is forgotten."""
    forget(tx, limit.scope)
    if limit.failures:
        tx.change(
            insert(table).values(
                scope=limit.scope,
                failures=limit.failures,
                last_at=limit.last_at,
                blocked_until=limit.blocked_until,
            )
        )


def forget(tx: Tx, scope: str) -> None:
    tx.change(delete(table).where(table.c.scope == scope))


def sweep(tx: Tx, before: datetime) -> None:
    """Forget the scopes whose last failure was before then."""
    tx.change(delete(table).where(table.c.last_at < before))
