"""Chapter 1: what the month came to, and everything that went wrong in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, tzinfo

from engine.model.report import ConnectionReport, Report, ReportException
from engine.model.reportrows import DayState
from engine.report import words
from engine.report.document import (
    Block,
    Bullets,
    Calendar,
    Chapter,
    Column,
    Fact,
    Facts,
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
    code,
    line,
    quiet,
    said,
    strong,
)

STRIPS = 30
"""Connections in one calendar: a chart has to fit on a page."""
_LEAD = (
    "OffsiteDB copies each database into an encrypted file, a snapshot, and sends it to another place, its destination."
    " A drill then fetches the snapshot back from there, restores it into a PostgreSQL server that exists only for that,"
    " and compares what came back with what was captured. This chapter says what those drills showed."
)
WHY_MISSED = {
    "missed": "nothing was running that could have started it",
    "overlapped": "the one before it was still running",
}


def summary(report: Report, zone: tzinfo) -> Chapter:
    blocks: list[Block] = [_tiles(report), Paragraph(_in_words(report))]
    if report.connections:
        blocks += _calendars(report)
        blocks += [_connections(report, zone), *_targets(report)]
    blocks += [*_exceptions(report, zone), *_not_made(report, zone), *_coverage(report), *_meanings()]
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
    made = f"{words.count(found.made, 'snapshot')} of {words.count(found.connections, 'database')}"
    text = f"{made[0].upper()}{made[1:]} {words.verb(found.made, 'was')} made, {words.size(found.stored_bytes)} in all."
    if found.due:
        text += f" Schedules asked for {words.number(found.due)}"
        text += (
            f"; {words.number(found.missed)} of those {words.verb(found.missed, 'was')} not made."
            if found.missed
            else ", and none is missing."
        )
    else:
        text += " No schedule asked for any; they were made on demand."
    good = drills.proven + drills.proven_with_skips
    if drills.total:
        text += (
            f" {words.count(drills.total, 'drill').capitalize()} {words.verb(drills.total, 'was')} carried out, and"
            f" {words.number(good)} of them ({words.share(good, drills.total)}) proved that the snapshot restores."
        )
    else:
        text += " No drill was carried out."
    if found.undrilled:
        text += f" {words.count(found.undrilled, 'snapshot').capitalize()} {words.verb(found.undrilled, 'was')} not drilled."
    if found.failed_attempts:
        text += (
            f" {words.count(found.failed_attempts, 'attempt').capitalize()} to make or drill a snapshot ended with"
            " an error; they are listed below."
        )
    return said(text)


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
                f"{words.number(len(missed))} of {words.count(set_, 'target')} {words.verb(len(missed), 'was')} not met:"
            )
        )
        yield Bullets(tuple(said(words.name(text, 120)) for text in missed))


def _exceptions(report: Report, zone: tzinfo) -> Iterator[Block]:
    yield Heading("Exceptions")
    if not report.exceptions:
        yield Paragraph(said("Nothing was found wrong in this month that somebody had to be told of."))
        return
    yield Paragraph(
        said(
            "What was found wrong, from when until when, and who took note of it. Those that were still open"
            " when the period ended come first."
        )
    )
    columns = (Column("What"), Column("Concerns"), Column("Began", Kind.SHORT), Column("Ended", Kind.SHORT))
    rows = tuple(
        Row(
            (
                said(e.summary),
                said(words.name(e.connection or e.name)),
                said(words.short_moment(e.opened_at, zone)),
                said(words.short_moment(e.closed_at, zone))
                if e.closed_at is not None and not e.open_at_end
                else said(bad("still open")),
            ),
            (Fact("", _acknowledged(e, zone)),),
        )
        for e in report.exceptions
    )
    yield Table("", columns, rows)


def _acknowledged(e: ReportException, zone: tzinfo) -> Text:
    if e.acknowledged_at is None:
        return said(quiet("nobody has acknowledged it"))
    note = f": “{words.name(e.acknowledged_note, 400)}”" if e.acknowledged_note else ""
    who = actor(e.acknowledged_by or "somebody")
    return said(quiet(f"acknowledged by {who} on {words.short_moment(e.acknowledged_at, zone)}{note}"))


def actor(who: str) -> str:
    """``alice`` of ``operator:alice``, ``the host's user root`` of ``os:root``."""
    kind, _, rest = who.partition(":")
    called = {"operator": "{}", "os": "{} (user of the host)", "apikey": "API key {}", "worker": "the worker {}"}
    return called.get(kind, "{}").format(words.name(rest or who))


