"""A job in words, as it runs and as it ended: phases, tables, the verdict and what to do next. Pure text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from engine.model import JobKind, JobState, Verdict
from engine.model.records import JobProgress
from engine.model.views import DrillView, JobView
from engine.model.watch import LiveJob, PhaseTime, TableProgress, Usual
from screens import present_restore
from screens.fact import harmless
from screens.phrase import Phrase, Tone, joined, next_steps
from screens.present import (
    both_times,
    clock_time,
    human_bytes,
    human_seconds,
    percent,
    short_seconds,
    speed_text,
    tables_text,
    verdict_phrase,
)
from screens.present_compared import structure_line

SNAPSHOT_PHASES = ("preflight", "lock", "dump", "register")
DRILL_PHASES = ("fetch", "scratch", "list", "restore", "verify")
RESTORE_PHASES = ("fetch", "list", "restore", "verify")
PRUNE_PHASES = ("prune",)
TITLES = {
    "preflight": "look at the database",
    "lock": "take a consistent view",
    "dump": "dump, encrypt, upload",
    "register": "finish the upload",
    "fetch": "fetch, check, decrypt",
    "scratch": "start a scratch cluster",
    "list": "read the contents",
    "restore": "restore data and indexes",
    "verify": "count and compare",
    "prune": "remove what is not kept",
}
_NAME = 26
_TIME = 12


def short_id(id_: str) -> str:
    """``7f3c…a1``."""
    return f"{id_[:4]}…{id_[-2:]}"


def title(live: LiveJob, now: datetime) -> Phrase:
    """``Drill of prod-api · snapshot 7f3c…a1 · taken 14:00:11 · 412.3 MB``."""
    job, snapshot = live.job, live.attempt.snapshot
    what = {JobKind.DRILL: "Drill", JobKind.RESTORE: "Restore", JobKind.PRUNE: "Pruning"}.get(job.kind, "Checkpoint")
    first = Phrase(f"{what} of ") + Phrase(job.connection, Tone.STRONG)
    tag = Phrase(job.tag or "", Tone.CODE)
    if snapshot is None:
        return joined([first, Phrase(f"asked for at {clock_time(job.created_at, now)}"), tag])
    taken = f"taken {clock_time(snapshot.taken_at, now)}"
    return joined([first, f"snapshot {short_id(snapshot.id)}", taken, human_bytes(snapshot.size_bytes), tag])


# while it runs


def phase_lines(live: LiveJob, width: int, *, brief: bool) -> tuple[Phrase, ...]:
    """One line a phase. ``brief``: the snapshot of a checkpoint takes one line when its drill has begun."""
    now = _phase_now(live)
    past = {phase.phase: phase for phase in live.phases}
    order = _order(live)
    at = order.index(now) if now in order else -1
    lines: list[Phrase] = []
    for n, name in enumerate(order):
        if n == at and live.job.progress is not None:
            lines.append(_running_line(name, live, live.job.progress, width))
        elif name in past or n < at:
            lines.append(_past_line(name, past.get(name), width))
        else:
            lines.append(_coming_line(name, live.usual, width))
    taken = len(SNAPSHOT_PHASES)
    if brief and live.job.kind is JobKind.CHECKPOINT and at >= taken:
        return (_snapshot_line(live, width), *lines[taken:])
    return tuple(lines)


def _order(live: LiveJob) -> list[str]:
    """The phases of this kind of job; one that this program does not know yet stands where it came."""
    drill = DRILL_PHASES if live.job.with_drill else ()
    order = [*(SNAPSHOT_PHASES if live.job.kind is JobKind.CHECKPOINT else ()), *drill]
    if live.job.kind is JobKind.RESTORE:
        order = [*RESTORE_PHASES]
    if live.job.kind is JobKind.PRUNE:
        order = [*PRUNE_PHASES]
    seen = [*(phase.phase for phase in live.phases), _phase_now(live)]
    for n, name in enumerate(seen):
        if name and name not in order:
            order.insert(order.index(seen[n - 1]) + 1 if n else 0, name)
    return order


def _phase_now(live: LiveJob) -> str:
    running = live.job.state is JobState.RUNNING and live.job.progress is not None
    return live.job.progress.phase if running and live.job.progress is not None else ""


def _line(glyph: Phrase, name: Phrase, detail: Phrase, time: str, width: int) -> Phrase:
    room = max(0, width - 3 - _NAME - _TIME - 1)
    return Phrase(" ") + glyph + Phrase(" ") + name.fit(_NAME) + detail.fit(room) + Phrase(time).fit(_TIME, right=True)


def _past_line(name: str, past: PhaseTime | None, width: int) -> Phrase:
    detail = Phrase(_counted(past), Tone.DIM) if past is not None else Phrase()
    time = human_seconds(past.seconds) if past is not None else ""
    return _line(Phrase("✓", Tone.GOOD), Phrase(_named(name)), detail, time, width)


def _coming_line(name: str, usual: Usual | None, width: int) -> Phrase:
    seconds = usual_seconds(name, usual)
    text = f"usually {human_seconds(seconds)}" if seconds else ""
    return _line(Phrase("–", Tone.DIM), Phrase(_named(name), Tone.DIM), Phrase(text, Tone.DIM), "", width)


def _running_line(name: str, live: LiveJob, progress: JobProgress, width: int) -> Phrase:
    glyph, words = Phrase("●", Tone.BUSY), Phrase(_named(name), Tone.STRONG)
    if not progress.total:
        note = Phrase(progress.note or "", Tone.DIM)
        return Phrase(" ") + glyph + Phrase(" ") + words.fit(_NAME) + note
    done = progress.done / progress.total
    size = 30 if width >= 100 else 18
    far = f"{percent(progress.done, progress.total):>5}  {_how_far(name, live, progress)}"
    return Phrase(" ") + glyph + Phrase(" ") + words.fit(_NAME) + bar(done, size) + Phrase(far)


def bar(share: float, columns: int) -> Phrase:
    """``██████░░░``: full only at the end."""
    full = min(columns - 1, int(share * columns)) if share < 1 else columns
    return Phrase("█" * full, Tone.BUSY) + Phrase("░" * (columns - full), Tone.DIM)


def _how_far(name: str, live: LiveJob, progress: JobProgress) -> str:
    if name == "restore" and live.tables_done:
        return f"{live.tables_done:,} of {len(live.tables):,} tables"
    if progress.unit == "bytes":
        done, total = human_bytes(progress.done), human_bytes(progress.total or 0)
        return f"{done.split()[0] if done.split()[1] == total.split()[1] else done} of {total}"
    return f"{progress.done:,} of {progress.total or 0:,} {progress.unit}"


def _snapshot_line(live: LiveJob, width: int) -> Phrase:
    """The snapshot's phases in one line, once its drill has begun."""
    seconds = sum(phase.seconds for phase in live.phases if phase.phase in SNAPSHOT_PHASES)
    snapshot = live.attempt.snapshot
    detail = joined([tables_text(snapshot), human_bytes(snapshot.size_bytes)]).text if snapshot is not None else ""
    time = human_seconds(seconds) if seconds else ""
    return _line(Phrase("✓", Tone.GOOD), Phrase("snapshot"), Phrase(detail, Tone.DIM), time, width)


