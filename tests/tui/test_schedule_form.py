"""The schedule of a connection: set as one types, shown where one looks, and what is not drilled says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update
from textual.pilot import Pilot

from engine import catalog as catalogs
from engine.catalog.schema import jobs
from engine.model import JobState
from screens.connections import ConnectionsPage
from screens.forms.schedule import ScheduleForm
from tests.fixtures.history import NOW, History, acme
from tests.fixtures.pilot import SIZES, screen_text, settled, until, until_shown
from tests.tui.driving import field, play, shown, write


async def opened(pilot: Pilot[None]) -> None:
    """The form over the first connection, ``billing``."""
    await pilot.press("2")
    await until(pilot, lambda: isinstance(pilot.app.screen, ConnectionsPage), "page 2")
    await until_shown(pilot, "on demand; s sets a schedule")
    await pilot.press("s")
    await until(pilot, lambda: isinstance(pilot.app.screen, ScheduleForm), "the form")
    await until(pilot, lambda: pilot.app.screen.focused is not None, "a field with the focus")


async def fill(pilot: Pilot[None], id: str, text: str) -> None:
    control = field(pilot, id).control
    control.value = ""
    control.focus()
    await pilot.pause()
    await write(pilot, text)


@pytest.mark.parametrize("size", SIZES)
def test_the_next_slots_stand_beneath_what_is_typed(history: History, size: tuple[int, int]) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await opened(pilot)
        assert shown(pilot) == {"when", "zone", "runs", "drills"}
        assert "daily at 03:00" in field(pilot, "when").said
        assert field(pilot, "zone").text == "UTC"
        await write(pilot, "daily at 3")
        assert "no schedule" in field(pilot, "when").said
        await write(pilot, ":30")
        await until_shown(pilot, "next Wed 2026-11-25 03:30 UTC")
        await fill(pilot, "zone", "berlin")
        assert "`Europe/Berlin`" in field(pilot, "zone").said
        await fill(pilot, "zone", "Europe/Berlin")
        await until_shown(pilot, "next Tue 2026-11-24 03:30 CET")
        field(pilot, "drills").control.focus()
        await pilot.press("right")
        assert "nth" in shown(pilot)
        await fill(pilot, "nth", "0")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "say a number from 1 to 1000")
        await fill(pilot, "nth", "7")
        await pilot.press("enter")
        await until_shown(pilot, "✓ billing: daily at 03:30, Europe/Berlin")
        await until_shown(pilot, "every 7th snapshot")
        assert "next 02:30" in screen_text(pilot)

    play(history, scene, size)
    view = history.engine.schedules.show("billing")
    assert (view.cron, view.time_zone, view.drills, view.enabled) == ("30 3 * * *", "Europe/Berlin", "every 7", True)


def test_what_does_not_do_is_said_at_its_field(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await opened(pilot)
        await write(pilot, "0 0 30 2 *")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "✗ `0 0 30 2 *` never comes")
        await fill(pilot, "when", "hourly")
        await fill(pilot, "zone", "Mars")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "✗ 'Mars' is no time zone")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConnectionsPage), "page 2")

    play(history, scene)
    assert history.engine.schedules.show("billing").cron is None


def test_pausing_and_taking_it_away(history: History) -> None:
    acme(history)
    history.engine.schedules.set("billing", when="*/30 8-18 * * 1-5", zone="UTC", drills="daily")

    async def again(pilot: Pilot[None]) -> None:
        await pilot.press("s")
        await until(pilot, lambda: isinstance(pilot.app.screen, ScheduleForm), "the form")
        await until(pilot, lambda: pilot.app.screen.focused is not None, "a field with the focus")

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("2")
        await until_shown(pilot, "cron */30 8-18 * * 1-5 · UTC")
        await until_shown(pilot, "the newest snapshot of each day")
        await again(pilot)
        assert field(pilot, "when").text == "cron */30 8-18 * * 1-5"
        field(pilot, "runs").control.focus()
        await pilot.press("right", "ctrl+t")
        await until_shown(pilot, "UTC, paused")
        await until_shown(pilot, "! paused")
        await again(pilot)
        await fill(pilot, "when", "")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "✓ billing: on demand")

    play(history, scene)
    view = history.engine.schedules.show("billing")
    assert (view.cron, view.drills) == (None, "daily")


def test_the_ledger_says_what_comes_next(history: History) -> None:
    acme(history)
    history.engine.schedules.set("billing", when="hourly", zone="UTC")
    history.engine.schedules.set("warehouse", when="weekly on thursday at 04:00", zone="UTC")
    history.engine.schedules.set("prod-api", when="monthly on 1 at 03:00", zone="UTC")

    async def scene(pilot: Pilot[None]) -> None:
        await settled(pilot)
        lines = screen_text(pilot).splitlines()
        ends = {line.split()[0]: line.rstrip() for line in lines[2:5]}
        assert ends["billing"].endswith(" 15:00")
        assert ends["warehouse"].endswith(" Thu 04:00")
        assert ends["prod-api"].endswith(" 12-01")

    play(history, scene, (120, 36))


def test_what_was_not_drilled_says_so_everywhere(history: History) -> None:
    acme(history)
    with history.engine.catalog.read() as tx:
        billing = catalogs.connections.by_name(tx, "billing")
    made = history.snapshot(billing, NOW - timedelta(minutes=5))
    with history.engine.catalog.write() as tx:
        tx.change(update(jobs).where(jobs.c.id == made.job_id).values(with_drill=False))

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "○ unproven")
        await pilot.press("3")
        await until_shown(pilot, "○ unproven")
        await pilot.press("4")
        await until_shown(pilot, "The drill policy spares this one: d drills it")
        assert "✗" not in screen_text(pilot)

    play(history, scene)
    (attempt,) = (a for a in history.engine.ledger.entries("billing") if a.drill is None)
    assert attempt.job.with_drill is False


def test_a_running_one_without_a_drill_shows_no_drill(history: History) -> None:
    acme(history)
    with history.engine.catalog.read() as tx:
        billing = catalogs.connections.by_name(tx, "billing")
    running = history.job(billing, NOW - timedelta(seconds=20), state=JobState.RUNNING)
    with history.engine.catalog.write() as tx:
        tx.change(update(jobs).where(jobs.c.id == running.id).values(with_drill=False))
        assert replace(running, with_drill=False) == catalogs.jobs.get(tx, running.id)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("4")
        await until_shown(pilot, "elapsed")
        assert "scratch cluster" not in screen_text(pilot)

    play(history, scene)
