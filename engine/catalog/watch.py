"""What a console looks at, in a handful of queries whose number does not grow with the catalog.

Only columns are read, and of snapshots and drills only those that the ``line`` indexes hold: details and receipts are
long and stay where they are. The two exceptions take one number out of at most a few texts without parsing them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Text, cast, func, select, type_coerce

from engine.catalog.removals import every, gone_result, is_gone
from engine.catalog.schema import connections, drills, job_log, jobs, snapshots
from engine.catalog.schema_running import removals
from engine.catalog.transaction import Tx
from engine.model import ConnectionRecord, JobKind, JobState, Snapshot, Timings, Verdict
from engine.model.retention import Removal
from engine.model.watch import LedgerLine, LogLine

_FEW = 3
"""How many times more drills than lines may be read at once."""
_PROVEN = [verdict.value for verdict in Verdict if verdict.proven]
_VERDICTS = {verdict.value: verdict for verdict in Verdict}
_ENDED = {v.value: (v, JobState.SUCCEEDED if v.proven else JobState.FAILED) for v in Verdict}
"""A verdict, and the state of the job that came to it."""
_STATES = {state.value: state for state in JobState}

# The quotes of a key cannot stand inside a JSON string, so each is found where it is meant and nowhere else.
_TIMINGS = re.compile(r'"timings":\{([^{}]*)\}')
_TIMING = re.compile(r'"([a-z_]+)":"([0-9.]+)"')
_DURATION = re.compile(r'"duration_s":([0-9.e+-]+)')


@dataclass(frozen=True, slots=True)
class Named:
    """A connection as far as a line of the ledger names it, removed or not."""

    name: str
    provider: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a connection in use stands. A snapshot counts by its newest drill; its age from ``taken_at``."""

    connection: ConnectionRecord
    newest_proven_at: datetime | None
    last_verdict: Verdict | None
    """Of the newest snapshot that was drilled."""


@dataclass(frozen=True, slots=True)
class PastDrill:
    """A proven drill: what it took, and what of. ``snapshot_s`` None: the details do not tell."""

    timings: Timings
    restore_s: float
    size_bytes: int
    snapshot_s: float | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """Lines, newest first, and the ``mark`` of what they were made from."""

    lines: tuple[LedgerLine, ...]
    mark: object


@dataclass(frozen=True, slots=True)
class Gone:
    """What became of snapshots' objects, by snapshot id, and the ``mark`` of what that was made from."""

    removals: Mapping[str, Removal]
    mark: object


def names(tx: Tx) -> dict[str, Named]:
    """Every connection there ever was, by id."""
    found = tx.rows(select(connections.c.id, connections.c.name, connections.c.provider))
    return {row.id: Named(row.name, row.provider) for row in found}


def standings(tx: Tx, *, connection_id: str | None = None) -> list[Standing]:
    """Every connection in use, by name; or the one that is asked for."""
    query = select(
        connections, _newest_proven().label("newest_proven_at"), _last_verdict().label("last_verdict")
    ).order_by(connections.c.name)
    if connection_id is None:
        query = query.where(connections.c.removed_at.is_(None))
    else:
        query = query.where(connections.c.id == connection_id)
    return [
        Standing(
            ConnectionRecord(
                id=row.id,
                name=row.name,
                destination_id=row.destination_id,
                conninfo_sealed=row.conninfo_sealed,
                provider=row.provider,
                accept_empty=row.accept_empty,
                created_at=row.created_at,
                tested_at=row.tested_at,
                proof_target_s=row.proof_target_s,
                restore_target_s=row.restore_target_s,
                fingerprint=row.fingerprint,
                worker_label=row.worker_label,
                scratch_server_id=row.scratch_server_id,
            ),
            row.newest_proven_at,
            _VERDICTS.get(row.last_verdict),
        )
        for row in tx.rows(query)
    ]


def restore_times(tx: Tx, per_connection: int) -> dict[str, list[float]]:
    """Restore times of each connection in use, newest proven drills first, by connection id.

    A text for each connection, made from the newest end of its snapshots: numbering all drills reads all of them.
    """
    newest = (
        select((cast(drills.c.position, Text) + ":" + cast(drills.c.restore_s, Text)).label("told"))
        .select_from(drills.join(snapshots, snapshots.c.id == drills.c.snapshot_id))
        .where(snapshots.c.connection_id == connections.c.id, drills.c.verdict.in_(_PROVEN))
        .correlate(connections)
        .order_by(snapshots.c.taken_at.desc(), drills.c.position.desc())
        .limit(per_connection)
        .subquery()
    )
    told = select(func.aggregate_strings(newest.c.told, ",")).scalar_subquery()
    found: dict[str, list[float]] = {}
    for row in tx.rows(select(connections.c.id, told.label("told")).where(connections.c.removed_at.is_(None))):
        pairs = [text.split(":") for text in row.told.split(",")] if row.told else []
        found[row.id] = [float(s) for _, s in sorted(pairs, key=lambda pair: int(pair[0]), reverse=True)]
    return found


