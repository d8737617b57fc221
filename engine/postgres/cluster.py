"""A throw-away PostgreSQL server for one drill: no network, no durability, its own OS user, gone with its directory.

The server runs in the foreground as our child, so that it dies with us. Its superuser belongs to us alone and only
prepares; what comes out of an archive is replayed and read by a role without privileges (``engine.postgres.prepare``).
The room refuses to reuse a cluster, and to listen anywhere but on a socket inside the private directory.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg

from engine.cancel import CancelToken
from engine.config import DrillSettings
from engine.errors import CouldNotVerify
from engine.postgres import template
from engine.postgres.diagnosis import diagnose
from engine.postgres.extensions import DATABASE
from engine.postgres.isolation import Sandbox
from engine.postgres.rule import Place
from engine.postgres.scratch import SOCKET_PORT, ScratchDir, end_survivors
from engine.process import Child, clean_environment, run, spawn

SUPERUSER = "offsitedb_scratch"
MARGIN_BYTES = 256 << 20
"""Disk space that a drill leaves to the rest of the host; a drill that comes this near to the end is stopped."""

_NAMELESS = (
    "PostgreSQL runs only as a user with a name. Install bubblewrap on this host, in which the drill gives it one, or"
    " give the OS user of the worker an entry in /etc/passwd."
)
_CLUSTER_BYTES = 64 << 20  # an empty cluster with its first WAL segments
_INITDB_TIMEOUT_S = 120.0
_START_TIMEOUT_S = 60.0
_START_LOOK_S = 0.05
_STOP_TIMEOUT_MS = 6_000  # the server kills its own backends 5 s after SIGQUIT
_MOST_BUILDERS = 2
"""Helpers of one index build at the most; PostgreSQL's own default."""
_MERGE = ("/bin/sh", "-c", 'exec "$@" 2>&1', "sh")  # a fixed text: the program comes as arguments
_SETTINGS = {
    # a scratch cluster has nothing to survive a crash for
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "32GB",
    "shared_buffers": "256MB",
    "wal_buffers": "64MB",
    "jit": "off",
    # reach and privacy
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(SOCKET_PORT),
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
    "lc_messages": "C",  # messages are classified by text
    # one transaction may create every table of the archive
    "max_locks_per_transaction": "4096",
    "max_connections": "40",
}


class ServerPrograms(Protocol):
    """PostgreSQL programs of one major: where they and their files are, and their libraries if the system does not
    find them."""

    @property
    def bindir(self) -> Path: ...
    @property
    def libdir(self) -> Path | None: ...
    @property
    def sharedir(self) -> Path | None: ...
    @property
    def major(self) -> int: ...
    @property
    def version(self) -> str: ...


@dataclass(frozen=True, slots=True)
class ScratchCluster:
    """A running scratch server."""

    scratch: ScratchDir
    toolset: ServerPrograms
    sandbox: Sandbox
    settings: DrillSettings
    server_version: str
    system_identifier: str

    def connect(
        self, dbname: str = "postgres", *, user: str = SUPERUSER, path: str = ""
    ) -> psycopg.Connection[tuple[object, ...]]:
        """An autocommit session. As superuser never enter a database that an archive was replayed into.

        ``path``: its search_path, empty but in a database that holds nothing yet.

        Raises psycopg.Error.
        """
        return _connect(self.scratch, dbname, user, path)

    def program(self, name: str, *arguments: str | Path, merged: bool = False) -> list[str]:
        """argv of one of the toolset's programs inside the sandbox.

        ``merged``: what it writes to stderr arrives on its stdout, where all of it can be read and not only a tail.
        """
        return _sandboxed(self.scratch, self.toolset, self.sandbox, name, *arguments, merged=merged)

    @property
    def database(self) -> str:
        """The database that an archive is replayed into."""
        return DATABASE

    @property
    def pass_fds(self) -> tuple[int, ...]:
        """Descriptors that its programs inherit: none, there is no password."""
        return ()

    def environment(self) -> dict[str, str]:
        """Environment for programs that connect to this server as nobody in particular."""
        return _environment(self.scratch, self.toolset) | {
            "PGHOST": str(self.scratch.path),
            "PGPORT": str(SOCKET_PORT),
            "PGSSLMODE": "disable",
            "PGCONNECT_TIMEOUT": "30",
        }


