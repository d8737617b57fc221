"""The first run, from nothing to a proven checkpoint, by keyboard alone; and what happens when it is left half-way."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.errors import KeyAccessError
from engine.keys.door import KeyStore
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryCode
from engine.service import Engine
from offsitedb_tui.app import ConsoleApp
from offsitedb_tui.demo.held import HeldKey
from offsitedb_tui.demo.source import Admin
from screens.drill import DrillPage
from screens.forms.connection import AddConnection
from screens.forms.destination import AddDestination
from screens.forms.recover import RecoverInstallation
from screens.ledger import LedgerPage
from screens.walk import WalkPage
from screens.walk_words import GROUPS_ASKED
from tests.fixtures.binaries import lend
from tests.fixtures.lost import new_lost, shop_and_billing
from tests.fixtures.pilot import SIZES, Operator, screen_text, until, until_shown
from tests.fixtures.shop import shop_source
from tests.tui.driving import field, paste, write

LONG_S = 120.0
Scene = Callable[[Pilot[None]], Awaitable[None]]


class LockedAtFirst(HeldKey):
    """A keyring that somebody has to unlock."""

    locked = True

    def store(self, catalog_id: str, master: MasterKey) -> None:
        if self.locked:
            raise KeyAccessError("key.locked", "the keyring is locked")
        super().store(catalog_id, master)


@dataclass
class Bare:
    """A machine without an installation, and a key store for the one to come."""

    root: Path
    held: HeldKey

    @property
    def home(self) -> Path:
        return self.root / "home"

    def open(self) -> Engine:
        return Engine.open(home=self.home, key_store=self.held)

    def app(self) -> ConsoleApp:
        store: KeyStore = self.held
        return ConsoleApp(
            self.open,
            lambda: Engine.initialise(home=self.home, key_store=store),
            key_store=store,
            theme_name="offsitedb",
            ascii_only=False,
        )

    def play(self, scene: Scene, size: tuple[int, int] = (80, 24)) -> None:
        async def run() -> None:
            app = self.app()
            async with app.run_test(size=size, notifications=True):
                pilot = Operator(app)
                await scene(pilot)

        asyncio.run(run())


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bare]:
    root = Path(tempfile.mkdtemp(prefix="odbwalk-"))
    root.chmod(0o711)  # the drill's OS user passes through to the scratch directory
    monkeypatch.setenv("OFFSITEDB_HOME", str(root / "home"))
    monkeypatch.setenv("OFFSITEDB_RUNTIME", str(root / "runtime"))
    lend(root / "runtime")
    try:
        yield Bare(root, HeldKey())
    finally:
        shutil.rmtree(root, ignore_errors=True)


async def begun(pilot: Pilot[None]) -> None:
    """Past the first screen: the recovery code is shown."""
    await until_shown(pilot, "Welcome to OffsiteDB.")
    await until_shown(pilot, "● Key · 2 Recovery code")
    await pilot.press("enter")
    await until_shown(pilot, "This is the recovery code.")


def walk(pilot: Pilot[None]) -> WalkPage:
    screen = pilot.app.screen
    assert isinstance(screen, WalkPage)
    return screen


async def confirmed(pilot: Pilot[None]) -> str:
    """The code copied, and parts of it typed back; the code."""
    await pilot.press("y")
    code = pilot.app.clipboard
    await pilot.press("enter")
    await type_back(pilot, code.split("-")[1:])
    await until_shown(pilot, "✓ the recovery code is confirmed")
    return code


async def type_back(pilot: Pilot[None], groups: list[str]) -> None:
    await until_shown(pilot, "of what you have written down.")
    for n in range(GROUPS_ASKED):
        asked = field(pilot, f"group-{n}")
        number = int(asked.label.removeprefix("Group "))
        await write(pilot, groups[number - 1].upper())
        await pilot.press("enter")


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_from_nothing_to_a_proven_checkpoint_by_keyboard_alone(
    bare: Bare, server: Admin, size: tuple[int, int]
) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, ConsoleApp)
        await begun(pilot)
        code = await confirmed(pilot)
        assert all(group not in screen_text(pilot) for group in code.split("-")[1:-1])
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, AddDestination), "the form")
        assert "✓ Recovery code · ● Destination" in screen_text(pilot)
        await pilot.press("right", "enter")
        await write(pilot, "disk")
        await pilot.press("enter")
        await write(pilot, str(bare.root / "disk"))
        await pilot.press("enter")
        await until_shown(pilot, "The database to protect")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, AddConnection), "the form")
        await paste(pilot, reader)
        await pilot.press("enter", "ctrl+u")
        await write(pilot, "shop")
        await pilot.press("enter", "enter", "enter")
        await until_shown(pilot, "enter save")
        await pilot.press("enter")
        await until_shown(pilot, "No worker is running yet")
        assert "shop  →  disk" in screen_text(pilot)
        fd = bare.held.to_memory_file()
        app._worker.argv = [sys.executable, "-m", "offsitedb_tui.demo.held", str(fd)]
        app._worker.pass_fds = (fd,)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, DrillPage), "the drill's page")
        os.close(fd)
        job = app.engine.jobs.recent(1)[0]
        assert job.tag == "first"
        await until(pilot, lambda: app.engine.jobs.get(job.id).state.ended, "the checkpoint to end", LONG_S)
        await until_shown(pilot, "PROVEN")
        process = app._worker._process
        assert process is not None
        app._worker.let_go()
        await until(pilot, lambda: process.poll() is not None, "the worker to stop", LONG_S)

    with shop_source(server) as (_url, reader, _password):
        bare.play(scene, size)
    with bare.open() as engine:
        assert engine.keys.status().recovery_confirmed_at is not None
        assert engine.ledger.entries(limit=5)[0].drill is not None


def test_a_wrong_code_is_refused_and_the_code_shown_again(bare: Bare) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await begun(pilot)
        await pilot.press("y", "enter")
        await until_shown(pilot, "of what you have written down.")
        for _ in range(GROUPS_ASKED):
            await write(pilot, "bbbb")
            await pilot.press("enter")
        await until_shown(pilot, "That is not what the code says")
        await pilot.press("escape")
        await until_shown(pilot, "This is the recovery code.")
        await confirmed(pilot)

    bare.play(scene)


def test_the_code_can_be_put_off_with_a_warning(bare: Bare) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await begun(pilot)
        await pilot.press("l")
        await until_shown(pilot, "whoever loses this machine loses every backup")
        await write(pilot, "no")
        await pilot.press("enter")
        await until_shown(pilot, "the code is still here")
        await pilot.press("l")
        await write(pilot, "later")
        await pilot.press("enter")
        await until_shown(pilot, "! Recovery code · ● Destination")
        assert walk(pilot).copyable() is None

    bare.play(scene)
    with bare.open() as engine:
        assert engine.keys.status().recovery_confirmed_at is None


def test_a_locked_keyring_is_said_with_its_hint_and_tried_again(bare: Bare) -> None:
    bare.held = held = LockedAtFirst()

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "Welcome to OffsiteDB.")
        await pilot.press("1", "c", "d", "w", "l")
        assert isinstance(pilot.app.screen, WalkPage)
        await pilot.press("enter")
        await until_shown(pilot, "[key.locked]")
        assert "→" in screen_text(pilot)
        assert not (bare.home / "catalog.sqlite3").exists()
        held.locked = False
        await pilot.press("enter")
        await until_shown(pilot, "This is the recovery code.")

    bare.play(scene)


def test_what_was_left_half_way_goes_on_where_it_was(bare: Bare) -> None:
    async def first(pilot: Pilot[None]) -> None:
        await begun(pilot)
        await confirmed(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, AddDestination), "the form")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, WalkPage), "the walk")
        await pilot.press("l")
        await until(pilot, lambda: isinstance(pilot.app.screen, LedgerPage), "the ledger")
        await until_shown(pilot, "Nothing is protected yet.")

    async def second(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "Nothing is protected yet.")
        await pilot.press("2", "n")
        await until_shown(pilot, "✓ Recovery code · ● Destination")
        bare_destination = bare.home / "disk"
        await asyncio.to_thread(lambda: _add_folder(bare, bare_destination))
        await pilot.press("l")
        await until(pilot, lambda: isinstance(pilot.app.screen, LedgerPage), "the ledger")
        await pilot.press("2", "n")
        await until_shown(pilot, "✓ Destination · ● Connection")

    bare.play(first)
    bare.play(second)


def _add_folder(bare: Bare, folder: Path) -> None:
    with bare.open() as engine:
        engine.destinations.add_folder("disk", folder)


def test_a_lost_machine_is_recovered_from_the_first_screen(bare: Bare) -> None:
    lost = new_lost(bare.root / "old")
    shop_and_billing(lost)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "Welcome to OffsiteDB.")
        await pilot.press("r")
        await until_shown(pilot, "Recover a lost installation")
        assert isinstance(pilot.app.screen, RecoverInstallation)
        await pilot.press("right")
        field(pilot, "folder").control.value = str(lost.folder)
        field(pilot, "code").control.value = RecoveryCode.generate().text
        await pilot.press("ctrl+t")
        await until_shown(pilot, "key.recovery-code", LONG_S)
        assert lost.code not in screen_text(pilot)
        assert not bare.home.exists()
        field(pilot, "code").control.value = lost.code
        await pilot.press("ctrl+t")
        await until_shown(pilot, "5 snapshots are there, 0 are lost.", LONG_S)
        await until_shown(pilot, "UNPROVEN, all of them")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, LedgerPage), "the ledger")
        await until_shown(pilot, "billing")

    bare.play(scene)
    with bare.open() as engine:
        assert {c.name for c in engine.connections.list()} == {"billing", "shop"}
        assert engine.keys.status().state == "ok"
