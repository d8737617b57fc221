"""The drill page: a job as it runs, as it ended in every way, and every key on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widget import Widget

from engine import catalog as catalogs
from engine.model import Failure, Job, JobError, JobKind, JobProgress, JobState, Skip, TableResult, Verdict
from engine.model.views import JobView
from engine.model.watch import LiveJob, TableProgress
from engine.service.jobs import JobsFacet
from engine.service.watch import WatchFacet
from offsitedb_tui.app import ConsoleApp
from screens import present_drill
from screens.drill import DrillPage
from screens.receipt import ReceiptSheet
from screens.widgets.bar import Bar
from screens.widgets.lines import Lines
from tests.fixtures.history import NOW, History, acme
from tests.fixtures.installation import running_worker
from tests.fixtures.pilot import SIZES, Operator, app_of, console, screen_text, settled, until, until_shown
from tests.fixtures.shop import Shop

Scene = Callable[[Pilot[None]], Awaitable[None]]
HALF = JobProgress("restore", 206_150_000, 412_300_000, "bytes", "", 38e6, NOW)


def play(history: History, scene: Scene, size: tuple[int, int] = (80, 24)) -> None:
    async def run() -> None:
        async with console(history, size) as pilot:
            await pilot.press("4")
            await until(pilot, lambda: isinstance(pilot.app.screen, DrillPage), "the drill page")
            await scene(pilot)

    asyncio.run(run())


def page(pilot: Pilot[None]) -> DrillPage:
    found = pilot.app.screen
    assert isinstance(found, DrillPage)
    return found


def live(pilot: Pilot[None]) -> LiveJob:
    found = page(pilot)._live
    assert found is not None
    return found


def shows(pilot: Pilot[None], job: Job) -> bool:
    return live(pilot).job.id == job.id


def drilling(history: History, progress: JobProgress | None = HALF) -> Job:
    """A connection with a past, and a drill that runs."""
    connection = history.connection("prod-api", provider="Supabase")
    snapshot, _ = history.drilled(connection, NOW - timedelta(hours=1), restore_s=94.0)
    history.worker()
    return history.job(
        connection,
        NOW - timedelta(seconds=62),
        kind=JobKind.DRILL,
        state=JobState.RUNNING,
        progress=progress,
        snapshot_id=snapshot.id,
        log=["fetch", "restore: as a role without privileges"],
    )


@pytest.mark.parametrize("size", SIZES)
def test_a_running_drill(history: History, size: tuple[int, int]) -> None:
    drilling(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "✓ fetch, check, decrypt")
        text = screen_text(pilot)
        assert "Drill of prod-api" in text
        assert "taken 13:02:10 · 412.3 MB" in text
        assert "● restore data and indexes" in text
        assert "█░" in text
        assert "50 %" in text
        assert "206.2 of 412.3 MB" in text
        assert "– count and compare         usually 3.8 s" in text
        assert "elapsed 62 s" in text
        assert "38.0 MB/s" in text
        assert "last drill 94 s" in text
        assert "4,102,533" in text
        assert "x cancel" in text
        assert "drill again" not in text

    play(history, scene, size)


def test_a_step_forward_repaints_its_lines_only(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    job = drilling(history)
    painted: list[str] = []
    refresh = Widget.refresh

    def noted(widget: Widget, *regions: Region, **options: Any) -> Widget:
        painted.append(f"{widget.id} {[r.y for r in regions]}")
        return refresh(widget, *regions, **options)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "50 %")
        for done, words in ((250_000_000, "60 %"), (300_000_000, "72 %")):
            await settled(pilot)
            painted.clear()
            monkeypatch.setattr(Widget, "refresh", noted)
            with history.engine.catalog.write() as tx:
                catalogs.jobs.report(tx, job.id, job.fence, replace(HALF, done=done))
            app_of(pilot).nudge()
            await until_shown(pilot, words)
        assert "phases [3]" in painted
        assert not [p for p in painted if p.startswith(("tables", "drill-title")) or p == "phases []"]

    play(history, scene)


def test_the_log_and_back(history: History) -> None:
    drilling(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "public.events")
        await pilot.press("l")
        await until_shown(pilot, "as a role without privileges")
        assert "public.events" not in screen_text(pilot)
        assert isinstance(pilot.app.focused, Lines)
        await pilot.press("l")
        await until_shown(pilot, "public.events")
        await pilot.press("l")
        await until_shown(pilot, "as a role without privileges")
        await pilot.press("escape")
        await until_shown(pilot, "public.events")

    play(history, scene)


def test_cancel_asks_and_defaults_to_no(history: History) -> None:
    job = drilling(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "x cancel")
        await pilot.press("x")
        await until_shown(pilot, "Cancel this drill of prod-api?")
        await pilot.press("enter")
        await until_shown(pilot, "it goes on")
        assert not history.engine.jobs.get(job.id).cancel_requested
        await pilot.press("x")
        await until(pilot, lambda: page(pilot).query_one(Bar).asking, "the question")
        await pilot.press("escape")
        assert not history.engine.jobs.get(job.id).cancel_requested
        await pilot.press("x", "y", "enter")
        await until_shown(pilot, "● cancelling")
        assert history.engine.jobs.get(job.id).cancel_requested

    play(history, scene)


def test_stepping_through_the_jobs(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "⛭ PROVEN")
        newest = live(pilot).job.id
        for older, newer in (
            ("left_square_bracket", "right_square_bracket"),
            ("left", "right"),
        ):
            await pilot.press(older)
            await until(pilot, lambda: live(pilot).job.id != newest, "the job before")
            await pilot.press(newer)
            await until(pilot, lambda: live(pilot).job.id == newest, "the newest job")
        await pilot.press("right")
        await until_shown(pilot, "this is the newest job")

    play(history, scene)


def test_enter_opens_the_receipt(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "⛭ PROVEN")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ReceiptSheet), "the receipt")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, DrillPage), "the drill page")
        page(pilot).set_focus(None)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ReceiptSheet), "the receipt, without the list")

    play(history, scene)


def test_drill_again_and_copy(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "⛭ PROVEN")
        ended = live(pilot).job
        await pilot.press("y")
        assert pilot.app.clipboard == ended.id
        await pilot.press("d")
        await until_shown(pilot, "waiting for a worker")
        assert live(pilot).job.kind is JobKind.DRILL
        assert live(pilot).job.snapshot_id == ended.snapshot_id

    play(history, scene)


def test_a_checkpoint_that_was_asked_for_here_is_watched_here(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "⛭ PROVEN")
        await pilot.press("c")
        await until_shown(pilot, "Checkpoint of prod-api")
        await pilot.press(*"now", "enter")
        await until_shown(pilot, "waiting for a worker")
        assert live(pilot).job.tag == "now"
        assert "– dump, encrypt, upload" in screen_text(pilot)
        await pilot.press("r")

    play(history, scene)


async def asked_on_the_ledger(pilot: Pilot[None]) -> None:
    """From the proven checkpoint on this page to the ledger, and a drill asked for there."""
    await until_shown(pilot, "⛭ PROVEN")
    await pilot.press("1")
    await until_shown(pilot, "LEDGER")
    await pilot.press("d")


def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A console whose poller looks only when its pause is over: the page is quicker than the look."""
    monkeypatch.setattr(ConsoleApp, "nudge", lambda _app: None)


