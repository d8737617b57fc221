"""The two kinds of work that a job can be: a checkpoint (snapshot, then drill of it) and a drill alone.

Opens what the work needs at the moment it needs it: the master key, the connection string, the destination. Everything
that was opened is dropped when the job ends. A checkpoint that is run again after its snapshot was registered goes on
with the drill.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.catalog import Catalog
from engine.clock import Clock
from engine.config import Settings
from engine.drill import Driller
from engine.errors import CouldNotVerify, DrillFailed, Internal, OffsiteError
from engine.jobs import JobContext, Outcome, Work
from engine.model import ConnectionRecord, Destination, DrillRecord, Failure, JobKind, Snapshot, Verdict
from engine.paths import Paths
from engine.postgres.conninfo import Conninfo
from engine.postgres.external import Given
from engine.postgres.tools import Toolset
from engine.redact import holding
from engine.snapshot import Keys, SnapshotTaker, Source, Target, remove_attempt, take_back_uploads
from engine.storage.base import Storage
from engine.stream import memory

SNAPSHOT_ATTEMPTS = 3
_BACKOFF_S = (2.0, 8.0)


@dataclass(frozen=True, slots=True)
class Opener:
    """How sealed things are opened; each call may raise KeyAccessError."""

    keys: Callable[[], Keys]
    conninfo: Callable[[ConnectionRecord, Keys], Conninfo]
    storage: Callable[[Destination], Storage]
    scratch: Callable[[ConnectionRecord], Given | None]
    """The server that drills of a connection restore into, if not a cluster of their own."""
    kit: Callable[[str, CancelToken], OffsiteError | None] = lambda _destination_id, _cancel: None
    """Lays the recovery kit down at a destination if it is stale there; what went wrong, and it never raises that."""


class Checkpoints:
    """The work of a worker process, one method per kind of job."""

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        settings: Settings,
        paths: Paths,
        opener: Opener,
        toolsets: Callable[[], tuple[Toolset, ...]],
    ) -> None:
        self._catalog = catalog
        self._opener = opener
        self._taker = SnapshotTaker(catalog, clock, settings, toolsets)
        self._driller = Driller(catalog, clock, settings, paths, toolsets)

    def work(self) -> dict[JobKind, Work]:
        return {JobKind.CHECKPOINT: self.checkpoint, JobKind.DRILL: self.drill}

    def checkpoint(self, context: JobContext) -> Outcome:
        """Snapshot, then drill, unless the connection's policy spares this one."""
        keys = self._opener.keys()
        context.signer = keys.signer
        connection, target = self._target(context)
        snapshot = self.snapshot(context, keys, connection, target)
        refused = self._opener.kit(target.destination.id, context.cancel)
        if refused is not None:
            context.log("warning", f"the recovery kit could not be written there: {refused.message} [{refused.code}]")
        if not context.job.with_drill:
            return Outcome()
        memory.give_back()
        return self._drilled(context, snapshot, connection, target, keys)

    def snapshot(self, context: JobContext, keys: Keys, connection: ConnectionRecord, target: Target) -> Snapshot:
        """The job's snapshot: the one that an earlier attempt registered, or a new one."""
        if context.job.snapshot_id is not None:
            return self._snapshot(context.job.snapshot_id)
        self._clear_attempt(context, target)  # of a worker that died
        conninfo = self._opener.conninfo(connection, keys)
        with holding(*conninfo.secrets()):
            return self._take(context, Source(connection, conninfo), target, keys)

    def drill(self, context: JobContext) -> Outcome:
        """Drill a snapshot that exists."""
        if context.job.snapshot_id is None:
            raise Internal("internal.error", "a drill without a snapshot")
        keys = self._opener.keys()
        context.signer = keys.signer
        connection, _ = self._target(context)
        snapshot = self._snapshot(context.job.snapshot_id)
        with self._catalog.read() as tx:
            destination = catalogs.destinations.get(tx, snapshot.destination_id)
        target = Target(destination, self._opener.storage(destination))
        return self._drilled(context, snapshot, connection, target, keys)

    def _drilled(
        self, context: JobContext, snapshot: Snapshot, connection: ConnectionRecord, target: Target, keys: Keys
    ) -> Outcome:
        given = self._opener.scratch(connection)
        with holding(*(given.conninfo.secrets() if given is not None else ())):
            return _outcome(*self._driller.run(context, snapshot, connection, target, keys, given))

    def _take(self, context: JobContext, source: Source, target: Target, keys: Keys) -> Snapshot:
        """Take the snapshot; start over when the network cut it half-way."""
        for pause_s in (*_BACKOFF_S, None):
            try:
                return self._taker.take(context, source, target, keys)
            except OffsiteError as e:
                if pause_s is None or context.cancel.cancelled or not _cut_half_way(e):
                    raise
                context.log("warning", f"{e.message}; starting over in {pause_s:g} s")
                context.cancel.wait(pause_s)
                context.cancel.check()
                self._clear_attempt(context, target)
        raise AssertionError

    def _clear_attempt(self, context: JobContext, target: Target) -> None:
        """Remove what an earlier attempt left, which was never registered.

        The job knows one attempt's object: none is begun while another may lie there. Raises StoreError.
        """
        with self._catalog.read() as tx:
            left = catalogs.jobs.get(tx, context.job.id).object_key
        if left is not None:
            take_back_uploads(target.storage, left)
            remove_attempt(target.storage, left)

    def _target(self, context: JobContext) -> tuple[ConnectionRecord, Target]:
        with self._catalog.read() as tx:
            connection = catalogs.connections.get(tx, context.job.connection_id)
            destination = catalogs.destinations.get(tx, connection.destination_id)
        return connection, Target(destination, self._opener.storage(destination))

    def _snapshot(self, snapshot_id: str) -> Snapshot:
        with self._catalog.read() as tx:
            return catalogs.snapshots.get(tx, snapshot_id)


def _cut_half_way(error: OffsiteError) -> bool:
    """Whether the same snapshot may well succeed a moment later. A server that was never reached is not retried."""
    return error.retry and error.code in ("pg.snapshot-lost", "pg.dump-failed", "store.timeout", "store.io")


def _outcome(drill: DrillRecord, failures: tuple[Failure, ...]) -> Outcome:
    """A bad verdict is the job's error: FAILED 70, COULD NOT VERIFY 71, in the words of the first failure."""
    if drill.verdict.proven:
        return Outcome(drill.id)
    first = failures[0]
    unread = drill.verdict is Verdict.COULD_NOT_VERIFY and first.code.startswith("store.")
    code = first.code if first.code.startswith("drill.") else "drill.fetch" if unread else "drill.artifact"
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    kind = DrillFailed if drill.verdict is Verdict.FAILED else CouldNotVerify
    return Outcome(drill.id, kind(code, first.message + more, hint=first.hint))
