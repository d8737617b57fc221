"""The duty that starts checkpoints, on both dialects: each slot decided once, whoever looks, whatever was missed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, insert, select, update

from engine import catalog as catalogs
from engine import paths as places
from engine.catalog import Catalog
from engine.catalog.schema import connections, jobs
from engine.catalog.schema_running import schedules, slots
from engine.config import Settings
from engine.errors import AccessDenied, ConfigError
from engine.model import JobKind, JobState, Principal, Role, Slot, SlotOutcome, Verdict
from engine.service import Engine
from engine.service.access import acting_as
from engine.service.scheduler import Scheduler
from tests.fixtures.history import StoppedClock
from tests.fixtures.records import NOW, connection, drill, job, snapshot

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.catalogs")

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SET_AT = datetime(2026, 11, 23, 11, 30, tzinfo=UTC)


class Bench:
    """An engine over a filled catalog, a clock to move, and the jobs that workers were woken for."""

    def __init__(self, catalog: Catalog, home: Path) -> None:
        self.clock, self.woken = StoppedClock(SET_AT), list[str]()
        self.catalog = catalog
        self.engine = Engine(
            places.locate(home), Settings(), catalog, clock=self.clock, wake=self.woken.append, held_keys=None
        )

    def tick(self, at: datetime) -> int:
        self.clock.at = at
        return Scheduler(self.engine).tick()

    def slots(self, connection_id: str = "c1") -> list[tuple[datetime, SlotOutcome]]:
        with self.catalog.read() as tx:
            found = catalogs.schedules.list_slots(tx, connection_id, limit=10_000)
        return [(slot.slot_at, slot.outcome) for slot in reversed(found)]

    def settle(self, state: JobState = JobState.SUCCEEDED) -> None:
        """Every job that waits is done."""
        with self.catalog.write() as tx:
            tx.change(update(jobs).where(jobs.c.state == "queued").values(state=state.value))

    def proven(self, id_: str, at: datetime, verdict: Verdict | None = Verdict.PROVEN) -> None:
        """A snapshot of ``c1``, drilled where a verdict is given."""
        with self.catalog.write() as tx:
            seq = catalogs.connections.next_seq(tx, "c1")
            catalogs.jobs.create(tx, replace(job(f"j-{id_}", at=at), state=JobState.SUCCEEDED))
            made = replace(snapshot(id_, seq=seq), job_id=f"j-{id_}", taken_at=at)
            catalogs.snapshots.add(tx, made)
            if verdict is not None:
                catalogs.drills.add(tx, replace(drill(f"d-{id_}", id_, verdict), job_id=f"j-{id_}"))


@pytest.fixture
def bench(filled: Catalog, tmp_path: Path) -> Bench:
    return Bench(filled, tmp_path)


def at(hour: int, minute: int = 0, day: int = 23) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def test_a_slot_that_is_due_is_started_once(bench: Bench) -> None:
    view = bench.engine.schedules.set("name-c1", when="hourly", zone="UTC")
    assert (view.next_at, view.words, view.enabled) == (at(12), "hourly", True)
    assert bench.tick(at(11, 59)) == 0
    assert bench.tick(at(12)) == 1
    assert bench.tick(at(12)) == 0
    assert bench.slots() == [(at(12), SlotOutcome.STARTED)]
    with bench.catalog.read() as tx:
        (queued,) = catalogs.jobs.queued(tx)
        (slot,) = catalogs.schedules.list_slots(tx, "c1", limit=2)
    assert bench.woken == [queued.id] == [slot.job_id]
    assert (queued.kind, queued.connection_id, queued.with_drill) == (JobKind.CHECKPOINT, "c1", True)
    assert queued.requested_by == "schedule"
    assert bench.engine.schedules.show("name-c1").next_at == at(13)


def test_what_was_missed_is_written_down_and_run_once(bench: Bench) -> None:
    bench.engine.schedules.set("name-c1", when="hourly", zone="UTC")
    assert bench.tick(at(12)) == 1
    bench.settle()
    assert bench.tick(at(16, 20)) == 1
    outcomes = [outcome for _, outcome in bench.slots()]
    assert [when for when, _ in bench.slots()] == [at(12), at(13), at(14), at(15), at(16)]
    assert outcomes == [SlotOutcome.STARTED, *[SlotOutcome.MISSED] * 3, SlotOutcome.STARTED]
    assert bench.engine.schedules.show("name-c1").next_at == at(17)


def test_months_without_a_worker_are_no_burden(bench: Bench) -> None:
    bench.engine.schedules.set("name-c1", when="hourly", zone="UTC")
    assert bench.tick(SET_AT + 400 * DAY) == 1
    found = bench.slots()
    assert len(found) == 31 * 24
    assert found[-1] == (SET_AT + 400 * DAY - HOUR / 2, SlotOutcome.STARTED)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.BLOCKED])
def test_while_a_checkpoint_runs_or_waits_there_is_no_second(bench: Bench, state: JobState) -> None:
    with bench.catalog.write() as tx:
        catalogs.jobs.create(tx, replace(job("j1"), state=state))
    bench.engine.schedules.set("name-c1", when="hourly", zone="UTC")
    bench.engine.schedules.set("name-c2", when="hourly", zone="UTC")
    assert bench.tick(at(14)) == 1
    assert bench.slots("c2")[-1] == (at(14), SlotOutcome.STARTED)
    assert bench.slots() == [
        (at(12), SlotOutcome.MISSED),
        (at(13), SlotOutcome.MISSED),
        (at(14), SlotOutcome.OVERLAPPED),
    ]
    with bench.catalog.write() as tx:
        tx.change(update(jobs).where(jobs.c.id == "j1").values(state=JobState.FAILED.value))
    assert bench.tick(at(15)) == 2 - 1  # that of c2 still waits
    assert bench.slots()[-1] == (at(15), SlotOutcome.STARTED)


def test_a_drill_or_a_restore_holds_nothing_up(bench: Bench) -> None:
    with bench.catalog.write() as tx:
        catalogs.jobs.create(tx, job("j1", kind=JobKind.DRILL))
        catalogs.jobs.create(tx, job("j2", kind=JobKind.RESTORE))
    bench.engine.schedules.set("name-c1", when="hourly", zone="UTC")
    assert bench.tick(at(12)) == 1


def test_many_workers_at_once_decide_each_slot_once(filled: Catalog, catalog_url: str, tmp_path: Path) -> None:
    """Each comes with a connection of its own to the catalog, and all of them have seen the slot before one decides."""
    ids = [f"m{n:02}" for n in range(12)]
    with filled.write() as tx:
        for id_ in ids:
            catalogs.connections.add(tx, connection(id_))
    bench = Bench(filled, tmp_path)
    for id_ in ids:
        bench.engine.schedules.set(f"name-{id_}", when="hourly", zone="UTC")
    workers = 6
    seen = threading.Barrier(workers)

    def wait_for_all() -> None:
        seen.wait(20)

    def work(_n: int) -> int:
        with Catalog.open(catalog_url) as own:
            engine = Engine(
                places.locate(tmp_path),
                Settings(),
                own,
                clock=StoppedClock(at(12)),
                wake=lambda _id: None,
                held_keys=None,
            )
            return Scheduler(engine).tick(meanwhile=wait_for_all)

    with ThreadPoolExecutor(workers) as pool:
        assert sum(pool.map(work, range(workers))) == len(ids)
    with filled.read() as tx:
        assert len(tx.rows(select(slots))) == len(ids)
        assert sorted(j.connection_id for j in catalogs.jobs.queued(tx)) == ids


def test_more_are_due_than_one_transaction_takes(bench: Bench) -> None:
    with bench.catalog.write() as tx:
        made = connection("x")
        rows = [
            {"id": f"x{n}", "name": f"x{n}", "destination_id": "d1", "conninfo_sealed": "", "accept_empty": False}
            | {"created_at": made.created_at}
            for n in range(130)
        ]
        tx.change(insert(connections).values(rows))
        due = {"cron": "0 * * * *", "time_zone": "UTC", "next_at": at(12), "changed_at": SET_AT}
        tx.change(insert(schedules).values([{"connection_id": f"x{n}", **due} for n in range(130)]))
    assert bench.tick(at(12)) == 130
    assert len(set(bench.woken)) == 130


def test_what_nobody_can_read_holds_no_other_up(bench: Bench) -> None:
    bench.engine.schedules.set("name-c1", when="hourly", zone="UTC")
    bench.engine.schedules.set("name-c2", when="hourly", zone="UTC")
    with bench.catalog.write() as tx:
        tx.change(update(schedules).where(schedules.c.connection_id == "c1").values(time_zone="Mars/Olympus"))
    with pytest.raises(ConfigError) as caught:
        bench.tick(at(12))
    assert caught.value.code == "config.zone"
    assert bench.slots("c2") == [(at(12), SlotOutcome.STARTED)]
    with bench.catalog.write() as tx:
        tx.change(update(schedules).where(schedules.c.connection_id == "c1").values(time_zone="UTC"))
    bench.tick(at(14, 30))
    assert [when for when, _ in bench.slots()] == [at(12), at(13), at(14)]


def test_a_clock_that_is_put_back_starts_nothing_twice(bench: Bench) -> None:
    bench.engine.schedules.set("name-c1", when="hourly", zone="UTC")
    assert bench.tick(at(12, 1)) == 1
    bench.settle()
    with bench.catalog.write() as tx:
        catalogs.schedules.move(tx, "c1", at(12))  # as the time zone's rules, or a clock, may have it
    assert bench.tick(at(12, 2)) == 0
    assert bench.slots() == [(at(12), SlotOutcome.STARTED)]
    with pytest.raises(Exception, match="slots"), bench.catalog.write() as tx:  # and nobody else can
        catalogs.schedules.add_slots(tx, [Slot("c1", at(12), SlotOutcome.STARTED, None, NOW)])


def test_paused_time_is_not_missed(bench: Bench) -> None:
    bench.engine.schedules.set("name-c1", when="hourly", zone="UTC")
    bench.clock.at = at(11, 40)
    assert bench.engine.schedules.set("name-c1", enabled=False).next_at is None
    assert bench.tick(at(18)) == 0
    assert bench.engine.schedules.next() == ()
    view = bench.engine.schedules.set("name-c1", enabled=True)
    assert (view.words, view.next_at) == ("hourly", at(19))
    assert bench.tick(at(19)) == 1
    assert bench.slots() == [(at(19), SlotOutcome.STARTED)]


def test_setting_what_is_set_changes_nothing(bench: Bench) -> None:
    bench.engine.schedules.set("name-c1", when="hourly", zone="UTC")
    with bench.catalog.read() as tx:
        before = catalogs.events.last(tx)
    bench.clock.at = at(13, 30)  # two are due
    bench.engine.schedules.set("name-c1", when="0 * * * *", drills="every")
    with bench.catalog.read() as tx:
        assert catalogs.events.last(tx) == before
    assert bench.tick(at(13, 31)) == 1
    assert len(bench.slots()) == 2


def test_a_connection_that_is_forgotten_has_no_slots(bench: Bench) -> None:
    bench.engine.schedules.set("name-c1", when="hourly", zone="UTC")
    with bench.catalog.write() as tx:
        catalogs.connections.remove(tx, "c1", at(11, 45))
    assert [view.connection for view in bench.engine.schedules.list()] == ["name-c2"]
    assert bench.tick(at(12)) == 0
    assert bench.slots() == []
    with bench.catalog.read() as tx:
        assert catalogs.schedules.get(tx, "c1") is None


def test_which_snapshots_are_drilled(bench: Bench) -> None:
    """The third since the newest proof; a drill that proves nothing does not count."""
    bench.engine.schedules.set("name-c1", when="hourly", zone="UTC", drills="every 3")
    told = []
    verdicts = [Verdict.PROVEN, None, None, Verdict.FAILED, Verdict.PROVEN, None]
    for n, verdict in enumerate(verdicts):
        bench.tick(at(12 + n))
        with bench.catalog.read() as tx:
            (queued,) = catalogs.jobs.queued(tx)
        told.append(queued.with_drill)
        bench.settle()
        bench.proven(f"s{n}", at(12 + n, 1), verdict if queued.with_drill else None)
    assert told == [True, False, False, True, True, False]


def test_a_checkpoint_by_hand_is_always_drilled(bench: Bench) -> None:
    bench.engine.schedules.set("name-c1", drills="every 100")
    bench.proven("s0", at(11))
    bench.engine.jobs.checkpoint("name-c1")
    with bench.catalog.read() as tx:
        assert [j.with_drill for j in catalogs.jobs.queued(tx)] == [True]


def test_overdue_is_the_ledgers_business(bench: Bench) -> None:
    """No scheduler runs here, and what it left behind says the opposite."""

    def line() -> tuple[float | None, bool, bool]:
        found = bench.engine.watch.overview().headlines[0]
        return found.proof_target_s, found.target_by_schedule, found.overdue

    assert line() == (None, False, False)
    bench.engine.schedules.set("name-c1", when="every 6 h", zone="UTC")
    assert line() == (9 * 3600, True, False), "it has only been set"
    bench.clock.at = SET_AT + timedelta(hours=9, minutes=1)
    assert line() == (9 * 3600, True, True)
    with bench.catalog.write() as tx:
        catalogs.schedules.move(tx, "c1", SET_AT + 90 * DAY)
    assert line()[2]
    bench.proven("s0", SET_AT)
    assert line()[2], "nine hours and a minute old"
    bench.proven("s1", SET_AT + HOUR)
    assert not line()[2]
    bench.proven("s2", SET_AT + 8 * HOUR, Verdict.FAILED)
    bench.clock.at = SET_AT + timedelta(hours=10, minutes=1)
    assert line()[2]
    bench.engine.connections.set_targets("name-c1", proof_s=86_400, restore_s=None)
    assert line() == (86_400, False, False), "what the operator says counts"
    bench.engine.connections.set_targets("name-c1", proof_s=None, restore_s=None)
    bench.engine.schedules.set("name-c1", enabled=False)
    assert line() == (None, False, False)


def test_the_ledger_says_what_comes_next(bench: Bench) -> None:
    bench.engine.schedules.set("name-c1", when="daily at 03:00", zone="Europe/Berlin", drills="daily")
    first, second = bench.engine.watch.overview().headlines
    assert (first.next_run_at, first.schedule) == (at(2, day=24), "daily at 03:00 · Europe/Berlin")
    assert (first.paused, first.drills) == (False, "the newest snapshot of each day")
    assert (second.next_run_at, second.schedule, second.drills) == (None, "", "every snapshot")


def test_what_is_said_and_by_whom_is_written_down(bench: Bench) -> None:
    with acting_as(Principal("operator:alice", Role.OPERATOR)):
        bench.engine.schedules.set("name-c1", when="daily", zone="utc", drills="every 5")
        bench.engine.schedules.set("name-c1", enabled=False)
        bench.engine.schedules.remove("name-c1")
    with bench.catalog.read() as tx:
        events = [(e.actor, e.kind, e.subject, e.told) for e in reversed(catalogs.events.list_recent(tx, limit=10))]
    name = {"name": "name-c1"}
    told = {**name, "cron": "0 3 * * *", "zone": "UTC"}
    assert events == [
        ("operator:alice", "schedule.set", "c1", {**told, "enabled": True}),
        ("operator:alice", "drills.set", "c1", {**name, "drills": "every 5"}),
        ("operator:alice", "schedule.set", "c1", {**told, "enabled": False}),
        ("operator:alice", "schedule.removed", "c1", name),
    ]


def test_who_only_looks_sets_nothing(bench: Bench) -> None:
    with acting_as(Principal("operator:eve", Role.VIEWER)):
        for change in (
            lambda: bench.engine.schedules.set("name-c1", when="hourly"),
            lambda: bench.engine.schedules.remove("name-c1"),
        ):
            with pytest.raises(AccessDenied):
                change()
        assert bench.engine.schedules.show("name-c1").words == "on demand"


def test_what_cannot_be_set(bench: Bench) -> None:
    for change, code in (
        (lambda: bench.engine.schedules.set("name-c1"), "config.invalid"),
        (lambda: bench.engine.schedules.set("name-c1", enabled=True), "config.not-found"),
        (lambda: bench.engine.schedules.set("name-c1", zone="UTC"), "config.not-found"),
        (lambda: bench.engine.schedules.set("nobody", when="hourly"), "config.not-found"),
        (lambda: bench.engine.schedules.set("name-c1", when="0 0 30 2 *"), "config.cron"),
        (lambda: bench.engine.schedules.set("name-c1", when="hourly", zone="Here"), "config.zone"),
        (lambda: bench.engine.schedules.set("name-c1", drills="never"), "config.invalid"),
        (lambda: bench.engine.schedules.remove("name-c1"), "config.not-found"),
        (lambda: bench.engine.schedules.next("name-c1"), "config.not-found"),
        (lambda: bench.engine.schedules.next(count=0), "config.invalid"),
    ):
        with pytest.raises(ConfigError) as caught:
            change()
        assert caught.value.code == code
    with bench.catalog.read() as tx:
        assert catalogs.events.last(tx) is None


def test_the_next_slots(bench: Bench) -> None:
    bench.engine.schedules.set("name-c1", when="daily at 03:00", zone="Europe/Berlin")
    (found,) = bench.engine.schedules.next(count=2)
    assert (found.connection, found.time_zone, found.at) == ("name-c1", "Europe/Berlin", (at(2, day=24), at(2, day=25)))
    assert found.local == ("Tue 2026-11-24 03:00 CET", "Wed 2026-11-25 03:00 CET")
    words, same = bench.engine.schedules.preview("daily 3:00", "europe/berlin", count=2)
    assert (words, same.at, same.time_zone) == ("daily at 03:00", found.at, "Europe/Berlin")


def test_a_look_costs_what_is_due(bench: Bench) -> None:
    """One statement where nothing is due."""
    bench.engine.schedules.set("name-c1", when="hourly", zone="UTC")
    said: list[str] = []
    event.listen(bench.catalog._engine, "before_cursor_execute", lambda *args: said.append(str(args[2])))
    bench.tick(at(11, 50))
    assert [text for text in said if "SELECT" in text and "schedules" in text] == said[-1:]
    assert "LIMIT" in said[-1]