def _named(phase: str) -> str:
    return TITLES.get(phase, phase)


def _counted(past: PhaseTime) -> str:
    if past.unit == "bytes" and past.done:
        return human_bytes(past.done)
    if past.unit == "tables" and past.done:
        return f"{past.total or past.done:,} tables"
    return ""


def usual_seconds(phase: str, usual: Usual | None) -> float | None:
    """What earlier drills took for a phase, where they tell."""
    if usual is None:
        return None
    t = usual.timings
    known = {
        "dump": usual.snapshot_s,
        "fetch": t.fetch_s + t.open_s,
        "scratch": t.scratch_s,
        "list": t.list_s,
        "restore": t.restore_s,
        "verify": t.verify_s,
    }
    return known.get(phase)


def live_line(live: LiveJob, now: datetime, last_s: float | None, workers: int) -> Phrase:
    """``elapsed 1 min 02 s · ETA 41 s · 38 MB/s · last drill 94 s``."""
    job = live.job
    restores = job.kind is JobKind.RESTORE
    last = Phrase(f"last drill {short_seconds(last_s)}", Tone.DIM) if last_s and not restores else Phrase()
    if job.state is JobState.QUEUED:
        waits = Phrase(f"● waiting for a worker since {clock_time(job.created_at, now)}", Tone.BUSY)
        if not workers:
            waits = Phrase("! no worker is running", Tone.WARN) + Phrase(": w starts one for this session")
        return Phrase(" ") + joined([waits, last])
    if job.cancel_requested:
        left = (
            "it ends in a moment and says what is left" if restores else "it ends in a moment and leaves nothing behind"
        )
        return Phrase(" ") + Phrase("● cancelling", Tone.BUSY) + Phrase(f": {left}")
    elapsed = (now - job.started_at).total_seconds() if job.started_at else 0.0
    eta = Phrase(f"ETA {_whole(live.eta_s)}") if live.eta_s is not None else Phrase()
    return Phrase(" ") + joined([f"elapsed {_whole(elapsed)}", eta, speed_text(job), last])


