"""One consistent look at a source: locks, exported MVCC snapshot, pg_dump and exact row counts, all of the same instant.

The order is what makes a count true (docs/ARCHITECTURE.md, "Exact counts"): the inventory is taken in an earlier
transaction; the locks are the first statements of the exporting transaction, because LOCK TABLE takes no snapshot and
any SELECT does; only then is the snapshot exported, and the inventory taken again inside it must be the same. With the
snapshot fixed first, a TRUNCATE in between would empty dump and count alike: a false proof.

The room refuses to compress, seal or store: it hands out pg_dump's stdout and, at the end, the counts.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from engine.cancel import CancelToken
from engine.errors import OffsiteError, SourceError
from engine.model import Counts, Inventory, ServerFacts, TableCount, TableEntry
from engine.postgres import passfile
from engine.postgres.conninfo import Conninfo
from engine.postgres.inventory import dump_flags, take_inventory
from engine.postgres.session import connect, translate
from engine.postgres.tools import Toolset, environment
from engine.process import Child, clean_environment, spawn

_ATTEMPTS = 10
"""How often a schema that changes under us is looked at again before we give up."""
_LOCK_BATCH = 100
_PING_S = 10.0
_PIPE_BYTES = 1 << 20
_NARROW = """
SELECT DISTINCT ON (c.oid) n.nspname::text, c.relname::text, a.attname::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
WHERE c.relkind = 'r' AND EXISTS (
    SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
ORDER BY c.oid, a.attlen < 0, a.attlen, a.attnum
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a dump of one inventory needs: taken before the locks, true after them."""

    facts: ServerFacts
    inventory: Inventory
    flags: tuple[str, ...]


class ExportedSnapshot:
    """A transaction that holds locks and one MVCC snapshot for pg_dump and the counts to share."""

    def __init__(
        self, conn: psycopg.Connection[tuple[object, ...]], conninfo: Conninfo, plan: Plan, snapshot_id: str | None
    ) -> None:
        self.plan = plan
        self.snapshot_id = snapshot_id
        self._conn = conn
        self._conninfo = conninfo

    @property
    def counts_kind(self) -> Counts:
        """``exact`` unless this server cannot export a snapshot at all."""
        return Counts.EXACT if self.snapshot_id is not None else Counts.NONE

    def count(self, cancel: CancelToken, on_table: Callable[[int, int], None]) -> tuple[TableCount, ...]:
        """Rows of every captured table in the snapshot; leaves that may trade rows are summed at their root.

        ``on_table(done, total)`` after each. Raises SourceError; ``pg.snapshot-lost`` when the session went away.
        """
        entries = _grouped(self.plan.inventory.tables)
        narrow = self._narrow_columns()
        counts: list[TableCount] = []
        for n, (entry, is_group) in enumerate(entries, 1):
            cancel.check()
            column = None if is_group or entry.only_rows else narrow.get((entry.schema, entry.table))
            rows = self._count_copied(entry, column) if column is not None else self._count(entry, is_group)
            counts.append(TableCount(entry.schema, entry.table, rows, entry.only_rows, is_group))
            on_table(n, len(entries))
        return tuple(counts)

    def ping(self) -> None:
        """Prove that the session, and with it the snapshot, is alive. Raises SourceError ``pg.snapshot-lost``."""
        self._execute(sql.SQL("SELECT 1"))

    def _count(self, entry: TableEntry, is_group: bool) -> int:
        row = self._execute(_count_query(entry, is_group)).fetchone()
        assert row is not None
        assert isinstance(row[0], int)
        return row[0]

    def _narrow_columns(self) -> dict[tuple[str, str], str]:
        """Tables whose indexes hold expressions, each with its narrowest column.

        Planning ``count(*)`` inlines the functions of such indexes, and one that needs a search_path fails in our
        session although pg_dump reads the table without planning anything.
        """
        rows = self._execute(sql.SQL(_NARROW)).fetchall()
        return {(str(schema), str(table)): str(column) for schema, table, column in rows}

    def _count_copied(self, entry: TableEntry, column: str) -> int:
        """Rows counted as lines of a COPY of one column: it reads like pg_dump, ONLY included, and plans nothing."""
        query = sql.SQL("COPY {} ({}) TO STDOUT").format(sql.Identifier(entry.schema, entry.table), sql.Identifier(column))
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
                raise SourceError(
                    "pg.snapshot-lost", "the session that held the snapshot was lost", context={"server": str(e)}, retry=True
                ) from e
            raise translate(e, self._conninfo) from e


@contextmanager
def export_snapshot(
    conninfo: Conninfo, first: Plan, *, application_name: str, lock_timeout_s: float, cancel: CancelToken
) -> Iterator[ExportedSnapshot]:
    """Hold locks and an exported snapshot that fit the inventory, taking the inventory again until they do.

    Raises SourceError: ``pg.lock-timeout`` naming who holds the lock, ``pg.schema-changing`` after ten attempts.
    """
    plan = first
    with connect(conninfo, application_name=application_name, cancel=cancel) as conn:
        closer = _closer(conn)
        with cancel.on_cancel(closer):
            for attempt in range(_ATTEMPTS):
                cancel.wait(min(0.05 * attempt * attempt, 2.0))
                cancel.check()
                snapshot_id = _lock_and_export(conn, conninfo, plan, lock_timeout_s, application_name, cancel)
                if snapshot_id is not _CHANGED:
                    inside = take_inventory(conn, plan.facts)
                    if inside == plan.inventory:
                        try:
                            yield ExportedSnapshot(conn, conninfo, plan, snapshot_id or None)
                        finally:
                            _end_transaction(conn)
                        return
                _end_transaction(conn)
                plan = make_plan(conn, plan.facts)
            raise SourceError(
                "pg.schema-changing", f"the schema changed during each of {_ATTEMPTS} attempts to prepare the snapshot", retry=True
            )


def make_plan(conn: psycopg.Connection[tuple[object, ...]], facts: ServerFacts) -> Plan:
    """The inventory as of now, in a transaction of its own, and the flags that follow from it."""
    inventory = take_inventory(conn, facts)
    _end_transaction(conn)
    return plan_of(facts, inventory)


def plan_of(facts: ServerFacts, inventory: Inventory) -> Plan:
    """The plan that follows from an inventory."""
    return Plan(facts, inventory, dump_flags(inventory, facts.major))


@contextmanager
def start_dump(
    exported: ExportedSnapshot,
    conninfo: Conninfo,
    toolset: Toolset,
    *,
    application_name: str,
    lock_timeout_s: float,
    cancel: CancelToken,
) -> Iterator[Child]:
    """pg_dump of the exported snapshot, custom format, uncompressed, on the child's stdout.

    The password goes through a sealed memfd, host and database through the environment: nothing is on argv. Use
    :func:`finish_dump` to learn whether the stream was whole.
    """
    argv: list[str] = [
        str(toolset.bindir / "pg_dump"),
        "-Fc",
        "-Z0",
        "--no-password",
        f"--lock-wait-timeout={int(lock_timeout_s * 1000)}",
        *exported.plan.flags,
    ]
    if exported.snapshot_id is not None:
        argv.append(f"--snapshot={exported.snapshot_id}")
    with passfile.password_file(conninfo) as handed:
        env = clean_environment(
            environment(toolset)
            | passfile.libpq_environment(conninfo, passfile_path=handed.path, application_name=application_name)
        )
        with spawn(
            argv, name="pg_dump", cancel=cancel, env=env, pass_fds=handed.pass_fds, pipe_bytes=_PIPE_BYTES
        ) as child:
            yield child


def finish_dump(child: Child) -> None:
    """Wait for pg_dump after its stdout ended. Raises SourceError ``pg.dump-failed`` with its own words."""
    status = child.wait()
    if status == 0:
        return
    words = _last_words(child.stderr_tail())
    how = f"exit status {status}" if status > 0 else f"ended by signal {-status}"
    code = "pg.permission" if "permission denied" in words else "pg.dump-failed"
    raise SourceError(code, f"pg_dump failed ({how}): {words or 'no message'}", context={"status": status})


class Counting:
    """Counts in a thread of their own beside the dump, then keeps the exporting session alive until told to stop."""

    def __init__(self, exported: ExportedSnapshot, cancel: CancelToken, on_table: Callable[[int, int], None]) -> None:
        self._exported = exported
        self._cancel = cancel
        self._on_table = on_table
        self._stop = threading.Event()
        self._result: tuple[TableCount, ...] = ()
        self._error: OffsiteError | None = None
        self._thread = threading.Thread(target=self._run, name="row-counts", daemon=True)

    def __enter__(self) -> Counting:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def result(self) -> tuple[TableCount, ...]:
        """The counts, once the dump has ended well. Waits for the rest; a lost session or failed count raises."""
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        self._exported.ping()
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._exported.count(self._cancel, self._on_table)
            while not self._stop.wait(_PING_S):
                self._exported.ping()
        except OffsiteError as e:
            self._error = e
            self._cancel.cancel(e)  # the dump without its counts is worth nothing: end it now


_CHANGED = "\0changed"


def _lock_and_export(
    conn: psycopg.Connection[tuple[object, ...]],
    conninfo: Conninfo,
    plan: Plan,
    lock_timeout_s: float,
    application_name: str,
    cancel: CancelToken,
) -> str:
    """Lock first, export second. The snapshot's id, "" where none can be exported, ``_CHANGED`` if a relation went."""
    try:
        conn.execute(sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{int(lock_timeout_s * 1000)}ms")))
        for batch in _batches(plan.inventory.lock, _LOCK_BATCH):
            names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(s, t)) for s, t in batch)
            conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
        row = conn.execute(sql.SQL("SELECT pg_catalog.pg_export_snapshot()")).fetchone()
        assert row is not None
        return str(row[0])
    except psycopg.errors.LockNotAvailable as e:
        holder = _who_holds(conninfo, plan, application_name, cancel)
        raise SourceError(
            "pg.lock-timeout", f"no lock on every table within {lock_timeout_s:g} s: {holder}", retry=True
        ) from e
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.errors.WrongObjectType):
        return _CHANGED
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.ActiveSqlTransaction):
        if not plan.facts.in_recovery:
            raise
        _end_transaction(conn)  # this standby exports nothing: dump without counts, and say so
        conn.execute(sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        return ""
    except psycopg.Error as e:
        raise translate(e, conninfo) from e


def _who_holds(conninfo: Conninfo, plan: Plan, application_name: str, cancel: CancelToken) -> str:
    """One line on the session that kept us waiting, as far as this role may see it."""
    query = sql.SQL(
        "SELECT l.pid, coalesce(a.application_name, ''), coalesce(left(a.query, 120), ''), l.relation::regclass::text"
        " FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.mode = 'AccessExclusiveLock' AND l.granted AND l.relation IS NOT NULL AND l.database ="
        " (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) LIMIT 1"
    )
    try:
        with connect(conninfo, application_name=application_name, cancel=cancel) as conn:
            row = conn.execute(query).fetchone()
    except (OffsiteError, psycopg.Error) as e:
        return f"the holder could not be asked for ({e})"
    if row is None:
        return "the lock has been released since; run the checkpoint again"
    pid, application, statement, relation = row
    return f"process {pid} ({application}) holds {relation}: {statement}"


def _closer(conn: psycopg.Connection[tuple[object, ...]]) -> Callable[[], None]:
    """A callback that makes a blocked query fail at once; must not wait for the network."""
    def close() -> None:
        try:
            with socket.socket(fileno=os.dup(conn.fileno())) as s:
                s.shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg.Error):
            return  # closed already

    return close


def _end_transaction(conn: psycopg.Connection[tuple[object, ...]]) -> None:
    try:
        conn.execute(sql.SQL("ROLLBACK"))
    except psycopg.Error:
        if not (conn.broken or conn.closed):
            raise


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


def _batches(items: Sequence[tuple[str, str]], size: int) -> Iterator[Sequence[tuple[str, str]]]:
    for i in range(0, len(items), size):
        yield items[i : i + size]


def _last_words(stderr: str) -> str:
    """pg_dump's own error lines, without its "query was" echoes of long statements."""
    lines = [line.removeprefix("pg_dump: ") for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:") or line.startswith("detail:")]
    return "; ".join(errors or lines[-3:])[:1000]
