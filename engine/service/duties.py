"""What a worker does by itself, beside the jobs: each duty is a look that is taken again and again, in its own thread.

A duty is safe to run in several workers at once (what it decides, it decides in one transaction of the catalog), and it
never takes the worker down: what it cannot do now is said in the worker's log and tried again at its next turn.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engine.errors import OffsiteError

_log = logging.getLogger("offsitedb.worker")


@dataclass(frozen=True, slots=True)
class Duty:
    """``run`` is called every ``every_s`` seconds, first when the worker starts."""

    name: str
    every_s: float
    run: Callable[[], None]


class Duties:
    """The duties of one worker process while it lives."""

    def __init__(self, duties: Iterable[Duty]) -> None:
        self._duties = tuple(duties)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._threads = [
            threading.Thread(target=self._do, args=(duty,), name=f"duty-{duty.name}", daemon=True)
            for duty in self._duties
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, within_s: float = 5.0) -> None:
        """Begin no duty any more and wait for those under way, ``within_s`` seconds in all but no longer."""
        self._stop.set()
        for thread in self._threads:
            thread.join(within_s / max(len(self._threads), 1))

    def _do(self, duty: Duty) -> None:
        told: str | None = None
        while not self._stop.is_set():
            try:
                duty.run()
                told = None
            except OffsiteError as e:
                if e.code != told:  # once, not every few seconds
                    _log.warning("%s: %s [%s] %s", duty.name, e.message, e.code, e.hint)
                told = e.code
            except Exception:  # noqa: BLE001 - the last line: the other duties and the jobs go on
                _log.exception("%s", duty.name)
            self._stop.wait(duty.every_s)
