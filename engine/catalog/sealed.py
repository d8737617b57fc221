"""Every sealed cell of the catalog, wherever it stands: what a rotation of the master key seals anew.

Which columns are sealed is said once, where a column is declared (``schema.sealed``); nothing is listed here. What a
value holds, and under which key, is the key room's business.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Table, select, update

# every table must be known here, also those whose aggregate nobody has asked for yet
from engine.catalog import schema_access, schema_running
from engine.catalog.schema import SEALED, installation, metadata
from engine.catalog.transaction import Tx

assert {schema_access.operators.name, schema_running.alert_channels.name} <= set(metadata.tables)


@dataclass(frozen=True, slots=True)
class Cell:
    """One sealed value and the place that it is bound to."""

    table: str
    column: str
    """As values are bound to it: without ``_sealed``."""
    row_id: str
    value: str = field(repr=False)


@functools.cache
def places() -> frozenset[tuple[str, str]]:
    """Table and column of every cell that may hold a sealed value."""
    return frozenset((table.name, column.info[SEALED]) for table, column in _columns())


def every(tx: Tx) -> list[Cell]:
    """Every sealed value that there is, table by table."""
    found: list[Cell] = []
    for table, column in _columns():
        row_id = _row_id(table)
        query = select(row_id.label("row_id"), column.label("value")).where(column.is_not(None), column != "")
        rows = tx.rows(query.order_by(row_id))
        found += [Cell(table.name, column.info[SEALED], row.row_id, row.value) for row in rows]
    return found


def replace(tx: Tx, cell: Cell, value: str) -> None:
    """Put ``value`` where ``cell`` was read."""
    table = metadata.tables[cell.table]
    column = next(c for t, c in _columns() if t is table and c.info[SEALED] == cell.column)
    tx.change(update(table).where(_row_id(table) == cell.row_id).values({column.name: value}))


@functools.cache
def _columns() -> tuple[tuple[Table, Column[Any]], ...]:
    return tuple((table, c) for table in metadata.sorted_tables for c in table.columns if SEALED in c.info)


def _row_id(table: Table) -> Column[Any]:
    """What a value is bound to as its row: the one row of an installation is its catalog."""
    return table.c.catalog_id if table is installation else table.c.id
