"""Facts for the rules of alerts, gathered from the catalog in one transaction.

What never changes is kept: how two snapshots differ, and which events of retention were read already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.alerts.facts import ConnectionFacts, DriftFacts, Facts, FailedJob, FailedReport, WorkerFacts
from engine.alerts.rules import drift_subject
from engine.catalog import Tx
from engine.catalog.alert_facts import EndedJob
from engine.catalog.watch import Standing
from engine.errors import CatalogError, CouldNotVerify
from engine.janitor import is_alive
from engine.model import CHECKED, Counts, Incident, IncidentKind
from engine.model.schedules import Schedule
from engine.model.watch import Drift
from engine.service.schedules import effective_target
from engine.service.snapshots import drift_between
from engine.service.worker import ALIVE_WITHIN_S

if TYPE_CHECKING:
    from engine.service import Engine

PAUSED, RESUMED = "retention.paused", "retention.resumed"
"""Events whose subject is a connection; ``data["reason"]`` says why nothing is removed any more."""
_PAGE = 1000


class Gatherer:
    """The facts of one installation."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._paused: dict[str, str] = {}
        self._read_to = 0
        """The number of the last event of retention that was read."""
        self._drifts: dict[tuple[str, str], Drift] = {}

    def facts(self, tx: Tx, open_: Sequence[Incident], now: datetime) -> Facts:
        """Everything that the rules look at; ``open_``: the incidents that are open."""
        workers = [w for w in catalogs.workers.list_all(tx) if w.stopped_at is None]
        checked = catalogs.events.list_recent(tx, kind=CHECKED, limit=1)
        return Facts(
            connections=self._connections(tx, open_),
            workers=tuple(
                WorkerFacts(
                    w.id,
                    w.host,
                    w.heartbeat_at,
                    (now - w.heartbeat_at).total_seconds() <= ALIVE_WITHIN_S and is_alive(self._engine.paths.home, w),
                )
                for w in workers
            ),
            last_heard_at=catalogs.alert_facts.last_heard(tx),
            work_since=catalogs.alert_facts.work_since(tx),
            blocked=tuple(catalogs.alert_facts.blocked(tx)),
            wrong=int(checked[0].data.get("wrong") or 0) if checked else 0,
            first_wrong=str(checked[0].data.get("first") or "") if checked else "",
            key_tried_at=catalogs.alert_facts.last_begun(tx),
            reports=tuple(
                FailedReport(month.month, month.error)
                for month in catalogs.reports.list_open_months(tx)
                if month.error is not None
            ),
        )

    def freshness(self, tx: Tx) -> tuple[ConnectionFacts, ...]:
        """Only what tells how fresh the proofs are, held against the targets that are set or that schedules imply."""
        schedules = catalogs.schedules.list_all(tx)
        policies = catalogs.schedules.drill_policy_all(tx)
        return tuple(
            _freshness(s, schedules.get(s.connection.id), policies.get(s.connection.id))
            for s in catalogs.watch.standings(tx)
        )

    def _connections(self, tx: Tx, open_: Sequence[Incident]) -> tuple[ConnectionFacts, ...]:
        ended = catalogs.alert_facts.newest_ended(tx)
        paused = self._retention(tx)
        limits = catalogs.drift_limits.all_of(tx)
        drifts = self._all_drifts(tx, open_)
        return tuple(
            replace(
                c,
                failed=_failed(ended.get(c.id, [])),
                retention_paused=paused.get(c.id),
                drift_limit=limits.get(c.id),
                drifts=drifts.get(c.id, ()),
            )
            for c in self.freshness(tx)
        )

    def _retention(self, tx: Tx) -> dict[str, str]:
        """Why retention is paused, by connection id: what the newest event of each says."""
        while page := catalogs.events.list_of_kinds(tx, (PAUSED, RESUMED), after=self._read_to, limit=_PAGE):
            for event in page:
                if event.kind == PAUSED:
                    self._paused[event.subject] = str(event.data.get("reason") or "")
                else:
                    self._paused.pop(event.subject, None)
            self._read_to = page[-1].seq
        return dict(self._paused)

    def _all_drifts(self, tx: Tx, open_: Sequence[Incident]) -> dict[str, tuple[DriftFacts, ...]]:
        """What stands open is measured from where it began, until it is accepted or gone; else the newest pair counts,
        once."""
        newest = catalogs.alert_facts.two_newest_proven(tx)
        standing: dict[str, list[Incident]] = {}
        for incident in open_:
            if incident.kind is IncidentKind.DRIFT:
                standing.setdefault(incident.subject.partition(":")[0], []).append(incident)
        pairs = {c: ids for c, ids in newest.items() if len(ids) == 2 and c not in standing}
        known = catalogs.incidents.known_subjects(
            tx, IncidentKind.DRIFT, [drift_subject(c, before) for c, (_, before) in pairs.items()]
        )
        found: dict[str, tuple[DriftFacts, ...]] = {}
        for connection_id, (last, before) in pairs.items():
            if drift_subject(connection_id, before) not in known:
                found[connection_id] = (DriftFacts(before, last, self._drift(tx, before, last)),)
        for connection_id, incidents in standing.items():
            if not newest.get(connection_id):
                continue
            last = newest[connection_id][0]
            baselines = [(i.subject.partition(":")[2], i.acknowledged_at is not None) for i in incidents]
            found[connection_id] = tuple(DriftFacts(b, last, self._drift(tx, b, last), seen) for b, seen in baselines)
        self._drifts = {
            (d.baseline_id, d.newest_id): self._drifts[d.baseline_id, d.newest_id] for ds in found.values() for d in ds
        }
        return found

    def _drift(self, tx: Tx, before_id: str, after_id: str) -> Drift:
        pair = before_id, after_id
        if pair not in self._drifts:
            self._drifts[pair] = _between(tx, before_id, after_id)
        return self._drifts[pair]


