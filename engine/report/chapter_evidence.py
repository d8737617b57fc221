"""Chapter 5: every snapshot of the month with its drills, and what the drills said that proved nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

from engine.model.proof import Verdict
from engine.model.report import ConnectionReport, Report
from engine.model.reportrows import DrillRow, SnapshotRow
from engine.report import words
from engine.report.document import (
    Block,
    Chapter,
    Column,
    Fact,
    Heading,
    Kind,
    Paragraph,
    Row,
    Span,
    Table,
    Text,
    bad,
    code,
    good,
    line,
    quiet,
    said,
    strong,
    warn,
)

_LEAD = (
    "One line for each snapshot that was taken or drilled in the month. Below it stand its id, the SHA-256 of the"
    " encrypted file as it lies at the destination, and the SHA-256 of the receipt of its drill, which is in the"
    " folder"
)
_SAID = {
    Verdict.PROVEN: good("✓ proven"),
    Verdict.PROVEN_WITH_SKIPS: good("✓ proven with skips"),
    Verdict.FAILED: bad("✗ failed"),
    Verdict.COULD_NOT_VERIFY: warn("? could not verify"),
}
_FATES = {
    "removed": "deleted since",
    "missing": "not there any more",
    "locked": "to be deleted, kept by a lock",
}


def evidence(report: Report, zone: tzinfo) -> Chapter:
    lead = said(f"{_LEAD} ", code("receipts"), ".")
    if not any(c.snapshots for c in report.connections):
        return Chapter("Per-snapshot drill evidence", lead, (Paragraph(said("No snapshot was taken or drilled.")),))
    blocks = [*_unproven(report, zone)]
    for c in report.connections:
        blocks += _connection(c, zone)
    return Chapter("Per-snapshot drill evidence", lead, tuple(blocks))


def verdict(found: Verdict | None) -> Span:
    """In words, with a sign that stands in black and white, too."""
    return warn("○ not drilled") if found is None else _SAID[found]


# what proved nothing


def _unproven(report: Report, zone: tzinfo) -> Iterator[Block]:
    found = [
        (drill, c, row)
        for c in report.connections
        for row in c.snapshots
        for drill in row.drills
        if not drill.verdict.proven
    ]
    yield Heading("Drills that did not prove their snapshot")
    if not found:
        yield Paragraph(said("There was none."))
        return
    columns = (
        Column("Drilled", Kind.SHORT),
        Column("Database"),
        Column("Verdict", Kind.SHORT),
        Column("Snapshot taken", Kind.SHORT),
    )
    rows = tuple(
        Row(
            (
                said(words.short_moment(drill.ended_at, zone)),
                said(strong(words.name(c.name))),
                said(verdict(drill.verdict)),
                said(words.short_moment(row.taken_at, zone)),
            ),
            tuple(line(reason) for reason in drill.reasons) or (line(quiet("no reason was recorded")),),
        )
        for drill, c, row in sorted(found, key=lambda triple: triple[0].ended_at)
    )
    yield Table("", columns, rows)


# every snapshot


def _connection(c: ConnectionReport, zone: tzinfo) -> Iterator[Block]:
    yield Heading(words.name(c.name))
    if not c.snapshots:
        yield Paragraph(said("No snapshot was taken or drilled in this month."))
        return
    columns = (
        Column("No.", Kind.NUMBER),
        Column("Taken", Kind.SHORT),
        Column("Verdict"),
        Column("Tables equal", Kind.NUMBER),
        Column("Rows restored", Kind.NUMBER),
        Column("Size", Kind.NUMBER),
        Column("Restored in", Kind.NUMBER),
    )
    rows = tuple(_snapshot(row, zone) for row in c.snapshots)
    yield Table("", columns, rows)


def _snapshot(row: SnapshotRow, zone: tzinfo) -> Row:
    drill = row.newest
    empty = said(quiet("–"))
    return Row(
        (
            said(words.number(row.seq)),
            said(words.short_moment(row.taken_at, zone)),
            said(verdict(row.verdict)),
            _equal(drill) if drill is not None else empty,
            said(words.number(drill.rows_restored)) if drill is not None and drill.tables_compared else empty,
            said(words.size(row.size_bytes)),
            said(words.duration(drill.restore_s)) if drill is not None and drill.verdict.proven else empty,
        ),
        tuple(_below(row, zone)),
    )


def _equal(drill: DrillRow) -> Text:
    text = f"{words.number(drill.tables_equal)} of {words.number(drill.tables_compared)}"
    if not drill.tables_compared:
        return said(quiet("–"))
    return said(text if drill.tables_equal == drill.tables_compared else bad(text))


def _below(row: SnapshotRow, zone: tzinfo) -> Iterator[Fact]:
    notes: list[str] = []
    if row.tag:
        notes.append(f"tag {words.name(row.tag)}")
    if not row.taken_in_month:
        notes.append("taken before the month, drilled in it")
    if row.tables != row.tables_in_source:
        notes.append(f"{words.number(row.tables)} of {words.count(row.tables_in_source, 'table')} captured")
    if row.fate in _FATES:
        when = f" on {words.short_moment(row.fate_at, zone)}" if row.fate_at else ""
        rule = f", rule: {row.fate_rule}" if row.fate_rule else ""
        notes.append(f"{_FATES[row.fate]}{when}{rule}")
    yield Fact("snapshot", said(code(row.id), quiet(f" · {' · '.join(notes)}" if notes else "")))
    yield Fact("file", said(code(row.sha256)))
    for n, drill in enumerate(row.drills):
        if len(row.drills) > 1:
            again = f"drill {n + 1} of {len(row.drills)}, {words.short_moment(drill.ended_at, zone)}: "
            yield line(quiet(again), verdict(drill.verdict))
        yield Fact("receipt", said(code(drill.receipt_sha256), quiet(" of drill "), code(drill.id)))
        if drill.verdict is Verdict.PROVEN_WITH_SKIPS:
            yield from (Fact("skipped", said(reason)) for reason in drill.reasons)
        elif not drill.verdict.proven:
            yield from (Fact("why", said(reason)) for reason in drill.reasons)
