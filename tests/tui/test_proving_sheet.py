"""How drills prove a connection: checks, content with its cost, and the servers that were given to drills."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import psycopg
import pytest
from textual.pilot import Pilot

from engine.cancel import CancelToken
from engine.model.views import ScratchServerView
from engine.postgres.tools import Toolset
from offsitedb_tui.demo.source import Admin, postgres_server
from screens.forms.check import AddCheck
from screens.forms.proving import ProvingForm
from screens.forms.scratch import AddScratch
from screens.present_proving import scratch_cells, scratch_lines
from screens.proving import ProvingSheet
from screens.settings import SettingsPage
from tests.fixtures.history import NOW, History, acme
from tests.fixtures.pilot import SIZES, app_of, screen_text, settled, until, until_shown
from tests.fixtures.source import as_role
from tests.tui.driving import field, paste, play, write


async def sheet(pilot: Pilot[None], connection: str) -> ProvingSheet:
    app_of(pilot).go("connections", connection=connection)
    await until(pilot, lambda: app_of(pilot).current_mode == "connections", "page 2")
    await pilot.pause()
    await pilot.press("o")
    await until(pilot, lambda: isinstance(pilot.app.screen, ProvingSheet), "the sheet")
    await settled(pilot)
    found = pilot.app.screen
    assert isinstance(found, ProvingSheet)
    return found


@pytest.mark.parametrize("size", SIZES)
def test_a_check_is_added_copied_and_removed(history: History, size: tuple[int, int]) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await sheet(pilot, "prod-api")
        await until_shown(pilot, "There is no check yet")
        await pilot.press("x", "n")
        await until(pilot, lambda: isinstance(pilot.app.screen, AddCheck), "the form")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "it needs a name")
        await write(pilot, "enough")
        await pilot.press("enter")
        await until(pilot, lambda: field(pilot, "query").control.has_focus, "the question")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "say what is asked")
        await paste(pilot, "SELECT count(*)\n-- of all\n  FROM public.orders\n")
        assert field(pilot, "query").text == "SELECT count(*) FROM public.orders"
        await pilot.press("enter")
        await until(pilot, lambda: field(pilot, "expect").control.has_focus, "the answer")
        await write(pilot, ">=10")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "asks enough from now on")
        (check,) = history.engine.checks.list("prod-api")
        assert (check.query, check.expect) == ("SELECT count(*) FROM public.orders", ">=10")
        await pilot.press("escape", "y")
        assert pilot.app.clipboard == check.query
        await pilot.press("x")
        await until_shown(pilot, "Ask enough no more?")
        await pilot.press("enter")
        await until_shown(pilot, "enough stays")
        await pilot.press("x")
        await write(pilot, "enough")
        await pilot.press("enter")
        await until_shown(pilot, "is asked no more")
        assert history.engine.checks.list("prod-api") == ()

    play(history, scene, size)


def test_a_name_that_is_taken_is_refused_beneath_it(history: History) -> None:
    acme(history)
    history.engine.checks.add("billing", "one", "SELECT 1", "1")

    async def scene(pilot: Pilot[None]) -> None:
        await sheet(pilot, "billing")
        await until_shown(pilot, "SELECT 1")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, AddCheck), "the form")
        await write(pilot, "one")
        field(pilot, "query").take_focus()
        await write(pilot, "SELECT 2")
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "✗" in field(pilot, "name").said, "the refusal")
        assert len(history.engine.checks.list("billing")) == 1

    play(history, scene)


def test_content_is_switched_on_after_its_cost_was_shown(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await sheet(pilot, "prod-api")
        await until_shown(pilot, "rows counted")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(pilot.app.screen, ProvingForm), "the form")
        await until_shown(pilot, "CPU seconds per GB")
        cost = field(pilot, "content").said
        assert " rows, " in cost
        assert "on each side" in cost
        await until_shown(pilot, "no server was given to drills")
        await pilot.press("right", "ctrl+t")
        await until_shown(pilot, "content is compared from the next checkpoint on")
        assert history.engine.connections.get("prod-api").fingerprint
        await until_shown(pilot, "the content of every table compared")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(pilot.app.screen, ProvingForm), "the form")
        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(pilot.app.screen, ProvingSheet), "the sheet again")
        assert history.engine.connections.get("prod-api").fingerprint, "nothing was changed"
        await pilot.press("escape", "escape")
        await until_shown(pilot, "rows and content; o: content, server, checks")

    play(history, scene)


def test_a_connection_asks_for_workers_with_a_label(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await sheet(pilot, "prod-api")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(pilot.app.screen, ProvingForm), "the form")
        await until_shown(pilot, "no server was given to drills")
        await pilot.press("tab", "tab", *"Up", "ctrl+t")
        await until_shown(pilot, "cannot be a label")
        await pilot.press("backspace", "backspace", *"vpc-1", "ctrl+t")
        await until_shown(pilot, "jobs are for workers with the label vpc-1")
        assert history.engine.connections.get("prod-api").worker_label == "vpc-1"
        await pilot.press("escape")
        await until_shown(pilot, "workers with the label vpc-1")

    play(history, scene)


@pytest.fixture(scope="module")
def driller(toolset: Toolset) -> Iterator[str]:
    """The string of a role that drills may use, on a server of its own."""
    place = Path(tempfile.mkdtemp(prefix="odbscr-"))
    place.chmod(0o711)
    try:
        with postgres_server(toolset, place / "pg", keep=False, cancel=CancelToken()) as admin:
            yield _driller(admin)
    finally:
        rmtree(place, ignore_errors=True)


def _driller(admin: Admin) -> str:
    with psycopg.connect(admin.url(), autocommit=True) as conn:
        conn.execute("CREATE ROLE driller LOGIN CREATEDB CREATEROLE PASSWORD 'canary-pass'")
    return as_role(admin.url(), "driller", "canary-pass")


@pytest.mark.slow
def test_a_server_is_added_tried_used_and_removed(history: History, driller: str) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        app_of(pilot).go("settings", section="scratch")
        await until(pilot, lambda: isinstance(pilot.app.screen, SettingsPage), "the settings")
        await until_shown(pilot, "no server was given to them")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, AddScratch), "the form")
        await paste(pilot, driller.replace("canary-pass", "wrong"))
        await until_shown(pilot, "✓ driller@127.0.0.1")
        await pilot.press("enter")
        await until(pilot, lambda: field(pilot, "name").control.has_focus, "the name")
        await write(pilot, "spare")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "[pg.")
        assert history.engine.scratch.list() == ()
        await pilot.press("escape")
        control = field(pilot, "string").control
        control.value = ""
        field(pilot, "string").take_focus()
        await paste(pilot, driller)
        await pilot.press("ctrl+t")
        await until_shown(pilot, "spare is saved")
        assert "canary-pass" not in screen_text(pilot)
        await pilot.press("escape", "t")
        await until_shown(pilot, "a drill could use spare now")
        assert "PostgreSQL 1" in screen_text(pilot)
        await sheet(pilot, "prod-api")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(pilot.app.screen, ProvingForm), "the form")
        await until_shown(pilot, "○ spare")
        await pilot.press("down", "right", "ctrl+t")
        await until_shown(pilot, "drills use server spare")
        (server,) = history.engine.scratch.list()
        assert server.connections == ("prod-api",)
        app_of(pilot).screen.dismiss()
        await pilot.pause()
        app_of(pilot).go("settings", section="scratch")
        await until_shown(pilot, "Drills of")
        await pilot.press("x")
        await until_shown(pilot, "Forget spare?")
        await write(pilot, "spare")
        await pilot.press("enter")
        await until_shown(pilot, "[config.in-use]")
        history.engine.scratch.use("prod-api", None)
        await pilot.press("escape", "x")
        await write(pilot, "spare")
        await pilot.press("enter")
        await until_shown(pilot, "spare is forgotten")
        assert history.engine.scratch.list() == ()

    play(history, scene)


def test_a_server_that_was_never_tried_says_so() -> None:
    server = ScratchServerView("spare", "driller@db:5432/postgres", None, ())
    assert "never" in [cell.text for cell in scratch_cells(server, NOW)]
    assert any("never: t tries it" in line.text for line in scratch_lines(server))
