"""How statements are put together: plain sentences, instants in UTC, long lists cut, credentials taken out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypedDict

from engine.model.posture import PostureFact, Standing, Statement
from engine.redact import redact

HOLDS, WEAKER, UNKNOWN, LIMIT = Standing.HOLDS, Standing.WEAKER, Standing.UNKNOWN, Standing.LIMIT
_LONGEST = 400
"""Characters of one value: names come from other people's databases."""

Facts = Iterable[tuple[str, object]]


class Where(TypedDict):
    """What a statement is about, and where a console mends it."""

    subject: str
    place: str


def say(
    text: str, facts: Facts, standing: Standing = HOLDS, *, mend: str = "", subject: str = "", place: str = ""
) -> Statement:
    """A statement. ``mend`` counts only where it stands weaker than recommended."""
    told = tuple(PostureFact(name, value_text(value)) for name, value in facts)
    return Statement(redact(text), standing, told, subject, mend if standing is WEAKER else "", place)


def value_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return instant(value)
    if value is None:
        return "none"
    text = redact(str(value))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def ago(now: datetime, at: datetime) -> str:
    """``3 days ago``: the largest unit that is there at least twice."""
    seconds = max((now - at).total_seconds(), 0.0)
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}s ago"
    return "just now"


def span(seconds: float) -> str:
    """``36 h``, ``15 min``."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def listed(names: Iterable[str], limit: int = 6) -> str:
    """``a, b, c and 4 more``."""
    every = list(names)
    shown = ", ".join(name[:80] for name in every[:limit])
    return shown if len(every) <= limit else f"{shown} and {len(every) - limit} more"


def plural(n: int, one: str, many: str | None = None) -> str:
    """``1 table``, ``3 tables``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
