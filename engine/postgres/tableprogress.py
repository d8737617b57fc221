"""How far each table of a running replay is, seen from outside as the role that owns the restored database.

Only catalogs and statistics are read, with an empty search path: no function, view or operator of the archive can be
called by it. Nothing here may harm the drill: what cannot be seen is not reported, whatever the reason.
"""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress

import psycopg

from engine.postgres.cluster import ScratchCluster
from engine.postgres.external import ExternalServer
from engine.progress import TableRows, TableSink

_EVERY_S = 1.0
_COST = 20
"""A look at all tables is followed by a pause of this many times its duration: a twentieth of a core at the most."""
_AWAITED_S = 3.0
"""A session tells its last number when its transaction ends, or a second later; in a single transaction, at the end."""
_LIMITS = "SET statement_timeout = '2s'; SET lock_timeout = '200ms'"

_RUNNING = (
    "SELECT n.nspname, c.relname, p.tuples_processed, a.query FROM pg_catalog.pg_stat_progress_copy p"
    " JOIN pg_catalog.pg_stat_activity a ON a.pid = p.pid"
    " LEFT JOIN pg_catalog.pg_class c ON c.oid = p.relid LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE p.datname = pg_catalog.current_database() AND p.command = 'COPY FROM'"
)
_INSERTED = (
    "SELECT n.nspname, c.relname, pg_catalog.pg_stat_get_tuples_inserted(c.oid) FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.oid >= 16384"
    " AND pg_catalog.pg_stat_get_tuples_inserted(c.oid) > 0"
)
_OTHERS = (
    "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database()"
    " AND backend_type IN ('client backend', 'parallel worker') AND pid <> pg_catalog.pg_backend_pid()"
)
_LAST_LOOKS, _LAST_LOOK_S = 50, 0.02
_NAME = r'("(?:[^"]|"")+"|[^\s".(]+)'
_COPY = re.compile(rf"\s*COPY {_NAME}\.{_NAME}[\s(]")
"""A table that is made in a transaction that has not ended is in no catalog: then the statement names it."""

_Name = tuple[str, str]


class TableWatch:
    """One pass of a replay. :meth:`look` as often as one likes, :meth:`close` when pg_restore has ended."""

    def __init__(self, cluster: ScratchCluster | ExternalServer, dbname: str, owner: str, sink: TableSink) -> None:
        self._sink = sink
        self._conn: psycopg.Connection[tuple[object, ...]] | None = None
        self._told: dict[_Name, TableRows] = {}
        self._running: set[_Name] = set()
        self._before: dict[_Name, int] = {}
        """What the extensions had put into their tables before the replay began."""
        self._awaited: dict[_Name, float] = {}
        """Tables that are not being filled any more, and until when their last number is waited for."""
        self._earliest = self._next_full = 0.0
        sink((), anew=True)
        with suppress(psycopg.Error, UnicodeError):
            self._conn = cluster.connect(dbname, user=owner)
            self._conn.execute(_LIMITS)
            _wait_alone(self._conn)  # whoever prepared the database
            self._before = self._inserted()

    def look(self) -> None:
        """Report what has changed: rows of the tables that are being filled, and those that are full."""
        conn = self._conn
        if conn is None or conn.closed:
            return
        with suppress(psycopg.Error, UnicodeError):
            running = _in_flight(conn)
            found = [TableRows(*name, rows, False) for name, rows in running.items()]
            now = time.monotonic()
            left = self._running - running.keys()
            self._running = set(running)
            self._awaited |= dict.fromkeys(left, now + _AWAITED_S)
            self._tell(found)
            if now >= (self._earliest if left else self._next_full):
                loaded = self._loaded()
                self._earliest = now + (time.monotonic() - now) * _COST
                self._next_full = max(self._earliest, now + _EVERY_S)
                self._tell([TableRows(*name, rows, True) for name, rows in loaded.items() if name not in running])
                # only now: where looks are slow, and rare, its number may have been told since the one before
                silent = [name for name, until in self._awaited.items() if now >= until]
                self._tell([TableRows(*name, self._told[name].rows, True) for name in silent])
                for name in silent:
                    self._awaited.pop(name, None)

    def close(self, *, ended: bool = True) -> None:
        """Leave. If pg_restore has ``ended``, say first what the tables hold: its sessions left their last numbers."""
        conn = self._conn
        if conn is None:
            return
        with suppress(psycopg.Error, UnicodeError), conn:
            if ended and not conn.closed:
                _wait_alone(conn)
                loaded = self._loaded()
                gone = [TableRows(*name, 0, True) for name in self._told.keys() - loaded.keys()]
                self._tell([*gone, *(TableRows(*name, rows, True) for name, rows in loaded.items())])
        self._conn = None

    def _inserted(self) -> dict[_Name, int]:
        assert self._conn is not None
        found = self._conn.execute(_INSERTED).fetchall()
        return {(str(schema), str(table)): rows for schema, table, rows in found if isinstance(rows, int)}

    def _loaded(self) -> dict[_Name, int]:
        """Rows that the replay has put into each table, where it has put any."""
        counts = ((name, rows - self._before.get(name, 0)) for name, rows in self._inserted().items())
        return {name: rows for name, rows in counts if rows > 0}

    def _tell(self, found: list[TableRows]) -> None:
        changed = [rows for rows in found if self._told.get((rows.schema, rows.table)) != rows]
        for rows in changed:
            self._told[rows.schema, rows.table] = rows
            if rows.done:
                self._awaited.pop((rows.schema, rows.table), None)
        if changed:
            self._sink(changed)


def _wait_alone(conn: psycopg.Connection[tuple[object, ...]]) -> None:
    """A session tells its numbers before it is seen no more; that takes milliseconds after its client has gone."""
    pause = threading.Event()
    for _ in range(_LAST_LOOKS):
        row = conn.execute(_OTHERS).fetchone()
        if row is None or not row[0]:
            return
        pause.wait(_LAST_LOOK_S)


def _in_flight(conn: psycopg.Connection[tuple[object, ...]]) -> dict[_Name, int]:
    """Rows that have gone into each table that is being filled at this moment."""
    found: dict[_Name, int] = {}
    for schema, table, rows, query in conn.execute(_RUNNING).fetchall():
        name = (str(schema), str(table)) if table is not None else named_by(str(query))
        if name is not None and isinstance(rows, int):
            found[name] = rows
    return found


def named_by(statement: str) -> tuple[str, str] | None:
    """Schema and table of a COPY statement of pg_restore."""
    told = _COPY.match(statement)
    if told is None:
        return None
    schema, table = (part[1:-1].replace('""', '"') if part.startswith('"') else part for part in told.groups())
    return schema, table
