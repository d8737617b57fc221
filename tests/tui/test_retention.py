"""Retention on the screens: rules with their plan as they are typed, why a snapshot stays, what lies at a place."""

from __future__ import annotations

from datetime import timedelta

import pytest
from textual.pilot import Pilot

from engine.model.retention import RetentionPolicy
from screens.forms.retention import RetentionForm
from screens.present_retention import kept_phrase
from screens.settings import SettingsPage
from tests.fixtures.history import History
from tests.fixtures.pilot import SIZES, app_of, screen_text, until, until_shown
from tests.fixtures.pruning import Yard, new_yard
from tests.tui.driving import play, write

DAY = timedelta(days=1)


@pytest.fixture
def yard(history: History) -> Yard:
    made = new_yard(history)
    for n in (4, 3, 2, 1):
        made.lay(history.clock.now() - n * DAY)
    return made


@pytest.mark.parametrize("size", SIZES)
def test_the_plan_follows_what_is_typed(yard: Yard, size: tuple[int, int]) -> None:
    engine = yard.history.engine

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("2")
        await until_shown(pilot, "reader@db.example.org")
        await pilot.press("K")
        await until(pilot, lambda: isinstance(pilot.app.screen, RetentionForm), "the form")
        await until_shown(pilot, "no rule: everything is kept")
        await write(pilot, "3")
        await until_shown(pilot, "3 are kept, 1 goes (1.0 kB)")
        assert "✓ keep   2026-11-22 14:02  newest proven, last 1" in screen_text(pilot)
        assert "– remove 2026-11-19 14:02  beyond every rule" in screen_text(pilot)
        await write(pilot, "x")
        await until_shown(pilot, "the newest '3x' is no number")
        await pilot.press("backspace", "backspace", "1", "down", "down")
        await write(pilot, "2")
        await until_shown(pilot, "2 are kept, 2 go")
        assert engine.retention.show("shop").policy is None, "nothing is saved yet"
        await pilot.press("ctrl+t")
        await until(pilot, lambda: not isinstance(pilot.app.screen, RetentionForm), "the form to close")
        await until_shown(pilot, "shop: the last 1, 2 daily; always the newest proven one")
        assert engine.retention.show("shop").policy == RetentionPolicy(keep_last=1, keep_daily=2)
        assert yard.results() == {}
        await pilot.press("K")
        await until(pilot, lambda: isinstance(pilot.app.screen, RetentionForm), "the form again")
        await until_shown(pilot, "2 are kept, 2 go")

    play(yard.history, scene, size)


def test_a_snapshot_says_why_it_stays_and_what_became_of_it(yard: Yard) -> None:
    engine = yard.history.engine
    engine.retention.set("shop", RetentionPolicy(keep_daily=3))

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("3")
        await until_shown(pilot, "kept: newest proven, daily 2026-11-22")
        await pilot.press("down", "down", "down")
        await until_shown(pilot, "goes: beyond every rule: others hold its slots")
        yard.prune()
        app_of(pilot).nudge()
        await until_shown(pilot, "removed by retention on 2026-11-23 (beyond every rule)")
        (row,) = [line for line in screen_text(pilot).splitlines() if "removed" in line and "PROVEN" in line]
        assert "11-19 14:02" in row
        await pilot.press("d")
        await until_shown(pilot, "[store.removed]")
        await pilot.press("escape", "1")
        await until_shown(pilot, "shop")
        app_of(pilot).go("drill", job=engine.jobs.recent()[0].id)
        await until_shown(pilot, "Pruning of shop")
        await until_shown(pilot, "1 removed, 0 locked, 0 missing")

    play(yard.history, scene)


def test_reconciling_in_the_settings(yard: Yard) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        app_of(pilot).go("settings", section="destinations")
        await until(pilot, lambda: isinstance(pilot.app.screen, SettingsPage), "the settings")
        await until_shown(pilot, "never: v holds what lies there against the ledger")
        await pilot.press("v")
        await until_shown(pilot, "here agrees with the ledger: 4 snapshots, 8 objects")
        yard.storage.delete(yard.snapshots[0].object_key)
        await pilot.press("v")
        await until_shown(pilot, "here does not agree with the ledger")
        await until_shown(pilot, "! missing:")

    play(yard.history, scene)


def test_nothing_is_known_of_it() -> None:
    assert kept_phrase(None, None).text == "–"
