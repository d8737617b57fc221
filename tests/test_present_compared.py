"""The structure that was compared, in words."""

from __future__ import annotations

from datetime import UTC, datetime

from engine.model import (
    Isolation,
    StructureCount,
    StructureDifference,
    StructureResult,
    TableResult,
    Timings,
    Verdict,
    Versions,
)
from engine.model.views import DrillView
from screens.phrase import Tone
from screens.present_compared import kind_count, structure_facts, structure_line


def drill(structure: StructureResult | None, *, restored: bool = True) -> DrillView:
    return DrillView(
        id="d" * 32,
        verdict=Verdict.FAILED,
        drilled_at=datetime(2026, 11, 25, tzinfo=UTC),
        restore_s=1.0,
        timings=Timings(),
        isolation=Isolation("nobody", "none", "bubblewrap"),
        versions=Versions(None, None, None, None, "1"),
        normalised=(),
        tables=(TableResult("s", "a", 1, 1),) if restored else (),
        skips=(),
        failures=(),
        receipt_sha256="0" * 64,
        structure=structure,
    )


def test_kinds_are_counted_in_words() -> None:
    assert kind_count(StructureCount("index", 12, 12)) == "12 indexes"
    assert kind_count(StructureCount("policy", 1200, 3, 7)) == "3 of 1,200 policies (7 skipped)"


def test_each_difference_is_named_without_doing_harm() -> None:
    result = StructureResult(
        (StructureCount("index", 2, 1), StructureCount("column", 1, 0), StructureCount("view", 2, 1, 1)),
        (
            StructureDifference("index", "i ON s.t\x1b[2J", "x", ""),
            StructureDifference("column", "s.t.c", "int", "text"),
        ),
    )
    said = [fact.text.text for fact in structure_facts(drill(result))]
    assert not any("\x1b" in line for line in said)
    assert any("2 of 5 objects are as captured; 1 was skipped; 2 differ" in line for line in said)
    assert any("index i ON s.t" in line and "is missing" in line for line in said)
    assert any("column s.t.c: captured as int, restored as text" in line for line in said)
    assert "1 of 2 indexes, 0 of 1 column, 1 of 2 views (1 skipped)" in said


def test_what_was_not_compared_says_why() -> None:
    why = "it could not be read at the source: no"
    assert structure_line(drill(StructureResult((), (), why))) == (f"not compared: {why}", Tone.WARN)
    assert structure_line(drill(StructureResult((StructureCount("table", 1, 1),), ()))) == (
        "1 of 1 object is as captured",
        Tone.GOOD,
    )
    older = structure_line(drill(None))
    assert older is not None
    assert older[0].startswith("not compared: this drill was made before")
    assert structure_line(drill(None, restored=False)) is None
    assert list(structure_facts(drill(None, restored=False))) == []
