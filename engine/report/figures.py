"""Figures from facts: verdicts, percentiles, gaps, days. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise

from engine.catalog.report_facts import SnapshotFact
from engine.model import SlotOutcome, Verdict
from engine.model.report import (
    Day,
    DayState,
    MissedSlot,
    MonthTimes,
    Period,
    PhaseTimes,
    RecoveryPoint,
    RestoreTimes,
    Verdicts,
)
from engine.report import months
from engine.report.facts import ConnectionFacts, DrillFact
from engine.report.months import DaySpan

MONTHS = 12
"""Months of the chart, this one included."""
PHASES = (
    ("fetch", "fetch_s"),
    ("decrypt and unpack", "open_s"),
    ("list", "list_s"),
    ("scratch server", "scratch_s"),
    ("restore", "restore_s"),
    ("compare", "verify_s"),
)
"""Names for people, and the fields of ``Timings``."""


def verdicts(found: Iterable[Verdict]) -> Verdicts:
    """How many of each."""
    n = Counter(found)
    return Verdicts(n[Verdict.PROVEN], n[Verdict.PROVEN_WITH_SKIPS], n[Verdict.FAILED], n[Verdict.COULD_NOT_VERIFY])


def percentile(values: Sequence[float], per_cent: int) -> float | None:
    """The smallest of ``values`` (sorted) that at least ``per_cent`` of them do not exceed; None of nothing."""
    return values[max(0, -(-len(values) * per_cent // 100) - 1)] if values else None


def newest_drills(drills: Iterable[DrillFact]) -> dict[str, DrillFact]:
    """The drill that counts of each snapshot: the one written last."""
    return {drill.snapshot_id: drill for drill in sorted(drills, key=lambda d: d.position)}


def restore_times(facts: ConnectionFacts, period: Period) -> RestoreTimes:
    """Of the drills of the month that proved something, and the months before it."""
    proven = [d for d in facts.drills if d.row.verdict.proven]
    times = sorted(d.row.restore_s for d in proven)
    worst = max(proven, key=lambda d: (d.row.restore_s, -d.position), default=None)
    target = facts.lived.restore_target_s
    here = _month_times(period.month, times)
    return RestoreTimes(
        drills=len(times),
        p50_s=here.p50_s,
        p95_s=here.p95_s,
        worst_s=here.worst_s,
        worst_drill_id=None if worst is None else worst.row.id,
        target_s=target,
        within_target=None if target is None or worst is None else worst.row.restore_s <= target,
        phases=tuple(_phase(name, [float(getattr(d.timings, field)) for d in proven]) for name, field in PHASES)
        if proven
        else (),
        months=(*_earlier(facts, period), here),
    )


def recovery(facts: ConnectionFacts, period: Period) -> RecoveryPoint:
    """The largest gap between proven snapshots that follow each other, from the one before the month to its end."""
    drills = [*facts.drills, *([facts.before] if facts.before is not None else [])]
    proven = sorted(d.taken_at for d in newest_drills(drills).values() if d.row.verdict.proven)
    earlier, within = (
        [at for at in proven if at < period.begin_at],
        [at for at in proven if period.begin_at <= at < period.through_at],
    )
    begin = max(period.begin_at, facts.lived.created_at)
    end = min(period.through_at, facts.lived.removed_at or period.through_at)
    # what a connection holds before its own time or after it was removed makes no gap
    points: list[tuple[datetime, datetime | None]] = [(at, at) for at in within if at <= end]
    first = (earlier[-1], earlier[-1]) if earlier else (begin, None)
    gaps = [((b[0] - a[0]).total_seconds(), a[1], b[1]) for a, b in pairwise([first, *points, (end, None)])]
    gap = max(gaps, key=lambda g: g[0])
    target = facts.target_s
    return RecoveryPoint(
        proven=len(within),
        largest_s=round(max(gap[0], 0.0), 3),
        from_at=gap[1],
        to_at=gap[2],
        target_s=target,
        target_source=facts.target_source,
        within_target=None if target is None else gap[0] <= target,
        before_receipt_sha256=None if facts.before is None else facts.before.row.receipt_sha256,
    )


def newest_proven(facts: ConnectionFacts, period: Period) -> datetime | None:
    """When the newest snapshot that is proven at the period's end had been taken."""
    drills = [*facts.drills, *([facts.before] if facts.before is not None else [])]
    taken = [d.taken_at for d in newest_drills(drills).values() if d.row.verdict.proven]
    return max((at for at in taken if at < period.through_at), default=None)


