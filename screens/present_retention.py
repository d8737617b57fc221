"""Retention in words: the plan as a table, why one snapshot stays or goes, what a reconciliation found. Pure text."""

from __future__ import annotations

from collections.abc import Iterator

from engine.model.retention import (
    LockState,
    PlanLine,
    ReconciliationView,
    Removal,
    RetentionPlan,
    RetentionView,
)
from screens.phrase import Phrase, Tone, joined
from screens.present import GLYPHS, both_times, human_bytes

PLAN_HEAD = ("SNAPSHOT", "TAKEN", "VERDICT", "", "KEPT BY / REMOVED BECAUSE")
_SIZE = 5
"""Which cell of a line of the ledger holds the size."""
_NAMED = 20
"""Keys that a reconciliation names before it only counts them."""


def plan_rows(plan: RetentionPlan) -> list[tuple[str, ...]]:
    """Snapshot, taken, verdict, stays or goes, why."""
    return [
        (
            line.snapshot_id[:12],
            f"{line.taken_at:%Y-%m-%d %H:%M} UTC",
            verdict_word(line) + (f"  {line.tag}" if line.tag else ""),
            "keep" if line.keep else "remove",
            ", ".join(line.reasons),
        )
        for line in plan.lines
    ]


def verdict_word(line: PlanLine) -> str:
    return "unproven" if line.verdict is None else f"{GLYPHS[line.verdict]} {line.verdict}"


def plan_summary(plan: RetentionPlan) -> str:
    """``4 are kept, 7 go (12.3 MB)``."""
    if not plan.removes:
        return f"{_are(plan.keeps)} kept, none goes"
    goes = "1 goes" if plan.removes == 1 else f"{plan.removes:,} go"
    return f"{_are(plan.keeps)} kept, {goes} ({human_bytes(plan.freed_bytes)})"


def plan_lines(plan: RetentionPlan) -> tuple[Phrase, ...]:
    """The plan for a screen: what comes of it, then every snapshot."""
    tone = Tone.WARN if plan.removes else Tone.GOOD
    lines = [Phrase(" ") + Phrase(plan_summary(plan), tone) + Phrase(f" · days of {plan.time_zone}", Tone.DIM)]
    if plan.paused is not None:
        lines.append(Phrase(" ! ", Tone.WARN) + Phrase(f"paused: {plan.paused}"))
    lines += [_plan_line(line) for line in plan.lines]
    return tuple(lines)


def _plan_line(line: PlanLine) -> Phrase:
    glyph = Phrase(" ✓ keep   ", Tone.GOOD) if line.keep else Phrase(" – remove ", Tone.WARN)
    when = Phrase(f"{line.taken_at.astimezone():%Y-%m-%d %H:%M}  ")
    tag = Phrase(f"{line.tag}  ", Tone.CODE) if line.tag else Phrase()
    return glyph + when + tag + Phrase(", ".join(line.reasons), Tone.DIM)


def kept_phrase(line: PlanLine | None, removal: Removal | None) -> Phrase:
    """``kept: daily 2026-11-24``, ``goes: beyond every rule``, or what became of it."""
    if removal is not None and removal.result.gone:
        return Phrase(removal.words, Tone.WARN)
    if line is None:
        return Phrase("–", Tone.DIM)
    if line.keep:
        return Phrase("kept: ", Tone.GOOD) + Phrase(", ".join(line.reasons))
    return Phrase("goes: ", Tone.WARN) + Phrase(", ".join(line.reasons))


def with_removal(cells: tuple[Phrase, ...], removal: Removal | None) -> tuple[Phrase, ...]:
    """A line of the list whose object is gone says so where its size stood."""
    if removal is None or not removal.result.gone:
        return cells
    return (*cells[:_SIZE], Phrase(removal.result.value, Tone.WARN), *cells[_SIZE + 1 :])


def view_rows(view: RetentionView) -> list[tuple[str, str]]:
    """A connection's policy as pairs of a word and what it is."""
    rows = [("policy", view.words), ("days of", view.time_zone)]
    if view.changed_at is not None:
        rows.append(("changed", both_times(view.changed_at)))
    rows.append(("last pruned", both_times(view.last_pruned_at) if view.last_pruned_at else "never"))
    rows.append(("removed", f"{view.removed:,} snapshots so far"))
    if view.paused is not None:
        rows.append(("paused", view.paused))
    rows += [("pinned", f"{p.snapshot_id[:12]} of {p.taken_at:%Y-%m-%d}, by {p.actor}: {p.reason}") for p in view.pins]
    return rows


# reconciliation


def reconciled_summary(found: ReconciliationView) -> str:
    seen = found.outcome
    snapshots = "1 snapshot" if seen.snapshots == 1 else f"{seen.snapshots:,} snapshots"
    what = "agrees with the ledger" if found.agrees else "does not agree with the ledger"
    return f"{found.destination} {what}: {snapshots}, {found.objects:,} objects, {human_bytes(found.size_bytes)}"


def reconciled_details(found: ReconciliationView) -> Iterator[tuple[bool, str]]:
    """Each difference, and whether it is one to worry about."""
    seen = found.outcome
    yield from _keys("missing", seen.missing, bad=True)
    yield from _keys("another size than the ledger says", seen.mismatched, bad=True)
    yield from _keys("removed, and there all the same", seen.lingering, bad=True)
    yield from _keys("not known here, left alone", seen.unknown, bad=True)
    yield from _keys("there again", seen.found_again, bad=False)
    if seen.foreign:
        yield False, f"{seen.foreign:,} objects of others, left alone"
    if seen.aborted_uploads:
        yield False, f"{seen.aborted_uploads:,} unfinished uploads aborted ({human_bytes(seen.aborted_bytes)})"
    if seen.lock is not None:
        yield False, f"Object Lock: {lock_words(seen.lock)}, for the newest snapshot"


def reconciled_lines(found: ReconciliationView) -> tuple[Phrase, ...]:
    """A reconciliation for a screen."""
    glyph = Phrase(" ✓ ", Tone.GOOD) if found.agrees else Phrase(" ✗ ", Tone.BAD)
    lines = [joined([glyph + Phrase(reconciled_summary(found)), Phrase(both_times(found.reconciled_at), Tone.DIM)])]
    for bad, text in reconciled_details(found):
        lines.append((Phrase("   ! ", Tone.WARN) if bad else Phrase("   i ", Tone.DIM)) + Phrase(text))
    lines.append(Phrase(f"   sha256 of the listing {found.listing_sha256}", Tone.DIM))
    return tuple(lines)


def lock_words(lock: LockState) -> str:
    return lock.mode if lock.until is None else f"{lock.mode} until {lock.until:%Y-%m-%d %H:%M} UTC"


def _keys(what: str, keys: tuple[str, ...], *, bad: bool) -> Iterator[tuple[bool, str]]:
    for key in keys[:_NAMED]:
        yield bad, f"{what}: {key}"
    if len(keys) > _NAMED:
        yield bad, f"{what}: and {len(keys) - _NAMED:,} more"


def _are(n: int) -> str:
    return "1 is" if n == 1 else f"{n:,} are"
