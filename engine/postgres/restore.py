"""Replaying an archive into a scratch cluster the way a drill may: by a role that owns everything and rules nothing.

First one quick pass that stops at the first error. Only if it stops: a fresh database and a pass that goes on, so
that a failed drill names everything that is lost and not only what came first. pg_restore runs in the same sandbox as
the server, reads the archive from a file without a name, and its every message counts. The room refuses psql, the
plain format, and to take an exit status alone for success.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, BinaryIO, Protocol

import psycopg

from engine.cancel import CancelToken
from engine.errors import CouldNotVerify, DrillFailed
from engine.model import Dependant, Failure, Normalised, RestoreNeeds, Skip
from engine.postgres.cluster import MARGIN_BYTES, ScratchCluster
from engine.postgres.diagnosis import diagnose
from engine.postgres.external import ExternalServer
from engine.postgres.mishaps import Mishap, judge, raise_host_problem, read_mishaps
from engine.postgres.prepare import Prepared, drop_database, prepare_database
from engine.postgres.replayplan import RestorePlan, plan_restore
from engine.postgres.rule import Place
from engine.postgres.scratch import open_archive_file
from engine.postgres.tableprogress import TableWatch
from engine.postgres.toc import Toc, forget_versions, listed_ids, read_toc
from engine.process import run, spawn
from engine.progress import Phase, Progress, ProgressSink, TableSink, Unit, discard_tables

_LOOK_S = 0.5
_KILLED = (-9, 137)
"""SIGKILL, as we see it and as a sandbox reports it: the kernel's way when memory is short, never pg_restore's own."""
_LINE_BYTES = 1 << 16
_LIST_TIMEOUT_S = 600.0
_TERMINATE_AFTER_S = 10.0
"""How much longer than its limit a statement may catch our cancel before its session is ended."""

_FLAGS: tuple[tuple[str, int], ...] = (
    # flag, first major whose pg_restore knows it
    ("--no-owner", 14),
    ("--no-privileges", 14),
    ("--no-publications", 14),
    ("--no-subscriptions", 14),
    ("--no-security-labels", 14),
    ("--no-tablespaces", 14),
    ("--no-table-access-method", 15),
)


class Captured(Protocol):
    """What a restore must know of a snapshot."""

    @property
    def needs(self) -> RestoreNeeds: ...
    @property
    def dependants(self) -> tuple[Dependant, ...]: ...


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """What came of it. The database stays in the cluster for the counts.

    ``lost_tables``: captured tables whose rows could not be replayed for a reason named in ``skips``; they are not in
    the database and must not be taken for proven. ``fast_pass``: the first pass already succeeded.
    """

    dbname: str
    skips: tuple[Skip, ...]
    normalised: tuple[Normalised, ...]
    failures: tuple[Failure, ...]
    lost_tables: tuple[tuple[str, str], ...]
    toc_entries: int
    replayed_entries: int
    fast_pass: bool
    settings: dict[str, str] = field(default_factory=dict)


def list_archive(cluster: ScratchCluster | ExternalServer, archive: BinaryIO, cancel: CancelToken) -> Toc:
    """The archive's table of contents, read by us and by pg_restore, which must agree; it is made ready to replay.

    Says "header readable" and nothing more: a cut or altered archive lists just as well. Raises DrillFailed
    ``drill.restore``, CouldNotVerify ``drill.tool-missing`` for a newer format.
    """
    archive.flush()
    toc = read_toc(archive.fileno())
    argv = cluster.program("pg_restore", "--list", "--verbose", f"/proc/self/fd/{archive.fileno()}")
    try:
        finished = run(
            argv,
            name="pg_restore --list",
            cancel=cancel,
            timeout_s=_LIST_TIMEOUT_S,
            env=cluster.environment(),
            run_as=cluster.sandbox.spawn_as,
            pass_fds=(archive.fileno(), *cluster.pass_fds),
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise CouldNotVerify("drill.scratch", f"pg_restore --list could not be run: {e}") from e
    if finished.status != 0:
        mishaps = read_mishaps(finished.stderr.splitlines(), toc.entries)
        raise_host_problem(mishaps, major=cluster.toolset.major)
        said = mishaps[0].about if mishaps else f"exit status {finished.status}"
        raise DrillFailed("drill.restore", f"pg_restore cannot list the archive: {said}")
    if listed_ids(finished.stdout.decode("utf-8", "replace")) != frozenset(e.dump_id for e in toc.entries):
        raise DrillFailed("drill.restore", "pg_restore lists other objects than the archive's table of contents holds")
    forget_versions(archive.fileno(), toc)
    return toc


def restore(
    cluster: ScratchCluster | ExternalServer,
    archive: BinaryIO,
    toc: Toc,
    *,
    captured: Captured,
    cancel: CancelToken,
    on_progress: ProgressSink,
    on_tables: TableSink = discard_tables,
) -> RestoreOutcome:
    """Replay ``archive`` into a new database of ``cluster``. ``archive`` comes from ``scratch.open_archive_file``.

    What does not restore is in the outcome's ``failures``, not raised. Raises CouldNotVerify when the host is the
    matter (extension, locale, disk, the server itself), and the token's error when cancelled. Its own time limit is
    per statement (``drill.statement_timeout_s``); that of the whole drill is the caller's token.
    """
    archive.flush()
    try:
        return _restore(_Replay(cluster, archive, toc, cancel, on_progress, on_tables), captured)
    except CouldNotVerify:
        cancel.check()  # a cancelled token ends the server first, and that is what we hear of
        raise


def _restore(replay: _Replay, captured: Captured) -> RestoreOutcome:
    cluster, toc = replay.cluster, replay.toc
    if isinstance(cluster, ExternalServer) and not cluster.bypass:
        _refuse_forced(cluster, toc)
    tableams = {e.tableam for e in toc.entries if e.tableam}
    prepared = prepare_database(cluster, cluster.database, captured.needs, table_methods=tableams)
    plan = plan_restore(toc.entries, captured.dependants, prepared.ground)
    jobs = cluster.settings.jobs
    # a single transaction has one session; several sessions cannot share one, but both skip WAL for new tables
    quick = ["--single-transaction"] if jobs == 1 else ["--exit-on-error", f"--jobs={jobs}"]
    status, mishaps = replay.go(prepared, plan, quick)
    fast_pass = status == 0 and not mishaps
    failures: tuple[Failure, ...] = ()
    skips, lost = (*prepared.skips, *plan.skips), plan.lost_tables
    if not fast_pass:
        drop_database(cluster, prepared.dbname)
        prepared = prepare_database(cluster, cluster.database, captured.needs)
        status, mishaps = replay.go(prepared, plan, ["--verbose"])  # so that it names the entry of every error
        if status in _KILLED:
            raise CouldNotVerify(
                "drill.scratch",
                "pg_restore was killed from outside before it had replayed the archive",
                hint="Look for an out-of-memory kill on the drill host (`dmesg`), give it memory, then drill again.",
            )
        judgement = judge(mishaps, toc.entries, status)
        failures = judgement.failures
        skips, lost = (*skips, *judgement.skips), (*lost, *judgement.lost_tables)
    return RestoreOutcome(
        dbname=prepared.dbname,
        skips=skips,
        normalised=(*prepared.normalised, *plan.normalised),
        failures=failures,
        lost_tables=lost,
        toc_entries=len(toc.entries),
        replayed_entries=len(plan.kept),
        fast_pass=fast_pass,
        settings={
            "flags": " ".join([*_flags(cluster.toolset.major), *(quick if fast_pass else [])]),
            "encoding": captured.needs.encoding,
            "role": "NOSUPERUSER NOCREATEROLE NOCREATEDB BYPASSRLS",
        },
    )


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines of a stream, those that never end in pieces."""
    while raw := stream.readline(_LINE_BYTES):
        yield raw.decode("utf-8", "replace").rstrip("\n")


