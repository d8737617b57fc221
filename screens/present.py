"""Values in words: sizes, durations, the ledger line, the tables of a drill. Pure text: no Textual, no terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.cells import cell_len

from engine.model import JobState, Verdict
from engine.model.views import Attempt, DrillView, JobView, SnapshotView
from engine.model.watch import Headline, LedgerLine, Overview
from screens.phrase import Phrase, Tone, joined
from screens.phrase import visible as visible

GLYPHS = {
    Verdict.PROVEN: "⛭",
    Verdict.PROVEN_WITH_SKIPS: "⛭",
    Verdict.FAILED: "✗",
    Verdict.COULD_NOT_VERIFY: "?",
}


def verdict_text(drill: DrillView) -> str:
    """``⛭ PROVEN WITH SKIPS (3)``."""
    skips = f" ({len(drill.skips)})" if drill.verdict is Verdict.PROVEN_WITH_SKIPS else ""
    return f"{GLYPHS[drill.verdict]} {drill.verdict}{skips}"


def ledger_line(attempt: Attempt) -> str:
    """``⛭ PROVEN · 22 tables · 46,273 rows · 2.9 s``; with coverage where not every table was captured."""
    snapshot, drill = attempt.snapshot, attempt.drill
    if snapshot is None:
        return f"✗ no snapshot · {attempt.job.error.message if attempt.job.error else attempt.job.state}"
    parts = [verdict_text(drill) if drill is not None else "unproven", tables_text(snapshot), f"{snapshot.rows:,} rows"]
    if drill is not None:
        parts.append(human_seconds(drill.restore_s))
    return " · ".join(parts)


def tables_text(snapshot: SnapshotView) -> str:
    if snapshot.tables == snapshot.tables_in_source:
        return f"{snapshot.tables} tables"
    return f"{snapshot.tables} of {snapshot.tables_in_source} tables"


def ledger_row(attempt: Attempt) -> tuple[object, ...]:
    """Time, connection, verdict, tables, rows, size, restore time, id."""
    snapshot, drill = attempt.snapshot, attempt.drill
    at = snapshot.taken_at if snapshot is not None else attempt.job.created_at
    when = at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if snapshot is None:
        what = attempt.job.error.code if attempt.job.error is not None else str(attempt.job.state)
        return when, attempt.job.connection, f"✗ no snapshot: {what}", "", "", "", "", f"job {attempt.job.id[:12]}"
    return (
        when,
        snapshot.connection,
        (verdict_text(drill) if drill is not None else "unproven")
        + (f"  {snapshot.tag}" if snapshot.tag else "")
        + (f"  ({snapshot.removal.result})" if snapshot.removal is not None else ""),
        tables_text(snapshot).removesuffix(" tables"),
        f"{snapshot.rows:,}",
        human_bytes(snapshot.size_bytes),
        human_seconds(drill.restore_s) if drill is not None else "",
        snapshot.id[:12],
    )


def count_rows(drill: DrillView) -> list[tuple[object, ...]]:
    """Per table: name, expected, restored, a word."""
    return [
        (
            f"{t.schema}.{t.table}",
            "–" if t.expected is None else f"{t.expected:,}",
            "–" if t.restored is None else f"{t.restored:,}",
            "✓" if t.equal else "✗",
        )
        for t in drill.tables
    ]


def width(text: str) -> int:
    """Columns that ``text`` takes on a terminal."""
    return cell_len(text)


def pad(text: str, columns: int, *, right: bool = False) -> str:
    space = " " * max(columns - width(text), 0)
    return space + text if right else text + space


def human_bytes(n: float) -> str:
    """``412.3 MB``: decimal units, as storage is billed."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(n) < 1000 or unit == "TB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    raise AssertionError


def human_seconds(s: float) -> str:
    """``94 s``, ``3 min 08 s``, ``2 h 05 min``; tenths below ten seconds."""
    if s < 10:
        return f"{s:.1f} s"
    if s < 120:
        return f"{s:.0f} s"
    if s < 7200:
        return f"{int(s // 60)} min {int(s % 60):02d} s"
    return f"{int(s // 3600)} h {int(s % 3600 // 60):02d} min"


def human_rows(n: int) -> str:
    """``9.2M``: rows at a glance; exact up to 99,999."""
    if n < 100_000:
        return f"{n:,}"
    for unit, size in (("k", 10**3), ("M", 10**6), ("G", 10**9), ("T", 10**12)):
        if n < 1000 * size or unit == "T":
            return f"{n / size:.1f}{unit}"
    raise AssertionError


