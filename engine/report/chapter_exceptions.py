"""The second half of chapter 1: what was wrong, what was not made, what the snapshots do not hold, and the words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

from engine.model.report import Report, ReportException
from engine.report import words
from engine.report.document import (
    Block,
    Column,
    Fact,
    Facts,
    Heading,
    Kind,
    Paragraph,
    Row,
    Table,
    Text,
    bad,
    code,
    line,
    quiet,
    said,
    strong,
)

_WHY_MISSED = {
    "missed": "nothing was running that could have started it",
    "overlapped": "the one before it was still running",
}


def wrong_things(report: Report, zone: tzinfo) -> list[Block]:
    """In the order of the report."""
    return [*_exceptions(report, zone), *_not_made(report, zone), *_coverage(report), *_meanings()]


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
                said(words.name(e.summary, 300)),
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
        (slot.slot_at, c.name, _WHY_MISSED.get(slot.why, slot.why))
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
        parts = (Column("At", Kind.SHORT), Column("Database"), Column("What failed"), Column("What was wrong"))
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
        yield Table("Begun, and failed", parts, rows)


def _coverage(report: Report) -> Iterator[Block]:
    known = [(c, c.coverage) for c in report.connections if c.coverage is not None]
    if not known:
        return
    yield Heading("What the snapshots hold")
    whole = sum(found.tables == found.tables_in_source for _, found in known)
    every = f"Every table was captured in {whole:,} of {words.count(len(known), 'database')}."
    if whole == len(known):
        every = "Every table was captured."
    yield Paragraph(
        said(
            "A snapshot holds what the role that reads the database may see; what the newest one of each does not hold"
            f" stands here. {every}"
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
