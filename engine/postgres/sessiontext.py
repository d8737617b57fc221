"""Settings that change how values are written as text, pinned so that two servers write them alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from engine.postgres.session import Connection

_PINNED = {
    "search_path": "",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmlbinary": "base64",
    "xmloption": "content",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "row_security": "off",
}


def pin(conn: Connection) -> None:
    """Pin them for the rest of the open transaction. Raises psycopg.Error."""
    for name, value in _PINNED.items():
        conn.execute(sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value)))


@contextmanager
def undone(conn: Connection) -> Iterator[None]:
    """A block of which nothing stays in the open transaction: no setting, no lock, no error."""
    conn.execute("SAVEPOINT look")
    try:
        yield
    finally:
        if not (conn.broken or conn.closed):
            conn.execute("ROLLBACK TO SAVEPOINT look")
            conn.execute("RELEASE SAVEPOINT look")
