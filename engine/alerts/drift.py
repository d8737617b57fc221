"""When drift is worth telling: tables that are gone, and tables that lost more of their rows than the limit. Pure."""

from __future__ import annotations

from engine.model.watch import Drift, RowDelta

DEFAULT_LIMIT = 0.5
"""What a table may lose where nobody has set a limit: half of its rows."""
OFF = 1.0
"""As a limit: nothing is told, not even that tables are gone."""
_NAMED = 3


def told(drift: Drift, limit: float) -> str | None:
    """What is to be told of ``drift``, in words; None when it stays within ``limit`` (a fraction of the rows)."""
    if drift.previous_id is None or limit >= OFF:
        return None
    lost = shrunken(drift, limit)
    parts = []
    if drift.gone:
        noun = "table is" if len(drift.gone) == 1 else "tables are"
        parts.append(f"{len(drift.gone)} {noun} gone: {_some(list(drift.gone))}")
    if lost:
        noun = "table" if len(lost) == 1 else "tables"
        parts.append(f"{len(lost)} {noun} shrank by more than {limit:.0%}: {_some([_shrunk(delta) for delta in lost])}")
    return "; ".join(parts) or None


def shrunken(drift: Drift, limit: float) -> list[RowDelta]:
    """Tables that lost more than ``limit`` of their rows, those that lost most first."""
    lost = [delta for delta in drift.rows if delta.before > 0 and delta.before - delta.after > limit * delta.before]
    return sorted(lost, key=lambda d: (d.after / d.before, d.schema, d.table))


def _shrunk(delta: RowDelta) -> str:
    return f"{delta.schema}.{delta.table} {delta.before:,} → {delta.after:,} rows"


def _some(words: list[str]) -> str:
    more = len(words) - _NAMED
    return ", ".join(words[:_NAMED]) + (f" and {more} more" if more > 0 else "")
