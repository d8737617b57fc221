"""Policies and pins, and the snapshots of a connection as a plan sees them. What follows is decided elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, or_, select, update

from engine.catalog.failures import damaged
from engine.catalog.schema import connections, drills, jobs, snapshots
from engine.catalog.schema_running import pins, removals, schedules
from engine.catalog.schema_running import retention_policies as table
from engine.catalog.transaction import Tx
from engine.codec import from_json, to_json
from engine.errors import ConfigError
from engine.model import JobKind, JobState, Verdict
from engine.model.retention import Candidate, Pin, PinView, Proof, RemovalResult, RetentionPolicy

_OPEN = [state.value for state in JobState if not state.ended]
_VERDICTS = {verdict.value: verdict for verdict in Verdict}


@dataclass(frozen=True, slots=True)
class Policied:
    """A connection's policy, and what planning needs to know of it. ``policy`` None: everything is kept."""

    connection_id: str
    connection: str
    policy: RetentionPolicy | None
    changed_at: datetime | None
    proof_target_s: float | None
    time_zone: str


def set_policy(tx: Tx, connection_id: str, policy: RetentionPolicy, at: datetime) -> None:
    """Give a connection this policy instead of the one it has."""
    values = {"policy": to_json(policy), "changed_at": at}
    if not tx.change(update(table).where(table.c.connection_id == connection_id).values(**values)):
        tx.change(insert(table).values(connection_id=connection_id, **values))


def clear_policy(tx: Tx, connection_id: str) -> bool:
    """Keep everything again; whether there was a policy."""
    return bool(tx.change(delete(table).where(table.c.connection_id == connection_id)))


def policies(tx: Tx) -> dict[str, RetentionPolicy]:
    """The policies that were set, by connection id. Raises CatalogError."""
    read = {row.connection_id: _read(row.connection_id, row.policy) for row in tx.rows(select(table))}
    return {id_: policy for id_, policy in read.items() if policy is not None}


def get(tx: Tx, connection_id: str) -> Policied:
    """What planning needs to know of a connection. Raises ConfigError config.not-found, CatalogError."""
    found = _policied(tx, connection_id=connection_id)
    if not found:
        raise ConfigError("config.not-found", f"there is no connection {connection_id}")
    return found[0]


def list_policied(tx: Tx) -> list[Policied]:
    """The connections in use that have a policy, by name."""
    return [one for one in _policied(tx, connection_id=None) if one.policy is not None]


def pin(tx: Tx, record: Pin) -> None:
    """Keep a snapshot whatever the rules say; of one that is pinned the reason is written anew."""
    values = {"reason": record.reason, "actor": record.actor, "pinned_at": record.pinned_at}
    if not tx.change(update(pins).where(pins.c.snapshot_id == record.snapshot_id).values(**values)):
        tx.change(insert(pins).values(snapshot_id=record.snapshot_id, **values))


def unpin(tx: Tx, snapshot_id: str) -> None:
    """Leave it to the rules again. Raises ConfigError config.not-found."""
    if not tx.change(delete(pins).where(pins.c.snapshot_id == snapshot_id)):
        raise ConfigError(
            "config.not-found",
            f"snapshot {snapshot_id[:12]} is not pinned",
            hint="`offsitedb retention show CONNECTION` lists the pins.",
        )


def list_pins(tx: Tx, connection_id: str) -> list[PinView]:
    """The pinned snapshots of a connection, newest first."""
    query = (
        select(pins, snapshots.c.taken_at)
        .join_from(pins, snapshots, snapshots.c.id == pins.c.snapshot_id)
        .where(snapshots.c.connection_id == connection_id)
        .order_by(snapshots.c.taken_at.desc())
    )
    return [PinView(row.snapshot_id, row.taken_at, row.reason, row.actor, row.pinned_at) for row in tx.rows(query)]


