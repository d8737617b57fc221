"""What a policy keeps: the slots as people know them, and what holds for every policy and every history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import retention
from engine.errors import ConfigError
from engine.model.retention import Candidate, Plan, Proof, RetentionPolicy

NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")


def snapshot(at: datetime, n: int = 0, proof: Proof = Proof.PROVEN, tag: str | None = None) -> Candidate:
    return Candidate(f"{n:032x}", n, at, at, tag, 1000, proof)


def history(*ages: timedelta, proof: Proof = Proof.PROVEN) -> list[Candidate]:
    """Snapshots of these ages, numbered as they were taken."""
    ordered = sorted(ages, reverse=True)
    return [snapshot(NOW - age, n, proof) for n, age in enumerate(ordered, 1)]


def plan(policy: RetentionPolicy, snapshots: Sequence[Candidate], target_s: float | None = None) -> Plan:
    return retention.plan(policy, snapshots, NOW, zone=UTC, proof_target_s=target_s)


def kept(found: Plan) -> list[int]:
    return sorted(d.candidate.seq for d in found.keep)


# -- the slots


def test_the_newest_of_each_day_fills_its_slot_and_says_so() -> None:
    every_six_hours = history(*(timedelta(hours=6 * n) for n in range(20)))
    found = plan(RetentionPolicy(keep_daily=3), every_six_hours)
    assert [d.reasons for d in found.keep] == [
        ("newest proven", "daily 2026-11-25"),
        ("daily 2026-11-24",),
        ("daily 2026-11-23",),
    ]
    assert [f"{d.candidate.taken_at:%d %H}" for d in found.keep] == ["25 10", "24 22", "23 22"]
    assert {d.rule for d in found.remove} == {"beyond every rule"}


def test_days_without_a_snapshot_take_no_slot() -> None:
    found = plan(RetentionPolicy(keep_daily=2), history(DAY, 40 * DAY, 90 * DAY))
    assert kept(found) == [2, 3]


def test_the_oldest_is_kept_while_slots_are_left() -> None:
    found = plan(RetentionPolicy(keep_monthly=12), history(0 * DAY, 2 * DAY, 3 * DAY, 20 * DAY))
    assert [d.reasons for d in found.keep] == [("newest proven", "monthly 2026-11"), ("monthly, the oldest",)]


def test_weeks_are_those_of_the_calendar_and_years_too() -> None:
    found = plan(RetentionPolicy(keep_weekly=2, keep_yearly=2), history(0 * DAY, 3 * DAY, 400 * DAY))
    assert [d.reasons for d in found.keep] == [
        ("newest proven", "weekly 2026-W48", "yearly 2026"),
        ("weekly 2026-W47",),
        ("yearly 2025",),
    ]


def test_days_begin_at_midnight_of_the_zone() -> None:
    """23:30 UTC is the next day in Berlin."""
    found = [
        snapshot(datetime(2026, 11, 23, 23, 30, tzinfo=UTC), 1),
        snapshot(datetime(2026, 11, 24, 10, tzinfo=UTC), 2),
    ]
    policy = RetentionPolicy(keep_daily=9)
    newest = {zone: retention.plan(policy, found, NOW, zone=zone).keep[-1].reasons for zone in (UTC, BERLIN)}
    assert newest[UTC] == ("daily 2026-11-23",)
    assert newest[BERLIN] == ("daily, the oldest",)


def test_the_hour_that_comes_twice_is_two() -> None:
    twice = [snapshot(datetime(2026, 10, 25, hour, 30, tzinfo=UTC), hour) for hour in (0, 1)]
    found = retention.plan(RetentionPolicy(keep_hourly=9), twice, NOW, zone=BERLIN)
    assert [d.reasons[-1] for d in found.keep] == ["hourly 2026-10-25 02:00+0100", "hourly 2026-10-25 02:00+0200"]


def test_within_counts_from_the_newest_proven() -> None:
    old = history(100 * DAY, 101 * DAY, 103 * DAY)
    assert kept(plan(RetentionPolicy(keep_within_s=2 * 86_400), old)) == [2, 3]


# -- proof


def test_unproven_ones_neither_fill_slots_nor_evict() -> None:
    proven = history(1 * DAY, 2 * DAY, 3 * DAY)
    fresh = [
        replace(s, id=f"{s.seq + 90:032x}", seq=s.seq + 90, taken_at=s.taken_at + timedelta(hours=1)) for s in proven
    ]
    unproven = [replace(s, proof=Proof.UNPROVEN, settled_at=s.taken_at) for s in fresh]
    with_them = plan(RetentionPolicy(keep_daily=2), [*proven, *unproven])
    assert [n for n in kept(with_them) if n < 90] == kept(plan(RetentionPolicy(keep_daily=2), proven)) == [2, 3]


def test_an_unproven_one_goes_when_it_is_old_and_something_newer_is_proven() -> None:
    policy = RetentionPolicy(keep_last=1)
    old = snapshot(NOW - 10 * DAY, 1, Proof.UNPROVEN)
    assert kept(plan(policy, [old])) == [1], "nothing newer is proven"
    newer = snapshot(NOW - 9 * DAY, 2)
    assert [d.rule for d in plan(policy, [old, newer]).remove] == ["unproven and superseded"]
    drilled_lately = replace(old, settled_at=NOW - 2 * DAY)
    assert kept(plan(policy, [drilled_lately, newer])) == [1, 2]


def test_what_was_proven_once_and_could_not_be_verified_stays() -> None:
    doubtful = snapshot(NOW - 90 * DAY, 1, Proof.DOUBTFUL)
    found = plan(RetentionPolicy(keep_last=1), [doubtful, snapshot(NOW, 2)])
    assert kept(found) == [1, 2]


def test_pins_tags_jobs_and_locks_keep() -> None:
    old = [snapshot(NOW - (50 + n) * DAY, n) for n in range(5)]
    old[0] = replace(old[0], pinned="audit 2026")
    old[1] = replace(old[1], tag="release-7")
    old[2] = replace(old[2], busy=True)
    old[3] = replace(old[3], locked_until=NOW + DAY)
    found = plan(RetentionPolicy(keep_last=1, keep_tags=("release-*",)), [*old, snapshot(NOW, 9)])
    reasons = {d.candidate.seq: d.reasons for d in found.keep}
    assert reasons == {
        9: ("newest proven", "last 1"),
        0: ("pinned: audit 2026",),
        1: ("tag release-*",),
        2: ("a job uses it",),
        3: ("locked until 2026-11-26 10:00 UTC",),
    }


def test_nothing_goes_while_the_newest_proof_is_overdue() -> None:
    old = history(2 * DAY, 3 * DAY, 4 * DAY)
    policy = RetentionPolicy(keep_last=1)
    assert len(plan(policy, old, target_s=3 * 86_400.0).remove) == 2
    found = plan(policy, old, target_s=86_400.0)
    assert found.remove == ()
    assert found.paused == "the newest proven snapshot is older than its target of 1 day, so nothing is removed"
    assert plan(policy, history(DAY, proof=Proof.UNPROVEN), target_s=60.0).paused == (
        "no snapshot is proven, so nothing is removed"
    )


@pytest.mark.parametrize(
    "policy",
    [
        RetentionPolicy(),
        RetentionPolicy(keep_last=-1),
        RetentionPolicy(keep_last=1, keep_newest_proven=0),
        RetentionPolicy(keep_within_s=0.0),
        RetentionPolicy(keep_last=1, keep_unproven_s=-1.0),
        RetentionPolicy(keep_tags=("a",)),
        RetentionPolicy(keep_last=1, keep_tags=("",)),
    ],
)
def test_policies_that_are_none(policy: RetentionPolicy) -> None:
    with pytest.raises(ConfigError) as caught:
        retention.check_policy(policy)
    assert caught.value.code == "config.invalid"


def test_a_policy_in_words() -> None:
    policy = RetentionPolicy(keep_last=3, keep_daily=7, keep_within_s=36 * 3600, keep_tags=("release-*",))
    assert retention.policy_words(policy) == (
        "the last 3, 7 daily, all within 36 hours of the newest, tags release-*; always the newest proven one; "
        "unproven ones 7 days"
    )
    assert retention.policy_words(None) == "everything is kept"


# -- what holds always

counts = st.integers(0, 6)
policies = st.builds(
    RetentionPolicy,
    keep_last=counts,
    keep_hourly=counts,
    keep_daily=counts,
    keep_weekly=counts,
    keep_monthly=counts,
    keep_yearly=st.integers(0, 3),
    keep_within_s=st.none() | st.floats(60, 40 * 86_400),
    keep_tags=st.sampled_from([(), ("a*",), ("a", "b")]),
    keep_unproven_s=st.floats(60, 20 * 86_400),
    keep_newest_proven=st.integers(1, 4),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Candidate]:
    """Up to forty snapshots of the last three years, dense and sparse, some at the very same instant."""
    scale = draw(st.sampled_from([60, 3600, 86_400, 30 * 86_400]))
    found = []
    for n in range(draw(st.integers(0, 40))):
        at = NOW - timedelta(seconds=scale * draw(st.integers(0, 36)))
        proof = draw(st.sampled_from([Proof.PROVEN, Proof.PROVEN, Proof.PROVEN, Proof.UNPROVEN, Proof.DOUBTFUL]))
        found.append(
            Candidate(
                id=f"{n:032x}",
                seq=n,
                taken_at=at,
                settled_at=min(NOW, at + timedelta(seconds=draw(st.integers(0, scale)))),
                tag=draw(st.sampled_from([None, None, None, "a", "ab", "c"])),
                size_bytes=1,
                proof=proof,
                pinned=draw(st.sampled_from([None, None, None, None, "audit"])),
                busy=draw(st.sampled_from([False, False, False, True])),
                locked_until=draw(st.sampled_from([None, None, None, NOW - DAY, NOW + DAY])),
            )
        )
    return found


zones = st.sampled_from([UTC, BERLIN, ZoneInfo("America/St_Johns"), ZoneInfo("Pacific/Apia")])
targets = st.none() | st.floats(60, 60 * 86_400)


def at(policy: RetentionPolicy, found: Sequence[Candidate], zone: ZoneInfo, target_s: float | None = None) -> Plan:
    return retention.plan(policy, found, NOW, zone=zone, proof_target_s=target_s)


def ids(plan_: Plan) -> set[str]:
    return {d.candidate.id for d in plan_.keep}


@settings(max_examples=300, deadline=None)
@given(policies, histories(), zones, targets)
def test_the_floor(policy: RetentionPolicy, found: list[Candidate], zone: ZoneInfo, target_s: float | None) -> None:
    """Every snapshot is decided once, with reasons; newest proven, pinned, used, locked and doubtful ones stay."""
    made = at(policy, found, zone, target_s)
    assert sorted(d.candidate.id for d in made.decisions) == sorted(s.id for s in found)
    assert all(d.reasons and d.rule for d in made.decisions)
    assert all(a.candidate.taken_at >= b.candidate.taken_at for a, b in pairwise(made.decisions))
    proven = sorted((s for s in found if s.proof is Proof.PROVEN), key=lambda s: (s.taken_at, s.seq, s.id))
    floor = proven[-policy.keep_newest_proven :] + proven[len(proven) - policy.keep_last :] * bool(policy.keep_last)
    assert {s.id for s in floor} <= ids(made)
    held = [s for s in found if s.pinned or s.busy or s.proof is Proof.DOUBTFUL]
    held += [s for s in found if s.locked_until is not None and s.locked_until > NOW]
    assert {s.id for s in held} <= ids(made)
    for s in found:
        if s.proof is Proof.UNPROVEN and not (proven and s.taken_at < proven[-1].taken_at):
            assert s.id in ids(made)
    if made.paused is not None:
        assert made.remove == ()
    for count, key in ((policy.keep_daily, "%Y-%m-%d"), (policy.keep_monthly, "%Y-%m"), (policy.keep_yearly, "%Y")):
        slots = sorted({s.taken_at.astimezone(zone).strftime(key) for s in proven}, reverse=True)[:count]
        stays = {s.taken_at.astimezone(zone).strftime(key) for s in proven if s.id in ids(made)}
        assert set(slots) <= stays


@settings(max_examples=300, deadline=None)
@given(policies, histories(), zones, targets)
def test_planning_again_removes_nothing_more(
    policy: RetentionPolicy, found: list[Candidate], zone: ZoneInfo, target_s: float | None
) -> None:
    made = at(policy, found, zone, target_s)
    removed = {d.candidate.id for d in made.remove}
    left = [s for s in found if s.id not in removed]
    again = at(policy, left, zone, target_s)
    assert again.remove == ()
    if made.paused is None:
        assert ids(again) == ids(made)


@settings(max_examples=300, deadline=None)
@given(policies, histories(), zones, st.data())
def test_removing_a_part_and_planning_again_comes_to_the_same(
    policy: RetentionPolicy, found: list[Candidate], zone: ZoneInfo, data: st.DataObject
) -> None:
    """A pruning that is interrupted anywhere and begun again removes what it would have removed at once."""
    made = at(policy, found, zone)
    done = {d.candidate.id for d in made.remove if data.draw(st.booleans())}
    again = at(policy, [s for s in found if s.id not in done], zone)
    assert ids(again) == ids(made)


@settings(max_examples=200, deadline=None)
@given(policies, histories(), zones, st.sampled_from(["last", "hourly", "daily", "weekly", "monthly", "yearly"]))
def test_a_larger_policy_keeps_no_less(
    policy: RetentionPolicy, found: list[Candidate], zone: ZoneInfo, rule: str
) -> None:
    more = replace(policy, **{f"keep_{rule}": getattr(policy, f"keep_{rule}") + 1})
    assert ids(at(policy, found, zone)) <= ids(at(more, found, zone))
    longer = replace(
        policy, keep_unproven_s=policy.keep_unproven_s * 2, keep_newest_proven=policy.keep_newest_proven + 1
    )
    assert ids(at(policy, found, zone)) <= ids(at(longer, found, zone))


@settings(max_examples=200, deadline=None)
@given(policies, histories(), zones)
def test_what_is_not_proven_changes_nothing_for_what_is(
    policy: RetentionPolicy, found: list[Candidate], zone: ZoneInfo
) -> None:
    alone = [s for s in found if s.proof is Proof.PROVEN]
    proven = {s.id for s in alone}
    assert ids(at(policy, alone, zone)) == ids(at(policy, found, zone)) & proven


@settings(max_examples=200, deadline=None)
@given(policies, histories(), zones, st.data())
def test_a_pin_keeps_its_snapshot_and_costs_no_other(
    policy: RetentionPolicy, found: list[Candidate], zone: ZoneInfo, data: st.DataObject
) -> None:
    if not found:
        return
    n = data.draw(st.integers(0, len(found) - 1))
    pinned = [*found[:n], replace(found[n], pinned="audit"), *found[n + 1 :]]
    assert ids(at(policy, pinned, zone)) == ids(at(policy, found, zone)) | {found[n].id}
