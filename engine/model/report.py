"""The monthly Restore Drill Report: everything it holds, as facts. What is said of them in words is the renderer's.

``_s`` are seconds, ``_bytes`` whole numbers, ``_at`` aware UTC instants; days are ``2026-11-30`` in the report's zone.
Percentiles are nearest-rank: the smallest value that at least so many per cent of the values do not exceed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engine.model.reportrows import (
    ChangeRow,
    Chapter,
    ClientRow,
    Criterion,
    Day,
    DayState,
    DeletionRow,
    DrillRow,
    FailedAttempt,
    IsolationRow,
    KeptBy,
    MissedSlot,
    MonthTimes,
    PhaseTimes,
    ReconciliationRow,
    ReportCoverage,
    ReportException,
    ReportLock,
    SnapshotRow,
    TlsRow,
    Verdicts,
)

__all__ = [
    "REPORT_VERSION",
    "BundleCheck",
    "BundleVerdict",
    "ChangeRow",
    "Chapter",
    "ClientRow",
    "ConnectionReport",
    "Controls",
    "Criterion",
    "Day",
    "DayState",
    "DeletionRow",
    "DestinationReport",
    "DrillRow",
    "FailedAttempt",
    "IsolationRow",
    "KeptBy",
    "MissedSlot",
    "MonthTimes",
    "Period",
    "PhaseTimes",
    "ReconciliationRow",
    "RecoveryPoint",
    "Report",
    "ReportCoverage",
    "ReportException",
    "ReportExported",
    "ReportInstallation",
    "ReportLine",
    "ReportLock",
    "ReportSummary",
    "RestoreTimes",
    "RetentionProof",
    "Scope",
    "SnapshotRow",
    "TargetSource",
    "TlsRow",
    "Verdicts",
    "Verifying",
]

REPORT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Period:
    """One month as clocks in ``time_zone`` show it: from ``begin_at`` on, before ``end_at``.

    ``through_at``: up to when it is told, ``end_at`` but for a month that was not over when the report was built.
    """

    month: str
    begin_at: datetime
    end_at: datetime
    through_at: datetime
    time_zone: str

    @property
    def complete(self) -> bool:
        return self.through_at == self.end_at


@dataclass(frozen=True, slots=True)
class Scope:
    """Names of the connections that it is about. ``everything``: those were all that there were in the month."""

    connections: tuple[str, ...]
    everything: bool


@dataclass(frozen=True, slots=True)
class ReportInstallation:
    """Whose report it is. Key ids are 16 hex digits; ``signer`` is the public key as OpenSSH writes it."""

    catalog_id: str
    created_at: datetime
    key_backend: str
    kid: str
    key_epoch: int
    recovery_kid: str
    recovery_confirmed_at: datetime | None
    signer: str
    signer_fingerprint: str
    """``SHA256:…``, as ``ssh-keygen -l`` shows it."""


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """The month in numbers, over all connections of the scope. ``gaps``: days on which a snapshot was due and none was
    made, counted per connection."""

    connections: int
    due: int
    made: int
    missed: int
    failed_attempts: int
    drills: Verdicts
    undrilled: int
    gaps: int
    open_exceptions: int
    targets_missed: tuple[str, ...]
    """``NAME: recovery point`` or ``NAME: restore time`` where a target was set and not met."""
    deletions: int
    stored_bytes: int
    """Size of the snapshots that were made in the month."""


@dataclass(frozen=True, slots=True)
class RestoreTimes:
    """Tested restore times: of the drills of the month that proved their snapshot. ``within_target`` None: there is no
    target, or nothing was proven; the worst time is held against it."""

    drills: int
    p50_s: float | None
    p95_s: float | None
    worst_s: float | None
    worst_drill_id: str | None
    target_s: float | None
    within_target: bool | None
    phases: tuple[PhaseTimes, ...]
    months: tuple[MonthTimes, ...]
    """This month and the eleven before it, oldest first. The earlier ones are from the ledger; their receipts are in
    the reports of those months."""


class TargetSource(StrEnum):
    OPERATOR = "set by an operator"
    SCHEDULE = "implied by the schedule"


@dataclass(frozen=True, slots=True)
class RecoveryPoint:
    """The largest gap between two proven snapshots that follow each other, by when they were taken.

    ``from_at`` None: nothing was proven before, and the gap is counted from when the connection was made or, if that
    was earlier, the month began. ``to_at`` None: nothing was proven after, and the gap is counted up to the end of what
    is told. The gap that reaches into the month from before it counts whole.
    """

    proven: int
    """Snapshots taken in the month whose newest drill in it proved them."""
    largest_s: float | None
    from_at: datetime | None
    to_at: datetime | None
    target_s: float | None
    target_source: TargetSource | None
    within_target: bool | None
    before_receipt_sha256: str | None = None
    """Receipt that proved the newest snapshot before the month; it is in the bundle, too."""


@dataclass(frozen=True, slots=True)
class RetentionProof:
    """What is kept, as it was at ``looked_at`` (when the report was built), and what went in the month.

    ``words``: the policy in words. ``kept`` is empty where there is no policy: everything stays.
    """

    words: str
    has_policy: bool
    changed_at: datetime | None
    paused: str | None
    looked_at: datetime
    stored: int
    stored_bytes: int
    kept: tuple[KeptBy, ...]
    pinned: int
    deletions: tuple[DeletionRow, ...]


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """One connection in the month."""

    id: str
    name: str
    provider: str | None
    destination: str
    created_at: datetime
    removed_at: datetime | None
    schedule: str
    """In words; ``on demand`` without one. As it is when the report is built."""
    schedule_zone: str | None
    drill_policy: str
    due: int
    made: int
    missed: int
    drills: Verdicts
    undrilled: int
    """Snapshots of the month that no drill of the month has looked at."""
    stored_bytes: int
    newest_proven_at: datetime | None
    """When the newest snapshot that was proven before the period ended had been taken."""
    newest_proven_age_s: float | None
    """Its age when the period ended."""
    coverage: ReportCoverage | None
    days: tuple[Day, ...]
    restore: RestoreTimes
    recovery: RecoveryPoint
    retention: RetentionProof
    snapshots: tuple[SnapshotRow, ...]
    """By when they were taken, oldest first."""
    missed_slots: tuple[MissedSlot, ...]
    failed_attempts: tuple[FailedAttempt, ...]
    tls: tuple[TlsRow, ...]


@dataclass(frozen=True, slots=True)
class DestinationReport:
    """One destination of the scope. ``transport``: ``local folder``, ``https, certificate checked`` or ``http, not
    encrypted``. ``lock`` None: no Object Lock was seen."""

    id: str
    name: str
    kind: str
    where: str
    provider: str | None
    transport: str
    lock: ReportLock | None
    reconciliations: tuple[ReconciliationRow, ...]
    """Oldest first."""
    other_deletions: tuple[DeletionRow, ...]
    """Deletions of objects that belong to no snapshot of the ledger."""


@dataclass(frozen=True, slots=True)
class Controls:
    """``kids``: ids of the keys that the month's snapshots are sealed with."""

    cipher: str
    kids: tuple[str, ...]
    clients: tuple[ClientRow, ...]
    isolation: tuple[IsolationRow, ...]
    access_changes: tuple[ChangeRow, ...]
    key_changes: tuple[ChangeRow, ...]
    other_changes: tuple[ChangeRow, ...]
    """Of connections, destinations, schedules, retention and alerts."""
    criteria: tuple[Criterion, ...]


