"""The posture among the settings: weaker things first, read by keys, and a way to where each is mended."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from textual.pilot import Pilot

from engine.model.retention import PausedRetention
from engine.posture.facts import Home, Looked, Open
from engine.service.posture import PostureFacet
from screens.connections import ConnectionsPage
from screens.settings import SettingsPage
from tests.fixtures.history import History
from tests.fixtures.pilot import SIZES, app_of, console, screen_text, settled, until, until_shown
from tests.fixtures.postures import READS, well_kept
from tests.tui.test_golden import golden

Scene = Callable[[Pilot[None]], Awaitable[None]]


_SCROLL_BAR = re.compile(r" *[\u2581-\u2588]$", re.MULTILINE)
"""Where it stands depends on how much there is to say further down."""


def looked() -> Looked:
    """Four things that are weaker, of an installation that is the same on every host."""
    well = well_kept()
    source = well.sources[0]
    assert source.taken is not None
    assert isinstance(well.home, Home)
    role = replace(source.taken, role="app[@click=app.quit()]\x1b[31m", powers=replace(READS, writes=12))
    return replace(
        well,
        sources=(replace(source, taken=role),),
        home=replace(well.home, open=(Open("queue.sqlite3", 0o644),)),
        channels=(),
        paused=(PausedRetention("c", "prod", "the newest proof is overdue"),),
    )


def play(history: History, monkeypatch: pytest.MonkeyPatch, scene: Scene, size: tuple[int, int] = (80, 24)) -> None:
    """The section, over facts that do not depend on where the tests run."""
    monkeypatch.setattr(PostureFacet, "gather", lambda _self, _connections=None: looked())

    async def run() -> None:
        async with console(history, size) as pilot:
            app_of(pilot).go("settings", section="posture")
            await until(pilot, lambda: isinstance(pilot.app.screen, SettingsPage), "the settings")
            await until_shown(pilot, "4 things are weaker than recommended")
            await scene(pilot)

    asyncio.run(run())


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x36"])
def test_the_section(history: History, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    shown: list[str] = []

    async def scene(pilot: Pilot[None]) -> None:
        await settled(pilot)
        shown.append(screen_text(pilot))

    play(history, monkeypatch, scene, size)
    golden(f"posture-{size[0]}x{size[1]}", _SCROLL_BAR.sub("", shown[0]))


def test_it_is_read_and_copied_and_leads_to_what_mends_it(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "app[@click=app.quit()]␛[31m")
        await pilot.press("down", "down", "down", "down", "down", "y")
        assert pilot.app.clipboard == "offsitedb connection grants"
        for _ in range(11):
            await pilot.press("n")
        await until_shown(pilot, "It is no replica and no point-in-time recovery")
        await pilot.press("enter")
        await until_shown(pilot, "nothing in the console changes this")
        await pilot.press("p", "p")
        await until_shown(pilot, "Nobody is told when something is wrong")
        await pilot.press("down", "enter")
        page = pilot.app.screen
        assert isinstance(page, SettingsPage)
        await until(pilot, lambda: page.section.PLACE == "alerts", "the alerts")
        await pilot.press("left_square_bracket")
        app_of(pilot).go("settings", section="posture")
        await until(pilot, lambda: page.section.PLACE == "posture", "back again")
        await pilot.press("home", "down", "down", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConnectionsPage), "the connections")

    play(history, monkeypatch, scene)


def test_brackets_step_through_the_settings(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        page = pilot.app.screen
        assert isinstance(page, SettingsPage)
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: page.section.PLACE == "scratch", "the next one")
        await pilot.press("left_square_bracket", "left_square_bracket")
        await until(pilot, lambda: page.section.PLACE == "tools", "the one before")

    play(history, monkeypatch, scene)