def _whole(seconds: float) -> str:
    return human_seconds(seconds) if seconds >= 10 else f"{max(0.0, seconds):.0f} s"


def table_order(tables: Iterable[TableProgress], *, ended: bool) -> list[TableProgress]:
    """Running ones first, in the end the ones that differ; then as they come, largest first."""
    if ended:
        return sorted(tables, key=lambda t: t.expected is not None and t.expected == t.restored)
    return sorted(tables, key=lambda t: t.done or t.restored is None)


def table_cells(table: TableProgress, live: LiveJob) -> tuple[Phrase, ...]:
    """Name, expected, restored, a word."""
    expected = "–" if table.expected is None else f"{table.expected:,}"
    restored = "" if table.restored is None else f"{table.restored:,}"
    return Phrase(f"{table.schema}.{table.table}"), Phrase(expected), Phrase(restored), _table_word(table, live)


def _table_word(table: TableProgress, live: LiveJob) -> Phrase:
    if live.attempt.drill is not None or live.restore is not None:
        if table.expected is None or table.restored is None:
            return Phrase("? not counted", Tone.WARN)
        return Phrase("✓", Tone.GOOD) if table.expected == table.restored else Phrase("✗ differs", Tone.BAD)
    if table.done:
        return Phrase("✓", Tone.GOOD)
    if live.job.state.ended:
        return Phrase("not restored", Tone.DIM)
    if table.restored is not None:
        return Phrase(f"● {percent(table.restored, table.expected)}".rstrip(), Tone.BUSY)
    told = live.tables_done or any(t.restored is not None for t in live.tables)
    return Phrase("waiting" if told or _phase_now(live) != "restore" else "", Tone.DIM)


# when it ended


def outcome(live: LiveJob, now: datetime) -> tuple[Phrase, ...]:
    """The verdict, or why there is none, with what to do next; then timings, skips and what was not captured."""
    if live.job.kind is JobKind.RESTORE:
        return tuple(_restore_lines(live, now))
    if live.job.kind is JobKind.PRUNE:
        return tuple(_prune_lines(live.job, now))
    if live.attempt.drill is not None:
        return tuple(_receipt_lines(live))
    return tuple(_without_verdict(live.job, now, has_snapshot=live.attempt.snapshot is not None))


def _restore_lines(live: LiveJob, now: datetime) -> list[Phrase]:
    """What a restore came to at its target; without a record it has touched none."""
    job, record = live.job, live.restore
    error = [] if job.state is JobState.CANCELLED else _error_lines(job)
    if record is not None:
        lines = [Phrase(" ") + line for line in present_restore.outcome_lines(record)]
        return lines if record.outcome.failures else [lines[0], *error, *lines[1:]]
    at = f" at {clock_time(job.finished_at, now)}" if job.finished_at else ""
    first = " – cancelled" if job.state is JobState.CANCELLED else " ✗ NOT RESTORED"
    tone = Tone.STRONG if job.state is JobState.CANCELLED else Tone.BAD
    return [Phrase(first, tone) + Phrase(at, Tone.DIM), *error, Phrase("   The target was not touched.", Tone.DIM)]


