"""A worker for as long as a console lasts, for people who have not set up a service yet.

It is the ordinary worker in a process of its own. When the console goes, however it goes, the pipe between them closes
and the worker stops by itself; nobody waits. It lets its job end within the grace period, or puts it back in the queue.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from engine.errors import Internal
from engine.service import Engine

_DIES_S = 0.5


class SessionWorker:
    """At most one child process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.argv = [sys.executable, "-m", "offsitedb_tui", "worker", "--until-stdin-ends"]
        self.pass_fds: tuple[int, ...] = ()

    def start(self, engine: Engine) -> str:
        """Start it; what was started, in words. Its own words go to the home's log. Raises Internal."""
        engine.paths.logs.mkdir(exist_ok=True, mode=0o700)
        log_path = engine.paths.logs / "worker.log"
        fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.PIPE,
                stdout=fd,
                stderr=fd,
                cwd=engine.paths.home,
                start_new_session=True,  # the terminal's ^C and hang-up are not for it
                pass_fds=self.pass_fds,
            )
        finally:
            os.close(fd)
        try:
            status = self._process.wait(_DIES_S)
        except subprocess.TimeoutExpired:
            return f"a worker for this session starts (process {self._process.pid})"
        raise Internal("internal.error", f"the worker ended at once with status {status}; see {log_path}")

    def let_go(self) -> None:
        """Tell it to stop; it does so by itself."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
