"""The report in words: the cover, and its chapters in order. Pure: the same record, the same description."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

from engine.model.report import Report
from engine.report import (
    chapter_controls,
    chapter_evidence,
    chapter_retention,
    chapter_summary,
    chapter_times,
    chapter_verify,
    words,
)
from engine.report.document import Document, Fact, Notice, Style, code, mapped, quiet, said

TITLE = "Restore Drill Report"


def describe(report: Report) -> Document:
    """Everything that the report says, harmless: control and bidi characters are visible."""
    zone = ZoneInfo(report.period.time_zone)
    month = month_name(report.period.month)
    document = Document(
        title=TITLE,
        period=month,
        running=f"{TITLE} · {month}",
        verdict=_verdict(report),
        cover=_cover(report, zone),
        chapters=(
            chapter_summary.summary(report, zone),
            chapter_times.restore_times(report),
            chapter_times.recovery_point(report, zone),
            chapter_retention.retention(report, zone),
            chapter_evidence.evidence(report, zone),
            chapter_controls.controls(report, zone),
            chapter_verify.verify(report, zone),
        ),
    )
    return mapped(document, words.visible)


def month_name(month: str) -> str:
    """``November 2026`` of ``2026-11``."""
    year, number = month.split("-")
    return f"{words.MONTHS[int(number) - 1]} {year}"


def _cover(report: Report, zone: ZoneInfo) -> tuple[Fact, ...]:
    period, installation = report.period, report.installation
    first = period.begin_at.astimezone(zone).date()
    last = (period.end_at.astimezone(zone) - timedelta(microseconds=1)).date()
    span = f"{words.day(first)} to {words.day(last)}, as clocks in {period.time_zone} show them"
    rows = [Fact("Period", said(span))]
    if not period.complete:
        through = words.moment(period.through_at, zone)
        rows.append(Fact("Told up to", said(f"{through}: the month was not over when the report was built")))
    built = words.moment(report.built_at, zone)
    again = (
        f", revision {report.revision}: it was built before, and this is the newer one" if report.revision > 1 else ""
    )
    rows += [
        Fact("Scope", said(_scope(report))),
        Fact("Built", said(f"{built}{again}")),
        Fact("Installation", said(code(installation.catalog_id))),
        Fact("Signed by", said(code(installation.signer_fingerprint), quiet(" (Ed25519)"))),
        Fact("Made by", said(f"OffsiteDB {report.software}")),
    ]
    return tuple(rows)


def _scope(report: Report) -> str:
    names = [words.name(name, 60) for name in report.scope.connections]
    if not names:
        return "no database was protected in this month"
    which = "every database that was protected in the month" if report.scope.everything else "a selection"
    return f"{words.count(len(names), 'database')}, {which}: {words.listed(names, 12)}"


def _verdict(report: Report) -> Notice:
    """The month in one sentence, and what is behind it."""
    found = report.summary
    if not report.connections:
        return Notice(Style.WARN, "Nothing to report", said("No database was protected in this month."))
    bad = chapter_summary.shortcomings(report)
    if bad:
        return Notice(Style.BAD, "Needs attention", said("In this month ", words.listed(bad, 9), "."))
    drills = found.drills
    if not drills.total:
        return Notice(Style.BAD, "Nothing was proven", said("No drill was carried out in this month."))
    weak = chapter_summary.reservations(report)
    if weak:
        return Notice(
            Style.WARN, "Proven, with reservations", said("No drill failed, but ", words.listed(weak, 9), ".")
        )
    all_of = (
        "The one snapshot of the month was" if found.made == 1 else f"All {found.made:,} snapshots of the month were"
    )
    text = f"{all_of} restored, and what came back is what was captured."
    return Notice(Style.GOOD, "Everything was proven", said(text))
