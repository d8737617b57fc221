"""Monthly reports in words: a line of the list, what a verification found, the report's own text to be read."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from engine.model.report import STAMP_CHECK, BundleStamp, BundleVerdict, ReportLine
from screens.fact import Fact
from screens.phrase import Phrase, Tone
from screens.present import clock_time

_DETAIL = 220
"""Characters of what was found wrong: a few lines, of which the first says enough."""
_RULES = ("─", "═", "·")
"""What a head is underlined with in the report's text."""
_TONES = {"✓": Tone.GOOD, "✗": Tone.BAD, "!": Tone.WARN}
FORMS = {".pdf": "pdf", ".html": "html", ".json": "json", ".txt": "text"}
"""What is written, by how the file's name ends; anything else is the whole bundle."""


def months(now: datetime, zone: str) -> tuple[str, str]:
    """This month and the one before it, as clocks in ``zone`` show it: ``2026-11``, ``2026-10``."""
    local = now.astimezone(ZoneInfo(zone))
    year, month = (local.year, local.month - 1) if local.month > 1 else (local.year - 1, 12)
    return f"{local:%Y-%m}", f"{year:04}-{month:02}"


def report_cells(line: ReportLine, now: datetime) -> tuple[Phrase, ...]:
    """Month, what it is about, snapshots, drills that proved, drills that did not, days missing, open, built."""
    scope = Phrase("all connections" if line.scope.everything else ", ".join(line.scope.connections))
    where = Phrase("") if line.folder is not None else Phrase(f"  on {line.host}", Tone.DIM)
    again = Phrase(f"  revision {line.revision}", Tone.DIM) if line.revision > 1 else Phrase("")
    return (
        Phrase(line.month, Tone.STRONG),
        scope + again + where,
        Phrase(f"{line.made:,}"),
        _count(line.proven, Tone.GOOD),
        _count(line.failed, Tone.BAD),
        _count(line.gaps, Tone.BAD),
        _count(line.open_exceptions, Tone.WARN),
        Phrase(clock_time(line.built_at, now), Tone.DIM),
    )


def _count(n: int, tone: Tone) -> Phrase:
    return Phrase(f"{n:,}", tone) if n else Phrase("–", Tone.DIM)


def report_title(line: ReportLine) -> Phrase:
    """``Restore Drill Report of 2026-11 · all connections · revision 2``."""
    about = "all connections" if line.scope.everything else ", ".join(line.scope.connections)
    revision = f" · revision {line.revision}" if line.revision > 1 else ""
    return (
        Phrase("Restore Drill Report of ") + Phrase(line.month, Tone.STRONG) + Phrase(f" · {about}{revision}", Tone.DIM)
    )


def report_facts(text: str) -> list[Fact]:
    """The report's text, a fact a line; what is underlined begins a section."""
    return list(_facts(text.rstrip("\n").split("\n")))


def _facts(lines: list[str]) -> Iterator[Fact]:
    for n, line in enumerate(lines):
        after = lines[n + 1] if n + 1 < len(lines) else ""
        if _rule(line):
            yield Fact(Phrase(line, Tone.DIM), copy=("the line", line))
        elif line and not line.startswith(" ") and _rule(after):
            yield Fact(Phrase(line, Tone.STRONG), head=True)
        else:
            yield Fact(_toned(line), copy=("the line", line.strip()))


def _rule(line: str) -> bool:
    return len(line) > 2 and line[0] in _RULES and set(line) == {line[0]}


def _toned(line: str) -> Phrase:
    """Signs keep the tone that they have everywhere; the word beside each says the same."""
    out = Phrase("")
    for part in _parts(line):
        out = out + Phrase(part, _TONES.get(part, Tone.PLAIN))
    return out


def _parts(line: str) -> Iterator[str]:
    start = 0
    for n, ch in enumerate(line):
        if ch in ("✓", "✗"):
            if n > start:
                yield line[start:n]
            yield ch
            start = n + 1
    if start < len(line):
        yield line[start:]


def unstamped_lines(line: ReportLine, why: str) -> tuple[Phrase, ...]:
    """That a report was built and signed, and has no time stamp."""
    again = f", revision {line.revision}," if line.revision > 1 else ""
    return (
        Phrase("! ", Tone.WARN) + f"the report of {line.month}{again} is built and signed, but has no time stamp",
        Phrase(f"  {textwrap.shorten(why, _DETAIL, placeholder=' …')}", Tone.DIM),
        Phrase("  → A worker asks again; by hand: ", Tone.DIM)
        + Phrase(f"offsitedb report stamp {line.month}", Tone.CODE),
    )


def _stamped(stamp: BundleStamp) -> Phrase:
    at = f"{stamp.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if stamp.held:
        return Phrase(f"  it existed at {at}, as {stamp.by} says", Tone.DIM)
    return Phrase(f"  it has a time stamp of {at} that was held against no authority", Tone.WARN)


def verified_lines(found: BundleVerdict) -> tuple[Phrase, ...]:
    """What was looked at, in a few lines: everything when it failed."""
    if found.ok:
        return (
            Phrase("✓ ", Tone.GOOD) + f"the report of {found.month} is whole and signed: {len(found.checks):,} checks",
            Phrase(f"  signed by {found.signer_fingerprint}", Tone.DIM),
            *(() if found.stamp is None else (_stamped(found.stamp),)),
        )
    bad = [check for check in found.checks if not check.ok]
    signed = [check.name for check in bad] == [STAMP_CHECK]
    said = "is as it was signed, but its time stamp is refused" if signed else "is not what was signed"
    return (
        Phrase("✗ ", Tone.BAD) + f"the report of {found.month} {said}",
        *(
            Phrase(f"  {check.name}: ") + Phrase(textwrap.shorten(check.detail, _DETAIL, placeholder=" …"))
            for check in bad
        ),
    )
