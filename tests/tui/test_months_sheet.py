"""The monthly reports in the console: built, read, written to a file, checked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.service.reports import ReportsFacet
from screens.months import MonthSheet, MonthsSheet
from screens.present_months import months, report_facts
from screens.reports import ReportsPage
from screens.widgets.facts import Facts
from tests.fixtures.history import History
from tests.fixtures.pilot import app_of, console, screen_text, settled, until, until_shown

Scene = Callable[[Pilot[None]], Awaitable[None]]
THIS, LAST = "2026-11", "2026-10"


def play(history: History, scene: Scene, size: tuple[int, int] = (80, 24)) -> None:
    async def run() -> None:
        async with console(history, size) as pilot:
            await pilot.press("5")
            await until(pilot, lambda: isinstance(pilot.app.screen, ReportsPage), "the page")
            await settled(pilot)
            await pilot.press("m")
            await until(pilot, lambda: isinstance(pilot.app.screen, MonthsSheet), "the reports")
            await scene(pilot)

    asyncio.run(run())


def small(history: History) -> None:
    """One connection with one drill, before this month."""
    shop = history.connection("shop")
    history.drilled(shop, datetime(2026, 10, 5, 3, tzinfo=UTC), restore_s=30.0)


def test_an_empty_list_says_what_to_do_and_a_key_builds(history: History) -> None:
    small(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "No report has been built yet.")
        await pilot.press("e", "v")  # nothing to export or to check
        assert isinstance(pilot.app.screen, MonthsSheet)
        await pilot.press("B")
        await until_shown(pilot, f"the report of {THIS} is built and signed")
        await until_shown(pilot, "all connections")
        await pilot.press("b")
        await until_shown(pilot, f"the report of {LAST} is built and signed")
        await until_shown(pilot, LAST)

    play(history, scene)
    assert {line.month for line in history.engine.reports.list()} == {THIS, LAST}


def test_a_report_is_read_where_it_is(history: History) -> None:
    small(history)
    line = history.engine.reports.build(LAST)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "all connections")
        await pilot.press("enter")
        await until_shown(pilot, "EVERYTHING WAS PROVEN")
        assert isinstance(pilot.app.screen, MonthSheet)
        facts = pilot.app.screen.query_one("#month", Facts)
        assert facts.text == history.engine.reports.file(line, "report.txt").decode().rstrip("\n")
        broken = [part.text.text for part in facts.items if part.key.endswith(".1")]
        assert all("SHA256SUMS" in line for line in broken)  # nothing but a command is wider than the screen
        await pilot.press("right_square_bracket")
        await until_shown(pilot, "1  SUMMARY")
        await pilot.press("Y")
        await until_shown(pilot, "copied the report")
        assert app_of(pilot).clipboard == history.engine.reports.file(line, "report.txt").decode()
        await pilot.press("escape", "escape")
        await until_shown(pilot, "Monthly reports")

    play(history, scene)


def test_a_report_is_written_as_the_ending_says_and_checked(history: History, tmp_path: Path) -> None:
    history.connection("shop")
    line = history.engine.reports.build(THIS, ["shop"])
    assert line.folder is not None
    folder = Path(line.folder)

    async def write(pilot: Pilot[None], name: str) -> Path:
        await pilot.press("e")
        await until_shown(pilot, f"restore-drill-report-{THIS}-shop.pdf")
        pilot.app.screen.query_one("#bar-input", Input).value = str(tmp_path / name)
        await pilot.press("enter")
        await until_shown(pilot, "is written")
        await pilot.press("escape")
        return tmp_path / name

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "shop")
        for name in ("report.pdf", "report.html", "report.txt", "report.json"):
            assert (await write(pilot, name)).read_bytes() == (folder / name).read_bytes()
        whole = await write(pilot, "whole")
        assert sorted(path.name for path in whole.iterdir()) == sorted(path.name for path in folder.iterdir())
        await pilot.press("v")
        await until_shown(pilot, "is whole and signed")
        with (folder / "report.html").open("a") as file:
            file.write(" ")
        await pilot.press("v")
        await until_shown(pilot, "is not what was signed")
        assert "report.html" in screen_text(pilot)

    play(history, scene)


def test_a_report_of_another_host_says_where_it_is(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    small(history)
    line = history.engine.reports.build(LAST)
    away = replace(line, folder=None, host="worker-2")
    monkeypatch.setattr(ReportsFacet, "list", lambda *_a, **_k: (away,))

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "on worker-2")
        await pilot.press("v")
        await until_shown(pilot, "lies on worker-2")
        await pilot.press("escape", "enter")
        await until_shown(pilot, "config.report-elsewhere")

    play(history, scene, (120, 36))


def test_months_are_those_of_the_zone() -> None:
    at = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    assert months(at, "UTC") == ("2026-12", "2026-11")
    assert months(at, "Europe/Berlin") == ("2027-01", "2026-12")


def test_hostile_text_in_a_report_is_harmless_here() -> None:
    facts = report_facts("A HEAD\n──────\n\x1b[2J [@click=app.quit()]x \u202e ✓ y\n")
    assert [fact.text.text for fact in facts] == ["A HEAD", "──────", "␛[2J [@click=app.quit()]x <202e> ✓ y"]
    assert [fact.head for fact in facts] == [True, False, False]
