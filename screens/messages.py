"""What travels between the poller, background calls and the screens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.message import Message

from engine.errors import OffsiteError
from engine.model.watch import Overview
from engine.service import CancelToken


class Looked(Message):
    """The poller looked at the catalog. A newer look makes an older one that still waits superfluous."""

    def __init__(self, overview: Overview) -> None:
        super().__init__()
        self.overview = overview

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Looked)


class LookFailed(Message):
    """The catalog could not be read; the poller goes on trying."""

    def __init__(self, error: OffsiteError) -> None:
        super().__init__()
        self.error = error

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, LookFailed)


class Answered(Message, bubble=False):
    """A background call of a screen has ended; ``then`` runs in the screen's own thread, and decides nothing alone:
    a call that was superseded or whose screen has gone is dropped."""

    def __init__(self, name: str, token: CancelToken, then: Callable[[], Any]) -> None:
        super().__init__()
        self.name = name
        self.token = token
        self.then = then
