"""How many requests one API key may make: a bucket of tokens each, refilled all the time, in this process's memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.clock import Clock
from engine.errors import AccessDenied

_KEPT = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RequestLimit:
    """``per_minute`` requests of each caller, as many of them at once as have been saved up."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._most = float(per_minute)
        self._per_s = per_minute / 60.0
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, who: str) -> None:
        """One request of ``who``. Raises AccessDenied ``access.rate-limited`` with ``wait_s`` in its context."""
        now = self._clock.monotonic()
        bucket = self._buckets.get(who)
        if bucket is None:
            if len(self._buckets) >= _KEPT:
                self._forget(now)
            bucket = self._buckets[who] = _Bucket(self._most, now)
        bucket.tokens = min(self._most, bucket.tokens + (now - bucket.at) * self._per_s)
        bucket.at = now
        if bucket.tokens < 1:
            wait_s = math.ceil((1 - bucket.tokens) / self._per_s)
            raise AccessDenied(
                "access.rate-limited",
                f"more than {self._most:.0f} requests a minute",
                hint=f"Wait {wait_s} s. `GET /api/checkpoints/ID?wait=50` waits for a checkpoint in one request.",
                context={"wait_s": wait_s},
            )
        bucket.tokens -= 1

    def _forget(self, now: float) -> None:
        """Buckets that are full again say nothing."""
        for who, bucket in list(self._buckets.items()):
            if bucket.tokens + (now - bucket.at) * self._per_s >= self._most:
                del self._buckets[who]
