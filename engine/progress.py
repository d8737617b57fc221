"""Progress of long work as typed values: a phase, how much of it is done, and in what unit.

A sink takes reports as often as the work likes to give them; thinning them out is the sink's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Phase(StrEnum):
    """What a job is doing, in the order in which a checkpoint does it."""

    PREFLIGHT = "preflight"
    LOCK = "lock"
    DUMP = "dump"
    REGISTER = "register"
    FETCH = "fetch"
    OPEN = "open"
    LIST = "list"
    SCRATCH = "scratch"
    RESTORE = "restore"
    VERIFY = "verify"
    PRUNE = "prune"


class Unit(StrEnum):
    BYTES = "bytes"
    TABLES = "tables"
    STEPS = "steps"
    SNAPSHOTS = "snapshots"


@dataclass(frozen=True, slots=True)
class Progress:
    """One report. ``total`` is None where the end cannot be known; ``note`` is one short line for people."""

    phase: Phase
    done: int
    total: int | None
    unit: Unit
    note: str = ""


class ProgressSink(Protocol):
    """Takes reports; must be cheap and must not raise."""

    def __call__(self, progress: Progress) -> None: ...


def discard(progress: Progress) -> None:
    """The sink for callers who do not watch."""
    del progress


@dataclass(frozen=True, slots=True)
class TableRows:
    """How far a restore is with one table. ``rows`` None: not known; ``done``: its data is in."""

    schema: str
    table: str
    rows: int | None
    done: bool


class TableSink(Protocol):
    """Takes tables whose numbers have changed; ``anew``: what was said before does not count any more."""

    def __call__(self, tables: Sequence[TableRows], *, anew: bool = False) -> None: ...


def discard_tables(tables: Sequence[TableRows], *, anew: bool = False) -> None:
    """The sink for callers who do not watch tables."""
    del tables, anew
