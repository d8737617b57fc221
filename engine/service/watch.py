"""What a console shows, at the door: one look at the catalog makes one frozen view. Reads, and never writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine import schedule as rules
from engine.catalog import Tx
from engine.catalog.watch import Gone, Ledger, PastDrill, Standing
from engine.janitor import is_alive
from engine.model import Job, JobKind, JobState, Schedule, Snapshot, Timings
from engine.model.views import Attempt, JobView
from engine.model.watch import DestinationUse, Headline, LedgerLine, LiveJob, Overview, TableProgress, Usual
from engine.progress import TableRows
from engine.service.eta import eta
from engine.service.jobs import job_view
from engine.service.schedules import effective_target
from engine.service.worker import ALIVE_WITHIN_S

if TYPE_CHECKING:
    from engine.service import Engine

DRILLS_LOOKED_AT = 20
"""How many of the newest proven drills say what a restore usually takes."""
TREND = 12
_LIVE = tuple(state for state in JobState if not state.ended)
_LIVE_AT_MOST = 1000


class WatchFacet:
    """``engine.watch``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen: Snapshot | None = None
        """The snapshot that was looked at last: it never changes, and a poller asks for the same one again."""
        self._ledger: Ledger | None = None
        self._gone: Gone | None = None

    def revision(self) -> int:
        """Grows when, and only when, something in the catalog changed."""
        return self._engine.catalog.revision()

    def overview(self, limit: int = 10_000) -> Overview:
        """How every connection stands, the newest ``limit`` lines of the ledger, and what runs now."""
        engine = self._engine
        now = engine.clock.now()
        with engine.catalog.read() as tx:
            named = catalogs.watch.names(tx)
            live = catalogs.jobs.list_recent(tx, states=_LIVE, limit=_LIVE_AT_MOST)
            self._ledger = ledger = catalogs.watch.ledger(tx, named, limit=limit, kept=self._ledger)
            standings = catalogs.watch.standings(tx)
            schedules = catalogs.schedules.list_all(tx)
            policies = catalogs.schedules.drill_policy_all(tx)
            times = catalogs.watch.restore_times(tx, DRILLS_LOOKED_AT)
            destinations = catalogs.destinations.list_all(tx)
            sizes = catalogs.watch.sizes(tx)
            self._gone = gone = catalogs.watch.gone(tx, self._gone)
            workers = catalogs.workers.live(tx, now, ALIVE_WITHIN_S)
            installation = catalogs.installation.get(tx)
            incidents = catalogs.incidents.list_open(tx)
        jobs = {job.id: job_view(job, named[job.connection_id].name) for job in reversed(live)}
        newest = {job.connection_id: jobs[job.id] for job in reversed(live)}
        where = {destination.id: destination.name for destination in destinations}
        alive = [worker for worker in workers if is_alive(engine.paths.home, worker)]
        return Overview(
            headlines=tuple(
                _scheduled(
                    _headline(s, where, times.get(s.connection.id, []), newest.get(s.connection.id), now.timestamp()),
                    s,
                    schedules.get(s.connection.id),
                    policies.get(s.connection.id),
                    now.timestamp(),
                )
                for s in standings
            ),
            lines=_with_running(ledger.lines, live),
            jobs=tuple(jobs.values()),
            destinations=tuple(DestinationUse(d.name, d.where, *sizes.get(d.id, (0, 0))) for d in destinations),
            workers_alive=len(alive),
            worker_since=min((worker.started_at for worker in alive), default=None),
            recovery_confirmed=installation is not None and installation.recovery_confirmed_at is not None,
            incidents=tuple(incidents),
            gone=gone.removals,
        )

    def job(self, job: str, log_tail: int = 50) -> LiveJob:
        """A job by id or unique prefix, as it runs or as it ended. Raises ConfigError."""
        with self._engine.catalog.read() as tx:
            found = self._engine.jobs.find(tx, job)
            snapshot = self._snapshot(tx, found.snapshot_id)
            past = catalogs.watch.history(tx, found.connection_id, limit=DRILLS_LOOKED_AT)
            log = catalogs.watch.log_tail(tx, found.id, limit=log_tail)
            attempt = self._engine.ledger.attempt(tx, snapshot, found)
            restored = {} if found.state.ended else catalogs.job_tables.read(tx, found.id)
            at_target = catalogs.restores.of_job(tx, found.id) if found.kind is JobKind.RESTORE else None
        tables, usual = _tables(snapshot, attempt, restored), _usual(past)
        if found.kind is JobKind.RESTORE:  # maybe a part only, and a server of which drills say nothing
            tables, usual = tuple(t for t in tables if t.restored is not None), None
        if at_target is not None and at_target.outcome.tables:
            counted = at_target.outcome.tables
            tables = tuple(TableProgress(t.schema, t.table, t.expected, t.restored, True) for t in counted)
        ratio = snapshot.size_bytes / max(median(p.size_bytes for p in past), 1) if snapshot and past else None
        return LiveJob(
            job=attempt.job,
            phases=found.progress.phases if found.progress is not None else (),
            tables=tables,
            tables_done=sum(table.done for table in tables),
            usual=usual,
            eta_s=eta(attempt.job, usual, ratio, self._engine.clock.now().timestamp()),
            log=tuple(log),
            attempt=attempt,
            restore=at_target,
        )

    def usual(self, connection_name: str) -> Usual | None:
        """What earlier proven drills of the connection took; None where there is none. Raises ConfigError."""
        with self._engine.catalog.read() as tx:
            connection = catalogs.connections.by_name(tx, connection_name)
            return _usual(catalogs.watch.history(tx, connection.id, limit=DRILLS_LOOKED_AT))

    def _snapshot(self, tx: Tx, snapshot_id: str | None) -> Snapshot | None:
        if snapshot_id is None:
            return None
        seen = self._seen
        if seen is None or seen.id != snapshot_id:
            self._seen = seen = catalogs.snapshots.get(tx, snapshot_id)
        return seen


