"""Home: what it says at both sizes, and every key on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine import catalog as catalogs
from engine.model import JobProgress, JobState
from screens.ledger import LedgerPage
from screens.widgets.bar import Bar
from screens.widgets.rows import Rows
from tests.fixtures.history import NOW, History, acme
from tests.fixtures.pilot import SIZES, app_of, console, screen_text, until, until_shown

Scene = Callable[[Pilot[None]], Awaitable[None]]


def play(history: History, scene: Scene, size: tuple[int, int] = (80, 24)) -> None:
    async def run() -> None:
        async with console(history, size) as pilot:
            await scene(pilot)

    asyncio.run(run())


def lines(pilot: Pilot[None]) -> Rows[Any]:
    return pilot.app.screen.query_one("#lines", Rows)


@pytest.mark.parametrize("size", SIZES)
def test_freshness_stands_first_and_overdue_on_top(history: History, size: tuple[int, int]) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        text = screen_text(pilot).splitlines()
        assert "warehouse" in text[2]
        assert "! 9 h 00 m ago OVERDUE" in text[2]
        assert "⛭ 47 min ago" in text[3]
        assert "⛭ 12 min ago" in text[4]
        assert any("⛭ PROVEN WITH SKIPS (2)" in line for line in text)
        assert any("✗ FAILED  public.orders" in line for line in text)
        assert any("✗ no snapshot" in line for line in text)
        assert "worker ● up" in screen_text(pilot)

    play(history, scene, size)


def test_an_empty_ledger_says_what_to_do(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "Nothing is protected yet.")
        assert "Press 2, then n" in screen_text(pilot)

    play(history, scene)


def test_a_connection_without_a_checkpoint_leads_to_one(history: History) -> None:
    history.connection("fresh")

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "No checkpoint yet.")
        assert "○ never proven" in screen_text(pilot)

    play(history, scene)


def test_a_checkpoint_is_one_key_and_an_optional_tag(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("c")
        await until_shown(pilot, "Checkpoint of prod-api, tag (optional):")
        await pilot.press(*"v2", "enter")
        await until_shown(pilot, "checkpoint of prod-api is queued")
        await until_shown(pilot, "● waiting  v2")
        assert lines(pilot).has_focus

    play(history, scene)
    job = history.engine.jobs.recent(1)[0]
    assert (job.connection, job.tag, job.state) == ("prod-api", "v2", JobState.QUEUED)


def test_escape_leaves_the_question_and_starts_nothing(history: History) -> None:
    acme(history)
    before = history.engine.jobs.recent(1)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("c", "x", "escape")
        await pilot.pause()
        assert not pilot.app.screen.query_one(Bar).asking
        assert lines(pilot).has_focus

    play(history, scene)
    assert history.engine.jobs.recent(1) == before


def test_without_a_worker_it_says_how_to_start_one(history: History) -> None:
    history.connection("lonely")

    async def scene(pilot: Pilot[None]) -> None:
        assert "! no worker (w starts one)" in screen_text(pilot)
        await pilot.press("c", "enter")
        await until_shown(pilot, "but no worker is running")
        assert "offsitedb worker" in screen_text(pilot)

    play(history, scene)


def test_a_bad_tag_is_a_notice_with_what_to_do(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("c")
        pilot.app.screen.query_one("#bar-input", Input).value = "t" * 101
        await pilot.press("enter")
        await until_shown(pilot, "[config.invalid]")
        assert "Choose a shorter, plain tag." in screen_text(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: "config.invalid" not in screen_text(pilot), "the notice to go")

    play(history, scene)


def test_d_drills_the_snapshot_under_the_cursor(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("down", "d")
        await until_shown(pilot, "drill of billing is queued")

    play(history, scene)
    assert history.engine.jobs.recent(1)[0].connection == "billing"


def test_a_line_without_a_snapshot_cannot_be_drilled(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        rows = lines(pilot)
        failed = next(n for n, line in enumerate(rows.items) if line.snapshot_id is None)
        await pilot.press(*["down"] * failed, "d")
        await until_shown(pilot, "there is no snapshot under the cursor")

    play(history, scene)


def test_the_filter_looks_as_one_types(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"billing")
        await until_shown(pilot, "with “billing” · 1 lines")
        await pilot.press("enter")
        assert lines(pilot).has_focus
        await pilot.press("escape")
        await until_shown(pilot, "LEDGER  all")
        await pilot.press("slash", *"no such word")
        await until_shown(pilot, "no line holds that word")
        await pilot.press("escape")
        await until_shown(pilot, "LEDGER  all")

    play(history, scene)


def test_copy_goes_through_the_terminal(history: History) -> None:
    acme(history)
    newest = history.engine.ledger.entries(limit=1)[0].snapshot
    assert newest is not None

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("y")
        await until_shown(pilot, "copied the snapshot's id (32 characters)")
        assert pilot.app.clipboard == newest.id

    play(history, scene)


@pytest.mark.parametrize(
    ("keys", "at"),
    [
        (["down", "j"], 2),
        (["end"], 21),
        (["G", "g"], 0),
        (["end", "up", "k"], 19),
        (["pagedown", "space", "home"], 0),
        (["end", "pageup", "pagedown"], 21),
    ],
)
def test_keys_that_move(history: History, keys: list[str], at: int) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press(*keys)
        await pilot.pause()
        assert lines(pilot).cursor == at
        row = lines(pilot).row_text(at).strip()
        assert row in screen_text(pilot)  # the cursor's line is always in sight

    play(history, scene)


def test_tab_goes_to_the_connections_and_c_means_the_one_there(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("tab", "c")
        await until_shown(pilot, "Checkpoint of warehouse")
        await pilot.press("escape", "tab")
        await pilot.pause()
        assert lines(pilot).has_focus

    play(history, scene)


def test_a_running_job_shows_phase_percent_speed_and_what_is_left(history: History) -> None:
    prod = history.connection("prod-api")
    history.worker()
    halfway = JobProgress("restore", 61, 100, "bytes", "", 2.0, NOW)
    job = history.job(prod, NOW - timedelta(minutes=1), state=JobState.RUNNING, progress=halfway)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "● restore 61 %")
        assert "2 B/s" in screen_text(pilot)
        assert "ETA 20 s" in screen_text(pilot)
        with history.engine.catalog.write() as tx:
            catalogs.jobs.report(tx, job.id, job.fence, replace(halfway, done=80))
        await until_shown(pilot, "● restore 80 %")

    play(history, scene)


@pytest.mark.parametrize(
    ("number", "mode"),
    [("2", "connections"), ("3", "snapshots"), ("4", "drill"), ("5", "reports"), ("6", "settings"), ("1", "ledger")],
)
def test_number_keys_go_to_the_pages(history: History, number: str, mode: str) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press(number)
        await until(pilot, lambda: app_of(pilot).current_mode == mode, mode)

    play(history, scene)


def test_the_mouse_opens_pages_and_moves_the_cursor(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.click("#lines", offset=(5, 3))
        await pilot.pause()
        assert lines(pilot).cursor == 2
        await pilot.click("Nav", offset=(36, 0))
        await until(pilot, lambda: app_of(pilot).current_mode == "snapshots", "the snapshots")

    play(history, scene)


@pytest.mark.parametrize("place", ["lines", "headlines"])
def test_enter_opens_what_the_cursor_is_on(history: History, place: str) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        if place == "headlines":
            await pilot.press("tab")
        await pilot.press("enter")
        wanted = "snapshots" if place == "lines" else "connections"
        await until(pilot, lambda: app_of(pilot).current_mode == wanted, wanted)

    play(history, scene)


def test_refresh_looks_at_once(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        history.connection("newcomer")
        await pilot.press("r")
        await until_shown(pilot, "newcomer", deadline_s=3.0)

    play(history, scene)


def test_ten_thousand_snapshots_open_and_scroll_at_once(history: History) -> None:
    """Half a second of work to open a page, a tenth for a key press: counted on the processor, whatever else runs."""
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        app = app_of(pilot)
        assert app.overview is not None
        some = app.overview.lines[0]
        many = tuple(
            replace(some, snapshot_id=f"{n:032x}", job_id=f"{n:032x}", at=NOW - timedelta(minutes=n))
            for n in range(10_000)
        )
        page = app.screen
        assert isinstance(page, LedgerPage)
        began = time.process_time()
        page.take(replace(app.overview, lines=many))
        await until_shown(pilot, "10,000 lines")
        assert time.process_time() - began < 0.5
        began = time.process_time()
        await pilot.press("end", *["pageup"] * 9, "home", *["pagedown"] * 9)
        await pilot.pause()
        assert time.process_time() - began < 0.1 * 20
        assert lines(pilot).cursor > 50

    play(history, scene)


def test_an_unreadable_catalog_is_a_notice_and_not_the_end(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        moved = history.engine.paths.catalog.with_suffix(".away")
        app_of(pilot).engine.catalog.close()
        history.engine.paths.catalog.rename(moved)
        await pilot.press("r")
        await until_shown(pilot, "[catalog.")
        moved.rename(history.engine.paths.catalog)
        app_of(pilot).engine.catalog.close()
        await pilot.press("escape", "r", "2", "1")
        await until_shown(pilot, "LEDGER  all")

    play(history, scene)
