"""Jobs at the door: start, list, follow, cancel. Starting never waits: the worker does the work."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.catalog import Tx
from engine.errors import ConfigError
from engine.evidence import chain
from engine.model import Job, JobKind, JobState, Role
from engine.model.views import JobView
from engine.service.access import needs

if TYPE_CHECKING:
    from engine.service import Engine

_MOST = 10_000


class JobsFacet:
    """``engine.jobs``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @needs(Role.OPERATOR)
    def checkpoint(self, connection_name: str, *, tag: str | None = None) -> JobView:
        """Ask for a snapshot and its drill, now. Raises ConfigError ``config.not-found``, ``config.invalid``."""
        check_tag(tag)
        with self._engine.catalog.write() as tx:
            connection = catalogs.connections.by_name(tx, connection_name)
            job = self.queue(tx, JobKind.CHECKPOINT, connection.id, tag=tag)
        return self._started(job)

    @needs(Role.OPERATOR)
    def drill(self, snapshot: str) -> JobView:
        """Ask for a drill of a snapshot: id, unique prefix, or NAME@latest."""
        snapshot_id = self._engine.snapshots.resolve(snapshot)
        with self._engine.catalog.write() as tx:
            found = catalogs.snapshots.get(tx, snapshot_id)
            catalogs.removals.refuse_gone(tx, found.id)
            job = self.queue(tx, JobKind.DRILL, found.connection_id, snapshot_id=found.id, tag=found.tag)
        return self._started(job)

    @needs(Role.OPERATOR)
    def drill_all(self, connection_name: str | None = None) -> tuple[JobView, ...]:
        """Ask for a drill of every snapshot that is there and not proven, newest first; of one connection if given.

        A drill that waits or runs already counts as asked for. Raises ConfigError ``config.not-found``.
        """
        with self._engine.catalog.write() as tx:
            if connection_name is not None:
                wanted = [catalogs.connections.by_name(tx, connection_name).id]
            else:
                wanted = [one.id for one, _ in catalogs.connections.list_ever(tx)]
            # each for itself: one that writes every minute must not crowd out the others
            found = [s for id_ in wanted for s in catalogs.snapshots.list_recent(tx, connection_id=id_, limit=_MOST)]
            found.sort(key=lambda s: (s.taken_at, s.seq), reverse=True)
            gone = {one.snapshot_id for one in catalogs.removals.every(tx) if one.result.gone}
            open_ = (JobState.QUEUED, JobState.RUNNING, JobState.BLOCKED)
            asked = {
                job.snapshot_id: job
                for job in catalogs.jobs.list_recent(tx, states=open_, limit=_MOST)
                if job.kind is JobKind.DRILL
            }
            jobs = []
            for snapshot in found:
                drills = catalogs.drills.for_snapshot(tx, snapshot.id)
                if snapshot.id in gone or (drills and drills[0].verdict.proven):
                    continue
                waiting = asked.get(snapshot.id)
                jobs.append(
                    waiting
                    or self.queue(tx, JobKind.DRILL, snapshot.connection_id, snapshot_id=snapshot.id, tag=snapshot.tag)
                )
            views = tuple(self.view(tx, job) for job in jobs)
        for job in views:
            self._engine.wake(job.id)
        return views

    def get(self, job: str) -> JobView:
        """A job by id or unique prefix."""
        with self._engine.catalog.read() as tx:
            return self.view(tx, self.find(tx, job))

    def recent(self, limit: int = 50) -> tuple[JobView, ...]:
        """The newest jobs, newest first."""
        with self._engine.catalog.read() as tx:
            return tuple(self.view(tx, job) for job in catalogs.jobs.list_recent(tx, limit=limit))

    def log(self, job: str, after: int = 0) -> tuple[tuple[int, str, str], ...]:
        """Lines of a job's log after line ``after``: (number, level, text)."""
        with self._engine.catalog.read() as tx:
            lines = catalogs.jobs.read_log(tx, self.find(tx, job).id, after=after)
        return tuple((line.n, line.level, line.text) for line in lines)

    @needs(Role.OPERATOR)
    def cancel(self, job: str) -> JobView:
        """Ask a job to stop. A waiting one ends at once, a running one within two seconds, an ended one stays so."""
        with self._engine.catalog.write() as tx:
            found = self.find(tx, job)
            if found.state.ended:
                raise ConfigError(
                    "config.invalid",
                    f"job {found.id[:12]} has ended already ({found.state})",
                    hint="There is nothing to cancel.",
                )
            asked = catalogs.jobs.request_cancel(tx, found.id, self._engine.clock.now())
            chain.append_event(
                tx,
                self._engine.clock,
                actor=self._engine.actor,
                kind="job.cancel-asked",
                subject=asked.id,
                data={"job": asked.kind.value, "connection": asked.connection_id, "was": found.state.value},
            )
            return self.view(tx, asked)

    def view(self, tx: Tx, job: Job) -> JobView:
        return job_view(job, catalogs.connections.get(tx, job.connection_id).name)

    def queue(
        self,
        tx: Tx,
        kind: JobKind,
        connection_id: str,
        *,
        snapshot_id: str | None = None,
        tag: str | None = None,
        with_drill: bool = True,
    ) -> Job:
        """Write a new job down, in the caller's transaction; the caller wakes the workers after it."""
        job = Job(
            id=secrets.token_hex(16),
            kind=kind,
            connection_id=connection_id,
            snapshot_id=snapshot_id,
            drill_id=None,
            tag=tag,
            state=JobState.QUEUED,
            attempt=0,
            fence=0,
            worker_id=None,
            lease_until=None,
            cancel_requested_at=None,
            created_at=self._engine.clock.now(),
            started_at=None,
            finished_at=None,
            error=None,
            with_drill=with_drill,
            requested_by=self._engine.actor,
        )
        catalogs.jobs.create(tx, job)
        return job

    def _started(self, job: Job) -> JobView:
        self._engine.wake(job.id)
        return self.get(job.id)

    def find(self, tx: Tx, job: str) -> Job:
        """A job's record by id or unique prefix. Raises ConfigError."""
        found = catalogs.jobs.find(tx, job) if job else []  # an unset shell variable names no job
        if not found:
            raise ConfigError("config.not-found", f"there is no job {job!r}", hint="List them: `offsitedb jobs`.")
        if len(found) > 1:
            raise ConfigError("config.ambiguous", f"{len(found)} jobs begin with {job!r}")
        return found[0]


def job_view(job: Job, connection: str) -> JobView:
    """The job as people read it; ``connection`` is the name."""
    return JobView(
        id=job.id,
        kind=job.kind,
        connection=connection,
        tag=job.tag,
        state=job.state,
        attempt=job.attempt,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cancel_requested=job.cancel_requested_at is not None,
        snapshot_id=job.snapshot_id,
        drill_id=job.drill_id,
        progress=job.progress,
        error=job.error,
        with_drill=job.with_drill,
    )


def check_tag(tag: str | None) -> None:
    """Raises ConfigError ``config.invalid``."""
    if tag is not None and (not 0 < len(tag) <= 100 or not tag.isprintable()):
        raise ConfigError(
            "config.invalid", "a tag has 1 to 100 printable characters", hint="Choose a shorter, plain tag."
        )