def human_age(seconds: float) -> str:
    """``just now``, ``12 min ago``, ``3 h 12 m ago``, ``4 d ago``: minutes at the finest, so that it seldom changes."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} m ago"
    return f"{minutes // (24 * 60)} d ago"


def short_seconds(s: float) -> str:
    """``94 s``, ``12 min``, ``2.5 h``: for columns."""
    if s < 600:
        return f"{s:.1f} s" if s < 10 else f"{s:.0f} s"
    return f"{s / 60:.0f} min" if s < 7200 else f"{s / 3600:.1f} h"


def human_span(seconds: float) -> str:
    """``90 s``, ``15 min``, ``6 h``, ``2 d``: a target, in the unit it was said in."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return human_seconds(seconds)


def clock_time(at: datetime, now: datetime) -> str:
    """Local time: ``14:02:10`` today, ``11-23 14:02`` this year, ``2025-11-23`` before."""
    local, today = at.astimezone(), now.astimezone()
    if local.date() == today.date():
        return local.strftime("%H:%M:%S")
    return local.strftime("%m-%d %H:%M" if local.year == today.year else "%Y-%m-%d")


def both_times(at: datetime) -> str:
    """Local time with its zone, and UTC where that is another: for screens with room."""
    local = at.astimezone()
    text = f"{local:%Y-%m-%d %H:%M:%S %Z}"
    return text if not local.utcoffset() else f"{text} ({at:%H:%M:%S} UTC)"


_BARS = "▁▂▃▄▅▆▇█"
TREND = 8
"""Restore times that a trend shows."""


def trend_text(seconds: Sequence[float]) -> str:
    """``▂▃▃▂▄▃``: restore times against the longest of them, oldest first."""
    top = max(seconds, default=0.0)
    return "".join(_BARS[min(7, int(s / top * 8))] if top > 0 else _BARS[0] for s in seconds)


def verdict_phrase(verdict: Verdict | None, skips: int = 0) -> Phrase:
    """Glyph and word, in the verdict's tone."""
    if verdict is None:
        return Phrase("○ unproven", Tone.WARN)
    tone = Tone.GOOD if verdict.proven else Tone.BAD if verdict is Verdict.FAILED else Tone.WARN
    count = f" ({skips})" if verdict is Verdict.PROVEN_WITH_SKIPS else ""
    return Phrase(f"{GLYPHS[verdict]} {verdict}{count}", tone)


def busy_phrase(job: JobView) -> Phrase:
    """What a job that has not ended is doing: ``● restore 61 %``."""
    if job.state is JobState.QUEUED:
        return Phrase("● waiting", Tone.BUSY)
    if job.state is JobState.BLOCKED:
        return Phrase("! BLOCKED: key", Tone.BAD)
    p = job.progress
    if job.cancel_requested:
        return Phrase("● cancelling", Tone.BUSY)
    if p is None:
        return Phrase("● starting", Tone.BUSY)
    return Phrase(f"● {p.phase}", Tone.BUSY) + (
        Phrase(f" {percent(p.done, p.total)}") if percent(p.done, p.total) else ""
    )


def percent(done: int, total: int | None) -> str:
    """``61 %``, never 100 before the end; empty where the end is not known."""
    if not total:
        return ""
    return f"{min(99, done * 100 // total) if done < total else 99} %"


def speed_text(job: JobView) -> str:
    """``38.0 MB/s`` or nothing."""
    p = job.progress
    return f"{human_bytes(p.rate)}/s" if p is not None and p.rate and p.unit == "bytes" else ""


def eta_text(job: JobView) -> str:
    """``ETA 41 s`` of the phase, where its speed tells."""
    p = job.progress
    if p is None or not p.rate or not p.total or p.total <= p.done:
        return ""
    return f"ETA {short_seconds((p.total - p.done) / p.rate)}"


def headline_cells(line: Headline, now: datetime) -> tuple[Phrase, ...]:
    """Connection, provider, newest proven, target, restore p50 · worst, trend, next run."""
    if line.newest_proven_at is None:
        proven = Phrase("○ never proven", Tone.WARN)
    else:
        age = human_age((now - line.newest_proven_at).total_seconds())
        proven = Phrase(f"⛭ {age}", Tone.GOOD)
        if line.overdue:
            proven = Phrase(f"! {age} OVERDUE", Tone.BAD)
    if line.newest_proven_at is None and line.overdue:
        proven = Phrase("! never proven OVERDUE", Tone.BAD)
    times = Phrase()
    if line.restore_p50_s is not None and line.restore_worst_s is not None:
        late = line.restore_target_s is not None and line.restore_worst_s > line.restore_target_s
        times = Phrase(short_seconds(line.restore_p50_s)) + Phrase(" · ", Tone.DIM)
        times = times + Phrase(short_seconds(line.restore_worst_s), Tone.WARN if late else Tone.PLAIN)
    return (
        Phrase(line.connection, Tone.STRONG),
        Phrase(line.provider or "", Tone.DIM),
        proven,
        Phrase(human_span(line.proof_target_s) if line.proof_target_s else "–"),
        times,
        Phrase(trend_text(line.trend[-TREND:])),
        _now_running(line.job) if line.job else next_phrase(line, now),
    )


