"""Calls to the engine that may take long, away from the screen's thread.

Threads of our own and not Textual's: those are waited for when the program ends, and a dead database or bucket must
not keep an operator from leaving. A call gets a cancel token, which is cancelled when it is superseded or its screen
goes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from engine.errors import Cancelled, Internal, OffsiteError
from engine.service import CancelToken
from screens.messages import Answered

T = TypeVar("T")


class Calls:
    """The calls of one screen, at most one of each name under way."""

    def __init__(self, post: Callable[[Answered], Any]) -> None:
        self._post = post
        self._running: dict[str, CancelToken] = {}

    def start(
        self,
        name: str,
        verb: Callable[[CancelToken], T],
        then: Callable[[T], Any],
        failed: Callable[[OffsiteError], Any],
        *,
        keep: bool = False,
    ) -> None:
        """Run ``verb`` in a thread, then ``then`` or ``failed`` in the screen's. With ``keep`` one that is under way
        under this name goes on and the new one is not begun; otherwise it is cancelled and forgotten."""
        if name in self._running:
            if keep:
                return
            self._running[name].cancel()
        token = self._running[name] = CancelToken()

        def run() -> None:
            try:
                result = verb(token)
            except OffsiteError as e:
                error: OffsiteError = e
                self._post(Answered(name, token, lambda: failed(error)))
            except Exception as e:  # noqa: BLE001 - the last line: a screen must say what happened, whatever it was
                internal = Internal("internal.error", f"{type(e).__name__}: {e}")
                self._post(Answered(name, token, lambda: failed(internal)))
            else:
                self._post(Answered(name, token, lambda: then(result)))

        threading.Thread(target=run, name=f"call-{name}", daemon=True).start()

    def settle(self, answer: Answered) -> None:
        """Take an answer; one that nobody waits for any more is dropped."""
        if self._running.get(answer.name) is answer.token:
            del self._running[answer.name]
            answer.then()

    @property
    def any_running(self) -> bool:
        return bool(self._running)

    def running(self, name: str) -> bool:
        return name in self._running

    def cancel(self, name: str) -> None:
        """Cancel one call and drop its answer."""
        token = self._running.pop(name, None)
        if token is not None:
            token.cancel(Cancelled("job.cancelled", "nobody waits for this any more"))

    def cancel_all(self) -> None:
        for name in list(self._running):
            self.cancel(name)
