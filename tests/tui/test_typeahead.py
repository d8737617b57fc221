"""Keys that arrive at once, as over a slow line or while the console is busy: each goes where it was meant to go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Input

from offsitedb_tui.typeahead import LONGEST_S, TypeAhead
from screens.settings import SettingsPage
from screens.snapshots import SnapshotsPage
from tests.fixtures.history import History, acme
from tests.fixtures.pilot import screen_text, until, until_shown
from tests.tui.driving import play


def burst(pilot: Pilot[None], *keys: str) -> None:
    """All in one go: a key by its name, or a text letter by letter where it begins with a blank."""
    for key in _single(keys):
        pilot.app.post_message(events.Key(key, key if len(key) == 1 else "/" if key == "slash" else None))


def _single(keys: Iterable[str]) -> Iterable[str]:
    for key in keys:
        yield from key[1:] if key.startswith(" ") else (key,)


@pytest.mark.parametrize(
    ("end", "left"), [("enter", "with “billing” · 1 lines"), ("escape", "LEDGER  all")], ids=["answered", "left"]
)
def test_a_command_right_behind_the_filter_is_none_of_its_letters(history: History, end: str, left: str) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        burst(pilot, "slash", " billing", end, "y", "down", "y")
        await until_shown(pilot, "copied the snapshot's id")
        assert left in screen_text(pilot)
        assert pilot.app.screen.query_one("#lines").has_focus

    play(history, scene)


def test_to_another_page_and_on_there(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        burst(pilot, "2", "6", "3", "slash", " billing", "enter", "y")
        await until_shown(pilot, "copied the snapshot's id")
        assert isinstance(pilot.app.screen, SnapshotsPage)
        assert "with “billing”" in screen_text(pilot)

    play(history, scene)


def test_by_name_in_one_go(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        burst(pilot, "ctrl+p", " keyrec", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, SettingsPage), "the settings")
        await until_shown(pilot, "Recovery code")

    play(history, scene)


class Stuck(Widget, can_focus=True):
    """Never done with a key."""

    async def on_key(self) -> None:
        await asyncio.Event().wait()


class Held(App[None]):
    """One widget that is stuck, and a field."""

    def __init__(self) -> None:
        super().__init__()
        self.typed_ahead = TypeAhead(self, super().on_event)

    def compose(self) -> ComposeResult:
        yield Stuck()
        yield Input()

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            await self.typed_ahead.take(event)
        else:
            await super().on_event(event)


def test_a_key_that_nothing_comes_of_holds_the_others_up_for_a_while_only() -> None:
    async def run() -> float:
        app = Held()
        async with app.run_test() as pilot:
            app.query_one(Stuck).focus()
            await pilot.pause()
            began = asyncio.get_running_loop().time()
            for letter in "xab":
                app.post_message(events.Key(letter, letter))
            await _until(lambda: not app.typed_ahead.empty)
            field = app.query_one(Input)
            field.focus()
            await _until(lambda: field.value == "ab" and app.typed_ahead.empty)
            took = asyncio.get_running_loop().time() - began
            for task in asyncio.all_tasks():
                if "Stuck" in task.get_name():
                    task.cancel()
            return took

    assert asyncio.run(run()) >= LONGEST_S


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)
