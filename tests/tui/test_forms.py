"""The forms: by keyboard alone, tried against real servers and folders, secrets never on the screen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Button

from engine import catalog as catalogs
from engine.model import BucketKey, BucketKeys, BucketSpec, Destination, DestinationKind
from engine.service import buckets
from offsitedb_tui.demo.source import Admin
from screens.forms.connection import AddConnection, EditConnection
from screens.forms.destination import AddDestination, EditDestinationKeys
from screens.forms.text import TextSheet
from screens.widgets.fields import Choice
from screens.widgets.findings import Findings
from tests.fixtures.ceph import Ceph
from tests.fixtures.history import NOW, History
from tests.fixtures.installation import unhurried
from tests.fixtures.pilot import SIZES, app_of, screen_text, until, until_shown
from tests.fixtures.shop import shop_source
from tests.fixtures.source import as_role
from tests.tui.driving import field, paste, play, shown, silent_server, write

AT_ONCE_S = 2.0
SECRET = "sEcReT-kEy-0123456789"


@dataclass(frozen=True)
class Source:
    """A database, its superuser's and its reader's string, the reader's password."""

    url: str
    reader: str
    password: str


@pytest.fixture(scope="module")
def source(server: Admin) -> Iterator[Source]:
    with shop_source(server) as made:
        yield Source(*made)


async def opened(pilot: Pilot[None], form: Screen[str | None]) -> list[str | None]:
    """Open ``form``; the list gets what it closes with."""
    closed: list[str | None] = []
    await pilot.app.push_screen(form, closed.append)
    await until(pilot, lambda: pilot.app.screen.focused is not None, "a field with the focus")
    return closed


# -- destinations


@pytest.mark.parametrize("size", SIZES)
def test_a_folder_is_added_by_keyboard_alone(history: History, tmp_path: Path, size: tuple[int, int]) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        closed = await opened(pilot, AddDestination())
        await pilot.press("right", "enter")
        assert shown(pilot) == {"kind", "name", "folder"}
        await write(pilot, "disk")
        await pilot.press("enter")
        await write(pilot, str(tmp_path / "disk"))
        await pilot.press("enter")
        await until(pilot, lambda: closed == ["disk"], "the form to close")
        assert "disk" in {d.name for d in history.engine.destinations.list()}
        assert (tmp_path / "disk" / "OFFSITEDB-DESTINATION").exists()

    play(history, scene, size)


def test_only_what_the_provider_needs_is_asked(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await opened(pilot, AddDestination())
        always = {"kind", "name", "provider", "bucket", "prefix", "key-id", "key-secret", "prune"}
        provider = field(pilot, "provider").control
        assert isinstance(provider, Choice)
        await pilot.press("down", "down")
        expected = {
            "s3": {"region"},
            "r2": {"endpoint"},
            "b2": {"region"},
            "wasabi": {"region"},
            "scaleway": {"region"},
            "ceph": {"endpoint", "region", "ca"},
        }
        for name, more in expected.items():
            assert (provider.value, shown(pilot)) == (name, always | more)
            await pilot.press("right")
            await pilot.pause()
        await pilot.press("left", "down")
        await write(pilot, "http://10.0.0.7")
        assert shown(pilot) == always | expected["ceph"] | {"http"}
        field(pilot, "prune").take_focus()
        await pilot.press("space")
        await pilot.pause()
        assert {"prune-id", "prune-secret"} <= shown(pilot)
        await pilot.press("shift+tab", "up", "tab")
        await pilot.click("#kind Choice", offset=(36, 0))
        await pilot.pause()
        assert shown(pilot) == {"kind", "name", "folder"}

    play(history, scene)


def test_the_rights_are_there_to_copy_before_there_are_keys(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await opened(pilot, AddDestination())
        field(pilot, "bucket").take_focus()
        await write(pilot, "acme")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: isinstance(pilot.app.screen, TextSheet), "the policy")
        await pilot.press("y")
        assert '"arn:aws:s3:::acme/*"' in pilot.app.clipboard
        assert "s3:DeleteObject" not in pilot.app.clipboard
        await pilot.press("tab", "y")
        assert "s3:DeleteObject" in pilot.app.clipboard
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, AddDestination), "the form again")
        assert field(pilot, "bucket").text == "acme"
        pilot.app.screen.query_one("#rights", Button).press()
        await until(pilot, lambda: isinstance(pilot.app.screen, TextSheet), "the policy")
        field_of_form = pilot.app.screen_stack[-2].query_one("#bucket")
        await pilot.press("escape")
        assert field_of_form.is_attached

    play(history, scene)


