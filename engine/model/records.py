"""The things that the catalog keeps, as the rest of the engine sees them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from engine.model.bucket import BucketSpec, SealedKeys
from engine.model.proof import Counts, TableCount, Verdict, Versions
from engine.model.source import Dependant, NotCaptured, RestoreNeeds, RolePowers, TlsFacts
from engine.model.structure import Structure


class DestinationKind(StrEnum):
    FOLDER = "folder"
    S3 = "s3"


@dataclass(frozen=True, slots=True)
class Installation:
    """The one row that says whose catalog this is. Key ids are 16 hex digits; public keys raw bytes in hex."""

    catalog_id: str
    created_at: datetime
    key_backend: str
    key_epoch: int
    kid: str
    key_check: str
    recovery_kid: str
    recovery_public: str
    recovery_bundle: str
    signer_public: str
    signer_sealed: str
    recovery_confirmed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    id: str
    name: str
    kind: DestinationKind
    folder: str | None
    created_at: datetime
    tested_at: datetime | None
    bucket: BucketSpec | None = None
    keys: SealedKeys | None = None

    @property
    def where(self) -> str:
        """The place for people: a folder's path, or bucket and prefix as an URL. Keys of objects are relative to it."""
        if self.bucket is None:
            return self.folder or ""
        return f"s3://{self.bucket.bucket}/{self.bucket.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """A connection as listed: nothing of the connection string is in clear."""

    id: str
    name: str
    destination_id: str
    conninfo_sealed: str
    provider: str | None
    accept_empty: bool
    created_at: datetime
    tested_at: datetime | None
    proof_target_s: float | None = None
    """How old the newest proof may be."""
    restore_target_s: float | None = None
    """How long a restore may take."""
    fingerprint: bool = False
    """Whether the content of every table is compared, too."""
    scratch_server_id: str | None = None
    """The server that drills restore into instead of a cluster of their own."""
    worker_label: str | None = None
    """Only workers that bear this label reach the database; None: any worker."""


@dataclass(frozen=True, slots=True)
class ScratchServer:
    """A server that drills may restore into instead of a cluster of their own."""

    id: str
    name: str
    conninfo_sealed: str
    created_at: datetime
    tested_at: datetime | None


@dataclass(frozen=True, slots=True)
class SnapshotDetails:
    """What was captured. Lies in the catalog, and in the sealed part of the manifest."""

    versions: Versions
    tables: tuple[TableCount, ...]
    not_captured: tuple[NotCaptured, ...]
    dependants: tuple[Dependant, ...]
    needs: RestoreNeeds
    objects: dict[str, int]
    tls: TlsFacts
    relations_total: int
    plaintext_bytes: int
    dump_bytes: int
    dump_flags: tuple[str, ...]
    role: str
    superuser: bool
    database: str
    duration_s: float
    captured_sequences: tuple[tuple[str, str], ...] = ()
    structure: Structure | None = None
    """None: captured before structure was."""
    dump_sandbox: str = "none"
    """What pg_dump ran in."""
    system_identifier: str | None = None
    """PostgreSQL's own number of the server, where our role may read it."""
    tag: str | None = None
    counts: Counts | None = None
    tables_captured: int | None = None
    """As in the snapshot's row, for a catalog that is rebuilt from manifests. None: written before these were."""
    members_sha256: str | None = None
    """The digest of the plaintext (``engine.stream.gzip.MemberDigest``)."""
    plaintext_sha256: str | None = None
    """Instead of it, in snapshots from before there was that digest."""
    powers: RolePowers | None = None
    """What our role could do beyond reading; None: captured before that was asked, or the server did not say."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One artifact that exists at a destination, with its manifest. ``id`` is the artifact id (32 hex digits)."""

    id: str
    connection_id: str
    destination_id: str
    job_id: str
    seq: int
    tag: str | None
    taken_at: datetime
    object_key: str
    manifest_key: str
    size_bytes: int
    artifact_sha256: str
    manifest_sha256: str
    tables: int
    rows: int
    counts: Counts
    kid: str
    details: SnapshotDetails


@dataclass(frozen=True, slots=True)
class DrillRecord:
    """One drill that ended with a verdict. ``receipt`` is the signed evidence, canonical JSON as written.

    ``skips`` and ``summary`` (the first failure in words, or empty) are taken out of it for lists.
    """

    id: str
    snapshot_id: str
    job_id: str
    verdict: Verdict
    started_at: datetime
    finished_at: datetime
    restore_s: float
    receipt: str
    receipt_sha256: str
    skips: int = 0
    summary: str = ""


class JobKind(StrEnum):
    CHECKPOINT = "checkpoint"
    DRILL = "drill"
    RESTORE = "restore"
    """Into a server of the user's."""
    PRUNE = "prune"
    """What the retention policy of a connection does not keep is removed."""


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"
    """The master key cannot be had; runs again when it can."""

    @property
    def ended(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class JobError:
    code: str
    message: str
    hint: str
    exit_status: int


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """A phase that a job has left behind: how long it took and how far it counted."""

    phase: str
    seconds: float
    done: int
    total: int | None
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class JobProgress:
    """The newest report of a running job, thinned out to about one a second. ``rate`` is units per second."""

    phase: str
    done: int
    total: int | None
    unit: str
    note: str
    rate: float | None
    updated_at: datetime
    phases: tuple[PhaseTime, ...] = ()
    """Phases that this attempt has left behind, in their order."""


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt at work. ``fence`` grows with every claim: a worker that lost its lease can write nothing."""

    id: str
    kind: JobKind
    connection_id: str
    snapshot_id: str | None
    drill_id: str | None
    tag: str | None
    state: JobState
    attempt: int
    fence: int
    worker_id: str | None
    lease_until: datetime | None
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: JobError | None
    object_key: str | None = None
    """Where the artifact of this attempt is being written, so that what a killed worker left can be removed."""
    progress: JobProgress | None = None
    request_sealed: str | None = None
    """What was asked for where that holds a secret (a restore's target); forgotten when the job ends."""
    with_drill: bool = True
    """Whether a checkpoint ends with a drill of its snapshot."""
    requested_by: str | None = None
    """Who asked for it, as in events."""


@dataclass(frozen=True, slots=True)
class Worker:
    id: str
    host: str
    pid: int
    version: str
    threads: int
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None
    labels: frozenset[str] = frozenset()
    """Networks that it reaches: connections that ask for one of them are for this worker, too."""
    place: str | None = None
    """Device and number of the directory that its locked file lies in: who sees the same one can test the lock."""


ROW = "row:"
"""What the keys in an event's data begin with that name rows; the rest is the row's label."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the append-only history. ``data`` holds short facts, never secrets.

    Under keys that begin with :data:`ROW` it holds the hashes of the rows that the event changed, before and after.
    """

    seq: int
    at: datetime
    actor: str
    kind: str
    subject: str
    data: dict[str, str | int | bool | None] = field(default_factory=dict)
    previous: str = ""
    hash: str = ""

    @property
    def told(self) -> dict[str, str | int | bool | None]:
        """``data`` for people: without the hashes of rows."""
        return {key: value for key, value in self.data.items() if not key.startswith(ROW)}


@dataclass(frozen=True, slots=True)
class EventHead:
    """The end of the history as it was when it was signed (armored SSHSIG, namespace ``offsitedb-head``)."""

    seq: int
    hash: str
    signature: str
    signed_at: datetime
