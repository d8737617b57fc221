"""The figures of a monthly report, each month told by hand; every one is counted anew on another path as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import catalog as catalogs
from engine.errors import ConfigError, FormatError
from engine.model import (
    Failure,
    Incident,
    IncidentKind,
    JobError,
    Skip,
    Slot,
    SlotOutcome,
    Verdict,
)
from engine.model.report import ConnectionReport, Day, DayState, Report, TargetSource, Verdicts
from engine.model.retention import Deletion, LockState, Reconciled, Reconciliation
from engine.report import figures, months
from tests.fixtures.reported import Month, new_month, utc

LOST = [Failure("drill.mismatch", "public.orders: 3 of 4 rows came back", "Look at the table's triggers.")]
SKIPPED = [Skip("EVENT TRIGGER", "audit_ddl", "only a superuser can create it")]


@pytest.fixture
def month(tmp_path: Path) -> Iterator[Month]:
    with new_month(tmp_path / "home") as made:
        yield made


def only(report: Report) -> ConnectionReport:
    (connection,) = report.connections
    return connection


def day(connection: ConnectionReport, n: int) -> Day:
    return connection.days[n - 1]


def slots(month: Month, connection_id: str, *decided: tuple[datetime, SlotOutcome]) -> None:
    with month.engine.catalog.write() as tx:
        catalogs.schedules.add_slots(tx, [Slot(connection_id, at, outcome, None, at) for at, outcome in decided])


def test_drills_are_told_by_verdict_and_every_one_appears(month: Month) -> None:
    c = month.connection("shop", utc(1, month=10), proof_target_s=86400.0, restore_target_s=50.0)
    before, _ = month.drilled(c, utc(30, month=10), restore_s=31.0)
    month.drilled(c, utc(2), restore_s=40.0)
    month.drilled(c, utc(3), Verdict.FAILED, failures=LOST, restore_s=60.0)
    month.drilled(c, utc(4), Verdict.PROVEN_WITH_SKIPS, skips=SKIPPED, restore_s=55.5)
    month.drilled(c, utc(5), Verdict.COULD_NOT_VERIFY, failures=LOST, restored=[], restore_s=2.0)
    month.snapshot(c, utc(6))
    told = month.told()
    found = only(told)
    assert found.drills == Verdicts(1, 1, 1, 1) == told.summary.drills
    assert (found.made, found.undrilled) == (5, 1)
    assert [row.verdict for row in found.snapshots] == [
        Verdict.PROVEN,
        Verdict.FAILED,
        Verdict.PROVEN_WITH_SKIPS,
        Verdict.COULD_NOT_VERIFY,
        None,
    ]
    assert [row.newest.reasons for row in found.snapshots if row.newest] == [
        (),
        (LOST[0].message,),
        ("EVENT TRIGGER audit_ddl: only a superuser can create it",),
        (LOST[0].message,),
    ]
    times = found.restore
    assert (times.drills, times.p50_s, times.p95_s, times.worst_s) == (2, 40.0, 55.5, 55.5)
    assert times.within_target is False
    assert [m.month for m in times.months][:1] == ["2025-12"]
    assert (times.months[-2].month, times.months[-2].worst_s) == ("2026-10", 31.0)
    assert times.months[-1].worst_s == 55.5
    assert times.months[0].p50_s is None
    assert found.recovery.from_at == utc(4)
    assert found.recovery.to_at is None
    assert found.recovery.largest_s == (utc(1, 0, month=12) - utc(4)).total_seconds()
    assert (found.recovery.target_source, found.recovery.within_target) == (TargetSource.OPERATOR, False)
    assert told.summary.targets_missed == ("shop: recovery point", "shop: restore time")
    assert found.newest_proven_at == utc(4)
    assert before.id not in {row.id for row in found.snapshots}
    assert [day(found, n).state for n in range(1, 8)] == [
        DayState.NOTHING_DUE,
        DayState.PROVEN,
        DayState.FAILED,
        DayState.SKIPS,
        DayState.UNVERIFIED,
        DayState.UNDRILLED,
        DayState.NOTHING_DUE,
    ]


def test_the_gap_that_reaches_into_the_month_counts_whole_and_its_receipt_is_in_the_bundle(month: Month) -> None:
    c = month.connection("shop", utc(1, month=10))
    _, proof = month.drilled(c, utc(20, month=10))
    month.drilled(c, utc(21, month=10), Verdict.FAILED, failures=LOST)
    month.drilled(c, utc(3))
    for n in range(12, 31, 9):
        month.drilled(c, utc(n))
    found = only(month.told())
    assert (found.recovery.from_at, found.recovery.to_at) == (utc(20, month=10), utc(3))
    assert found.recovery.largest_s == 14 * 86400.0
    assert found.recovery.before_receipt_sha256 == proof.receipt_sha256
    assert found.recovery.within_target is None


def test_the_newest_drill_of_a_snapshot_counts_also_one_from_an_earlier_month(month: Month) -> None:
    c = month.connection("shop", utc(1, month=10))
    old, _ = month.drilled(c, utc(31, 10, month=10))
    month.at(utc(2))
    again = replace(old, taken_at=utc(2))  # History dates a drill after its snapshot
    month.drill(c, replace(again, taken_at=old.taken_at), Verdict.FAILED, failures=LOST, restore_s=2 * 86400.0)
    found = only(month.told())
    (row,) = found.snapshots
    assert (row.id, row.taken_in_month, row.verdict) == (old.id, False, Verdict.FAILED)
    assert (found.made, found.drills) == (0, Verdicts(failed=1))
    assert (found.recovery.proven, found.newest_proven_at) == (0, None)
    assert found.recovery.from_at is None
    assert found.recovery.largest_s == 30 * 86400.0


def test_missed_slots_show_as_gaps_unless_a_snapshot_was_made_all_the_same(month: Month) -> None:
    c = month.connection("shop", utc(1, month=10))
    slots(
        month,
        c.id,
        (utc(2, 3), SlotOutcome.STARTED),
        (utc(3, 3), SlotOutcome.MISSED),
        (utc(4, 3), SlotOutcome.MISSED),
        (utc(4, 9), SlotOutcome.OVERLAPPED),
        (utc(5, 3), SlotOutcome.STARTED),
    )
    month.drilled(c, utc(2, 3))
    month.drilled(c, utc(4, 8))
    month.at(utc(5, 4))
    month.history.failed(c, utc(5, 3), JobError("pg.unreachable", "the server does not answer", "Look.", 20))
    told = month.told()
    found = only(told)
    assert (found.due, found.made, found.missed) == (5, 2, 3)
    assert [(m.slot_at, m.why) for m in found.missed_slots] == [
        (utc(3, 3), "missed"),
        (utc(4, 3), "missed"),
        (utc(4, 9), "overlapped"),
    ]
    assert [day(found, n).state for n in (2, 3, 4, 5)] == [
        DayState.PROVEN,
        DayState.GAP,
        DayState.PROVEN,
        DayState.GAP,
    ]
    assert (told.summary.gaps, told.summary.failed_attempts) == (2, 1)
    assert [(a.kind, a.code) for a in found.failed_attempts] == [("checkpoint", "pg.unreachable")]


def test_slots_that_nobody_decided_are_missed_too(month: Month) -> None:
    c = month.connection("shop", utc(1, month=10))
    month.at(utc(25))
    month.engine.schedules.set("shop", when="daily at 03:00", zone="UTC")
    slots(month, c.id, (utc(26, 3), SlotOutcome.STARTED))
    month.drilled(c, utc(26, 3))
    found = only(month.told(at=utc(28, 3, 2)))
    assert [(m.slot_at, m.why) for m in found.missed_slots] == [(utc(27, 3), "undecided")]
    assert (day(found, 27).state, day(found, 28).state, day(found, 29).state) == (
        DayState.GAP,
        DayState.NOTHING_DUE,
        DayState.AHEAD,
    )
    assert found.recovery.target_source is TargetSource.SCHEDULE


def test_days_are_those_of_the_zone_also_where_clocks_change(tmp_path: Path) -> None:
    with new_month(tmp_path / "home", utc(25, month=9), "Europe/Berlin") as month:
        c = month.connection("shop", utc(1, month=9))
        month.drilled(c, datetime(2026, 9, 30, 22, 30, tzinfo=UTC))  # the first of October there
        month.drilled(c, datetime(2026, 10, 25, 22, 30, tzinfo=UTC))  # a day of 25 hours
        month.drilled(c, datetime(2026, 10, 31, 22, 59, tzinfo=UTC), restore_s=30.0)
        month.drilled(c, datetime(2026, 10, 31, 23, 5, tzinfo=UTC))  # November
        told = month.told("2026-10", at=utc(2))
        found = only(told)
        assert (told.period.begin_at, told.period.end_at) == (
            datetime(2026, 9, 30, 22, tzinfo=UTC),
            datetime(2026, 10, 31, 23, tzinfo=UTC),
        )
        assert {d.date: d.made for d in found.days if d.made} == {
            "2026-10-01": 1,
            "2026-10-25": 1,
            "2026-10-31": 1,
        }
        assert len(found.days) == 31
        spans = {d.date: d.end_at - d.begin_at for d in months.days(told.period)}
        assert spans["2026-10-25"] == timedelta(hours=25)


def test_a_month_in_which_nothing_happened(month: Month) -> None:
    month.connection("shop", utc(1, month=10))
    told = month.told()
    found = only(told)
    assert (found.made, found.drills, found.coverage, found.restore.p50_s) == (0, Verdicts(), None, None)
    assert {d.state for d in found.days} == {DayState.NOTHING_DUE}
    assert found.recovery.largest_s == 30 * 86400.0
    assert told.controls.clients == ()


def test_a_month_without_any_connection(month: Month) -> None:
    told = month.told()
    assert (told.connections, told.scope.connections, told.summary.made) == ((), (), 0)


def test_a_connection_made_in_the_month_has_no_days_and_no_gap_before(month: Month) -> None:
    c = month.connection("late", utc(20))
    month.drilled(c, utc(21))
    found = only(month.told())
    assert {day(found, n).state for n in range(1, 20)} == {DayState.ABSENT}
    assert day(found, 20).state is DayState.NOTHING_DUE
    assert found.recovery.largest_s == (utc(1, 0, month=12) - utc(21)).total_seconds()


def test_a_connection_that_was_removed_stays_in_the_reports_of_its_time(month: Month) -> None:
    c = month.connection("gone", utc(1, month=10))
    month.drilled(c, utc(2))
    month.at(utc(10))
    with month.engine.catalog.write() as tx:
        catalogs.connections.remove(tx, c.id, utc(10))
    found = only(month.told())
    assert found.removed_at == utc(10)
    assert (day(found, 10).state, day(found, 11).state) == (DayState.NOTHING_DUE, DayState.ABSENT)
    assert found.recovery.largest_s == 8 * 86400.0
    assert month.told(at=utc(5, month=1).replace(year=2027), month="2026-12").connections == ()


def test_deletions_and_reconciliations_with_what_was_true(month: Month) -> None:
    c = month.connection("shop", utc(1, month=10))
    snapshot, _ = month.drilled(c, utc(2))
    month.at(utc(9))
    listing, until = "ab" * 32, utc(30, month=12)
    with month.engine.catalog.write() as tx:
        destination = catalogs.destinations.by_name(tx, "here")
        for n, (id_, result) in enumerate(((snapshot.id, "deleted"), (None, "failed"))):
            tried = Deletion(f"{n}", destination.id, id_, f"v1/{n}", "v7", "beyond every rule", result, "", utc(9))
            catalogs.removals.note_deletion(tx, tried)
        outcome = Reconciled(4, ("v1/1",), (), (), (), (), 0, 0, 0, LockState("COMPLIANCE", until))
        record = Reconciliation("r1", destination.id, utc(9), 8, 4711, listing, outcome)
        catalogs.reconciliations.add(tx, record)
    data = {"listing_sha256": listing, "objects": 8, "bytes": 4711}
    month.event("destination.reconciled", destination.id, data)
    told = month.told()
    (row,) = only(told).retention.deletions
    assert (row.object_key, row.version, row.rule, row.result) == ("v1/0", "v7", "beyond every rule", "deleted")
    (place,) = told.destinations
    assert [d.object_key for d in place.other_deletions] == ["v1/1"]
    assert told.summary.deletions == 2
    (seen,) = place.reconciliations
    assert (seen.listing_sha256, seen.objects, seen.agrees, seen.missing) == (listing, 8, False, 1)
    assert place.lock is not None
    assert (place.lock.mode, place.lock.until_at, place.lock.seen_at) == ("COMPLIANCE", until, utc(9))


def test_exceptions_say_who_acknowledged_them_and_whether_they_were_open_at_the_end(month: Month) -> None:
    c = month.connection("shop", utc(1, month=10))
    kinds = (IncidentKind.OVERDUE, IncidentKind.FAILED, IncidentKind.WORKER_DEAD)
    with month.engine.catalog.write() as tx:
        for n, kind in enumerate(kinds):
            subject = "workers" if kind is IncidentKind.WORKER_DEAD else c.id
            catalogs.incidents.add(tx, Incident(f"{n}" * 32, kind, subject, "shop", "wrong", "look", utc(3)))
    month.at(utc(3))
    for n, kind in enumerate(kinds):
        month.event("incident.opened", f"{n}" * 32, {"kind": kind.value, "name": "shop", "summary": "wrong"})
    month.at(utc(4))
    month.engine.alerts.acknowledge("0" * 32, note="known")  # closes what is not wrong (any more) as well
    told = month.told()
    by_kind = {e.kind: e for e in told.exceptions}
    overdue = by_kind["overdue"]
    assert (overdue.connection, overdue.acknowledged_by, overdue.acknowledged_note) == (
        "shop",
        month.engine.actor,
        "known",
    )
    assert by_kind["worker-dead"].connection is None
    assert told.summary.open_exceptions == sum(e.closed_at is None for e in told.exceptions)


def test_a_report_about_some_connections_holds_only_hashes_of_what_concerns_others(month: Month) -> None:
    shop, other = month.connection("shop", utc(1, month=10)), month.connection("rival", utc(1, month=10))
    mine, _ = month.drilled(shop, utc(2))
    theirs, _ = month.drilled(other, utc(3))
    told = month.told("2026-11", "shop")
    assert told.scope.connections == ("shop",)
    assert not told.scope.everything
    assert told.verifying.withheld >= 2
    text = repr(told)
    assert mine.id in text
    assert theirs.id not in text
    assert "rival" not in text


def test_an_altered_receipt_of_the_catalog_stops_the_report(month: Month) -> None:
    from sqlalchemy import update

    from engine.catalog.schema import drills

    c = month.connection("shop", utc(1, month=10))
    _, drill = month.drilled(c, utc(2))
    with month.engine.catalog.write() as tx:
        altered = drill.receipt.replace('"verdict":"PROVEN"', '"verdict":"FAILED"')
        assert altered != drill.receipt
        tx.change(update(drills).values(receipt=altered))
    with pytest.raises(FormatError) as refused:
        month.told()
    assert refused.value.code == "format.receipt"


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "26-11", "2026-1", "", "2026-11-01", "٢٠٢٦-11"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        months.period(text, "UTC", utc(1))
    assert refused.value.code == "config.month"


def test_a_month_that_has_not_begun_is_refused_and_one_under_way_is_told_up_to_now() -> None:
    with pytest.raises(ConfigError):
        months.period("2026-12", "UTC", utc(30))
    under_way = months.period("2026-11", "UTC", utc(30))
    assert (under_way.complete, under_way.through_at) == (False, utc(30))


@given(
    st.integers(2020, 2035),
    st.integers(1, 12),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Beirut"]),
)
def test_days_of_a_month_lie_end_to_end(year: int, number: int, zone: str) -> None:
    found = months.period(f"{year}-{number:02}", zone, datetime(2040, 1, 1, tzinfo=UTC))
    days = list(months.days(found))
    assert days[0].begin_at == found.begin_at
    assert days[-1].end_at == found.end_at
    assert all(a.end_at == b.begin_at for a, b in pairwise(days))
    assert 28 <= len(days) <= 31
    assert all(months.month_of(d.begin_at, zone) == found.month for d in days)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.integers(1, 100))
def test_a_percentile_is_a_value_that_enough_of_the_others_do_not_exceed(values: list[float], per_cent: int) -> None:
    values.sort()
    found = figures.percentile(values, per_cent)
    assert found is not None
    enough = [v for v in values if sum(w <= v for w in values) * 100 >= per_cent * len(values)]
    assert found == enough[0]
