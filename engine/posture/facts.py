"""What was looked at, before anything is said about it. Whoever could not look says why with :class:`Unknown`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from engine.config import Settings
from engine.model import ChannelView, DrillRecord, Isolation, NotCaptured, OperatorView, RolePowers, TlsFacts
from engine.model.apikeys import ApiKeyView
from engine.model.retention import LockState, PausedRetention
from engine.model.views import Doctor


@dataclass(frozen=True, slots=True)
class Unknown:
    """It was looked for and not found out. ``why`` ends a sentence that begins with "not known: "."""

    why: str


@dataclass(frozen=True, slots=True)
class Link:
    """A connection string without its password. ``ca`` is the CA file that is used; None: nothing is verified."""

    address: str
    local: bool
    sslmode: str
    ca: str | None
    own_ca: bool = False
    """Somebody named the CA; otherwise it is the bundle that comes with this program."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The newest snapshot of a connection, as far as this room speaks of it."""

    id: str
    at: datetime
    tables: int
    tables_in_source: int
    exact: bool
    role: str
    superuser: bool
    powers: RolePowers | None
    tls: TlsFacts
    not_captured: tuple[NotCaptured, ...]
    kid: str
    sha256: str
    pg_dump: str | None
    below_floor: str | None
    """The security floor that pg_dump was below; None: it was not."""
    sandbox: str


@dataclass(frozen=True, slots=True)
class Drilled:
    """The newest drill of a connection, from its receipt, whose signature holds."""

    record: DrillRecord
    isolation: Isolation


@dataclass(frozen=True, slots=True)
class Source:
    """A connection. ``link`` needs the master key; ``taken`` and ``drilled`` None: there is none."""

    name: str
    provider: str | None
    link: Link | Unknown
    taken: Taken | None
    drilled: Drilled | Unknown | None
    proven_at: datetime | None
    target_s: float | None
    fingerprint: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """The newest listing of a destination, held against the ledger."""

    at: datetime
    agrees: bool
    snapshots: int
    lock: LockState | None


@dataclass(frozen=True, slots=True)
class Place:
    """A destination. ``endpoint`` None: a folder. ``beside``: a folder on the file system of the installation."""

    name: str
    where: str
    endpoint: str | None
    local: bool
    own_ca: bool
    prunes: bool
    connections: int
    policies: int
    """How many of its connections have a retention policy."""
    snapshots: int
    listing: Listing | None
    beside: bool | Unknown = False
    deleted_at: datetime | None = None
    """When something was last deleted there; None: never."""
    versions: bool = False
    """Whether what was deleted there left an older version or a marker behind."""


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """When the master key and the recovery code were last handled, from the history of events. None: never."""

    made_at: datetime
    rotated_at: datetime | None
    restored_at: datetime | None
    code_verified_at: datetime | None


@dataclass(frozen=True, slots=True)
class Sealed:
    """Cells of the catalog that hold secrets. ``kids``: the keys that they are sealed under; ``open``: not sealed."""

    cells: int
    kids: tuple[str, ...]
    open: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Open:
    """A file or directory of the installation that others than its owner may enter, read or write."""

    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class Home:
    """What lies in the installation's home, really looked at. ``open``: what is not its owner's alone."""

    path: str
    mode: int
    owner: str
    ours: bool
    """It belongs to the OS user who looks."""
    looked_at: int
    open: tuple[Open, ...]


@dataclass(frozen=True, slots=True)
class History:
    """The chain of events: how many, and how far its newest signature reaches."""

    events: int
    signed: int
    signed_at: datetime | None
    signer: str


@dataclass(frozen=True, slots=True)
class Logins:
    """The rules of logging in, as this program enforces them. Durations in seconds."""

    idle_s: float
    absolute_s: float
    shortest: int
    free: int
    longest_wait_s: float
    hashes: tuple[str, ...] = ()
    """How the passwords that there are lie in the catalog: ``scrypt ln=17,r=8,p=1``; ``in another form``."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Everything that statements are made from."""

    at: datetime
    catalog_id: str
    os_user: str
    root: bool
    settings: Settings
    doctor: Doctor
    catalog_where: str
    catalog_sslmode: str | None
    """Of a catalog in PostgreSQL; None: it is a file."""
    catalog_local: bool
    sources: tuple[Source, ...]
    places: tuple[Place, ...]
    keys: KeyHistory
    sealed: Sealed
    session_options: str
    """What every session at a source asks for as it starts."""
    home: Home | Unknown
    scratch_entries: int | Unknown
    """How many directories lie where drills restore into."""
    scratch_busy: int
    """How many jobs run that may use them."""
    operators: tuple[OperatorView, ...]
    logins: Logins
    api_keys: tuple[ApiKeyView, ...]
    channels: tuple[ChannelView, ...]
    paused: tuple[PausedRetention, ...]
    history: History
