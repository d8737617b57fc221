"""The command palette: pages, checkpoints and looks by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from offsitedb_tui import theme
from screens.base import Page
from screens.widgets.nav import PAGES

if TYPE_CHECKING:
    from offsitedb_tui.app import ConsoleApp


class Places(Provider):
    """What can be done by name."""

    async def discover(self) -> Hits:
        for text, run, why in self._commands():
            yield DiscoveryHit(Content(text), run, text=text, help=why)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for text, run, why in self._commands():
            score = matcher.match(text)
            if score > 0:
                yield Hit(score, matcher.highlight(text), run, text=text, help=why)

    def _commands(self) -> Iterator[tuple[str, Callable[[], object], str]]:
        app = cast("ConsoleApp", self.app)
        page = app.screen_stack[0] if app.screen_stack else None
        for n, (mode, title) in enumerate(PAGES, 1):
            yield f"Go to {title}", partial(app.go, mode), f"the page of key {n}"
        if app.overview is not None and isinstance(page, Page):
            for headline in app.overview.headlines:
                name = headline.connection
                yield f"Checkpoint of {name}", partial(app.ask_checkpoint, page, name), "snapshot and drill, now"
        yield "Start a worker for this session", partial(self._on_page, "start_worker"), "jobs are run by a worker"
        yield "Help", app.action_help, "the keys of this screen"
        for look in theme.THEMES:
            yield f"Theme {look.name}", partial(setattr, app, "theme", look.name), "the look of the console"
        yield "Quit", app.exit, "what runs goes on in the worker"

    async def _on_page(self, action: str) -> None:
        await self.app.run_action(f"screen.{action}")