def _freshness(s: Standing, schedule: Schedule | None, policy: str | None) -> ConnectionFacts:
    target, _ = effective_target(s.connection, schedule, policy)
    implied = s.connection.proof_target_s is None and schedule is not None
    return ConnectionFacts(
        id=s.connection.id,
        name=s.connection.name,
        created_at=s.connection.created_at,
        proof_target_s=target,
        newest_proven_at=s.newest_proven_at,
        last_proven=s.last_verdict is not None and s.last_verdict.proven,
        target_since=schedule.changed_at if implied and schedule is not None else None,
    )


def _between(tx: Tx, before_id: str, after_id: str) -> Drift:
    """How two snapshots differ; nothing, where one of them cannot be read: other alerts do not depend on it."""
    try:
        before, after = (catalogs.snapshots.find(tx, id_)[0] for id_ in (before_id, after_id))  # without structure
    except (CatalogError, IndexError) as e:
        if isinstance(e, CatalogError) and e.code != "catalog.damaged":
            raise
        return Drift(None, None)
    drift = drift_between(before, after)
    counted = before.counts is Counts.EXACT and after.counts is Counts.EXACT
    return drift if counted else replace(drift, rows=())


def _failed(ended: Sequence[EndedJob]) -> FailedJob | None:
    """A checkpoint without a snapshot counts until there is a better one; a failed drill until the next that proves."""
    newest = sorted(ended, key=lambda job: job.finished_at or job.at)
    without = [job for job in newest if job.failed and job.kind == "checkpoint" and job.snapshot_id is None]
    deciding = without or newest[-1:]
    if not deciding or not deciding[-1].failed:
        return None
    job = deciding[-1]
    error = job.error
    return FailedJob(
        job_id=job.id,
        what=job.kind.value,
        ended_at=job.finished_at,
        could_not_verify=error is not None and error.exit_status == CouldNotVerify.exit_status,
        snapshot_id=job.snapshot_id,
        message=error.message if error is not None else "",
        hint=error.hint if error is not None else "",
    )
