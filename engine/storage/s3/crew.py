"""A few daemon threads that talk to the bucket, so that whoever waits for them can stop waiting.

A request that hangs ends at its timeout and not before; a job that was cancelled, or a process that ends, must not wait
for that. So nobody joins these threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

from engine.cancel import CancelToken

T = TypeVar("T")


class Crew:
    """At most ``size`` threads, started when there is work. ``close`` lets them end after what they have."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Have ``call`` run; its result or error is in the future."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call()
            except BaseException as e:  # noqa: BLE001 - handed on to whoever waits
                future.set_exception(e)
            else:
                future.set_result(result)

        self._work.put(run)
        if len(self._threads) < self._size:
            thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def close(self) -> None:
        for _ in self._threads:
            self._work.put(None)

    def _serve(self) -> None:
        while (call := self._work.get()) is not None:
            call()


def result_of(future: Future[T], cancel: CancelToken) -> T:
    """What the future holds once it is done. Raises its error, and the token's at once when that is cancelled."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    with cancel.on_cancel(done.set):
        done.wait()
    cancel.check()
    return future.result()
