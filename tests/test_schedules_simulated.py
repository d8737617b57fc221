"""Weeks with a clock change, outages, failed drills and slow jobs: no slot lost, none doubled, nothing run twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from engine.model import JobState, SlotOutcome
from engine.schedule import cron_of, slots_between
from tests.fixtures.simulated import Plan, Simulation, Span, simulation

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ZONES = ("Europe/Berlin", "America/New_York", "UTC", "Australia/Lord_Howe")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OFFSITEDB_RUNTIME", str(tmp_path / "runtime"))


def plans(count: int, hourly: int, every_six: int) -> Iterator[Plan]:
    """Mostly daily ones, at all hours, in several zones and under each drill policy."""
    policies = ("every", "daily", "every 3")
    for n in range(count):
        when = f"daily at {n % 24:02}:{n * 15 % 60:02}"
        if n < hourly:
            when = "hourly"
        elif n < hourly + every_six:
            when = "every 6 h"
        elif n % 20 == 0:
            when = "weekly on wednesday at 02:30"
        elif n % 50 == 1:
            when = "monthly on 28 at 02:30"
        yield Plan(f"c{n:03}", when, ZONES[n % len(ZONES)], policies[n % len(policies)])


@dataclass
class Onlooker:
    """Holds the ledger's OVERDUE against the simulation's own book."""

    world: Simulation
    plans: tuple[Plan, ...]
    looks: int = 0
    overdue: int = 0

    def look(self) -> None:
        proven = {a.connection: a.at for a in self.world.attempts if a.verdict is not None and a.verdict.proven}
        for line in self.world.engine.watch.overview(limit=1).headlines:
            assert line.proof_target_s is not None
            since = proven.get(line.connection, self.world.begin)
            late = self.world.clock.at - since > timedelta(seconds=line.proof_target_s)
            assert line.overdue == late, (line, since)
            self.looks += 1
            self.overdue += late


def lived(world: Simulation, made: tuple[Plan, ...], days: int, outages: list[Span]) -> Onlooker:
    world.connect(made)
    onlooker = Onlooker(world, made)
    world.every(7 * HOUR, onlooker.look, also_in_outages=True)
    world.run(world.begin + days * DAY, outages)
    return onlooker


def check(world: Simulation, made: tuple[Plan, ...]) -> Counter[SlotOutcome]:
    """Everything that must hold of every connection, whatever happened; how often each outcome came."""
    found: Counter[SlotOutcome] = Counter()
    ended = {a.job_id: a for a in world.attempts}
    assert len(ended) == len(world.attempts), "no job ran twice"
    states = {job.id: job.state for job in world.engine.jobs.recent(100_000)}
    for plan in made:
        slots = world.slots(plan.name)
        due = list(slots_between(cron_of(plan.when), plan.zone, world.begin, world.clock.at))
        while due and (world.down(due[-1]) or due[-1] == world.clock.at):
            due.pop()  # the end came before anybody could look
        assert [slot.slot_at for slot in slots] == due, f"{plan}: a slot was lost or doubled"
        started = [slot for slot in slots if slot.outcome is SlotOutcome.STARTED]
        assert len({slot.job_id for slot in started}) == len(started)
        assert all((slot.job_id is not None) == (slot.outcome is SlotOutcome.STARTED) for slot in slots)
        ran = [a for a in world.attempts if a.connection == plan.name]
        waits = [s for s in started if states[str(s.job_id)] is JobState.QUEUED]
        assert len(ran) + len(waits) == len(started), "each slot that was started is one job"
        for slot in slots:
            if slot.outcome is SlotOutcome.MISSED:
                assert world.down(slot.slot_at), f"{slot} was missed while a worker was there"
            elif slot.outcome is SlotOutcome.OVERLAPPED:
                assert overlapped(world, plan, slot.decided_at), f"nothing ran beside {slot}"
            elif not world.down(slot.slot_at):
                assert slot.decided_at - slot.slot_at <= timedelta(seconds=1)
        for _, together in groupby(slots, key=lambda slot: slot.decided_at):
            outcomes = [slot.outcome for slot in together]
            assert set(outcomes[:-1]) <= {SlotOutcome.MISSED}, "what was missed is made up for once"
            assert outcomes[-1] is not SlotOutcome.MISSED
        found.update(slot.outcome for slot in slots)
        check_drills(world, plan)
    return found


def overlapped(world: Simulation, plan: Plan, at: datetime) -> bool:
    """Whether a job of the connection was queued before ``at`` and ended after it, or never."""
    ended = {a.job_id: a.at for a in world.attempts if a.connection == plan.name}
    for slot in world.slots(plan.name):
        if (
            slot.job_id is not None
            and slot.decided_at < at
            and ended.get(slot.job_id, datetime.max.replace(tzinfo=UTC)) >= at
        ):
            return True
    return False


def check_drills(world: Simulation, plan: Plan) -> None:
    """The policy is kept, and a drill that proved nothing is followed by one at once."""
    attempts = [a for a in world.attempts if a.connection == plan.name]
    if plan.drills == "every":
        assert all(a.with_drill for a in attempts)
        return
    proven, since, last = False, 0, None
    for attempt in attempts:
        if plan.drills == "every 3":
            assert attempt.with_drill == (not proven or since >= 2), attempt
        elif plan.when.startswith(("daily", "weekly", "monthly")):
            assert attempt.with_drill, "one a day is the newest of its day"
        if attempt.snapshot_id is not None:
            since += 1
        if attempt.verdict is not None and attempt.verdict.proven:
            proven, since, last = True, 0, attempt.at
    if plan.drills == "daily" and plan.when == "hourly" and not world.luck.slow:
        where = ZoneInfo(plan.zone)
        for _, day in groupby(attempts, key=lambda a: a.at.astimezone(where).date()):
            of_day = list(day)
            end = of_day[-1].at.astimezone(where)
            assert of_day[-1].with_drill or end.hour < 23 or last is None


def test_three_days_with_a_clock_change_and_an_outage() -> None:
    begin = datetime(2026, 10, 23, 11, 10, tzinfo=UTC)
    made = tuple(plans(8, hourly=2, every_six=2))
    with simulation(1, begin) as world:
        onlooker = lived(world, made, 3, [(begin + 34 * HOUR, begin + 41 * HOUR)])
        found = check(world, made)
    assert found[SlotOutcome.STARTED] > 100
    assert found[SlotOutcome.MISSED] > 8
    assert onlooker.looks
