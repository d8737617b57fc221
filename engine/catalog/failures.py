"""What the database library raised, as the errors of the product.

Judged by the numeric code of SQLite and the SQLSTATE of PostgreSQL, never by message text. Statement parameters never
get into a message: sealed values and connection strings travel in them.
"""

from __future__ import annotations

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from engine.errors import CatalogError, Internal, OffsiteError

# Primary result codes: the low byte of what SQLite reports (sqlite.org/rescode.html).
_SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
# SQLITE_ERROR is what a missing table or column gives: our statements are fixed, so it is the tables that are not ours.
_SQLITE_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_SQLITE_UNREACHABLE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_AUTH,
}

# SQLSTATE (PostgreSQL manual, appendix A): lock_not_available, deadlock_detected, serialization_failure.
_PG_BUSY = {"55P03", "40P01", "40001"}
# data_corrupted, index_corrupted, undefined_table, undefined_column
_PG_DAMAGED = {"XX001", "XX002", "42P01", "42703"}
# Classes: connection exception, authorization, invalid catalog name, insufficient resources, operator intervention,
# system error; insufficient_privilege and idle_in_transaction_session_timeout.
_PG_UNREACHABLE = ("08", "28", "3D", "53", "57", "58", "42501", "25P03")


MOVED_STATE = "ODB01"
MOVED_SAID = "the catalog was moved"
"""What a catalog that was moved answers to those who still write to it."""


def translate(error: SQLAlchemyError, where: str) -> OffsiteError:
    """The product's error for ``error``; ``where`` names the catalog without its password."""
    if isinstance(error, PoolTimeout):
        return _busy(where)
    if isinstance(error, DBAPIError):
        if isinstance(error.orig, sqlite3.Error):
            return _from_sqlite(error.orig, where)
        if isinstance(error.orig, psycopg.Error):
            return _from_postgres(error.orig, where)
    return Internal("internal.error", f"the catalog refused a statement: {type(error).__name__}")


def _from_sqlite(error: sqlite3.Error, where: str) -> OffsiteError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if str(error) == MOVED_SAID:
        return moved(where)
    if code in _SQLITE_BUSY:
        return _busy(where)
    if code in _SQLITE_DAMAGED:
        return damaged(where, str(error))
    if code in _SQLITE_UNREACHABLE:
        return unreachable(where, str(error))
    return Internal("internal.error", f"the catalog refused a statement: {error}")


def _from_postgres(error: psycopg.Error, where: str) -> OffsiteError:
    state = error.sqlstate or ""
    said = (error.diag.message_primary or str(error)).strip().replace("\n", " ")
    if state == MOVED_STATE:
        return moved(where)
    if state in _PG_BUSY:
        return _busy(where)
    if state in _PG_DAMAGED:
        return damaged(where, said)
    # psycopg gives no SQLSTATE when the connection could not be made or was lost
    if state.startswith(_PG_UNREACHABLE) or (not state and isinstance(error, psycopg.OperationalError)):
        return unreachable(where, said)
    return Internal("internal.error", f"the catalog refused a statement: {said}")


def _busy(where: str) -> CatalogError:
    return CatalogError(
        "catalog.busy", "another process is writing to the catalog", context={"catalog": where}, retry=True
    )


def moved(where: str) -> CatalogError:
    """The catalog is in use elsewhere."""
    return CatalogError("catalog.moved", "the catalog was moved to another database", context={"catalog": where})


def damaged(where: str, said: str) -> CatalogError:
    """The catalog is there and is not what was written."""
    return CatalogError("catalog.damaged", f"the catalog is damaged: {said}", context={"catalog": where})


def unreachable(where: str, said: str) -> CatalogError:
    """The catalog cannot be opened, read or written; trying again may help."""
    return CatalogError(
        "catalog.unreachable", f"the catalog cannot be used: {said}", context={"catalog": where}, retry=True
    )