def _not_made(report: Report, zone: tzinfo) -> Iterator[Block]:
    missed = [
        (slot.slot_at, c.name, WHY_MISSED.get(slot.why, slot.why))
        for c in report.connections
        for slot in c.missed_slots
    ]
    failed = [(a, c.name) for c in report.connections for a in c.failed_attempts]
    if not missed and not failed:
        return
    yield Heading("Snapshots that were not made, and attempts that failed")
    if missed:
        columns = (Column("Due at", Kind.SHORT), Column("Database"), Column("Why it was not begun"))
        rows = tuple(
            Row((said(words.short_moment(at, zone)), said(words.name(name)), said(why)))
            for at, name, why in sorted(missed)
        )
        yield Table("Due, and not begun", columns, rows)
    if failed:
        columns = (Column("At", Kind.SHORT), Column("Database"), Column("What failed"), Column("What was wrong"))
        rows = tuple(
            Row(
                (
                    said(words.short_moment(a.at, zone)),
                    said(words.name(name)),
                    said({"checkpoint": "making a snapshot", "drill": "drilling one"}.get(a.kind, a.kind)),
                    said(a.message, quiet(f" ({a.code})")),
                )
            )
            for a, name in sorted(failed, key=lambda found: found[0].at)
        )
        yield Table("Begun, and failed", columns, rows)


def _coverage(report: Report) -> Iterator[Block]:
    known = [(c, c.coverage) for c in report.connections if c.coverage is not None]
    if not known:
        return
    yield Heading("What the snapshots hold")
    whole = [c for c, found in known if found.tables == found.tables_in_source and not found.not_captured]
    yield Paragraph(
        said(
            "A snapshot holds what the role that reads the database may see."
            f" {words.number(len(whole))} of {words.count(len(known), 'database')} {words.verb(len(whole), 'was')} captured whole,"
            " by the newest snapshot of each."
        )
    )
    columns = (Column("Database"), Column("Tables captured", Kind.NUMBER), Column("Not captured, and why"))
    rows = tuple(
        Row(
            (
                said(strong(words.name(c.name))),
                said(f"{words.number(found.tables)} of {words.number(found.tables_in_source)}"),
                said(
                    "nothing is missing"
                    if not found.not_captured and found.tables == found.tables_in_source
                    else words.count(len(found.not_captured), "object")
                ),
            ),
            tuple(line(f"{m.kind} ", code(words.name(m.name, 130)), f": {m.reason}") for m in found.not_captured),
        )
        for c, found in known
    )
    yield Table("", columns, rows)


def _meanings() -> Iterator[Block]:
    yield Heading("What the words mean")
    yield Facts(
        (
            Fact(
                "Proven",
                said(
                    "The snapshot was fetched back and restored. Every table has the rows that were captured,"
                    " and what was compared beyond that is equal."
                ),
            ),
            Fact(
                "Proven with skips",
                said(
                    "The same, but some captured objects could not be tried in a drill. Each is"
                    " named with the reason in chapter 5."
                ),
            ),
            Fact("Failed", said("The snapshot did not restore to what was captured. It must not be relied on.")),
            Fact(
                "Could not verify",
                said("The drill itself could not be carried out. That says nothing about the snapshot."),
            ),
            Fact("Not drilled", said("There is a snapshot, and nothing is known about it yet.")),
            Fact("Missing", said("A snapshot was due, and none was made.")),
            Fact(
                "Receipt",
                said("The signed record of one drill: what was expected, what came back, and how long it took."),
            ),
        )
    )
