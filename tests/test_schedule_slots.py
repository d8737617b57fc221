"""Slots over years and through every change of a clock: none lost, none doubled, wherever one begins to count."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.schedule import local_text, next_slot, next_slots, slots_between

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour
    "Asia/Kathmandu",  # never, but 45 minutes beside
    "Africa/Cairo",  # at midnight
    "America/Santiago",
)
MINUTE = timedelta(minutes=1)


def changes(zone: str, first: int, last: int) -> list[datetime]:
    """Hours of these years in which the clocks of ``zone`` are changed, or some hours where they never are."""
    where, found = ZoneInfo(zone), []
    at = datetime(first, 1, 1, tzinfo=UTC)
    while at.year <= last:
        if at.astimezone(where).utcoffset() != (at + timedelta(hours=1)).astimezone(where).utcoffset():
            found.append(at)
        at += timedelta(hours=1)
    return found or [datetime(first, 3, 28, 1, tzinfo=UTC), datetime(last, 10, 25, 1, tzinfo=UTC)]


CHANGES = {zone: changes(zone, 2025, 2028) for zone in ZONES}


def by_the_minute(
    minutes: Collection[int], hours: Collection[int], zone: str, after: datetime, until: datetime
) -> Iterator[datetime]:
    """What the clocks show, minute by minute: another way to the same slots."""

    def meant(wall: datetime) -> bool:
        return wall.minute in minutes and wall.hour in hours

    where, at = ZoneInfo(zone), after - timedelta(hours=2)
    latest = at.astimezone(where).replace(tzinfo=None)
    while at < until:
        at += MINUTE
        shown = at.astimezone(where).replace(tzinfo=None)
        left_out = [latest + n * MINUTE for n in range(1, (shown - latest) // MINUTE)]
        again = shown <= latest
        latest = max(shown, latest)
        if at > after and ((meant(shown) and (not again or len(set(hours)) == 24)) or any(map(meant, left_out))):
            yield at


@st.composite
def around_a_change(draw: st.DrawFn) -> tuple[str, datetime, datetime]:
    zone = draw(st.sampled_from(ZONES))
    change = draw(st.sampled_from(CHANGES[zone]))
    after = change - timedelta(minutes=draw(st.integers(0, 1500)), seconds=draw(st.integers(0, 59)))
    return zone, after.replace(second=0), after.replace(second=0) + timedelta(minutes=draw(st.integers(1, 3000)))


hours_meant = st.one_of(
    st.sets(st.integers(0, 23), min_size=1), st.just(set(range(24))), st.sets(st.integers(0, 4), min_size=1)
)


@settings(max_examples=60, deadline=None)
@given(around_a_change(), st.sets(st.integers(0, 59), min_size=1, max_size=8), hours_meant)
def test_slots_are_what_clocks_show(where: tuple[str, datetime, datetime], minutes: set[int], hours: set[int]) -> None:
    zone, after, until = where
    cron = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    found = list(slots_between(cron, zone, after, until))
    assert found == list(by_the_minute(minutes, hours, zone, after, until))


@settings(max_examples=30, deadline=None)
@given(around_a_change(), st.sampled_from(("*/7 * * * *", "30 2 * * *", "15,45 1-3 * * *", "0 */2 * * *")), st.data())
def test_it_does_not_matter_where_one_begins(
    where: tuple[str, datetime, datetime], cron: str, data: st.DataObject
) -> None:
    zone, after, until = where
    whole = list(slots_between(cron, zone, after, until))
    assert whole == sorted(set(whole))
    between = after + timedelta(seconds=data.draw(st.integers(0, int((until - after).total_seconds()))))
    assert [at for at in whole if at > between] == list(slots_between(cron, zone, between, until))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("time", ["00:00", "00:30", "01:45", "02:00", "02:30", "03:00", "23:59"])
def test_daily_is_once_a_day_for_four_years(zone: str, time: str) -> None:
    hour, minute = (int(part) for part in time.split(":"))
    where = ZoneInfo(zone)
    begin = datetime(2025, 1, 1, tzinfo=where).astimezone(UTC) - MINUTE
    end = datetime(2029, 1, 1, tzinfo=where).astimezone(UTC) - MINUTE
    days = [at.astimezone(where).date() for at in slots_between(f"{minute} {hour} * * *", zone, begin, end)]
    assert days == [date(2025, 1, 1) + timedelta(days=n) for n in range(1461)]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Africa/Cairo"])
def test_hourly_is_every_hour_through_summer(zone: str) -> None:
    begin = datetime(2026, 3, 1, 0, 20, tzinfo=UTC)
    slots = list(slots_between("0 * * * *", zone, begin, begin + timedelta(days=260)))
    assert {b - a for a, b in pairwise(slots)} == {timedelta(hours=1)}
    assert len(slots) == 260 * 24


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(("0 3 * * 1-5", "5 4 L * *", "0 0 29 2 *", "*/15 8-18 * * 5L", "0 12 13 * FRI", "1 1 1,15 */3 *")),
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds are naive
)
def test_in_utc_it_is_what_cronsim_says(cron: str, after: datetime) -> None:
    sim = CronSim(cron, after)
    assert next_slots(cron, "UTC", after, 5) == tuple(next(sim) for _ in range(5))


def test_a_time_that_the_clock_leaves_out() -> None:
    found = next_slots("30,45 2 * * *", "Europe/Berlin", datetime(2026, 3, 28, 1, 31, tzinfo=UTC), 3)
    assert [local_text(at, "Europe/Berlin") for at in found] == [
        "Sat 2026-03-28 02:45 CET",
        "Sun 2026-03-29 03:00 CEST",
        "Mon 2026-03-30 02:30 CEST",
    ]


def test_a_time_that_comes_twice() -> None:
    begin = datetime(2026, 10, 24, 23, 59, tzinfo=UTC)
    once = next_slots("30 2 * * *", "Europe/Berlin", begin, 2)
    assert [local_text(at, "Europe/Berlin") for at in once] == ["Sun 2026-10-25 02:30 CEST", "Mon 2026-10-26 02:30 CET"]
    hourly = next_slots("30 * * * *", "Europe/Berlin", begin, 3)
    assert [local_text(at, "Europe/Berlin")[-10:] for at in hourly] == ["02:30 CEST", " 02:30 CET", " 03:30 CET"]


def test_a_day_that_a_country_left_out() -> None:
    found = next_slots("0 12 * * *", "Pacific/Apia", datetime(2011, 12, 29, 12, tzinfo=UTC), 3)
    assert [local_text(at, "Pacific/Apia")[:14] for at in found] == [
        "Thu 2011-12-29",
        "Sat 2011-12-31",
        "Sat 2011-12-31",
    ]


def test_the_end_of_the_calendar() -> None:
    assert next_slot("0 3 * * *", "UTC", datetime(9999, 12, 31, 4, tzinfo=UTC)) is None
