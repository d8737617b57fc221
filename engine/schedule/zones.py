"""Time zones by the names of the tz database."""

from __future__ import annotations

import difflib
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from engine.errors import ConfigError

_NO_PLACES = {"localtime", "Factory", "posixrules"}
"""Files beside the zones. What `localtime` is differs between the worker's host and the console's."""
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@lru_cache(maxsize=512)
def zone(name: str) -> ZoneInfo:
    """The zone of a schedule that was checked when it was set. Raises ConfigError ``config.zone``."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as e:
        raise _unknown(name) from e


def check_zone(name: str) -> str:
    """The zone's name as the tz database spells it. Raises ConfigError ``config.zone``."""
    wanted = name.strip()
    if wanted in _names():
        return wanted
    same = [known for known in _names() if known.lower() == wanted.lower().replace(" ", "_")]
    if same:
        return same[0]
    raise _unknown(name)


def local_text(at: datetime, name: str) -> str:
    """``Thu 2026-11-26 03:00 CET``: what clocks in the zone show."""
    local = at.astimezone(zone(name))
    return f"{_DAYS[local.weekday()]} {local:%Y-%m-%d %H:%M %Z}"


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(available_timezones() - _NO_PLACES)


def _unknown(name: str) -> ConfigError:
    shown = name.strip()[:60]
    place = shown.replace(" ", "_").rpartition("/")[2].lower()
    lower = {known.lower(): known for known in sorted(_names())}
    same_place = [known for known in sorted(_names()) if place and known.lower().rpartition("/")[2] == place]
    near = same_place or [lower[hit] for hit in difflib.get_close_matches(shown.lower(), lower, n=2, cutoff=0.7)]
    hint = "Write a name of the tz database, such as `Europe/Berlin`, `America/New_York` or `UTC`."
    if near:
        hint = f"Did you mean {' or '.join(f'`{hit}`' for hit in near[:2])}?"
    return ConfigError("config.zone", f"{shown!r} is no time zone", hint=hint)
