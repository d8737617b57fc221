"""The people who log in. Of passwords the PHC string only; nobody is ever deleted: events speak of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update

from engine.catalog.schema_access import operators as table
from engine.catalog.transaction import Tx
from engine.errors import ConfigError
from engine.model import Operator, Role


def add(tx: Tx, record: Operator) -> None:
    """Add an operator. Raises ConfigError config.name-taken."""
    if find(tx, record.name) is not None:
        raise ConfigError(
            "config.name-taken",
            f"there is an operator called {record.name} already",
            hint="Give that one a new password: `offsitedb operator reset NAME`, or choose another name.",
        )
    tx.change(
        insert(table).values(
            id=record.id,
            name=record.name,
            role=record.role.value,
            password=record.password,
            created_at=record.created_at,
            password_at=record.password_at,
            last_login_at=record.last_login_at,
            disabled_at=record.disabled_at,
        )
    )


def any_exist(tx: Tx) -> bool:
    """Whether one was ever added."""
    return tx.row(select(table.c.id).limit(1)) is not None


def find(tx: Tx, name: str) -> Operator | None:
    """The operator of this name, disabled or not; None: there is none."""
    row = tx.row(select(table).where(table.c.name == name))
    return None if row is None else _record(row)


def by_name(tx: Tx, name: str) -> Operator:
    """As :func:`find`. Raises ConfigError config.not-found."""
    found = find(tx, name)
    if found is None:
        raise ConfigError(
            "config.not-found", f"there is no operator called {name}", hint="List them: `offsitedb operator list`."
        )
    return found


def get(tx: Tx, operator_id: str) -> Operator:
    """The operator with this id. Raises ConfigError config.not-found."""
    row = tx.row(select(table).where(table.c.id == operator_id))
    if row is None:
        raise ConfigError("config.not-found", f"there is no operator {operator_id}")
    return _record(row)


def list_all(tx: Tx) -> list[Operator]:
    """Everybody, by name."""
    return [_record(row) for row in tx.rows(select(table).order_by(table.c.name))]


def other_admins(tx: Tx, operator_id: str) -> int:
    """How many admins there are beside this one who may log in."""
    others = select(table.c.id).where(
        table.c.role == Role.ADMIN.value, table.c.disabled_at.is_(None), table.c.id != operator_id
    )
    return len(tx.rows(others))


def set_password(tx: Tx, operator_id: str, password: str, at: datetime) -> None:
    """Another password, as its PHC string."""
    tx.change(update(table).where(table.c.id == operator_id).values(password=password, password_at=at))


def rehash(tx: Tx, operator_id: str, before: str, password: str) -> None:
    """The same password in another form, unless somebody changed it meanwhile."""
    tx.change(update(table).where(table.c.id == operator_id, table.c.password == before).values(password=password))


def set_role(tx: Tx, operator_id: str, role: Role) -> None:
    tx.change(update(table).where(table.c.id == operator_id).values(role=role.value))


def set_disabled(tx: Tx, operator_id: str, at: datetime | None) -> None:
    """Disabled since ``at``; None: not any more."""
    tx.change(update(table).where(table.c.id == operator_id).values(disabled_at=at))


def mark_login(tx: Tx, operator_id: str, at: datetime) -> None:
    tx.change(update(table).where(table.c.id == operator_id).values(last_login_at=at))


def _record(row: Row[Any]) -> Operator:
    return Operator(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        password=row.password,
        created_at=row.created_at,
        password_at=row.password_at,
        last_login_at=row.last_login_at,
        disabled_at=row.disabled_at,
    )
