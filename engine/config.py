"""Settings of an installation: ``config.toml`` in the home, every key optional, unknown keys refused.

The environment says only *where* things are (``OFFSITEDB_HOME``, ``OFFSITEDB_RUNTIME``, ``OFFSITEDB_DATABASE_URL``);
how they behave is written down in the file, where the next operator finds it. No secret belongs in either.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engine.codec import from_plain
from engine.errors import ConfigError


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    threads: int = 2
    lease_s: float = 30.0
    """A job whose worker has not renewed its lease for this long belongs to nobody."""
    grace_s: float = 10.0
    """How long a stopping worker lets running jobs go on before it puts them back in the queue."""
    labels: tuple[str, ...] = ()
    """Networks that this host reaches: connections that ask for one of them are for its workers, too."""


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    lock_timeout_s: float = 60.0
    stall_timeout_s: float = 900.0
    """A dump of which no byte arrives for this long is ended (it holds locks that migrations wait for)."""


@dataclass(frozen=True, slots=True)
class DrillSettings:
    isolation: Literal["required", "best-effort"] = "best-effort"
    jobs: int = 2
    timeout_s: float = 6 * 3600.0
    statement_timeout_s: float = 3600.0
    max_scratch_bytes: int = 0
    """What a drill may write below its scratch directory; 0: 4 times the source's size and 1 GiB more."""


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    strict_floor: bool = False
    """Refuse clients below the security floor instead of warning."""
    bin_dirs: tuple[str, ...] = ()
    """More places to look for PostgreSQL binaries."""


@dataclass(frozen=True, slots=True)
class BucketSettings:
    connect_timeout_s: float = 10.0
    answer_timeout_s: float = 60.0
    """Without a byte for this long a request counts as lost, and is made again as often as is worth while."""


@dataclass(frozen=True, slots=True)
class KeyringSettings:
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class AccessSettings:
    service_user: bool = False
    """The account belongs to the service and people arrive through sshd: no token and no file is kept for anybody."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    keep_alive_after_s: float = 10.0
    """A blocking request that takes longer gets a first blank, so that no proxy on the way cuts it."""
    keep_alive_every_s: float = 15.0
    longest_wait_s: float = 3600.0
    """How long a blocking request is answered at the latest; the checkpoint goes on."""
    connections: int = 256
    """How many clients may be connected at the same time."""
    requests_per_minute: int = 120
    """Of one API key."""


@dataclass(frozen=True, slots=True)
class ReportSettings:
    time_zone: str = ""
    """In which months and days of the monthly report begin; empty: this host's."""
    timestamp_url: str = ""
    """An authority (RFC 3161) that is asked for a time stamp of every report; empty: none is."""
    timestamp_ca: str = ""
    """A PEM file with the CA certificates that its stamps are held against."""
    timestamp_allow_private: bool = False
    """The authority may be in a private network or on this host, and be asked over http."""


@dataclass(frozen=True, slots=True)
class Settings:
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    snapshot: SnapshotSettings = field(default_factory=SnapshotSettings)
    drill: DrillSettings = field(default_factory=DrillSettings)
    postgres: PostgresSettings = field(default_factory=PostgresSettings)
    bucket: BucketSettings = field(default_factory=BucketSettings)
    keyring: KeyringSettings = field(default_factory=KeyringSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    report: ReportSettings = field(default_factory=ReportSettings)


def load(path: Path) -> Settings:
    """The settings in ``path``; defaults where the file or a key is absent.

    Raises ConfigError ``config.invalid`` (not TOML, wrong type or range) and ``config.unknown-key``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):  # what is wrong with the home is said where it is opened
        return Settings()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError("config.invalid", f"{path.name} cannot be read: {e}") from e
    try:
        settings = from_plain(Settings, tomllib.loads(text))
    except tomllib.TOMLDecodeError as e:
        raise ConfigError("config.invalid", f"{path.name} is not TOML: {e}") from e
    except ValueError as e:
        code = "config.unknown-key" if "extra fields" in str(e) else "config.invalid"
        raise ConfigError(code, f"{path.name}: {e}") from e
    _check_ranges(settings, path.name)
    return settings


def database_url() -> str | None:
    """``OFFSITEDB_DATABASE_URL``: catalog and queue on PostgreSQL instead of SQLite files."""
    return os.environ.get("OFFSITEDB_DATABASE_URL") or None


def _check_ranges(settings: Settings, name: str) -> None:
    limits: tuple[tuple[str, float, float, float], ...] = (
        ("worker.threads", settings.worker.threads, 1, 64),
        ("worker.lease_s", settings.worker.lease_s, 3, 3600),
        ("worker.grace_s", settings.worker.grace_s, 0, 86400),
        ("snapshot.lock_timeout_s", settings.snapshot.lock_timeout_s, 1, 86400),
        ("snapshot.stall_timeout_s", settings.snapshot.stall_timeout_s, 10, 86400),
        ("drill.jobs", settings.drill.jobs, 1, 64),
        ("drill.timeout_s", settings.drill.timeout_s, 10, 7 * 86400),
        ("drill.statement_timeout_s", settings.drill.statement_timeout_s, 1, 7 * 86400),
        ("drill.max_scratch_bytes", settings.drill.max_scratch_bytes, 0, 1 << 60),
        ("bucket.connect_timeout_s", settings.bucket.connect_timeout_s, 0.1, 600),
        ("bucket.answer_timeout_s", settings.bucket.answer_timeout_s, 1, 3600),
        ("keyring.timeout_s", settings.keyring.timeout_s, 0.1, 300),
        ("api.keep_alive_after_s", settings.api.keep_alive_after_s, 0, 60),
        ("api.keep_alive_every_s", settings.api.keep_alive_every_s, 0.1, 60),
        ("api.longest_wait_s", settings.api.longest_wait_s, 1, 86400),
        ("api.connections", settings.api.connections, 1, 10_000),
        ("api.requests_per_minute", settings.api.requests_per_minute, 1, 100_000),
    )
    for key, value, low, high in limits:
        if not low <= value <= high:
            raise ConfigError("config.invalid", f"{name}: {key} = {value} is not between {low} and {high}")