def missed(facts: ConnectionFacts) -> tuple[MissedSlot, ...]:
    """Slots without a snapshot of their own: missed, overlapped, or decided by nobody."""
    known = [MissedSlot(s.slot_at, s.outcome.value) for s in facts.slots if s.outcome is not SlotOutcome.STARTED]
    return tuple(sorted((*known, *(MissedSlot(at, "undecided") for at in facts.undecided)), key=lambda m: m.slot_at))


def days(facts: ConnectionFacts, period: Period) -> tuple[Day, ...]:
    """Every day of the month."""
    due = [*(s.slot_at for s in facts.slots), *facts.undecided]
    gone = [m.slot_at for m in missed(facts)]
    return tuple(_day(facts, period, span, due, gone) for span in months.days(period))


def _day(
    facts: ConnectionFacts, period: Period, span: DaySpan, due: Sequence[datetime], gone: Sequence[datetime]
) -> Day:
    def within(at: datetime) -> bool:
        return span.begin_at <= at < span.end_at

    made = sum(within(s.taken_at) for s in in_month(facts, period))
    ended = verdicts(d.row.verdict for d in facts.drills if within(d.row.ended_at))
    n_due = sum(map(within, due))
    state = day_state(n_due, made, ended)
    if span.begin_at >= period.through_at:
        state = DayState.AHEAD
    elif state is DayState.NOTHING_DUE and _absent(facts, span):
        state = DayState.ABSENT
    return Day(span.date, state, n_due, made, sum(map(within, gone)), ended)


def day_state(due: int, made: int, drills: Verdicts) -> DayState:
    """The worst thing that happened on a day: that there was no snapshot where one was due hides behind nothing."""
    if due and not made:
        return DayState.GAP
    if drills.failed:
        return DayState.FAILED
    if drills.could_not_verify:
        return DayState.UNVERIFIED
    if drills.proven_with_skips:
        return DayState.SKIPS
    if drills.proven:
        return DayState.PROVEN
    return DayState.UNDRILLED if made else DayState.NOTHING_DUE


def in_month(facts: ConnectionFacts, period: Period) -> list[SnapshotFact]:
    """Snapshots that were taken in the month."""
    return [s for s in facts.snapshots if period.begin_at <= s.taken_at < period.through_at]


def _absent(facts: ConnectionFacts, span: DaySpan) -> bool:
    removed = facts.lived.removed_at
    return span.end_at <= facts.lived.created_at or (removed is not None and removed <= span.begin_at)


def _phase(name: str, values: list[float]) -> PhaseTimes:
    values.sort()
    return PhaseTimes(name, percentile(values, 50) or 0.0, percentile(values, 95) or 0.0, values[-1])


def _month_times(month: str, times: Sequence[float]) -> MonthTimes:
    return MonthTimes(month, len(times), percentile(times, 50), percentile(times, 95), percentile(times, 100))


def _earlier(facts: ConnectionFacts, period: Period) -> list[MonthTimes]:
    by_month: dict[str, list[float]] = {months.before(period.month, n): [] for n in range(MONTHS - 1, 0, -1)}
    for drill in facts.earlier:
        month = months.month_of(drill.finished_at, period.time_zone)
        if month in by_month:
            by_month[month].append(drill.restore_s)
    return [_month_times(month, sorted(times)) for month, times in by_month.items()]
