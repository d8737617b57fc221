"""Help: the keys of the screen below, the keys of the console, the signs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from screens.help import ANSWERS, EVERYWHERE, HelpSheet
from screens.widgets.lines import Lines
from tests.fixtures.history import History, acme
from tests.fixtures.pilot import SIZES, console, screen_text, until

Scene = Callable[[Pilot[None]], Awaitable[None]]


def play(history: History, scene: Scene, size: tuple[int, int]) -> None:
    async def run() -> None:
        async with console(history, size) as pilot:
            await scene(pilot)

    asyncio.run(run())


async def help_of(pilot: Pilot[None], page: str) -> Lines:
    await pilot.press(page)
    await pilot.pause()
    await pilot.press("question_mark")
    await until(pilot, lambda: isinstance(pilot.app.screen, HelpSheet), "the help")
    return pilot.app.screen.query_one("#help", Lines)


@pytest.mark.parametrize("size", SIZES)
def test_every_page_has_help(history: History, size: tuple[int, int]) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        for page in "123456":
            told = (await help_of(pilot, page)).text
            assert all(what in told for _, what in EVERYWHERE)
            assert "set -g set-clipboard on" in told
            assert "? COULD NOT VERIFY" in told
            answer = told.splitlines()[1]
            assert len(answer) > 60, answer
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(pilot.app.screen, HelpSheet), "the page again")

    play(history, scene, size)


def test_it_tells_the_keys_that_count_now(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        told = (await help_of(pilot, "6")).text
        assert "A real round trip" in told
        assert "On other pages" not in told
        await pilot.press("escape", "right_square_bracket")
        await pilot.pause()
        told = (await help_of(pilot, "6")).text
        assert "Type the recovery code back, whole" in told
        assert "A real round trip: upload" not in told

    play(history, scene, (80, 24))


def test_it_scrolls_copies_and_does_not_pile_up(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        board = await help_of(pilot, "1")
        assert ANSWERS["ledger"][:40] in screen_text(pilot)
        for key, at_top in (
            ("pagedown", False),
            ("pageup", True),
            ("end", False),
            ("home", True),
            ("G", False),
            ("g", True),
        ):
            await pilot.press(key)
            await until(pilot, lambda at_top=at_top: (board.scroll_offset.y == 0) is at_top, key)  # type: ignore[misc]
        for key, at_top in (("j", False), ("k", True), ("down", False), ("up", True), ("space", False)):
            await pilot.press(key)
            await until(pilot, lambda at_top=at_top: (board.scroll_offset.y == 0) is at_top, key)  # type: ignore[misc]
        await pilot.press("y")
        assert pilot.app.clipboard == board.text
        await pilot.press("question_mark")
        await pilot.pause()
        assert len(pilot.app.screen_stack) == 2

    play(history, scene, (80, 24))
