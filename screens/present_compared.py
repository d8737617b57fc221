"""The structure that a drill compared, in words: how many objects of which kinds, and what differs. Pure text."""

from __future__ import annotations

from collections.abc import Iterator

from engine.model.structure import StructureCount, StructureDifference, StructureResult
from engine.model.views import DrillView
from screens.fact import Fact, section, under
from screens.phrase import Phrase, Tone

_PLURALS = {
    "index": "indexes",
    "policy": "policies",
    "not null": "not-null constraints",
    "inheritance": "inherited tables",
    "text search dictionary": "text search dictionaries",
    "statistics": "statistics objects",
}
_LONGEST = 200
_OLDER = "this drill was made before structures were compared"


def structure_line(drill: DrillView) -> tuple[str, Tone] | None:
    """``248 of 248 objects are as captured``; None for a drill that ended before anything was compared."""
    result = drill.structure
    if result is None:
        return (f"not compared: {_OLDER}", Tone.DIM) if drill.tables else None
    if result.not_compared:
        return f"not compared: {result.not_compared}", Tone.WARN
    expected, equal = sum(c.expected for c in result.counts), sum(c.equal for c in result.counts)
    line = f"{equal:,} of {expected:,} {'object is' if expected == 1 else 'objects are'} as captured"
    excused = sum(c.excused for c in result.counts)
    line += f"; {excused:,} {'was' if excused == 1 else 'were'} skipped" if excused else ""
    missed = len(result.differences)
    line += f"; {missed:,} {'differs' if missed == 1 else 'differ'}" if missed else ""
    return line, Tone.BAD if missed else Tone.GOOD


def kinds_text(result: StructureResult) -> str:
    """``14 tables, 12 of 13 indexes, …``."""
    return ", ".join(kind_count(count) for count in result.counts)


def kind_count(count: StructureCount) -> str:
    """``12 indexes`` where all are equal, else ``11 of 12 indexes``, with those that the drill skipped by name."""
    kind = count.kind if count.expected == 1 else _PLURALS.get(count.kind, f"{count.kind}s")
    skipped = f" ({count.excused:,} skipped)" if count.excused else ""
    equal = "" if count.equal == count.expected else f"{count.equal:,} of "
    return f"{equal}{count.expected:,} {kind}{skipped}"


def difference_text(difference: StructureDifference) -> str:
    """``index i ON public.t is missing``, or both sides."""
    what = f"{difference.kind} {difference.name}"
    if not difference.restored:
        return f"{what} is missing"
    return f"{what}: captured as {_cut(difference.expected or '(none)')}, restored as {_cut(difference.restored)}"


def structure_facts(drill: DrillView) -> Iterator[Fact]:
    """The section of a receipt: what differs, then what was compared. A drill that restored nothing has none."""
    said = structure_line(drill)
    if said is None:
        return
    yield from section("Structure", Phrase(*said))
    if drill.structure is None:
        return
    for difference in drill.structure.differences:
        text = Phrase(difference_text(difference))
        yield Fact(Phrase("  ✗ ", Tone.BAD) + text, copy=("the difference", text.text))
    if drill.structure.counts:
        yield under(kinds_text(drill.structure), ("what was compared", kinds_text(drill.structure)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