def _flags(major: int) -> list[str]:
    return [flag for flag, since in _FLAGS if major >= since]


class _Replay:
    """One archive, replayed once or twice."""

    def __init__(
        self,
        cluster: ScratchCluster | ExternalServer,
        archive: BinaryIO,
        toc: Toc,
        cancel: CancelToken,
        on_progress: ProgressSink,
        on_tables: TableSink,
    ) -> None:
        self.cluster = cluster
        self.toc = toc
        self._archive = archive
        self._cancel = cancel
        self._on_progress = on_progress
        self._on_tables = on_tables

    def go(self, prepared: Prepared, plan: RestorePlan, extra: Sequence[str]) -> tuple[int, list[Mishap]]:
        """One pass: pg_restore's exit status and every error it wrote. Raises CouldNotVerify for the host's own."""
        with open_archive_file(self.cluster.scratch) as use_list:
            use_list.write(plan.list_text.encode())
            use_list.flush()
            argv = self.cluster.program(
                "pg_restore",
                *_flags(self.cluster.toolset.major),
                *extra,
                "--no-password",
                f"--username={prepared.owner}",
                f"--dbname={prepared.dbname}",
                f"--use-list=/proc/self/fd/{use_list.fileno()}",
                f"/proc/self/fd/{self._archive.fileno()}",
                merged=True,
            )
            status, mishaps = self._run(argv, (self._archive.fileno(), use_list.fileno()), prepared)
        self._cancel.check()
        raise_host_problem(mishaps, major=self.cluster.toolset.major)
        return status, mishaps

    def _run(self, argv: Sequence[str], fds: Sequence[int], prepared: Prepared) -> tuple[int, list[Mishap]]:
        """Run pg_restore, reading its messages in a thread and looking after the server meanwhile."""
        cluster = self.cluster
        mishaps: list[Mishap] = []
        try:
            # looked at from before its first statement: what is in a table then is not the archive's
            with (
                _Watch(cluster, prepared, self._on_progress, self._on_tables) as watch,
                spawn(
                    argv,
                    name="pg_restore",
                    cancel=self._cancel,
                    env=cluster.environment(),
                    run_as=cluster.sandbox.spawn_as,
                    pass_fds=(*fds, *cluster.pass_fds),
                ) as child,
            ):
                lines = _lines(child.stdout)
                reader = threading.Thread(
                    target=lambda: mishaps.extend(read_mishaps(lines, self.toc.entries)),
                    name="pg_restore-messages",
                    daemon=True,
                )
                reader.start()
                while reader.is_alive():
                    watch.look()
                    reader.join(_LOOK_S)
                    self._cancel.check()
                return child.wait(), mishaps
        except OSError as e:
            raise CouldNotVerify("drill.scratch", f"pg_restore could not be started: {e}") from e


