"""An exported MVCC snapshot, and the exact row counts in it.

The room counts what pg_dump dumps, in the snapshot that it dumps from, and refuses to estimate. How a snapshot comes to
be that the counts may be trusted in is ``engine.postgres.export``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import psycopg
from psycopg import sql

from engine.cancel import CancelToken
from engine.errors import SourceError
from engine.model import Counts, Inventory, ServerFacts, Structure, TableCount, TableEntry
from engine.postgres import content
from engine.postgres.conninfo import Conninfo
from engine.postgres.inventory import dump_flags
from engine.postgres.session import Connection, translate
from engine.postgres.structure import read_again, read_structure, why_unread

_NARROW = """
SELECT DISTINCT ON (c.oid) n.nspname::text, c.relname::text, a.attname::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
WHERE c.relkind = 'r' AND EXISTS (
    SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
ORDER BY c.oid, a.attlen < 0, a.attlen, a.attnum
"""
_FILES = """
SELECT n.nspname::text, c.relname::text, c.oid::text || '/' || c.relfilenode::text || '/' || coalesce((
  SELECT pg_catalog.sum(pg_catalog.hashtextextended(a.attname::text, a.attnum))
  FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)::text, '')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
"""
"""A dropped column gets another name, so that the names tell added, renamed and dropped ones."""

NO_SNAPSHOT = "the source could not export a snapshot to read it in"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a dump of one inventory needs: taken before the locks, true after them."""

    facts: ServerFacts
    inventory: Inventory
    flags: tuple[str, ...]


def plan_of(facts: ServerFacts, inventory: Inventory) -> Plan:
    """The plan that follows from an inventory."""
    return Plan(facts, inventory, dump_flags(inventory, facts.major))


class ExportedSnapshot:
    """A transaction with one MVCC snapshot for pg_dump and the counts to share."""

    def __init__(
        self, conn: Connection, conninfo: Conninfo, plan: Plan, snapshot_id: str | None, taken_at: datetime
    ) -> None:
        self.plan = plan
        self.taken_at = taken_at
        self.snapshot_id = snapshot_id
        self._conn = conn
        self._conninfo = conninfo

    @property
    def counts_kind(self) -> Counts:
        """``exact`` unless this server cannot export a snapshot at all."""
        return Counts.EXACT if self.snapshot_id is not None else Counts.NONE

    def address(self) -> dict[str, str]:
        """The address that this session is connected to, as a variable for libpq; nothing for a socket."""
        where = self._conn.info.hostaddr
        named = self._conninfo.host and not self._conninfo.host.startswith("/")
        return {"PGHOSTADDR": where} if named and where else {}

    def count(self, cancel: CancelToken, *, fingerprint: bool = False) -> tuple[TableCount, ...]:
        """Rows of every captured table in the snapshot; leaves that may trade rows are summed at their root.

        ``fingerprint``: their content, too; a table that cannot be read for it is counted all the same.
        Raises SourceError; ``pg.snapshot-lost`` when the session went away.
        """
        entries = _grouped(self.plan.inventory.tables)
        narrow = self._narrow_columns()
        # the dump takes longer: processors that helpers would use are taken from it, or from others
        self._execute(sql.SQL("SET LOCAL max_parallel_workers_per_gather = 0"))
        counts: list[TableCount] = []
        for entry, is_group in entries:
            cancel.check()
            column = None if is_group or entry.only_rows else narrow.get((entry.schema, entry.table))
            rows = self._count_copied(entry, column) if column is not None else self._count(entry, is_group)
            counts.append(TableCount(entry.schema, entry.table, rows, entry.only_rows, is_group))
        self._execute(sql.SQL("SET LOCAL max_parallel_workers_per_gather TO DEFAULT"))
        return self._with_content(counts, narrow, cancel) if fingerprint else tuple(counts)

    def structure(self) -> Structure:
        """What the dump holds besides rows. Where it cannot be told, it says why: a comparison is lost and no backup.

        Raises SourceError ``pg.snapshot-lost``.
        """
        inventory = self.plan.inventory
        counted = [(t.schema, t.table) for t in inventory.tables]
        if self.snapshot_id is None:
            return Structure((), unread=NO_SNAPSHOT)
        with self._translated():
            try:
                return read_structure(self._conn, inventory.sequences, counted)
            except (psycopg.Error, UnicodeDecodeError) as e:
                if self._conn.broken or self._conn.closed:
                    raise
                return Structure((), unread=why_unread("at the source", e))
        raise AssertionError

    def structure_after(self, taken: Structure) -> Structure:
        """``taken``, looked at again once the dump has ended. Raises SourceError ``pg.snapshot-lost``."""
        if taken.unread:
            return taken
        with self._translated():
            try:
                return read_again(self._conn, taken)
            except (psycopg.Error, UnicodeDecodeError) as e:
                if self._conn.broken or self._conn.closed:
                    raise
                return Structure((), unread=why_unread("at the source after the dump", e))
        raise AssertionError

    def ping(self) -> None:
        """Prove that the session, and with it the snapshot, is alive. Raises SourceError ``pg.snapshot-lost``."""
        self._execute(sql.SQL("SELECT 1"))

    def hang_up(self) -> None:
        """Make whatever runs in the session fail at once, from another thread. The snapshot is gone then."""
        closer(self._conn)()

    def files(self) -> dict[tuple[str, str], str]:
        """Identity and file of every table as the snapshot sees them."""
        with self._translated():
            return read_files(self._conn)

    def _count(self, entry: TableEntry, is_group: bool) -> int:
        row = self._execute(_count_query(entry, is_group)).fetchone()
        assert row is not None
        assert isinstance(row[0], int)
        return row[0]

    def _with_content(
        self, counts: Sequence[TableCount], narrow: Mapping[tuple[str, str], str], cancel: CancelToken
    ) -> tuple[TableCount, ...]:
        with self._translated():
            content.pin(self._conn)
            columns = content.read_columns(self._conn)
        found = []
        for table in counts:
            cancel.check()
            copied = not table.group and not table.only_rows and (table.schema, table.table) in narrow
            self._execute(sql.SQL("SAVEPOINT content"))
            try:
                text = content.compute(self._conn, table, columns, copied=copied)
            except (psycopg.Error, KeyError):
                text = content.NOT_COMPUTED
                self._execute(sql.SQL("ROLLBACK TO SAVEPOINT content"))  # raises where the session is gone
            self._execute(sql.SQL("RELEASE SAVEPOINT content"))
            found.append(replace(table, fingerprint=text))
        return tuple(found)

    def _narrow_columns(self) -> dict[tuple[str, str], str]:
        """Tables whose indexes hold expressions, each with its narrowest column.

        Planning ``count(*)`` inlines the functions of such indexes, and one that needs a search_path fails in our
        session although pg_dump reads the table without planning anything.
        """
        rows = self._execute(sql.SQL(_NARROW)).fetchall()
        return {(str(schema), str(table)): str(column) for schema, table, column in rows}

    def _count_copied(self, entry: TableEntry, column: str) -> int:
        """Rows counted as lines of a COPY of one column: it reads like pg_dump, ONLY included, and plans nothing."""
        query = sql.SQL("COPY {} ({}) TO STDOUT").format(
            sql.Identifier(entry.schema, entry.table), sql.Identifier(column)
        )
        with self._translated(), self._conn.cursor().copy(query) as copy:
            return sum(bytes(block).count(b"\n") for block in copy)

    def _execute(self, query: sql.SQL | sql.Composed) -> psycopg.Cursor[tuple[object, ...]]:
        with self._translated():
            return self._conn.execute(query)
        raise AssertionError

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as e:
            if self._conn.broken or self._conn.closed:
                raise lost(e) from e
            raise translate(e, self._conninfo) from e


def closer(conn: Connection) -> Callable[[], None]:
    """A callback that makes a blocked query fail at once; must not wait for the network."""

    def close() -> None:
        try:
            with socket.socket(fileno=os.dup(conn.fileno())) as s:
                s.shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg.Error):
            return  # closed already

    return close


