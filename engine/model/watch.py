"""What a console shows: frozen views that one look at the catalog builds, light enough for ten thousand snapshots.

The lines of the ledger come from the catalog's columns alone. A receipt is read, and its signature checked, when its
line is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from engine.model.alerting import Incident
from engine.model.proof import Timings, Verdict
from engine.model.records import JobState, PhaseTime
from engine.model.restoring import RestoreRecord
from engine.model.retention import Removal
from engine.model.views import Attempt, JobView


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """A snapshot with its newest drill, or (``snapshot_id`` None) a checkpoint that made none.

    ``verdict`` None: unproven. ``summary`` is the first failure of the drill, or the job's error, in words; may be
    empty. Text in it comes from other people's databases.
    """

    snapshot_id: str | None
    job_id: str
    connection: str
    provider: str | None
    at: datetime
    tag: str | None
    state: JobState
    verdict: Verdict | None
    skips: int
    tables: int | None
    tables_in_source: int | None
    rows: int | None
    size_bytes: int | None
    restore_s: float | None
    summary: str


@dataclass(frozen=True, slots=True)
class Headline:
    """How one connection stands. Durations in seconds; ``trend``: restore times of the newest proven drills, oldest
    first. ``overdue``: there is a target for the age of the newest proof, and it is missed."""

    connection: str
    provider: str | None
    destination: str
    newest_proven_at: datetime | None
    proof_target_s: float | None
    overdue: bool
    restore_target_s: float | None
    restore_p50_s: float | None
    restore_worst_s: float | None
    trend: tuple[float, ...]
    last_verdict: Verdict | None
    next_run_at: datetime | None
    job: JobView | None
    """The newest job of the connection that has not ended."""
    schedule: str = ""
    """In words, with its time zone; empty: checkpoints on demand."""
    paused: bool = False
    drills: str = "every snapshot"
    """Which snapshots of the schedule are drilled, in words."""
    target_by_schedule: bool = False
    """Nobody set ``proof_target_s``: it follows from the schedule."""


@dataclass(frozen=True, slots=True)
class DestinationUse:
    """What lies at a destination, as far as the catalog knows."""

    name: str
    where: str
    snapshots: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that the home screen says. ``lines`` newest first; ``jobs`` that have not ended, oldest first."""

    headlines: tuple[Headline, ...]
    lines: tuple[LedgerLine, ...]
    jobs: tuple[JobView, ...]
    destinations: tuple[DestinationUse, ...]
    workers_alive: int
    worker_since: datetime | None
    recovery_confirmed: bool
    incidents: tuple[Incident, ...] = ()
    """Those that are open, oldest first."""
    gone: Mapping[str, Removal] = field(default_factory=dict)
    """Snapshots whose object is gone, being removed or locked, by id."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What the connection's earlier proven drills took: medians per phase, p50 and worst of the whole, in seconds."""

    drills: int
    timings: Timings
    snapshot_s: float | None
    p50_s: float
    worst_s: float


@dataclass(frozen=True, slots=True)
class TableProgress:
    """Rows of one table while a restore runs. ``restored`` None: not begun. ``done``: its data is in."""

    schema: str
    table: str
    expected: int | None
    restored: int | None
    done: bool


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a job's log; ``n`` counts from 1 within the job."""

    n: int
    at: datetime
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class LiveJob:
    """A job as it runs, or as it ended. ``eta_s``: seconds to its end, where history or the phase tells.

    ``tables``: the tables of the snapshot that is drilled, largest first, empty until there is one. ``attempt`` has
    the receipt once there is one.
    """

    job: JobView
    phases: tuple[PhaseTime, ...]
    tables: tuple[TableProgress, ...]
    tables_done: int
    usual: Usual | None
    eta_s: float | None
    log: tuple[LogLine, ...]
    attempt: Attempt
    restore: RestoreRecord | None = None
    """What a restore came to at its target."""


@dataclass(frozen=True, slots=True)
class DrillLine:
    """One drill of the history, from the catalog's columns."""

    id: str
    snapshot_id: str
    connection: str
    tag: str | None
    taken_at: datetime
    drilled_at: datetime
    verdict: Verdict
    skips: int
    restore_s: float
    summary: str
    receipt_sha256: str


@dataclass(frozen=True, slots=True)
class ReceiptView:
    """A receipt as it is signed: the document itself, whether its signature and its place in the chain hold."""

    drill_id: str
    text: str
    sha256: str
    chained: bool
    """Whether it names the receipt before it by the hash that this catalog holds."""
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class RowDelta:
    schema: str
    table: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Drift:
    """A snapshot held against the previous proven one of its connection (None: it is the first)."""

    previous_id: str | None
    previous_at: datetime | None
    appeared: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    rows: tuple[RowDelta, ...] = ()
    """Tables whose number of rows differs, the largest difference first."""


@dataclass(frozen=True, slots=True)
class AddressView:
    """A connection string, read and described without its password."""

    address: str
    provider: str | None
    sslmode: str
    notes: tuple[str, ...]


__all__ = [
    "AddressView",
    "DestinationUse",
    "Drift",
    "DrillLine",
    "Headline",
    "LedgerLine",
    "LiveJob",
    "LogLine",
    "Overview",
    "PhaseTime",
    "ReceiptView",
    "RowDelta",
    "TableProgress",
    "Usual",
]