def check_disk(root: Path, source_bytes: int) -> None:
    """Refuse a drill that cannot fit: ``source_bytes`` (size of what was dumped) and a margin must be free at ``root``.

    Raises CouldNotVerify ``drill.disk``.
    """
    stat = os.statvfs(root)
    free = stat.f_bavail * stat.f_frsize
    needed = source_bytes + _CLUSTER_BYTES + MARGIN_BYTES
    if free < needed:
        raise CouldNotVerify(
            "drill.disk",
            f"the drill needs about {_mib(needed)} below the scratch directory, and {_mib(free)} are free",
            context={"needed_bytes": needed, "free_bytes": free},
        )


@contextmanager
def scratch_cluster(
    scratch: ScratchDir,
    toolset: ServerPrograms,
    *,
    sandbox: Sandbox,
    cancel: CancelToken,
    settings: DrillSettings,
    templates: Path | None = None,
    more_settings: Mapping[str, str] | None = None,
) -> Iterator[ScratchCluster]:
    """A server in ``scratch`` that accepts connections, stopped after the block with all its processes.

    ``templates``: a private directory on the same file system where initialised data directories are kept.
    ``more_settings``: server settings on top of ours (what extensions need at the start).

    Raises CouldNotVerify ``drill.scratch`` with the server's own words.
    """
    _make_data(scratch, toolset, sandbox, cancel, templates)
    # every process of the server inherits one end of the pipe: end of file on the other says that all are gone
    alive, held = os.pipe()
    try:
        try:
            with _spawn_server(scratch, toolset, sandbox, cancel, held, settings.jobs, more_settings or {}) as child:
                os.close(held)
                held = -1
                try:
                    version, identifier = _wait_ready(scratch, child, cancel)
                    yield ScratchCluster(scratch, toolset, sandbox, settings, version, identifier)
                finally:
                    _stop(child, sandbox, alive)
        finally:
            _wait_gone(alive, scratch)
    finally:
        os.close(alive)
        if held >= 0:
            os.close(held)


@contextmanager
def _spawn_server(
    scratch: ScratchDir,
    toolset: ServerPrograms,
    sandbox: Sandbox,
    cancel: CancelToken,
    held: int,
    jobs: int,
    more: Mapping[str, str],
) -> Iterator[Child]:
    options = (
        _SETTINGS
        | dict(more)
        | {
            "unix_socket_directories": str(scratch.path),
            "max_parallel_maintenance_workers": str(builders(jobs, _cores())),
        }
    )
    arguments = [a for key, value in options.items() for a in ("-c", f"{key}={value}")]
    argv = _sandboxed(scratch, toolset, sandbox, "postgres", "-D", scratch.data, *arguments)
    env = _environment(scratch, toolset)
    try:
        with spawn(
            argv,
            name="scratch-server",
            cancel=cancel,
            env=env,
            run_as=sandbox.spawn_as,
            pass_fds=(held,),
            stdout=subprocess.DEVNULL,
        ) as child:
            yield child
    except OSError as e:
        raise CouldNotVerify("drill.scratch", f"the scratch server could not be started: {e}") from e