class _Watch:
    """Looks at a running pass from outside: how far it is, whether a statement overruns, whether the disk fills.

    pg_restore sets statement_timeout to 0 in its own sessions, so the limit has to be kept from here.
    """

    def __init__(
        self,
        cluster: ScratchCluster | ExternalServer,
        prepared: Prepared,
        on_progress: ProgressSink,
        on_tables: TableSink,
    ) -> None:
        self._cluster = cluster
        self._prepared = prepared
        self._on_progress = on_progress
        self._tables = TableWatch(cluster, prepared.dbname, prepared.owner, on_tables)
        self._conn: psycopg.Connection[tuple[object, ...]] | None = None
        self._measure_at = 0.0

    def __enter__(self) -> _Watch:
        try:
            self._conn = self._cluster.connect()  # never the database that is being replayed into
        except psycopg.Error as e:
            self._tables.close(ended=False)
            raise _server_gone(e) from e
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._tables.close(ended=kind is None)
        if self._conn is not None:
            self._conn.close()

    def look(self) -> None:
        """Report, and end what overruns. Raises CouldNotVerify ``drill.disk`` and ``drill.scratch``."""
        free = self._cluster.scratch.free_bytes()
        if free < MARGIN_BYTES:
            raise CouldNotVerify(
                "drill.disk", f"the drill filled the disk: {free >> 20} MiB are left", context={"free_bytes": free}
            )
        self._check_quota()
        assert self._conn is not None
        limit = self._cluster.settings.statement_timeout_s
        try:
            self._conn.execute(
                "SELECT CASE WHEN pg_catalog.clock_timestamp() - query_start > pg_catalog.make_interval(secs => %s)"
                " THEN pg_catalog.pg_terminate_backend(pid) ELSE pg_catalog.pg_cancel_backend(pid) END"
                " FROM pg_catalog.pg_stat_activity WHERE datname = %s AND state = 'active'"
                " AND pg_catalog.clock_timestamp() - query_start > pg_catalog.make_interval(secs => %s)",
                [limit + _TERMINATE_AFTER_S, self._prepared.dbname, limit],
            )
            row = self._conn.execute("SELECT pg_catalog.pg_database_size(%s)", [self._prepared.dbname]).fetchone()
        except psycopg.Error as e:
            raise _server_gone(e) from e
        size = row[0] if row is not None and isinstance(row[0], int) else 0
        if isinstance(self._cluster, ExternalServer):
            self._within_quota(size)
        self._on_progress(Progress(Phase.RESTORE, size, None, Unit.BYTES))
        self._tables.look()

    def _check_quota(self) -> None:
        """Raise CouldNotVerify ``drill.disk`` when the files of the drill outgrow what they may have."""
        limit = self._cluster.settings.max_scratch_bytes
        began = time.monotonic()
        if not limit or began < self._measure_at:
            return
        used = self._cluster.scratch.used_bytes()
        # a source of very many tables has very many files: looking at them must not become the work
        self._measure_at = began + 10 * (time.monotonic() - began)
        self._within_quota(used)

    def _within_quota(self, used: int) -> None:
        limit = self._cluster.settings.max_scratch_bytes
        if limit and used > limit:
            raise CouldNotVerify(
                "drill.disk",
                f"the drill wrote {used >> 20:,} MiB, and drill.max_scratch_bytes allows {limit >> 20:,} MiB",
                hint="If the database really restores to so much, set drill.max_scratch_bytes in config.toml higher.",
                context={"used_bytes": used, "limit_bytes": limit},
            )


def _refuse_forced(cluster: ExternalServer, toc: Toc) -> None:
    """Rows under FORCE ROW LEVEL SECURITY are out of the owner's sight where it may not bypass it."""
    forced = [e.name for e in toc.entries if " FORCE ROW LEVEL SECURITY" in e.definition]
    if forced:
        raise CouldNotVerify(
            "drill.external",
            f"scratch server {cluster.given.name} lets nobody bypass row security, and {forced[0]} forces it",
            hint="Give the scratch server's role BYPASSRLS (PostgreSQL 16 and newer) or superuser rights.",
        )


def _server_gone(error: psycopg.Error) -> CouldNotVerify:
    found = diagnose(str(error), Place.RESTORE)
    return CouldNotVerify(
        "drill.scratch", f"the scratch server ended during the restore: {found.words}", hint=found.hint
    )