def candidates(tx: Tx, connection_id: str) -> list[Candidate]:
    """Every snapshot of the connection whose object is there, with what its drills and pins say of it."""
    s, r = snapshots.c, removals.c
    rows = tx.rows(
        select(s.id, s.seq, s.taken_at, s.tag, s.size_bytes, r.result, r.kept_until, pins.c.reason)
        .join_from(snapshots, removals, r.snapshot_id == s.id, isouter=True)
        .join(pins, pins.c.snapshot_id == s.id, isouter=True)
        .where(s.connection_id == connection_id, or_(r.result.is_(None), r.result == RemovalResult.LOCKED.value))
    )
    drilled, busy = _drilled(tx, connection_id), _busy(tx, connection_id)
    found = []
    for row in rows:
        verdict, ended_at, once = drilled.get(row.id, (None, row.taken_at, False))
        found.append(
            Candidate(
                id=row.id,
                seq=row.seq,
                taken_at=row.taken_at,
                settled_at=max(row.taken_at, ended_at),
                tag=row.tag,
                size_bytes=row.size_bytes,
                proof=_proof(verdict, once=once),
                verdict=verdict,
                pinned=row.reason,
                busy=row.id in busy,
                locked_until=row.kept_until,
            )
        )
    return found


def last_asked_at(tx: Tx, connection_id: str) -> datetime | None:
    """When a pruning of the connection was last asked for."""
    query = select(jobs.c.created_at).where(jobs.c.connection_id == connection_id, jobs.c.kind == JobKind.PRUNE.value)
    row = tx.row(query.order_by(jobs.c.created_at.desc()).limit(1))
    return None if row is None else row.created_at


def last_pruned_at(tx: Tx, connection_id: str) -> datetime | None:
    """When a pruning of the connection last went through."""
    query = select(jobs.c.finished_at).where(
        jobs.c.connection_id == connection_id,
        jobs.c.kind == JobKind.PRUNE.value,
        jobs.c.state == JobState.SUCCEEDED.value,
    )
    row = tx.row(query.order_by(jobs.c.created_at.desc()).limit(1))
    return None if row is None else row.finished_at


def _policied(tx: Tx, *, connection_id: str | None) -> list[Policied]:
    c = connections.c
    query = (
        select(c.id, c.name, c.proof_target_s, table.c.policy, table.c.changed_at, schedules.c.time_zone)
        .join_from(connections, table, table.c.connection_id == c.id, isouter=True)
        .join(schedules, schedules.c.connection_id == c.id, isouter=True)
        .order_by(c.name)
    )
    query = query.where(c.removed_at.is_(None)) if connection_id is None else query.where(c.id == connection_id)
    return [
        Policied(
            row.id,
            row.name,
            _read(row.id, row.policy),
            row.changed_at,
            row.proof_target_s,
            row.time_zone or "UTC",
        )
        for row in tx.rows(query)
    ]


def _read(connection_id: str, text: str | None) -> RetentionPolicy | None:
    if text is None:
        return None
    try:
        return from_json(RetentionPolicy, text)
    except ValueError as e:
        raise damaged(f"retention policy of {connection_id}", str(e)) from e


def _drilled(tx: Tx, connection_id: str) -> dict[str, tuple[Verdict, datetime, bool]]:
    """Verdict and end of the newest drill of each snapshot, and whether an earlier one proved it."""
    d = drills.c
    query = (
        select(d.snapshot_id, d.verdict, d.finished_at)
        .join_from(drills, snapshots, snapshots.c.id == d.snapshot_id)
        .where(snapshots.c.connection_id == connection_id)
        .order_by(d.position)
    )
    found: dict[str, tuple[Verdict, datetime, bool]] = {}
    for row in tx.rows(query):
        before = found.get(row.snapshot_id)
        verdict = _VERDICTS[row.verdict]
        held = before is not None and _proof(before[0], once=before[2]) is not Proof.UNPROVEN
        found[row.snapshot_id] = (verdict, row.finished_at, held)
    return found


def _busy(tx: Tx, connection_id: str) -> set[str]:
    mine = jobs.c.connection_id == connection_id
    query = select(jobs.c.snapshot_id).where(mine, jobs.c.state.in_(_OPEN), jobs.c.snapshot_id.is_not(None))
    return {row.snapshot_id for row in tx.rows(query)}


def _proof(verdict: Verdict | None, *, once: bool) -> Proof:
    if verdict is not None and verdict.proven:
        return Proof.PROVEN
    if verdict is Verdict.COULD_NOT_VERIFY and once:
        return Proof.DOUBTFUL
    return Proof.UNPROVEN
