"""Schedules as people say them: hourly, every 6 h, daily at 03:00, weekly on sunday, monthly on 1. Each is a cron."""

from __future__ import annotations

import re

from engine.schedule.cron import check_cron, refused

DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
PRESETS = ("hourly", "every 6 h", "daily at 03:00", "weekly on sunday at 03:00", "monthly on 1 at 03:00")
"""One of each kind, as they are offered."""
_NUMBERS = {day[:3].upper(): str(n) for n, day in enumerate(DAYS)}
_EVEN = (2, 3, 4, 6, 8, 12)
_HINT = "Write `hourly`, `every 6 h`, `daily at 03:00`, `weekly on sunday at 03:00`, `monthly on 1 at 03:00` or a cron."
_AT = r"(?: +(?:at +)?(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2}))?"
_HOURLY = re.compile(r"hourly(?: +at +:(?P<minute>[0-9]{2}))?")
_EVERY = re.compile(r"(?:every +)?(?P<n>[0-9]{1,4}) *(?P<unit>h|hours?|min|minutes?)")
_DAILY = re.compile(rf"daily{_AT}")
_WEEKLY = re.compile(rf"weekly(?: +on +(?P<day>[a-z]+))?{_AT}")
_MONTHLY = re.compile(rf"monthly(?: +on +(?P<day>[a-z0-9]+))?{_AT}")
_THREE = ("3", "00")
"""In the night, and not at midnight, when others start theirs."""


def cron_of(text: str) -> str:
    """The cron of a preset in words, or of a cron. Raises ConfigError ``config.cron``."""
    said = " ".join(text.lower().split())
    for pattern, make in ((_HOURLY, _hourly), (_EVERY, _every), (_DAILY, _daily), (_WEEKLY, _weekly)):
        found = pattern.fullmatch(said)
        if found is not None:
            return check_cron(make(found))
    found = _MONTHLY.fullmatch(said)
    if found is not None:
        return check_cron(_monthly(found))
    if said.startswith("cron "):
        return check_cron(" ".join(text.split())[5:])
    if said.startswith("@"):
        return cron_of({"@midnight": "daily at 00:00"}.get(said, said[1:]))
    if not said or said[0].isalpha():
        raise refused(f"{text.strip()[:40]!r} is no schedule", _HINT)
    return check_cron(text)


def in_words(cron: str) -> str:
    """The schedule as :func:`cron_of` reads it, such as ``daily at 03:00``; or, no preset, ``cron 0 3 * * 1-5``."""
    minute, hour, day, month, weekday = cron.split()
    weekday = _NUMBERS.get(weekday, weekday)
    if not (minute.isdigit() and month == "*"):
        found = re.fullmatch(r"\*/([0-9]+)", minute)
        if found and (hour, day, month, weekday) == ("*",) * 4 and 60 % int(found[1]) == 0:
            return f"every {int(found[1])} min"
        return f"cron {cron}"
    if (day, weekday) == ("*", "*"):
        found = re.fullmatch(r"\*/([0-9]+)", hour)
        if hour == "*":
            return "hourly" if int(minute) == 0 else f"hourly at :{int(minute):02}"
        if found and int(minute) == 0 and int(found[1]) in _EVEN:
            return f"every {int(found[1])} h"
    if not hour.isdigit():
        return f"cron {cron}"
    at = f"{int(hour):02}:{int(minute):02}"
    if (day, weekday) == ("*", "*"):
        return f"daily at {at}"
    if day == "*" and weekday.isdigit():
        return f"weekly on {DAYS[int(weekday) % 7]} at {at}"
    if weekday == "*" and (day == "L" or (day.isdigit() and int(day) <= 28)):
        return f"monthly on {'last' if day == 'L' else int(day)} at {at}"
    return f"cron {cron}"


def _hourly(found: re.Match[str]) -> str:
    return f"{int(found['minute'] or 0)} * * * *"


def _every(found: re.Match[str]) -> str:
    n = int(found["n"])
    if found["unit"].startswith("m"):
        if 0 < n < 60 and 60 % n == 0:
            return f"*/{n} * * * *"
        raise refused(f"every {n} min does not come out even in an hour", "Choose 5, 10, 15, 20 or 30 min, or hourly.")
    if n == 1:
        return "0 * * * *"
    if n == 24:
        return "0 0 * * *"
    if n not in _EVEN:
        raise refused(f"every {n} h does not come out even in a day", "Choose 1, 2, 3, 4, 6, 8 or 12 h, or a cron.")
    return f"0 */{n} * * *"


def _daily(found: re.Match[str]) -> str:
    return f"{_clock(found)} * * *"


def _weekly(found: re.Match[str]) -> str:
    said = found["day"] or "sunday"
    fits = [n for n, day in enumerate(DAYS) if len(said) >= 2 and day.startswith(said)]
    if len(fits) != 1:
        raise refused(f"{said[:20]!r} is no day of the week", f"Write one of {', '.join(DAYS)}.")
    return f"{_clock(found)} * * {fits[0]}"


def _monthly(found: re.Match[str]) -> str:
    day = found["day"] or "1"
    if day == "last":
        return f"{_clock(found)} L * *"
    if not day.isdigit() or not 1 <= int(day) <= 28:
        raise refused(f"not every month has a day {day[:20]!r}", "Choose a day from 1 to 28, or `monthly on last`.")
    return f"{_clock(found)} {int(day)} * *"


def _clock(found: re.Match[str]) -> str:
    """Minute and hour, in cron's order."""
    hour, minute = (found["hour"], found["minute"]) if found["hour"] else _THREE
    if int(hour) > 23 or int(minute) > 59:
        raise refused(f"{hour}:{minute} is no time of day", "Write hours and minutes from 00:00 to 23:59.")
    return f"{int(minute)} {int(hour)}"
