"""One transaction: the only thing through which the aggregates reach the database.

It lets statements through and counts changes. It refuses to change anything inside a reading transaction and never
lets an exception of the database library out.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import psycopg
from sqlalchemy import Connection, Delete, Insert, Row, Select, Update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from engine.catalog.failures import translate
from engine.errors import Internal


class Tx:
    """A transaction handed out by ``Catalog.read()`` or ``Catalog.write()``; worthless once its block has ended."""

    __slots__ = ("_connection", "_where", "changes", "dialect", "writable")

    def __init__(self, connection: Connection, *, writable: bool, where: str) -> None:
        self._connection = connection
        self._where = where
        self.dialect = connection.dialect.name
        self.writable = writable
        self.changes = 0

    def rows(self, query: Select[Any]) -> list[Row[Any]]:
        """All rows of ``query``. Raises CatalogError."""
        try:
            return list(self._connection.execute(query).all())
        except SQLAlchemyError as e:
            raise translate(e, self._where) from e

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

    def change(self, statement: Insert | Update | Delete) -> int:
        """Run ``statement``; how many rows it touched. Raises CatalogError, Internal in a reading transaction."""
        if not self.writable:
            raise Internal("internal.error", "a reading transaction was asked to write")
        try:
            touched = self._connection.execute(statement).rowcount
        except SQLAlchemyError as e:
            raise translate(e, self._where) from e
        self.changes += touched
        return touched