def _headline(
    standing: Standing, where: Mapping[str, str], times: Sequence[float], job: JobView | None, now: float
) -> Headline:
    """``times`` newest first; ``now`` in seconds since the epoch."""
    connection, proven_at = standing.connection, standing.newest_proven_at
    target = connection.proof_target_s
    return Headline(
        connection=connection.name,
        provider=connection.provider,
        destination=where.get(connection.destination_id, ""),
        newest_proven_at=proven_at,
        proof_target_s=target,
        overdue=target is not None and (proven_at is None or now - proven_at.timestamp() > target),
        restore_target_s=connection.restore_target_s,
        restore_p50_s=median(times) if times else None,
        restore_worst_s=max(times, default=None),
        trend=tuple(times[:TREND][::-1]),
        last_verdict=standing.last_verdict,
        next_run_at=None,
        job=job,
    )


def _scheduled(
    line: Headline, standing: Standing, schedule: Schedule | None, policy: str | None, now: float
) -> Headline:
    """The headline with what the schedule says. Whether the proof is overdue is read from the ledger all the same."""
    if schedule is None and policy is None:
        return line
    target, without_proof = effective_target(standing.connection, schedule, policy)
    drills = rules.policy_words(rules.parse_policy(policy)) if policy is not None else line.drills
    if schedule is None:
        return replace(line, drills=drills)
    overdue = line.overdue
    if target is not None and without_proof is not None:
        proven_at = standing.newest_proven_at
        overdue = now > without_proof if proven_at is None else now - proven_at.timestamp() > target
    return replace(
        line,
        proof_target_s=target,
        overdue=overdue,
        next_run_at=schedule.next_at,
        schedule=f"{rules.in_words(schedule.cron)} · {schedule.time_zone}",
        paused=not schedule.enabled,
        drills=drills,
        target_by_schedule=without_proof is not None,
    )


def _with_running(lines: tuple[LedgerLine, ...], live: Sequence[Job]) -> tuple[LedgerLine, ...]:
    """The lines, those of snapshots that are being drilled (again) under the job that does it."""
    by_state = sorted(live, key=lambda job: (job.state is JobState.RUNNING, job.created_at))
    running = {
        job.snapshot_id: job for job in by_state if job.snapshot_id is not None and job.kind is not JobKind.RESTORE
    }
    if not running:
        return lines
    found = list(lines)
    for n, line in enumerate(lines):
        if line.snapshot_id is not None and (job := running.get(line.snapshot_id)) is not None:
            found[n] = replace(line, job_id=job.id, state=job.state)
    return tuple(found)


def _usual(past: Sequence[PastDrill]) -> Usual | None:
    if not past:
        return None
    phases = {name: median(getattr(p.timings, name) for p in past) for name in Timings.__dataclass_fields__}
    snapshots = [p.snapshot_s for p in past if p.snapshot_s is not None]
    return Usual(
        drills=len(past),
        timings=Timings(**phases),
        snapshot_s=median(snapshots) if snapshots else None,
        p50_s=median(p.restore_s for p in past),
        worst_s=max(p.restore_s for p in past),
    )


def _tables(
    snapshot: Snapshot | None, attempt: Attempt, restored: Mapping[tuple[str, str], TableRows]
) -> tuple[TableProgress, ...]:
    """Tables of the snapshot, largest first: as they are restored now, then what the receipt counted."""
    if snapshot is None:
        return ()
    if attempt.drill is not None and attempt.drill.tables:
        found = [TableProgress(t.schema, t.table, t.expected, t.restored, True) for t in attempt.drill.tables]
    else:
        none = TableRows("", "", None, False)
        pairs = ((t, restored.get((t.schema, t.table), none)) for t in snapshot.details.tables)
        found = [TableProgress(t.schema, t.table, t.rows, now.rows, now.done) for t, now in pairs]
    return tuple(sorted(found, key=lambda t: (-(t.expected or 0), t.schema, t.table)))
