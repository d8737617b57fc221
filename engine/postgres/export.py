"""One consistent look at a source: locks, then an exported MVCC snapshot that pg_dump and the counts share.

The order is what makes a count true (docs/ARCHITECTURE.md, "Exact counts"): the inventory is taken in an earlier
transaction; the *guard* session locks every table; only then does the *exporter* session take its snapshot, and the
inventory taken again inside it must be the same. With the snapshot fixed first, a TRUNCATE in between would empty dump
and count alike: a false proof.

The locks are why there are two sessions. Whoever wants to alter a table while the guard holds it waits, and everybody
who comes later waits behind him: pg_dump too, for ever. The guard can let go without losing the snapshot; what then
happens to a table before pg_dump has locked it shows in its file's number or its columns, and spoils the attempt.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
from psycopg import sql

from engine.cancel import CancelToken
from engine.clock import Clock
from engine.errors import OffsiteError, SourceError
from engine.model import ServerFacts
from engine.postgres.conninfo import Conninfo
from engine.postgres.exported import ExportedSnapshot, Plan, closer, lost, plan_of, read_files
from engine.postgres.inventory import take_inventory
from engine.postgres.session import Connection, connect, translate
from engine.process import Child

ATTEMPTS = 40
"""How often a schema that changes under us is looked at again: about half a minute of uninterrupted migrations."""
_LOCK_BATCH = 100
_LOOK_S = 0.02
_QUICK_LOCK = "100ms"
_WAITING = (
    "SELECT pid FROM pg_catalog.pg_stat_activity WHERE usename = current_user AND wait_event_type = 'Lock'"
    " AND application_name = pg_catalog.current_setting('application_name')"
)
_GONE = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.errors.WrongObjectType)


def make_plan(conn: Connection, facts: ServerFacts) -> Plan:
    """The inventory as of now, in a transaction of its own, and the flags that follow from it."""
    inventory = take_inventory(conn, facts)
    _end_transaction(conn)
    return plan_of(facts, inventory)


def _nothing() -> None:
    return None


@contextmanager
def open_exporter(
    conninfo: Conninfo,
    *,
    application_name: str,
    lock_timeout_s: float,
    clock: Clock,
    cancel: CancelToken,
    on_answer: Callable[[], None] = _nothing,
) -> Iterator[Exporter]:
    """The two sessions of an export; a cancel ends whatever they do. Raises SourceError.

    ``on_answer`` is called whenever the server has answered; between two calls lie ``lock_timeout_s`` at the most.
    """
    guard, conn = _both(lambda: connect(conninfo, application_name=application_name, cancel=cancel))
    with (
        guard,
        conn,
        cancel.on_cancel(closer(guard)),
        cancel.on_cancel(closer(conn)),
    ):
        try:
            yield Exporter(conninfo, guard, conn, lock_timeout_s, clock, cancel, on_answer)
        except OffsiteError:
            cancel.check()  # a session that was closed by the cancel reports its own torn end
            raise
        finally:
            _end_transaction(conn)


def _both(open_: Callable[[], Connection]) -> tuple[Connection, Connection]:
    """Two sessions, opened at the same time; both or none."""
    with ThreadPoolExecutor(1, thread_name_prefix="second") as pool:
        second = pool.submit(open_)
        try:
            first = open_()
        except BaseException:
            if second.exception() is None:
                second.result().close()
            raise
    try:
        return first, second.result()
    except BaseException:
        first.close()
        raise


@contextmanager
def export_snapshot(
    conninfo: Conninfo, first: Plan, *, application_name: str, lock_timeout_s: float, clock: Clock, cancel: CancelToken
) -> Iterator[ExportedSnapshot]:
    """A snapshot that fits its inventory, with every table locked, for the length of the block. See Exporter."""
    with open_exporter(
        conninfo, application_name=application_name, lock_timeout_s=lock_timeout_s, clock=clock, cancel=cancel
    ) as exporter:
        yield exporter.export(first)


class Exporter:
    """Exports snapshots, one at a time: each :meth:`export` ends the one before."""

    def __init__(
        self,
        conninfo: Conninfo,
        guard: Connection,
        conn: Connection,
        lock_timeout_s: float,
        clock: Clock,
        cancel: CancelToken,
        on_answer: Callable[[], None],
    ) -> None:
        self._on_answer = on_answer
        self._conninfo = conninfo
        self._guard = guard
        self._conn = conn
        self._lock_timeout_s = lock_timeout_s
        self._clock = clock
        self._cancel = cancel
        self._locked = False
        self._refused: psycopg.Error | None = None

    def export(self, first: Plan) -> ExportedSnapshot:
        """Lock and export, taking the inventory again until it is the same before and inside.

        Raises SourceError: ``pg.lock-timeout`` naming who holds the lock, ``pg.schema-changing`` after 40 attempts.
        """
        plan = first
        for attempt in range(ATTEMPTS):
            self._cancel.wait(min(0.02 * attempt, 0.5))
            self._cancel.check()
            self._end()
            self._on_answer()
            with self._translated(plan):
                if self._lock_guard(plan):
                    snapshot_id = self._take_snapshot(plan)
                    taken_at = self._clock.now()
                    if take_inventory(self._conn, plan.facts) == plan.inventory:
                        self._locked = self._lock_exporter(plan)
                        return ExportedSnapshot(self._conn, self._conninfo, plan, snapshot_id, taken_at)
            self._end()
            refused, before = self._refused, plan.inventory
            plan = make_plan(self._conn, plan.facts)
            if refused is not None and plan.inventory == before:
                raise translate(refused, self._conninfo) from refused
        raise SourceError(
            "pg.schema-changing",
            f"the schema changed during each of {ATTEMPTS} attempts to prepare the snapshot",
            retry=True,
        )

    def admit(self, exported: ExportedSnapshot, child: Child) -> bool:
        """Wait until pg_dump holds its own locks; False when a table was altered before, and the attempt is spoilt.

        pg_dump writes its first byte after it has locked everything. Whenever it is seen waiting for a lock, guard and
        exporter let those go first who wait for them, and the exporter queues behind pg_dump.
        """
        if exported.snapshot_id is None:
            return True
        contended = False
        with self._translated(exported.plan):
            while not _has_spoken(child, _LOOK_S):
                self._cancel.check()
                if self._waiting() - {self._conn.info.backend_pid}:
                    contended = True
                    if not self._step_aside(exported.plan):
                        return False
            if child.poll():
                return not contended  # its own words say why; when others were let in first, it may be them
            if not self._locked and not self._relock(exported.plan, _QUICK_LOCK):
                return False
            now = read_files(self._guard)
        then = exported.files()
        if any(then.get(name) != now.get(name) for name in exported.plan.inventory.lock):
            return False
        self._guard.close()
        return True

    def _lock_guard(self, plan: Plan) -> bool:
        """Whether every relation of the plan is still there, and locked now."""
        self._refused = None
        try:
            self._guard.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")  # so that it sees what others commit
            _lock_all(self._guard, plan, f"{int(self._lock_timeout_s * 1000)}ms")
        except _GONE:
            return False
        except psycopg.errors.InsufficientPrivilege as e:  # revoked since; if the inventory knows nothing of it, raised
            self._refused = e
            return False
        return True

    def _take_snapshot(self, plan: Plan) -> str | None:
        """The exported snapshot's id; None on a standby that exports nothing."""
        begin = sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self._conn.execute(begin)
        try:
            row = self._conn.execute(sql.SQL("SELECT pg_catalog.pg_export_snapshot()")).fetchone()
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.ActiveSqlTransaction):
            if not plan.facts.in_recovery:
                raise
            _end_transaction(self._conn)  # this standby exports nothing: dump without counts, and say so
            self._conn.execute(begin)
            return None
        assert row is not None
        return str(row[0])

    def _lock_exporter(self, plan: Plan) -> bool:
        self._conn.execute(sql.SQL("SAVEPOINT held"))
        return self._relock(plan, _QUICK_LOCK)

    def _relock(self, plan: Plan, timeout: str) -> bool:
        """Give back the exporter's locks and queue for them again; False when they cannot be had."""
        give_back = sql.SQL("ROLLBACK TO SAVEPOINT held")
        try:
            self._conn.execute(give_back)
            _lock_all(self._conn, plan, timeout)
        except (*_GONE, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            self._conn.execute(give_back)
            return False
        return True

    def _step_aside(self, plan: Plan) -> bool:
        """Let those go first who wait for our locks; the exporter queues behind pg_dump before the guard lets go."""
        me = self._conn.info.backend_pid
        with ThreadPoolExecutor(1, thread_name_prefix="relock") as pool:
            relocking = pool.submit(self._relock, plan, f"{int(self._lock_timeout_s * 1000)}ms")
            while not relocking.done() and me not in self._waiting():
                self._cancel.wait(_LOOK_S)
                self._cancel.check()
            _end_transaction(self._guard)
            self._locked = relocking.result()
        return self._locked

    def _waiting(self) -> set[int]:
        """Backends of this job that wait for a lock."""
        self._guard.execute("SELECT pg_catalog.pg_stat_clear_snapshot()")  # or a transaction sees the same for ever
        waiting = {int(str(row[0])) for row in self._guard.execute(_WAITING).fetchall()}
        self._on_answer()
        return waiting

    def _end(self) -> None:
        _end_transaction(self._conn)
        _end_transaction(self._guard)

    @contextmanager
    def _translated(self, plan: Plan) -> Iterator[None]:
        try:
            yield
        except psycopg.errors.LockNotAvailable as e:
            self._end()
            holder = _who_holds(self._guard, plan)
            raise SourceError(
                "pg.lock-timeout", f"no lock on every table within {self._lock_timeout_s:g} s: {holder}", retry=True
            ) from e
        except psycopg.Error as e:
            if self._conn.broken or self._guard.broken:
                raise lost(e) from e
            raise translate(e, self._conninfo) from e


def _has_spoken(child: Child, wait_s: float) -> bool:
    """Whether pg_dump's first byte has arrived, or its end, within ``wait_s`` seconds."""
    poller = select.poll()
    poller.register(child.stdout, select.POLLIN | select.POLLHUP)
    return bool(poller.poll(wait_s * 1000))


def _lock_all(conn: Connection, plan: Plan, timeout: str) -> None:
    """Lock everything readable in ACCESS SHARE mode; LOCK TABLE takes no MVCC snapshot."""
    conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(timeout)))
    lock = plan.inventory.lock
    for i in range(0, len(lock), _LOCK_BATCH):
        names = sql.SQL(", ").join(
            sql.SQL("ONLY {}").format(sql.Identifier(s, t)) for s, t in lock[i : i + _LOCK_BATCH]
        )
        conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))