def _prune_lines(job: JobView, now: datetime) -> list[Phrase]:
    """What a pruning came to; the log names every snapshot."""
    at = Phrase(f" at {clock_time(job.finished_at, now)}" if job.finished_at else "", Tone.DIM)
    did = job.progress.note if job.progress is not None else ""
    log = Phrase("   l shows the job's log: every snapshot, and what is true of it now.", Tone.DIM)
    if job.state is JobState.SUCCEEDED:
        return [Phrase(" ✓ pruned", Tone.GOOD) + at, Phrase(f"   {did}"), log]
    if job.state is JobState.CANCELLED:
        return [Phrase(" – cancelled", Tone.STRONG) + at, Phrase(f"   {did}"), log]
    return [Phrase(" ✗ the pruning did not end well", Tone.BAD) + at, *_error_lines(job), log]


def blocked_lines(job: JobView) -> tuple[Phrase, ...]:
    """A job that waits for the master key."""
    lines = [Phrase(" ! BLOCKED", Tone.BAD) + Phrase(": the master key cannot be had. The job waits for it.")]
    lines += _error_lines(job)
    lines.append(Phrase("   → ", Tone.DIM) + Phrase("6 Settings, Key and recovery: put the key back with the code."))
    lines.append(Phrase("     ") + Phrase("The job then goes on by itself; x cancels it.", Tone.DIM))
    return tuple(lines)


def _receipt_lines(live: LiveJob) -> list[Phrase]:
    drill, snapshot = live.attempt.drill, live.attempt.snapshot
    assert drill is not None
    rows = sum(t.restored or 0 for t in drill.tables)
    equal = sum(t.equal for t in drill.tables)
    count = f"{equal:,} of {len(drill.tables):,} tables equal" if equal != len(drill.tables) else f"{equal:,} tables"
    verdict = verdict_phrase(drill.verdict, len(drill.skips))
    lines = [Phrase(" ") + joined([verdict, count, f"{rows:,} rows", f"restored in {human_seconds(drill.restore_s)}"])]
    for failure in drill.failures:
        lines.append(Phrase(" ✗ ", Tone.BAD) + Phrase(failure.message) + Phrase(f"  [{failure.code}]", Tone.DIM))
        lines += next_steps(failure.hint, "   ")
    lines += _structure_lines(drill)
    if drill.verdict is Verdict.COULD_NOT_VERIFY:
        lines.append(Phrase("   This says nothing about the snapshot. Mend it, then d drills again.", Tone.DIM))
    lines.append(_timings_line(live))
    if snapshot is not None and snapshot.not_captured:
        lines.append(Phrase(f" ! not captured: {_things(len(snapshot.not_captured))}", Tone.WARN))
        lines += [_thing(n.kind, n.name, n.reason) for n in snapshot.not_captured]
    if drill.skips:
        lines.append(Phrase(f" i skipped, cannot be tried in a drill: {_things(len(drill.skips))}"))
        lines += [_thing(s.kind, s.name, s.reason) for s in drill.skips]
    if drill.normalised:
        lines.append(Phrase(f" i replayed in another form, nothing lost: {_things(len(drill.normalised))}"))
        lines += [_thing(n.kind, n.name, n.reason) for n in drill.normalised]
    where = drill.isolation
    fenced = f"sandbox {where.sandbox}, {'no network' if where.network == 'none' else f'network {where.network}'}"
    on = f"PostgreSQL {drill.versions.scratch}" if drill.versions.scratch else ""
    lines.append(Phrase(" ") + joined([Phrase(t, Tone.DIM) for t in (both_times(drill.drilled_at), on, fenced) if t]))
    return lines


def _structure_lines(drill: DrillView) -> list[Phrase]:
    """What was compared besides rows; what differs stands among the failures."""
    said = structure_line(drill)
    if said is None:
        return []
    line, tone = said
    glyph = {Tone.GOOD: "✓", Tone.BAD: "✗", Tone.WARN: "!"}.get(tone, "i")
    return [Phrase(f" {glyph} ", tone) + Phrase(f"structure: {line}")]


