"""The snapshots that exist. A row is written only after its object and manifest lie at the destination."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, exists, func, insert, select, update

from engine.catalog.failures import damaged
from engine.catalog.removals import is_gone
from engine.catalog.schema import connections
from engine.catalog.schema import snapshots as table
from engine.catalog.schema_running import removals
from engine.catalog.transaction import Tx
from engine.codec import from_plain, to_json
from engine.errors import ConfigError
from engine.model import Counts, Snapshot, SnapshotDetails
from engine.model.retention import RemovalResult

_FOUND_AT_MOST = 20
"""A prefix that fits more ids than this is no use to anybody; the caller only needs to know that it is not unique."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the ledger says of a snapshot whose objects are there, without what was captured."""

    id: str
    connection_id: str
    destination_id: str
    seq: int
    taken_at: datetime
    object_key: str
    manifest_key: str
    size_bytes: int
    artifact_sha256: str
    manifest_sha256: str


def add(tx: Tx, record: Snapshot) -> None:
    """Make an artifact a snapshot. Its number counts as given even if :func:`connections.next_seq` never gave it."""
    tx.change(
        insert(table).values(
            id=record.id,
            connection_id=record.connection_id,
            destination_id=record.destination_id,
            job_id=record.job_id,
            seq=record.seq,
            tag=record.tag,
            taken_at=record.taken_at,
            object_key=record.object_key,
            manifest_key=record.manifest_key,
            size_bytes=record.size_bytes,
            artifact_sha256=record.artifact_sha256,
            manifest_sha256=record.manifest_sha256,
            tables=record.tables,
            rows=record.rows,
            counts=record.counts.value,
            kid=record.kid,
            details=to_json(record.details),
            tables_in_source=record.details.relations_total,
        )
    )
    # a catalog that is rebuilt from a destination learns the numbers from the snapshots
    tx.change(
        update(connections)
        .where(connections.c.id == record.connection_id, connections.c.last_seq < record.seq)
        .values(last_seq=record.seq)
    )


def get(tx: Tx, snapshot_id: str) -> Snapshot:
    """The snapshot with this id. Raises ConfigError config.not-found."""
    row = tx.row(select(table).where(table.c.id == snapshot_id))
    if row is None:
        raise ConfigError("config.not-found", f"there is no snapshot {snapshot_id}")
    return _record(row)


def find(tx: Tx, prefix: str) -> list[Snapshot]:
    """Snapshots whose id begins with ``prefix``, without structure, newest first, 20 at the most."""
    fits = table.c.id.startswith(prefix.lower(), autoescape=True)
    return _records(tx, select(table).where(fits).order_by(table.c.taken_at.desc()).limit(_FOUND_AT_MOST))


def newest(tx: Tx, connection_id: str) -> Snapshot | None:
    """The connection's snapshot with the highest number, without its structure."""
    found = _records(
        tx, select(table).where(table.c.connection_id == connection_id).order_by(table.c.seq.desc()).limit(1)
    )
    return found[0] if found else None


def newest_there(tx: Tx, connection_id: str) -> Snapshot | None:
    """The connection's snapshot with the highest number whose object is not gone."""
    mine = select(table).where(table.c.connection_id == connection_id, ~is_gone())
    found = _records(tx, mine.order_by(table.c.seq.desc()).limit(1))
    return found[0] if found else None


def list_recent(
    tx: Tx, *, connection_id: str | None = None, limit: int, before: datetime | None = None
) -> list[Snapshot]:
    """At most ``limit`` snapshots, newest first, without their structure.

    ``before`` (exclusive, by ``taken_at``) continues a list.
    """
    query = select(table).order_by(table.c.taken_at.desc(), table.c.seq.desc(), table.c.id).limit(limit)
    if connection_id is not None:
        query = query.where(table.c.connection_id == connection_id)
    if before is not None:
        query = query.where(table.c.taken_at < before)
    return _records(tx, query)


def stored_after(tx: Tx, snapshot_id: str, *, limit: int) -> list[Stored]:
    """At most ``limit`` snapshots whose objects are not gone, by id, behind ``snapshot_id``."""
    t = table.c
    query = select(
        *(t.id, t.connection_id, t.destination_id, t.seq, t.taken_at, t.object_key, t.manifest_key),
        *(t.size_bytes, t.artifact_sha256, t.manifest_sha256),
    )
    rows = tx.rows(query.where(t.id > snapshot_id, ~is_gone()).order_by(t.id).limit(limit))
    return [Stored(**row._mapping) for row in rows]


def count(tx: Tx, *, connection_id: str | None = None, after: datetime | None = None) -> int:
    """How many snapshots there are; ``after`` (exclusive, by ``taken_at``) leaves the older ones out."""
    query = select(func.count().label("n")).select_from(table)
    if connection_id is not None:
        query = query.where(table.c.connection_id == connection_id)
    if after is not None:
        query = query.where(table.c.taken_at > after)
    row = tx.row(query)
    return 0 if row is None else int(row.n)


def kids(tx: Tx) -> dict[str, int]:
    """How many snapshots need each key id to be opened by the master key.

    One whose object was removed needs none; one that is missing may come back.
    """
    removed = exists().where(removals.c.snapshot_id == table.c.id, removals.c.result == RemovalResult.REMOVED.value)
    query = select(table.c.kid, func.count().label("n")).where(~removed).group_by(table.c.kid)
    return {row.kid: int(row.n) for row in tx.rows(query)}


def previous_manifest_sha256(tx: Tx, connection_id: str) -> str | None:
    """What the connection's next manifest has to name as its predecessor; None for the first."""
    row = tx.row(
        select(table.c.manifest_sha256)
        .where(table.c.connection_id == connection_id)
        .order_by(table.c.seq.desc())
        .limit(1)
    )
    return None if row is None else str(row.manifest_sha256)


def _records(tx: Tx, query: Select[Any]) -> list[Snapshot]:
    return [_record(row, structure=False) for row in tx.rows(query)]


def _record(row: Row[Any], *, structure: bool = True) -> Snapshot:
    """``structure`` False leaves it out: it is most of the text, and a list of snapshots does not need it."""
    try:
        plain = json.loads(row.details)
        if not structure and isinstance(plain, dict):
            plain.pop("structure", None)
        details = from_plain(SnapshotDetails, plain)
    except ValueError as e:
        raise damaged(f"snapshot {row.id}", str(e)) from e
    return Snapshot(
        id=row.id,
        connection_id=row.connection_id,
        destination_id=row.destination_id,
        job_id=row.job_id,
        seq=row.seq,
        tag=row.tag,
        taken_at=row.taken_at,
        object_key=row.object_key,
        manifest_key=row.manifest_key,
        size_bytes=row.size_bytes,
        artifact_sha256=row.artifact_sha256,
        manifest_sha256=row.manifest_sha256,
        tables=row.tables,
        rows=row.rows,
        counts=Counts(row.counts),
        kid=row.kid,
        details=details,
    )
