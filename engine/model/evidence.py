"""What `verify` found: records of the door."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

CHECKED = "evidence.checked"
"""The daily event of what was found wrong: how much, and the first of it in words."""


class Part(StrEnum):
    """What is looked at, in this order."""

    HISTORY = "history"
    """The chain of events and its signed ends."""
    ROWS = "rows"
    """Rows of the catalog against what the events say of them."""
    RECEIPTS = "receipts"
    KEYS = "keys"
    """The signing key and sealed values, where the master key can be had."""
    MANIFESTS = "manifests"
    """At the destinations."""


@dataclass(frozen=True, slots=True)
class VerifyFinding:
    """One thing that is wrong, in words, and what to do next."""

    part: Part
    subject: str
    """What it is about: ``snapshot 3f…``, ``event 17``."""
    text: str
    hint: str


@dataclass(frozen=True, slots=True)
class Checked:
    """How many things of one part were looked at, and how many were found wrong.

    ``unread``: how many could not be looked at because a destination did not give them.
    """

    part: Part
    count: int
    wrong: int
    note: str = ""
    """What could not be looked at, and why."""
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of it. ``findings`` holds the first thousand; ``wrong`` counts them all."""

    at: datetime
    catalog: str
    catalog_id: str
    checked: tuple[Checked, ...]
    findings: tuple[VerifyFinding, ...]
    events: int
    signed_seq: int | None
    """The number of the event that the newest signed end stands at."""
    signed_at: datetime | None
    unsigned: int
    """Events behind the newest signed end: a cut there would not be seen."""
    wrong: int
    took_s: float

    @property
    def holds(self) -> bool:
        """Nothing that was looked at is wrong."""
        return not self.wrong

    @property
    def unread(self) -> int:
        """Things that were to be looked at and that a destination did not give."""
        return sum(part.unread for part in self.checked)


@dataclass(frozen=True, slots=True)
class EvidenceStanding:
    """How the history stands, without looking at all of it."""

    events: int
    signed_seq: int | None
    signed_at: datetime | None
    checked_at: datetime | None
    """When a worker last looked at all of it; None: not yet."""
    wrong: int
    """What it found wrong then."""
