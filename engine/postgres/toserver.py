"""pg_restore into a server of the user's: the right program, no password in sight, every message read.

With one job it is one transaction: it fails or is cancelled as a whole. The password reaches pg_restore through a
sealed memfd. The room refuses to swallow a message that it does not know: it is shown as it came.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO, BinaryIO

import psycopg
from psycopg import sql

from engine.cancel import CancelToken
from engine.errors import CouldNotVerify, OffsiteError, SourceError
from engine.model import Failure, TableCount, TableResult
from engine.model.restoring import RestoreOptions
from engine.postgres import passfile
from engine.postgres.address import Conninfo
from engine.postgres.mishaps import Mishap, explain, read_mishaps
from engine.postgres.refusals import surroundings
from engine.postgres.rule import Place, Surroundings
from engine.postgres.rules_target import REFUSED_THERE
from engine.postgres.scratch import ScratchDir, open_archive_file
from engine.postgres.selection import Selection
from engine.postgres.session import Connection, connect, interruptible, translate
from engine.postgres.tableprogress import named_by
from engine.postgres.toc import Toc, TocEntry, forget_drops, forget_versions
from engine.postgres.tools import Toolset, environment, package
from engine.process import clean_environment, spawn
from engine.progress import Phase, Progress, ProgressSink, TableRows, TableSink, Unit
from engine.redact import redact

_MERGE = ("/bin/sh", "-c", 'exec "$@" 2>&1', "sh")
_FLAGS = (
    *("--verbose", "--no-password", "--no-owner", "--no-privileges", "--no-publications", "--no-subscriptions"),
    *("--no-security-labels", "--no-tablespaces"),
)
_LOOK_S = 0.5
_LINE_BYTES = 1 << 16
_END_WITHIN_S = 1.2
"""After a cancel: how long the server's own sessions are waited for."""
_BEGUN = re.compile(r'^pg_restore: processing data for table "')
_FINISHED = re.compile(r"^pg_restore: finished item (\d+) TABLE DATA ")
_COPYING = (
    "SELECT p.tuples_processed, a.query, pg_catalog.cardinality(pg_catalog.pg_blocking_pids(a.pid)) > 0, a.pid"
    " FROM pg_catalog.pg_stat_activity a LEFT JOIN pg_catalog.pg_stat_progress_copy p ON p.pid = a.pid"
    " WHERE a.datname = pg_catalog.current_database() AND a.application_name = %s"
)


@dataclass(frozen=True, slots=True)
class Into:
    """Where to and with what. ``application_name`` tells our sessions there from all others."""

    conninfo: Conninfo
    toolset: Toolset
    application_name: str
    scratch: ScratchDir


def choose_tools(toolsets: Iterable[Toolset], source_major: int, target_major: int) -> Toolset:
    """The newest pg_restore that knows the archive and that the target knows. Raises SourceError ``pg.tool-missing``.

    One newer than the target sets what the target does not know (``transaction_timeout`` since 17).
    """
    fitting = [t for t in toolsets if source_major <= t.major <= target_major]
    if not fitting:
        raise SourceError(
            "pg.tool-missing",
            f"a snapshot of PostgreSQL {source_major} goes into a server {target_major} with a pg_restore of these"
            " majors or between, and there is none here",
            hint=f"Run `offsitedb postgres install {target_major}`, or install {package(target_major)}.",
        )
    return max(fitting, key=lambda t: t.version_num)


