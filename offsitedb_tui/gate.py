"""What the console remembers of the person at it: when they last did something, and what waits while it is locked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.errors import OffsiteError
from engine.model import Principal
from engine.service.logins import IDLE, SEEN_EVERY

HOME = "ledger"


@dataclass
class Gate:
    """Open at first. Times are seconds of the engine's monotonic clock; it is not read at every key."""

    closed: bool = False
    name: str = ""
    """Who is logged in, or was when it closed."""
    why: str = ""
    waiting: list[Callable[[], Any]] = field(default_factory=list)
    _mode: str = HOME
    _stirred: bool = True
    _last_at: float | None = None
    _told_at: float | None = None

    def stir(self) -> None:
        """A key, a click, a paste."""
        self._stirred = True

    def idle(self, now: float) -> bool:
        """Whether nothing was done for so long that the console locks; to be asked every few seconds."""
        if self._stirred or self._last_at is None:
            self._stirred, self._last_at = False, now
        return now - self._last_at >= IDLE.total_seconds()

    def due(self, now: float) -> bool:
        """Whether the session should be told that somebody is there."""
        active = self._last_at is not None and (self._told_at is None or self._last_at > self._told_at)
        if active and (self._told_at is None or now - self._told_at >= SEEN_EVERY.total_seconds()):
            self._told_at = now
            return True
        return False

    def learn(self, principal: Principal) -> None:
        """Who sits there."""
        kind, _, name = principal.actor.partition(":")
        self.name = name if kind == "operator" else ""

    def close(self, mode: str, error: OffsiteError | None) -> None:
        """``mode``: what was shown; it is shown again when it opens."""
        told = error is not None and error.code == "access.session-ended"
        self.closed, self.why = True, error.message if error is not None and told else ""
        self._mode = mode if mode not in ("_default", "login") else HOME

    def open(self, now: float) -> tuple[str, list[Callable[[], Any]]]:
        """What to show, and what has waited."""
        self.closed, self.why = False, ""
        self._stirred, self._last_at, self._told_at = False, now, now
        waiting, self.waiting = self.waiting, []
        return self._mode, waiting
