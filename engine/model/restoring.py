"""Restores into a server of the user's: what was asked, what it would do there, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engine.model.proof import Failure, TableResult
from engine.model.source import Check, CheckStatus, TlsFacts


class Parts(StrEnum):
    """What of the chosen objects is restored."""

    ALL = "all"
    DATA = "data-only"
    SCHEMA = "schema-only"


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """``tables`` are ``schema.table`` to the letter; without tables and schemas it is the whole archive.

    ``clean``: objects of the archive that are at the target are dropped first. ``superuser_objects``: what only a
    superuser may create is restored, too.
    """

    tables: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    parts: Parts = Parts.ALL
    jobs: int = 1
    clean: bool = False
    superuser_objects: bool = False

    @property
    def whole(self) -> bool:
        return not self.tables and not self.schemas


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What a job is asked. Holds the password: it is sealed wherever it lies. ``database`` was typed back.

    ``drops``: what the plan that was agreed to would drop; the job drops nothing else.
    """

    url: str
    options: RestoreOptions
    database: str
    drops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetServer:
    """The server that is restored into, without a password."""

    address: str
    database: str
    version: str
    role: str
    superuser: bool
    tls: TlsFacts


@dataclass(frozen=True, slots=True)
class TargetContents:
    """What is in the target's database already. Rows are the server's own estimate."""

    schemas: tuple[str, ...]
    tables: int
    others: int
    rows_estimate: int
    size_bytes: int
    large_objects: int = 0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An object of the archive that is not restored, and why."""

    kind: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class TableLoad:
    """A table that is loaded; ``rows`` as captured, None where they were not counted alone."""

    schema: str
    table: str
    rows: int | None


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What a restore would do. A finding that is FAIL refuses it."""

    snapshot_id: str
    connection: str
    taken_at: datetime
    source_version: str
    options: RestoreOptions
    target: TargetServer
    there: TargetContents
    pg_restore: str
    creates: dict[str, int]
    loads: tuple[TableLoad, ...]
    drops: tuple[str, ...]
    uses: tuple[str, ...]
    """Objects that what is restored needs, and that are at the target."""
    left_out: tuple[LeftOut, ...]
    findings: tuple[Check, ...]

    @property
    def rows(self) -> int:
        return sum(table.rows or 0 for table in self.loads)

    @property
    def all_or_nothing(self) -> bool:
        """Whether a restore that fails or is cancelled leaves nothing."""
        return self.options.jobs == 1

    @property
    def refusals(self) -> tuple[Check, ...]:
        return tuple(found for found in self.findings if found.status is CheckStatus.FAIL)


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """What came of it. ``state``: restored, differs, failed, cancelled. ``remains``: what is left at the target."""

    state: str
    target: TargetServer
    options: RestoreOptions
    pg_restore: str
    tables: tuple[TableResult, ...]
    left_out: tuple[LeftOut, ...]
    failures: tuple[Failure, ...]
    remains: str
    fetch_s: float = 0.0
    restore_s: float = 0.0
    verify_s: float = 0.0

    @property
    def rows(self) -> int:
        return sum(table.restored or 0 for table in self.tables)

    @property
    def differing(self) -> tuple[TableResult, ...]:
        return tuple(table for table in self.tables if not table.equal)


@dataclass(frozen=True, slots=True)
class RestoreRecord:
    """One restore that touched a target, as it ended. ``equal``: no error, and every table has the captured rows."""

    id: str
    job_id: str
    snapshot_id: str
    target: str
    started_at: datetime
    finished_at: datetime
    equal: bool
    outcome: RestoreOutcome


@dataclass(frozen=True, slots=True)
class NewDatabase:
    """A snapshot and the new database that it is to be restored into. ``rows`` as captured."""

    snapshot_id: str
    connection: str
    taken_at: datetime
    database: str
    rows: int


@dataclass(frozen=True, slots=True)
class RestoreLine:
    """A past restore as it is listed."""

    connection: str
    taken_at: datetime
    record: RestoreRecord