def _who_holds(guard: Connection, plan: Plan) -> str:
    """One line on the session that kept us waiting, as far as this role may see it."""
    query = (
        "SELECT l.pid, coalesce(a.application_name, ''), coalesce(left(a.query, 120), ''),"
        " n.nspname::text, c.relname::text, l.granted"
        " FROM pg_catalog.pg_locks l"
        " JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.mode = 'AccessExclusiveLock' AND l.pid <> pg_catalog.pg_backend_pid() AND l.database ="
        " (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
        " ORDER BY l.granted DESC, l.pid"
    )
    try:
        rows = guard.execute(query.encode()).fetchall()
    except psycopg.Error as e:
        return f"the holder could not be asked for ({e})"
    wanted = set(plan.inventory.lock)
    for pid, application, statement, schema, table, granted in rows:
        if (str(schema), str(table)) in wanted:
            does = "holds" if granted else "waits to alter"
            return f"process {pid} ({application or 'no application name'}) {does} {schema}.{table}: {statement}"
    return "the lock has been released since; run the checkpoint again"


def _end_transaction(conn: Connection) -> None:
    if conn.closed:
        return
    try:
        conn.execute(sql.SQL("ROLLBACK"))
    except psycopg.Error:
        if not (conn.broken or conn.closed):
            raise
