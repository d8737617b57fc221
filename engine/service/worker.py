"""The worker's side of the door: register, beat, reconcile, run jobs, stop.

A worker proves that it lives in two ways: a heartbeat row that everybody sees, and a locked file in the home, from
which another process on the same machine learns at once that it was killed, without waiting for leases to end.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.errors import CatalogError, OffsiteError
from engine.janitor import Janitor, hold_worker_lock, is_alive, worker_lock, worker_place
from engine.jobs import JobRunner
from engine.model import JobState, Worker
from engine.service.access import WORKER, acting_as
from engine.service.duties import Duties, Duty
from engine.service.labels import check_label
from engine.stream import memory, priority
from engine.version import VERSION

if TYPE_CHECKING:
    from engine.service import Engine

_log = logging.getLogger("offsitedb.worker")

BEAT_S = 2.0
LABELLED_AT_MOST = 64
ALIVE_WITHIN_S = 15.0
"""A worker whose last beat is older counts as dead for those who look; its jobs are judged by their leases."""


class WorkerFacet:
    """``engine.worker``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.id = secrets.token_hex(8)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock_fd: int | None = None
        self._runner: JobRunner | None = None
        self._duties = Duties(())
        self._labels: frozenset[str] = frozenset()
        self._announced: Worker | None = None
        self._room = threading.BoundedSemaphore(1)
        """One place for each job at a time."""

    def start(self, threads: int, labels: Collection[str] = ()) -> None:
        """Become a worker: settle what dead workers left, then beat and reconcile until :meth:`stop`.

        ``threads``: jobs at a time; ``labels``: besides those of the settings. Raises ConfigError ``config.invalid``.
        """
        engine = self._engine
        self._labels = frozenset((*engine.settings.worker.labels, *labels))
        for label in self._labels:
            check_label(label)
        self._room = threading.BoundedSemaphore(threads)
        memory.keep_little()
        priority.stand_back_as_session()
        self._lock_fd = hold_worker_lock(engine.paths.home, self.id)
        now = engine.clock.now()
        self._announced = Worker(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=VERSION,
            threads=threads,
            started_at=now,
            heartbeat_at=now,
            stopped_at=None,
            labels=self._labels,
            place=worker_place(engine.paths.home),
        )
        with engine.catalog.write() as tx:
            catalogs.workers.register(tx, self._announced)
        self._runner = JobRunner(
            engine.catalog,
            engine.clock,
            engine.work,
            worker_id=self.id,
            lease_s=engine.settings.worker.lease_s,
            labels=self._labels,
        )
        janitor = Janitor(
            engine.catalog, engine.clock, engine.paths, engine.wake, engine.open_storage, engine.scratch.sweep
        )
        with acting_as(WORKER):
            janitor.start_up()
        self._thread = threading.Thread(target=self._supervise, args=(janitor,), name="supervisor", daemon=True)
        self._thread.start()
        self._duties = Duties(_as_worker(duty) for duty in engine.duties)
        self._duties.start()

    def run(self, job_id: str) -> JobState | None:
        """Run one job in this thread, if it is there to be taken, as soon as there is room for one more."""
        with self._room:
            return self._run(job_id)

    def _run(self, job_id: str) -> JobState | None:
        if self._runner is None:
            return None
        with acting_as(WORKER):
            state = self._runner.run(job_id)
        memory.give_back()
        if state is not None and state.ended:
            self._wake_next(job_id)
        return state

    def stop(self, *, grace_s: float | None = None) -> None:
        """Let running jobs end within ``grace_s`` seconds (default: the setting), put the rest back, and sign off."""
        self._duties.stop()
        if self._runner is not None:
            self._runner.stop(self._engine.settings.worker.grace_s if grace_s is None else grace_s)
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            with self._engine.catalog.write() as tx:
                catalogs.workers.stop(tx, self.id, self._engine.clock.now())
            self._thread = None
        if self._lock_fd is not None:
            worker_lock(self._engine.paths.home, self.id).unlink(missing_ok=True)
            os.close(self._lock_fd)
            self._lock_fd = None

    def any_alive(self) -> bool:
        """Whether some worker has beaten lately."""
        engine = self._engine
        with engine.catalog.read() as tx:
            live = catalogs.workers.live(tx, engine.clock.now(), ALIVE_WITHIN_S)
        return any(is_alive(engine.paths.home, w) for w in live)

    def _wake_next(self, job_id: str) -> None:
        """A checkpoint that waited behind this one need not wait for the reconciler."""
        engine = self._engine
        with engine.catalog.read() as tx:
            ended = catalogs.jobs.get(tx, job_id)
            waiting = [j for j in catalogs.jobs.queued(tx) if j.connection_id == ended.connection_id]
        for job in waiting[:1]:
            engine.wake(job.id)

    def _take_labelled(self) -> None:
        """Jobs that ask for one of our labels: their message may have gone to a worker that does not bear it."""
        if not self._labels:
            return
        with self._engine.catalog.read() as tx:
            waiting = catalogs.jobs.labelled(tx, self._labels, limit=LABELLED_AT_MOST)
        for job_id in waiting:
            if not self._room.acquire(blocking=False):
                return
            threading.Thread(target=self._run_labelled, args=(job_id,), name=f"job-{job_id[:8]}", daemon=True).start()

    def _run_labelled(self, job_id: str) -> None:
        try:
            self._run(job_id)
        finally:
            self._room.release()

    def _supervise(self, janitor: Janitor) -> None:
        """Beat, and look after what others left, for as long as the worker lives: nothing that goes wrong ends it."""
        told: str | None = None
        while not self._stop.wait(BEAT_S):
            try:
                self._beat()
                with acting_as(WORKER):
                    janitor.tick()
                self._take_labelled()
                told = None
            except OffsiteError as e:
                if not e.retry and e.code != told:  # once, not every two seconds
                    _log.warning("supervisor: %s [%s] %s", e.message, e.code, e.hint)
                    told = e.code
            except Exception:  # noqa: BLE001 - the last line: a worker that beats no more would be taken for dead
                _log.exception("supervisor")

    def _beat(self) -> None:
        """Say that this worker lives; anew if it was silent for so long that another one took it for dead."""
        now = self._engine.clock.now()
        try:
            with self._engine.catalog.write() as tx:
                catalogs.workers.beat(tx, self.id, now)
        except CatalogError as e:
            if e.code != "catalog.fenced" or self._announced is None:
                raise
            with self._engine.catalog.write() as tx:
                catalogs.workers.register(tx, replace(self._announced, heartbeat_at=now))


def _as_worker(duty: Duty) -> Duty:
    """The duty, done by the worker and not by whoever started it: duties run in threads of their own."""

    def run() -> None:
        with acting_as(WORKER):
            duty.run()

    return Duty(duty.name, duty.every_s, run)
