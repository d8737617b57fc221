"""Schedules as people write them, what is refused and what to write instead, and what becomes of slots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.model import DrillPolicy, DrillRule, SlotOutcome
from engine.schedule import (
    check_zone,
    cron_of,
    decide,
    drills_this,
    in_words,
    next_slot,
    parse_policy,
    policy_text,
    policy_words,
    slots_between,
    target_of,
)
from engine.schedule.presets import PRESETS

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAILY = DrillPolicy(DrillRule.DAILY)


@pytest.mark.parametrize(
    ("said", "cron", "words"),
    [
        ("hourly", "0 * * * *", "hourly"),
        ("hourly at :20", "20 * * * *", "hourly at :20"),
        ("Every 6 h", "0 */6 * * *", "every 6 h"),
        ("1h", "0 * * * *", "hourly"),
        ("every 15 min", "*/15 * * * *", "every 15 min"),
        ("daily", "0 3 * * *", "daily at 03:00"),
        ("daily 4:05", "5 4 * * *", "daily at 04:05"),
        ("@midnight", "0 0 * * *", "daily at 00:00"),
        ("weekly on tue at 12:00", "0 12 * * 2", "weekly on tuesday at 12:00"),
        ("monthly on last", "0 3 L * *", "monthly on last at 03:00"),
        ("  0  3 * * mon ", "0 3 * * MON", "weekly on monday at 03:00"),
        ("*/30 8-18 * * 1-5", "*/30 8-18 * * 1-5", "cron */30 8-18 * * 1-5"),
    ],
)
def test_what_is_said(said: str, cron: str, words: str) -> None:
    assert (cron_of(said), in_words(cron)) == (cron, words)


@pytest.mark.parametrize("said", PRESETS)
def test_words_and_cron_are_the_same(said: str) -> None:
    assert in_words(cron_of(said)) == said


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        ("0 0 30 2 *", "never comes", "0 3 L * *"),
        ("0 0 31 4,6 *", "never comes", "0 3 L * *"),
        ("0 0 */30 * MON#2", "never comes", "0 3 L * *"),
        ("0 0 3 * * *", "six", "`0 3 * * *`"),
        ("0 3 * *", "not 4", "minute, hour"),
        ("0 25 * * *", "'25' cannot be the hour", "0 to 23"),
        ("61 * * * *", "'61' cannot be the minute", "0 to 59"),
        ("* * * * MOON", "day of the week", "SUN to SAT"),
        ("*/0 * * * *", "'*/0' cannot be the minute", "0 to 59"),
        ("daily at 25:00", "25:00", "23:59"),
        ("weekly on someday", "'someday' is no day", "monday"),
        ("weekly on s", "'s' is no day", "monday"),
        ("monthly on 31", "'31'", "monthly on last"),
        ("every 7 h", "even in a day", "6, 8"),
        ("every 0 h", "even in a day", "6, 8"),
        ("every 7 min", "even in an hour", "15"),
        ("now and then", "no schedule", "`hourly`"),
        ("", "no schedule", "`hourly`"),
        ("* " * 150, "200 characters", "0 3 * * *"),
        ("٣ * * * *", "minute", "0 to 59"),
    ],
)
def test_what_is_refused_says_what_to_write(said: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cron_of(said)
    assert caught.value.code == "config.cron"
    assert message in caught.value.message
    assert hint in caught.value.hint


@settings(max_examples=50, deadline=None)
@given(st.one_of(st.text(max_size=30), st.lists(st.text("0123456789*/,-#LW", min_size=1, max_size=6)).map(" ".join)))
def test_anything_is_read_or_refused(said: str) -> None:
    try:
        cron = cron_of(said)
    except ConfigError:
        return
    assert next_slot(cron, "Europe/Berlin", NOON) is not None
    assert in_words(cron)
    assert cron_of(cron) == cron


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Berlin", "`Europe/Berlin`"),
        ("new york", "`America/New_York`"),
        ("Europe/Berln", "`Europe/Berlin`"),
        ("Europe", "Did you mean"),
        ("../../etc/passwd", "tz database"),
        ("/etc/localtime", "tz database"),
        ("right/UTC", "UTC"),
        ("", "tz database"),
        ("CEST\0", "`"),
    ],
)
def test_a_zone_that_nobody_knows(said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_zone(said)
    assert caught.value.code == "config.zone"
    assert hint in caught.value.hint


def test_a_zone_in_small_letters() -> None:
    assert (check_zone(" europe/berlin"), check_zone("utc")) == ("Europe/Berlin", "UTC")


@given(st.lists(st.datetimes(timezones=st.just(UTC)), unique=True).map(sorted), st.booleans())
def test_each_slot_is_decided_once_and_one_is_started_at_most(due: list[datetime], busy: bool) -> None:
    found = decide(due, busy=busy)
    assert [d.slot_at for d in found] == due
    assert {d.outcome for d in found[:-1]} <= {SlotOutcome.MISSED}
    last = SlotOutcome.OVERLAPPED if busy else SlotOutcome.STARTED
    assert not found or found[-1].outcome is last


def drills(
    policy: DrillPolicy, now: datetime, proven_at: datetime | None, since: int = 0, cron: str = "0 * * * *"
) -> bool:
    return drills_this(policy, cron, "Europe/Berlin", now, newest_proven_at=proven_at, unproven_since=since)


@pytest.mark.parametrize("policy", [DrillPolicy(), DrillPolicy(DrillRule.EVERY, 5), DAILY])
def test_while_nothing_is_proven_everything_is_drilled(policy: DrillPolicy) -> None:
    assert drills(policy, NOON, None)


def test_every_nth_counts_from_the_newest_proof() -> None:
    fifth = DrillPolicy(DrillRule.EVERY, 5)
    assert [drills(fifth, NOON, NOON - HOUR, since) for since in range(7)] == [False] * 4 + [True] * 3
    assert all(drills(DrillPolicy(), NOON, NOON - HOUR, since) for since in range(3))


def test_daily_drills_the_last_slot_of_a_day_where_the_schedule_lives() -> None:
    midnight = datetime(2026, 11, 23, 23, 0, tzinfo=UTC)  # in Berlin, 22:00 there was an hour before
    begin, end = midnight - 25 * HOUR, midnight - timedelta(minutes=1)
    slots = list(slots_between("0 * * * *", "Europe/Berlin", begin, end))
    assert [at for at in slots if drills(DAILY, at, NOON - HOUR)] == [midnight - HOUR]
    assert drills(DAILY, NOON, NOON - HOUR, cron="0 3 * * *"), "one a day is the newest of its day"


def test_daily_after_a_day_without_proof_waits_for_no_evening() -> None:
    assert not drills(DAILY, NOON, NOON - 24 * HOUR)
    assert drills(DAILY, NOON, NOON - 48 * HOUR)


@pytest.mark.parametrize(
    ("said", "policy", "hours"),
    [
        ("hourly", "every", 2),
        ("hourly", "every 4", 6),
        ("hourly", "daily", 36),
        ("every 6 h", "every", 9),
        ("daily", "every", 36),
        ("daily", "every 7", 8 * 24),
        ("weekly", "every", 8 * 24),
        ("monthly", "every", 32 * 24),
        ("0 9-17 * * 1-5", "every", 64 + 24),
        ("0 0 29 2 *", "every", 1461 * 24 + 24),
    ],
)
def test_how_old_a_proof_may_be_by_the_schedule(said: str, policy: str, hours: float) -> None:
    assert target_of(cron_of(said), parse_policy(policy)) == hours * 3600


@pytest.mark.parametrize(
    ("said", "text", "words"),
    [
        ("every", "every", "every snapshot"),
        ("every 1", "every", "every snapshot"),
        ("Every  2", "every 2", "every 2nd snapshot"),
        ("every 13", "every 13", "every 13th snapshot"),
        ("daily", "daily", "the newest snapshot of each day"),
    ],
)
def test_policies(said: str, text: str, words: str) -> None:
    policy = parse_policy(said)
    assert (policy_text(policy), policy_words(policy)) == (text, words)


@pytest.mark.parametrize("said", ["", "never", "every 0", "every 1001", "every -1", "every 99999", "weekly", "every ٣"])
def test_policies_that_are_none(said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy(said)
    assert "`every 5`" in caught.value.hint
