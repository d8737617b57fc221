"""Page 2: what it says of every connection, and every key on it, against a real source."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from textual.pilot import Pilot

from engine import catalog as catalogs
from offsitedb_tui.demo.source import Admin
from screens.connections import ConnectionsPage
from screens.forms.connection import AddConnection, EditConnection
from screens.widgets.bar import Bar
from screens.widgets.findings import Findings
from screens.widgets.rows import Rows
from tests.fixtures.history import History, acme
from tests.fixtures.installation import unhurried
from tests.fixtures.pilot import SIZES, app_of, screen_text, until, until_shown
from tests.fixtures.shop import shop_source
from tests.tui.driving import paste, play, silent_server, write


@pytest.fixture(scope="module")
def source(server: Admin) -> Iterator[tuple[str, str]]:
    """A source of which one table is not granted: the superuser's and the reader's string."""
    with shop_source(server) as (url, reader, _password):
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE SCHEMA private; CREATE TABLE private.diary (id int)")
        yield url, reader


def page(pilot: Pilot[None]) -> ConnectionsPage:
    screen = pilot.app.screen
    assert isinstance(screen, ConnectionsPage)
    return screen


def rows(pilot: Pilot[None]) -> Rows[Any]:
    return page(pilot).query_one("#connections", Rows)


async def there(pilot: Pilot[None]) -> None:
    await pilot.press("2")
    await until(pilot, lambda: isinstance(pilot.app.screen, ConnectionsPage), "page 2")
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES)
def test_how_every_connection_stands(history: History, size: tuple[int, int]) -> None:
    acme(history)
    history.connection("weak", url="postgresql://reader:secret@db.example.org/shop?sslmode=require")

    async def scene(pilot: Pilot[None]) -> None:
        await there(pilot)
        await until_shown(pilot, "TLS verify-full")
        text = screen_text(pilot)
        assert "! 9 h 00 m ago OVERDUE" in text
        assert "reader@db.example.org:5432/shop · Neon" in text
        assert "newest proof at most 1 h old" in text
        app_of(pilot).go("connections", connection="weak")
        await until_shown(pilot, "! TLS require, weaker than verify-full")
        assert page(pilot).connection_in_focus() == "weak"
        await pilot.press("y")
        assert pilot.app.clipboard == "reader@db.example.org:5432/shop"
        assert "secret" not in screen_text(pilot)

    play(history, scene, size)


@pytest.mark.parametrize("size", SIZES)
def test_preflight_says_what_would_be_missing_and_copies_the_cure(
    history: History, source: tuple[str, str], size: tuple[int, int]
) -> None:
    history.engine.connections.add("shop", "here", source[1])

    async def scene(pilot: Pilot[None]) -> None:
        await there(pilot)
        await pilot.press("p")
        await until_shown(pilot, "3 of 4 tables can be captured")
        await until_shown(pilot, "private.diary")
        await pilot.press("y")
        assert 'GRANT USAGE ON SCHEMA "private"' in pilot.app.clipboard
        await pilot.press("escape", "tab")
        assert rows(pilot).has_focus
        await pilot.press("tab")
        assert page(pilot).query_one(Findings).has_focus
        await pilot.press("escape")
        await until_shown(pilot, "p looks at what a snapshot would hold")
        await pilot.press("tab", "tab", "enter")
        await until_shown(pilot, "3 of 4 tables can be captured")
        await pilot.click("#connections", offset=(3, 1))
        await pilot.press("r")

    play(history, scene, size)


def test_a_look_stops_at_once_and_a_failure_stays(history: History) -> None:
    with silent_server() as port:
        history.connection("mute", url=f"postgresql://reader:secret@127.0.0.1:{port}/shop")
        history.connection("none", url="postgresql://reader:secret@127.0.0.1:9/shop")

        async def scene(pilot: Pilot[None]) -> None:
            await there(pilot)
            await pilot.press("p")
            await until_shown(pilot, "● looking at it now")
            before = time.monotonic()
            await pilot.press("escape")
            await until_shown(pilot, "stopped")
            assert time.monotonic() - before < unhurried(2)
            await pilot.press("down", "p")
            await until_shown(pilot, "[pg.unreachable]")
            await pilot.press("r")
            await pilot.pause()
            assert "[pg.unreachable]" in screen_text(pilot)
            await pilot.press("escape")
            assert "[pg.unreachable]" not in screen_text(pilot)

        play(history, scene)


def test_targets_are_asked_for_in_the_line_at_the_bottom(history: History) -> None:
    history.connection("shop", proof_target_s=3600)

    async def scene(pilot: Pilot[None]) -> None:
        await there(pilot)
        await pilot.press("t")
        await until_shown(pilot, "Newest proof at most this old")
        await pilot.press("ctrl+u")
        await write(pilot, "2d")
        await pilot.press("enter")
        await until_shown(pilot, "Restore within")
        await write(pilot, "soon")
        await pilot.press("enter")
        await until_shown(pilot, "'soon' is not a duration")
        await pilot.press("t")
        await until_shown(pilot, "Newest proof at most this old")
        await pilot.press("ctrl+u", "enter")
        await until_shown(pilot, "Restore within")
        await write(pilot, "90s")
        await pilot.press("enter")
        await until_shown(pilot, "✓ shop: restore within 90 s")
        view = history.engine.connections.get("shop")
        assert (view.proof_target_s, view.restore_target_s) == (None, 90)

    play(history, scene)


def test_removing_asks_for_the_name_and_keeps_snapshots(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await there(pilot)
        await pilot.press("x")
        await until_shown(pilot, "Its snapshots and receipts stay")
        await write(pilot, "yes")
        await pilot.press("enter")
        await until_shown(pilot, "billing stays")
        await pilot.press("x", "escape")
        await until(pilot, lambda: not page(pilot).query_one(Bar).asking, "the question to be left")
        await pilot.press("x")
        await write(pilot, "billing")
        await pilot.press("enter")
        await until_shown(pilot, "billing is forgotten; its snapshots and receipts stay")
        await until(pilot, lambda: len(rows(pilot).items) == 2, "the list without it")
        with history.engine.catalog.read() as tx:
            kept = {s.connection_id for s in catalogs.snapshots.list_recent(tx, limit=50)}
        assert len(kept) == 3

    play(history, scene)


def test_a_new_one_and_an_edited_one_come_back_to_the_list(history: History, source: tuple[str, str]) -> None:
    history.connection("first")

    async def scene(pilot: Pilot[None]) -> None:
        await there(pilot)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, AddConnection), "the form")
        await paste(pilot, source[1])
        await pilot.press("enter", "ctrl+u")
        await write(pilot, "shop")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "enter save")
        await pilot.press("enter")
        await until_shown(pilot, "✓ shop is saved; c takes its first checkpoint")
        await until(pilot, lambda: page(pilot).connection_in_focus() == "shop", "the new one under the cursor")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(pilot.app.screen, EditConnection), "the form")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "enter save")
        await pilot.press("enter")
        await until_shown(pilot, "✓ shop is saved")

    play(history, scene)


def test_checkpoint_and_drill_mean_the_connection_under_the_cursor(history: History) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await there(pilot)
        await pilot.press("down", "c")
        await until_shown(pilot, "Checkpoint of prod-api, tag (optional):")
        await write(pilot, "by-hand")
        await pilot.press("enter")
        await until_shown(pilot, "✓ checkpoint of prod-api is queued")
        await pilot.press("d")
        await until_shown(pilot, "✓ drill of prod-api is queued")
        assert {(j.kind, j.connection) for j in history.engine.jobs.recent(2)} == {
            ("checkpoint", "prod-api"),
            ("drill", "prod-api"),
        }

    play(history, scene)


def test_without_a_connection_the_page_leads_on(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await there(pilot)
        await until_shown(pilot, "Nothing is protected yet.")
        await pilot.press("p", "e", "t", "x", "enter")
        assert isinstance(pilot.app.screen, ConnectionsPage)
        await pilot.press("n")
        await until_shown(pilot, "● Connection · 5 First checkpoint")
        await pilot.press("l")
        await until_shown(pilot, "1 Ledger")

    play(history, scene)


def test_a_key_that_cannot_be_had_is_said_where_the_address_would_be(history: History) -> None:
    history.connection("shop")
    history.held.delete(history.keys.catalog_id, 1)

    async def scene(pilot: Pilot[None]) -> None:
        await there(pilot)
        await until_shown(pilot, "✗ the demo's key is gone")
        assert "shop" in screen_text(pilot)

    play(history, scene)
