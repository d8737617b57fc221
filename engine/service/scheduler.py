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
from engine.evidence import chain
from engine.model import DrillPolicy, DrillRule, Job, JobKind, Principal, Role, Schedule, Slot, SlotOutcome
from engine.service.access import acting_as
from engine.service.duties import Duty

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

    @property
    def duty(self) -> Duty:
        """The looks of a worker."""

        def look() -> None:
            self.tick()

        return Duty("schedules", EVERY_S, look)

    def tick(self, meanwhile: Callable[[], None] | None = None) -> int:
        """Decide every slot that is due now; how many checkpoints were queued.

        ``meanwhile`` is called between the look and the decision (tests let another worker in there). Raises
        ConfigError for a schedule that cannot be read (any more), after the others were decided.
        """
        catalog, now = self._engine.catalog, self._engine.clock.now()
        started, broken = 0, list[ConfigError]()
        while True:
            with catalog.read() as tx:
                if not catalogs.schedules.due(tx, now, limit=1):
                    break
            if meanwhile is not None:
                meanwhile()
            with catalog.write() as tx, acting_as(SCHEDULER):
                queued = self._decide_some(tx, now, broken)
            for job in queued:
                self._engine.wake(job.id)
            started += len(queued)
        if broken:
            raise broken[0]
        return started

    def _decide_some(self, tx: Tx, now: datetime, broken: list[ConfigError]) -> list[Job]:
        """Decide what is due of the schedules that have been due the longest; the jobs that were queued."""
        due = catalogs.schedules.due(tx, now, limit=_AT_ONCE)
        ids = [schedule.connection_id for schedule in due]
        known, busy = catalogs.schedules.known(tx, ids), catalogs.schedules.busy(tx, ids)
        jobs: list[Job] = []
        decided: list[Slot] = []
        for schedule in due:
            if schedule.connection_id not in known:
                if catalogs.schedules.remove(tx, schedule.connection_id):
                    self._removed(tx, schedule)
                continue
            try:
                slots = self._slots(schedule, known[schedule.connection_id], now)
                following = rules.next_slot(schedule.cron, schedule.time_zone, now)
            except ConfigError as e:
                catalogs.schedules.move(tx, schedule.connection_id, now + _AGAIN)
                broken.append(e)
                continue
            catalogs.schedules.move(tx, schedule.connection_id, following)
            for decision in rules.decide(slots, busy=schedule.connection_id in busy):
                job_id = None
                if decision.outcome is SlotOutcome.STARTED:
                    jobs.append(self._queue(tx, schedule, now))
                    job_id = jobs[-1].id
                decided.append(Slot(schedule.connection_id, decision.slot_at, decision.outcome, job_id, now))
        catalogs.schedules.add_slots(tx, decided)
        return jobs

    def _removed(self, tx: Tx, schedule: Schedule) -> None:
        """The schedule of a connection that was removed went, too."""
        clock, subject = self._engine.clock, schedule.connection_id
        chain.append_event(tx, clock, actor=SCHEDULER.actor, kind="schedule.removed", subject=subject)

    def _slots(self, schedule: Schedule, newest: datetime | None, now: datetime) -> list[datetime]:
        """What is due and not decided yet, oldest first: from the last decision on, for ``next_at`` only says when to
        look, and the zone's rules may have changed since it was written."""
        since = max(schedule.changed_at, newest or schedule.changed_at, now - _TOLD_BACK)
        return list(rules.slots_between(schedule.cron, schedule.time_zone, since, now))

    def _queue(self, tx: Tx, schedule: Schedule, now: datetime) -> Job:
        with_drill = self._with_drill(tx, schedule, now)
        return self._engine.jobs.queue(tx, JobKind.CHECKPOINT, schedule.connection_id, with_drill=with_drill)

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