def restore(
    into: Into,
    archive: BinaryIO,
    toc: Toc,
    selection: Selection,
    options: RestoreOptions,
    *,
    cancel: CancelToken,
    on_progress: ProgressSink,
    on_tables: TableSink,
) -> tuple[Failure, ...]:
    """Restore what is selected; what went wrong, by name. Raises the token's error when cancelled.

    With ``clean`` pg_restore drops in its own transaction, dependants first, and never with CASCADE. Indexes and
    constraints go with their tables: dropped one by one, those that a partition has from its root would be refused.

    After a cancel the sessions that pg_restore had at the server are ended, too. Raises CouldNotVerify when it cannot
    be started.
    """
    if not selection.kept:
        return ()
    argv = [*_MERGE, str(into.toolset.bindir / "pg_restore"), *_FLAGS]
    argv += ["--single-transaction"] if options.jobs == 1 else [f"--jobs={options.jobs}"]
    if options.clean:
        argv += ["--clean", "--if-exists"]
    watch = _Watch(into, selection, on_progress, on_tables)
    archive.flush()
    forget_versions(archive.fileno(), toc)
    if options.clean:
        forget_drops(archive.fileno(), toc, selection.drops_with_table)
    entries = toc.entries
    try:
        with open_archive_file(into.scratch) as use_list, passfile.password_file(into.conninfo) as handed:
            use_list.write(selection.list_text.encode())
            use_list.flush()
            argv += [
                f"--use-list=/proc/self/fd/{use_list.fileno()}",
                # where it is silent the environment counts; a name with "=" in it would be read as settings here
                "--dbname=" + " ".join(f"{name}={value}" for name, value in passfile.KEEPALIVE.items()),
                f"/proc/self/fd/{archive.fileno()}",
            ]
            env = clean_environment(
                environment(into.toolset)
                | passfile.libpq_environment(
                    into.conninfo, passfile_path=handed.path, application_name=into.application_name
                )
            )
            fds = (archive.fileno(), use_list.fileno(), *handed.pass_fds)
            status, mishaps = _run(argv, env, fds, entries, watch, cancel)
    except OSError as e:
        raise CouldNotVerify("drill.scratch", f"pg_restore could not be started: {e}") from e
    finally:
        watch.close()
        if cancel.cancelled:
            end_sessions(into)
    if status == 0 and not mishaps:
        return ()  # it is all there: a cancel that came too late undoes nothing, and the caller must not say so
    cancel.check()
    return _failures(mishaps, entries, status, surroundings(into.conninfo, major=into.toolset.major))


def _run(
    argv: Sequence[str],
    env: dict[str, str],
    fds: Sequence[int],
    entries: Sequence[TocEntry],
    watch: _Watch,
    cancel: CancelToken,
) -> tuple[int, list[Mishap]]:
    mishaps: list[Mishap] = []
    with spawn(argv, name="pg_restore", cancel=cancel, env=env, pass_fds=fds) as child:
        lines = watch.reading(_lines(child.stdout))
        reader = threading.Thread(
            target=lambda: mishaps.extend(read_mishaps(lines, entries)), name="pg_restore-messages", daemon=True
        )
        reader.start()
        while reader.is_alive():
            watch.look()
            reader.join(_LOOK_S)
            cancel.check()
        return child.wait(), mishaps


def _lines(stream: IO[bytes]) -> Iterator[str]:
    while raw := stream.readline(_LINE_BYTES):
        yield raw.decode("utf-8", "replace").rstrip("\n")


