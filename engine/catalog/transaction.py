"""One transaction: the only thing through which the aggregates reach the database.

It lets statements through, counts changes, and keeps in mind which rows of evidence they touched until an event tells
of them: whoever changes such a row need not know that it is one. It refuses to change anything inside a reading
transaction and never lets an exception of the database library out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from sqlalchemy import Connection, Delete, Insert, Row, Select, Update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from engine.catalog import bound
from engine.catalog.failures import damaged, translate
from engine.errors import Internal

_KEYS_AT_ONCE = 400


class Tx:
    """A transaction handed out by ``Catalog.read()`` or ``Catalog.write()``; worthless once its block has ended."""

    __slots__ = ("_connection", "_touched", "_where", "changes", "dialect", "writable")

    def __init__(self, connection: Connection, *, writable: bool, where: str) -> None:
        self._connection = connection
        self._where = where
        self.dialect = connection.dialect.name
        self.writable = writable
        self.changes = 0
        self._touched: dict[bound.Kind, dict[bound.Key, str | None]] = {}
        """Rows of evidence that were changed and not told of yet, each with the hash that it had before."""

    def rows(self, query: Select[Any]) -> list[Row[Any]]:
        """All rows of ``query``. Raises CatalogError."""
        try:
            return list(self._connection.execute(query).all())
        except SQLAlchemyError as e:
            raise translate(e, self._where) from e
        except ValueError as e:  # an instant that is none
            raise damaged(self._where, str(e)) from e

    def tuples(self, query: Select[Any]) -> list[tuple[Any, ...]]:
        """All rows of ``query`` as the driver gives them: for thousands of rows of numbers and texts.

        Half the time of :meth:`rows`, and nothing for the garbage collector to follow. Raises CatalogError.
        """
        try:
            cursor = self._connection.execute(query).cursor
            assert cursor is not None
            return list(cursor.fetchall())
        except SQLAlchemyError as e:
            raise translate(e, self._where) from e
        except (sqlite3.Error, psycopg.Error) as e:
            raise translate(DBAPIError(None, None, e), self._where) from e

    def row(self, query: Select[Any]) -> Row[Any] | None:
        """The first row of ``query``, or None. Raises CatalogError."""
        try:
            return self._connection.execute(query).first()
        except SQLAlchemyError as e:
            raise translate(e, self._where) from e
        except ValueError as e:
            raise damaged(self._where, str(e)) from e

    def change(self, statement: Insert | Update | Delete) -> int:
        """Run ``statement``; how many rows it touched. Raises CatalogError, Internal in a reading transaction."""
        kind = bound.KINDS.get(str(statement.table))
        if kind is None or not kind.tracked:
            return self.copy_in(statement)
        touched = self._touched.setdefault(kind, {})
        for key, before in self._before(kind, statement).items():
            touched.setdefault(key, before)
        return self.copy_in(statement)

    def copy_in(self, statement: Insert | Update | Delete) -> int:
        """As :meth:`change`, of rows that come with their history, or that are no evidence."""
        if not self.writable:
            raise Internal("internal.error", "a reading transaction was asked to write")
        try:
            touched = self._connection.execute(statement).rowcount
        except SQLAlchemyError as e:
            raise translate(e, self._where) from e
        self.changes += touched
        return touched

    @property
    def untold(self) -> bool:
        """Whether rows of evidence were touched that no event has told of."""
        return any(self._touched.values())

    def take_untold(self) -> dict[str, tuple[str | None, str | None]]:
        """Rows of evidence that are not as they were, by label, each with its hash before and now; None: it was, or
        is, not there. They count as told from now on. Raises CatalogError."""
        changed: dict[str, tuple[str | None, str | None]] = {}
        for kind, touched in self._touched.items():
            now: dict[bound.Key, str] = {}
            for keys in bound.chunks(touched, _KEYS_AT_ONCE):
                now |= {tuple(row[: kind.keys]): kind.digest(row) for row in self.tuples(kind.some(keys))}
            for key, before in touched.items():
                if before != now.get(key):
                    changed[kind.label(key)] = (before, now.get(key))
        self._touched = {}
        return changed

    def _before(self, kind: bound.Kind, statement: Insert | Update | Delete) -> dict[bound.Key, str | None]:
        """The rows that ``statement`` is about to touch, and their hashes."""
        if isinstance(statement, Insert):
            return dict.fromkeys(_inserted(kind, statement.compile().params))
        found: dict[bound.Key, str | None] = {}
        width = len(kind.columns)
        for row in self.tuples(kind.matching(statement.whereclause)):
            evidence = kind.when is None or bool(row[width])
            found[tuple(row[: kind.keys])] = kind.digest(row[:width]) if evidence else None
        return found


def _inserted(kind: bound.Kind, given: Mapping[str, Any]) -> Iterator[bound.Key]:
    """The keys of the rows that an INSERT makes, of its parameters: one row's bear the columns' names."""
    names = [column.name for column in kind.key_columns]
    if names[0] in given:
        yield tuple(given[name] for name in names)
    n = 0
    while f"{names[0]}_m{n}" in given:
        yield tuple(given[f"{name}_m{n}"] for name in names)
        n += 1
