"""An installation rebuilt on an empty machine: what was found at a destination, and what was not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class CatalogThere:
    """A catalog that has left its sealed keys at a destination. ``written_at``: the destination's clock."""

    catalog_id: str
    written_at: datetime


class RemarkKind(StrEnum):
    """What is not as it was written."""

    GAP = "gap"
    """A manifest names one before it that is not there."""
    NO_ARTIFACT = "no-artifact"
    NO_MANIFEST = "no-manifest"
    """Not a snapshot: an attempt that was cut off, or a removal that was."""
    WRONG_SIZE = "wrong-size"
    UNREADABLE = "unreadable"
    """A manifest that is not what was written, or is sealed under a key that the bundle does not have."""
    NUMBER_TWICE = "number-twice"
    """Two installations have written under one name."""
    UNKNOWN_CONNECTION = "unknown-connection"
    """Snapshots of a connection that the bundle does not name: it was removed, or is younger than the bundle."""
    NOT_REACHED = "not-reached"
    """Another destination of the same installation."""
    STILL_WRITTEN = "still-written"
    """Somebody has written there a short while ago."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that is not as it was written. ``subject``: a key of an object, or a name."""

    kind: RemarkKind
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class RecoveredConnection:
    """``snapshots`` that are there; ``lost`` that are known and whose artifact is not. ``resume``: what the schedule
    and the retention policy were, as the commands that set them again."""

    name: str
    known: bool
    snapshots: int
    lost: int
    oldest_at: datetime | None
    newest_at: datetime | None
    newest_id: str | None
    resume: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recovered:
    """A rebuilt installation. Every snapshot of it is unproven: the receipts were lost with the old machine."""

    catalog_id: str
    kid: str
    backend: str
    destination: str
    where: str
    destinations: tuple[str, ...]
    connections: tuple[RecoveredConnection, ...]
    snapshots: int
    lost: int
    foreign: int
    """Objects of other catalogs, which were left alone."""
    remarks: tuple[Remark, ...]
