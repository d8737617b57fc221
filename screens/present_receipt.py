"""A receipt set for people: verdict first, then what it rests on, down to every table. Pure text."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from engine.model import Verdict
from engine.model.proof import TableResult
from engine.model.views import DrillView
from engine.model.watch import ReceiptView
from screens.fact import BLANK, Fact, code, named, section, table_line
from screens.phrase import Phrase, Tone, joined
from screens.present import both_times, human_bytes, human_rows, human_seconds, verdict_phrase
from screens.present_compared import structure_facts
from screens.present_proof import checks_line, content_line
from screens.present_snapshot import failure_facts, not_captured_facts, objects_text, thing_fact

PHASES = (
    ("fetch_s", "fetch and check the SHA-256"),
    ("open_s", "decrypt and decompress"),
    ("scratch_s", "start a scratch cluster"),
    ("list_s", "read the contents"),
    ("restore_s", "restore data and indexes"),
    ("verify_s", "count and compare"),
)
"""In the order in which they happen."""
BAR = 20
"""Columns of a phase that took all of the time."""
_MEANS = {
    Verdict.PROVEN: "Everything that was captured was restored, and every count is equal.",
    Verdict.PROVEN_WITH_SKIPS: "The data was restored and every count is equal; some objects could not be tried.",
    Verdict.FAILED: "This snapshot did not restore to what was captured. Do not rely on it.",
    Verdict.COULD_NOT_VERIFY: "The drill could not be carried out. This says nothing about the snapshot.",
}


def receipt_title(view: ReceiptView) -> Phrase:
    """``Receipt of prod-api · drilled 2026-11-23 14:01:42``."""
    drill, snapshot = view.attempt.drill, view.attempt.snapshot
    name = Phrase(snapshot.connection if snapshot is not None else view.attempt.job.connection, Tone.STRONG)
    when = f"drilled {drill.drilled_at.astimezone():%Y-%m-%d %H:%M:%S}" if drill is not None else ""
    return joined([Phrase("Receipt of ") + name, when])


def receipt_facts(view: ReceiptView, signers: str) -> list[Fact]:
    """The whole receipt. ``signers``: the line of the signing key for ssh-keygen."""
    drill = view.attempt.drill
    assert drill is not None
    said = signed(view.text)
    return [
        *_verdict(view, drill),
        *_asked(said),
        *_differing(drill),
        *structure_facts(drill),
        *_phases(drill),
        *_conditions(drill, said),
        *_things("Skipped", "in the snapshot, but a drill cannot try them", drill.skips),
        *_things("Replayed in another form", "nothing is lost", drill.normalised),
        *_missing(view),
        *_evidence(view, said, signers),
        *_every_table(drill.tables),
    ]


def signed(text: str) -> dict[str, Any]:
    """The signed part of a receipt's document; its signature was checked when it was read."""
    found = json.loads(text)["receipt"]
    assert isinstance(found, dict)
    return found


def _verdict(view: ReceiptView, drill: DrillView) -> Iterator[Fact]:
    snapshot = view.attempt.snapshot
    verdict = verdict_phrase(drill.verdict, len(drill.skips))
    yield named("Verdict", verdict, ("the verdict", verdict.text))
    yield Fact(Phrase(_MEANS[drill.verdict], Tone.DIM), "")
    for failure in drill.failures:
        yield from failure_facts(failure)
    equal, rows = sum(t.equal for t in drill.tables), sum(t.restored or 0 for t in drill.tables)
    restored = joined(
        [
            f"in {human_seconds(drill.restore_s)}",
            f"{equal:,} of {len(drill.tables):,} tables equal",
            Phrase(f"{human_rows(rows)} rows") + Phrase(f" ({rows:,})" if rows >= 100_000 else "", Tone.DIM),
        ]
    )
    yield named("Restored", restored)
    yield named("Drilled", both_times(drill.drilled_at), ("the time of the drill", drill.drilled_at.isoformat()))
    if snapshot is not None:
        taken = joined([both_times(snapshot.taken_at), Phrase(snapshot.tag or "", Tone.CODE)])
        yield named("Snapshot", taken, ("the snapshot's id", snapshot.id))
        yield Fact(Phrase(snapshot.id, Tone.DIM), "", ("the snapshot's id", snapshot.id))
        yield named("Lies at", snapshot.location, ("where it lies", snapshot.location))
        size = Phrase(human_bytes(snapshot.size_bytes)) + Phrase(f" ({snapshot.size_bytes:,} bytes)", Tone.DIM)
        yield named("Size", size, ("the size in bytes", str(snapshot.size_bytes)))
        covered = f"{snapshot.tables:,} of the {snapshot.tables_in_source:,} tables in the database"
        yield named("Captured", covered)


