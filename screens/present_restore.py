"""A restore into a server of the user's in words: what it would do, and what came of it. Pure text."""

from __future__ import annotations

from engine.model import CheckStatus
from engine.model.restoring import Parts, RestoreRecord, TargetPlan
from screens.phrase import Phrase, Tone, joined, paragraphs
from screens.present import human_bytes, human_seconds

_MARKS = {
    CheckStatus.OK: ("✓", Tone.GOOD),
    CheckStatus.INFO: ("i", Tone.DIM),
    CheckStatus.WARN: ("!", Tone.WARN),
    CheckStatus.FAIL: ("✗", Tone.BAD),
}
_MOST = 40
"""Lines of a list that are shown; the rest is counted. ``--json`` has all of them."""


def plan_lines(plan: TargetPlan) -> tuple[Phrase, ...]:
    """The whole plan: where to, what is there, what comes, what goes, what stays away, what is wrong."""
    target = plan.target
    tls = "unix socket" if target.tls.transport == "unix" else f"sslmode {target.tls.sslmode}"
    if target.tls.transport != "unix":
        tls += f", {target.tls.version}" if target.tls.in_use else ", not encrypted"
    lines = [
        _row("snapshot", f"{plan.snapshot_id[:12]} of {plan.connection}, taken {plan.taken_at:%Y-%m-%d %H:%M:%S} UTC"),
        _row("from", f"PostgreSQL {plan.source_version}"),
        _row("into", target.address, Tone.STRONG),
        _row("database", target.database, Tone.STRONG),
        _row("", joined([f"PostgreSQL {target.version}", f"role {target.role}", tls]).text),
        _row("there now", _there(plan)),
        _row("restored", _what(plan)),
    ]
    created = ", ".join(f"{n:,} {kind}" for kind, n in plan.creates.items())
    if plan.options.parts is not Parts.DATA:
        lines.append(_row("creates", created or "nothing"))
    if plan.loads:
        lines.append(_row("loads", f"{len(plan.loads):,} tables, {plan.rows:,} rows"))
        lines += _some([f"{t.schema}.{t.table}  {'' if t.rows is None else f'{t.rows:,} rows'}" for t in plan.loads])
    if plan.drops:
        lines.append(_row("DROPS FIRST", f"{things(len(plan.drops))} at the target", Tone.BAD))
        lines += _some(list(plan.drops))
    if plan.uses:
        lines.append(_row("uses", f"{', '.join(plan.uses)}: as they are at the target"))
    if plan.left_out:
        lines.append(_row("left out", things(len(plan.left_out))))
        lines += _some([f"{x.kind} {x.name}: {x.reason}" for x in plan.left_out])
    lines.append(_row("how", _how(plan)))
    for found in plan.findings:
        mark, tone = _MARKS[found.status]
        lines.append(Phrase(f"{mark} ", tone) + Phrase(found.detail))
        lines += [Phrase("    ") + line for line in paragraphs(found.fix_sql or "", Tone.CODE) if line]
    return tuple(lines)


def outcome_lines(record: RestoreRecord) -> tuple[Phrase, ...]:
    """What came of it, in the first line; then what differs, what failed, what is left."""
    outcome = record.outcome
    words = {
        "restored": ("✓ RESTORED", Tone.GOOD),
        "differs": ("✗ RESTORED, ROWS DIFFER", Tone.BAD),
        "failed": ("✗ NOT RESTORED", Tone.BAD),
        "cancelled": ("– cancelled", Tone.STRONG),
    }
    word, tone = words.get(outcome.state, (outcome.state, Tone.STRONG))
    equal = sum(t.equal for t in outcome.tables)
    counts = f"{equal:,} of {len(outcome.tables):,} tables equal" if outcome.tables else ""
    rows = f"{outcome.rows:,} rows" if outcome.tables else ""
    took = human_seconds(outcome.fetch_s + outcome.restore_s + outcome.verify_s)
    parts = [Phrase(word, tone), Phrase(outcome.target.address), Phrase(counts), Phrase(rows), Phrase(took)]
    lines = [joined([part for part in parts if part])]
    for table in outcome.differing:
        there = "not counted" if table.restored is None else f"{table.restored:,}"
        captured = "not counted" if table.expected is None else f"{table.expected:,}"
        name = Phrase(f"{table.schema}.{table.table}")
        lines.append(Phrase("  ✗ ", Tone.BAD) + name + Phrase(f": {there} rows, captured {captured}"))
    for failure in outcome.failures:
        lines.append(Phrase("  ✗ ", Tone.BAD) + Phrase(failure.message))
        lines += [Phrase("    → ", Tone.DIM) + line for line in paragraphs(failure.hint) if line]
    if outcome.left_out:
        lines.append(Phrase(f"  left out: {things(len(outcome.left_out))}", Tone.DIM))
        lines += [Phrase(f"    {x.kind} {x.name}: {x.reason}", Tone.DIM) for x in outcome.left_out[:_MOST]]
    lines.append(Phrase("  at the target is ", Tone.DIM) + Phrase(outcome.remains))
    return tuple(lines)


def things(n: int) -> str:
    """``1 object``."""
    return "1 object" if n == 1 else f"{n:,} objects"


def _row(label: str, text: str, tone: Tone = Tone.PLAIN) -> Phrase:
    return Phrase(label, Tone.DIM).fit(13) + Phrase(text, tone)


def _some(names: list[str]) -> list[Phrase]:
    more = [Phrase(f"               and {len(names) - _MOST:,} more", Tone.DIM)] if len(names) > _MOST else []
    return [Phrase("               ") + Phrase(name) for name in names[:_MOST]] + more


def _there(plan: TargetPlan) -> str:
    there = plan.there
    large = f", {there.large_objects:,} large objects" if there.large_objects else ""
    if not there.tables and not there.others:
        return large.lstrip(", ") or "nothing that anybody made"
    schemas = ", ".join(there.schemas[:6]) + (" …" if len(there.schemas) > 6 else "")
    about = f"about {there.rows_estimate:,} rows" if there.rows_estimate else "rows not estimated"
    things = f"{there.tables:,} tables, {there.others:,} other objects"
    return f"{things} in {schemas}{large}; {about}, {human_bytes(there.size_bytes)}"


def _what(plan: TargetPlan) -> str:
    options = plan.options
    chosen = [*options.tables, *(f"schema {s}" for s in options.schemas)]
    what = ", ".join(chosen) if chosen else "everything in the snapshot"
    parts = {Parts.DATA: "the rows alone", Parts.SCHEMA: "the definitions alone"}.get(options.parts)
    return f"{what}: {parts}" if parts else what


def _how(plan: TargetPlan) -> str:
    program = f"pg_restore {plan.pg_restore}".strip()
    if plan.all_or_nothing:
        return f"{program}, one transaction: a failure or cancel leaves nothing of it"
    return f"{program}, {plan.options.jobs} sessions at once: A FAILURE OR CANCEL LEAVES A PARTIAL COPY"
