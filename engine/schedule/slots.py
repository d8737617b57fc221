"""From wall-clock times to instants: where clocks are put forward or back, and nowhere a slot lost or doubled.

* A time that a clock leaves out (02:30 when it goes from 02:00 to 03:00) comes at the instant at which the clock is put
  forward. Several that are left out, and the time that it is put forward to, are one slot.
* A time that comes twice is a slot the first time only. Where *every* hour of the day is meant, each of the two counts:
  an hourly schedule has no gap of two hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from engine.schedule.cron import every_hour, walls
from engine.schedule.zones import zone

_SECOND = timedelta(seconds=1)


def next_slot(cron: str, zone_name: str, after: datetime) -> datetime | None:
    """The first slot after the instant ``after``; None where the calendar ends before it."""
    where = zone(zone_name)
    first = _next(cron, where, after, fold=0)
    if not every_hour(cron):
        return first
    second = _next(cron, where, after, fold=1)
    return min((at for at in (first, second) if at is not None), default=None)


def slots_between(cron: str, zone_name: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """Every slot after ``after`` and not after ``until``, in order."""
    at = next_slot(cron, zone_name, after)
    while at is not None and at <= until:
        yield at
        at = next_slot(cron, zone_name, at)


def next_slots(cron: str, zone_name: str, after: datetime, count: int) -> tuple[datetime, ...]:
    """The next ``count`` slots after ``after``."""
    end = datetime.max.replace(tzinfo=UTC)
    return tuple(islice(slots_between(cron, zone_name, after, end), count))


def _next(cron: str, where: ZoneInfo, after: datetime, fold: int) -> datetime | None:
    """The first slot after ``after`` where a time that comes twice counts the first (0) or second (1) time."""
    local = after.astimezone(where)
    begin = local.replace(tzinfo=None)
    if fold == 1 and local.fold == 0:
        # in the first of two equal hours: times that lie behind come again
        begin -= _offset(local) - min(_offset(local), _offset(local.replace(fold=1)))
    for wall in walls(cron, begin):
        at = _instant(wall, where, fold)
        if at > after:
            return at
    return None


def _instant(wall: datetime, where: ZoneInfo, fold: int) -> datetime:
    """When clocks show ``wall``, or are put forward past it."""
    at = wall.replace(tzinfo=where, fold=fold).astimezone(UTC)
    if at.astimezone(where).replace(tzinfo=None) == wall:
        return at
    before = wall.replace(tzinfo=where, fold=1).astimezone(UTC)
    after = wall.replace(tzinfo=where, fold=0).astimezone(UTC)
    old = _offset(before.astimezone(where))
    while after - before > _SECOND:  # the clock is put forward after `before` and at `after` at the latest
        middle = before + (after - before) // 2
        if _offset(middle.astimezone(where)) == old:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


def _offset(local: datetime) -> timedelta:
    offset = local.utcoffset()
    assert offset is not None
    return offset
