"""Chapter 1: what the month came to, and everything that went wrong in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, tzinfo

from engine.model.report import ConnectionReport, Report
from engine.model.reportrows import DayState
from engine.report import words
from engine.report.chapter_exceptions import wrong_things
from engine.report.document import (
    Block,
    Bullets,
    Calendar,
    Chapter,
    Column,
    Heading,
    Kind,
    Paragraph,
    Row,
    Strip,
    Style,
    Table,
    Text,
    Tile,
    Tiles,
    bad,
    line,
    quiet,
    said,
    strong,
)

STRIPS = 30
"""Connections in one calendar: a chart has to fit on a page."""
_LEAD = (
    "OffsiteDB copies each database into an encrypted file, a snapshot, and sends it to another place, its"
    " destination. A drill then fetches the snapshot back from there, restores it into a PostgreSQL server that"
    " exists only for that, and compares what came back with what was captured. This chapter says what those drills"
    " showed."
)


def summary(report: Report, zone: tzinfo) -> Chapter:
    blocks: list[Block] = [_tiles(report), Paragraph(_in_words(report))]
    if report.connections:
        blocks += _calendars(report)
        blocks += [_connections(report, zone), *_targets(report)]
    blocks += wrong_things(report, zone)
    return Chapter("Summary", said(_LEAD), tuple(blocks))


# what the cover says as well


def shortcomings(report: Report) -> list[str]:
    """What went wrong, each as the rest of a sentence that begins with *In this month*."""
    found, out = report.summary, []
    if found.drills.failed:
        out.append(f"{words.count(found.drills.failed, 'drill')} failed")
    if found.missed:
        were = words.verb(found.missed, "was")
        out.append(f"{words.count(found.missed, 'snapshot')} that {were} due {were} not made")
    elif found.gaps:
        days = "day passed" if found.gaps == 1 else "days passed"
        out.append(f"{words.number(found.gaps)} {days} without a snapshot that was due")
    if found.targets_missed:
        out.append(
            f"{words.count(len(found.targets_missed), 'target')} {words.verb(len(found.targets_missed), 'was')} not met"
        )
    if found.open_exceptions:
        out.append(
            f"{words.count(found.open_exceptions, 'exception')} {words.verb(found.open_exceptions, 'was')}"
            " open at the end"
        )
    return out


def reservations(report: Report) -> list[str]:
    """What keeps a good month from being a plain one."""
    drills, found, out = report.summary.drills, report.summary, []
    if drills.could_not_verify:
        out.append(f"{words.count(drills.could_not_verify, 'drill')} could not be carried out")
    if found.undrilled:
        out.append(f"{words.count(found.undrilled, 'snapshot')} {words.verb(found.undrilled, 'was')} not drilled")
    if drills.proven_with_skips:
        out.append(f"{words.count(drills.proven_with_skips, 'drill')} skipped objects that could not be tried")
    return out


# figures


def _tiles(report: Report) -> Tiles:
    found, drills = report.summary, report.summary.drills
    return Tiles(
        (
            Tile(words.number(found.made), "snapshots made"),
            Tile(words.number(drills.total), "drills carried out"),
            _tile(drills.proven, "proven", Style.GOOD),
            _tile(drills.proven_with_skips, "proven with skips", Style.GOOD),
            _tile(drills.failed, "failed", Style.BAD),
            _tile(drills.could_not_verify, "could not verify", Style.WARN),
            _tile(found.missed, "due, but not made", Style.BAD),
            _tile(found.open_exceptions, "exceptions still open", Style.BAD),
        )
    )


def _tile(n: int, label: str, style: Style) -> Tile:
    return Tile(words.number(n), label, style if n else Style.PLAIN)


def _in_words(report: Report) -> Text:
    found, drills = report.summary, report.summary.drills
    if not report.connections:
        return said("No database was protected in this month, so nothing was due and nothing was drilled.")
    size = f", {words.size(found.stored_bytes)} in all" if found.made else ""
    made = f"{words.count(found.made, 'snapshot')} of {words.count(found.connections, 'database')}"
    told = [f"{_were(found.made, made, 'made')}{size}."]
    if found.due and found.missed:
        told.append(
            f"Schedules asked for {words.number(found.due)}; {words.number(found.missed)} of those"
            f" {words.verb(found.missed, 'was')} not made."
        )
    elif found.due:
        told.append(f"Schedules asked for {words.number(found.due)}, and none of those is missing.")
    else:
        told.append("No schedule asked for any.")
    told.append(f"{_were(drills.total, words.count(drills.total, 'drill'), 'carried out')}.")
    good = drills.proven + drills.proven_with_skips
    if drills.total:
        proved = f"{words.number(good)} of {words.number(drills.total)} ({words.share(good, drills.total)})"
        told[-1] = f"{told[-1][:-1]}, and {proved} proved that the snapshot restores."
    if found.undrilled:
        told.append(f"{_were(found.undrilled, words.count(found.undrilled, 'snapshot'), 'not drilled')}.")
    if found.failed_attempts:
        attempts = words.count(found.failed_attempts, "attempt")
        told.append(f"{attempts.capitalize()} to make or drill a snapshot ended with an error, as listed below.")
    return said(" ".join(told))


def _were(n: int, what: str, done: str) -> str:
    """``12 drills were carried out``."""
    return f"{what[0].upper()}{what[1:]} {words.verb(n, 'was')} {done}"


def _calendars(report: Report) -> Iterator[Block]:
    everything = report.connections
    parts = [everything[i : i + STRIPS] for i in range(0, len(everything), STRIPS)]
    for n, part in enumerate(parts, start=1):
        more = f" ({n} of {len(parts)})" if len(parts) > 1 else ""
        strips = tuple(Strip(words.name(c.name, 28), tuple(day.state for day in c.days)) for c in part)
        days = tuple(date.fromisoformat(day.date) for day in part[0].days)
        yield Calendar(f"The month, day by day{more}", days, strips, _calendar_alt(part))
    yield Paragraph(
        said("One cell for each day and database; the worst thing that happened on the day decides what it shows."),
        small=True,
    )


def _calendar_alt(part: Sequence[ConnectionReport]) -> str:
    said_of: list[str] = []
    for c in part:
        states = [day.state for day in c.days]
        counts = (
            (DayState.PROVEN, "proven"),
            (DayState.SKIPS, "proven with skips"),
            (DayState.FAILED, "failed"),
            (DayState.UNVERIFIED, "could not be verified"),
            (DayState.UNDRILLED, "not drilled"),
            (DayState.GAP, "missing"),
        )
        told = [f"{states.count(state)} {word}" for state, word in counts if state in states]
        said_of.append(f"{words.name(c.name, 28)}: {', '.join(told) or 'nothing'}")
    return "Days of each database. " + "; ".join(said_of) + "."


def _connections(report: Report, zone: tzinfo) -> Table:
    columns = (
        Column("Database"),
        Column("Due", Kind.NUMBER),
        Column("Made", Kind.NUMBER),
        Column("Missed", Kind.NUMBER),
        Column("Drills", Kind.NUMBER),
        Column("Proven", Kind.NUMBER),
        Column("Failed", Kind.NUMBER),
        Column("Unclear", Kind.NUMBER),
        Column("Newest proven", Kind.SHORT),
    )
    rows = tuple(
        Row(
            (
                said(strong(words.name(c.name))),
                said(words.number(c.due)),
                said(words.number(c.made)),
                _bad(c.missed),
                said(words.number(c.drills.total)),
                said(words.number(c.drills.proven + c.drills.proven_with_skips)),
                _bad(c.drills.failed),
                said(words.number(c.drills.could_not_verify)),
                _newest(c, zone),
            ),
            (line(quiet(_about(c, zone))),),
        )
        for c in report.connections
    )
    note = (
        "Due and missed count what schedules asked for. Proven counts drills that proved their snapshot, those with"
        " skips among them; unclear are drills that could not be carried out. The newest proven snapshot is given with"
        " its age when the period ended."
    )
    return Table("Databases", columns, rows, note)


def _about(c: ConnectionReport, zone: tzinfo) -> str:
    """``Supabase · every day at 03:00 (Europe/Berlin) · to bucket-eu · every snapshot is drilled``."""
    parts = [words.name(c.provider)] if c.provider else []
    parts.append(f"snapshots {c.schedule}" + (f" ({c.schedule_zone})" if c.schedule_zone else ""))
    parts += [f"drills: {c.drill_policy}", f"to {words.name(c.destination)}"]
    if c.removed_at is not None:
        parts.append(f"removed on {words.day(c.removed_at.astimezone(zone).date())}")
    return " · ".join(parts)


def _newest(c: ConnectionReport, zone: tzinfo) -> Text:
    if c.newest_proven_at is None or c.newest_proven_age_s is None:
        return said(bad("none"))
    return said(words.short_moment(c.newest_proven_at, zone), quiet(f" · {words.duration(c.newest_proven_age_s)} old"))


def _bad(n: int) -> Text:
    return said(bad(words.number(n)) if n else "0")


def _targets(report: Report) -> Iterator[Block]:
    yield Heading("Targets")
    missed = report.summary.targets_missed
    set_ = sum((c.recovery.target_s is not None) + (c.restore.target_s is not None) for c in report.connections)
    if not set_:
        yield Paragraph(said("No target was set for any database, so there is none to hold the figures against."))
    elif not missed:
        yield Paragraph(
            said(f"{words.count(set_, 'target').capitalize()} {words.verb(set_, 'was')} set, and every one was met.")
        )
    else:
        yield Paragraph(
            said(
                f"{words.number(len(missed))} of {words.count(set_, 'target')}",
                f" {words.verb(len(missed), 'was')} not met:",
            )
        )
        yield Bullets(tuple(said(words.name(text, 120)) for text in missed))
