"""Reports: the drills of each connection counted, and every receipt one key away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from engine.model import Failure, JobState, Verdict
from engine.service.drills import DrillsFacet
from screens.present_reports import tallies
from screens.receipt import ReceiptSheet
from screens.reports import ReportsPage
from screens.widgets.rows import Rows
from tests.fixtures.history import NOW, History, acme
from tests.fixtures.pilot import SIZES, app_of, console, screen_text, until, until_shown

Scene = Callable[[Pilot[None]], Awaitable[None]]
KEYS = 7


def play(history: History, scene: Scene, size: tuple[int, int] = (80, 24), *, start: bool = True) -> None:
    async def run() -> None:
        async with console(history, size) as pilot:
            if start:
                await pilot.press("5")
                await until(pilot, lambda: isinstance(pilot.app.screen, ReportsPage), "the page")
            await scene(pilot)

    asyncio.run(run())


def drills(pilot: Pilot[None]) -> Rows[Any]:
    return pilot.app.screen.query_one("#drills", Rows)


async def another_look(pilot: Pilot[None]) -> None:
    before = app_of(pilot).overview
    app_of(pilot).nudge()
    await until(pilot, lambda: app_of(pilot).overview is not before, "another look")


@pytest.mark.parametrize("size", SIZES)
def test_counts_on_top_and_every_drill_below(history: History, size: tuple[int, int]) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "DRILLS  all · 21 · newest first")
        lines = screen_text(pilot).splitlines()
        billing, prod, warehouse = (line.split() for line in lines[2:5])
        assert billing[:5] == ["billing", "1", "1", "–", "–"]
        assert prod[:5] == ["prod-api", "10", "10", "–", "–"]
        assert warehouse[:5] == ["warehouse", "10", "9", "1", "–"]
        assert "210 s · 240 s" in lines[4]
        assert "✗ FAILED 2 h 56 m" in lines[4]
        assert "⛭ PROVEN  pre-deploy-4f2a1c" in screen_text(pilot)
        assert "✗ FAILED  public.orders" in screen_text(pilot)

    play(history, scene, size)


def test_a_drill_that_could_not_be_carried_out_is_not_a_failure(history: History) -> None:
    shop = history.connection("shop")
    lost = Failure("drill.isolation", "no sanox here", "Install bubblewrap.")
    history.drilled(shop, NOW - timedelta(hours=2), restore_s=30.0)
    history.drilled(shop, NOW - timedelta(hours=1), Verdict.COULD_NOT_VERIFY, restore_s=0.0, failures=[lost])
    counted = tallies(history.engine.drills.recent())[0]
    assert (counted.drills, counted.proven, counted.failed, counted.unknown) == (2, 1, 0, 1)
    assert (counted.p50_s, counted.worst_s) == (30.0, 30.0)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "? COULD NOT VERIFY  no san")

    play(history, scene)


@pytest.mark.parametrize(("connections", "said"), [(0, "Press 2, then n"), (1, "Press c: a snapshot is taken")])
def test_an_empty_page_says_what_to_do(history: History, connections: int, said: str) -> None:
    for n in range(connections):
        history.connection(f"c{n}")

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "there is no receipt")
        assert said in screen_text(pilot)
        await pilot.press("e", "slash", "tab", "enter", "y")
        await until_shown(pilot, "there is nothing to copy here")
        await pilot.press("escape", "d")
        await until_shown(pilot, "there is no snapshot under the cursor")
        await pilot.press("escape", "c")
        await until_shown(pilot, "Checkpoint of c0" if connections else "there is no connection")

    play(history, scene)


def test_enter_opens_the_receipt(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "all · 21")
        await pilot.press("down", "enter")
        await until_shown(pilot, "Receipt of prod-api")
        await until_shown(pilot, "⛭ PROVEN WITH SKIPS (2)")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ReportsPage), "the page")
        assert drills(pilot).cursor == 1
        await pilot.click("#drills", offset=(5, 4))
        await pilot.click("#drills", offset=(5, 4))
        await until(pilot, lambda: isinstance(pilot.app.screen, ReceiptSheet), "the receipt")

    play(history, scene)


def test_export_from_the_list(history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acme(history)
    monkeypatch.setenv("HOME", str(tmp_path))
    newest = history.engine.drills.recent(limit=1)[0]

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "all · 21")
        await pilot.press("e", "enter")
        await until_shown(pilot, "written as it was signed")

    play(history, scene)
    made = tmp_path / f"prod-api-receipt-{newest.id[:12]}.json"
    assert made.read_text() == history.engine.drills.receipt(newest.id).text


def test_the_filter_looks_as_one_types(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "all · 21")
        await pilot.press("slash", *"failed")
        await until_shown(pilot, "with “failed” · 1 of 21")
        await pilot.press("enter", "escape")
        await until_shown(pilot, "all · 21")
        await pilot.press("slash", *"no such word")
        await until_shown(pilot, "no drill holds that word")
        await pilot.press("escape")
        await until_shown(pilot, "all · 21")

    play(history, scene)


def test_tab_and_enter_show_the_drills_of_one_connection(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "all · 21")
        await pilot.press("tab", "down", "down", "c")
        await until_shown(pilot, "Checkpoint of warehouse")
        await pilot.press("escape", "enter")
        await until_shown(pilot, "with “warehouse” · 10 of 21")
        assert drills(pilot).has_focus
        await pilot.press("tab", "shift+tab")
        assert drills(pilot).has_focus

    play(history, scene)


def test_d_drills_that_snapshot_again_and_y_copies_the_id(history: History) -> None:
    acme(history)
    newest = history.engine.drills.recent(limit=1)[0]

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "all · 21")
        await pilot.press("y")
        await until_shown(pilot, "copied the drill's id")
        assert pilot.app.clipboard == newest.id
        await pilot.press("escape", "d")
        await until_shown(pilot, "drill of prod-api is queued")

    play(history, scene)
    job = history.engine.jobs.recent(1)[0]
    assert (job.snapshot_id, job.state) == (newest.snapshot_id, JobState.QUEUED)


def test_somebody_comes_for_one_drill(history: History) -> None:
    acme(history)
    wanted = history.engine.drills.recent()[7].id

    async def scene(pilot: Pilot[None]) -> None:
        app_of(pilot).go("reports", drill=wanted)
        await until_shown(pilot, "all · 21")
        await until(pilot, lambda: drills(pilot).item.id == wanted, "the drill")  # type: ignore[union-attr]
        app_of(pilot).go("reports", drill="0" * 32)
        await until_shown(pilot, "that drill is not among the ones listed here")

    play(history, scene, start=False)


def test_a_new_drill_comes_by_itself_and_nothing_is_read_in_vain(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme(history)
    asked = 0
    real = DrillsFacet.recent

    def counting(self: DrillsFacet, connection: str | None = None, limit: int = 1000) -> object:
        nonlocal asked
        asked += 1
        return real(self, connection, limit)

    monkeypatch.setattr(DrillsFacet, "recent", counting)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "all · 21")
        for _ in range(3):
            await another_look(pilot)
        assert asked == 1
        history.drilled(history.connection("newcomer"), NOW - timedelta(minutes=1), restore_s=5.0)
        await pilot.press("r")
        await until_shown(pilot, "all · 22")
        assert asked == 2

    play(history, scene)


@pytest.mark.parametrize("size", SIZES)
def test_at_most_seven_keys_at_the_bottom(history: History, size: tuple[int, int]) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "all · 21")
        for _ in range(2):
            shown = [b.binding.description for b in pilot.app.screen.active_bindings.values() if b.binding.show]
            assert len(shown) <= KEYS, shown
            assert len(screen_text(pilot).splitlines()[-1]) <= size[0]
            await pilot.press("tab")

    play(history, scene, size)