def builders(jobs: int, cores: int) -> int:
    """Helpers that an index build may have when ``jobs`` of them run: what the sessions of pg_restore leave.

    On cores that are taken already they only cut memory and sort in smaller pieces: a tenth more work in all.
    """
    return min(_MOST_BUILDERS, max(0, cores // jobs - 1))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make_data(
    scratch: ScratchDir, toolset: ServerPrograms, sandbox: Sandbox, cancel: CancelToken, templates: Path | None
) -> None:
    """An initialised data directory: from the template, or by initdb, which then becomes the template."""
    kept = template.template_of(templates, toolset.bindir, toolset.version) if templates is not None else None
    if kept is not None and kept.exists():
        try:
            template.copy(kept, scratch.data, scratch.run_as)
            return
        except OSError as e:
            raise CouldNotVerify("drill.scratch", f"the scratch cluster's files could not be copied: {e}") from e
    _initdb(scratch, toolset, sandbox, cancel)
    if kept is None:
        return
    with suppress(OSError):  # without a template the next drill runs initdb again
        template.keep(scratch.data, kept, scratch.path)


def _initdb(scratch: ScratchDir, toolset: ServerPrograms, sandbox: Sandbox, cancel: CancelToken) -> None:
    arguments: list[str | Path] = ["-D", scratch.data, "-U", SUPERUSER, "--auth=trust", "-E", "UTF8", "--locale=C"]
    arguments += ["--no-sync", "--no-instructions"]
    argv = _sandboxed(scratch, toolset, sandbox, "initdb", *arguments)
    try:
        finished = run(
            argv,
            name="initdb",
            cancel=cancel,
            timeout_s=_INITDB_TIMEOUT_S,
            env=_environment(scratch, toolset),
            run_as=sandbox.spawn_as,
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise CouldNotVerify("drill.scratch", f"initdb could not be run: {e}") from e
    if finished.status != 0:
        raise CouldNotVerify(
            "drill.scratch",
            f"initdb failed (exit status {finished.status}): {_last_lines(finished.stderr)}",
            hint=_NAMELESS if "could not look up effective user ID" in finished.stderr else None,
            context={"version": toolset.version, "sandbox": sandbox.facts.sandbox},
        )


def _wait_ready(scratch: ScratchDir, child: Child, cancel: CancelToken) -> tuple[str, str]:
    """Version and system identifier of the server, as soon as it answers."""
    last = "no answer"
    for _ in range(int(_START_TIMEOUT_S / _START_LOOK_S)):
        cancel.check()
        status = child.poll()
        if status is not None:
            said = _last_lines(child.stderr_tail())
            found = diagnose(said, Place.RESTORE)
            why = f": {found.message}" if found.host else f" (exit status {status}): {said}"
            raise CouldNotVerify("drill.scratch", f"the scratch server ended at once{why}", hint=found.hint)
        try:
            with _connect(scratch, "postgres", SUPERUSER) as conn:
                row = conn.execute(
                    "SELECT pg_catalog.current_setting('server_version'), system_identifier::pg_catalog.text"
                    " FROM pg_catalog.pg_control_system()"
                ).fetchone()
                assert row is not None
                return str(row[0]), str(row[1])
        except psycopg.OperationalError as e:
            last = str(e).strip()
        cancel.wait(_START_LOOK_S)
    raise CouldNotVerify("drill.scratch", f"the scratch server did not answer within {_START_TIMEOUT_S:g} s: {last}")


def _stop(child: Child, sandbox: Sandbox, alive: int) -> None:
    """End the server without asking for a checkpoint: nothing of it is kept."""
    if child.poll() is not None:
        return
    if sandbox.takes_all_along:
        child.kill()
        return
    os.kill(child.pid, signal.SIGQUIT)  # an immediate shutdown also ends the backends, which have groups of their own
    _at_end(alive, _STOP_TIMEOUT_MS)


def _wait_gone(alive: int, scratch: ScratchDir) -> None:
    if not _at_end(alive, _STOP_TIMEOUT_MS):
        end_survivors(scratch.path)


def _at_end(alive: int, timeout_ms: int) -> bool:
    poller = select.poll()
    poller.register(alive, select.POLLHUP)
    return bool(poller.poll(timeout_ms))


def _connect(scratch: ScratchDir, dbname: str, user: str, path: str = "") -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=str(scratch.path),
        port=SOCKET_PORT,
        dbname=dbname,
        user=user,
        autocommit=True,
        connect_timeout=30,
        sslmode="disable",
        gssencmode="disable",
        client_encoding="UTF8",
        options=f"-c search_path={path} -c statement_timeout=0 -c lock_timeout=0 -c row_security=off",
    )


def _sandboxed(
    scratch: ScratchDir,
    toolset: ServerPrograms,
    sandbox: Sandbox,
    name: str,
    *arguments: str | Path,
    merged: bool = False,
) -> list[str]:
    readable = {toolset.bindir.parent, *(p for p in (toolset.libdir, toolset.sharedir) if p is not None)}
    argv: Sequence[str | Path] = (*(_MERGE if merged else ()), toolset.bindir / name, *arguments)
    return sandbox.wrap(argv, writable=(scratch.path,), readable=tuple(sorted(readable)), passwd=scratch.passwd)


def _environment(scratch: ScratchDir, toolset: ServerPrograms) -> dict[str, str]:
    extra = {"HOME": str(scratch.path), "TMPDIR": str(scratch.path)}
    if toolset.libdir is not None:
        extra["LD_LIBRARY_PATH"] = str(toolset.libdir)
    return clean_environment(extra)


def _last_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines[-4:])[:1000] or "no message"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"
