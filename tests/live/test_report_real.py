"""A month as it really goes, at an accelerated clock: real dumps, drills, prunings and listings of a real source; its
report; and the report of the month under way through the program itself."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine import snapshot as snapshots
from engine.jobs import JobRunner
from engine.model import JobState, Verdict
from engine.model.report import DayState, Verdicts
from engine.model.retention import RetentionPolicy
from engine.service import Engine
from engine.service.access import WORKER, acting_as
from engine.service.reports import verify_bundle
from offsitedb_tui.demo.source import Admin
from tests.fixtures.history import StoppedClock
from tests.fixtures.installation import Place
from tests.fixtures.reported import utc
from tests.fixtures.shop import Shop, shop_source
from tests.test_report_bundle import stock_tools

SLOTS = (1, 6, 11, 16, 21, 26)
DOWN = 16
"""On this day there was no worker."""
SKIPPING = """
CREATE FUNCTION noticed() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER audit_ddl ON ddl_command_end EXECUTE FUNCTION noticed();
"""


class World:
    """The engine of an installation whose clock is moved, and its worker."""

    def __init__(self, engine: Engine, clock: StoppedClock) -> None:
        self.engine, self.clock = engine, clock
        self.runner = JobRunner(engine.catalog, clock, engine.work, worker_id="w", lease_s=3600)

    def duty(self, name: str) -> None:
        with acting_as(WORKER):
            next(duty for duty in self.engine.duties if duty.name == name).run()

    def run(self) -> list[JobState | None]:
        """Every job that waits, oldest first."""
        waiting = [job for job in self.engine.jobs.recent(100) if job.state is JobState.QUEUED]
        return [self.runner.run(job.id) for job in reversed(waiting)]


@pytest.fixture
def world(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    clock = StoppedClock(utc(28, 12, month=10))
    sealed = snapshots._Sealed

    def dated(*values: Any) -> Any:
        """The source's own clock says what ours does."""
        made = sealed(*values)
        return dataclasses.replace(made, taken_at=clock.now())

    monkeypatch.setattr(snapshots, "_Sealed", dated)
    with Engine.open(home=place.home, key_store=place.held, clock=clock) as engine:
        settings = dataclasses.replace(engine.settings.report, time_zone="UTC")
        engine.settings = dataclasses.replace(engine.settings, report=settings)
        yield World(engine, clock)


@pytest.mark.slow
def test_a_month_of_real_drills(world: World, server: Admin, place: Place, tmp_path: Path) -> None:
    engine, clock = world.engine, world.clock
    with shop_source(server) as (url, reader, _):
        engine.connections.add("shop", "here", reader)
        engine.connections.set_targets("shop", proof_s=6 * 86400.0, restore_s=3600.0)
        engine.schedules.set("shop", when="0 3 1,6,11,16,21,26 * *", zone="UTC")
        engine.retention.set("shop", RetentionPolicy(keep_last=2))
        engine.jobs.checkpoint("shop")
        assert world.run() == [JobState.SUCCEEDED]
        for day in SLOTS:
            if day == DOWN:
                continue
            clock.at = utc(day, 3)
            if day == 21:
                with psycopg.connect(url, autocommit=True) as conn:
                    conn.execute(SKIPPING)
            world.duty("schedules")
            assert world.run() == [JobState.SUCCEEDED]
        clock.at = utc(26, 5)
        world.duty("retention")
        assert world.run() == [JobState.SUCCEEDED]
        assert damaged_drill(world, place) is JobState.FAILED
        clock.at = utc(27, 9)
        engine.reconcile.run("here")
        world.duty("alerts")
    clock.at = utc(1, 0, 10, month=12)
    world.duty("report")
    line = engine.reports.newest("2026-11")
    told = engine.reports.show(line)
    (shop,) = told.connections
    assert (shop.due, shop.made, shop.missed) == (6, 5, 1)
    assert [m.slot_at for m in shop.missed_slots] == [utc(DOWN, 3)]
    assert shop.drills == Verdicts(proven=3, proven_with_skips=2, failed=1)
    assert shop.days[DOWN - 1].state is DayState.GAP
    assert [row.verdict for row in shop.snapshots][-1] is Verdict.FAILED
    assert any("audit_ddl" in reason for row in shop.snapshots for d in row.drills for reason in d.reasons)
    assert shop.recovery.largest_s == pytest.approx(10 * 86400, abs=60)
    assert (shop.recovery.from_at, shop.recovery.within_target) == (shop.snapshots[2].taken_at, False)
    assert [d.result for d in shop.retention.deletions].count("deleted") >= 4
    (place_told,) = told.destinations
    assert [r.mismatched + r.missing for r in place_told.reconciliations] == [0]
    assert {"failed", "overdue"} & {e.kind for e in told.exceptions}
    assert told.controls.clients
    assert told.posture
    assert stock_tools(Path(line.folder or ""))
    found = verify_bundle(Path(line.folder or ""))
    assert found.ok, found.checks


def damaged_drill(world: World, place: Place) -> JobState | None:
    """The newest snapshot's object is altered where it lies, and drilled once more; then it is put back."""
    world.clock.at += timedelta(hours=5)
    id_ = world.engine.snapshots.resolve("shop@latest")
    _, record = world.engine.snapshots.show(id_)
    path = place.destination / record.object_key
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    world.engine.jobs.drill(id_)
    (state,) = world.run()
    path.write_bytes(whole)
    return state


@pytest.mark.slow
def test_the_program_builds_shows_exports_and_verifies(shop: Shop, tmp_path: Path) -> None:
    program = shop.program
    program.run("checkpoint", "shop", "--wait", "--json").document()
    month = f"{datetime.now().astimezone():%Y-%m}"
    built = program.run("report", "build", "--month", month, "--json").document()
    assert (built["month"], built["revision"], built["proven"]) == (month, 1, built["drills"])
    (listed,) = program.call("report", "list", "--json").document()
    assert listed == built
    assert "RESTORE DRILL REPORT" in program.call("report", "show").out
    assert program.call("report", "show", month, "--format", "json").document()["connections"][0]["name"] == "shop"
    archive = tmp_path / "report.zip"
    program.call("report", "export", month, str(archive), "--json").document()
    # on another machine: no installation, no catalog, no key
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OFFSITEDB_HOME": str(tmp_path / "nothing")}
    argv = [sys.executable, "-m", "offsitedb_tui", "report", "verify", str(archive)]
    done = subprocess.run(argv, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "is as it was signed" in done.stdout
    assert not (tmp_path / "nothing").exists()
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    assert subprocess.run([*argv, "--json"], env=bare, capture_output=True, check=False).returncode == 40
    assert program.call("report", "build", "--month", "2026-13", "--json").error(2)["code"] == "config.month"
    assert program.call("report", "show", "1999-01", "--json").error(2)["code"] == "config.not-found"
