"""When checkpoints of a connection are due, and which of their snapshots are drilled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class DrillRule(StrEnum):
    EVERY = "every"
    """Every snapshot, or every Nth."""
    DAILY = "daily"
    """The newest of each day, as days are in the schedule's time zone."""


@dataclass(frozen=True, slots=True)
class DrillPolicy:
    """Which snapshots of a schedule are drilled. ``every``: each Nth, counted from the newest that is proven."""

    rule: DrillRule = DrillRule.EVERY
    every: int = 1


@dataclass(frozen=True, slots=True)
class Schedule:
    """When checkpoints of a connection are due. ``next_at``: the next slot; None while it is paused."""

    connection_id: str
    cron: str
    time_zone: str
    enabled: bool
    next_at: datetime | None
    changed_at: datetime


class SlotOutcome(StrEnum):
    STARTED = "started"
    """A job was queued for it."""
    MISSED = "missed"
    """Nobody was there to start it; a later slot makes up for it."""
    OVERLAPPED = "overlapped"
    """A checkpoint of the connection ran or waited: no second one was queued."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One instant at which a checkpoint was due, and what was decided about it, once."""

    connection_id: str
    slot_at: datetime
    outcome: SlotOutcome
    job_id: str | None
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A connection's schedule as people and scripts read it; without one ``cron`` and what follows from it are None.

    ``words``: the schedule in words. ``proof_target_s``: how old the newest proof may be as far as the schedule says.
    """

    connection: str
    cron: str | None
    words: str
    time_zone: str | None
    enabled: bool
    next_at: datetime | None
    drills: str
    proof_target_s: float | None
    slots: tuple[Slot, ...] = ()
    """The newest slots that were decided, newest first."""


@dataclass(frozen=True, slots=True)
class NextSlots:
    """The slots to come. ``local``: the same instants as clocks in the time zone show them."""

    connection: str
    time_zone: str
    at: tuple[datetime, ...]
    local: tuple[str, ...]
