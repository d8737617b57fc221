"""What the engine's door hands out: snapshots, jobs and drills put together as people and scripts read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from engine.model.proof import (
    Counts,
    Failure,
    Isolation,
    Normalised,
    Skip,
    TableResult,
    Timings,
    Verdict,
    Versions,
)
from engine.model.records import JobError, JobKind, JobProgress, JobState
from engine.model.retention import Removal
from engine.model.source import Check, NotCaptured
from engine.model.structure import StructureResult


@dataclass(frozen=True, slots=True)
class SnapshotView:
    id: str
    connection: str
    destination: str
    tag: str | None
    taken_at: datetime
    object_key: str
    size_bytes: int
    artifact_sha256: str
    rows: int
    tables: int
    tables_in_source: int
    counts: Counts
    not_captured: tuple[NotCaptured, ...]
    versions: Versions
    tls: str
    location: str = ""
    """The whole place of the artifact; ``object_key`` is relative to the destination."""
    removal: Removal | None = None
    """What became of its object; None: it is there."""


@dataclass(frozen=True, slots=True)
class JobView:
    id: str
    kind: JobKind
    connection: str
    tag: str | None
    state: JobState
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool
    snapshot_id: str | None
    drill_id: str | None
    progress: JobProgress | None
    error: JobError | None
    with_drill: bool = True
    """Whether a checkpoint ends with a drill; without one its snapshot is unproven."""


@dataclass(frozen=True, slots=True)
class DrillView:
    """A drill as its signed receipt tells it. ``restore_s`` = ``timings.total_s``."""

    id: str
    verdict: Verdict
    drilled_at: datetime
    restore_s: float
    timings: Timings
    isolation: Isolation
    versions: Versions
    normalised: tuple[Normalised, ...]
    tables: tuple[TableResult, ...]
    skips: tuple[Skip, ...]
    failures: tuple[Failure, ...]
    receipt_sha256: str
    structure: StructureResult | None = None
    """None: the drill ended before it was compared, or is older than this comparison."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of the ledger. An attempt that made no snapshot has ``snapshot`` None and the job's error."""

    snapshot: SnapshotView | None
    job: JobView
    drill: DrillView | None


@dataclass(frozen=True, slots=True)
class DestinationView:
    id: str
    name: str
    kind: str
    where: str
    created_at: datetime
    tested_at: datetime | None
    connections: int
    endpoint: str | None = None
    """Of a bucket, whose place in it is ``where``."""
    provider: str | None = None
    region: str | None = None
    prunes: bool = False
    """Whether there is a prune credential."""


@dataclass(frozen=True, slots=True)
class ConnectionView:
    id: str
    name: str
    destination: str
    provider: str | None
    created_at: datetime
    tested_at: datetime | None
    accept_empty: bool
    newest_proven_at: datetime | None
    last_verdict: Verdict | None
    proof_target_s: float | None = None
    """How old the newest proof may be, counted from when its snapshot was taken."""
    restore_target_s: float | None = None
    scratch: str | None = None
    """The server that drills restore into; None: a cluster of their own."""
    fingerprint: bool = False
    """Whether the content of every table is compared, not only its rows' number."""
    worker_label: str | None = None
    """Only workers that bear it run the connection's jobs; None: any worker."""