def _timings_line(live: LiveJob) -> Phrase:
    drill = live.attempt.drill
    assert drill is not None
    t = drill.timings
    parts = (
        ("fetch", t.fetch_s),
        ("decrypt", t.open_s),
        ("server", t.scratch_s),
        ("list", t.list_s),
        ("restore", t.restore_s),
        ("compare", t.verify_s),
    )
    return Phrase(" ") + joined([Phrase(f"{name} {short_seconds(s)}", Tone.DIM) for name, s in parts if s >= 0.05])


def _without_verdict(job: JobView, now: datetime, *, has_snapshot: bool) -> list[Phrase]:
    at = f" at {clock_time(job.finished_at, now)}" if job.finished_at else ""
    if job.state is JobState.CANCELLED:
        lines = [Phrase(f" – cancelled{at}", Tone.STRONG)]
        if has_snapshot:
            return [*lines, Phrase("   The snapshot is kept, but nothing has proven it: d drills it.", Tone.DIM)]
        return [*lines, Phrase("   Nothing was registered and nothing is left behind. c starts another.", Tone.DIM)]
    if has_snapshot and job.state is JobState.SUCCEEDED:
        policy = "The snapshot is kept. The drill policy spares this one: d drills it."
        return [verdict_phrase(None).fit(12) + Phrase(at, Tone.DIM), Phrase(f"   {policy}", Tone.DIM)]
    what = "the drill ended without a verdict" if has_snapshot else "no snapshot was made"
    again = "d drills the snapshot again" if has_snapshot else "c tries again"
    lines = [Phrase(f" ✗ {what}", Tone.BAD) + Phrase(at, Tone.DIM), *_error_lines(job)]
    return [*lines, Phrase(f"   When that is mended: {again}. l shows the job's log.", Tone.DIM)]


def _error_lines(job: JobView) -> list[Phrase]:
    if job.error is None:
        return []
    said = Phrase("   ") + Phrase(job.error.message) + Phrase(f"  [{job.error.code}]", Tone.DIM)
    return [said, *next_steps(job.error.hint, "   ")]


def _things(n: int) -> str:
    return "1 object" if n == 1 else f"{n:,} objects"


def _thing(kind: str, name: str, reason: str) -> Phrase:
    return Phrase("     ") + Phrase(f"{kind.lower()} ", Tone.DIM) + Phrase(name) + Phrase(f": {reason}", Tone.DIM)


def error_text(live: LiveJob) -> str | None:
    """What went wrong with its codes and hints, to be copied; None when nothing did."""
    found = [(f.message, f.code, f.hint) for f in live.attempt.drill.failures] if live.attempt.drill else []
    if live.restore is not None:
        found = [(f.message, f.code, f.hint) for f in live.restore.outcome.failures]
    if not found and live.job.error is not None:
        found = [(live.job.error.message, live.job.error.code, live.job.error.hint)]
    texts = [f"{message} [{code}]" + (f"\n{hint}" if hint else "") for message, code, hint in found]
    return harmless("\n".join([*texts, f"job {live.job.id}"])) if texts else None


def log_lines(live: LiveJob) -> tuple[Phrase, ...]:
    """The tail of the job's log, newest last."""
    tones = {"warning": Tone.WARN, "error": Tone.BAD}
    return tuple(
        Phrase(f" {line.at.astimezone():%H:%M:%S}  ", Tone.DIM)
        + Phrase(f"{line.level:<8}", tones.get(line.level, Tone.DIM))
        + Phrase(line.text)
        for line in live.log
    ) or (Phrase(" the log is empty so far", Tone.DIM),)


def position_text(recent: Sequence[JobView], job_id: str) -> str:
    """``[ 2/14 ]``: the keys that step, and the job's place among the recent ones, newest first."""
    place = next((n for n, job in enumerate(recent, 1) if job.id == job_id), None)
    return f"[ {place}/{len(recent)} ]" if place is not None and len(recent) > 1 else ""
