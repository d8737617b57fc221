"""Doing things by name: what is found, what it does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.model import JobKind, JobState
from screens.help import HelpSheet
from screens.palette import Command, PaletteSheet
from screens.settings import SettingsPage
from screens.widgets.bar import Bar
from screens.widgets.rows import Rows
from tests.fixtures.history import NOW, History, acme
from tests.fixtures.pilot import SIZES, app_of, console, until, until_shown

Scene = Callable[[Pilot[None]], Awaitable[None]]


def play(history: History, scene: Scene, size: tuple[int, int] = (80, 24)) -> None:
    async def run() -> None:
        async with console(history, size) as pilot:
            await scene(pilot)

    asyncio.run(run())


async def opened(pilot: Pilot[None], text: str = "") -> Rows[Command]:
    await pilot.press("ctrl+p")
    await until(pilot, lambda: isinstance(pilot.app.screen, PaletteSheet), "the palette")
    await pilot.press(*text)
    return pilot.app.screen.query_one("#palette-hits", Rows)


@pytest.mark.parametrize("size", SIZES)
def test_a_few_letters_find_it(history: History, size: tuple[int, int]) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        rows = await opened(pilot)
        assert isinstance(pilot.app.focused, Input)
        assert not pilot.app.focused.cursor_blink
        all_of_them = [c.text for c in rows.items]
        assert all_of_them[0] == "Checkpoint of billing"
        for text in ("Go to Drill", "Receipts", "Settings: Key and recovery", "Quit", "Theme offsitedb-16"):
            assert text in all_of_them
        await pilot.press(*"keyrec")
        assert rows.items[0].text == "Settings: Key and recovery"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, SettingsPage), "the settings")
        await until_shown(pilot, "Recovery code")

    play(history, scene, size)


def test_the_cursor_and_leaving(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        rows = await opened(pilot)
        for key, at in (("down", 1), ("up", 0), ("pagedown", 10), ("pageup", 0)):
            await pilot.press(key)
            assert rows.cursor == at
        await pilot.press(*"zzzz")
        await until_shown(pilot, "nothing is called that")
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, PaletteSheet)
        await pilot.press("escape")
        await until_shown(pilot, "LEDGER")

    play(history, scene)


def test_a_click_chooses(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await opened(pilot, "help")
        await pilot.click("#palette-hits", offset=(3, 0))
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpSheet), "the help")
        await pilot.press("ctrl+p")
        assert isinstance(pilot.app.screen, HelpSheet)

    play(history, scene)


def test_cancel_and_watch_what_runs(history: History) -> None:
    history.worker()
    connection = history.connection("prod-api")
    job = history.job(connection, NOW - timedelta(seconds=5), state=JobState.RUNNING)

    async def scene(pilot: Pilot[None]) -> None:
        await opened(pilot, "cancel")
        await pilot.press("enter")
        await until_shown(pilot, "Cancel this checkpoint of prod-api?")
        await pilot.press("y", "enter")
        await until(pilot, lambda: history.engine.jobs.get(job.id).cancel_requested, "the request")
        await opened(pilot, "watch the")
        await pilot.press("enter")
        await until_shown(pilot, "● cancelling")
        assert not pilot.app.screen.query_one(Bar).asking

    play(history, scene)


def test_checkpoints_and_drills_by_name(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await opened(pilot, "checkpoint of bil")
        await pilot.press("enter")
        await until_shown(pilot, "Checkpoint of billing, tag")
        await pilot.press("escape")
        await opened(pilot, "newest snapshot of billing")
        await pilot.press("enter")
        await until_shown(pilot, "drill of billing is queued")
        assert history.engine.jobs.recent(1)[0].kind is JobKind.DRILL

    play(history, scene)


@pytest.mark.slow
def test_every_command_does_something(history: History) -> None:
    """None of them raises, whatever page they are called from."""
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        app = app_of(pilot)
        rows = await opened(pilot)
        names = [c.text for c in rows.items if c.text != "Quit"]
        await pilot.press("escape")
        for n, name in enumerate(names):
            await pilot.press(str(1 + n % 6))
            rows = await opened(pilot)
            assert rows.select(name)
            await pilot.press("enter")
            await until(pilot, lambda: not isinstance(app.screen, PaletteSheet), name)
            await pilot.press("escape")
            await pilot.press("escape")
            await pilot.pause()
        await opened(pilot, "quit")
        await pilot.press("enter")
        await until(pilot, lambda: not app.is_running or app.return_code == 0, "the end")

    play(history, scene)
