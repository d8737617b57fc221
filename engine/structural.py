"""The structure of a restored copy held against what was captured: a pure decision, nothing measured here.

Everything captured must be in the copy with equal facts; what the copy has beyond is no difference. An object that the
drill named as skipped is excused, and what hangs on it with it; nothing else is. Where a table is missing, it is named
and what belongs to it is not named again. A sequence may stand anywhere between the two looks at the source.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from engine.definition import essence
from engine.model import (
    Failure,
    Normalised,
    SequenceState,
    Skip,
    Structure,
    StructureCount,
    StructureDifference,
    StructureObject,
    StructureResult,
)

SEQUENCE_VALUE = "sequence value"
BEFORE = "the snapshot was taken before structures were captured"
_MOST_NAMED = 1000
_SHOWN_CHARS = 160
_HINT = "Take a new checkpoint and keep this artifact. If it says the same, compare the object at the source by hand."

_RELATIONS = frozenset({"TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW"})
_ENTRIES: dict[str, frozenset[str]] = {
    # kind -> the kinds of archive entries that hold one
    "table": frozenset({"TABLE"}),
    "partition": frozenset({"TABLE ATTACH", "TABLE"}),
    "inheritance": frozenset({"TABLE"}),
    "index": frozenset({"INDEX", "CONSTRAINT"}),
    "constraint": frozenset({"CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT"}),
    "not null": frozenset({"CONSTRAINT"}),
    "foreign server": frozenset({"SERVER"}),
    "type": frozenset({"TYPE", "DOMAIN", "SHELL TYPE"}),
    SEQUENCE_VALUE: frozenset({"SEQUENCE"}),
}
_TABLE_LIKE = frozenset({"table", "foreign table", "view", "materialized view"})
_ON_TABLES = frozenset({"index", "constraint", "not null", "trigger", "policy", "rule"})
_IDENTIFIER = re.compile(r'"((?:[^"]|"")*)"|([^\s".(]+)')


@dataclass(frozen=True, slots=True)
class _Item:
    """One thing to compare: a column stands for itself here. ``above``: the table that it hangs on, as written."""

    kind: str
    name: str
    facts: str
    above: str | None = None


def compare(
    captured: Structure, restored: Structure, skips: Sequence[Skip], normalised: Sequence[Normalised]
) -> StructureResult:
    """Every captured object looked for in the copy, in the order of capture."""
    excuses = _Excuses(skips, normalised)
    there = {(i.kind, i.name): i.facts for i in _items(restored.objects)}
    expected, equal, excused = Counter[str](), Counter[str](), Counter[str]()
    differences: list[StructureDifference] = []
    missing: set[str] = set()
    for item in _items(captured.objects):
        expected[item.kind] += 1
        found = there.get((item.kind, item.name))
        if found is not None and (essence(found) == essence(item.facts) or excuses.facts_of(item)):
            equal[item.kind] += 1
        elif excuses.cover(item):
            excused[item.kind] += 1
        else:
            if found is None and item.kind in _TABLE_LIKE:
                missing.add(item.name)
            if item.above is None or item.above not in missing:
                shown = "" if found is None else found or "(none)"
                differences.append(StructureDifference(item.kind, item.name, item.facts, shown))
    values = {s.name: s.last_value for s in restored.sequences}
    for state in captured.sequences:
        expected[SEQUENCE_VALUE] += 1
        if _fits(state, values):
            equal[SEQUENCE_VALUE] += 1
        elif excuses.cover(_Item(SEQUENCE_VALUE, state.name, "")):
            excused[SEQUENCE_VALUE] += 1
        elif state.name in values:  # a sequence that is missing has been named as such
            differences.append(
                StructureDifference(SEQUENCE_VALUE, state.name, _bounds(state), _number(values[state.name]))
            )
    counts = tuple(StructureCount(kind, n, equal[kind], excused[kind]) for kind, n in expected.items())
    return StructureResult(counts, tuple(differences))


def not_compared(reason: str) -> StructureResult:
    """The result of a comparison that could not be made."""
    return StructureResult((), (), reason)


def skips(result: StructureResult) -> tuple[Skip, ...]:
    """The comparison itself, where it should have been made; an older snapshot has nothing that was left out."""
    if not result.not_compared or result.not_compared == BEFORE:
        return ()
    return (Skip("structure", "definitions of all objects", result.not_compared),)


def failures(result: StructureResult) -> tuple[Failure, ...]:
    """One for each difference, as far as the first thousand."""
    named = [Failure("drill.structure", _sentence(d), _HINT) for d in result.differences[:_MOST_NAMED]]
    if len(result.differences) > _MOST_NAMED:
        more = len(result.differences) - _MOST_NAMED
        named.append(Failure("drill.structure", f"{more:,} more objects differ; the receipt names each", _HINT))
    return tuple(named)


def _sentence(difference: StructureDifference) -> str:
    what = f"{difference.kind} {difference.name}"
    if not difference.restored:
        return f"{what} is missing in the restored copy"
    expected, restored = difference.expected or "(none)", difference.restored
    return f"{what}: captured as {_short(expected)}, restored as {_short(restored)}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def _items(objects: Sequence[StructureObject]) -> Iterator[_Item]:
    """Tables before what hangs on them, columns one by one."""
    for o in sorted(objects, key=lambda o: o.kind not in _TABLE_LIKE):  # stable: the order of capture otherwise
        if o.kind == "column":
            for column, facts in json.loads(o.facts):
                yield _Item("column", f"{o.name}.{column}", facts, o.name)
        elif o.kind in ("partition", "inheritance"):
            yield _Item(o.kind, o.name, o.facts, o.name)
        else:
            yield _Item(o.kind, o.name, o.facts, _cut(o.name, " ON ")[1] if o.kind in _ON_TABLES else None)


def _fits(state: SequenceState, values: Mapping[str, int | None]) -> bool:
    if state.name not in values:
        return False
    value = values[state.name]
    if state.last_value is None or state.owner_max is None or value is None:
        return value is None and state.last_value is None
    return min(state.owner_max, state.last_value) <= value <= max(state.owner_max, state.last_value)


def _bounds(state: SequenceState) -> str:
    if state.last_value is None or state.owner_max is None or state.owner_max == state.last_value:
        return _number(state.last_value)
    low, high = sorted((state.owner_max, state.last_value))
    return f"{low} to {high}"


def _number(value: int | None) -> str:
    return "never used" if value is None else str(value)


class _Excuses:
    """What the drill said it left out, in the words of the archive: a kind of entry and "schema.tag", unquoted."""

    def __init__(self, skips: Sequence[Skip], normalised: Sequence[Normalised]) -> None:
        self._skipped = {(s.kind, s.name) for s in skips}
        self._checks = {s.name for s in skips if s.kind == "CHECK CONSTRAINT"}
        self._other_versions = {n.name for n in normalised if n.kind == "EXTENSION VERSION"}

    def facts_of(self, item: _Item) -> bool:
        """Whether it may be another in the copy than at the source, as long as it is there."""
        if item.kind == "extension":
            return _plain(item.name) in self._other_versions
        return item.kind == "type" and any(c.startswith(f"{_plain(item.name)} ") for c in self._checks)

    def cover(self, item: _Item) -> bool:
        """Whether it, or what it hangs on, was left out by name."""
        if item.above is not None and any((kind, _plain(item.above)) in self._skipped for kind in _RELATIONS):
            return True
        kinds = _ENTRIES.get(item.kind, frozenset({item.kind.upper()}))
        return any((kind, name) in self._skipped for kind in kinds for name in _tags(item)) or (
            item.kind == "column" and ("DEFAULT", _on_table(item)) in self._skipped
        )


def _tags(item: _Item) -> Iterator[str]:
    """How an archive may write its name."""
    if item.kind == "cast":
        yield item.name
    elif item.kind == "operator":
        yield _plain(_cut(item.name, " (")[0])
    elif item.above is not None and item.kind in _ON_TABLES:
        own = _plain(_cut(item.name, " ON ")[0])
        yield f"{_plain(item.above)} {own}"
        yield f"{_plain(_cut(item.above, '.')[0])}.{own}"
    else:
        yield _plain(item.name)


def _on_table(item: _Item) -> str:
    assert item.above is not None
    return f"{_plain(item.above)} {_plain(item.name.removeprefix(item.above + '.'))}"


def _plain(name: str) -> str:
    """``"My schema".tab(integer)`` as ``My schema.tab(integer)``; arguments stay as they are written."""
    head, arguments = _cut(name, "(")
    parts = (m[2] if m[1] is None else m[1].replace('""', '"') for m in _IDENTIFIER.finditer(head))
    return ".".join(parts) + (f"({arguments}" if arguments else "")


def _cut(name: str, mark: str) -> tuple[str, str]:
    """Before and after the first ``mark`` that is not inside quotes."""
    quoted = False
    for at, char in enumerate(name):
        if char == '"':
            quoted = not quoted
        elif not quoted and name.startswith(mark, at):
            return name[:at], name[at + len(mark) :]
    return name, ""
