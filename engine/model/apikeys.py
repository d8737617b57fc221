"""API keys, what asks with them, and what the checkpoint API counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from engine.model.access import Principal
from engine.model.proof import Verdict
from engine.model.records import JobState


class Scope(StrEnum):
    """What an API key may do."""

    CREATE = "checkpoint:create"
    READ = "checkpoint:read"


class KeyState(StrEnum):
    ACTIVE = "active"
    ENDING = "ending"
    """Replaced by another one; good until its overlap ends."""
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the catalog keeps it: of its text there is the SHA-256 alone. ``connections``: ids; empty: all."""

    id: str
    name: str
    secret_sha256: str = field(repr=False)
    scopes: tuple[Scope, ...]
    connections: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    replaces: str | None = None
    """The key that it was made to replace."""

    def state(self, now: datetime) -> KeyState:
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is None:
            return KeyState.ACTIVE
        return KeyState.ENDING if now < self.expires_at else KeyState.EXPIRED


@dataclass(frozen=True, slots=True)
class ApiKeyView:
    """A key for people. ``connections``: names; empty: all."""

    id: str
    name: str
    state: KeyState
    scopes: tuple[Scope, ...]
    connections: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    replaces: str | None


@dataclass(frozen=True, slots=True)
class MadeApiKey:
    """A new key and, this once, its text."""

    key: ApiKeyView
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiCaller:
    """Whoever holds a key that is good now."""

    principal: Principal
    key_id: str
    name: str
    scopes: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a checkpoint, and the job that answers it. ``joined``: the job was there already."""

    job_id: str
    joined: bool


@dataclass(frozen=True, slots=True)
class DrillCount:
    """How many drills of a connection ended with a verdict."""

    connection: str
    verdict: Verdict
    n: int


@dataclass(frozen=True, slots=True)
class ConnectionFigures:
    """One connection for a monitoring system. Seconds; None: there is none."""

    connection: str
    newest_proven_at: datetime | None
    proof_target_s: float | None
    overdue: bool
    restore_p50_s: float | None
    restore_worst_s: float | None
    restore_last_s: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """An installation for a monitoring system, as far as the caller may see it."""

    at: datetime
    connections: tuple[ConnectionFigures, ...]
    drills: tuple[DrillCount, ...]
    jobs: dict[JobState, int]
    workers_alive: int
    worker_heard_at: datetime | None
