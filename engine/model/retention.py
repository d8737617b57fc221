"""What is kept and why, what was removed, and what a destination's listing said against the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engine.model.proof import Verdict

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How many snapshots of each kind of slot are kept; only proven ones fill a slot. 0: no such rule.

    ``keep_within_s`` counts back from the newest proven snapshot; ``keep_tags`` are globs. ``keep_unproven_s``: how
    long a snapshot that nobody proved stays once a newer one is proven. ``keep_newest_proven`` are never removed.
    """

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within_s: float | None = None
    keep_tags: tuple[str, ...] = ()
    keep_unproven_s: float = 7 * DAY_S
    keep_newest_proven: int = 1


class Proof(StrEnum):
    """What drills say of a snapshot, as far as keeping it goes."""

    PROVEN = "proven"
    """Its newest drill proved it."""
    UNPROVEN = "unproven"
    """Nobody drilled it, or its newest drill failed."""
    DOUBTFUL = "doubtful"
    """It was proven once, and its newest drill could not be carried out: it fills no slot and is not removed."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A snapshot that is there, as the plan sees it. ``settled_at``: its newest drill's end, else when it was taken."""

    id: str
    seq: int
    taken_at: datetime
    settled_at: datetime
    tag: str | None
    size_bytes: int
    proof: Proof
    verdict: Verdict | None = None
    pinned: str | None = None
    """Why somebody pinned it."""
    busy: bool = False
    """A job uses it now, or will."""
    locked_until: datetime | None = None
    """Until when the destination refuses to delete it, as far as that was seen."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Keep a snapshot or not. ``reasons``: the rules that keep it, or why it goes; ``rule``: the first, for records."""

    candidate: Candidate
    keep: bool
    rule: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Every snapshot's decision, newest first. ``paused``: why nothing is removed although decisions say so."""

    decisions: tuple[Decision, ...]
    paused: str | None = None

    @property
    def keep(self) -> tuple[Decision, ...]:
        return tuple(d for d in self.decisions if d.keep)

    @property
    def remove(self) -> tuple[Decision, ...]:
        """What goes now; nothing while pruning is paused."""
        return () if self.paused is not None else tuple(d for d in self.decisions if not d.keep)


class RemovalResult(StrEnum):
    """What became of a snapshot's object."""

    REMOVING = "removing"
    """It was decided, and may be done in part: the snapshot counts as gone, the next pruning finishes it."""
    REMOVED = "removed"
    MISSING = "missing"
    """It was not there, and nobody here removed it."""
    LOCKED = "locked"
    """It is there: the destination does not let it be deleted yet."""

    @property
    def gone(self) -> bool:
        return self is not RemovalResult.LOCKED


@dataclass(frozen=True, slots=True)
class Removal:
    """A snapshot whose object is gone, or would be if a lock did not hold it."""

    snapshot_id: str
    connection_id: str
    job_id: str | None
    rule: str
    result: RemovalResult
    detail: str
    removed_at: datetime
    kept_until: datetime | None = None

    @property
    def words(self) -> str:
        """``removed by retention on 2026-11-24 (beyond every rule)``."""
        day = f"{self.removed_at:%Y-%m-%d}"
        if self.result is RemovalResult.MISSING:
            return f"its object was found missing on {day}"
        if self.result is RemovalResult.LOCKED:
            until = f"until {self.kept_until:%Y-%m-%d %H:%M} UTC" if self.kept_until else "without a date"
            return f"locked by the destination {until}; then it goes ({self.rule})"
        return f"removed by retention on {day} ({self.rule})"


@dataclass(frozen=True, slots=True)
class Deletion:
    """One attempt to delete an object, and what was true afterwards: ``deleted``, ``marked``, ``locked``, ``missing``,
    ``denied``, ``failed``."""

    id: str
    destination_id: str
    snapshot_id: str | None
    object_key: str
    version: str | None
    rule: str
    result: str
    detail: str
    deleted_at: datetime


@dataclass(frozen=True, slots=True)
class Pin:
    snapshot_id: str
    reason: str
    actor: str
    pinned_at: datetime


@dataclass(frozen=True, slots=True)
class LockState:
    """The Object Lock of the newest snapshot at a destination. ``until`` None: a legal hold, which has no date."""

    mode: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a destination's listing said against the ledger. Keys are relative to the destination.

    ``unknown`` lies beneath connections of this catalog and is no snapshot of theirs; ``foreign`` counts what lies
    beneath others. Each list names at most a thousand.
    """

    snapshots: int
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    mismatched: tuple[str, ...]
    lingering: tuple[str, ...]
    """Objects of snapshots that the ledger says are removed."""
    found_again: tuple[str, ...]
    foreign: int
    aborted_uploads: int
    aborted_bytes: int
    lock: LockState | None = None

    @property
    def agrees(self) -> bool:
        return not (self.missing or self.mismatched or self.unknown or self.lingering)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One reconciliation. ``listing_sha256``: of the lines ``KEY SIZE`` in the order of the listing."""

    id: str
    destination_id: str
    reconciled_at: datetime
    objects: int
    size_bytes: int
    listing_sha256: str
    outcome: Reconciled


# what the door hands out


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One snapshot of a plan. ``keep`` as the rules say; while pruning is paused nothing goes all the same."""

    snapshot_id: str
    taken_at: datetime
    tag: str | None
    size_bytes: int
    verdict: Verdict | None
    keep: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What a policy does to a connection's snapshots at this moment, newest first."""

    connection: str
    words: str
    time_zone: str
    policy: RetentionPolicy | None
    lines: tuple[PlanLine, ...]
    paused: str | None
    keeps: int
    removes: int
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class PinView:
    snapshot_id: str
    taken_at: datetime
    reason: str
    actor: str
    pinned_at: datetime


@dataclass(frozen=True, slots=True)
class RetentionView:
    """A connection's policy, and what came of it. ``paused``: why pruning is paused now."""

    connection: str
    policy: RetentionPolicy | None
    words: str
    time_zone: str
    changed_at: datetime | None
    pins: tuple[PinView, ...]
    paused: str | None
    removed: int
    last_pruned_at: datetime | None


@dataclass(frozen=True, slots=True)
class PausedRetention:
    """A connection whose pruning is paused, for alerts."""

    connection_id: str
    connection: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReconciliationView:
    destination: str
    reconciled_at: datetime
    objects: int
    size_bytes: int
    listing_sha256: str
    agrees: bool
    outcome: Reconciled
