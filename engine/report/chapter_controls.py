"""Chapter 6: what stood between the data and others, which programs were used, and who changed what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo

from engine.model.report import Report
from engine.model.reportrows import ChangeRow, TlsRow
from engine.model.reportrows import Chapter as Posture
from engine.report import words
from engine.report.chapter_exceptions import actor
from engine.report.document import (
    Block,
    Chapter,
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
    good,
    marked,
    quiet,
    said,
    strong,
    warn,
)
from engine.report.events import detail_words, event_words

_LEAD = (
    "How the data was protected on its way and where it lies, which PostgreSQL programs were used, what a drill was"
    " shut in by, and who changed anything that bears on this."
)
_BACKENDS = {
    "secret-service": "the keyring of the host's desktop session (Secret Service)",
    "kernel": "the keyring of the host's kernel",
    "systemd": "systemd's credentials, sealed for the host",
    "macos": "the keychain of macOS",
    "windows": "the credential store of Windows",
}


def controls(report: Report, zone: tzinfo) -> Chapter:
    blocks = [
        *_encryption(report, zone),
        *_tls(report),
        *_programs(report),
        *_isolation(report),
        *_changes(report, zone),
        *_criteria(report),
        *(block for chapter in report.posture for block in _posture(chapter)),
    ]
    return Chapter("Controls", said(_LEAD), tuple(blocks))


def _encryption(report: Report, zone: tzinfo) -> Iterator[Block]:
    yield Heading("Encryption and keys")
    installation = report.installation
    kept = _BACKENDS.get(installation.key_backend, installation.key_backend)
    confirmed = installation.recovery_confirmed_at
    recovery: Text = said(warn("not confirmed: nobody has shown yet that the recovery code was written down"))
    if confirmed is not None:
        recovery = said(f"confirmed on {words.moment(confirmed, zone)}")
    kids = [code(kid) for kid in report.controls.kids]
    sealed = said(*(part for kid in kids for part in (kid, "  "))) if kids else said(quiet("no snapshot was made"))
    yield Facts(
        (
            Fact("Encryption", said(report.controls.cipher)),
            Fact(
                "Master key", said("id ", code(installation.kid), f", number {installation.key_epoch}, held in {kept}")
            ),
            Fact("Recovery code", said("key id ", code(installation.recovery_kid), ", ", recovery)),
            Fact("Sealed for keys", sealed),
            Fact("Signing key", said(code(words.name(installation.signer, 200)))),
            Fact("In use since", said(words.moment(installation.created_at, zone))),
        )
    )


def _tls(report: Report) -> Iterator[Block]:
    yield Heading("How the databases were reached")
    rows = tuple(
        Row((said(strong(words.name(c.name))), said(_carried(t)), _checked(t), said(words.number(t.snapshots))))
        for c in report.connections
        for t in c.tls
    )
    if not rows:
        yield Paragraph(said("No snapshot was made."))
        return
    columns = (Column("Database"), Column("Carried by"), Column("Server's identity"), Column("Snapshots", Kind.NUMBER))
    yield Table("", columns, rows)


def _carried(t: TlsRow) -> str:
    if t.transport == "unix":
        return "a socket within the host"
    return (t.version or "TLS").replace("TLSv", "TLS ") if t.in_use else "an unencrypted connection"


def _checked(t: TlsRow) -> Text:
    mode = quiet(f" (sslmode {words.name(t.sslmode)})")
    if t.transport == "unix":
        return said("the host's own", mode)
    if not t.in_use:
        return said(bad("not checked, not encrypted"), mode)
    if not t.weaker:
        return said(good("✓ certificate and name checked"), mode)
    return said(warn("! weaker than a checked certificate and name"), mode)


def _programs(report: Report) -> Iterator[Block]:
    if not report.controls.clients:
        return
    yield Heading("PostgreSQL programs")
    columns = (
        Column("Program"),
        Column("Version", Kind.SHORT),
        Column("Free of known holes from", Kind.SHORT),
        Column("Result", Kind.SHORT),
        Column("Used", Kind.NUMBER),
    )
    rows = tuple(
        Row(
            (
                said(c.program),
                said(c.version),
                said(c.floor or "–"),
                said(
                    quiet("not known") if c.meets_floor is None else good("✓ good") if c.meets_floor else bad("✗ older")
                ),
                said(words.number(c.used)),
            )
        )
        for c in report.controls.clients
    )
    note = "Used: for how many snapshots (pg_dump) or drills (pg_restore, scratch server)."
    yield Table("", columns, rows, note)


def _isolation(report: Report) -> Iterator[Block]:
    if not report.controls.isolation:
        return
    yield Heading("What drills were shut in by")
    yield Paragraph(
        said(
            "A restored database may hold code. So a drill restores as a user without rights, into a server that"
            " exists only for that."
        )
    )
    rows = tuple(
        Row(
            (
                said(warn("none") if row.sandbox == "none" else words.name(row.sandbox)),
                said("none at all" if row.network == "none" else warn("that of the host")),
                said(words.number(row.drills)),
            )
        )
        for row in report.controls.isolation
    )
    columns = (Column("Sandbox"), Column("Network that it could reach"), Column("Drills", Kind.NUMBER))
    yield Table("", columns, rows)


# changes


def _changes(report: Report, zone: tzinfo) -> Iterator[Block]:
    found = report.controls
    yield from _change_table("Who may do what", "access", found.access_changes, zone)
    yield from _change_table("Keys", "the keys", found.key_changes, zone)
    yield from _change_table("Databases, destinations and rules", "these", found.other_changes, zone)


def _change_table(title: str, of: str, rows: Sequence[ChangeRow], zone: tzinfo) -> Iterator[Block]:
    yield Heading(f"Changes: {title[0].lower()}{title[1:]}")
    if not rows:
        yield Paragraph(said(f"Nobody changed {of} in this month."))
        return
    columns = (Column("At", Kind.SHORT), Column("What"), Column("By"), Column("Event", Kind.NUMBER))
    yield Table(
        "",
        columns,
        tuple(
            Row(
                (
                    said(words.short_moment(row.at, zone)),
                    said(event_words(row.kind), quiet(f" ({detail_words(row.detail)})" if row.detail else "")),
                    said(actor(row.actor)),
                    said(words.number(row.seq)),
                )
            )
            for row in rows
        ),
    )


def _criteria(report: Report) -> Iterator[Block]:
    if not report.controls.criteria:
        return
    yield Heading("Where this touches SOC 2")
    yield Paragraph(
        said(
            "For orientation only: it says where to look, and is no statement that a criterion is met. That is the"
            " auditor's to judge."
        )
    )
    rows = tuple(Row((said(strong(c.code)), said(c.title), said(c.where))) for c in report.controls.criteria)
    yield Table("", (Column("Criterion", Kind.SHORT), Column("Asks for"), Column("See")), rows)


def _posture(chapter: Posture) -> Iterator[Block]:
    yield Heading(words.name(chapter.title, 120))
    for text in chapter.paragraphs:
        yield Paragraph(marked(text))
    if chapter.columns:
        columns = tuple(Column(_capital(words.name(title))) for title in chapter.columns)
        yield Table("", columns, tuple(Row(tuple(marked(cell) for cell in row)) for row in chapter.rows))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
