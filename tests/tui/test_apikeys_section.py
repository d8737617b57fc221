"""API keys in the settings: made and shown once, replaced, revoked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from engine.model.apikeys import KeyState, Scope
from screens.forms.apikey import AddApiKey
from screens.forms.text import TextSheet
from screens.settings import SettingsPage
from tests.fixtures.history import History
from tests.fixtures.pilot import SIZES, app_of, console, screen_text, until, until_shown

Scene = Callable[[Pilot[None]], Awaitable[None]]


def play(history: History, scene: Scene, size: tuple[int, int] = (80, 24)) -> None:
    async def run() -> None:
        async with console(history, size) as pilot:
            app_of(pilot).go("settings", section="apikeys")
            await until(pilot, lambda: isinstance(pilot.app.screen, SettingsPage), "the settings")
            await scene(pilot)

    asyncio.run(run())


@pytest.mark.parametrize("size", SIZES)
def test_a_key_is_made_and_shown_once(history: History, size: tuple[int, int]) -> None:
    history.connection("prod")

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "There is no API key.")
        await pilot.press("e", "x", "y")
        await until_shown(pilot, "nothing to copy")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, AddApiKey), "the form")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "it needs a name")
        await pilot.press(*"github", "enter", "right", "enter", *"prod nosuch", "enter")
        await until_shown(pilot, "[config.not-found]")
        await pilot.press("escape", *["backspace"] * 7, "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, TextSheet), "the key")
        await pilot.press("y")
        text = pilot.app.clipboard
        assert history.engine.apikeys.authenticate(f"Bearer {text}").scopes == (Scope.CREATE,)
        assert "shown this once" in screen_text(pilot)
        await pilot.press("escape", "escape")  # what was copied is said, first
        await until_shown(pilot, "● good")
        assert text not in screen_text(pilot)
        (key,) = history.engine.apikeys.list()
        assert key.connections == ("prod",)
        await pilot.press("y")
        assert pilot.app.clipboard == key.id

    play(history, scene, size)


def test_a_key_is_replaced_and_revoked_by_its_name(history: History) -> None:
    old = history.engine.apikeys.create("ci")

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, old.key.id)
        await pilot.press("e")
        await until_shown(pilot, "stay good?")
        await pilot.press(*"48h", "enter")
        await until_shown(pilot, "24 hours")
        await pilot.press("escape", "e", *"6h", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, TextSheet), "the key")
        await pilot.press("escape")
        await until_shown(pilot, "! ending")
        await pilot.press("home")
        await until(pilot, lambda: len(history.engine.apikeys.list()) == 2, "two keys")
        await pilot.press("x")
        await until_shown(pilot, "Revoke ci?")
        await pilot.press("n", "enter")
        await until_shown(pilot, "ci stays")
        assert all(k.state is not KeyState.REVOKED for k in history.engine.apikeys.list())
        await pilot.press("x", *"ci", "enter")
        await until_shown(pilot, "ci is good for nothing any more")
        await until_shown(pilot, "✗ revoked")
        assert [k.state for k in history.engine.apikeys.list()].count(KeyState.REVOKED) == 1

    play(history, scene)
