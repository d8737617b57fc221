"""Chapters 2 and 3: how long a restore takes, and how much could have been lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo

from engine.model.report import ConnectionReport, Report
from engine.report import words
from engine.report.document import (
    Against,
    Bar,
    Block,
    Chapter,
    Column,
    Fact,
    Kind,
    Measure,
    Panel,
    Paragraph,
    Phases,
    Point,
    Row,
    Table,
    Text,
    Trend,
    bad,
    code,
    good,
    line,
    plain,
    quiet,
    said,
    strong,
    warn,
)

PANELS = 8
"""In one chart, which has to fit on a page."""
BARS = 30
_TIMES = (
    "The tested restore time is measured, not estimated: from the first byte fetched from the destination until the"
    " restored copy had been compared. Only drills that proved their snapshot count."
)
_GAP = (
    "If the database had been lost at the worst moment of the month, everything written since the newest proven"
    " snapshot would have been lost with it. The largest gap between two proven snapshots that follow each other says"
    " how much time that is."
)


def restore_times(report: Report) -> Chapter:
    timed = [c for c in report.connections if c.restore.drills]
    if not timed:
        return Chapter(
            "Tested restore times", said(_TIMES), (Paragraph(said("No drill proved a snapshot in this month.")),)
        )
    blocks = [_times(report), *_trends(report), *_phases(timed)]
    return Chapter("Tested restore times", said(_TIMES), tuple(blocks))


def _times(report: Report) -> Table:
    columns = (
        Column("Database"),
        Column("Drills", Kind.NUMBER),
        Column("Median", Kind.NUMBER),
        Column("95th percentile", Kind.NUMBER),
        Column("Worst", Kind.NUMBER),
        Column("Target", Kind.NUMBER),
        Column("Worst against target", Kind.SHORT),
    )
    rows = tuple(
        Row(
            (
                said(strong(words.name(c.name))),
                said(words.number(c.restore.drills)),
                _time(c.restore.p50_s),
                _time(c.restore.p95_s),
                _time(c.restore.worst_s),
                said(words.span(c.restore.target_s)) if c.restore.target_s is not None else said(quiet("none")),
                met(c.restore.within_target, c.restore.target_s),
            )
        )
        for c in report.connections
    )
    note = (
        "Median: half of the drills took at most this long. 95th percentile: of a hundred drills, ninety-five took"
        " at most this long; of fewer than twenty it is the worst. The worst time is the one that is held against the"
        " target."
    )
    return Table("Restore times of the month", columns, rows, note)


def _time(s: float | None) -> Text:
    return said(quiet("–")) if s is None else said(words.duration(s))


def met(within: bool | None, target_s: float | None) -> Text:
    """Whether a target was met, in words."""
    if target_s is None:
        return said(quiet("no target"))
    if within is None:
        return said(warn("nothing proven"))
    return said(good("✓ met") if within else bad("✗ not met"))


def _trends(report: Report) -> Iterator[Block]:
    shown = [c for c in report.connections if any(m.worst_s is not None for m in c.restore.months)]
    parts = [shown[i : i + PANELS] for i in range(0, len(shown), PANELS)]
    for n, part in enumerate(parts, start=1):
        more = f" ({n} of {len(parts)})" if len(parts) > 1 else ""
        panels = tuple(
            Panel(
                words.name(c.name, 40),
                tuple(Point(m.month, m.p50_s, m.worst_s) for m in c.restore.months),
                c.restore.target_s,
            )
            for c in part
        )
        yield Trend(f"Restore times over the months{more}", panels, _trend_alt(part))
    if parts:
        yield Paragraph(
            said(
                "Each bar reaches from zero to the median of its month, the line above it to the worst; the broken"
                " line is the target. A month without a bar has no proven drill. Earlier months are from the"
                " ledger; their receipts are in the reports of those months."
            ),
            small=True,
        )


def _trend_alt(part: list[ConnectionReport]) -> str:
    told = []
    for c in part:
        months = [m for m in c.restore.months if m.worst_s is not None]
        first, last = months[0], months[-1]
        told.append(
            f"{words.name(c.name, 40)}: worst {words.duration(first.worst_s or 0)} in {first.month},"
            f" {words.duration(last.worst_s or 0)} in {last.month}"
        )
    return "Restore times over the months. " + "; ".join(told) + "."


def _phases(timed: list[ConnectionReport]) -> Iterator[Block]:
    shown = [c for c in timed if c.restore.phases]
    if not shown:
        return
    names = tuple(p.phase for p in shown[0].restore.phases)
    for i in range(0, len(shown), BARS):
        part = shown[i : i + BARS]
        bars = tuple(Bar(words.name(c.name, 28), tuple(p.p50_s for p in c.restore.phases)) for c in part)
        longest = [max(c.restore.phases, key=lambda p: p.p50_s).phase for c in part]
        alt = "; ".join(f"{bar.label}: most of it is {phase}" for bar, phase in zip(bars, longest, strict=True))
        yield Phases("What a restore consists of (median of each phase)", names, bars, f"Phases of a restore. {alt}.")
    columns = (Column("Database"), *(Column(name[0].upper() + name[1:], Kind.NUMBER) for name in names))
    rows = tuple(
        Row(
            (
                said(strong(words.name(c.name))),
                *(said(words.duration(p.p50_s), quiet(f" ({words.duration(p.worst_s)})")) for p in c.restore.phases),
            )
        )
        for c in shown
    )
    yield Table("Phases: median, and the worst in brackets", columns, rows)


# recovery point


def recovery_point(report: Report, zone: tzinfo) -> Chapter:
    if not report.connections:
        return Chapter("Recovery point", said(_GAP), (Paragraph(said("There was no database to lose anything of.")),))
    columns = (
        Column("Database"),
        Column("Proven snapshots", Kind.NUMBER),
        Column("Largest gap", Kind.NUMBER),
        Column("From", Kind.SHORT),
        Column("To", Kind.SHORT),
        Column("Target", Kind.NUMBER),
        Column("Against target", Kind.SHORT),
    )
    rows = tuple(_gap_row(c, zone) for c in report.connections)
    table = Table(
        "Largest gap between proven snapshots",
        columns,
        rows,
        "A gap counts from when the earlier snapshot was taken until the later one was; one that reaches into the"
        " month from before it counts whole.",
    )
    return Chapter("Recovery point", said(_GAP), (table, *_against(report)))


def _gap_row(c: ConnectionReport, zone: tzinfo) -> Row:
    gap = c.recovery
    below: list[Fact] = []
    if gap.from_at is None:
        below.append(
            line(
                quiet(
                    "nothing was proven before: counted from when the database was first protected, or from the"
                    " beginning of the month"
                )
            )
        )
    if gap.to_at is None:
        below.append(line(quiet("nothing was proven after: counted up to the end of what this report tells")))
    if gap.before_receipt_sha256 is not None:
        below.append(line(quiet("proven last before the month, receipt "), code(gap.before_receipt_sha256)))
    target = said(quiet("none"))
    if gap.target_s is not None:
        target = said(words.span(gap.target_s))
        if gap.target_source is not None:
            below.append(line(quiet(f"the target was {gap.target_source}")))
    return Row(
        (
            said(strong(words.name(c.name))),
            said(words.number(gap.proven)),
            _time(gap.largest_s),
            _at(gap.from_at, zone),
            _at(gap.to_at, zone),
            target,
            met(gap.within_target, gap.target_s),
        ),
        tuple(below),
    )


def _at(at: datetime | None, zone: tzinfo) -> Text:
    return said(quiet("–")) if at is None else said(words.short_moment(at, zone))


def _against(report: Report) -> Iterator[Block]:
    shown = [c for c in report.connections if c.recovery.largest_s is not None]
    for i in range(0, len(shown), BARS):
        part = shown[i : i + BARS]
        measures = tuple(
            Measure(
                words.name(c.name, 28),
                c.recovery.largest_s,
                c.recovery.target_s,
                plain(met(c.recovery.within_target, c.recovery.target_s)),
            )
            for c in part
        )
        alt = "; ".join(f"{m.label}: {words.duration(m.value_s or 0)}, {m.said}" for m in measures)
        yield Against("Largest gap against its target", measures, f"Largest gaps. {alt}.")
