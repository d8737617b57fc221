"""Rows that are evidence: which tables and columns, and the one hash that stands for such a row in the history.

Whatever is no evidence is left out: leases, progress, when something is due next or was last used. A column that is
empty, or at its default, is left out of the hash as well, so that a column that a later step adds changes no hash.
Ciphertexts are in: an older one put back would open as well as the newest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, Table, and_, or_, select, tuple_

from engine.catalog import schema, schema_access, schema_running

_DOMAIN = b"odb/v1/row\0"
_DEFAULTS: dict[str, Any] = {"false": 0, "true": 1, "''": ""}
_ENDED = ("succeeded", "failed", "cancelled")

Key = tuple[Any, ...]
"""The values of a row's primary key."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One table. ``when``: only such rows are evidence; a job is when it has ended."""

    table: Table
    columns: tuple[Column[Any], ...]
    """The key's first, then the others by name."""
    defaults: tuple[Any, ...]
    keys: int
    words: str
    """What a row is called when people are told of it."""
    when: ColumnElement[bool] | None = None
    tracked: bool = True
    """False: whoever appends an event sees to it; a signed end is bound by the event that follows it."""

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def key_columns(self) -> tuple[Column[Any], ...]:
        return self.columns[: self.keys]

    def label(self, key: Key) -> str:
        """The row in the history: table and key."""
        return "/".join((self.table.name, *map(str, key)))

    def digest(self, values: Sequence[Any]) -> str:
        """The hash of a row in hex; ``values`` as the driver gives them, in the order of ``columns``."""
        told = [
            [column.name, value]
            for column, value, default in zip(self.columns, map(_plain, values), self.defaults, strict=True)
            if value != default
        ]
        text = json.dumps([self.table.name, told], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(_DOMAIN + text.encode("utf-8", "backslashreplace")).hexdigest()

    def every(self, after: Key | None, limit: int) -> Select[Any]:
        """At most ``limit`` rows that are evidence, by key, from the one behind ``after`` on."""
        query = select(*self.columns).order_by(*self.key_columns).limit(limit)
        if self.when is not None:
            query = query.where(self.when)
        if after is None:
            return query
        if self.keys == 1:
            return query.where(self.columns[0] > after[0])
        return query.where(tuple_(*self.key_columns) > tuple_(*after))

    def some(self, keys: Collection[Key]) -> Select[Any]:
        """Those of the rows that are evidence."""
        query = select(*self.columns).where(_one_of(self.key_columns, keys))
        return query if self.when is None else query.where(self.when)

    def matching(self, condition: ColumnElement[bool] | None) -> Select[Any]:
        """The rows that ``condition`` is true of, and for each, last, whether it is evidence."""
        evidence = () if self.when is None else (self.when,)
        query = select(*self.columns, *evidence)
        return query if condition is None else query.where(condition)


def _plain(value: Any) -> Any:
    """As both dialects give it: SQLite has no booleans; what neither would give is told apart all the same."""
    if isinstance(value, bool):
        return int(value)
    return value if value is None or isinstance(value, int | float | str) else repr(value)


def _one_of(columns: tuple[Column[Any], ...], keys: Collection[Key]) -> ColumnElement[bool]:
    if len(columns) == 1:
        return columns[0].in_([key[0] for key in keys])
    return or_(*(and_(*(c == v for c, v in zip(columns, key, strict=True))) for key in keys))


def _kind(
    table: Table, words: str, *left_out: str, when: ColumnElement[bool] | None = None, tracked: bool = True
) -> Kind:
    keys = tuple(table.primary_key.columns)
    assert set(left_out) <= set(table.columns.keys())
    rest = sorted((c for c in table.columns if c not in keys and c.name not in left_out), key=lambda c: c.name)
    columns = (*keys, *rest)
    return Kind(table, columns, tuple(_default(c) for c in columns), len(keys), words, when, tracked)


def _default(column: Column[Any]) -> Any:
    if column.server_default is None:
        return None
    text = str(column.server_default.arg)  # type: ignore[attr-defined]  # every default of ours has one
    return _DEFAULTS[text] if text in _DEFAULTS else int(text)


_run, _who = schema_running, schema_access
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind(schema.installation, "the installation"),
        _kind(schema.destinations, "destination"),
        _kind(schema.connections, "connection", "last_seq"),
        _kind(schema.scratch_servers, "scratch server"),
        _kind(schema.checks, "check"),
        _kind(schema.snapshots, "snapshot"),
        _kind(schema.drills, "drill"),
        _kind(
            schema.jobs,
            "ended job",
            *("attempt", "crashes", "fence", "worker_id", "lease_until", "object_key", "progress", "request_sealed"),
            when=schema.jobs.c.state.in_(_ENDED),
        ),
        _kind(schema.restores, "restore"),
        _kind(_run.schedules, "schedule", "next_at"),
        _kind(_run.drill_policies, "drill policy"),
        _kind(_run.retention_policies, "retention policy"),
        _kind(_run.pins, "pin"),
        _kind(_run.removals, "removal"),
        _kind(_run.deletions, "deletion"),
        _kind(_run.reconciliations, "reconciliation"),
        _kind(_run.drift_limits, "limit of drift"),
        _kind(_run.alert_channels, "alert channel"),
        _kind(_run.incidents, "incident"),
        _kind(_who.operators, "operator", "last_login_at"),
        _kind(_who.api_keys, "API key", "last_used_at"),
        _kind(schema.heads, "signed end", tracked=False),
    )
}
"""By the table's name."""

UNBOUND = frozenset(
    {
        *("revision", "events"),  # a number for pollers, and the history itself
        *("job_log", "job_tables", "workers", "slots", "deliveries"),  # how work goes on
        *("reports", "report_months"),  # each names its sums in the history, and is signed where it lies
        *("sessions", "login_limits", "api_requests"),  # forgotten after a while; logins and their ends are events
    }
)
"""Every other table of the catalog."""


def parts(label: str) -> tuple[str, str]:
    """The words for the kind of a row, and its key, of what stands in the history."""
    table, _, key = label.partition("/")
    return (KINDS[table].words if table in KINDS else table), key


def chunks(keys: Collection[Key], size: int) -> Iterator[list[Key]]:
    """The keys, at most ``size`` at a time: a statement takes only so many values."""
    every = list(keys)
    for start in range(0, len(every), size):
        yield every[start : start + size]
