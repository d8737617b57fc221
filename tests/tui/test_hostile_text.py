"""A hundred and fifty hostile strings in every place that other people's text comes from, on every page.

No control character in any drawn line, nothing parsed as markup, no action fired, no crash.
"""

from __future__ import annotations

import asyncio
import unicodedata
from datetime import timedelta

import pytest
from textual.pilot import Pilot

from engine.model import (
    Failure,
    JobError,
    JobProgress,
    JobState,
    Normalised,
    NotCaptured,
    Skip,
    TableCount,
    TableResult,
    Verdict,
)
from screens.phrase import Phrase
from tests.fixtures.history import NOW, History
from tests.fixtures.hostile_text import STRINGS
from tests.fixtures.pilot import app_of, console

UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
SCROLLBAR = ("grab", "release", "scroll_up", "scroll_down")
"""The actions that Textual's own scrollbars carry."""
PAGES = "123456"
SLICES = 3


def plant(history: History, texts: tuple[str, ...]) -> None:
    """Each as connection, provider, tag, error, hint and note; all of them together as tables, skips, failures,
    reasons, SQL and log lines of the first connection."""
    for n, text in enumerate(texts):
        connection = history.connection(f"{text} {n}", provider=text)
        at = NOW - timedelta(hours=n + 1)
        history.snapshot(connection, at, tag=text, tables=[TableCount(text, text, 3)])
        history.failed(connection, at + timedelta(minutes=1), JobError("pg.dump-failed", text, text, 20))
        progress = JobProgress("restore", 1, 2, "bytes", text, 1.0, NOW)
        history.job(connection, at + timedelta(minutes=2), state=JobState.RUNNING, progress=progress, log=texts)
    history.drilled(
        history.connection("all of them"),
        NOW - timedelta(seconds=1),
        Verdict.FAILED,
        tables=[TableCount(t, f"{t} {n}", 3) for n, t in enumerate(texts)],
        skips=[Skip(t, t, t) for t in texts],
        failures=[Failure("drill.mismatch", t or "lost", t) for t in texts],
        normalised=[Normalised(t, t, t) for t in texts],
        restored=[TableResult(t, f"{t} {n}", 3, 2) for n, t in enumerate(texts)],
        not_captured=[NotCaptured("table", t, t, t) for t in texts],
    )


def test_there_are_a_hundred_and_fifty() -> None:
    assert len(STRINGS) == len(set(STRINGS)) == 150


@pytest.mark.parametrize("text", STRINGS)
def test_a_phrase_holds_nothing_unseen(text: str) -> None:
    for width in (1, 7, 40):
        made = Phrase(text).fit(width)
        assert not [ch for ch in made.text if unicodedata.category(ch) in UNSEEN and ch != " "]
        assert made.cells == width


@pytest.mark.parametrize("part", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, SLICES))])
def test_every_page_shows_it_harmlessly(history: History, part: int) -> None:
    history.worker()
    plant(history, STRINGS[part::SLICES])

    async def scene() -> None:
        async with console(history, (120, 36)) as pilot:
            for number in PAGES:
                await visit(pilot, number)
            assert app_of(pilot).is_running

    asyncio.run(scene())
    states = {job.state for job in history.engine.jobs.recent(500)}
    assert states == {JobState.RUNNING, JobState.FAILED, JobState.SUCCEEDED}  # nothing was cancelled or started


async def visit(pilot: Pilot[None], number: str) -> None:
    """Go through a page and what it opens; click here and there."""
    for key in (number, "pagedown", "pagedown", "home", "enter", *["pagedown"] * 4, "escape", "tab", "end"):
        await pilot.press(key)
        check(pilot)
    for y in range(2, 34, 8):
        await pilot.click(offset=(20, y))
        check(pilot)
    await pilot.press("escape", "escape")
    check(pilot)


def check(pilot: Pilot[None]) -> None:
    """Every drawn line: no unseen character, no action in any style."""
    for strip in pilot.app.screen._compositor.render_strips():
        for segment in strip:
            bad = [ch for ch in segment.text if unicodedata.category(ch) in UNSEEN]
            assert not bad, (bad, segment.text)
            meta = segment.style.meta if segment.style is not None else {}
            assert not [key for key, action in meta.items() if key.startswith("@") and action not in SCROLLBAR], meta
