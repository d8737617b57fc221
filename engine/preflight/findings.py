"""What preflight hands on: facts, inventory, checks and a summary of what a snapshot would hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from engine.errors import OffsiteError, PreflightFailed
from engine.model import Check, CheckStatus, Inventory, NotCaptured, ServerFacts
from engine.postgres.tools import Toolset


@dataclass(frozen=True, slots=True)
class Captured:
    """How much a snapshot would hold. ``tables`` of ``tables_total`` that hold rows of their own."""

    tables: int
    tables_total: int
    sequences: int
    large_objects: bool
    dependants_lost: int

    @property
    def complete(self) -> bool:
        return self.tables == self.tables_total and self.large_objects and not self.dependants_lost

    def describe(self) -> str:
        """``82 of 85 tables``."""
        return f"{self.tables} of {self.tables_total} tables"


@dataclass(frozen=True, slots=True)
class Preflight:
    """One look. ``toolset`` is None, and ``tool_error`` says why, where the server's own programs are not here."""

    looked_at: datetime
    facts: ServerFacts
    inventory: Inventory
    toolset: Toolset | None
    tool_error: OffsiteError | None
    checks: tuple[Check, ...]
    not_captured: tuple[NotCaptured, ...]
    captured: Captured

    @property
    def blocking(self) -> tuple[Check, ...]:
        """Checks that forbid a snapshot."""
        return tuple(c for c in self.checks if c.status is CheckStatus.FAIL)

    def tools(self) -> Toolset:
        """The programs to dump with. Raises SourceError ``pg.version`` or ``pg.tool-missing``."""
        if self.toolset is None:
            assert self.tool_error is not None
            raise self.tool_error
        return self.toolset


class ChecksFailed(PreflightFailed):
    """Preflight forbids a snapshot; ``checks`` are all its findings, the blocking ones first."""

    checks: tuple[Check, ...] = ()


def listed(names: Iterable[str], limit: int = 8) -> str:
    """``a, b, c and 4 more``: names for a sentence."""
    every = list(names)
    shown = ", ".join(every[:limit])
    return shown if len(every) <= limit else f"{shown} and {len(every) - limit} more"


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 table``, ``3 tables``."""
    return f"{count} {one if count == 1 else many or one + 's'}"
