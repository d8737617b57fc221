"""pg_dump of an exported snapshot, and beside it the exact row counts of the same instant.

The room refuses to compress, seal or store: it hands out pg_dump's stdout and, at the end, the counts. What makes both
true is in ``engine.postgres.export``.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from engine.cancel import CancelToken
from engine.clock import Clock
from engine.errors import OffsiteError, SourceError
from engine.model import Isolation, Structure, TableCount
from engine.postgres import passfile
from engine.postgres.conninfo import Conninfo
from engine.postgres.diagnosis import NOWHERE, diagnose
from engine.postgres.export import ATTEMPTS, open_exporter
from engine.postgres.exported import ExportedSnapshot, Plan
from engine.postgres.isolation import Sandbox, choose
from engine.postgres.rule import Place, Surroundings
from engine.postgres.tools import Toolset, environment
from engine.process import Child, clean_environment, spawn

_PING_S = 10.0
_END_S = 10.0
_PIPE_BYTES = 1 << 20
_OUTPUT_BYTES = 1 << 18
"""What pg_dump collects before it writes; by itself it makes a system call, and wakes its reader, every 4 KiB."""
_ECHO = re.compile(r"detail: (?:Query|Command) was: ")
"""pg_dump repeats its statement: a rule reads the table out of it, and nobody else needs it."""


@contextmanager
def start_dump(
    conninfo: Conninfo,
    first: Plan,
    toolset: Toolset,
    *,
    application_name: str,
    lock_timeout_s: float,
    clock: Clock,
    cancel: CancelToken,
    on_answer: Callable[[], None],
) -> Iterator[tuple[ExportedSnapshot, Child]]:
    """An exported snapshot and pg_dump of it, which holds its locks; starts over when a table was rewritten before.

    Custom format, uncompressed, on the child's stdout. Use :func:`finish_dump` to learn whether the stream was whole.
    ``on_answer`` as in ``open_exporter``. Raises SourceError: ``pg.lock-timeout`` naming who holds the lock,
    ``pg.schema-changing``, ``pg.snapshot-lost``.
    """
    plan = first
    with open_exporter(
        conninfo,
        application_name=application_name,
        lock_timeout_s=lock_timeout_s,
        clock=clock,
        cancel=cancel,
        on_answer=on_answer,
    ) as exporter:
        for _ in range(ATTEMPTS):
            exported = exporter.export(plan)
            with ExitStack() as stack:
                child = stack.enter_context(
                    _spawn(exported, conninfo, toolset, application_name, lock_timeout_s, cancel)
                )
                if exporter.admit(exported, child):
                    yield exported, child
                    return
            plan = exported.plan
        raise SourceError(
            "pg.schema-changing",
            f"tables were truncated or rewritten during each of {ATTEMPTS} attempts to start pg_dump",
            retry=True,
        )


@contextmanager
def _spawn(
    exported: ExportedSnapshot,
    conninfo: Conninfo,
    toolset: Toolset,
    application_name: str,
    lock_timeout_s: float,
    cancel: CancelToken,
) -> Iterator[Child]:
    """The password goes through a sealed memfd, host and database through the environment: nothing is on argv.

    The address is the one that the exporter reached: the snapshot exists on that server alone, and a name that only a
    service of this host can resolve could not be looked up in the sandbox.
    """
    program: list[str] = [
        *_with_larger_output(),
        str(toolset.bindir / "pg_dump"),
        "-Fc",
        "-Z0",
        "--no-password",
        f"--lock-wait-timeout={int(lock_timeout_s * 1000)}",
        # libpq has no environment variables for these; where the argument is silent the environment still counts
        "--dbname=" + " ".join(f"{name}={value}" for name, value in passfile.KEEPALIVE.items()),
        *exported.plan.flags,
    ]
    if exported.snapshot_id is not None:
        program.append(f"--snapshot={exported.snapshot_id}")
    argv = sandboxed(program, conninfo, toolset)
    with passfile.password_file(conninfo) as handed:
        env = clean_environment(
            environment(toolset)
            | passfile.libpq_environment(conninfo, passfile_path=handed.path, application_name=application_name)
            | exported.address()
        )
        with spawn(
            argv, name="pg_dump", cancel=cancel, env=env, pass_fds=handed.pass_fds, pipe_bytes=_PIPE_BYTES
        ) as child:
            yield child


def sandbox_for(conninfo: Conninfo) -> Sandbox:
    """What pg_dump runs in: the drill's kind of sandbox, with network, as our own user; none where that cannot reach
    the source (a socket that only root's capabilities reach)."""
    sandbox = choose(required=False, drill_user=None)
    socket = _socket_directory(conninfo)
    if socket is not None and not _enters(socket):
        return Sandbox(Isolation(sandbox.facts.user, "host", "none"), None)
    return sandbox


def sandboxed(argv: Sequence[str], conninfo: Conninfo, toolset: Toolset) -> list[str]:
    """``argv`` in it. It sees PostgreSQL's programs, the CA file and the socket, and may write nowhere."""
    seen = [toolset.bindir.parent, toolset.libdir, _socket_directory(conninfo)]
    seen.append(Path(conninfo.ca_file) if conninfo.ca_file and Path(conninfo.ca_file).is_file() else None)
    readable = tuple(sorted({path for path in seen if path is not None}))
    return sandbox_for(conninfo).wrap(argv, writable=(), readable=readable, network=True)


def _socket_directory(conninfo: Conninfo) -> Path | None:
    host = conninfo.host or ""
    return Path(host) if host.startswith("/") else None


def _enters(directory: Path) -> bool:
    """Whether our user may pass through ``directory`` without root's capabilities, which the sandbox takes away."""
    try:
        stat = directory.stat()
    except OSError:
        return False
    if os.geteuid() != 0:
        return os.access(directory, os.X_OK)
    mine = 0o100 if stat.st_uid == 0 else 0o010 if stat.st_gid == 0 else 0o001
    return bool(stat.st_mode & mine)


def _with_larger_output() -> list[str]:
    """What to put before a program so that its stdout has a larger buffer; nothing where that cannot be had."""
    stdbuf = shutil.which("stdbuf", path="/usr/bin:/bin") if sys.platform == "linux" else None
    return [] if stdbuf is None else [stdbuf, f"--output={_OUTPUT_BYTES}"]


def finish_dump(child: Child, near: Surroundings = NOWHERE) -> None:
    """Wait for pg_dump after its stdout ended. Raises SourceError with what its words mean, and the words.

    ``pg.dump-failed`` where no rule knows them. ``near``: what a rule may say about the source.
    A pg_dump that still has something to write when nobody reads any more is ended after ten seconds.
    """
    try:
        status = child.wait(_END_S)
    except subprocess.TimeoutExpired:
        child.end()
        status = child.wait()
    if status == 0:
        return
    if status > 128:
        status = 128 - status  # a sandbox reports the signal that ended its program in this way
    stderr = child.stderr_tail()
    how = f"exit status {status}" if status > 0 else f"ended by signal {-status}"
    found = diagnose(stderr, Place.DUMP, near, point=_last_words(stderr))
    said = f"{how}: {found.words or 'no message'}"
    hint = found.hint
    if status == -signal.SIGKILL and found.rule is None:
        hint = "Look for an out-of-memory kill on this machine (`dmesg | grep -i 'killed process'`), then try again."
    raise SourceError(
        found.code or "pg.dump-failed",
        f"{found.sentence} (pg_dump, {said})"
        if found.sentence
        else f"pg_dump failed ({how}): {found.words or 'no message'}",
        hint=hint,
        context={"status": status},
        retry=found.retry,
    )


class Counting:
    """Counts in a thread of their own beside the dump, then keeps the exporting session alive until told to stop."""

    def __init__(
        self, exported: ExportedSnapshot, child: Child, cancel: CancelToken, *, fingerprint: bool = False
    ) -> None:
        self._fingerprint = fingerprint
        self._exported = exported
        self._child = child
        self._cancel = cancel
        self._stop = threading.Event()
        self._result: tuple[TableCount, ...] | None = None
        self._structure: Structure | None = None
        self._error: OffsiteError | None = None
        self._thread = threading.Thread(target=self._run, name="row-counts", daemon=True)

    def __enter__(self) -> Counting:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        if error is not None and not self._result:
            self._exported.hang_up()  # nobody waits for the counts of a dump that failed
        self._thread.join()

    def check(self) -> None:
        """Raise what went wrong with the counts so far: it has ended pg_dump, whose own words then say less."""
        if self._error is not None:
            raise self._error

    def result(self) -> tuple[TableCount, ...]:
        """The counts, once the dump has ended well. Waits for the rest; a lost session or failed count raises."""
        self._stop.set()
        self._thread.join()
        self.check()
        self._exported.ping()
        assert self._result is not None
        return self._result

    def structure(self) -> Structure:
        """What the dump holds besides rows; to be asked after :meth:`result`. Raises SourceError."""
        assert self._structure is not None
        return self._exported.structure_after(self._structure)

    def _run(self) -> None:
        try:
            self._structure = self._exported.structure()
            self._result = self._exported.count(self._cancel, fingerprint=self._fingerprint)
            while not self._stop.wait(_PING_S):
                self._exported.ping()
        except OffsiteError as e:
            self._error = e
            self._child.kill()  # the dump without its counts is worth nothing: end it now


def _last_words(stderr: str) -> str:
    """pg_dump's own error lines, without its "query was" echoes of long statements."""
    lines = [line.removeprefix("pg_dump: ") for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("error:", "detail:")) and not _ECHO.match(line)]
    return "; ".join(errors or lines[-3:])[:1000]
