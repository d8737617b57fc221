"""An answer that may take an hour: blanks keep the connection alive until there is something to say.

Blanks before a JSON document are part of none, so whoever reads JSON does not notice. The first blank settles the
status: 200, whatever comes. Until then the status says how it ended. A client that goes away ends the waiting and
nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

BLANK = b" "


class PatientAnswer(Response):
    """``answer`` waits and gives the whole answer."""

    media_type = "application/json"

    def __init__(self, answer: Callable[[], Awaitable[Response]], *, after_s: float, every_s: float) -> None:
        self._answer = answer
        self._after_s = after_s
        self._every_s = every_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering = asyncio.ensure_future(self._answer())
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await _either(answering, leaving, self._after_s)
            if leaving.done():
                return
            if answering.done():
                await answering.result()(scope, receive, send)
                return
            await self._keep_alive(answering, leaving, send)
        finally:
            for task in (answering, leaving):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    async def _keep_alive(self, answering: asyncio.Future[Response], leaving: asyncio.Future[None], send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while not answering.done() and not leaving.done():
            await send({"type": "http.response.body", "body": BLANK, "more_body": True})
            await _either(answering, leaving, self._every_s)
        if not leaving.done():
            await send({"type": "http.response.body", "body": bytes(answering.result().body), "more_body": False})


async def _either(one: asyncio.Future[Any], other: asyncio.Future[Any], within_s: float) -> None:
    """Until one of the two is done, or ``within_s`` seconds have passed."""
    await asyncio.wait({one, other}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)


async def _gone(receive: Receive) -> None:
    """Until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
