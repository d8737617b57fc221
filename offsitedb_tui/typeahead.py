"""Keys one after another: each goes where the focus is once the one before it has been dealt with.

Textual sends a key to what has the focus when the key arrives; what the key then does (an answer given, the focus moved
on, another page) happens some messages later. Over a slow line, from a password manager, or while the console is busy,
several keys arrive at once, and those behind the first would end in the wrong place: a command in a field, a password
in the field for a name.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.message_pump import MessagePump

LONGEST_S = 2.0
"""After this time the next key no longer waits for the one before it: better out of order than not at all."""
_ROUNDS = 2
"""A key goes from what has the focus up to the app, whose action may send a message (submitted, say) the same way."""

Typed = events.Key | events.Paste


class TypeAhead:
    """``deal`` is what the app does with a key or a paste that it has not held back."""

    def __init__(self, app: App[Any], deal: Callable[[Typed], Awaitable[None]]) -> None:
        self._app = app
        self._deal = deal
        self._waiting: deque[Typed] = deque()
        self._serial = 0
        self._busy = False
        self._patience: asyncio.TimerHandle | None = None

    @property
    def empty(self) -> bool:
        """Whether everything that was typed has been dealt with."""
        return not (self._busy or self._waiting)

    async def take(self, typed: Typed) -> None:
        """Deal with it now, or when all that came before it has been dealt with."""
        self._waiting.append(typed)
        if not self._busy:
            await self._next()

    async def _next(self) -> None:
        if not self._waiting:
            return
        self._busy = True
        self._serial += 1
        serial = self._serial
        way = self._way_up()
        self._patience = asyncio.get_running_loop().call_later(LONGEST_S, self._wait_no_longer, serial)
        await self._deal(self._waiting.popleft())
        self._follow(serial, way * _ROUNDS)

    def _way_up(self) -> list[MessagePump]:
        """From what has the focus to the app."""
        start: DOMNode = self._app.focused or self._app.screen
        return list(start.ancestors_with_self)

    def _follow(self, serial: int, way: list[MessagePump]) -> None:
        """Behind everything that waits in the first of them, then in the next, and so on: what the key has set off runs
        ahead of this all the way. One that is gone by now holds nothing up."""
        for n, pump in enumerate(way):
            if pump.call_later(partial(self._follow, serial, way[n + 1 :])):
                return
        self._app.call_later(self._dealt_with, serial)

    def _wait_no_longer(self, serial: int) -> None:
        self._app.call_later(self._dealt_with, serial)

    async def _dealt_with(self, serial: int) -> None:
        if serial != self._serial or not self._busy:
            return
        if self._patience is not None:
            self._patience.cancel()
        self._busy = False
        await self._next()
