"""Months and days as clocks in a zone show them, made instants here and nowhere else in this room."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from engine.errors import ConfigError
from engine.model.report import Period
from engine.schedule.zones import zone


@dataclass(frozen=True, slots=True)
class DaySpan:
    """One day: 23, 24 or 25 hours."""

    date: str
    begin_at: datetime
    end_at: datetime


def period(month: str, zone_name: str, now: datetime) -> Period:
    """The month ``2026-11``. Raises ConfigError ``config.month`` for what is none or has not begun, ``config.zone``."""
    found = re.fullmatch(r"([0-9]{4})-([0-9]{2})", month)
    if found is None or not 1970 <= int(found[1]) < 9999 or not 1 <= int(found[2]) <= 12:
        raise ConfigError("config.month", f"{month[:40]!r} is no month")
    first = date(int(found[1]), int(found[2]), 1)
    begin, end = _midnight(first, zone_name), _midnight(_next(first), zone_name)
    if begin >= now:
        raise ConfigError("config.month", f"{month} has not begun", hint="A report tells of what has happened.")
    return Period(month, begin, end, min(end, now), zone_name)


def month_of(at: datetime, zone_name: str) -> str:
    """The month that an instant lies in."""
    return f"{at.astimezone(zone(zone_name)):%Y-%m}"


def before(month: str, n: int = 1) -> str:
    """The month ``n`` months before."""
    whole = int(month[:4]) * 12 + int(month[5:]) - 1 - n
    return f"{whole // 12:04}-{whole % 12 + 1:02}"


def begin_of(month: str, zone_name: str) -> datetime:
    """When the month begins."""
    return _midnight(date(int(month[:4]), int(month[5:]), 1), zone_name)


def days(within: Period) -> Iterator[DaySpan]:
    """The days of the month, in their order."""
    day = date(int(within.month[:4]), int(within.month[5:]), 1)
    while f"{day:%Y-%m}" == within.month:
        after = day + timedelta(days=1)
        yield DaySpan(day.isoformat(), _midnight(day, within.time_zone), _midnight(after, within.time_zone))
        day = after


def _midnight(day: date, zone_name: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone(zone_name)).astimezone(UTC)


def _next(first: date) -> date:
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)
