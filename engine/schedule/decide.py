"""What becomes of slots that are due, which snapshots are drilled, and how old a proof may be by the schedule alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from engine.model import DrillPolicy, DrillRule, SlotOutcome
from engine.schedule.cron import walls
from engine.schedule.slots import next_slot
from engine.schedule.zones import zone

_LEAST_SLACK = timedelta(hours=1)
_MOST_SLACK = timedelta(days=1)
_WALLS = 5_000
_DAYS = 1_500
"""How far a schedule is looked through for its longest pause, whichever comes first: four years have a leap day."""


@dataclass(frozen=True, slots=True)
class Decision:
    slot_at: datetime
    outcome: SlotOutcome


def decide(due: Sequence[datetime], *, busy: bool) -> tuple[Decision, ...]:
    """Each slot of ``due`` (one connection's, not decided yet, oldest first) exactly once, and at most one started.

    The newest one makes up for those before it, which were missed. ``busy``: a checkpoint of the connection runs or
    waits; that one makes up for all of them.
    """
    if not due:
        return ()
    newest = SlotOutcome.OVERLAPPED if busy else SlotOutcome.STARTED
    return (*(Decision(at, SlotOutcome.MISSED) for at in due[:-1]), Decision(due[-1], newest))


def drills_this(
    policy: DrillPolicy,
    cron: str,
    zone_name: str,
    now: datetime,
    *,
    newest_proven_at: datetime | None,
    unproven_since: int,
) -> bool:
    """Whether a scheduled checkpoint that is queued ``now`` ends with a drill.

    ``unproven_since``: snapshots that were taken since the newest proven one. While nothing is proven, and after a
    drill that proved nothing, the next snapshot is drilled: no policy makes a failure last.
    """
    if newest_proven_at is None:
        return True
    if policy.rule is DrillRule.EVERY:
        return unproven_since + 1 >= policy.every
    where = zone(zone_name)
    today = now.astimezone(where).date()
    if newest_proven_at.astimezone(where).date() < today - timedelta(days=1):
        return True  # the day before came to no proof
    following = next_slot(cron, zone_name, now)
    return following is None or following.astimezone(where).date() != today


@lru_cache(maxsize=4096)
def target_of(cron: str, policy: DrillPolicy) -> float:
    """How old the newest proof may become, in seconds, before the schedule is not being kept.

    The longest pause between two snapshots that are drilled, and half of it again for the work itself and for a clock
    that is put back: one hour at the least, one day at the most.
    """
    drilled: list[datetime] = []
    begin = datetime(2026, 1, 1)  # noqa: DTZ001 - wall-clock times have no zone
    end, last = begin + timedelta(days=_DAYS), None
    for n, wall in enumerate(walls(cron, begin)):
        if n >= _WALLS or (wall > end and len(drilled) > 2 * policy.every):
            break
        if policy.rule is DrillRule.DAILY and last is not None and last.date() == wall.date():
            drilled[-1] = wall  # the newest of its day
        else:
            drilled.append(wall)
        last = wall
    step = policy.every if policy.rule is DrillRule.EVERY else 1
    longest = max((b - a for a, b in zip(drilled, drilled[step:], strict=False)), default=timedelta(days=366))
    slack = min(max(longest / 2, _LEAST_SLACK), _MOST_SLACK)
    return (longest + slack).total_seconds()
