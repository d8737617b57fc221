"""The settings page: every section, and every key in it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine import catalog as catalogs
from engine.catalog.schema import destinations
from engine.errors import ConfigError
from engine.model import BucketKey, BucketKeys, BucketSpec, Destination, DestinationKind
from engine.model.kit import KitState, KitView, RecoveryView
from engine.model.views import KeyEpoch
from engine.service import Engine, buckets
from engine.service.doctor import examine
from offsitedb_tui.app import ConsoleApp
from offsitedb_tui.demo.held import HeldKey
from screens import present_settings
from screens.forms.destination import AddDestination
from screens.sections.base import Section
from screens.settings import SettingsPage
from screens.widgets.bar import Bar
from tests.fixtures.history import History, acme
from tests.fixtures.pilot import SIZES, Operator, app_of, console, screen_text, until, until_shown

Scene = Callable[[Pilot[None]], Awaitable[None]]


def play(history: History, scene: Scene, size: tuple[int, int] = (80, 24)) -> None:
    async def run() -> None:
        async with console(history, size) as pilot:
            await pilot.press("6")
            await until(pilot, lambda: isinstance(pilot.app.screen, SettingsPage), "the settings")
            await scene(pilot)

    asyncio.run(run())


def section(pilot: Pilot[None]) -> Section:
    page = pilot.app.screen
    assert isinstance(page, SettingsPage)
    return page.section


async def to(pilot: Pilot[None], place: str) -> None:
    app_of(pilot).go("settings", section=place)
    await until(pilot, lambda: isinstance(pilot.app.screen, SettingsPage), "the settings")
    await until(pilot, lambda: place == section(pilot).PLACE, place)
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES)
def test_stepping_through_the_sections(history: History, size: tuple[int, int]) -> None:
    acme(history)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "used by 3 connections")
        places = [
            "destinations",
            "key",
            "alerts",
            "operators",
            "apikeys",
            "workers",
            "tools",
            "posture",
            "scratch",
            "look",
        ]
        for place in [*places[1:], places[0]]:
            await pilot.press("right_square_bracket")
            await until(pilot, lambda place=place: place == section(pilot).PLACE, place)  # type: ignore[misc]
        for key in ("left", "right", "left_square_bracket"):
            await pilot.press(key)
        await until(pilot, lambda: section(pilot).PLACE == "look", "the last one")
        await pilot.click("#sections", offset=(0, 0))
        await until(pilot, lambda: section(pilot).PLACE == "scratch", "a click on the mark of more")
        await pilot.press("right_square_bracket", "right_square_bracket")
        await until(pilot, lambda: section(pilot).PLACE == "destinations", "the first one again")
        await pilot.click("#sections", offset=(20, 0))
        await until(pilot, lambda: section(pilot).PLACE == "key", "a click on a name")
        await pilot.press("left_square_bracket")
        for key in ("c", "d"):
            await pilot.press(key)
            await until_shown(pilot, f"then {key}: here is nothing")
        await pilot.press("escape", "r")

    play(history, scene, size)


def test_a_destination_is_tried_and_copied(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "a local folder")
        await pilot.press("t")
        await until_shown(pilot, "✓ here works")
        assert "✓ upload" in screen_text(pilot)
        await pilot.press("p")
        await until_shown(pilot, "it needs no policy")
        await pilot.press("y")
        assert pilot.app.clipboard == str(history.home / "destination")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, AddDestination), "the form")

    play(history, scene)


def test_a_destination_that_fails_says_so_and_keeps_saying_it(history: History) -> None:
    (history.home / "destination").rename(history.home / "elsewhere")

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "a local folder")
        await pilot.press("t")
        await until_shown(pilot, "[store.")
        await pilot.press("escape")
        await until(pilot, lambda: not pilot.app.screen.query_one("#notice").display, "the notice to go")
        assert "[store." in screen_text(pilot)

    play(history, scene)


def test_the_policy_of_a_bucket(history: History) -> None:
    spec = BucketSpec("acme-backups", "s3", "https://s3.example.org", "eu-central-1", "prod")
    with pytest.raises(ConfigError):
        history.engine.destinations.policy("here")
    with history.engine.catalog.write() as tx:
        found = catalogs.destinations.by_name(tx, "here")
        tx.change(destinations.delete().where(destinations.c.id == found.id))
    _with_bucket(history, spec)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "s3://acme-backups/prod")
        await pilot.press("p")
        await until_shown(pilot, "What the worker's key must be allowed to do")
        await pilot.press("y")
        assert "s3:PutObject" in pilot.app.clipboard
        assert "s3:DeleteObject" not in pilot.app.clipboard
        await pilot.press("p")
        await until_shown(pilot, "What the prune credential must be allowed to do")
        await pilot.press("y")
        assert "s3:DeleteObject" in pilot.app.clipboard
        await pilot.press("enter")
        await until_shown(pilot, "Endpoint")
        await pilot.press("e")
        await until_shown(pilot, "New keys for away")
        await pilot.press("escape")
        await until_shown(pilot, "Endpoint")

    play(history, scene)


def _with_bucket(history: History, spec: BucketSpec) -> None:
    """A bucket that nobody tried: there is none in this test."""
    record = Destination(history.new_id(), "away", DestinationKind.S3, None, history.clock.at, None, spec)
    keys = BucketKeys(BucketKey("AKIDEXAMPLE", "secret-of-the-worker"))
    sealed = buckets.seal_keys(history.engine, history.keys, record.id, keys)
    with history.engine.catalog.write() as tx:
        catalogs.destinations.add(tx, replace(record, keys=sealed))


def test_a_destination_is_removed_only_by_its_name(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "a local folder")
        await pilot.press("e")
        await until_shown(pilot, "here is a folder and has no keys")
        await pilot.press("x")
        await until_shown(pilot, "Forget here?")
        await pilot.press("y", "enter")
        await until_shown(pilot, "here stays")
        assert len(history.engine.destinations.list()) == 1
        await pilot.press("x", *"here", "enter")
        await until_shown(pilot, "here is forgotten")
        assert not history.engine.destinations.list()
        await until_shown(pilot, "There is no destination yet.")
        await pilot.press("t", "p", "x", "enter")

    play(history, scene)


def test_the_key_its_code_and_systemd(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await to(pilot, "key")
        await until_shown(pilot, "● there")
        await until_shown(pilot, "here · ✓ up to date · written")
        await pilot.press("y")
        assert pilot.app.clipboard == history.engine.keys.status().kid
        await pilot.press("i")
        await until_shown(pilot, "systemd-creds encrypt")
        await pilot.press("y")
        assert pilot.app.clipboard == history.engine.keys.systemd_install().text
        await pilot.press("i")
        await until_shown(pilot, "● there")
        for key in ("e", "f"):
            await pilot.press(key)
            await until_shown(pilot, "Recovery code,")
            field = pilot.app.screen.query_one("#bar-input", Input)
            assert field.password
            await pilot.press(*"wrong-code", "enter")
            await until_shown(pilot, "[key.recovery-code]")
            assert field.value == ""
            await pilot.press(key, "escape")
            await until(pilot, lambda: not pilot.app.screen.query_one(Bar).asking, "the question to go")

    play(history, scene)


def test_the_key_is_rotated(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await to(pilot, "key")
        await until_shown(pilot, "never: o makes a new one")
        await pilot.press("o", "enter")
        await until_shown(pilot, "the key stays as it is")
        await pilot.press("o", *"rotate", "enter")
        await until_shown(pilot, "is in use, 1 value sealed anew")
        await until_shown(pilot, "epoch 2")
        await until_shown(pilot, "needed by nothing, kept until")
        assert history.engine.keys.status().epoch == 2

    play(history, scene)


def test_a_key_with_a_long_past(history: History) -> None:
    status = history.engine.keys.status()
    epochs = tuple(
        KeyEpoch(n, f"{n:016x}", "absent" if n == 8 else "older", history.clock.now(), n, 0, f"opens {n} snapshots")
        for n in range(9, 0, -1)
    )
    status = replace(status, epoch=10, rotated_at=history.clock.now(), epochs=epochs)
    shown = present_settings.key_lines(status, history.engine.recovery.show())
    text = "\n".join(line.text for line in shown)
    assert "8 0000000000000008 opens 8 snapshots, and is not in this keyring" in text
    assert "and 5 more: `offsitedb key status` lists them" in text


def test_how_code_and_kits_stand(history: History) -> None:
    at, status = history.clock.now(), history.engine.keys.status()
    states = (KitState.CURRENT, KitState.STALE, KitState.ABSENT, KitState.FAILING)
    errors = {KitState.FAILING: "access denied"}
    kits = [KitView(f"off-{s}", "/x", s, None if s is KitState.ABSENT else at, errors.get(s)) for s in states]
    recovery = RecoveryView("a" * 16, at, at, False, tuple(kits))

    def told(found: RecoveryView) -> str:
        return "\n".join(line.text for line in present_settings.key_lines(status, found))

    text = told(recovery)
    for said in (
        "✓ opens everything  2026-11-23",
        "off-current · ✓ up to date · written 2026-11-23",
        "off-stale · ○ stale",
    ):
        assert said in text
    assert "off-absent · ○ not written yet: a worker writes it\n" in text
    assert "off-failing · ✗ cannot be written" in text
    assert "access denied" in text
    assert "! long ago: `offsitedb recovery verify`" in told(replace(recovery, overdue=True))
    assert "! never: `offsitedb recovery verify`" in told(replace(recovery, verified_at=None, overdue=True))
    assert "lies nowhere" in told(replace(recovery, kits=()))
    assert "and 2 more: `offsitedb recovery show`" in told(replace(recovery, kits=(*kits, *kits)))


@pytest.mark.slow
def test_the_code_confirms_and_brings_the_key_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as root:
        home, held = Path(root) / "home", HeldKey()
        monkeypatch.setenv("OFFSITEDB_HOME", str(home))
        monkeypatch.setenv("OFFSITEDB_RUNTIME", str(Path(root) / "runtime"))
        made = Engine.initialise(home=home, key_store=held)
        with Engine.open(home=home, key_store=held) as engine:
            assert engine.keys.status().recovery_confirmed_at is None
        _confirm_and_restore(home, held, made.code.text, made.catalog_id)


def _confirm_and_restore(home: Path, held: HeldKey, code: str, catalog_id: str) -> None:
    async def run() -> None:
        app = ConsoleApp(lambda: Engine.open(home=home, key_store=held), theme_name="offsitedb", ascii_only=False)
        async with app.run_test(size=(80, 24), notifications=True):
            pilot = Operator(app)
            await until(pilot, lambda: app.overview is not None, "the first look")
            await to(pilot, "key")
            await until_shown(pilot, "nobody has confirmed it")
            await pilot.press("f", *code, "enter")
            await until_shown(pilot, "the recovery code is right")
            await until_shown(pilot, "✓ confirmed")
            held.delete(catalog_id, 1)
            await pilot.press("r")
            await until_shown(pilot, "! key.missing")
            await pilot.press("e", *code, "enter")
            await until_shown(pilot, "is back, in: held by the demo")
            assert code not in screen_text(pilot)

    asyncio.run(run())


def test_workers_and_tools(history: History) -> None:
    history.worker()

    async def scene(pilot: Pilot[None]) -> None:
        await to(pilot, "workers")
        await until_shown(pilot, "● alive")
        await pilot.press("y")
        assert "worker w1" in pilot.app.clipboard
        await pilot.press("w")
        await until_shown(pilot, "a worker is running already")
        await to(pilot, "tools")
        await until_shown(pilot, "PostgreSQL programs")
        await pilot.press("y")
        assert "Keyrings of this machine" in pilot.app.clipboard

    play(history, scene)


def test_without_a_worker_it_says_what_to_do(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await to(pilot, "workers")
        await until_shown(pilot, "! no worker is running: jobs wait.")
        await pilot.press("y")
        assert pilot.app.clipboard == "offsitedb worker"

    play(history, scene)


def test_a_look_is_taken(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await to(pilot, "look")
        await until_shown(pilot, "● in use")
        for name in ("offsitedb-light", "offsitedb-16"):
            await pilot.press("down", "enter")
            await until(pilot, lambda name=name: pilot.app.theme == name, name)  # type: ignore[misc]
            assert f"{name}" in next(line for line in screen_text(pilot).splitlines() if "● in use" in line)
        await pilot.press("y")
        assert pilot.app.clipboard == "offsitedb-16"

    play(history, scene)


def test_problems_come_first_each_with_its_cure(history: History) -> None:
    found = examine(history.engine)
    told = present_settings.doctor_lines(replace(found, problems=("it is broken. Mend it.", "it is old.")))
    assert [line.text.strip() for line in told[:3]] == ["! it is broken", "→ Mend it.", "! it is old."]
    well = present_settings.doctor_lines(replace(found, problems=()))
    assert well[0].text.strip() == "✓ nothing needs mending"
