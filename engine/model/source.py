"""What is known about a source database: server facts, what can be captured, what cannot, what a restore will need."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class CheckStatus(StrEnum):
    OK = "ok"
    INFO = "info"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One preflight finding in plain words, with the SQL or command that mends it (``fix_sql``), if any does."""

    code: str
    status: CheckStatus
    detail: str
    fix_sql: str | None = None


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """TLS as it was in force on the connection. ``weaker_than_verify_full`` is shown wherever the connection is."""

    sslmode: str
    in_use: bool
    version: str | None
    cipher: str | None
    transport: str  # "tcp" | "unix"

    @property
    def weaker_than_verify_full(self) -> bool:
        return self.transport != "unix" and not (self.sslmode == "verify-full" and self.in_use)


@dataclass(frozen=True, slots=True)
class RolePowers:
    """What our role may do at the server beyond reading, as the server itself says. A superuser may do all of it.

    ``writes`` and ``owns`` count tables outside the system's schemas; ``creates_in`` names schemas; ``member_of`` the
    server's own roles that write, run programs or touch the server's files.
    """

    bypassrls: bool
    createrole: bool
    createdb: bool
    replication: bool
    writes: int
    owns: int
    creates_in: tuple[str, ...] = ()
    member_of: tuple[str, ...] = ()
    read_only: bool = False
    """Whether the role's own sessions begin read-only; it can switch that off."""

    @property
    def beyond_reading(self) -> bool:
        """Whether anything of it changes data, definitions or the server."""
        return bool(
            self.createrole
            or self.createdb
            or self.replication
            or self.writes
            or self.owns
            or self.creates_in
            or self.member_of
        )


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the server said about itself and about our role. Sizes in bytes."""

    version: str
    version_num: int
    database: str
    role: str
    encoding: str
    collate: str
    ctype: str
    locale_provider: str  # "libc" | "icu" | "builtin"
    icu_locale: str | None
    in_recovery: bool
    superuser: bool
    bypassrls: bool
    size_bytes: int
    tls: TlsFacts
    system_identifier: str | None = None
    provider: str | None = None
    powers: RolePowers | None = None
    """None: nobody asked, or the server did not say."""

    @property
    def major(self) -> int:
        return self.version_num // 10000


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A relation whose rows are counted.

    ``group`` is the root's ``(schema, table)`` where rows may land in another leaf on restore (hash partitions on an
    enum key): such leaves are compared by their sum. ``only_rows`` is an extension's dump condition
    (``WHERE …``), counted on both sides.
    """

    schema: str
    table: str
    persistence: str = "p"
    only_rows: str | None = None
    group: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something pg_dump could not read, and the flag that keeps it from failing there.

    ``code``: table_unreadable, sequence_value_unreadable, rls_blocks_copy, extconfig_unreadable,
    unlogged_on_standby, large_object_unreadable. ``schema`` is None for large objects (``name`` = oid).
    """

    code: str
    schema: str | None
    name: str
    kind: str
    why: str
    flag: str
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Dependant:
    """An object that is in the archive but cannot restore because of something that was excluded (PREFLIGHT P2)."""

    kind: str
    schema: str | None
    name: str
    identity: str
    on_table: str | None = None


@dataclass(frozen=True, slots=True)
class Extension:
    name: str
    version: str
    schema: str


@dataclass(frozen=True, slots=True)
class RoleNeed:
    """A role that policies, owners, grants or mappings name; ``why`` lists which."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class CollationNeed:
    """A named collation outside pg_catalog that objects use."""

    schema: str
    name: str
    provider: str
    locale: str | None


@dataclass(frozen=True, slots=True)
class RestoreNeeds:
    """What a scratch cluster must have before the archive can be replayed (PREFLIGHT P3)."""

    encoding: str
    collate: str
    ctype: str
    locale_provider: str
    icu_locale: str | None
    extensions: tuple[Extension, ...] = ()
    roles: tuple[RoleNeed, ...] = ()
    collations: tuple[CollationNeed, ...] = ()
    c_libraries: tuple[str, ...] = ()
    event_triggers: tuple[str, ...] = ()
    publications: tuple[str, ...] = ()
    foreign_servers: tuple[str, ...] = ()
    security_label_providers: tuple[str, ...] = ()
    tablespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotCaptured:
    """Something of the source that the snapshot does not hold, why, and the SQL that would change it."""

    kind: str
    name: str
    reason: str
    fix_sql: str | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """One look at the source's catalog. Two inventories are equal when a dump planned on one is right for the other.

    ``lock`` lists every relation (tables and partition roots) that pg_dump will lock; ``sequences`` the sequences
    whose value is captured, with the owning column where there is one.
    """

    tables: tuple[TableEntry, ...]
    lock: tuple[tuple[str, str], ...]
    blockers: tuple[Blocker, ...]
    dependants: tuple[Dependant, ...]
    needs: RestoreNeeds
    never_captured: tuple[NotCaptured, ...]
    relations_total: int
    """Tables and partition leaves that hold rows in the source, readable or not."""
    objects: dict[str, int] = field(default_factory=dict, compare=False)
    """How many of each other kind are captured: views, functions, sequences, indexes, …"""
    sequences: tuple[tuple[str, str], ...] = ()
    """Sequences whose value is captured."""
