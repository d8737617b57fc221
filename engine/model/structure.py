"""What a database consists of besides its rows, and how a restored copy differs from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StructureObject:
    """One object. ``name`` is its identity as PostgreSQL writes it, quoted; ``facts`` what must be equal in the copy.

    ``kind``: schema, table, column, index, constraint, function, trigger, policy, view, materialized view, sequence,
    type, extension, rule, … in words for people.
    """

    kind: str
    name: str
    facts: str = ""


@dataclass(frozen=True, slots=True)
class SequenceState:
    """Where a sequence stood at capture. ``owner_max``: the greatest value in the column that owns it.

    Where the sequence stood behind that before the dump, or no such value is known: where it stood.
    """

    name: str
    last_value: int | None
    owner_column: str | None = None
    owner_max: int | None = None


@dataclass(frozen=True, slots=True)
class Structure:
    """Every object of the source that the archive should hold, taken in the snapshot that pg_dump reads."""

    objects: tuple[StructureObject, ...]
    sequences: tuple[SequenceState, ...] = ()
    unread: str = ""
    """Why it is empty, where it could not be read."""


@dataclass(frozen=True, slots=True)
class StructureCount:
    """Objects of one kind: in the source, and found equal in the copy. ``excused`` ones stand among the skips."""

    kind: str
    expected: int
    equal: int
    excused: int = 0


@dataclass(frozen=True, slots=True)
class StructureDifference:
    """One object that is missing in the copy or is another there; empty ``restored``: missing."""

    kind: str
    name: str
    expected: str
    restored: str


@dataclass(frozen=True, slots=True)
class StructureResult:
    counts: tuple[StructureCount, ...]
    differences: tuple[StructureDifference, ...]
    not_compared: str = ""
    """Why both are empty, where nothing was compared."""


@dataclass(frozen=True, slots=True)
class FingerprintResult:
    """The content of one table on both sides. None: could not be computed there."""

    schema: str
    table: str
    expected: str | None
    restored: str | None


@dataclass(frozen=True, slots=True)
class OperatorCheck:
    """A question that every restored copy of a connection is asked, and the answer that is expected, both as text."""

    name: str
    query: str
    expect: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What came of an operator's check. ``got`` is None when the query failed; ``error`` then says why."""

    name: str
    query: str
    expect: str
    got: str | None
    passed: bool
    error: str = ""
