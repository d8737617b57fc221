"""Chapter 4: what is kept and by which rule, what was deleted, and whether the destination holds what it should."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo

from engine.model.report import ConnectionReport, DestinationReport, Report
from engine.model.reportrows import DeletionRow, ReconciliationRow
from engine.report import words
from engine.report.document import (
    Block,
    Chapter,
    Column,
    Heading,
    Kind,
    Notice,
    Paragraph,
    Row,
    Style,
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
    "Which snapshots are kept is decided by rules that are set for each database. A deletion is tried only after the"
    " plan was made, and afterwards the destination is asked what is true. Then its listing is held against the"
    " records, in both directions."
)
_RESULTS = {
    "deleted": good("deleted"),
    "removed": good("deleted"),
    "missing": warn("was not there"),
    "locked": warn("locked, still there"),
    "still there": bad("still there"),
    "refused": bad("refused"),
    "failed": bad("failed"),
}


def retention(report: Report, zone: tzinfo) -> Chapter:
    if not report.connections and not report.destinations:
        return Chapter("Retention proof", said(_LEAD), (Paragraph(said("Nothing was kept or deleted in this month.")),))
    blocks = [
        *_policies(report, zone),
        *_kept(report, zone),
        *_deletions(report, zone),
        *_destinations(report, zone),
        *_listings(report, zone),
    ]
    return Chapter("Retention proof", said(_LEAD), tuple(blocks))


def _policies(report: Report, zone: tzinfo) -> Iterator[Block]:
    if not report.connections:
        return
    columns = (
        Column("Database"),
        Column("What is kept"),
        Column("Stored", Kind.NUMBER),
        Column("Size", Kind.NUMBER),
        Column("Pinned", Kind.NUMBER),
    )
    rows = tuple(_policy_row(c, zone) for c in report.connections)
    looked = {c.retention.looked_at for c in report.connections}
    when = f" As it was on {words.moment(max(looked), zone)}." if looked else ""
    yield Table("The rules", columns, rows, f"Pinned snapshots are kept by hand, whatever the rules say.{when}")
    for c in report.connections:
        if c.retention.paused is not None:
            title = f"Deleting is paused for {words.name(c.name)}"
            yield Notice(Style.WARN, title, said(f"{c.retention.paused}. Nothing is deleted meanwhile."))


def _policy_row(c: ConnectionReport, zone: tzinfo) -> Row:
    kept = c.retention
    changed = f"set on {words.short_moment(kept.changed_at, zone)}" if kept.changed_at else ""
    text = kept.words if kept.has_policy else "everything: no rule removes anything"
    return Row(
        (
            said(strong(words.name(c.name))),
            said(text, quiet(f" ({changed})" if changed else "")),
            said(words.number(kept.stored)),
            said(words.size(kept.stored_bytes)),
            said(words.number(kept.pinned)),
        )
    )


def _kept(report: Report, zone: tzinfo) -> Iterator[Block]:
    rows = tuple(
        Row(
            (
                said(strong(words.name(c.name))),
                said(kept.rule),
                said(words.number(kept.snapshots)),
                said(words.size(kept.size_bytes)),
                said(_date(kept.oldest_at, zone)),
                said(_date(kept.newest_at, zone)),
            )
        )
        for c in report.connections
        for kept in c.retention.kept
    )
    if not rows:
        return
    columns = (
        Column("Database"),
        Column("Kept by the rule"),
        Column("Snapshots", Kind.NUMBER),
        Column("Size", Kind.NUMBER),
        Column("Oldest", Kind.SHORT),
        Column("Newest", Kind.SHORT),
    )
    yield Table(
        "What each rule keeps",
        columns,
        rows,
        "A snapshot is counted under every rule that keeps it: the lines overlap.",
    )


def _date(at: datetime, zone: tzinfo) -> str:
    local = at.astimezone(zone)
    return f"{words.short_day(local.date())} {local.year}"


# deletions


def _deletions(report: Report, zone: tzinfo) -> Iterator[Block]:
    yield Heading("Deletions")
    found: list[tuple[DeletionRow, str]] = [
        *((d, c.name) for c in report.connections for d in c.retention.deletions),
        *((d, place.name) for place in report.destinations for d in place.other_deletions),
    ]
    if not found:
        yield Paragraph(said("Nothing was deleted in this month."))
        return
    columns = (Column("At", Kind.SHORT), Column("Of"), Column("By the rule"), Column("What is true now"))
    rows = tuple(_deletion(d, name, zone) for d, name in sorted(found, key=lambda pair: pair[0].deleted_at))
    yield Table("", columns, rows)


def _deletion(d: DeletionRow, name: str, zone: tzinfo) -> Row:
    result = said(_RESULTS.get(d.result, warn(d.result)))
    if d.detail:
        result = said(result, quiet(f": {d.detail}"))
    version = said(quiet(" version "), code(words.name(d.version))) if d.version else ()
    return Row(
        (said(words.short_moment(d.deleted_at, zone)), said(words.name(name)), said(d.rule), result),
        (line(code(words.name(d.object_key, 200)), version),),
    )


# destinations


def _destinations(report: Report, zone: tzinfo) -> Iterator[Block]:
    if not report.destinations:
        return
    yield Heading("Destinations")
    columns = (Column("Destination"), Column("Where"), Column("Carried by"), Column("Protected against deletion"))
    rows = tuple(
        Row((said(strong(words.name(d.name))), _where(d), said(d.transport), _lock(d, zone)))
        for d in report.destinations
    )
    yield Table("", columns, rows)


def _where(d: DestinationReport) -> Text:
    return said(code(words.name(d.where, 160)), quiet(f" ({words.name(d.provider)})" if d.provider else ""))


def _lock(d: DestinationReport, zone: tzinfo) -> Text:
    if d.lock is None:
        return said(quiet("no lock was seen"))
    until = "until it is lifted" if d.lock.until_at is None else f"until {_date(d.lock.until_at, zone)}"
    seen = f"seen on {words.short_moment(d.lock.seen_at, zone)}"
    return said(f"Object Lock, {d.lock.mode.lower()}, {until}", quiet(f" ({seen})"))


def _listings(report: Report, zone: tzinfo) -> Iterator[Block]:
    yield Heading("Destination against records")
    if not report.destinations:
        yield Paragraph(said("There was no destination."))
        return
    unlisted = [f"“{words.name(d.name)}”" for d in report.destinations if not d.reconciliations]
    if unlisted:
        yield Notice(
            Style.WARN,
            "Not compared",
            said(f"In this month nobody compared what lies at {words.listed(unlisted, 20)} with the records."),
        )
    rows = tuple(
        Row(
            (
                said(words.short_moment(look.reconciled_at, zone)),
                said(words.name(d.name)),
                said(words.number(look.objects)),
                said(words.size(look.size_bytes)),
                _agreement(look),
            ),
            (line(quiet("SHA-256 of the listing "), code(look.listing_sha256)),),
        )
        for d in report.destinations
        for look in d.reconciliations
    )
    if not rows:
        return
    columns = (
        Column("At", Kind.SHORT),
        Column("Destination"),
        Column("Objects", Kind.NUMBER),
        Column("Size", Kind.NUMBER),
        Column("Result"),
    )
    note = (
        "Missing: recorded, and not there. Unknown: there, and not recorded. Different: there, with another size or"
        " content than recorded. Lingering: recorded as deleted, and still there."
    )
    yield Table("", columns, rows, note)


def _agreement(look: ReconciliationRow) -> Text:
    counts = (
        (look.missing, "missing"),
        (look.unknown, "unknown"),
        (look.mismatched, "different"),
        (look.lingering, "lingering"),
    )
    off = ", ".join(f"{words.number(n)} {what}" for n, what in counts if n)
    if look.agrees:
        return said(good("✓ agrees"), f": {off}" if off else "")
    return said(bad("✗ differs"), f": {off}")
