"""The console: six pages over one engine, one poller, and the keys that mean the same everywhere.

It reads the catalog, asks the engine and queues jobs. It never dumps or restores: closing it stops nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePath
from typing import Any, ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from engine.errors import AccessDenied, ConfigError, OffsiteError
from engine.keys.door import KeyStore
from engine.model import Role
from engine.model.recovery import Recovered
from engine.model.views import JobView
from engine.model.watch import Overview
from engine.service import CancelToken, Engine, Initialised, RecoveryPlace
from engine.service.access import require
from offsitedb_tui import entrance, palette, theme
from offsitedb_tui.gate import Gate
from offsitedb_tui.poller import Poller
from offsitedb_tui.session_worker import SessionWorker
from offsitedb_tui.typeahead import TypeAhead
from offsitedb_tui.wire import QuietDriver
from screens.base import SESSION_OVER, Face, Page, Sheet, error_lines
from screens.connections import ConnectionsPage
from screens.drill import DrillPage
from screens.help import HelpSheet
from screens.ledger import LedgerPage
from screens.login import LoginScreen
from screens.messages import Looked, LookFailed
from screens.palette import PaletteSheet
from screens.phrase import Phrase, Tone
from screens.reports import ReportsPage
from screens.settings import SettingsPage
from screens.snapshots import SnapshotsPage
from screens.walk import WalkPage
from screens.widgets.bar import Question
from screens.widgets.nav import PAGES

LOOK_S = 5.0
"""How often the console asks itself whether anybody is still there."""


class ConsoleApp(App[None]):
    """``open_engine`` opens the installation; ``make`` makes one where there is none yet (the first run)."""

    TITLE = "OffsiteDB"
    CSS_PATH: ClassVar[list[str | PurePath]] = [
        "app.tcss",
        *sorted((Path(__file__).parent.parent / "screens").glob("*.tcss")),
    ]
    ENABLE_COMMAND_PALETTE = False  # ours is cheaper: screens/palette.py
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "ledger": LedgerPage,
        "connections": ConnectionsPage,
        "snapshots": SnapshotsPage,
        "drill": DrillPage,
        "reports": ReportsPage,
        "settings": SettingsPage,
        "walk": WalkPage,
        "login": LoginScreen,
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(n), f"page('{mode}')", title, show=False, id=f"page.{mode}")
            for n, (mode, title) in enumerate(PAGES, 1)
        ),
        Binding(
            "y", "screen.copy", "copy", id="copy", tooltip="Copy what the cursor is on, through the terminal (OSC 52)"
        ),
        Binding("question_mark", "help", "help", key_display="?", id="help", tooltip="Keys and what they do"),
        Binding("ctrl+p", "palette", "palette", show=False, id="palette", tooltip="Do things by name"),
        Binding("ctrl+l", "lock", "lock", show=False, id="lock", tooltip="Show nothing until your password is given"),
        Binding("q", "quit", "quit", id="quit", tooltip="Leave; what runs goes on in the worker"),
    ]

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        make: Callable[[], Initialised] = Engine.initialise,
        *,
        key_store: KeyStore | None = None,
        theme_name: str | None = None,
        ascii_only: bool | None = None,
    ) -> None:
        # under NO_COLOR the sixteen colours are kept by name until the end, where Textual takes them all out
        without_colour = "NO_COLOR" in os.environ
        super().__init__(driver_class=QuietDriver, ansi_color=True if without_colour else None)
        self._open_engine = open_engine
        self._make = make
        self._key_store = key_store
        """Holds the key of a recovered installation instead of the OS keyring."""
        self._opened: Engine | None = None
        self._overview: Overview | None = None
        self._poller: Poller | None = None
        self._worker = SessionWorker()
        self._gate = Gate()
        self.typed_ahead = TypeAhead(self, super().on_event)
        self._queued_job: str | None = None
        """The job that was asked for last and not been looked at yet."""
        self.ascii_only = theme.ascii_only() if ascii_only is None else ascii_only
        for look in theme.THEMES:
            self.register_theme(look)
        self.theme = theme.SIXTEEN.name if without_colour else theme_name or theme.choose()

    # what screens ask for

    @property
    def engine(self) -> Engine:
        if self._opened is None:
            raise ConfigError("config.not-initialised", "there is no installation yet")
        return self._opened

    @property
    def overview(self) -> Overview | None:
        return self._overview

    def nudge(self) -> None:
        if self._poller is not None:
            self._poller.nudge()

    def go(self, mode: str, **where: str) -> None:
        if self.locked:
            self.when_open(partial(self.go, mode, **where))
            return

        async def arrive() -> None:
            await self.switch_mode(mode)
            if "job" in where:
                self._queued_job = None
            if isinstance(self.screen, Page) and where:
                self.screen.arrive(**where)

        self.call_later(arrive)

    def initialise(self) -> Initialised:
        made = self._make()
        self._open_made()
        return made

    def recover(self, place: RecoveryPlace, code: str, catalog_id: str | None, cancel: CancelToken) -> Recovered:
        found = Engine.recover(place, code, catalog_id=catalog_id, key_store=self._key_store, cancel=cancel)
        self._open_made()
        return found

    def _open_made(self) -> None:
        self._opened = self._open_engine()
        self.call_from_thread(self._start_poller)

    def start_worker(self) -> str:
        require(self.engine.principal, Role.OPERATOR, "start_worker")
        if self.engine.worker.any_alive():
            return "a worker is running already"
        return self._worker.start(self.engine)

    # life

    def on_mount(self) -> None:
        self.set_interval(LOOK_S, self._look_after_session)
        try:
            self._opened = self._open_engine()
        except ConfigError as e:
            if e.code != "config.not-initialised":
                raise
            self.switch_mode("walk")
            return
        try:
            self._gate.learn(self.engine.operators.attend())
        except AccessDenied as e:
            self.lock(e)
            return
        self._start_poller()
        self.switch_mode("ledger")

    # logging in

    @property
    def locked(self) -> bool:
        return self._gate.closed

    @property
    def left(self) -> tuple[str, str]:
        return self._gate.name, self._gate.why

    def lock(self, error: OffsiteError | None = None) -> None:
        if self.locked:
            return
        if self._poller is not None:
            self._poller.stop()
            self._poller = None
        self._gate.close(self.current_mode, error)
        self.switch_mode("login")

    def log_in(self, name: str, password: str) -> None:
        operators = self.engine.operators
        before, token = operators.token, operators.login(name, password, entrance.source())
        if before is not None:
            operators.logout(before, reason="replaced")
        operators.enter(token)
        with suppress(ConfigError):  # then it is for this console only
            entrance.keep(self.engine, token)

    def admit(self) -> None:
        mode, waiting = self._gate.open(self.engine.clock.monotonic())
        self._learn_who()
        self._start_poller()
        self.switch_mode(mode)
        for then in waiting:
            self.call_later(then)

    def when_open(self, then: Callable[[], Any]) -> None:
        self._gate.waiting.append(then)

    def action_lock(self) -> None:
        if self.engine.operators.token is not None:
            self.lock()

    def log_out(self) -> None:
        """End the session and leave: the next one who comes begins anew."""
        token = self.engine.operators.token
        if token is not None:
            self.engine.operators.logout(token)
            entrance.forget(self.engine)
        self.exit()

    async def on_event(self, event: events.Event) -> None:
        if isinstance(
            event, events.Key | events.MouseDown | events.MouseScrollDown | events.MouseScrollUp | events.Paste
        ):
            self._gate.stir()
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            await self.typed_ahead.take(event)
        else:
            await super().on_event(event)

    def _look_after_session(self) -> None:
        """Lock when nobody has done anything for a while; tell the catalog now and then that somebody has."""
        if self._opened is None or self.locked or self.engine.operators.token is None:
            return
        now = self.engine.clock.monotonic()
        if self._gate.idle(now):
            self.lock()
        elif self._gate.due(now):
            threading.Thread(target=self._learn_who, name="session", daemon=True).start()

    def _learn_who(self) -> None:
        """Who sits here; it is a sign of life of theirs."""
        try:
            self._gate.learn(self.engine.operators.attend())
        except OffsiteError as e:
            self.post_message(LookFailed(e))

    def _start_poller(self) -> None:
        self._poller = Poller(self.engine, self.post_message)
        self._poller.start()

    def on_unmount(self) -> None:
        if self._poller is not None:
            self._poller.stop()
        self._worker.let_go()
        if self._opened is not None:
            self._opened.close()

    def on_looked(self, message: Looked) -> None:
        if self.locked:
            return
        self._overview = message.overview
        for screen in self.screen_stack:
            if isinstance(screen, Page):
                screen.take(message.overview)
            elif isinstance(screen, Face):
                screen.look(message.overview)

    def on_look_failed(self, message: LookFailed) -> None:
        if message.error.code in SESSION_OVER:
            self.lock(message.error)
        elif isinstance(self.screen, Face):
            self.screen.notice(*error_lines(message.error))

    def on_resize(self) -> None:
        self._forget_shown()

    def repaint(self) -> None:
        """Send everything anew: something else wrote to the terminal."""
        self._forget_shown()
        self.screen.refresh()

    def _forget_shown(self) -> None:
        if isinstance(self._driver, QuietDriver):
            self._driver.wire.forget()

    # keys that mean the same everywhere

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """On a sheet and during the first run only its own keys count."""
        del parameters
        if action in ("checkpoint", "drill", "page", "palette"):
            return isinstance(self.screen, Page) and not isinstance(self.screen, WalkPage)
        if action == "help" and isinstance(self.screen, LoginScreen):
            return False
        if action == "quit" and isinstance(self.screen, Face):
            return self.screen.QUITS
        return True

    async def action_page(self, mode: str) -> None:
        await self.switch_mode(mode)
        self._watch_queued()

    def _watch_queued(self) -> bool:
        """Where the page of jobs is, show what was asked for last, once; whether it is."""
        page = self.screen_stack[0]
        if not isinstance(page, DrillPage):
            return False
        job, self._queued_job = self._queued_job, None
        if job is not None:
            page.arrive(job=job)
        return True

    def action_help(self) -> None:
        if not isinstance(self.screen, HelpSheet):
            self._lay(HelpSheet(self.screen))

    def action_palette(self) -> None:
        page = self.screen
        if isinstance(page, Page):
            run = lambda command: command.run() if command is not None else None  # noqa: E731 - a callback
            self._lay(PaletteSheet(tuple(palette.commands(self, page))), run)

    def _lay(self, sheet: Sheet[Any], then: Callable[[Any], None] | None = None) -> None:
        """Lay ``sheet`` on top, painted once, when all of it is there."""

        async def lay() -> None:
            if self.locked:
                return
            with self.batch_update():
                await self.push_screen(sheet, then)

        self.run_worker(lay())  # in a task of its own: keys that come meanwhile are not held up

    def action_checkpoint(self) -> None:
        page = self.screen
        if not isinstance(page, Page):
            return
        name = page.connection_in_focus()
        if name is None:
            page.notice(Phrase("there is no connection to take a checkpoint of; 2 then n adds one", Tone.WARN))
            return
        self.ask_checkpoint(page, name)

    def ask_checkpoint(self, page: Page, name: str) -> None:
        """Ask for the tag, then queue the job."""

        def start(tag: str) -> None:
            verb = partial(self.engine.jobs.checkpoint, name, tag=tag.strip() or None)
            page.call("checkpoint", lambda _token: verb(), lambda job: self._queued(page, job))

        page.ask(
            Question(
                Phrase("Checkpoint of ") + Phrase(name, Tone.STRONG) + Phrase(", tag (optional):"),
                start,
                placeholder="enter starts it, esc leaves",
            )
        )

    def action_drill(self) -> None:
        page = self.screen
        if not isinstance(page, Page):
            return
        snapshot = page.snapshot_in_focus()
        if snapshot is None:
            page.notice(Phrase("there is no snapshot under the cursor to drill", Tone.WARN))
            return
        page.call("drill", lambda _token: self.engine.jobs.drill(snapshot), lambda job: self._queued(page, job))

    def drill_newest(self, page: Page, name: str) -> None:
        """Queue a drill of the connection's newest snapshot."""
        page.call("drill", lambda _token: self.engine.jobs.drill(f"{name}@latest"), lambda job: self._queued(page, job))

    def _queued(self, page: Page, job: JobView) -> None:
        self.nudge()
        self._queued_job = job.id
        if self._watch_queued():  # it was asked for there, or one went there meanwhile
            return
        what = Phrase("✓ ", Tone.GOOD) + Phrase(f"{job.kind} of {job.connection} is queued")
        if self._overview is not None and not self._overview.workers_alive:
            page.notice(
                what + Phrase(", but no worker is running", Tone.WARN),
                Phrase("  → w starts one for this session; `offsitedb worker` as a service runs for good", Tone.DIM),
            )
        else:
            page.notice(what + Phrase(" · 4 watches it", Tone.DIM))