async def _bucket(pilot: Pilot[None], endpoint: str, *, bucket: str = "acme", key: BucketKey | None = None) -> None:
    """A bucket at an endpoint of one's own, as it is typed."""
    key = key or BucketKey("AKIAEXAMPLE", SECRET)
    await pilot.press("enter")
    await write(pilot, "far")
    await pilot.press("enter", "left", "enter")
    await write(pilot, endpoint)
    field(pilot, "bucket").take_focus()
    await write(pilot, bucket)
    await pilot.press("enter", "enter")
    await write(pilot, key.access_key_id)
    await pilot.press("enter")
    await write(pilot, key.secret_access_key)


def test_what_does_not_answer_is_not_saved_and_the_fields_stay(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await opened(pilot, AddDestination())
        await _bucket(pilot, "http://127.0.0.1:9")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "✗")
        await until_shown(pilot, "[store.unreachable]")
        assert SECRET not in screen_text(pilot)
        assert [d.name for d in history.engine.destinations.list()] == ["here"]
        assert (field(pilot, "bucket").text, field(pilot, "key-secret").text) == ("acme", SECRET)
        await pilot.press("ctrl+y")
        assert pilot.app.clipboard
        assert SECRET not in pilot.app.clipboard
        field(pilot, "ca").take_focus()
        await write(pilot, "/nowhere/ca.pem")
        await pilot.press("enter")
        await until_shown(pilot, "the CA file /nowhere/ca.pem cannot be read")

    play(history, scene)


def test_escape_stops_a_round_trip_at_once(history: History) -> None:
    with silent_server() as port:

        async def scene(pilot: Pilot[None]) -> None:
            closed = await opened(pilot, AddDestination())
            await _bucket(pilot, f"http://127.0.0.1:{port}")
            await pilot.press("ctrl+t")
            await until_shown(pilot, "● trying it")
            before = time.monotonic()
            await pilot.press("escape")
            await until_shown(pilot, "stopped; nothing was saved")
            assert time.monotonic() - before < unhurried(AT_ONCE_S)
            assert field(pilot, "bucket").text == "acme"
            await pilot.press("escape")
            await until(pilot, lambda: closed == [None], "the form to close")

        play(history, scene)
    assert [d.name for d in history.engine.destinations.list()] == ["here"]


