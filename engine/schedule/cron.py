"""Cron expressions: five fields, read once, and the wall-clock times that they name.

Wall-clock time only: a date and a time of day as clocks show them, without a zone. What a clock that is put forward or
back makes of them is decided in ``engine.schedule.slots`` and nowhere else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache

from cronsim import CronSim, CronSimError

from engine.errors import ConfigError

_LONGEST = 200
_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_WRITE = (
    "0 to 59",
    "0 to 23",
    "1 to 31, L for the last day, LW for the last working day",
    "1 to 12 or JAN to DEC",
    "0 to 7 (0 and 7 are Sunday) or SUN to SAT, 5L for the last Friday, 1#2 for the second Monday",
)
_SAMPLE = "2026-01-01"
"""A Thursday; expressions are tried from here on."""
_DAYS_WITHOUT = 50 * 366
_EXAMPLES = "`0 3 * * *` is daily at 03:00, `*/30 8-18 * * 1-5` every half hour of the working day"


def check_cron(text: str) -> str:
    """The expression in capitals, with single blanks. Raises ConfigError ``config.cron``."""
    parts = text.split()
    if len(text) > _LONGEST:
        raise refused("a cron expression has 200 characters at most", f"Shorten it: {_EXAMPLES}.")
    if len(parts) == 6:
        raise refused(
            "a cron expression has five fields here, and this one has six",
            f"Leave the seconds out: `{' '.join(parts[1:])}`.",
        )
    if len(parts) != 5:
        fields = "minute, hour, day of the month, month, day of the week"
        raise refused(f"a cron expression has five fields, not {len(parts)}", f"Write {fields}: {_EXAMPLES}.")
    for n, part in enumerate(parts):
        if not _reads(n, part):
            raise refused(
                f"{part[:40]!r} cannot be the {_FIELDS[n]} of a cron expression",
                f"Write {_WRITE[n]}, `*` for any, lists (1,15), ranges (1-5) or steps (*/15).",
            )
    cron = " ".join(parts).upper()
    if next(walls(cron, datetime.fromisoformat(_SAMPLE)), None) is None:
        raise refused(
            f"`{cron}` never comes: no such date is in the calendar",
            "Choose a day that its months have; `L` is the last day of every month: `0 3 L * *`.",
        )
    return cron


def walls(cron: str, after: datetime) -> Iterator[datetime]:
    """The wall-clock times that ``cron`` names after ``after``, which has no zone; at most fifty years apart."""
    assert after.tzinfo is None
    read = _read(cron)
    day, first, empty = after.date(), bisect_right(read.times, after.time()), 0
    while empty < _DAYS_WITHOUT:
        try:
            if day.month not in read.months:
                following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
                empty, day, first = empty + (following - day).days, following, 0
                continue
            if read.fits(day):
                empty = 0
                for at in read.times[first:]:
                    yield datetime.combine(day, at)
            day, first, empty = day + timedelta(days=1), 0, empty + 1
        except OverflowError:  # the end of the calendar
            return


def every_hour(cron: str) -> bool:
    """Whether every hour of the day is meant, so that an hour that comes twice counts twice."""
    return _read(cron).every_hour


@dataclass(frozen=True, slots=True)
class _Read:
    """A cron expression, taken apart. ``fits``: whether a day of one of the ``months`` is meant."""

    months: frozenset[int]
    fits: Callable[[date], bool]
    times: tuple[time, ...]
    every_hour: bool


@lru_cache(maxsize=4096)
def _read(cron: str) -> _Read:
    """Reading an expression takes longer than finding its next time."""
    try:
        sim = CronSim(cron, datetime.fromisoformat(_SAMPLE))
    except CronSimError:  # a date that no month has
        return _Read(frozenset(), lambda _day: False, (), False)
    times = tuple(time(hour, minute) for hour in sorted(sim.hours) for minute in sorted(sim.minutes))
    return _Read(frozenset(sim.months), sim.match_day, times, len(sim.hours) == 24)


def refused(message: str, hint: str) -> ConfigError:
    return ConfigError("config.cron", message, hint=hint)


def _reads(n: int, part: str) -> bool:
    """Whether field ``n`` can be read by itself."""
    alone = ["*"] * 5
    alone[n] = part
    try:
        CronSim(" ".join(alone), datetime.fromisoformat(_SAMPLE))
    except CronSimError:
        return False
    return part.isascii()