def _now_running(job: JobView) -> Phrase:
    """``● 61 %``: a running job in a narrow column."""
    if job.state is JobState.BLOCKED:
        return Phrase("! blocked", Tone.BAD)
    p = job.progress
    return Phrase("● " + ((percent(p.done, p.total) or "now") if p is not None else "queued"), Tone.BUSY)


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_S = 86_400


def next_phrase(line: Headline, now: datetime) -> Phrase:
    """``15:00`` within a day, ``Sun 03:00`` within a week, ``12-01``; ``now``; ``paused``; ``on demand``."""
    at = line.next_run_at
    if at is None:
        return Phrase("! paused", Tone.WARN) if line.paused else Phrase("on demand")
    if at <= now:
        return Phrase("now")
    local, away_s = at.astimezone(), (at - now).total_seconds()
    if away_s < _DAY_S:
        return Phrase(f"{local:%H:%M}")
    return Phrase(f"{_DAYS[local.weekday()]} {local:%H:%M}" if away_s < 6 * _DAY_S else f"{local:%m-%d}")


def line_cells(line: LedgerLine, job: JobView | None, now: datetime) -> tuple[Phrase, ...]:
    """Time, connection, verdict (or what runs), tables, rows, size, restore seconds. ``job``: the line's, running."""
    tag = Phrase(f"  {line.tag}", Tone.DIM) if line.tag else Phrase()
    tables = "" if line.tables is None else f"{line.tables:,}"
    if line.tables is not None and line.tables != line.tables_in_source:
        tables += f"/{line.tables_in_source:,}"
    restore = "" if line.restore_s is None else short_seconds(line.restore_s)
    size = "" if line.size_bytes is None else human_bytes(line.size_bytes)
    what = _line_verdict(line) + tag
    if job is not None:
        what = busy_phrase(job) + tag
        restore = eta_text(job)
        size = speed_text(job) or size
    return (
        Phrase(clock_time(line.at, now)),
        Phrase(line.connection),
        what,
        Phrase(tables),
        Phrase("" if line.rows is None else human_rows(line.rows)),
        Phrase(size),
        Phrase(restore),
    )


def _line_verdict(line: LedgerLine) -> Phrase:
    if line.snapshot_id is None:
        if line.state is JobState.CANCELLED:
            return Phrase("– cancelled", Tone.DIM)
        why = f"  {line.summary}" if line.summary else ""
        return Phrase("✗ no snapshot", Tone.BAD) + Phrase(why)
    said = verdict_phrase(line.verdict, line.skips)
    proven = line.verdict is not None and line.verdict.proven
    return said if proven or not line.summary else said + Phrase(f"  {line.summary}")


def status_line(overview: Overview) -> Phrase:
    """``worker ● up · 1 job running · here 312 GB``: the bottom line of every page."""
    if overview.workers_alive:
        many = f" ×{overview.workers_alive}" if overview.workers_alive > 1 else ""
        worker = Phrase(" worker ") + Phrase(f"● up{many}", Tone.GOOD)
    else:
        worker = Phrase(" ") + Phrase("! no worker", Tone.WARN) + Phrase(" (w starts one)")
    running = sum(1 for job in overview.jobs if job.state is JobState.RUNNING)
    waiting = sum(1 for job in overview.jobs if job.state is JobState.QUEUED)
    blocked = sum(1 for job in overview.jobs if job.state is JobState.BLOCKED)
    jobs = [
        Phrase(f"{n} {_jobs(n)} {word}", tone)
        for n, word, tone in (
            (running, "running", Tone.BUSY),
            (waiting, "waiting", Tone.PLAIN),
            (blocked, "blocked: key", Tone.BAD),
        )
        if n
    ]
    used = [Phrase(f"{d.name} {human_bytes(d.size_bytes)}") for d in overview.destinations[:2]]
    confirm = [] if overview.recovery_confirmed else [Phrase("! recovery code not confirmed", Tone.WARN)]
    return joined([worker, *(jobs or [Phrase("no job")]), *confirm, *used])


def _jobs(n: int) -> str:
    return "job" if n == 1 else "jobs"
