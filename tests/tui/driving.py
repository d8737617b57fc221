"""Playing a scene on a console, typing and pasting as an operator does, and a server that never answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from textual import events
from textual.pilot import Pilot

from screens.widgets.fields import Field
from tests.fixtures.history import History
from tests.fixtures.pilot import console

Scene = Callable[[Pilot[None]], Awaitable[None]]


def play(history: History, scene: Scene, size: tuple[int, int] = (80, 24)) -> None:
    """``scene`` on a console over ``history``."""

    async def run() -> None:
        async with console(history, size) as pilot:
            await scene(pilot)

    asyncio.run(run())


async def write(pilot: Pilot[None], text: str) -> None:
    """Type ``text``, key by key."""
    for letter in text:
        pilot.app.post_message(events.Key(letter, letter))
    await pilot.pause()


async def paste(pilot: Pilot[None], text: str) -> None:
    """What the terminal sends when something is pasted."""
    pilot.app.post_message(events.Paste(text))
    await pilot.pause()
    await pilot.pause()


def field(pilot: Pilot[None], id: str) -> Field:
    return pilot.app.screen.query_one(f"#{id}", Field)


def shown(pilot: Pilot[None]) -> set[str]:
    """Which fields of the form are shown."""
    return {str(f.id) for f in pilot.app.screen.query(Field) if f.display}


@contextmanager
def silent_server() -> Iterator[int]:
    """The port of a server on loopback that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield int(server.getsockname()[1])
