"""The recovery kit as people and scripts read it: where it lies, in which state, and when the code was last proven."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class KitState(StrEnum):
    """How the kit at a destination stands to the catalog of now."""

    CURRENT = "current"
    STALE = "stale"
    """Something has changed since; a worker writes it anew."""
    ABSENT = "absent"
    """It was never written there."""
    FAILING = "failing"
    """It could not be written; what lay there before still lies there."""


@dataclass(frozen=True, slots=True)
class KitView:
    """The kit at one destination. ``error``: why it could not be written, the last time that was tried."""

    destination: str
    where: str
    state: KitState
    written_at: datetime | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RecoveryView:
    """``confirmed_at``: parts of the code were typed back; ``verified_at``: it was last proven to open everything.

    ``overdue``: it never was, or so long ago that nobody should rely on it.
    """

    recovery_kid: str
    confirmed_at: datetime | None
    verified_at: datetime | None
    overdue: bool
    kits: tuple[KitView, ...]


@dataclass(frozen=True, slots=True)
class RecoveryStep:
    """One thing that the code has to open."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class RecoveryProof:
    """What the code was tried on. ``verified``: it opened all of it, and that is written down."""

    recovery_kid: str
    verified: bool
    at: datetime
    steps: tuple[RecoveryStep, ...]