class _Watch:
    """How far it is: pg_restore's own words, and the rows of running COPYs where the server shows them."""

    def __init__(self, into: Into, selection: Selection, on_progress: ProgressSink, on_tables: TableSink) -> None:
        self._into = into
        self._on_progress = on_progress
        self._on_tables = on_tables
        self._tables = {e.dump_id: (e.schema or "", e.tag) for e in selection.kept if e.desc == "TABLE DATA"}
        self._begun = 0
        self._done = 0
        self._running: dict[tuple[str, str], int] = {}
        self._conn: Connection | None = None
        on_tables((), anew=True)
        with suppress(OffsiteError):
            quick = replace(into.conninfo, connect_timeout_s=5)
            self._conn = connect(quick, application_name="offsitedb: progress", cancel=CancelToken())

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()

    def reading(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            finished = _FINISHED.match(line)
            if finished and int(finished[1]) in self._tables:
                self._done += 1
            elif _BEGUN.match(line):
                self._begun += 1
            yield line

    def look(self) -> None:
        note = ""
        conn = self._conn
        if conn is not None and not conn.closed:
            try:
                rows = conn.execute(_COPYING, [self._into.application_name]).fetchall()
            except (psycopg.Error, UnicodeError):
                conn.close()
                rows = []
            running: dict[tuple[str, str], int] = {}
            for count, query, blocked, _pid in rows:
                name = named_by(str(query))
                if name is not None and isinstance(count, int):
                    running[name] = count
                if blocked:
                    note = "waits for a lock that another session at the target holds"
            left = [TableRows(*name, rows, True) for name, rows in self._running.items() if name not in running]
            self._on_tables([*left, *(TableRows(*name, rows, False) for name, rows in running.items())])
            self._running = running
            note = note or ", ".join(f"{s}.{t} {n:,} rows" for (s, t), n in running.items())
        done = max(self._done, self._begun - 1, 0)
        self._on_progress(Progress(Phase.RESTORE, done, len(self._tables), Unit.TABLES, note))


def end_sessions(into: Into) -> None:
    """End what a dead pg_restore left at the server: a session that builds an index does not see that it is alone."""
    quick = replace(into.conninfo, connect_timeout_s=2)
    pause = threading.Event()
    with suppress(OffsiteError, psycopg.Error):
        with connect(quick, application_name="offsitedb: cancel", cancel=CancelToken()) as conn:
            for _ in range(int(_END_WITHIN_S / 0.1)):
                rows = conn.execute(
                    "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
                    " WHERE application_name = %s AND usename = current_user",
                    [into.application_name],
                ).fetchall()
                if not rows:
                    return
                pause.wait(0.1)


def count(
    into: Into, tables: Sequence[TableCount], *, cancel: CancelToken, on_progress: ProgressSink
) -> tuple[TableResult, ...]:
    """Exact rows of each table at the target, in one snapshot, against what was captured. Raises SourceError."""
    results: list[TableResult] = []
    with connect(into.conninfo, application_name=into.application_name, cancel=cancel, autocommit=False) as conn:
        with interruptible(conn, cancel):
            try:
                conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                conn.execute("SET LOCAL row_security = off")
                for n, table in enumerate(tables, 1):
                    cancel.check()
                    results.append(TableResult(table.schema, table.table, table.rows, _count(conn, table)))
                    on_progress(Progress(Phase.VERIFY, n, len(tables), Unit.TABLES, table.table))
            except psycopg.Error as e:
                raise translate(e, into.conninfo) from e
    return tuple(results)


def _count(conn: Connection, table: TableCount) -> int | None:
    only = sql.SQL("") if table.group else sql.SQL("ONLY ")
    query = sql.SQL("SELECT pg_catalog.count(*) FROM {}{}").format(only, sql.Identifier(table.schema, table.table))
    text = f"{query.as_string(conn)} {table.only_rows or ''}"  # an extension's own dump condition, as captured
    try:
        with conn.transaction():
            row = conn.execute(text.encode()).fetchone()
    except (psycopg.errors.OperationalError, psycopg.InterfaceError):
        raise
    except psycopg.Error:
        return None
    return row[0] if row is not None and isinstance(row[0], int) else None


def _failures(
    mishaps: Sequence[Mishap], entries: Sequence[TocEntry], status: int, near: Surroundings
) -> tuple[Failure, ...]:
    """One for each object, in plain words with the target's own behind them; those alone where nobody knows them."""
    seen: set[int] = set()
    found: list[Failure] = []
    for mishap in mishaps:
        told = explain(mishap, entries, Place.TARGET, near=near)
        hint = redact(told.hint or REFUSED_THERE)
        if mishap.entry is None:
            found.append(Failure("restore.failed", redact(f"pg_restore: {told.message}"), hint))
        elif mishap.entry.dump_id not in seen:
            seen.add(mishap.entry.dump_id)
            text = f"{mishap.entry.desc.lower()} {mishap.entry.name}: {told.message}"
            found.append(Failure("restore.failed", redact(text), hint))
    if status != 0 and not found:
        how = f"exit status {status}" if status > 0 else f"ended by signal {-status}"
        found.append(Failure("restore.failed", f"pg_restore failed without a word ({how})", ""))
    return tuple(found)
