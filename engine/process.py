"""Child processes that never outlive us and never hang us.

Every child gets its own process group, dies with the worker (PDEATHSIG on Linux, set *after* any change of user), has
no inherited PG* variable, and is killed when its cancel token fires. stderr is drained into a bounded tail, so that a
chatty child cannot block. Children must be started from a thread that outlives them: PDEATHSIG fires when the spawning
thread ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from engine.cancel import CancelToken
from engine.redact import redact

_TAIL_LINES = 200
_KILL_GRACE_S = 1.5  # a cancel is honoured within 2 s


@dataclass(frozen=True, slots=True)
class RunAs:
    """The OS user a child runs as. None anywhere means: as we are."""

    name: str
    uid: int
    gid: int


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small environment without inherited PG*, OFFSITEDB* or cloud variables; ``extra`` on top."""
    keep = {k: v for k, v in os.environ.items() if k in ("PATH", "TZ", "TMPDIR", "SYSTEMROOT", "SSL_CERT_FILE")}
    keep.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    keep["LC_ALL"] = "C.UTF-8" if sys.platform == "linux" else "C"
    keep["LC_MESSAGES"] = "C"  # messages are classified by text
    keep.update(extra or {})
    return keep


def dying_with_us(argv: Sequence[str], *, run_as: RunAs | None = None) -> list[str]:
    """``argv`` behind ``setpriv`` so that it changes user first, gains no privileges, and dies with its parent.

    Where there is no setpriv (not Linux) the child is started as it is; process groups and the cancel token remain.
    """
    setpriv = shutil.which("setpriv", path=os.environ.get("PATH", "") + ":/usr/bin:/bin")
    if setpriv is None:
        return list(argv)
    flags = ["--no-new-privs", "--pdeathsig", "KILL"]
    if run_as is not None and os.geteuid() == 0:
        flags += [f"--reuid={run_as.uid}", f"--regid={run_as.gid}", "--clear-groups", "--inh-caps=-all"]
    return [setpriv, *flags, "--", *argv]


class Child:
    """A started child with a drained stderr. Use :func:`spawn`, which also ends it."""

    def __init__(self, popen: subprocess.Popen[bytes], name: str) -> None:
        self.name = name
        self._popen = popen
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._drain = threading.Thread(target=self._drain_stderr, name=f"stderr-{name}", daemon=True)
        if popen.stderr is not None:
            self._drain.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def stdout(self) -> IO[bytes]:
        assert self._popen.stdout is not None
        return self._popen.stdout

    @property
    def stdin(self) -> IO[bytes]:
        assert self._popen.stdin is not None
        return self._popen.stdin

    def read_into(self, room: memoryview) -> int:
        """Put into ``room`` what there is of stdout, as soon as there is anything; 0 at its end."""
        return os.readv(self.stdout.fileno(), [room])

    def poll(self) -> int | None:
        return self._popen.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """Exit status; negative = ended by that signal. Raises subprocess.TimeoutExpired."""
        status = self._popen.wait(timeout_s)
        if self._drain.is_alive():
            self._drain.join(_KILL_GRACE_S)
        return status

    def stderr_tail(self) -> str:
        """The last lines of stderr so far, redacted."""
        return redact("\n".join(self._tail))

    def kill(self) -> None:
        """Kill the child's process group. Safe to call at any time, also from a cancel callback."""
        if self._popen.poll() is None:
            _signal_group(self._popen.pid, signal.SIGKILL)

    def end(self, grace_s: float = _KILL_GRACE_S) -> None:
        """TERM, ``grace_s`` seconds of grace, then KILL; returns when the child is gone."""
        if self._popen.poll() is None:
            _signal_group(self._popen.pid, signal.SIGTERM)
            try:
                self._popen.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
                self._popen.wait()
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
        if self._drain.is_alive():
            self._drain.join(_KILL_GRACE_S)
        if self._popen.stderr is not None and not self._drain.is_alive():
            self._popen.stderr.close()

    def _drain_stderr(self) -> None:
        assert self._popen.stderr is not None
        for line in self._popen.stderr:
            self._tail.append(line.decode("utf-8", "replace").rstrip("\n"))


@contextmanager
def spawn(
    argv: Sequence[str | Path],
    *,
    name: str,
    cancel: CancelToken,
    env: Mapping[str, str] | None = None,
    run_as: RunAs | None = None,
    pass_fds: Sequence[int] = (),
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = subprocess.PIPE,
    cwd: Path | str = "/",
    pipe_bytes: int = -1,
) -> Iterator[Child]:
    """Start ``argv`` and end it, whatever happens in the block. ``env`` replaces the environment.

    ``pipe_bytes`` sets the size of the pipes (Linux; default: the system's). Raises OSError when it cannot be
    started, and the token's error when the token is already cancelled.
    """
    cancel.check()
    popen = subprocess.Popen(
        dying_with_us([str(a) for a in argv], run_as=run_as),
        env=dict(env) if env is not None else clean_environment(),
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        pass_fds=pass_fds,
        start_new_session=True,
        cwd=cwd,
        pipesize=pipe_bytes if sys.platform == "linux" else -1,
    )
    child = Child(popen, name)
    try:
        with cancel.on_cancel(child.kill):
            yield child
    finally:
        child.end()


@dataclass(frozen=True, slots=True)
class Finished:
    """A child that ran to its end."""

    status: int
    stdout: bytes
    stderr: str


def run(
    argv: Sequence[str | Path],
    *,
    name: str,
    cancel: CancelToken,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    run_as: RunAs | None = None,
    stdin: bytes | None = None,
    pass_fds: Sequence[int] = (),
    cwd: Path | str = "/",
) -> Finished:
    """Run ``argv`` to its end and collect its output. Raises subprocess.TimeoutExpired after ``timeout_s`` seconds."""
    stdin_to = subprocess.PIPE if stdin is not None else subprocess.DEVNULL
    with spawn(
        argv, name=name, cancel=cancel, env=env, run_as=run_as, pass_fds=pass_fds, stdin=stdin_to, cwd=cwd
    ) as child:
        chunks: list[bytes] = []
        reader = threading.Thread(target=lambda: chunks.append(child.stdout.read()), name=f"stdout-{name}", daemon=True)
        reader.start()
        if stdin is not None:
            try:
                child.stdin.write(stdin)
                child.stdin.close()
            except BrokenPipeError:
                pass  # the child's own exit status and stderr say why
        status = child.wait(timeout_s)
        reader.join(_KILL_GRACE_S)
        cancel.check()
        return Finished(status, b"".join(chunks), child.stderr_tail())


def _signal_group(pid: int, signum: int) -> None:
    try:
        os.killpg(pid, signum)
    except (ProcessLookupError, PermissionError):
        # gone already, or the group now belongs to another user (setuid): the leader itself is still ours to signal
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            return