@dataclass(frozen=True, slots=True)
class ConnectionDetail:
    """A connection with its string opened in memory and described without the password."""

    connection: ConnectionView
    address: str
    sslmode: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Captured:
    """What a snapshot of this moment would hold. Sizes in bytes."""

    tables: int
    tables_in_source: int
    objects: dict[str, int]
    database_bytes: int
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PreflightView:
    checks: tuple[Check, ...]
    captured: Captured
    not_captured: tuple[NotCaptured, ...]
    blocking: bool


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of a test of a destination or connection."""

    name: str
    ok: bool
    detail: str
    info: bool = False
    """Worth knowing; nothing depends on it."""


@dataclass(frozen=True, slots=True)
class PolicyView:
    """What the keys of a bucket must be allowed to do, as JSON to paste.

    ``rights`` says it in words where the provider has no policies.
    """

    where: str
    worker: str
    prune: str
    rights: str


@dataclass(frozen=True, slots=True)
class ProviderView:
    """What a bucket at a provider is addressed with. ``region``: the default; None where it must be said."""

    name: str
    title: str
    needs_endpoint: bool
    endpoint_example: str
    region: str | None


@dataclass(frozen=True, slots=True)
class KeyEpoch:
    """One epoch of the master key, and what is still opened with it."""

    epoch: int
    kid: str | None
    """None: this host does not hold it, and no event names it."""
    state: str
    """``current``, ``older``, ``retired``, ``absent`` (from this keyring), ``unknown`` (it does not answer)."""
    since: datetime | None
    """When it became the current one."""
    snapshots: int
    fields: int
    why: str
    """What it is for, in words."""

    @property
    def needed(self) -> bool:
        """Whether something cannot be opened without it."""
        return self.state == "current" or bool(self.snapshots or self.fields)


@dataclass(frozen=True, slots=True)
class KeyStatus:
    backend: str
    state: str
    detail: str
    kid: str
    epoch: int
    recovery_kid: str
    recovery_confirmed_at: datetime | None
    created_at: datetime | None = None
    """When the first epoch was made."""
    rotated_at: datetime | None = None
    """When the current epoch took over; None: the first one is in use."""
    epochs: tuple[KeyEpoch, ...] = ()
    """Newest first."""


@dataclass(frozen=True, slots=True)
class KeyRotated:
    """A rotation of the master key. ``fields``: sealed values that were sealed anew; ``next``: what is left to do."""

    from_kid: str
    to_kid: str
    epoch: int
    backend: str
    fields: int
    older_snapshots: int
    """Snapshots that the older epochs are kept for."""
    next: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SystemdSetup:
    """Commands that make the key permanent on a server. They hold no secret."""

    text: str
    unit: str
    epochs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BackendView:
    name: str
    usable: bool
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class ToolView:
    major: int
    version: str
    where: str
    source: str
    server: bool
    floor: str
    meets_floor: bool


@dataclass(frozen=True, slots=True)
class WorkerView:
    id: str
    host: str
    pid: int
    threads: int
    version: str
    started_at: datetime
    heartbeat_at: datetime
    alive: bool
    labels: tuple[str, ...] = ()
    """Networks that it reaches."""
    jobs: int = 0
    """How many it runs now."""


@dataclass(frozen=True, slots=True)
class CatalogView:
    """Where the catalog lies (without a password), and how much it holds."""

    where: str
    dialect: str
    tables: int
    rows: int


@dataclass(frozen=True, slots=True)
class CatalogMoved:
    """A catalog after its move. ``kept``: the old one; ``setting``: what the environment has to say from now on."""

    where: str
    dialect: str
    tables: int
    rows: int
    kept: str
    setting: str


@dataclass(frozen=True, slots=True)
class ScratchServerView:
    """A server given to drills, without its password. ``connections``: whose drills use it."""

    name: str
    address: str
    tested_at: datetime | None
    connections: tuple[str, ...]
    version: str | None = None
    """As the server said just now; None: it was not asked."""


@dataclass(frozen=True, slots=True)
class Doctor:
    """The health of an installation. ``problems`` are the findings that need somebody to act."""

    version: str
    home: str
    runtime: str
    initialised: bool
    catalog: str
    key: KeyStatus | None
    keyrings: tuple[BackendView, ...]
    postgres: tuple[ToolView, ...]
    workers: tuple[WorkerView, ...]
    isolation: Isolation
    isolation_policy: str
    problems: tuple[str, ...]
    isolation_missing: tuple[str, ...] = ()
    """Why nothing stronger than ``isolation`` is in force; empty when it is the strongest."""
