"""What a drill says, and what it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    PROVEN = "PROVEN"
    PROVEN_WITH_SKIPS = "PROVEN WITH SKIPS"
    FAILED = "FAILED"
    COULD_NOT_VERIFY = "COULD NOT VERIFY"

    @property
    def proven(self) -> bool:
        """Both PROVEN and PROVEN WITH SKIPS count as proven."""
        return self in (Verdict.PROVEN, Verdict.PROVEN_WITH_SKIPS)


class Counts(StrEnum):
    """How the expected row counts were taken: in pg_dump's own MVCC snapshot, or not at all."""

    EXACT = "exact"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class TableCount:
    """Rows of one table (or of one group of leaves, named by its root) as captured."""

    schema: str
    table: str
    rows: int
    only_rows: str | None = None
    group: bool = False
    fingerprint: str | None = None
    """Content, whatever the order of the rows; None where it was not asked for."""


@dataclass(frozen=True, slots=True)
class TableResult:
    """Expected against restored. None: could not be counted on that side."""

    schema: str
    table: str
    expected: int | None
    restored: int | None

    @property
    def equal(self) -> bool:
        return self.expected is not None and self.expected == self.restored


@dataclass(frozen=True, slots=True)
class Skip:
    """A captured object that the drill could not exercise."""

    kind: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Normalised:
    """Something replayed in another form without loss of data: owner, grant, extension created beforehand."""

    kind: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Failure:
    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Timings:
    """Phase durations of a drill in seconds; ``total_s`` is the tested restore time."""

    fetch_s: float = 0.0
    open_s: float = 0.0
    list_s: float = 0.0
    scratch_s: float = 0.0
    restore_s: float = 0.0
    verify_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Versions:
    server: str | None
    pg_dump: str | None
    pg_restore: str | None
    scratch: str | None
    offsitedb: str


@dataclass(frozen=True, slots=True)
class Isolation:
    """What stood between the drill and the host. ``sandbox``: "bubblewrap", "unshare" or "none"."""

    user: str
    network: str  # "none" | "host"
    sandbox: str
