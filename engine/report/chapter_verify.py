"""Chapter 7: how anybody checks the report without this software, and what the signature does not prove."""

from __future__ import annotations

from datetime import tzinfo

from engine.model.report import Report
from engine.report import words
from engine.report.document import (
    Block,
    Bullets,
    Chapter,
    Code,
    Column,
    Fact,
    Facts,
    Heading,
    Paragraph,
    Row,
    Table,
    code,
    said,
)

_LEAD = (
    "The report is a folder of plain files. Two programs that every Unix system has, sha256sum and ssh-keygen, are"
    " enough to check that the folder is whole and was signed by the installation; OffsiteDB is not needed."
)
_FILES = (
    ("report.json", "the data of this report, from which its other forms are made"),
    ("report.pdf, report.html, report.txt", "this report, to file and to read"),
    ("receipts/ID.json", "the signed receipt of every drill, named by the id of the drill"),
    (
        "events.jsonl",
        "the history of the installation in the period, one event a line; each names the hash of the one before",
    ),
    ("head.txt", "the end of that history, signed when the report was built"),
    ("SHA256SUMS, SHA256SUMS.sig", "the SHA-256 of every file, and the signature of that list"),
    ("allowed_signers", "the public key that signed, as ssh-keygen reads it"),
    ("VERIFY.txt", "these steps, and how to go through the history"),
)


def verify(report: Report, zone: tzinfo) -> Chapter:
    found = report.verifying
    blocks: list[Block] = [
        Heading("1. Check the files and the signature"),
        Paragraph(said("In the folder of the report:")),
        Code("\n".join(found.commands)),
        Paragraph(
            said(
                "The first command must say ",
                code("OK"),
                " behind every file, the last one ",
                code("Good"),
                " signature. Compare the fingerprint that it shows with one that you got by another way than this"
                " report: from the people who run the installation, by telephone for example.",
            )
        ),
        Facts((Fact("Fingerprint", said(code(report.installation.signer_fingerprint))),)),
        Heading("2. Check a receipt, and the history"),
        Paragraph(
            said(
                "Every drill's receipt is in the folder ",
                code("receipts"),
                "; chapter 5 names its file and its SHA-256. The history is a chain: no event can be changed, removed"
                " or put in without breaking every hash that comes after it.",
            )
        ),
        Facts(
            (
                Fact("Receipts", said(words.count(found.receipts, "receipt"))),
                Fact("Events", said(_events(report))),
                Fact("The end of it", said(f"event {words.number(found.head_seq)}, hash ", code(found.head_hash))),
                Fact("Signed", said(words.moment(found.head_signed_at, zone))),
            )
        ),
        Code(found.head_signature.strip()),
        Heading("What the signature does not prove"),
        Bullets(tuple(said(text) for text in found.not_proven)),
        Heading("What is in the folder"),
        Table("", (Column("File"), Column("What it is")), tuple(Row((said(code(f)), said(w))) for f, w in _FILES)),
    ]
    return Chapter("How to verify this report", said(_LEAD), tuple(blocks))


def _events(report: Report) -> str:
    found = report.verifying
    numbers = f"numbers {words.number(found.first_seq)} to {words.number(found.last_seq)}"
    text = f"{words.count(found.events, 'event')}, {numbers}"
    if found.withheld:
        text += f"; of {words.number(found.withheld)} that concern other databases there are only the hashes"
    return text
