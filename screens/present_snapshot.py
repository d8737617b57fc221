"""One snapshot in words: what it proved, what it holds and what not, how it differs from the one before. Pure text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from engine.model import Counts, Snapshot
from engine.model.proof import Failure
from engine.model.retention import PlanLine, Removal
from engine.model.source import NotCaptured
from engine.model.views import Attempt, DrillView, JobView
from engine.model.watch import Drift, LedgerLine
from screens.fact import BLANK, Fact, code, harmless, named, section, table_line
from screens.phrase import Phrase, Tone, joined, paragraphs
from screens.present import (
    both_times,
    busy_phrase,
    clock_time,
    human_age,
    human_bytes,
    human_seconds,
    verdict_phrase,
)
from screens.present_retention import kept_phrase

AT_MOST = 20
"""Tables that drifted, and skips, that a detail names before it only counts them."""


@dataclass(frozen=True, slots=True)
class Detail:
    """What was read of one snapshot, for the line of the ledger that it had then."""

    line: LedgerLine
    attempt: Attempt
    record: Snapshot
    drift: Drift
    command: str
    why: PlanLine | None = None
    """Why it is kept, or will go; None when it is gone."""
    removal: Removal | None = None


def detail_title(line: LedgerLine, now: datetime) -> Phrase:
    """``prod-api · taken 14:00:11, 12 min ago · pre-deploy-4f2a1c``."""
    age = human_age((now - line.at).total_seconds())
    taken = f"taken {clock_time(line.at, now)}, {age}"
    return joined([Phrase(line.connection, Tone.STRONG), taken, Phrase(line.tag or "", Tone.CODE)])


def first_facts(line: LedgerLine, job: JobView | None) -> list[Fact]:
    """What the line of the ledger says already, while the rest is being read."""
    return [
        *_verdict_facts(line, job, None),
        named("Taken", both_times(line.at), ("the time", line.at.isoformat())),
        BLANK,
        Fact(Phrase("reading what was captured …", Tone.DIM)),
    ]


def snapshot_facts(detail: Detail, job: JobView | None) -> list[Fact]:
    """Everything about a snapshot, the verdict first."""
    drill = detail.attempt.drill
    return [
        *_verdict_facts(detail.line, job, drill),
        named("Retention", kept_phrase(detail.why, detail.removal)),
        *_where_facts(detail),
        *_missing_facts(detail.record),
        *(_skip_facts(drill) if drill is not None else ()),
        *_drift_facts(detail.drift),
        *(_command_facts(detail) if detail.removal is None or not detail.removal.result.gone else ()),
        *_table_facts(detail.record),
    ]


def _command_facts(detail: Detail) -> Iterator[Fact]:
    copy = ("the restore command", detail.command)
    yield from section("Restore it yourself", Phrase("y copies the command", Tone.DIM), copy)
    yield Fact(Phrase("  ") + Phrase(detail.command, Tone.CODE), copy=copy)
    yield Fact(Phrase("  The whole database, into the one that $TARGET_URL names. It must be empty.", Tone.DIM))


# verdict


def _verdict_facts(line: LedgerLine, job: JobView | None, drill: DrillView | None) -> Iterator[Fact]:
    verdict = verdict_phrase(line.verdict, line.skips)
    said = [verdict]
    if line.restore_s is not None:
        said.append(Phrase(f"restored in {human_seconds(line.restore_s)}"))
    if job is not None:
        said.append(Phrase("now ", Tone.DIM) + busy_phrase(job))
    elif line.verdict is None:
        said.append(Phrase("nobody has restored it yet; d does", Tone.DIM))
    yield named("Verdict", joined(said), ("the verdict", verdict.text))
    for failure in drill.failures if drill is not None else ():
        yield from failure_facts(failure)
    if drill is not None:
        receipt = Phrase(both_times(drill.drilled_at)) + Phrase(" · l opens the receipt", Tone.DIM)
        yield named("Drilled", receipt, ("the time of the drill", drill.drilled_at.isoformat()))


def failure_facts(failure: Failure) -> Iterator[Fact]:
    """What went wrong, and the next command; `y` on the command copies it."""
    yield Fact(
        Phrase("✗ ", Tone.BAD) + Phrase(failure.message) + Phrase(f"  [{failure.code}]", Tone.DIM),
        "",
        ("what went wrong", harmless(f"{failure.message} [{failure.code}]\n{failure.hint}".strip())),
    )
    for n, line in enumerate(paragraphs(failure.hint)):
        if line:
            yield Fact(Phrase("  " if n else "→ ", Tone.DIM) + line, "", ("what to do next", harmless(failure.hint)))


# where and how


def _where_facts(detail: Detail) -> Iterator[Fact]:
    snapshot, record = detail.attempt.snapshot, detail.record
    assert snapshot is not None
    details = record.details
    taken = Phrase(both_times(record.taken_at)) + Phrase(f" · it took {human_seconds(details.duration_s)}", Tone.DIM)
    yield named("Taken", taken, ("the time", record.taken_at.isoformat()))
    if record.tag:
        yield named("Tag", Phrase(record.tag, Tone.CODE))
    yield named("Captured", _captured(record))
    yield named("Rows", _rows(record), ("the number of rows", str(record.rows)))
    size = joined(
        [
            Phrase(human_bytes(record.size_bytes)) + Phrase(f" ({record.size_bytes:,} bytes)", Tone.DIM),
            Phrase(f"{human_bytes(details.plaintext_bytes)} before compression and encryption", Tone.DIM),
        ]
    )
    yield named("Size", size, ("the size in bytes", str(record.size_bytes)))
    provider = detail.line.provider
    of = joined([snapshot.connection, provider or "", Phrase(f"database {details.database}", Tone.DIM)])
    yield named("Connection", of, ("the connection's name", snapshot.connection))
    yield named("Destination", snapshot.destination)
    yield named("Lies at", snapshot.location, ("where it lies", snapshot.location))
    yield named("SHA-256", record.artifact_sha256)
    yield named("Id", record.id)
    yield named("Versions", _versions(detail), ("the versions", _versions(detail).text))
    yield named("Transport", _transport(snapshot.tls, weak=details.tls.weaker_than_verify_full))


def _rows(record: Snapshot) -> Phrase:
    if record.counts is Counts.NONE:
        return Phrase("not counted", Tone.WARN) + Phrase(": a drill can prove that it restores, not how many rows")
    return Phrase(f"{record.rows:,}") + Phrase(", counted exactly, in the same moment that was dumped", Tone.DIM)


def _captured(record: Snapshot) -> Phrase:
    """``214 of 217 tables, 12 views, 1 trigger``."""
    whole = record.tables == record.details.relations_total
    tables = Phrase(
        f"{record.tables:,} of {record.details.relations_total:,} tables", Tone.PLAIN if whole else Tone.WARN
    )
    others = [
        f"{count:,} {kind if count != 1 else _one(kind)}"
        for kind, count in sorted(record.details.objects.items(), key=lambda pair: (-pair[1], pair[0]))
        if kind != "tables" and count
    ]
    return tables + "".join(f", {other}" for other in others)


def _one(kind: str) -> str:
    if kind.endswith("ies"):
        return kind[:-3] + "y"
    return kind[:-2] if kind.endswith("xes") else kind.removesuffix("s")


def _versions(detail: Detail) -> Phrase:
    versions = detail.record.details.versions
    return joined(
        [
            f"server {versions.server}" if versions.server else "",
            f"pg_dump {versions.pg_dump}" if versions.pg_dump else "",
            f"OffsiteDB {versions.offsitedb}",
        ]
    )


def _transport(tls: str, *, weak: bool) -> Phrase:
    if not weak:
        return Phrase(tls)
    return Phrase("! ", Tone.WARN) + Phrase(tls) + Phrase(": does not prove which server answered", Tone.WARN)


# what is not in it


def _missing_facts(record: Snapshot) -> Iterator[Fact]:
    missing = record.details.not_captured
    if not missing:
        yield from section("Not captured", Phrase("nothing is missing", Tone.DIM))
        return
    yield from section("Not captured", Phrase(objects_text(len(missing)), Tone.WARN))
    yield from not_captured_facts(missing)


def not_captured_facts(missing: tuple[NotCaptured, ...]) -> Iterator[Fact]:
    """Each with its reason, and the SQL that mends it where there is any."""
    for thing in missing:
        kind = "" if thing.kind in thing.name else f"{thing.kind} "
        what = Phrase("  ! ", Tone.WARN) + Phrase(f"{kind}{thing.name}") + Phrase(f": {thing.reason}", Tone.DIM)
        yield Fact(what, copy=("what is missing", what.text.removeprefix("  ! ")))
        if thing.fix_sql:
            yield from code(thing.fix_sql, "the SQL that mends it")


def _skip_facts(drill: DrillView) -> Iterator[Fact]:
    if not drill.skips:
        return
    yield from section("Skipped in the drill", Phrase(objects_text(len(drill.skips)), Tone.DIM))
    for skip in drill.skips[:AT_MOST]:
        yield thing_fact(skip.kind, skip.name, skip.reason)
    if len(drill.skips) > AT_MOST:
        yield Fact(Phrase(f"  and {len(drill.skips) - AT_MOST:,} more: l opens the receipt", Tone.DIM))


def thing_fact(kind: str, name: str, reason: str) -> Fact:
    """``  event trigger audit_ddl: only a superuser can create it``."""
    what = Phrase(f"  {kind.lower()} ", Tone.DIM) + Phrase(name) + Phrase(f": {reason}", Tone.DIM)
    return Fact(what, copy=("the line", what.text.strip()))


def objects_text(n: int) -> str:
    """``3 objects``."""
    return "1 object" if n == 1 else f"{n:,} objects"


# drift


def _drift_facts(drift: Drift) -> Iterator[Fact]:
    if drift.previous_id is None or drift.previous_at is None:
        yield from section("Changed since", Phrase("there is no proven snapshot before this one", Tone.DIM))
        return
    since = Phrase(f"the proven snapshot of {drift.previous_at.astimezone():%Y-%m-%d %H:%M:%S}", Tone.DIM)
    yield from section("Changed since", since)
    if not (drift.appeared or drift.gone or drift.rows):
        yield Fact(Phrase("  the same tables with the same numbers of rows", Tone.DIM))
        return
    for name in drift.appeared[:AT_MOST]:
        yield _drifted(name, "", "new table")
    for name in drift.gone[:AT_MOST]:
        yield _drifted(name, "", "gone")
    for delta in drift.rows[:AT_MOST]:
        after = f"{delta.before:,} → {delta.after:,}"
        yield _drifted(f"{delta.schema}.{delta.table}", after, f"{delta.after - delta.before:+,}")
    left = sum(max(0, len(some) - AT_MOST) for some in (drift.appeared, drift.gone, drift.rows))
    if left:
        yield Fact(Phrase(f"  and {left:,} more, with smaller differences", Tone.DIM))


def _drifted(name: str, rows: str, what: str) -> Fact:
    tone = Tone.WARN if what == "gone" else Tone.PLAIN
    copied = "\t".join(part for part in (name, rows, what) if part)
    return table_line(name, [(Phrase(rows, Tone.DIM), 27), (Phrase(what, tone), 13)], copied)


# tables


def _table_facts(record: Snapshot) -> Iterator[Fact]:
    tables = sorted(record.details.tables, key=lambda t: (-t.rows, t.schema, t.table))
    if record.counts is Counts.NONE or not tables:
        return
    yield from section("Tables", Phrase("rows in each, largest first", Tone.DIM))
    for table in tables:
        note = " (all partitions)" if table.group else " (rows of its own)" if table.only_rows else ""
        name = f"{table.schema}.{table.table}"
        yield table_line(name + note, [(Phrase(f"{table.rows:,}"), 16)], f"{name}\t{table.rows}")