def _asked(said: dict[str, Any]) -> Iterator[Fact]:
    for label, found in (("Content", content_line(said)), ("Checks", checks_line(said))):
        if found is not None:
            line, good = found
            yield named(label, Phrase(line, Tone.GOOD if good else Tone.BAD))


# tables


def _differing(drill: DrillView) -> Iterator[Fact]:
    different = [t for t in drill.tables if not t.equal]
    if not drill.tables:
        yield from section("Tables", Phrase("none was counted", Tone.DIM))
        return
    if not different:
        yield from section("Tables", Phrase("every one came back with the rows that were captured", Tone.GOOD))
        return
    count = f"{len(different):,} of {len(drill.tables):,} {'differ' if len(different) > 1 else 'differs'}"
    yield from section("Tables", Phrase(count, Tone.BAD))
    yield from _table_rows(different)


def _every_table(tables: Sequence[TableResult]) -> Iterator[Fact]:
    if not tables:
        return
    yield from section("Every table", Phrase("those that differ first, then by name", Tone.DIM))
    yield from _table_rows(sorted(tables, key=lambda t: (t.equal, t.schema, t.table)))


def _table_rows(tables: Sequence[TableResult]) -> Iterator[Fact]:
    yield table_line(
        "", [(Phrase("expected", Tone.DIM), 15), (Phrase("restored", Tone.DIM), 15), (Phrase(), 11)], "table"
    )
    for table in tables:
        expected, restored = _number(table.expected), _number(table.restored)
        word = _word(table)
        name = f"{table.schema}.{table.table}"
        cells = ((Phrase(expected), 15), (Phrase(restored), 15), (word.fit(11), 11))
        yield table_line(name, cells, f"{name}\t{table.expected}\t{table.restored}\t{word.text}")


def _number(n: int | None) -> str:
    return "–" if n is None else f"{n:,}"


def _word(table: TableResult) -> Phrase:
    if table.equal:
        return Phrase("✓ equal", Tone.GOOD)
    if table.expected is None or table.restored is None:
        return Phrase("? unknown", Tone.WARN)
    return Phrase(f"✗ {table.restored - table.expected:+,}", Tone.BAD)


# how


def _phases(drill: DrillView) -> Iterator[Fact]:
    total = Phrase(f"{drill.timings.total_s:.1f} s in all: the tested restore time", Tone.DIM)
    yield from section("Phases", total)
    for name, words in PHASES:
        seconds = float(getattr(drill.timings, name))
        share = seconds / drill.timings.total_s if drill.timings.total_s else 0.0
        bar = Phrase("█" * round(share * BAR), Tone.BUSY).fit(BAR)
        yield table_line(words, [(Phrase(f"{seconds:,.1f} s"), 12), (bar, BAR)], f"{words}\t{seconds:.3f} s")


