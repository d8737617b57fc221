"""What the rules look at: plain facts, gathered elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from engine.model.watch import Drift


@dataclass(frozen=True, slots=True)
class FailedJob:
    """The newest checkpoint or drill of a connection that came to an end, and that end was no proof and no snapshot."""

    job_id: str
    what: str
    """``checkpoint`` or ``drill``."""
    ended_at: datetime | None
    could_not_verify: bool
    snapshot_id: str | None
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class DriftFacts:
    """A proven snapshot held against an earlier proven one. ``accepted``: somebody has looked at it."""

    baseline_id: str
    newest_id: str
    drift: Drift
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """One connection in use."""

    id: str
    name: str
    created_at: datetime
    proof_target_s: float | None
    newest_proven_at: datetime | None
    last_proven: bool
    """Whether the newest drilled snapshot is proven."""
    failed: FailedJob | None = None
    retention_paused: str | None = None
    """Why nothing is removed; None: retention goes on."""
    drift_limit: float | None = None
    """None: nobody has set one."""
    drifts: tuple[DriftFacts, ...] = ()
    target_since: datetime | None = None
    """Since when the target counts where there is no proof; None: since the connection is there."""

    def fresh(self, now: datetime) -> bool:
        """Whether the proof is as new as it has to be; without a target: whether the newest drill proved."""
        if self.newest_proven_at is None:
            return False
        if self.proof_target_s is None:
            return self.last_proven
        return (now - self.newest_proven_at).total_seconds() <= self.proof_target_s


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A worker that announced itself and did not sign off."""

    id: str
    host: str
    heard_at: datetime
    alive: bool


@dataclass(frozen=True, slots=True)
class FailedReport:
    """A month whose report a worker could not build; it tries again."""

    month: str
    error: str


@dataclass(frozen=True, slots=True)
class Facts:
    connections: tuple[ConnectionFacts, ...] = ()
    workers: tuple[WorkerFacts, ...] = ()
    last_heard_at: datetime | None = None
    """Of any worker, also of those that signed off."""
    work_since: datetime | None = None
    """Since when there is something for a worker to do: a schedule, or a job that has not ended."""
    blocked: tuple[str, ...] = ()
    """Names of the connections whose jobs wait for the master key."""
    wrong: int = 0
    """What was found wrong when the catalog was last held against its history."""
    first_wrong: str = ""
    key_tried_at: datetime | None = None
    """When a job that has not ended was last begun: it may be one that was blocked."""
    reports: tuple[FailedReport, ...] = ()