def test_a_missing_field_is_said_where_it_is(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await opened(pilot, AddDestination())
        await pilot.press("ctrl+t")
        assert field(pilot, "name").said.startswith("✗ it needs a name")
        await write(pilot, "far")
        await pilot.press("ctrl+t")
        assert field(pilot, "bucket").said == "✗ say which bucket"
        await write(pilot, "acme")
        await pilot.press("ctrl+t")
        assert field(pilot, "key-id").said == "✗ this is needed"
        await pilot.press("escape")

    play(history, scene)


@pytest.mark.slow
def test_a_real_bucket_goes_through_every_step(history: History, ceph: Ceph) -> None:
    bucket = ceph.bucket()

    async def scene(pilot: Pilot[None]) -> None:
        closed = await opened(pilot, AddDestination())
        await _bucket(pilot, ceph.http, bucket=bucket, key=ceph.key)
        pilot.app.screen.query_one("#submit", Button).press()
        await until(pilot, lambda: closed == ["far"], "the bucket to be saved")
        await opened(pilot, EditDestinationKeys("far"))
        await write(pilot, "WRONGWRONGWRONGWRONG")
        await pilot.press("enter")
        await write(pilot, SECRET)
        await pilot.press("ctrl+t")
        await until_shown(pilot, "✗")
        await until(pilot, lambda: "[store." in screen_text(pilot), "the refusal")
        assert SECRET not in screen_text(pilot)
        assert history.engine.destinations.test("far")

    play(history, scene)


@pytest.mark.slow
def test_new_keys_are_tried_before_they_take_the_place_of_the_old(history: History) -> None:
    spec = buckets.settled(BucketSpec("acme", provider="ceph", endpoint="http://127.0.0.1:9"))
    old = BucketKeys(BucketKey("AKIAOLD", "old-secret"))
    sealed = buckets.seal_keys(history.engine, history.keys, "f" * 32, old)
    with history.engine.catalog.write() as tx:
        catalogs.destinations.add(
            tx, Destination("f" * 32, "far", DestinationKind.S3, None, NOW, None, bucket=spec, keys=sealed)
        )

    async def scene(pilot: Pilot[None]) -> None:
        closed = await opened(pilot, EditDestinationKeys("far"))
        await pilot.press("down", "down", "right")
        await pilot.pause()
        assert {"prune-id", "prune-secret"} <= shown(pilot)
        await pilot.press("left", "up", "up")
        await write(pilot, "AKIANEW")
        await pilot.press("enter")
        await write(pilot, SECRET)
        await pilot.press("ctrl+t")
        await until_shown(pilot, "[store.unreachable]")
        with history.engine.catalog.read() as tx:
            kept = buckets.open_keys(history.engine, catalogs.destinations.by_name(tx, "far"))
        assert kept.worker.access_key_id == "AKIAOLD"
        await pilot.press("escape", "escape")
        await until(pilot, lambda: closed == [None], "the form to close")

    play(history, scene)


# -- connections


@pytest.mark.parametrize("size", SIZES)
def test_a_pasted_string_is_understood_hidden_tested_and_saved(
    history: History, source: Source, size: tuple[int, int]
) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        seen = []
        closed = await opened(pilot, AddConnection())
        await paste(pilot, f"\nDATABASE_URL={source.reader}?sslmode=prefer\n")
        seen.append(screen_text(pilot))
        assert "✓ reader_" in field(pilot, "string").said
        database = source.url.rpartition("/")[2]
        assert field(pilot, "name").text == database
        await pilot.press("enter", "ctrl+u")
        await write(pilot, "shop")
        await pilot.press("enter")
        await write(pilot, "6 h")
        await pilot.press("enter")
        await write(pilot, "soon")
        await pilot.press("enter")
        assert field(pilot, "restore").said.startswith("✗ 'soon' is not a duration")
        await pilot.press("ctrl+u")
        await write(pilot, "15min")
        await pilot.press("enter")
        await until_shown(pilot, "all 3 tables can be captured")
        seen.append(screen_text(pilot))
        assert "✓ PostgreSQL" in pilot.app.screen.query_one(Findings).text
        await pilot.press("t")
        await until(pilot, lambda: not pilot.app.screen.calls.running("try"), "the look")  # type: ignore[attr-defined]
        await pilot.press("s")
        await until(pilot, lambda: closed == ["shop"], "the form to close")
        seen.append(screen_text(pilot))
        assert all(source.password not in text for text in seen)
        saved = history.engine.connections.get("shop")
        assert (saved.destination, saved.proof_target_s, saved.restore_target_s) == ("here", 6 * 3600, 900)

    play(history, scene, size)


def test_what_no_row_can_be_read_of_is_saved_only_when_that_is_accepted(history: History, source: Source) -> None:
    with psycopg.connect(source.url, autocommit=True) as conn:
        conn.execute("CREATE ROLE sees_nothing LOGIN PASSWORD 'pw'")
    try:

        async def scene(pilot: Pilot[None]) -> None:
            closed = await opened(pilot, AddConnection())
            await paste(pilot, as_role(source.url, "sees_nothing", "pw"))
            await pilot.press("enter", "ctrl+u")
            await write(pilot, "empty-one")
            await pilot.press("ctrl+t")
            await until_shown(pilot, "✗ cannot be saved like this")
            assert "0 of 3 tables can be captured" in screen_text(pilot)
            await pilot.press("enter", "s")
            assert not history.engine.connections.list()
            await pilot.press("y")
            assert 'GRANT pg_read_all_data TO "sees_nothing";' in pilot.app.clipboard
            await pilot.press("escape", "a")
            await write(pilot, "no")
            await pilot.press("enter")
            await until_shown(pilot, "nothing was accepted")
            await pilot.press("a")
            await write(pilot, "empty")
            await pilot.press("enter")
            await until_shown(pilot, "enter save")
            await pilot.press("enter")
            await until(pilot, lambda: closed == ["empty-one"], "the form to close")
            assert history.engine.connections.get("empty-one").accept_empty

        play(history, scene)
    finally:
        with psycopg.connect(source.url, autocommit=True) as conn:
            conn.execute("DROP ROLE sees_nothing")


def test_escape_stops_a_test_at_once(history: History) -> None:
    with silent_server() as port:

        async def scene(pilot: Pilot[None]) -> None:
            closed = await opened(pilot, AddConnection())
            await paste(pilot, f"postgresql://reader:{SECRET}@127.0.0.1:{port}/shop")
            await pilot.press("ctrl+t")
            await until_shown(pilot, "● connecting")
            before = time.monotonic()
            await pilot.press("escape")
            await until_shown(pilot, "stopped; nothing was saved")
            assert time.monotonic() - before < unhurried(AT_ONCE_S)
            assert field(pilot, "name").text == "shop"
            await pilot.press("escape", "escape")
            await until(pilot, lambda: closed == [None], "the form to close")

        play(history, scene)


def test_a_key_that_is_quicker_than_the_news_of_what_was_pasted(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        form = AddConnection()
        await opened(pilot, form)
        field(pilot, "string").control.value = "postgresql://reader:pw@127.0.0.1:1/acme"  # nobody was told of it yet
        form.submit()
        assert (field(pilot, "name").text, form.calls.any_running) == ("acme", True)
        await pilot.press("escape")
        await until(pilot, lambda: not form.calls.any_running, "the test to stop")

    play(history, scene)


def test_a_failure_stays_and_holds_no_password(history: History, source: Source) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await opened(pilot, AddConnection())
        await paste(pilot, source.reader.replace(source.password, SECRET))
        await pilot.press("ctrl+t")
        await until_shown(pilot, "[pg.")
        assert SECRET not in screen_text(pilot)
        assert "→" in screen_text(pilot)
        await pilot.press("escape", "ctrl+u")
        await write(pilot, "mysql://x@y/z")
        assert "mysql:// is not a PostgreSQL address" in field(pilot, "string").said
        await pilot.press("ctrl+t")
        assert field(pilot, "string").said.startswith("✗")

    play(history, scene)


def test_the_secret_field_gives_nothing_back(history: History, source: Source) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await opened(pilot, AddConnection())
        await paste(pilot, source.reader)
        await pilot.press("shift+home", "ctrl+c")
        assert not pilot.app.clipboard
        await pilot.press("ctrl+x")
        assert not pilot.app.clipboard
        assert not field(pilot, "string").text

    play(history, scene)


def test_the_sql_for_a_read_only_role(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await opened(pilot, AddConnection())
        await pilot.press("ctrl+g")
        await until_shown(pilot, "A role that only reads")
        await pilot.press("y")
        assert 'CREATE ROLE "offsitedb_reader"' in pilot.app.clipboard
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, AddConnection), "the form again")
        pilot.app.screen.query_one("#role", Button).press()
        await until_shown(pilot, "A role that only reads")

    play(history, scene)


def test_hostile_names_of_tables_are_only_text(history: History, source: Source) -> None:
    name = "[@click=app.quit()]x\x1b]52;c;eA==\x07\u202e"
    with psycopg.connect(source.url, autocommit=True) as conn:
        conn.execute(f'CREATE SCHEMA private; CREATE TABLE private."{name}" (id int)'.encode())
    try:

        async def scene(pilot: Pilot[None]) -> None:
            await opened(pilot, AddConnection())
            await paste(pilot, source.reader)
            await pilot.press("ctrl+t")
            await until_shown(pilot, "3 of 4 tables can be captured")
            text = screen_text(pilot)
            assert "[@click=app.quit()]x␛]52;c;eA==␇<202e>" in text
            findings = pilot.app.screen.query_one(Findings)
            for key in ("j", "G", "g", "pagedown", "pageup", "k", "end", "home", "space"):
                await pilot.press(key)
            await pilot.click(Findings, offset=(6, 2))
            assert findings.item is not None
            assert app_of(pilot).is_running

        play(history, scene)
    finally:
        with psycopg.connect(source.url, autocommit=True) as conn:
            conn.execute("DROP SCHEMA private CASCADE")


def test_an_old_connection_gets_another_string_destination_and_target(
    history: History, source: Source, tmp_path: Path
) -> None:
    history.engine.connections.add("shop", "here", source.reader)
    history.engine.connections.set_targets("shop", proof_s=3600, restore_s=None)
    history.engine.destinations.add_folder("there", tmp_path / "there")

    async def scene(pilot: Pilot[None]) -> None:
        closed = await opened(pilot, EditConnection(history.engine.connections.get("shop")))
        await until(pilot, lambda: "where" in shown(pilot), "the destinations")
        assert shown(pilot) == {"string", "where", "proof", "restore"}
        assert (field(pilot, "where").text, field(pilot, "proof").text) == ("here", "1h")
        await pilot.press("down", "right", "down", "ctrl+u")
        await write(pilot, "2h")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "enter save")
        await pilot.press("escape", "ctrl+t")
        await until_shown(pilot, "enter save")
        await pilot.press("enter")
        await until(pilot, lambda: closed == ["shop"], "the form to close")
        view = history.engine.connections.get("shop")
        assert (view.destination, view.proof_target_s, view.restore_target_s) == ("there", 7200, None)
        await opened(pilot, EditConnection(view))
        await paste(pilot, source.url)
        await pilot.press("ctrl+t")
        await until_shown(pilot, "superuser")
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(pilot.app.screen, EditConnection), "the form to close")
        assert history.engine.connections.show("shop").address.startswith("postgres@")

    play(history, scene)
