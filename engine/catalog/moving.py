"""A catalog copied to another database, row by row, and the old one closed for good.

Works on two transactions that the caller holds: what was read is what stands there when the copy is committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, Table, func, insert, select

# every table must be known here, also those whose aggregate nobody has asked for yet
from engine.catalog import schema_access, schema_running
from engine.catalog.schema import installation, metadata, revision
from engine.catalog.transaction import Tx

assert {schema_access.operators.name, schema_running.schedules.name} <= set(metadata.tables)
_PAGE = 500
_VALUES_AT_MOST = 30_000
"""SQLite takes 32,766 values in a statement."""


def tables() -> list[Table]:
    """What is copied, each table after those that it refers to."""
    return [table for table in metadata.sorted_tables if table is not revision]


def counts(tx: Tx) -> dict[str, int]:
    """Rows in each table."""
    found = {}
    for table in tables():
        row = tx.row(select(func.count().label("n")).select_from(table))
        found[table.name] = 0 if row is None else int(row.n)
    return found


def is_empty(tx: Tx) -> bool:
    """Whether nobody uses this catalog."""
    return tx.row(select(installation.c.one)) is None


def copy(source: Tx, target: Tx) -> dict[str, int]:
    """Copy every row; rows in each table. Raises CatalogError."""
    copied = {}
    for table in tables():
        page = min(_PAGE, _VALUES_AT_MOST // len(table.columns))
        n = 0
        for rows in _pages(source, table, page):
            target.copy_in(insert(table).values([dict(row._mapping) for row in rows]))
            n += len(rows)
        copied[table.name] = n
    return copied


def differences(source: Tx, target: Tx) -> list[str]:
    """Tables whose rows are not the same in both."""
    return [
        table.name
        for table in tables()
        if any(a != b for a, b in _beside(_pages(source, table, _PAGE), _pages(target, table, _PAGE)))
    ]


def _beside(
    one: Iterator[list[Row[Any]]], other: Iterator[list[Row[Any]]]
) -> Iterator[tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]]:
    while True:
        a, b = next(one, []), next(other, [])
        if not a and not b:
            return
        yield [tuple(row) for row in a], [tuple(row) for row in b]


def _pages(tx: Tx, table: Table, page: int) -> Iterator[list[Row[Any]]]:
    """All rows by primary key, ``page`` at a time."""
    key = list(table.primary_key.columns)
    done = 0
    while rows := tx.rows(select(table).order_by(*key).limit(page).offset(done)):
        yield rows
        done += len(rows)
