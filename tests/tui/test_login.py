"""Logging in at the console, and its lock: nothing behind it is to be seen, and nothing that comes late shows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from engine.model import Role
from offsitedb_tui import token_file
from offsitedb_tui.app import ConsoleApp
from screens.base import Face
from screens.help import HelpSheet
from screens.ledger import LedgerPage
from screens.login import LoginScreen
from tests.fixtures.history import History, acme
from tests.fixtures.people import password_of, people
from tests.fixtures.pilot import SIZES, Operator, app_of, screen_text, settled, until, until_shown
from tests.tui.driving import field, write
from tests.tui.test_golden import GOLDEN, golden

Scene = Callable[[Pilot[None]], Awaitable[None]]


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory of this test's."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    return tmp_path


def play(history: History, scene: Scene, *, token: str | None = None, size: tuple[int, int] = (80, 24)) -> None:
    """``scene`` on a console that acts for whoever ``token`` belongs to."""
    engine = history.open()
    engine.operators.hasher = history.engine.operators.hasher
    engine.operators.enter(token)

    async def run() -> None:
        app = ConsoleApp(lambda: engine, theme_name="offsitedb", ascii_only=False)
        async with app.run_test(size=size, notifications=True):
            pilot = Operator(app)
            await pilot.pause()
            await scene(pilot)

    asyncio.run(run())


async def log_in(pilot: Pilot[None], password: str, name: str | None = None) -> None:
    if name is not None:
        await write(pilot, name)
        await pilot.press("tab")
    await write(pilot, password)
    await pilot.press("enter")


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x36"])
def test_how_it_looks(history: History, size: tuple[int, int]) -> None:
    acme(history)
    people(history.engine, alice=Role.ADMIN)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "Log in")
        await settled(pilot)
        golden(f"login-{size[0]}x{size[1]}", screen_text(pilot))
        await log_in(pilot, password_of("alice"), "alice")
        await until_shown(pilot, "LEDGER")
        await pilot.press("ctrl+l")
        await until_shown(pilot, "Locked")
        await settled(pilot)
        golden(f"lock-{size[0]}x{size[1]}", screen_text(pilot))
        await log_in(pilot, password_of("alice"))
        await until_shown(pilot, "LEDGER")
        app_of(pilot).go("settings", section="operators")
        await until_shown(pilot, "You are alice")
        await settled(pilot)
        golden(f"operators-{size[0]}x{size[1]}", screen_text(pilot))

    play(history, scene, size=size)
    assert (GOLDEN / "login-80x24.txt").exists()


def test_nobody_gets_past_it(history: History, runtime: Path) -> None:
    acme(history)
    people(history.engine, alice=Role.ADMIN, vera=Role.VIEWER)
    history.engine.operators.disable("vera")

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "Log in")
        for key in ("ctrl+p", "ctrl+l", "f1", "enter"):
            await pilot.press(key)
        assert isinstance(pilot.app.screen, LoginScreen)
        for name, password, told in (
            ("alice", "wrong", "user or password is wrong"),
            ("nobody", password_of("alice"), "user or password is wrong"),
            ("vera", "wrong", "user or password is wrong"),
            ("vera", password_of("vera"), "the operator vera is disabled"),
        ):
            field(pilot, "operator").control.value = ""
            field(pilot, "operator").take_focus()
            await log_in(pilot, password, name)
            await until_shown(pilot, told)
            assert field(pilot, "password").control.value == ""
            assert "warehouse" not in screen_text(pilot)
            assert app_of(pilot).overview is None
            await pilot.press("escape")
            await pilot.press("escape")
        assert token_file.read(history.home) is None

    play(history, scene)


@pytest.mark.slow
def test_who_guesses_waits(history: History) -> None:
    acme(history)
    people(history.engine, alice=Role.ADMIN)

    async def limited(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "Log in")
        for n in range(7):
            field(pilot, "operator").control.value = "alice"
            field(pilot, "password").take_focus()
            await log_in(pilot, "wrong")
            await until_shown(pilot, "too many failures" if n == 6 else "user or password is wrong")
            await settled(pilot)
            if n < 6:
                await pilot.press("escape", "escape")
        history.clock.at += timedelta(minutes=1)
        await log_in(pilot, password_of("alice"))
        await until_shown(pilot, "LEDGER")
        assert token_file.read(history.home) is not None

    play(history, limited)


def test_it_locks_itself_and_only_who_was_there_opens_it(history: History) -> None:
    acme(history)
    people(history.engine, alice=Role.ADMIN, bob=Role.ADMIN)
    token = history.engine.operators.login("alice", password_of("alice"), "local")

    async def scene(pilot: Pilot[None]) -> None:
        app = app_of(pilot)
        await until_shown(pilot, "LEDGER")
        await pilot.press("3")
        await until_shown(pilot, "warehouse")
        app._look_after_session()
        history.clock.at += timedelta(minutes=14)
        await pilot.press("down")
        app._look_after_session()
        history.clock.at += timedelta(minutes=14)
        app._look_after_session()
        assert not app.locked
        history.clock.at += timedelta(minutes=1)
        app._look_after_session()
        await until_shown(pilot, "Locked")
        assert "warehouse" not in screen_text(pilot)
        assert field(pilot, "operator").control.disabled
        late: list[str] = []
        page = next(screen for screen in app._screen_stacks["snapshots"] if screen.id != "_default")
        assert isinstance(page, Face)

        def came(text: str) -> None:
            late.append(text)
            app.push_screen(HelpSheet(page))

        page.call("late", lambda _token: "x", came)
        app.go("ledger")
        for key in ("1", "question_mark", "q", "ctrl+p", "c"):
            await pilot.press(key)
        await settled(pilot)
        assert isinstance(app.screen, LoginScreen)
        assert late == []
        field(pilot, "password").control.value = ""
        await log_in(pilot, password_of("bob"))
        await until_shown(pilot, "user or password is wrong")
        await log_in(pilot, password_of("alice"))
        await until(pilot, lambda: late == ["x"], "what waited")

    play(history, scene, token=token)


def test_a_reset_shuts_it_at_once(history: History) -> None:
    acme(history)
    people(history.engine, alice=Role.ADMIN, bob=Role.OPERATOR)
    token = history.engine.operators.login("bob", password_of("bob"), "local")

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "LEDGER")
        history.engine.operators.reset("bob", password_of("someone else"))
        app_of(pilot).nudge()
        await until_shown(pilot, "password was changed")
        assert "warehouse" not in screen_text(pilot)
        await log_in(pilot, password_of("someone else"))
        await until_shown(pilot, "LEDGER")

    play(history, scene, token=token)


@pytest.mark.slow
def test_what_is_dangerous_wants_the_password_once_more(history: History) -> None:
    acme(history)
    people(history.engine, alice=Role.ADMIN, bob=Role.OPERATOR)
    token = history.engine.operators.login("alice", password_of("alice"), "local")
    history.clock.at += timedelta(minutes=6)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "LEDGER")
        app_of(pilot).go("settings", section="operators")
        await until_shown(pilot, "You are alice")
        await until_shown(pilot, "bob")
        await pilot.press("down", "x")
        await until_shown(pilot, "Let bob in no more?")
        await write(pilot, "bob")
        await pilot.press("enter")
        await until_shown(pilot, "Your password, once more:")
        await write(pilot, "wrong")
        assert "wrong" not in screen_text(pilot)
        await pilot.press("enter")
        await until_shown(pilot, "user or password is wrong")
        await pilot.press("escape", "x")
        await write(pilot, "bob")
        await pilot.press("enter")
        await until_shown(pilot, "Your password, once more:")
        await write(pilot, password_of("alice"))
        await pilot.press("enter")
        await until_shown(pilot, "bob is out")
        await until_shown(pilot, "✗ disabled")
        await pilot.press("x")
        await until_shown(pilot, "bob is enabled")
        await pilot.press("o")
        await until_shown(pilot, "Role of bob")
        await pilot.press("left", "ctrl+t")
        await until_shown(pilot, "bob has another role")
        await pilot.press("e")
        await until_shown(pilot, "New password for bob")
        await write(pilot, "short")
        await pilot.press("tab")
        await write(pilot, "other")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "two different passwords")
        await pilot.press("escape", "escape", "n")
        await until_shown(pilot, "New operator")
        await write(pilot, "carol")
        for _ in range(2):
            await pilot.press("tab")
        await write(pilot, "passwordpassword")
        await pilot.press("tab")
        await write(pilot, "passwordpassword")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "everybody tries first")
        for id in ("password", "again"):
            field(pilot, id).control.value = password_of("carol")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "carol may log in")

    play(history, scene, token=token)
    assert {o.name: o.role for o in history.engine.operators.list()}["bob"] is Role.VIEWER


@pytest.mark.slow
def test_the_first_operator_is_added_and_logs_in(history: History) -> None:
    acme(history)
    history.engine.operators.hasher = people(history.engine)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "LEDGER")
        await pilot.press("ctrl+l")
        assert isinstance(pilot.app.screen, LedgerPage), "nobody is logged in: there is nothing to lock"
        app_of(pilot).go("settings", section="operators")
        await until_shown(pilot, "Nobody has to log in here")
        await pilot.press("n")
        await until_shown(pilot, "From then on everybody logs in")
        await write(pilot, "alice")
        await pilot.press("tab")
        await write(pilot, password_of("alice"))
        await pilot.press("tab")
        await write(pilot, password_of("alice"))
        await pilot.press("ctrl+t")
        await until_shown(pilot, "Log in")
        await log_in(pilot, password_of("alice"), "alice")
        await until_shown(pilot, "You are alice")

    play(history, scene)


def test_leaving_ends_the_session_when_asked(history: History) -> None:
    people(history.engine, alice=Role.ADMIN)
    token = history.engine.operators.login("alice", password_of("alice"), "local")
    token_file.write(history.home, token)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "LEDGER")
        await pilot.press("ctrl+p")
        await write(pilot, "Log out")
        await pilot.press("enter")
        await until(pilot, lambda: token_file.read(history.home) is None, "the token to go")

    play(history, scene, token=token)
    assert history.engine.operators.list()[0].sessions == 0


@pytest.mark.parametrize("between", ["tab", "enter", "down"])
def test_what_a_password_manager_types_at_once_goes_where_it_belongs(history: History, between: str) -> None:
    """Name, tab, password, enter in one go: the password is never to be read in the field of the name."""
    people(history.engine, alice=Role.ADMIN)

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "Log in")
        await settled(pilot)
        for key in (*"alice", between, *password_of("alice"), "enter"):
            pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until_shown(pilot, "LEDGER")

    play(history, scene)