@pytest.mark.parametrize("waits", [False, True], ids=["runs", "waits behind another"])
def test_the_drill_one_asked_for_is_the_one_to_watch(
    history: History, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    acme(history)
    blind(monkeypatch)

    async def scene(pilot: Pilot[None]) -> None:
        await asked_on_the_ledger(pilot)
        await until_shown(pilot, "is queued")
        if waits:
            history.job(history.connection("busy"), NOW, state=JobState.RUNNING)
        await pilot.press("4")
        await until_shown(pilot, "Drill of")
        asked = live(pilot).job
        assert asked.kind is JobKind.DRILL
        assert asked.state is JobState.QUEUED
        await settled(pilot)
        await pilot.press("1")
        await until_shown(pilot, "LEDGER")
        await pilot.press("4")
        await until(pilot, lambda: live(pilot).job.id == asked.id, "the same drill")

    play(history, scene)


def test_what_was_asked_for_and_has_ended_is_shown_as_it_ended(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await asked_on_the_ledger(pilot)
        await until_shown(pilot, "is queued")
        (asked,) = [job for job in history.engine.jobs.recent() if job.state is JobState.QUEUED]
        history.engine.jobs.cancel(asked.id)
        history.job(history.connection("busy"), NOW, state=JobState.RUNNING)
        await pilot.press("4")
        await until_shown(pilot, "– cancelled")
        assert live(pilot).job.id == asked.id

    play(history, scene)


def test_who_is_quicker_than_the_queue_sees_it_too(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    acme(history)
    blind(monkeypatch)
    there = threading.Event()
    drill = JobsFacet.drill

    def slowly(jobs: JobsFacet, snapshot: str) -> JobView:
        assert there.wait(20)
        return drill(jobs, snapshot)

    async def scene(pilot: Pilot[None]) -> None:
        monkeypatch.setattr(JobsFacet, "drill", slowly)
        await asked_on_the_ledger(pilot)
        await pilot.press("4")
        await until_shown(pilot, "⛭ PROVEN")
        there.set()
        await until_shown(pilot, "Drill of")

    play(history, scene)


def test_an_answer_that_comes_too_late_holds_on_to_nothing(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job that was read when one left is not what one comes back to: a checkpoint from elsewhere runs by then."""
    acme(history)
    blind(monkeypatch)
    left = threading.Event()
    read = WatchFacet.job

    def slowly(watch: WatchFacet, job_id: str) -> LiveJob:
        assert left.wait(20)
        return read(watch, job_id)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "⛭ PROVEN")
        await settled(pilot)
        shown = page(pilot)
        monkeypatch.setattr(WatchFacet, "job", slowly)
        shown._show_job(live(pilot).job.id)
        await pilot.press("1")
        await until_shown(pilot, "LEDGER")
        await until(pilot, lambda: not shown.calls.any_running, "the page to let go")
        left.set()
        running = history.job(history.connection("busy"), NOW, state=JobState.RUNNING)
        await pilot.press("4")
        await until(pilot, partial(shows, pilot, running), "what runs now")

    play(history, scene)


@pytest.mark.parametrize("size", SIZES)
def test_a_failed_drill_says_what_differs_and_what_to_do(history: History, size: tuple[int, int]) -> None:
    connection = history.connection("warehouse")
    lost = Failure("drill.mismatch", "public.orders: 1,002,033 of 1,002,117 rows came back", "Look at its triggers.")
    restored = [TableResult("public", "events", 4_102_533, 4_102_533), TableResult("public", "orders", 1_002_117, 9)]
    skips = [Skip("EVENT TRIGGER", "audit_ddl", "only a superuser can create it")]
    history.drilled(
        connection, NOW - timedelta(hours=3), Verdict.FAILED, failures=[lost], restored=restored, skips=skips
    )

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "✗ FAILED")
        text = screen_text(pilot)
        assert "1 of 2 tables equal" in text
        assert "→ Look at its triggers." in text
        assert text.index("public.orders   ") < text.index("public.events   ")
        assert "✗ differs" in text
        report = page(pilot).query_one("#report", Lines)
        assert "event trigger audit_ddl" in report.text
        await pilot.press("y")
        assert "Look at its triggers." in pilot.app.clipboard

    play(history, scene, size)


def test_jobs_without_a_verdict_say_why_and_what_next(history: History) -> None:
    connection = history.connection("warehouse")
    snapshot = history.snapshot(connection, NOW - timedelta(days=1))
    error = JobError("pg.unreachable", "the server does not answer", "Check the network.", 20)
    key = JobError("key.missing", "the master key is gone", "Put it back.", 12)
    told = (
        (
            history.failed(connection, NOW - timedelta(minutes=5), error),
            "no snapshot was made",
            "c tries again",
            "Check the network.",
        ),
        (
            history.job(connection, NOW - timedelta(minutes=4), state=JobState.CANCELLED),
            "– cancelled",
            "Nothing was registered",
            "",
        ),
        (
            history.job(
                connection,
                NOW - timedelta(minutes=3),
                kind=JobKind.DRILL,
                state=JobState.CANCELLED,
                snapshot_id=snapshot.id,
            ),
            "– cancelled",
            "d drills it",
            "",
        ),
        (
            history.job(connection, NOW - timedelta(minutes=2), state=JobState.BLOCKED, error=key),
            "! BLOCKED",
            "6 Settings, Key and recovery",
            "the master key is gone",
        ),
    )

    async def scene(pilot: Pilot[None]) -> None:
        for job, *words in told:
            app_of(pilot).go("drill", job=job.id)
            await until(pilot, partial(shows, pilot, job), "the job")
            for word in words:
                await until_shown(pilot, word)
        app_of(pilot).go("drill", job=told[0][0].id)
        await until_shown(pilot, "no snapshot was made")
        await pilot.press("y")
        assert "the server does not answer [pg.unreachable]\nCheck the network." in pilot.app.clipboard

    play(history, scene)


def test_a_restore_has_phases_of_its_own_and_says_what_was_touched(history: History) -> None:
    connection = history.connection("warehouse")
    snapshot, _ = history.drilled(connection, NOW - timedelta(days=1), restore_s=94.0)
    history.worker()
    error = JobError("pg.unreachable", "the target does not answer", "Check the network.", 20)
    made = partial(history.job, connection, kind=JobKind.RESTORE, snapshot_id=snapshot.id)
    ended = made(NOW - timedelta(minutes=9), state=JobState.FAILED, error=error)
    running = made(NOW - timedelta(seconds=5), state=JobState.RUNNING, progress=HALF)

    async def scene(pilot: Pilot[None]) -> None:
        app_of(pilot).go("drill", job=running.id)
        await until_shown(pilot, "Restore of warehouse")
        said = screen_text(pilot)
        assert "start a scratch cluster" not in said
        assert "usually" not in said
        assert "last drill" not in said
        app_of(pilot).go("drill", job=ended.id)
        await until_shown(pilot, "✗ NOT RESTORED")
        await until_shown(pilot, "The target was not touched.")
        await until_shown(pilot, "Check the network.")

    play(history, scene)


def test_nothing_has_run_yet(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "Nothing has run yet.")
        assert "Press 2, then n" in screen_text(pilot)
        await pilot.press("l", "x", "d", "left", "enter", "y")
        await until_shown(pilot, "nothing to copy")

    play(history, scene)


def test_without_a_worker_it_says_so(history: History) -> None:
    history.job(history.connection("prod-api"), NOW, state=JobState.QUEUED)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "no worker is running: w starts one")

    play(history, scene)


def test_tables_that_run_come_first() -> None:
    tables = [
        TableProgress("public", "big", 100, 100, True),
        TableProgress("public", "later", 90, None, False),
        TableProgress("public", "now", 80, 40, False),
    ]
    assert [t.table for t in present_drill.table_order(tables, ended=False)] == ["now", "big", "later"]


def test_a_job_elsewhere_is_not_read(history: History) -> None:
    """Nobody reads a job that nobody looks at."""
    drilling(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "50 %")
        shown = page(pilot)
        await pilot.press("1")
        await until_shown(pilot, "LEDGER")
        overview = app_of(pilot).overview
        assert overview is not None
        shown.look(overview)
        assert not shown.calls.running("job")

    play(history, scene)


def test_a_real_checkpoint_from_its_start_to_its_verdict_and_a_real_cancel(shop: Shop) -> None:
    place = shop.program.place

    async def run() -> None:
        app = ConsoleApp(place.engine, theme_name="offsitedb", ascii_only=False)
        async with app.run_test(size=(80, 24), notifications=True):
            pilot = Operator(app)
            await until(pilot, lambda: app.overview is not None, "the first look")
            await pilot.press("4")
            await until_shown(pilot, "Nothing has run yet.")
            await pilot.press("c")
            await until_shown(pilot, "Checkpoint of shop")
            await pilot.press("enter")
            await until_shown(pilot, "Checkpoint of shop · asked for at")
            with running_worker(place):
                await until_shown(pilot, "⛭ PROVEN", 120)
                text = screen_text(pilot)
                assert "sales.invoice" in text
                assert "1,200          1,200 ✓" in text
            await pilot.press("d")
            await until_shown(pilot, "no worker is running")
            await pilot.press("x", "y", "enter")
            await until_shown(pilot, "– cancelled")
            assert live(pilot).job.state is JobState.CANCELLED

    asyncio.run(run())
