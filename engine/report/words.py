"""Figures in words, for people who have never seen the program: durations, sizes, counts, dates with their zone."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import date, datetime, tzinfo

LONGEST = 1200
"""Characters of one text from outside: an error message is cut here, and says so."""

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
NBSP = "\u00a0"
"""Between a number and its unit, which no line may part."""

_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_PLURALS = {"is": "are", "was": "were", "has": "have", "day without": "days without", "copy": "copies"}


def visible(text: str) -> str:
    """``text`` with control, bidi and zero-width characters made visible, line feeds too, and cut where it is long."""
    if len(text) > LONGEST:
        text = text[: LONGEST - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(ch if _harmless(ch) else _code(ch) for ch in text)


def _harmless(ch: str) -> bool:
    variation = 0xFE00 <= ord(ch) <= 0xFE0F or 0xE0100 <= ord(ch) <= 0xE01EF
    category = unicodedata.category(ch)
    return ch == " " or not (category in _UNSEEN or category == "Me" or variation)


def _code(ch: str) -> str:
    return chr(0x2400 + ord(ch)) if ord(ch) < 0x20 else f"<{ord(ch):04x}>"


def name(text: str, longest: int = 80) -> str:
    """A name from outside on one line, at most ``longest`` characters: cut in the middle, both ends stay.

    A name of nothing or of blanks alone stands in quotation marks."""
    one = visible(text) if text.strip() else f"“{visible(text[: longest - 2])}”"
    if len(one) <= longest:
        return one
    head = (longest - 1) * 2 // 3
    return f"{one[:head]}…{one[len(one) - (longest - 1 - head) :]}"


def number(n: int) -> str:
    """``9,211,004``."""
    return f"{n:,}"


def count(n: int, what: str) -> str:
    """``1 drill``, ``12 drills``, ``no drill``."""
    if n == 0:
        return f"no {what}"
    return f"{n:,} {what if n == 1 else plural(what)}"


def plural(what: str) -> str:
    if what in _PLURALS:
        return _PLURALS[what]
    return what[:-1] + "ies" if what.endswith("y") and not what.endswith("day") else f"{what}s"


def verb(n: int, one: str) -> str:
    """``is`` or ``are``, as ``n`` asks for; no thing *is*."""
    return one if n <= 1 else _PLURALS[one]


def listed(items: Sequence[str], at_most: int = 6) -> str:
    """``a, b and c``; ``a, b and 12 more``."""
    if len(items) > at_most:
        return f"{', '.join(items[: at_most - 1])} and {len(items) - at_most + 1:,} more"
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def share(part: int, whole: int) -> str:
    """``97.8 %``; 100 % only where nothing is missing, 0 % only where there is nothing."""
    if not whole:
        return "–"
    tenths = min(max(round(part * 1000 / whole), 1 if part else 0), 1000 if part == whole else 999)
    return f"{tenths / 10:.1f}{NBSP}%" if tenths % 10 else f"{tenths // 10}{NBSP}%"


def size(n: float) -> str:
    """``412.3 MB``: decimal units, as storage is billed."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(n) < 999.95 or unit == "TB":
            return f"{n:,.0f}{NBSP}{unit}" if unit == "B" else f"{n:,.1f}{NBSP}{unit}"
        n /= 1000
    raise AssertionError


def duration(s: float) -> str:
    """``0.4 s``, ``94 s``, ``3 min 08 s``, ``2 h 05 min``, ``3 d 4 h``."""
    if s < 9.95:
        return f"{s:.1f}{NBSP}s"
    if s < 119.5:
        return f"{s:.0f}{NBSP}s"
    s = round(s)
    if s < 7200:
        return f"{s // 60}{NBSP}min{NBSP}{s % 60:02d}{NBSP}s"
    if s < 96 * 3600:
        return f"{s // 3600}{NBSP}h{NBSP}{s % 3600 // 60:02d}{NBSP}min"
    return f"{s // 86400}{NBSP}d{NBSP}{s % 86400 // 3600}{NBSP}h"


def span(s: float) -> str:
    """A target, in the unit it was said in: ``90 s``, ``15 min``, ``6 h``, ``2 d``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if s >= length and s % length == 0:
            return f"{s / length:.0f}{NBSP}{unit}"
    return duration(s)


def day(on: date) -> str:
    """``23 November 2026``."""
    return f"{on.day} {MONTHS[on.month - 1]} {on.year}"


def short_day(on: date) -> str:
    """``23 Nov``."""
    return f"{on.day}{NBSP}{MONTHS[on.month - 1][:3]}"


def moment(at: datetime, zone: tzinfo) -> str:
    """``23 November 2026, 14:02:10 CET (UTC+1)``."""
    local = at.astimezone(zone)
    return f"{day(local.date())}, {local:%H:%M:%S} {zone_name(local)}"


def short_moment(at: datetime, zone: tzinfo) -> str:
    """``23 Nov 14:02``: for columns, under a heading that names the zone."""
    local = at.astimezone(zone)
    return f"{short_day(local.date())}{NBSP}{local:%H:%M}"


def zone_name(local: datetime) -> str:
    """``UTC``, ``CET (UTC+1)``, ``UTC+5:45``."""
    offset = local.utcoffset()
    assert offset is not None
    minutes = round(offset.total_seconds() / 60)
    if not minutes:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    text = f"UTC{'+' if minutes > 0 else '-'}{hours}" + (f":{rest:02d}" if rest else "")
    said = local.tzname() or ""
    return f"{said} ({text})" if said.isalpha() else text


def cells(text: str) -> int:
    """Columns that ``text`` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_cells(ch) for ch in text)


def _cells(ch: str) -> int:
    if unicodedata.combining(ch) or unicodedata.category(ch) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(ch) in ("W", "F") else 1
