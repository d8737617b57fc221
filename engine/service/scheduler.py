"""The duty that starts checkpoints when they are due. Any number of workers may run it at once.

A look reads one index: what is not due costs nothing. What is due is decided in writing transactions, of which the
catalog lets one in at a time, so that each slot is decided once, whoever comes first. A checkpoint is only queued here:
what it comes to, and whether its proof is overdue, is read from the ledger and never from this room.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine import schedule as rules
from engine.catalog import Tx
from engine.errors import ConfigError
from engine.model import DrillPolicy, DrillRule, Job, JobKind, Principal, Role, Schedule, Slot, SlotOutcome
from engine.service.access import acting_as

if TYPE_CHECKING:
    from engine.service import Engine

EVERY_S = 2.0
SCHEDULER = Principal("schedule", Role.OPERATOR)
"""Who asks for the checkpoints of a schedule."""
_AT_ONCE = 100
"""Schedules of one transaction: other writers wait for it."""
_TOLD_BACK = timedelta(days=31)
"""Slots that were missed longer ago are not written down one by one."""
_AGAIN = timedelta(hours=1)
"""When a schedule that cannot be read is looked at again."""


class Scheduler:
    """Decides slots that are due."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def tick(self, meanwhile: Callable[[], None] | None = None) -> int:
        """Decide every slot that is due now; how many checkpoints were queued.

        ``meanwhile`` is called between the look and the decision (tests let another worker in there). Raises
        ConfigError for a schedule that cannot be read (any more), after the others were decided.
        """
        catalog, now = self._engine.catalog, self._engine.clock.now()
        started, broken = 0, []
        while True:
            with catalog.read() as tx:
                if not catalogs.schedules.due(tx, now, limit=1):
                    break
            if meanwhile is not None:
                meanwhile()
            with catalog.write() as tx, acting_as(SCHEDULER):
                due = catalogs.schedules.due(tx, now, limit=_AT_ONCE)
                busy = catalogs.schedules.busy(tx, [s.connection_id for s in due])
                jobs = []
                for schedule in due:
                    try:
                        jobs.append(self._decide(tx, schedule, now, busy=schedule.connection_id in busy))
                    except ConfigError as e:
                        catalogs.schedules.move(tx, schedule.connection_id, now + _AGAIN)
                        broken.append(e)
            for job in jobs:
                if job is not None:
                    started += 1
                    self._engine.wake(job.id)
        if broken:
            raise broken[0]
        return started

    def _decide(self, tx: Tx, schedule: Schedule, now: datetime, *, busy: bool) -> Job | None:
        """Decide the due slots of one schedule; the job that was queued, if any."""
        connection_id, cron, where = schedule.connection_id, schedule.cron, schedule.time_zone
        following = rules.next_slot(cron, where, now)
        if catalogs.connections.is_removed(tx, connection_id):
            catalogs.schedules.remove(tx, connection_id)
            return None
        catalogs.schedules.move(tx, connection_id, following)
        # from the last decision on: `next_at` only says when to look, and the zone's rules may have changed since
        newest = catalogs.schedules.list_slots(tx, connection_id, limit=1)
        since = max(schedule.changed_at, now - _TOLD_BACK, *(slot.slot_at for slot in newest))
        decisions = rules.decide(list(rules.slots_between(cron, where, since, now)), busy=busy)
        job = None
        if decisions and decisions[-1].outcome is SlotOutcome.STARTED:
            with_drill = self._with_drill(tx, schedule, now)
            job = self._engine.jobs.queue(tx, JobKind.CHECKPOINT, connection_id, with_drill=with_drill)
        job_id = job.id if job is not None else None
        decided = [
            Slot(connection_id, d.slot_at, d.outcome, job_id if d.outcome is SlotOutcome.STARTED else None, now)
            for d in decisions
        ]
        catalogs.schedules.add_slots(tx, decided)
        return job

    def _with_drill(self, tx: Tx, schedule: Schedule, now: datetime) -> bool:
        policy = policy_of(tx, schedule.connection_id)
        if policy == DrillPolicy():
            return True
        (standing,) = catalogs.watch.standings(tx, connection_id=schedule.connection_id)
        proven_at, since = standing.newest_proven_at, 0
        if proven_at is not None and policy.rule is DrillRule.EVERY:
            since = catalogs.snapshots.count(tx, connection_id=schedule.connection_id, after=proven_at)
        return rules.drills_this(
            policy, schedule.cron, schedule.time_zone, now, newest_proven_at=proven_at, unproven_since=since
        )


def policy_of(tx: Tx, connection_id: str) -> DrillPolicy:
    """Which snapshots of the connection are drilled."""
    written = catalogs.schedules.drill_policy(tx, connection_id)
    return DrillPolicy() if written is None else rules.parse_policy(written)