def read_files(conn: Connection) -> dict[tuple[str, str], str]:
    """Identity, file and columns of every table as this session sees them now. Raises psycopg.Error."""
    return {(str(schema), str(table)): str(file) for schema, table, file in conn.execute(_FILES.encode()).fetchall()}


def lost(error: psycopg.Error) -> SourceError:
    """What a session that broke under us means."""
    context = {"server": str(error)}
    return SourceError("pg.snapshot-lost", "the session that held the snapshot was lost", context=context, retry=True)


def _grouped(tables: Sequence[TableEntry]) -> list[tuple[TableEntry, bool]]:
    """Each table once; leaves of a group replaced by one entry for the group's root."""
    seen: set[tuple[str, str]] = set()
    out: list[tuple[TableEntry, bool]] = []
    for entry in tables:
        if entry.group is None:
            out.append((entry, False))
        elif entry.group not in seen:
            seen.add(entry.group)
            out.append((TableEntry(entry.group[0], entry.group[1]), True))
    return out


def _count_query(entry: TableEntry, is_group: bool) -> sql.Composed:
    relation = sql.Identifier(entry.schema, entry.table)
    only = sql.SQL("") if is_group else sql.SQL("ONLY ")
    query = sql.SQL("SELECT pg_catalog.count(*) FROM {}{}").format(only, relation)
    if entry.only_rows:
        # the extension's own dump condition, from pg_extension.extcondition: SQL that pg_dump itself runs verbatim
        query += sql.SQL(" ") + sql.SQL(entry.only_rows)
    return query