@dataclass(frozen=True, slots=True)
class Verifying:
    """The end of the history as it was signed, and what the bundle holds of it.

    ``withheld``: events of connections that the report is not about; of those there are hashes only.
    """

    head_seq: int
    head_hash: str
    head_signed_at: datetime
    head_signature: str
    first_seq: int
    last_seq: int
    events: int
    withheld: int
    receipts: int
    commands: tuple[str, ...]
    not_proven: tuple[str, ...]
    """Whole sentences: what the signature does not prove."""


@dataclass(frozen=True, slots=True)
class Report:
    """One month's report, as ``report.json`` holds it. ``revision`` counts from 1 for each month and scope."""

    period: Period
    scope: Scope
    installation: ReportInstallation
    software: str
    built_at: datetime
    revision: int
    summary: ReportSummary
    connections: tuple[ConnectionReport, ...]
    """By name."""
    destinations: tuple[DestinationReport, ...]
    exceptions: tuple[ReportException, ...]
    """Open ones first, then by when they began."""
    controls: Controls
    verifying: Verifying
    posture: tuple[Chapter, ...] = ()
    v: int = REPORT_VERSION


# what the door hands out


@dataclass(frozen=True, slots=True)
class ReportStamp:
    """That somebody else was asked to stamp a report. ``at``: when it was there, as they say; None: ``error`` says why.

    ``held``: their signature was held against the CA that the settings name.
    """

    asked_at: datetime
    by: str
    at: datetime | None
    held: bool
    error: str | None


@dataclass(frozen=True, slots=True)
class ReportLine:
    """One report that was built. ``folder`` None: it lies on another host (``host``), or is gone.

    ``stamp`` None: no time stamp was asked for.
    """

    id: str
    month: str
    scope: Scope
    revision: int
    built_at: datetime
    built_by: str
    host: str
    folder: str | None
    sha256: str
    """Of ``SHA256SUMS``, which names every other file's."""
    connections: int
    made: int
    drills: int
    proven: int
    failed: int
    gaps: int
    open_exceptions: int
    stamp: ReportStamp | None = None


@dataclass(frozen=True, slots=True)
class ReportExported:
    """``path``: the file or folder that was written."""

    month: str
    revision: int
    format: str
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BundleCheck:
    """One thing that was looked at in a bundle."""

    name: str
    ok: bool
    detail: str


STAMP_CHECK = "time stamp"
"""The check of a bundle's time stamp; when it alone fails the report is as it was signed all the same."""


@dataclass(frozen=True, slots=True)
class BundleStamp:
    """The time stamp in a bundle. ``held``: against the CA that was given; without that anybody may have made it."""

    at: datetime
    accuracy_s: float | None
    by: str
    held: bool
    shows: str


@dataclass(frozen=True, slots=True)
class BundleVerdict:
    """What a bundle's verification found. ``ok``: every check passed. ``stamp`` None: there is none, or it is bad."""

    ok: bool
    month: str
    revision: int
    signer: str
    signer_fingerprint: str
    checks: tuple[BundleCheck, ...]
    does_not_show: tuple[str, ...]
    stamp: BundleStamp | None = None
