"""Restoring from the console: the form, the plan, the name typed back, the job's page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import psycopg
import pytest
from textual.pilot import Pilot

from offsitedb_tui.app import ConsoleApp
from screens.forms.restore import RestoreForm
from screens.widgets.lines import Lines
from tests.fixtures.installation import running_worker
from tests.fixtures.pilot import SIZES, Operator, app_of, screen_text, until, until_shown
from tests.fixtures.shop import ROWS, Shop
from tests.tui.driving import field, paste, shown, silent_server, write

Scene = Callable[[Pilot[None]], Awaitable[None]]


@pytest.fixture(scope="module")
def snapshot(shop: Shop) -> str:
    """Id of a snapshot of the shop."""
    return str(shop.program.run("checkpoint", "shop", "--wait", "--json").document()["snapshot"]["id"])


def play(shop: Shop, scene: Scene, size: tuple[int, int] = (80, 24)) -> None:
    """The form is open over the snapshots."""

    async def run() -> None:
        app = ConsoleApp(shop.program.place.engine, theme_name="offsitedb", ascii_only=False)
        async with app.run_test(size=size, notifications=True):
            pilot = Operator(app)
            await until(pilot, lambda: app.overview is not None, "the first look at the catalog")
            await pilot.press("3")
            await until_shown(pilot, "SNAPSHOTS")
            await pilot.press("R")
            await until(pilot, lambda: isinstance(app.screen, RestoreForm), "the form")
            await until(pilot, lambda: app.screen.focused is not None, "a field with the focus")
            await scene(pilot)

    asyncio.run(run())


def counts(url: str) -> dict[tuple[str, str], int]:
    with psycopg.connect(url) as conn:
        names = conn.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'sales')"
        ).fetchall()
        rows = {}
        for schema, table in names:
            found = conn.execute(f"SELECT count(*) FROM {schema}.{table}".encode()).fetchone()
            rows[schema, table] = 0 if found is None else found[0]
        return rows


def password(url: str) -> str:
    found = urlsplit(url).password
    assert found is not None
    return found


@pytest.mark.parametrize("size", SIZES)
def test_the_plan_is_shown_and_a_wrong_name_starts_nothing(
    shop: Shop, snapshot: str, database: str, size: tuple[int, int]
) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        assert shown(pilot) == {"string", "what", "parts", "sessions", "clean", "superuser"}
        await paste(pilot, database)
        await until_shown(pilot, "✓ postgres@127.0.0.1")
        assert password(database) not in screen_text(pilot)
        await pilot.press("ctrl+t")
        await until_shown(pilot, "This can be restored")
        plan = pilot.app.screen.query_one("#plan", Lines).text
        assert "nothing that anybody made" in plan
        assert "sales.invoice  1,200 rows" in plan
        assert password(database) not in plan
        await pilot.press("enter")
        await until_shown(pilot, "Restore into it?")
        await write(pilot, "another")
        await pilot.press("enter")
        await until_shown(pilot, "nothing was changed")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: field(pilot, "string").control.has_focus, "the fields again")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, RestoreForm), "the form to close")
        assert shop.program.job("shop")[0] == before

    before = shop.program.job("shop")[0]
    play(shop, scene, size)
    assert counts(database) == {}


@pytest.mark.slow
def test_a_table_is_restored_and_its_page_says_so(shop: Shop, snapshot: str, database: str) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await paste(pilot, database)
        await pilot.press("enter", "right", "right", "enter")
        assert "names" in shown(pilot)
        await write(pilot, "sales.invoise")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "Did you mean sales.invoice")
        await pilot.press("backspace", "backspace")
        await write(pilot, "ce")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "This can be restored")
        await pilot.press("enter")
        await until_shown(pilot, "Restore into it?")
        await write(pilot, urlsplit(database).path[1:])
        await pilot.press("enter")
        await until(pilot, lambda: app_of(pilot).current_mode == "drill", "the job's page")
        await until_shown(pilot, "Restore of shop")
        await until_shown(pilot, "✓ RESTORED")
        assert "1 of 1 tables equal" in screen_text(pilot)

    with running_worker(shop.program.place):
        play(shop, scene, (120, 36))
    assert counts(database) == {("sales", "invoice"): ROWS["sales", "invoice"]}


@pytest.mark.slow
def test_a_full_target_is_refused_and_nothing_can_be_started(shop: Shop, snapshot: str, database: str) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("CREATE TABLE customer (id int)")

    async def scene(pilot: Pilot[None]) -> None:
        await paste(pilot, database)
        await pilot.press("ctrl+t")
        await until_shown(pilot, "✗ the target is not empty: table public.customer")
        await pilot.press("enter")
        await pilot.pause()
        assert "Restore into it?" not in screen_text(pilot)
        await pilot.press("escape")
        for _ in range(4):
            await pilot.press("down")
        await pilot.press("right", "ctrl+t")
        await until_shown(pilot, "This can be restored")
        assert "DROPS FIRST" in pilot.app.screen.query_one("#plan", Lines).text
        await pilot.press("s")
        await until_shown(pilot, "dropping 1 object?")

    play(shop, scene)
    assert counts(database) == {("public", "customer"): 0}


@pytest.mark.slow
def test_escape_stops_a_look_at_a_silent_server(shop: Shop, snapshot: str) -> None:
    with silent_server() as port:

        async def scene(pilot: Pilot[None]) -> None:
            await paste(pilot, f"postgresql://a:b@127.0.0.1:{port}/c")
            await pilot.press("ctrl+t")
            await until_shown(pilot, "looking at the target")
            await pilot.press("escape")
            await until_shown(pilot, "stopped; nothing was changed")

        play(shop, scene)


@pytest.mark.slow
def test_a_table_with_a_comma_is_named_and_superusers_objects_are_asked_for(shop: Shop, database: str) -> None:
    with psycopg.connect(shop.url, autocommit=True) as conn:
        conn.execute('CREATE TABLE "odd, ""one""" (id int)')
        conn.execute("CREATE FUNCTION root(float8) RETURNS float8 LANGUAGE internal IMMUTABLE AS 'dsqrt'")
        conn.execute('ALTER TABLE "odd, ""one""" ADD root float8 GENERATED ALWAYS AS (root(id)) STORED')
    shop.program.run("checkpoint", "shop", "--wait")

    async def scene(pilot: Pilot[None]) -> None:
        await paste(pilot, database)
        await pilot.press("enter", "right", "right", "enter")
        await write(pilot, 'public."odd, ""one"""')
        await pilot.press("ctrl+t")
        await until_shown(pilot, "nothing is left to restore")
        await pilot.press("escape")
        form = pilot.app.screen
        assert isinstance(form, RestoreForm)
        field(pilot, "superuser").take_focus()
        await pilot.press("right", "ctrl+t")
        await until_shown(pilot, "This can be restored")
        plan = form.query_one("#plan", Lines).text
        assert 'public.odd, "one"  0 rows' in plan
        assert "✓ PROVEN" in plan

    play(shop, scene)
    with psycopg.connect(shop.url, autocommit=True) as conn:
        conn.execute('DROP TABLE "odd, ""one"""')
        conn.execute("DROP FUNCTION root")
