"""What a report is made from: the catalog's rows of one month, and each receipt reduced to what the report tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from engine.catalog.report_facts import EarlierDrill, LivedConnection, SlotFact, SnapshotFact
from engine.evidence.receipts import Receipt
from engine.model import Destination, Event, EventHead, Incident, NotCaptured, Timings, TlsFacts, Versions
from engine.model.report import (
    Chapter,
    DeletionRow,
    DrillRow,
    FailedAttempt,
    KeptBy,
    Period,
    ReportInstallation,
    Scope,
    TargetSource,
)
from engine.model.retention import Reconciliation

_REASONS = 20
"""Reasons of one drill that are told; the receipt names all."""


@dataclass(frozen=True, slots=True)
class DrillFact:
    """A receipt, but for its tables. ``position``: its place in the order in which drills were written."""

    snapshot_id: str
    taken_at: datetime
    position: int
    row: DrillRow
    timings: Timings
    tls: TlsFacts
    versions: Versions
    tables_captured: int
    tables_total: int
    not_captured: tuple[NotCaptured, ...]


@dataclass(frozen=True, slots=True)
class RetentionFacts:
    """What retention says now. ``kept``: by rule."""

    words: str
    has_policy: bool
    changed_at: datetime | None
    paused: str | None
    stored: int
    stored_bytes: int
    kept: tuple[KeptBy, ...]
    pinned: int


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """One connection's month. ``before``: the drill that proves the newest snapshot from before the month.

    ``undecided``: slots of the month that nobody has decided, though their time has come.
    """

    lived: LivedConnection
    destination: str
    schedule: str
    schedule_zone: str | None
    drill_policy: str
    target_s: float | None
    target_source: TargetSource | None
    slots: tuple[SlotFact, ...]
    undecided: tuple[datetime, ...]
    snapshots: tuple[SnapshotFact, ...]
    """Taken in the month, or drilled in it."""
    drills: tuple[DrillFact, ...]
    """Ended in the month, in the order in which they were written."""
    before: DrillFact | None
    earlier: tuple[EarlierDrill, ...]
    failed: tuple[FailedAttempt, ...]
    deletions: tuple[DeletionRow, ...]
    retention: RetentionFacts


@dataclass(frozen=True, slots=True)
class DestinationFacts:
    """One destination. ``reconciliations``: oldest first, the newest one from before the month included."""

    destination: Destination
    reconciliations: tuple[Reconciliation, ...]
    other_deletions: tuple[DeletionRow, ...]


@dataclass(frozen=True, slots=True)
class History:
    """The events that the bundle holds: how many, and those that tell of changes. ``withheld``: only hashes of them."""

    head: EventHead
    first_seq: int
    last_seq: int
    withheld: int
    changes: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything. ``floors``: the security floor of each PostgreSQL major, as ``170012``."""

    period: Period
    scope: Scope
    installation: ReportInstallation
    software: str
    built_at: datetime
    revision: int
    connections: tuple[ConnectionFacts, ...]
    destinations: tuple[DestinationFacts, ...]
    incidents: tuple[Incident, ...]
    history: History
    receipts: int
    floors: dict[int, int]
    destination_names: dict[str, str]
    posture: tuple[Chapter, ...] = ()


def drill_fact(receipt: Receipt, receipt_sha256: str, position: int) -> DrillFact:
    """What the report tells of a receipt."""
    reasons = [failure.message for failure in receipt.failures]
    reasons += [f"{skip.kind} {skip.name}: {skip.reason}" for skip in receipt.skips]
    if len(reasons) > _REASONS:
        reasons = [*reasons[:_REASONS], f"and {len(reasons) - _REASONS} more: see the receipt"]
    return DrillFact(
        snapshot_id=receipt.snapshot_id,
        taken_at=receipt.taken_at,
        position=position,
        row=DrillRow(
            id=receipt.drill_id,
            ended_at=receipt.drilled_at,
            verdict=receipt.verdict,
            restore_s=receipt.timings.total_s,
            tables_equal=sum(table.equal for table in receipt.tables),
            tables_compared=len(receipt.tables),
            rows_restored=sum(table.restored or 0 for table in receipt.tables),
            skips=len(receipt.skips),
            reasons=tuple(reasons),
            sandbox=receipt.isolation.sandbox,
            network=receipt.isolation.network,
            receipt_sha256=receipt_sha256,
        ),
        timings=receipt.timings,
        tls=receipt.tls,
        versions=receipt.versions,
        tables_captured=receipt.tables_captured,
        tables_total=receipt.tables_total,
        not_captured=receipt.not_captured,
    )
