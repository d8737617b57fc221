"""A month of an installation that runs by itself: schedules, retention and alerts together, at an accelerated clock.

No slot is lost or doubled; retention never goes below its floor, and what it removed is gone at the destination; every
incident is told to a real web server exactly once when it opens and once when it closes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.model import ChannelKind, IncidentKind, SlotOutcome
from engine.model.retention import RetentionPolicy
from tests.fixtures.receiver import Receiver
from tests.fixtures.simulated import Plan, Simulation, Span, simulation
from tests.test_schedules_simulated import DAY, HOUR, Onlooker, check, plans

FLOOR = 2
POLICY = RetentionPolicy(keep_last=FLOOR, keep_daily=5, keep_weekly=2, keep_unproven_s=3 * 86400.0)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OFFSITEDB_RUNTIME", str(tmp_path / "runtime"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@dataclass
class Month:
    """The worker's duties as time goes by, and a book of our own to hold against what they come to."""

    world: Simulation
    plans: tuple[Plan, ...]
    read: int = 0
    """How many attempts have been read into the book."""
    nothing: set[str] = field(default_factory=set)
    """Connections whose newest checkpoint came to no snapshot."""
    unproven: set[str] = field(default_factory=set)
    """Connections whose newest drill proved nothing."""
    told: set[str] = field(default_factory=set)
    """Connections that were bad when alerts were looked at last."""
    opened: Counter[str] = field(default_factory=Counter)
    proven: dict[str, list[str]] = field(default_factory=dict)
    """By connection: proven snapshots, oldest first."""
    looks: int = 0

    def prune(self) -> None:
        self.world.duty("retention")

    def alert(self) -> None:
        self.world.duty("alerts")
        self.world.duty("deliveries")
        self._read()
        bad = self.nothing | self.unproven
        self.opened.update(bad - self.told)
        self.told = bad
        overview = self.world.engine.watch.overview(limit=1)
        open_ = {kind: {i.name for i in overview.incidents if i.kind is kind} for kind in IncidentKind}
        assert open_[IncidentKind.FAILED] == bad
        assert open_[IncidentKind.OVERDUE] == {line.connection for line in overview.headlines if line.overdue}
        assert len({(i.kind, i.subject) for i in overview.incidents}) == len(overview.incidents)
        self.looks += 1

    def floor(self) -> None:
        """The newest proven snapshots of every connection lie at the destination, whatever happened."""
        self._read()
        gone = self.world.engine.watch.overview(limit=1).gone
        for name, snapshots in self.proven.items():
            assert not set(snapshots[-FLOOR:]) & gone.keys(), f"{name} is below its floor"

    def _read(self) -> None:
        for a in self.world.attempts[self.read :]:
            if a.snapshot_id is None:
                self.nothing.add(a.connection)
                continue
            self.nothing.discard(a.connection)
            if a.verdict is not None and a.verdict.proven:
                self.unproven.discard(a.connection)
                self.proven.setdefault(a.connection, []).append(a.snapshot_id)
            elif a.verdict is not None:
                self.unproven.add(a.connection)
        self.read = len(self.world.attempts)


def live(
    world: Simulation, made: tuple[Plan, ...], receiver: Receiver, days: int, outages: list[Span], look: timedelta
) -> Month:
    world.connect(made)
    for plan in made:
        world.engine.retention.set(plan.name, POLICY)
    world.engine.alerts.add("ops", ChannelKind.WEBHOOK, receiver.url, allow_private=True)
    month, onlooker = Month(world, made), Onlooker(world, made)
    world.every(7 * HOUR, onlooker.look, also_in_outages=True)
    world.every(DAY, month.prune)
    world.every(look, month.alert)
    world.every(DAY, month.floor, also_in_outages=True)
    world.run(world.begin + days * DAY, outages)
    month.alert()
    return month


def check_told(world: Simulation, receiver: Receiver, month: Month) -> Counter[IncidentKind]:
    """Every incident was told exactly once, and its end, too; how many there were of each kind."""
    incidents = world.engine.alerts.incidents(closed=True, limit=100_000)
    bodies = [json.loads(received.body) for received in receiver.received]
    told = Counter((said["incident"], said["occasion"]) for said in bodies)
    due = [(i.id, "opened") for i in incidents] + [(i.id, "closed") for i in incidents if i.closed_at is not None]
    assert told == Counter(due)
    by_kind = Counter(i.kind for i in incidents)
    assert Counter(i.name for i in incidents if i.kind is IncidentKind.FAILED) == month.opened
    return by_kind


def check_kept(world: Simulation) -> int:
    """What was removed is gone, what was not is there, and every deletion is written down; how many were removed."""
    gone = world.engine.watch.overview(limit=1).gone
    folder = world.history.home / "destination"
    stored = {p.name.partition("-")[2].partition(".")[0] for p in (folder / "v1").rglob("*.odb")}
    taken = {a.snapshot_id for a in world.attempts if a.snapshot_id is not None}
    assert stored == taken - gone.keys()
    deletions = world.engine.retention.deletions(limit=1_000_000)
    assert Counter(d.snapshot_id for d in deletions) == dict.fromkeys(gone, 2)
    return len(gone)


@pytest.mark.slow
def test_nine_days_of_a_few(receiver: Receiver) -> None:
    begin = datetime(2026, 10, 20, 11, 10, tzinfo=UTC)
    made = tuple(plans(6, hourly=1, every_six=2))
    with simulation(3, begin) as world:
        month = live(world, made, receiver, 9, [(begin + 34 * HOUR, begin + 49 * HOUR)], 3 * HOUR)
        found = check(world, made)
        kinds = check_told(world, receiver, month)
        removed = check_kept(world)
    assert found[SlotOutcome.STARTED] > 200
    assert kinds[IncidentKind.FAILED] > 2
    assert kinds[IncidentKind.OVERDUE]
    assert removed > 50
    assert month.looks > 60


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thirty_days_of_two_hundred_connections(receiver: Receiver) -> None:
    begin = datetime(2026, 10, 12, 11, 10, tzinfo=UTC)
    made = tuple(plans(200, hourly=4, every_six=16))
    outages = [
        (begin + 2 * DAY, begin + 2 * DAY + 5 * HOUR),
        (datetime(2026, 10, 24, 23, 30, tzinfo=UTC), datetime(2026, 10, 25, 4, 15, tzinfo=UTC)),  # Berlin's clocks
        (begin + 20 * DAY, begin + 22 * DAY + 3 * HOUR),
    ]
    with simulation(30, begin) as world:
        month = live(world, made, receiver, 30, outages, 6 * HOUR)
        found = check(world, made)
        kinds = check_told(world, receiver, month)
        removed = check_kept(world)
    assert found[SlotOutcome.STARTED] > 8_000
    assert found[SlotOutcome.MISSED] > 300
    assert found[SlotOutcome.OVERLAPPED] > 20
    assert kinds[IncidentKind.FAILED] > 200
    assert kinds[IncidentKind.OVERDUE] > 20, "two days without a worker are told"
    assert removed > 4_000
