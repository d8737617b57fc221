"""The content of a table as one short text that is equal for equal rows, whatever their order.

Computed in the snapshot that pg_dump reads and again in the restored copy, by the same statement under the same
settings. The room covers what an archive carries: generated columns are made by the restoring server, and types whose
text names objects of one database (regclass and its like, access lists) are left out. It guesses nothing: a table that
cannot be read in this way has no fingerprint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql

from engine.cancel import CancelToken
from engine.errors import CouldNotVerify
from engine.model import FingerprintResult, TableCount
from engine.postgres.cluster import ScratchCluster
from engine.postgres.external import ExternalServer
from engine.postgres.recount import Verbatim, owner_of
from engine.postgres.session import interruptible
from engine.progress import Phase, Progress, ProgressSink, Unit, discard

_Connection = psycopg.Connection[tuple[object, ...]]
Columns = Mapping[tuple[str, str], tuple[str, ...]]

NOT_COMPUTED = ""
"""In the place of a fingerprint that was asked for and could not be computed."""

_PINNED = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "lc_monetary": "C",
}
"""Settings that change how values are written."""

_COLUMNS = """
WITH RECURSIVE holds(type, part) AS (
  SELECT oid, oid FROM pg_catalog.pg_type
  UNION
  SELECT h.type, p.part FROM holds h JOIN pg_catalog.pg_type t ON t.oid = h.part
  CROSS JOIN LATERAL (
    SELECT t.typbasetype AS part WHERE t.typtype = 'd'
    UNION ALL SELECT t.typelem WHERE t.typelem <> 0
    UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
    UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
      WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) p
), bound AS (
  SELECT DISTINCT h.type FROM holds h JOIN pg_catalog.pg_type t ON t.oid = h.part
  WHERE t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND (t.typname ~ '^reg' OR t.typname = 'aclitem')
)
SELECT n.nspname::text, c.relname::text, a.attname::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attgenerated = '' AND a.atttypid NOT IN (SELECT type FROM bound)
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_(toast|temp)' AND n.nspname <> 'information_schema'
ORDER BY 1, 2, a.attname COLLATE "C"
"""


def pin(conn: _Connection) -> None:
    """Have this session write values in one way only. Raises psycopg.Error."""
    for name, value in _PINNED.items():
        conn.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])


def read_columns(conn: _Connection) -> Columns:
    """The columns of every table that a fingerprint covers, in a fixed order. Raises psycopg.Error."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for schema, table, column in conn.execute(_COLUMNS.encode()).fetchall():
        key = (str(schema), str(table))
        found[key] = (*found.get(key, ()), *([] if column is None else [str(column)]))
    return found


def compute(conn: _Connection, table: TableCount, columns: Columns, *, copied: bool) -> str:
    """Kind, rows and sum of the rows' hashes. Raises psycopg.Error.

    ``copied``: read with COPY, which plans nothing: for tables whose indexes hold expressions.
    """
    covered = columns[table.schema, table.table]
    return _of_copy(conn, table, covered) if copied and covered else _of_query(conn, table, covered)


def read_back(
    cluster: ScratchCluster | ExternalServer,
    dbname: str,
    tables: Sequence[TableCount],
    restored: Mapping[tuple[str, str], int | None],
    cancel: CancelToken,
    on_progress: ProgressSink = discard,
) -> tuple[FingerprintResult, ...]:
    """Content of the tables whose content was captured and that are in the copy.

    Raises CouldNotVerify ``drill.scratch`` when the server is gone, and the token's error when cancelled.
    """
    asked = [t for t in tables if t.fingerprint is not None and restored.get((t.schema, t.table)) is not None]
    if not asked:
        return ()
    results = []
    try:
        with cluster.connect(dbname, user=owner_of(cluster, dbname)) as conn, interruptible(conn, cancel):
            milliseconds = int(cluster.settings.statement_timeout_s * 1000)
            conn.execute(sql.SQL("SET statement_timeout = {}").format(sql.Literal(milliseconds)))
            pin(conn)
            columns = read_columns(conn)
            for n, table in enumerate(asked, 1):
                cancel.check()
                results.append(_restored(conn, table, columns))
                on_progress(Progress(Phase.VERIFY, n, len(asked), Unit.TABLES, table.table))
    except psycopg.Error as e:
        cancel.check()
        raise CouldNotVerify("drill.scratch", f"the restored content could not be read: {str(e).strip()}") from e
    return tuple(results)


def _restored(conn: _Connection, table: TableCount, columns: Columns) -> FingerprintResult:
    expected = table.fingerprint or None
    got = None
    if expected is not None:
        try:
            got = compute(conn, table, columns, copied=expected.startswith("copy:"))
        except (psycopg.Error, KeyError):
            if conn.broken or conn.closed:
                raise
    return FingerprintResult(table.schema, table.table, expected, got)


def _of_query(conn: _Connection, table: TableCount, columns: Sequence[str]) -> str:
    row_text = sql.SQL("ROW({})::pg_catalog.text").format(sql.SQL(", ").join(map(sql.Identifier, columns)))
    query = sql.SQL(
        "SELECT pg_catalog.count(*), coalesce(pg_catalog.sum("
        'pg_catalog.hashtextextended({} COLLATE pg_catalog."C", 0)::pg_catalog.numeric), 0) FROM {}{}'
    ).format(row_text, sql.SQL("") if table.group else sql.SQL("ONLY "), sql.Identifier(table.schema, table.table))
    if table.only_rows:
        # the extension's own dump condition, as for the counts
        query += sql.Composed([sql.SQL(" "), Verbatim(table.only_rows)])
    row = conn.execute(query).fetchone()
    assert row is not None
    return f"hash:{row[0]}:{row[1]}"


def _of_copy(conn: _Connection, table: TableCount, columns: Sequence[str]) -> str:
    query = sql.SQL("COPY {} ({}) TO STDOUT").format(
        sql.Identifier(table.schema, table.table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    rows = total = 0
    rest = b""
    with conn.cursor().copy(query) as copy:
        for block in copy:
            *lines, rest = (rest + bytes(block)).split(b"\n")
            for line in lines:
                rows += 1
                total += int.from_bytes(hashlib.blake2b(line, digest_size=8).digest())
    return f"copy:{rows}:{total}"