def sizes(tx: Tx) -> dict[str, tuple[int, int]]:
    """Number and bytes of the snapshots at each destination, by its id: of all, less those that are gone.

    Two sums: asking of each snapshot whether it is gone takes longer than both.
    """
    sums = select(
        snapshots.c.destination_id, func.count().label("n"), func.sum(snapshots.c.size_bytes).label("bytes")
    ).group_by(snapshots.c.destination_id)
    found = {row.destination_id: (int(row.n), int(row.bytes)) for row in tx.rows(sums)}
    gone = sums.join_from(snapshots, removals, removals.c.snapshot_id == snapshots.c.id).where(gone_result())
    for row in tx.rows(gone):
        n, size_bytes = found[row.destination_id]
        found[row.destination_id] = (n - int(row.n), size_bytes - int(row.bytes))
    return found


def gone(tx: Tx, kept: Gone | None = None) -> Gone:
    """Every snapshot that is gone or locked; ``kept`` is an earlier answer, given again if nothing has changed."""
    told = removals.c.result  # of the four words only one turns into another as long as itself, and never does
    seen: tuple[ColumnElement[Any], ...] = (func.count(), func.max(removals.c.removed_at), func.sum(func.length(told)))
    mark = tuple(tx.rows(select(*seen))[0])
    if kept is not None and kept.mark == mark:
        return kept
    return Gone({removal.snapshot_id: removal for removal in every(tx)}, mark)


def ledger(tx: Tx, named: Mapping[str, Named], *, limit: int, kept: Ledger | None = None) -> Ledger:
    """Snapshots with their newest drill, and checkpoints that made none, newest first.

    ``kept`` is an earlier answer; it is the answer again if nothing that its lines show has changed. The rows come by
    three plain queries and are put together here: as one join they take SQLite twice as long.
    """
    unproven = tuple(tx.rows(_unproven_jobs(limit)))
    counts = tuple(tx.rows(_counts())[0])
    mark = (limit, counts, unproven, named)
    if kept is not None and kept.mark == mark:
        return kept
    drilled: dict[str, tuple[Any, ...]] = {}
    every = counts[1] <= _FEW * limit
    for row in tx.tuples(_drills_of(None if every else limit)):
        other = drilled.get(row[0])
        if other is None or other[1] < row[1]:
            drilled[row[0]] = row
    jobs_by_id = {row.id: row for row in unproven}
    found = [_snapshot_line(row, drilled.get(row[0]), jobs_by_id, named) for row in tx.tuples(_newest_snapshots(limit))]
    without = [_job_line(row, named) for row in unproven if row.snapshot_id is None]
    if without:
        found += without
        found.sort(key=lambda line: line.at, reverse=True)
    return Ledger(tuple(found[:limit]), mark)


def history(tx: Tx, connection_id: str, *, limit: int) -> list[PastDrill]:
    """The connection's newest proven drills, newest first."""
    query = (
        select(drills.c.receipt, drills.c.restore_s, snapshots.c.size_bytes, snapshots.c.details)
        .join_from(drills, snapshots, snapshots.c.id == drills.c.snapshot_id)
        .where(snapshots.c.connection_id == connection_id, drills.c.verdict.in_(_PROVEN))
        .order_by(snapshots.c.taken_at.desc(), drills.c.position.desc())
        .limit(limit)
    )
    return [_past(row) for row in tx.rows(query)]


def previous_proven(tx: Tx, snapshot: Snapshot) -> str | None:
    """The connection's newest snapshot before this one whose newest drill proved it."""
    query = _proven(snapshots.c.id).where(
        snapshots.c.connection_id == snapshot.connection_id,
        snapshots.c.id != snapshot.id,
        snapshots.c.taken_at <= snapshot.taken_at,
    )
    row = tx.row(query.limit(1))
    return None if row is None else str(row.id)


def log_tail(tx: Tx, job_id: str, *, limit: int) -> list[LogLine]:
    """The last ``limit`` lines of a job's log, oldest first."""
    query = select(job_log).where(job_log.c.job_id == job_id).order_by(job_log.c.n.desc()).limit(limit)
    found = [LogLine(n=row.n, at=row.at, level=row.level, text=row.text) for row in tx.rows(query)]
    return found[::-1]


def _proven(column: ColumnElement[Any]) -> Select[Any]:
    """``column`` of snapshots whose newest drill proved them, newest first: found from the newest end."""
    other = drills.alias("other")
    newest = select(func.max(other.c.position)).where(other.c.snapshot_id == drills.c.snapshot_id).correlate(drills)
    return (
        select(column)
        .join_from(snapshots, drills, drills.c.snapshot_id == snapshots.c.id)
        .where(drills.c.verdict.in_(_PROVEN), drills.c.position == newest.scalar_subquery())
        .order_by(snapshots.c.taken_at.desc())
    )


