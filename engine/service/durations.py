"""Durations as people write them: ``90s``, ``15min``, ``6h``, ``1d``; ``none`` for no target at all."""

from __future__ import annotations

import re

from engine.errors import ConfigError

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_WRITTEN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([A-Za-z]*)")
_LONGEST_S = 3650 * 86_400
_HINT = "Write a number and a unit, as in 90s, 15min, 6h or 1d; `none` takes the target away."


def parse_duration(text: str) -> float | None:
    """Seconds of a duration, None for ``none``. Raises ConfigError ``config.invalid``."""
    plain = text.strip().lower()
    if plain == "none":
        return None
    found = _WRITTEN.fullmatch(plain)
    if found is None:
        raise _refused(f"{text[:40]!r} is not a duration")
    number, unit = found.groups()
    if not unit:
        raise _refused(f"{text[:40]!r} has no unit")
    if unit not in _UNITS:
        raise _refused(f"{unit[:20]!r} is not a unit of time")
    seconds = round(float(number) * _UNITS[unit], 3)
    if not 0 < seconds <= _LONGEST_S:
        raise _refused(f"{text[:40]!r} is not between 0 and {_LONGEST_S // 86_400} days")
    return seconds


def duration_text(seconds: float | None) -> str:
    """The duration as :func:`parse_duration` reads it, in the largest unit that needs no fraction."""
    if seconds is None:
        return "none"
    for unit, size in reversed(_UNITS.items()):
        if seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.3f}".rstrip("0") + "s"


def _refused(message: str) -> ConfigError:
    return ConfigError("config.invalid", message, hint=_HINT)
