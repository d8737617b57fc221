"""Cancellation: one token per job that every stage looks at, and that wakes whoever waits on it.

The token never kills anything itself. Rooms that own children or sockets register a callback; it runs at once, in the
thread that cancels, and must not block.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from engine.errors import Cancelled, OffsiteError


class CancelToken:
    """Set once, never cleared. The first error given wins."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._error: OffsiteError | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    @property
    def error(self) -> OffsiteError | None:
        """Why, once cancelled."""
        return self._error

    def cancel(self, error: OffsiteError | None = None) -> None:
        """Cancel with ``error`` (default: ``job.cancelled``). Later calls change nothing."""
        with self._lock:
            if self._event.is_set():
                return
            self._error = error or Cancelled("job.cancelled", "the job was cancelled")
            callbacks = list(self._callbacks)
            self._event.set()
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Raise the error that the token was cancelled with, if it was."""
        if self._event.is_set():
            assert self._error is not None
            raise self._error

    def wait(self, timeout_s: float) -> bool:
        """Wait up to ``timeout_s`` seconds; True if cancelled meanwhile."""
        return self._event.wait(timeout_s)

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """Run ``callback`` if the token is cancelled inside the block (at once if it already is)."""
        with self._lock:
            already = self._event.is_set()
            if not already:
                self._callbacks.append(callback)
        if already:
            callback()
        try:
            yield
        finally:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)