def _newest_proven() -> ColumnElement[datetime]:
    query = _proven(snapshots.c.taken_at).where(snapshots.c.connection_id == connections.c.id, ~is_gone())
    return query.correlate(connections).limit(1).scalar_subquery()


def _last_verdict() -> ColumnElement[str]:
    query = (
        select(drills.c.verdict)
        .join_from(snapshots, drills, drills.c.snapshot_id == snapshots.c.id)
        .where(snapshots.c.connection_id == connections.c.id)
        .correlate(connections)
        .order_by(snapshots.c.taken_at.desc(), drills.c.position.desc())
    )
    return query.limit(1).scalar_subquery()


def _newest_snapshots(limit: int) -> Select[Any]:
    s = snapshots.c
    at = type_coerce(s.taken_at, Text)
    columns = (s.id, s.connection_id, at, s.tag, s.tables, s.tables_in_source, s.rows, s.size_bytes, s.job_id)
    return select(*columns).order_by(s.taken_at.desc(), s.seq.desc(), s.id.desc()).limit(limit)


def _drills_of(limit: int | None) -> Select[Any]:
    """Drills of the ``limit`` newest snapshots, or of all: searching for each costs more than reading on."""
    d, s = drills.c, snapshots.c
    query = select(d.snapshot_id, d.position, d.verdict, d.job_id, d.restore_s, d.skips, d.summary)
    if limit is None:
        return query.order_by(d.snapshot_id, d.position)  # as the index has it
    newest = select(s.id).order_by(s.taken_at.desc(), s.seq.desc(), s.id.desc()).limit(limit)
    return query.where(d.snapshot_id.in_(newest))


def _counts() -> Select[Any]:
    """What changes whenever a snapshot or drill is added or taken away: their numbers are never given twice."""
    return select(
        select(func.count()).select_from(snapshots).scalar_subquery(),
        select(func.count()).select_from(drills).scalar_subquery(),
        select(func.max(drills.c.position)).scalar_subquery(),
        select(func.sum(connections.c.last_seq)).scalar_subquery(),
    )


def _unproven_jobs(limit: int) -> Select[Any]:
    """Checkpoints that have not come to a verdict: without a snapshot, or with one that was not drilled (yet).

    One that is left out by the limit has that many newer ones before it, and each of those is a line.
    """
    j = jobs.c
    states = [state.value for state in JobState if state is not JobState.SUCCEEDED]
    query = select(j.id, j.connection_id, j.snapshot_id, j.created_at, j.tag, j.state, j.error)
    query = query.where(j.state.in_(states), j.kind == JobKind.CHECKPOINT.value, j.drill_id.is_(None))
    return query.order_by(j.created_at.desc(), j.id.desc()).limit(limit)


def _snapshot_line(
    row: tuple[Any, ...], drill: tuple[Any, ...] | None, unproven: Mapping[str, Row[Any]], named: Mapping[str, Named]
) -> LedgerLine:
    """By position and not by name: ten thousand lines are made at once."""
    id_, connection_id, at, tag, tables, in_source, rows, size_bytes, job_id = row
    of = named[connection_id]
    if drill is not None:
        _, _, told, job_id, restore_s, skips, summary = drill
        verdict, state = _ENDED[told]
    else:
        verdict, restore_s, skips = None, None, 0
        job = unproven.get(job_id)  # a catalog that was rebuilt from a destination has no jobs
        state, summary = (_STATES[job.state], _message(job.error)) if job is not None else (JobState.SUCCEEDED, "")
    return LedgerLine(
        id_,
        job_id,
        of.name,
        of.provider,
        datetime.fromisoformat(at),
        tag,
        state,
        verdict,
        skips,
        tables,
        in_source,
        rows,
        size_bytes,
        restore_s,
        summary,
    )


def _job_line(row: Row[Any], named: Mapping[str, Named]) -> LedgerLine:
    of = named[row.connection_id]
    return LedgerLine(
        snapshot_id=None,
        job_id=row.id,
        connection=of.name,
        provider=of.provider,
        at=row.created_at,
        tag=row.tag,
        state=_STATES[row.state],
        verdict=None,
        skips=0,
        tables=None,
        tables_in_source=None,
        rows=None,
        size_bytes=None,
        restore_s=None,
        summary=_message(row.error),
    )


def _message(error: str | None) -> str:
    """The words of a job's error."""
    if error is None:
        return ""
    try:
        return str(json.loads(error)["message"])
    except (ValueError, KeyError, TypeError):
        return ""  # whoever opens the job is told that its row is damaged


def _past(row: Row[Any]) -> PastDrill:
    told = _TIMINGS.search(row.receipt)
    found = {name: float(value) for name, value in _TIMING.findall(told[1])} if told else {}
    timings = Timings(**{name: found.get(name, 0.0) for name in Timings.__dataclass_fields__})
    duration = _DURATION.search(row.details)
    return PastDrill(timings, row.restore_s, row.size_bytes, float(duration[1]) if duration else None)
