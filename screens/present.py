"""Values in words: sizes, durations, the ledger line, the tables of a drill. Pure text: no Textual, no terminal."""

from __future__ import annotations

import unicodedata

from engine.model import Verdict
from engine.model.views import Attempt, DrillView, SnapshotView

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
        (verdict_text(drill) if drill is not None else "unproven") + (f"  {snapshot.tag}" if snapshot.tag else ""),
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


def visible(text: str, *, keep: str = "") -> str:
    """``text`` with control, bidi and zero-width characters made visible; ``keep`` lists those that may stay."""
    out: list[str] = []
    for ch in text:
        if ch in keep or (ch == " ") or unicodedata.category(ch) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            out.append(ch)
        elif ord(ch) < 0x20:
            out.append(chr(0x2400 + ord(ch)))
        else:
            out.append(f"<{ord(ch):04x}>")
    return "".join(out)


def width(text: str) -> int:
    """Columns that ``text`` takes on a terminal."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )


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