def _conditions(drill: DrillView, said: dict[str, Any]) -> Iterator[Fact]:
    yield from section("How it was done")
    where, versions = drill.isolation, drill.versions
    network = "no network" if where.network == "none" else f"network of the {where.network}"
    sandbox = "no sandbox" if where.sandbox == "none" else f"sandbox {where.sandbox}"
    tone = Tone.WARN if "none" in where.sandbox or where.network != "none" else Tone.PLAIN
    yield named("Isolation", Phrase(f"user {where.user}, {network}, {sandbox}", tone))
    known = (
        ("source server", versions.server),
        ("pg_dump", versions.pg_dump),
        ("pg_restore", versions.pg_restore),
        ("scratch server", versions.scratch),
        ("OffsiteDB", versions.offsitedb),
    )
    yield named("Versions", ", ".join(f"{name} {version}" for name, version in known if version))
    tls = said.get("tls") or {}
    rights = " (a superuser)" if said.get("superuser") else ""
    carried = (
        "a Unix socket" if tls.get("transport") == "unix" else f"{tls.get('version') or 'no TLS'}, {tls.get('sslmode')}"
    )
    yield named("Captured as", f"role {said.get('role')}{rights}, over {carried}")
    exact = said.get("counts") == "exact"
    yield named("Counted", "exactly, in the same moment that was dumped" if exact else "not at the source")
    settings = said.get("scratch_settings") or {}
    label = "Settings"
    for key, value in sorted(settings.items()):
        yield named(label, Phrase(f"{key} ", Tone.DIM) + Phrase(str(value)), (f"the setting {key}", str(value)))
        label = ""


def _things(title: str, why: str, things: Sequence[Any]) -> Iterator[Fact]:
    if not things:
        return
    yield from section(title, Phrase(f"{objects_text(len(things))}: {why}", Tone.DIM))
    for thing in things:
        yield thing_fact(thing.kind, thing.name, thing.reason)


def _missing(view: ReceiptView) -> Iterator[Fact]:
    snapshot = view.attempt.snapshot
    missing = snapshot.not_captured if snapshot is not None else ()
    if missing:
        yield from section("Not captured", Phrase(objects_text(len(missing)), Tone.WARN))
        yield from not_captured_facts(missing)


# why it can be believed


def _evidence(view: ReceiptView, said: dict[str, Any], signers: str) -> Iterator[Fact]:
    yield from section("Evidence")
    yield named("Signature", Phrase("✓ ", Tone.GOOD) + Phrase("made with this installation's signing key, checked now"))
    previous = said.get("previous_receipt_sha256")
    if not view.chained:
        chain = Phrase("✗ ", Tone.BAD) + Phrase("does not follow the receipt before it: one was changed or removed")
    elif previous:
        chain = Phrase("✓ ", Tone.GOOD) + Phrase("follows the receipt before it")
    else:
        chain = Phrase("✓ ", Tone.GOOD) + Phrase("the first receipt of this installation")
    yield named("Chain", chain)
    yield named("SHA-256", view.sha256, ("the receipt's SHA-256", view.sha256))
    if previous:
        yield named("Before it", str(previous), ("the SHA-256 of the receipt before", str(previous)))
    yield named("Drill", view.drill_id, ("the drill's id", view.drill_id))
    yield BLANK
    yield Fact(Phrase("  To check it without this program: e exports it as receipt.json, then", Tone.DIM))
    yield from code(check_commands(signers), "the commands that check the signature")


def check_commands(signers: str) -> str:
    """Shell lines that check an exported receipt with ssh-keygen alone: the document is one line, and what is signed
    is the part of it between the two names."""
    return "\n".join(
        (
            f"echo {shlex.quote(signers.strip())} > signers",
            """printf %b "$(sed 's/.*"signature":"\\(.*\\)"}$/\\1/' receipt.json)" > receipt.sig""",
            """sed 's/^{"receipt":\\(.*\\),"signature":".*/\\1/' receipt.json | tr -d '\\n' |"""
            " ssh-keygen -Y verify -f signers -I offsitedb -n offsitedb-receipt -s receipt.sig",
        )
    )
