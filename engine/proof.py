"""From what a restore showed to one of four verdicts: a pure decision, nothing measured here.

PROVEN: everything captured was restored, every count is equal and no other comparison found a difference. PROVEN WITH
SKIPS: the data is proven, named objects could not be exercised. FAILED: the artifact, the restore, a count or another
comparison is wrong. COULD NOT VERIFY is decided where the drill could not run, never here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from engine.model import (
    CheckResult,
    Counts,
    Failure,
    FingerprintResult,
    Skip,
    TableCount,
    TableResult,
    Verdict,
)

UNCOUNTED = Skip(
    "counts", "row counts", "the source could not export a snapshot, so there are no exact counts to compare with"
)

_BRIEF_CHARS = 200
"""As much of a question or an answer as a failure repeats; the receipt's list of checks has more."""
_SUMMARY_CHARS = 300
"""As much of a failure as a line of the ledger can use; the receipt has all of it."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The verdict and what it rests on; ``failures`` are the restore's own, then one per table that differs."""

    verdict: Verdict
    tables: tuple[TableResult, ...]
    skips: tuple[Skip, ...]
    failures: tuple[Failure, ...]


def decide(
    expected: Sequence[TableCount],
    counts: Counts,
    restored: Mapping[tuple[str, str], int | None],
    skips: Sequence[Skip],
    failures: Sequence[Failure],
    lost: Collection[tuple[str, str]] = (),
    beyond: Sequence[Failure] = (),
    unread: Sequence[Skip] = (),
) -> Proof:
    """Compare every captured table and weigh skips and failures.

    ``lost``: captured tables that cannot exist without something that was not captured. Each stands among ``skips``
    with its reason; it has no restored count and is not held against the copy. Without any skip it is.
    ``beyond``: what other comparisons than that of the counts found; ``unread``: those that could not be made.
    """
    tables = tuple(
        TableResult(t.schema, t.table, t.rows if counts is Counts.EXACT else None, restored.get((t.schema, t.table)))
        for t in expected
    )
    excused = lost if skips else ()  # a table that vanished without a word is a difference
    compared = [t for t in tables if (t.schema, t.table) not in excused]
    wrong = [*failures, *(f for t in compared if (f := _difference(t, counts)) is not None), *beyond]
    named = [*skips, *unread, *([UNCOUNTED] if counts is Counts.NONE else [])]
    if wrong:
        verdict = Verdict.FAILED
    elif named:
        verdict = Verdict.PROVEN_WITH_SKIPS
    else:
        verdict = Verdict.PROVEN
    return Proof(verdict, tables, tuple(named), tuple(wrong))


def weigh(decided: Proof, fingerprints: Sequence[FingerprintResult], checks: Sequence[CheckResult]) -> Proof:
    """What content and operator checks add: another content or answer is a failure, content that cannot be read a skip.

    A table whose count differs already is not named twice.
    """
    miscounted = {(t.schema, t.table) for t in decided.tables if t.expected is not None and not t.equal}
    unread = [f for f in fingerprints if f.expected is None or f.restored is None]
    other = [f for f in fingerprints if f not in unread and f.expected != f.restored]
    named = [f for f in other if (f.schema, f.table) not in miscounted]
    failures = (*decided.failures, *map(_other_content, named), *(_unmet(c) for c in checks if not c.passed))
    skips = (*decided.skips, *map(_unread, unread))
    verdict = decided.verdict
    if failures:
        verdict = Verdict.FAILED
    elif skips and verdict is Verdict.PROVEN:
        verdict = Verdict.PROVEN_WITH_SKIPS
    return Proof(verdict, decided.tables, skips, failures)


def _other_content(found: FingerprintResult) -> Failure:
    return Failure(
        "drill.content",
        f"{found.schema}.{found.table}: as many rows as captured, but not the same content",
        "Take a new checkpoint and keep this artifact. If the new one fails too, compare the table with the source.",
    )


def _unread(found: FingerprintResult) -> Skip:
    side = "at the source" if found.expected is None else "in the restored copy"
    return Skip("content", f"{found.schema}.{found.table}", f"its fingerprint could not be computed {side}")


def _unmet(check: CheckResult) -> Failure:
    got = f"it failed: {check.error}" if check.got is None else f"the answer is {_brief(check.got)!r}"
    return Failure(
        "drill.check",
        f"check {check.name}: {_brief(check.query)} was to answer {_brief(check.expect)!r}; {got}",
        "Ask the source the same. If the check itself is wrong: `offsitedb check remove CONNECTION NAME`, then add it"
        " anew.",
    )


def _brief(text: str) -> str:
    return text if len(text) <= _BRIEF_CHARS else f"{text[:_BRIEF_CHARS]}…"


def _difference(table: TableResult, counts: Counts) -> Failure | None:
    name = f"{table.schema}.{table.table}"
    if table.restored is None:
        return Failure(
            "drill.mismatch",
            f"{name}: the table is not in the restored copy",
            "Read the restore's own failures above: one of them says why the table could not be created.",
        )
    if counts is Counts.EXACT and not table.equal:
        return Failure(
            "drill.mismatch",
            f"{name}: {table.restored:,} of {table.expected:,} rows",
            "Read the restore's own failures above. If there are none, take a new checkpoint and keep this artifact.",
        )
    return None


def summary(failures: Sequence[Failure]) -> str:
    """The first failure in words, for a list; empty when there is none."""
    return failures[0].message.replace("\0", "")[:_SUMMARY_CHARS] if failures else ""
