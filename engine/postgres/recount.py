"""Rows of the restored tables, counted in the scratch cluster.

Counted as the role that owns them and bypasses row security, not as superuser: what was replayed belongs to strangers,
and even a count can run their code where a table turned out to be a view. The room refuses to estimate; what is not a
table there has no count.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from engine.cancel import CancelToken
from engine.errors import CouldNotVerify
from engine.model import TableCount
from engine.postgres.cluster import ScratchCluster
from engine.postgres.external import ExternalServer
from engine.progress import Phase, Progress, ProgressSink, Unit, discard


def count_rows(
    cluster: ScratchCluster | ExternalServer,
    dbname: str,
    tables: Sequence[TableCount],
    cancel: CancelToken,
    on_progress: ProgressSink = discard,
) -> dict[tuple[str, str], int | None]:
    """Rows of each table, None where there is no such table or it cannot be read.

    A group is counted at its root with all its leaves, everything else alone; ``only_rows`` is appended as captured.
    Raises CouldNotVerify ``drill.scratch`` when the server is gone, and the token's error when cancelled.
    """
    counts: dict[tuple[str, str], int | None] = {}
    try:
        with cluster.connect(dbname, user=owner_of(cluster, dbname)) as conn:
            milliseconds = int(cluster.settings.statement_timeout_s * 1000)
            conn.execute(sql.SQL("SET statement_timeout = {}").format(sql.Literal(milliseconds)))
            there = _tables(conn)
            for n, table in enumerate(tables, 1):
                cancel.check()
                key = (table.schema, table.table)
                counts[key] = _count(conn, table) if key in there else None
                on_progress(Progress(Phase.VERIFY, n, len(tables), Unit.TABLES, table.table))
    except psycopg.Error as e:
        cancel.check()
        raise CouldNotVerify("drill.scratch", f"the restored tables could not be counted: {str(e).strip()}") from e
    return counts


def owner_of(cluster: ScratchCluster | ExternalServer, dbname: str) -> str:
    """The role that owns the copy. Raises CouldNotVerify ``drill.scratch``."""
    with cluster.connect() as conn:
        row = conn.execute(
            "SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database WHERE datname = %s", [dbname]
        ).fetchone()
    if row is None:
        raise CouldNotVerify("drill.scratch", f"there is no database {dbname} in the scratch cluster")
    return str(row[0])


def _tables(conn: psycopg.Connection[tuple[object, ...]]) -> frozenset[tuple[str, str]]:
    """Tables and partition roots. A view in the place of a table is no table."""
    rows = conn.execute(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"
    )
    return frozenset((str(schema), str(name)) for schema, name in rows)


def _count(conn: psycopg.Connection[tuple[object, ...]], table: TableCount) -> int | None:
    only = sql.SQL("") if table.group else sql.SQL("ONLY ")
    query = sql.SQL("SELECT pg_catalog.count(*) FROM {}{}").format(only, sql.Identifier(table.schema, table.table))
    if table.only_rows:
        # the extension's own dump condition, as captured; it runs without superuser rights
        query += sql.Composed([sql.SQL(" "), Verbatim(table.only_rows)])
    try:
        row = conn.execute(query).fetchone()
    except (psycopg.errors.OperationalError, psycopg.InterfaceError):
        raise
    except psycopg.Error:
        return None
    return row[0] if row is not None and isinstance(row[0], int) else None


class Verbatim(sql.Composable):
    """SQL text that is known only at run time and is meant as SQL."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._text = text

    def as_bytes(self, context: object = None) -> bytes:
        del context
        return self._text.encode()
