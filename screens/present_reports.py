"""The history of drills in words: one line a drill, one line a connection. Pure text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from engine.model import Verdict
from engine.model.watch import DrillLine, LedgerLine
from screens.phrase import Phrase, Tone
from screens.present import clock_time, human_age, human_rows, short_seconds, verdict_phrase


@dataclass(frozen=True, slots=True)
class Tally:
    """The drills of one connection, counted. Restore times are those of its proven drills, in seconds."""

    connection: str
    drills: int
    proven: int
    failed: int
    unknown: int
    p50_s: float | None
    worst_s: float | None
    last: DrillLine


def tallies(drills: Iterable[DrillLine]) -> list[Tally]:
    """One per connection, by name. ``drills`` newest first."""
    by_name: dict[str, list[DrillLine]] = {}
    for drill in drills:
        by_name.setdefault(drill.connection, []).append(drill)
    return [_tally(name, found) for name, found in sorted(by_name.items())]


def _tally(name: str, drills: Sequence[DrillLine]) -> Tally:
    times = [drill.restore_s for drill in drills if drill.verdict.proven]
    return Tally(
        connection=name,
        drills=len(drills),
        proven=len(times),
        failed=sum(drill.verdict is Verdict.FAILED for drill in drills),
        unknown=sum(drill.verdict is Verdict.COULD_NOT_VERIFY for drill in drills),
        p50_s=median(times) if times else None,
        worst_s=max(times, default=None),
        last=drills[0],
    )


def tally_cells(tally: Tally, now: datetime) -> tuple[Phrase, ...]:
    """Connection, drills, proven, failed, could not verify, restore p50 · worst, the newest."""
    times = Phrase("–", Tone.DIM)
    if tally.p50_s is not None and tally.worst_s is not None:
        times = Phrase(short_seconds(tally.p50_s)) + Phrase(" · ", Tone.DIM) + short_seconds(tally.worst_s)
    age = human_age((now - tally.last.drilled_at).total_seconds()).removesuffix(" ago")
    return (
        Phrase(tally.connection, Tone.STRONG),
        Phrase(f"{tally.drills:,}"),
        _count(tally.proven, Tone.GOOD),
        _count(tally.failed, Tone.BAD),
        _count(tally.unknown, Tone.WARN),
        times,
        verdict_phrase(tally.last.verdict, tally.last.skips) + Phrase(f" {age}", Tone.DIM),
    )


def _count(n: int, tone: Tone) -> Phrase:
    return Phrase(f"{n:,}", tone) if n else Phrase("–", Tone.DIM)


def drill_cells(drill: DrillLine, of: Mapping[str, LedgerLine], now: datetime) -> tuple[Phrase, ...]:
    """When, connection, verdict with what went wrong or the tag, tables, rows, restore seconds. ``of``: the lines of
    the ledger by snapshot."""
    line = of.get(drill.snapshot_id)
    said = verdict_phrase(drill.verdict, drill.skips)
    if drill.summary and not drill.verdict.proven:
        said = said + Phrase(f"  {drill.summary}")
    if drill.tag:
        said = said + Phrase(f"  {drill.tag}", Tone.DIM)
    tables = "" if line is None or line.tables is None else f"{line.tables:,}"
    return (
        Phrase(clock_time(drill.drilled_at, now)),
        Phrase(drill.connection),
        said,
        Phrase(tables),
        Phrase("" if line is None or line.rows is None else human_rows(line.rows)),
        Phrase(short_seconds(drill.restore_s) if drill.restore_s else ""),
    )


def drill_words(drill: DrillLine) -> str:
    """What a filter looks in."""
    words = (drill.connection, drill.verdict, drill.tag, drill.summary, drill.id, drill.snapshot_id)
    return " ".join(str(word) for word in words if word).lower()
