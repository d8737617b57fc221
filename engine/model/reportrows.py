"""The rows of the monthly report: what one day, snapshot, drill, deletion or change came to.

``_s`` are seconds, ``_bytes`` whole numbers, ``_at`` aware UTC instants; days are ``2026-11-30`` in the report's zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engine.model.proof import Verdict
from engine.model.source import NotCaptured


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Drills that ended in the month, by what they said."""

    proven: int = 0
    proven_with_skips: int = 0
    failed: int = 0
    could_not_verify: int = 0

    @property
    def total(self) -> int:
        return self.proven + self.proven_with_skips + self.failed + self.could_not_verify


class DayState(StrEnum):
    """What a day of the month came to, for one connection; the worst thing that happened decides."""

    PROVEN = "proven"
    SKIPS = "proven with skips"
    FAILED = "failed"
    UNVERIFIED = "could not verify"
    UNDRILLED = "not drilled"
    """Snapshots were made and none of them was drilled on that day."""
    GAP = "gap"
    """A snapshot was due, and none was made."""
    NOTHING_DUE = "nothing due"
    """None was due, and none was made."""
    ABSENT = "absent"
    """The connection did not exist (yet, or any more)."""
    AHEAD = "ahead"
    """The report was built before that day."""


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the month, as days are in the report's zone. Drills are those that ended on it."""

    date: str
    state: DayState
    due: int
    made: int
    missed: int
    drills: Verdicts


@dataclass(frozen=True, slots=True)
class ReportCoverage:
    """What the newest snapshot of the month (or the newest before it) holds of its source."""

    snapshot_id: str
    taken_at: datetime
    tables: int
    tables_in_source: int
    not_captured: tuple[NotCaptured, ...]


@dataclass(frozen=True, slots=True)
class ReportException:
    """Something that was wrong in the month (an incident). ``connection`` None: it concerns the installation."""

    id: str
    kind: str
    connection: str | None
    name: str
    summary: str
    opened_at: datetime
    closed_at: datetime | None
    open_at_end: bool
    """Whether it was still open when the period ended."""
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    acknowledged_note: str | None


@dataclass(frozen=True, slots=True)
class PhaseTimes:
    """One phase of the proven drills of the month."""

    phase: str
    """``fetch``, ``decrypt and unpack``, ``list``, ``scratch server``, ``restore``, ``compare``."""
    p50_s: float
    p95_s: float
    worst_s: float


@dataclass(frozen=True, slots=True)
class MonthTimes:
    """Restore times of one month, for the chart. None: nothing was proven in it."""

    month: str
    drills: int
    p50_s: float | None
    p95_s: float | None
    worst_s: float | None


@dataclass(frozen=True, slots=True)
class DrillRow:
    """One drill that ended in the month. ``reasons``: what failed, or what was skipped and why."""

    id: str
    ended_at: datetime
    verdict: Verdict
    restore_s: float
    tables_equal: int
    tables_compared: int
    rows_restored: int
    skips: int
    reasons: tuple[str, ...]
    sandbox: str
    network: str
    receipt_sha256: str


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """One snapshot that was taken in the month, or drilled in it. ``drills``: oldest first; empty: it was not drilled.

    ``fate``: ``kept``, ``removed``, ``missing``, ``locked``; ``fate_rule``: the rule that removed it.
    """

    id: str
    seq: int
    taken_at: datetime
    taken_in_month: bool
    tag: str | None
    destination: str
    object_key: str
    size_bytes: int
    sha256: str
    tables: int
    tables_in_source: int
    rows: int
    kid: str
    drills: tuple[DrillRow, ...]
    fate: str = "kept"
    fate_at: datetime | None = None
    fate_rule: str | None = None

    @property
    def newest(self) -> DrillRow | None:
        """The drill that counts."""
        return self.drills[-1] if self.drills else None

    @property
    def verdict(self) -> Verdict | None:
        """None: it was not drilled in the month."""
        return None if self.newest is None else self.newest.verdict


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A job of the month that failed: a checkpoint that made no snapshot, or a drill that came to no receipt."""

    job_id: str
    kind: str
    at: datetime
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class MissedSlot:
    """An instant at which a snapshot was due and none was begun. ``why``: ``missed`` (nobody was there to start it) or
    ``overlapped`` (the one before still ran), ``undecided`` (no worker has looked since)."""

    slot_at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class DeletionRow:
    """One attempt to delete one object, and what was true afterwards."""

    object_key: str
    version: str | None
    snapshot_id: str | None
    rule: str
    deleted_at: datetime
    result: str
    detail: str


@dataclass(frozen=True, slots=True)
class KeptBy:
    """How many snapshots one rule keeps; a snapshot is counted under each rule that keeps it."""

    rule: str
    snapshots: int
    size_bytes: int
    oldest_at: datetime
    newest_at: datetime


@dataclass(frozen=True, slots=True)
class TlsRow:
    """How the source was reached, for how many of the snapshots that were drilled. ``transport``: ``tcp``, ``unix``."""

    sslmode: str
    in_use: bool
    version: str | None
    transport: str
    weaker: bool
    """Weaker than a checked certificate with the right name (``verify-full``)."""
    snapshots: int


@dataclass(frozen=True, slots=True)
class ReconciliationRow:
    """A destination's listing held against the ledger in both directions. The lists are counts here."""

    reconciled_at: datetime
    objects: int
    size_bytes: int
    listing_sha256: str
    agrees: bool
    missing: int
    unknown: int
    mismatched: int
    lingering: int


@dataclass(frozen=True, slots=True)
class ReportLock:
    """Object Lock as it was last seen. ``until_at`` None: a legal hold, which has no date."""

    mode: str
    until_at: datetime | None
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A PostgreSQL program that was used in the month. ``floor`` None: no security floor is known for its major."""

    program: str
    version: str
    floor: str | None
    meets_floor: bool | None
    used: int
    """How many snapshots (``pg_dump``) or drills (``pg_restore``, ``scratch server``)."""


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """An event of the month that changed who may do what, or the keys. ``kind`` is the event's, ``detail`` its data in
    the form ``name: value, …``."""

    seq: int
    at: datetime
    actor: str
    kind: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Criterion:
    """Where the report touches a criterion of SOC 2; orientation only."""

    code: str
    title: str
    where: str


@dataclass(frozen=True, slots=True)
class IsolationRow:
    """What stood between drills and the host. ``network``: ``none`` or ``host``."""

    sandbox: str
    network: str
    drills: int


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter that another part of the engine adds: paragraphs, then a table if it has ``columns``."""

    title: str
    paragraphs: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
