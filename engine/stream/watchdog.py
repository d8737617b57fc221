"""The watchdog of a stream: a run that moves no byte is ended, so that a stale dump never holds locks for hours."""

from __future__ import annotations

import threading
import time

from engine.cancel import CancelToken
from engine.errors import Cancelled


class Watchdog:
    """In its block: cancels the token with ``job.stalled`` when nothing was touched for ``timeout_s`` seconds."""

    def __init__(self, cancel: CancelToken, timeout_s: float) -> None:
        self._cancel = cancel
        self._timeout_s = timeout_s
        self._over = threading.Event()
        self._touched_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="stall-watchdog", daemon=True)

    def touch(self) -> None:
        """A byte moved. Cheap, and callable from any thread."""
        self._touched_at = time.monotonic()

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        left_s = self._timeout_s
        while not self._over.wait(left_s):
            left_s = self._touched_at + self._timeout_s - time.monotonic()
            if left_s <= 0:
                self._cancel.cancel(Cancelled("job.stalled", f"no byte moved for {self._timeout_s:g} s"))
                return
