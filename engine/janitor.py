"""What dead workers left, put right: jobs, half-written objects, scratch clusters, lost wake-ups.

Everything here is safe to run at any time, by several workers at once: it touches only what provably belongs to nobody
(a lease that ended, a lock that is free), and a job's next claim fences whoever held it before.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from engine import catalog as catalogs
from engine.catalog import Catalog
from engine.clock import Clock
from engine.errors import OffsiteError
from engine.evidence import chain
from engine.model import Destination, Job, JobState, Worker
from engine.paths import Paths
from engine.postgres import scratch
from engine.snapshot import remove_attempt, take_back_uploads
from engine.storage.base import Storage, Unfinished

WAKE_AGAIN_S = 10.0
"""A queued job whose message may have been lost is woken again after this long."""
RETRY_BLOCKED_S = 30.0
"""How often a job that waits for the master key looks whether it is there."""
SWEEP_EVERY_S = 24 * 3600.0
"""How often every destination is looked through for uploads that nobody will finish; and when a worker starts."""
FORGET_S = 24 * 3600.0
"""A worker that was not heard of for this long is written off, wherever it ran."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
SWEEP_AGAIN_S = 1800.0
"""How long after a sweep that could not reach every destination the next one comes."""


class Janitor:
    """One per worker. ``wake`` hands a job id to the queue, ``sweep_given`` looks after servers given to drills."""

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        paths: Paths,
        wake: Callable[[str], None],
        open_storage: Callable[[Destination], Storage],
        sweep_given: Callable[[], None],
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._paths = paths
        self._wake = wake
        self._open_storage = open_storage
        self._sweep_given = sweep_given
        self._woken: dict[str, float] = {}
        self._sweep_at = 0.0
        """By the monotonic clock."""

    def start_up(self) -> None:
        """Once, when a worker starts: all of :meth:`tick`, and the leftovers on disk."""
        self.tick()
        scratch.sweep(self._paths.scratch)
        _beside(self._sweep_given)

    def tick(self) -> None:
        """Release what dead workers hold, and wake what waits.

        What is done at destinations is done in a thread beside: a bucket or a network mount may hang, and whoever
        calls this has a heartbeat to keep.
        """
        now = self._clock.now()
        with self._catalog.read() as tx:
            open_ = [w for w in catalogs.workers.list_all(tx) if w.stopped_at is None]
        silent = [w for w in open_ if (now - w.heartbeat_at).total_seconds() > FORGET_S]
        dead = [w for w in open_ if w in silent or not is_alive(self._paths.home, w)]
        with self._catalog.write() as tx:
            for worker in dead:
                catalogs.workers.stop(tx, worker.id, now)
                catalogs.jobs.end_leases(tx, worker.id, now)
            expired = catalogs.jobs.expire(tx, now)
            for job in expired:
                if job.state.ended:
                    chain.append_event(
                        tx,
                        self._clock,
                        actor="janitor",
                        kind="job.ended",
                        subject=job.id,
                        data={
                            "job": job.kind.value,
                            "connection": job.connection_id,
                            "state": job.state.value,
                            "error": job.error.code if job.error is not None else None,
                        },
                    )
        unregistered = [job for job in expired if job.object_key is not None]
        if unregistered:
            _beside(lambda: self._clear_attempts(unregistered))
        if expired:
            scratch.sweep(self._paths.scratch)
            _beside(self._sweep_given)
        self._wake_waiting()
        if self._clock.monotonic() >= self._sweep_at:
            self._sweep_at = self._clock.monotonic() + SWEEP_EVERY_S
            _beside(self._sweep_destinations)

    def _sweep_destinations(self) -> None:
        with self._catalog.read() as tx:
            destinations = catalogs.destinations.list_all(tx)
            ended = catalogs.jobs.list_unregistered(tx)
        self._clear_attempts(ended)
        for destination in destinations:
            try:
                swept = self._open_storage(destination).sweep(now=self._clock.now())
            except OffsiteError:  # absent, or its keys cannot be had: reported where it is used
                self._sweep_at = min(self._sweep_at, self._clock.monotonic() + SWEEP_AGAIN_S)
            else:
                self._tell(destination, swept)

    def _tell(self, destination: Destination, swept: tuple[Unfinished, ...]) -> None:
        if not swept:
            return
        data = {"uploads": len(swept), "bytes": sum(left.size_bytes for left in swept)}
        with self._catalog.write() as tx:
            chain.append_event(
                tx, self._clock, actor="janitor", kind="destination.swept", subject=destination.id, data=data
            )

    def _wake_waiting(self) -> None:
        with self._catalog.read() as tx:
            waiting = catalogs.jobs.list_recent(tx, states=(JobState.QUEUED, JobState.BLOCKED), limit=1000)
        at = self._clock.monotonic()
        known = self._woken
        self._woken = {}
        for job in waiting:
            pause = RETRY_BLOCKED_S if job.state is JobState.BLOCKED else WAKE_AGAIN_S
            last = known.get(job.id)
            if last is None or at - last >= pause:
                self._wake(job.id)
                last = at
            self._woken[job.id] = last

    def _clear_attempts(self, jobs: list[Job]) -> None:
        """Remove what these jobs left and never registered, where their destination can be reached."""
        for job in jobs:
            assert job.object_key is not None
            with self._catalog.read() as tx:
                connection = catalogs.connections.get(tx, job.connection_id)
                destination = catalogs.destinations.get(tx, connection.destination_id)
            try:
                storage = self._open_storage(destination)
                self._tell(destination, storage.sweep(now=self._clock.now()))
                take_back_uploads(storage, job.object_key)
                gone = remove_attempt(storage, job.object_key)
            except OffsiteError:
                gone = False
            if gone:  # else the key stays on the job: its next attempt or the next sweep tries again
                with self._catalog.write() as tx:
                    catalogs.jobs.forget_object(tx, job.id, job.object_key)


def _beside(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="janitor", daemon=True).start()


def worker_lock(home: Path, worker_id: str) -> Path:
    """The file that a worker keeps locked for as long as it lives."""
    return home / "workers" / f"{worker_id}.lock"


def hold_worker_lock(home: Path, worker_id: str) -> int:
    """Lock the worker's file and return its descriptor; the kernel frees it when the process ends, however it ends."""
    path = worker_lock(home, worker_id)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def worker_place(home: Path) -> str:
    """The directory of the locked files, as the kernel knows it since it was started: equal for those who share it.

    Two hosts may bear one name, and two installations on one host may share a catalog: neither can test the other's
    locks.
    """
    directory = worker_lock(home, "any").parent.stat()
    try:
        boot = _BOOT.read_text().strip()
    except OSError:
        boot = "-"
    return f"{boot}:{directory.st_dev}:{directory.st_ino}"


def is_alive(home: Path, worker: Worker) -> bool:
    """False when ``worker`` kept its lock in this home and it is free; True otherwise: then its leases decide."""
    if worker.host != socket.gethostname():
        return True
    if worker.place is not None:
        try:
            if worker.place != worker_place(home):
                return True
        except FileNotFoundError:  # no worker ever ran here
            return True
    try:
        fd = os.open(worker_lock(home, worker.id), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
