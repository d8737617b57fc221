"""Retention at the door: policies, pins, the plan before anything is removed, and the pruning that a worker applies."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine import retention
from engine.catalog import Tx
from engine.catalog.retention import Policied
from engine.errors import ConfigError, OffsiteError
from engine.evidence import chain
from engine.model import Job, JobKind, Role
from engine.model.retention import (
    Decision,
    Deletion,
    PausedRetention,
    Pin,
    Plan,
    PlanLine,
    Removal,
    RemovalResult,
    RetentionPlan,
    RetentionPolicy,
    RetentionView,
)
from engine.model.views import JobView
from engine.pruning import Openers, Pruner, plan_now, zone_of
from engine.service.access import needs
from engine.service.duties import Duty

if TYPE_CHECKING:
    from engine.service import Engine

LOOK_EVERY_S = 3600.0
_DAILY = timedelta(hours=23)
"""A day but for the hour that a look may be early."""
_REASON_CHARS = 200
_log = logging.getLogger("offsitedb.worker")


class RetentionFacet:
    """``engine.retention``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def show(self, connection: str) -> RetentionView:
        """A connection's policy, its pins, and what came of it so far. Raises ConfigError ``config.not-found``."""
        with self._engine.catalog.read() as tx:
            record = catalogs.connections.by_name(tx, connection)
            known, plan = plan_now(tx, record.id, self._engine.clock.now())
            return RetentionView(
                connection=known.connection,
                policy=known.policy,
                words=retention.policy_words(known.policy),
                time_zone=known.time_zone,
                changed_at=known.changed_at,
                pins=tuple(catalogs.retention.list_pins(tx, record.id)),
                paused=plan.paused if plan is not None else None,
                removed=catalogs.removals.count(tx, record.id),
                last_pruned_at=catalogs.retention.last_pruned_at(tx, record.id),
            )

    def plan(self, connection: str, policy: RetentionPolicy | None = None) -> RetentionPlan:
        """What the connection's policy, or ``policy`` instead of it, does to its snapshots now; nothing is changed.

        Raises ConfigError ``config.not-found``, ``config.invalid``.
        """
        if policy is not None:
            retention.check_policy(policy)
        now = self._engine.clock.now()
        with self._engine.catalog.read() as tx:
            record = catalogs.connections.by_name(tx, connection)
            known = catalogs.retention.get(tx, record.id)
            found = catalogs.retention.candidates(tx, record.id)
        if policy is not None:
            known = replace(known, policy=policy)
        if known.policy is None:
            everything = ("there is no policy",)
            ordered = sorted(found, key=lambda s: (s.taken_at, s.seq), reverse=True)
            return _plan_view(known, Plan(tuple(Decision(s, True, "", everything) for s in ordered)))
        target_s = known.proof_target_s
        plan = retention.plan(known.policy, found, now, zone=zone_of(known.time_zone), proof_target_s=target_s)
        return _plan_view(known, plan)

    def why(self, snapshot_id: str) -> PlanLine | None:
        """Why a snapshot is kept or will go; None when it is gone."""
        with self._engine.catalog.read() as tx:
            snapshot = catalogs.snapshots.get(tx, snapshot_id)
            name = catalogs.connections.get(tx, snapshot.connection_id)
            _, plan = plan_now(tx, name.id, self._engine.clock.now())
            gone = catalogs.removals.of_snapshot(tx, snapshot_id)
            pins = {pin.snapshot_id: pin for pin in catalogs.retention.list_pins(tx, name.id)}
        if gone is not None and gone.result.gone:
            return None
        if plan is None:
            pin = pins.get(snapshot_id)
            said = ("there is no policy",) if pin is None else (f"pinned: {pin.reason}",)
            return PlanLine(snapshot_id, snapshot.taken_at, snapshot.tag, snapshot.size_bytes, None, True, said)
        mine = next((d for d in plan.decisions if d.candidate.id == snapshot_id), None)
        return None if mine is None else _line(mine, plan.paused)

    def removal(self, snapshot_id: str) -> Removal | None:
        """What became of a snapshot's object; None: it is there, and nobody tried to remove it."""
        with self._engine.catalog.read() as tx:
            return catalogs.removals.of_snapshot(tx, snapshot_id)

    def removals(self, connection: str, limit: int = 1000) -> tuple[Removal, ...]:
        """Snapshots of the connection that are gone or locked, newest first."""
        with self._engine.catalog.read() as tx:
            record = catalogs.connections.by_name(tx, connection)
            return tuple(catalogs.removals.list_recent(tx, connection_id=record.id, limit=limit))

    def deletions(
        self, *, since: datetime | None = None, until: datetime | None = None, limit: int = 10_000
    ) -> tuple[Deletion, ...]:
        """Every attempt to delete an object, newest first: what a report lists."""
        with self._engine.catalog.read() as tx:
            return tuple(catalogs.removals.list_deletions(tx, since=since, until=until, limit=limit))

    def paused(self) -> tuple[PausedRetention, ...]:
        """The connections whose pruning is paused now, by name: what alerts are made of."""
        now = self._engine.clock.now()
        with self._engine.catalog.read() as tx:
            plans = [(k, plan_now(tx, k.connection_id, now)[1]) for k in catalogs.retention.list_policied(tx)]
        return tuple(
            PausedRetention(known.connection_id, known.connection, plan.paused)
            for known, plan in plans
            if plan is not None and plan.paused is not None
        )

    @needs(Role.ADMIN, dangerous=True)
    def set(self, connection: str, policy: RetentionPolicy) -> RetentionView:
        """Give a connection this policy. Nothing is removed before a worker's next pruning, at most daily.

        Raises ConfigError ``config.not-found``, ``config.invalid``.
        """
        retention.check_policy(policy)
        with self._engine.catalog.write() as tx:
            record = catalogs.connections.by_name(tx, connection)
            catalogs.retention.set_policy(tx, record.id, policy, self._engine.clock.now())
            self._event(tx, "retention.set", record.id, {"policy": retention.policy_words(policy)})
        return self.show(connection)

    @needs(Role.ADMIN, dangerous=True)
    def clear(self, connection: str) -> RetentionView:
        """Keep everything from now on. Raises ConfigError ``config.not-found``."""
        with self._engine.catalog.write() as tx:
            record = catalogs.connections.by_name(tx, connection)
            if catalogs.retention.clear_policy(tx, record.id):
                self._event(tx, "retention.set", record.id, {"policy": retention.policy_words(None)})
        return self.show(connection)

    @needs(Role.ADMIN, dangerous=True)
    def apply(self, connection: str) -> JobView:
        """Have a worker remove now what the policy does not keep; it plans anew. The open pruning where there is one.

        Raises ConfigError ``config.not-found``, ``config.invalid`` without a policy.
        """
        engine = self._engine
        with engine.catalog.write() as tx:
            record = catalogs.connections.by_name(tx, connection)
            if catalogs.retention.get(tx, record.id).policy is None:
                raise ConfigError(
                    "config.invalid",
                    f"{connection} has no retention policy: everything is kept",
                    hint=f"Give it one: `offsitedb retention set {connection} --keep-daily 7 --keep-weekly 4`.",
                )
            job = self._open_pruning(tx, record.id) or engine.jobs.queue(tx, JobKind.PRUNE, record.id)
        engine.wake(job.id)
        return engine.jobs.get(job.id)

    @needs(Role.OPERATOR)
    def pin(self, snapshot: str, reason: str) -> PlanLine | None:
        """Keep a snapshot whatever the rules say. Raises ConfigError, StoreError ``store.removed``."""
        if not 0 < len(reason.strip()) <= _REASON_CHARS or not reason.isprintable():
            raise ConfigError(
                "config.invalid",
                f"a reason has 1 to {_REASON_CHARS} printable characters",
                hint="Say it with --reason.",
            )
        engine = self._engine
        snapshot_id = engine.snapshots.resolve(snapshot)
        with engine.catalog.write() as tx:
            catalogs.removals.refuse_gone(tx, snapshot_id)
            catalogs.retention.pin(tx, Pin(snapshot_id, reason.strip(), engine.actor, engine.clock.now()))
            self._event(tx, "snapshot.pinned", snapshot_id, {"reason": reason.strip()})
        return self.why(snapshot_id)

    @needs(Role.OPERATOR)
    def unpin(self, snapshot: str) -> PlanLine | None:
        """Leave a snapshot to the rules again. Raises ConfigError ``config.not-found``."""
        snapshot_id = self._engine.snapshots.resolve(snapshot)
        with self._engine.catalog.write() as tx:
            catalogs.retention.unpin(tx, snapshot_id)
            self._event(tx, "snapshot.unpinned", snapshot_id, {})
        return self.why(snapshot_id)

    # what a worker does

    def pruner(self) -> Pruner:
        """The work of prune jobs."""
        engine = self._engine
        openers = Openers(signer=lambda: engine.keys.open().signer, storage=engine.open_storage)
        return Pruner(engine.catalog, engine.clock, openers)

    def duty(self) -> Duty:
        return Duty("retention", LOOK_EVERY_S, self.look)

    def look(self) -> None:
        """Queue a pruning for each connection whose plan removes something: at most daily, and only with a proof since
        the last one. Says when pruning pauses and when it goes on."""
        with self._engine.catalog.read() as tx:
            known = catalogs.retention.list_policied(tx)
            left = catalogs.removals.list_recent(tx, results=(RemovalResult.REMOVING,), limit=10_000)
        ids = dict.fromkeys([*(k.connection_id for k in known), *(one.connection_id for one in left)])
        begun = {one.connection_id for one in left}
        for connection_id in ids:
            try:
                self._look_at(connection_id, begun=connection_id in begun)
            except OffsiteError as e:  # of one connection: the others have their turn
                _log.warning("retention: %s [%s] %s", e.message, e.code, e.hint)

    def _look_at(self, connection_id: str, *, begun: bool) -> None:
        engine, now = self._engine, self._engine.clock.now()
        with engine.catalog.read() as tx:
            quiet = not self._due(tx, connection_id, now, begun=begun) and self._tells_nothing(tx, connection_id, now)
        if quiet:
            return
        with engine.catalog.write() as tx:
            self._tell_pause(tx, connection_id, now)
            due = self._due(tx, connection_id, now, begun=begun)
            job = engine.jobs.queue(tx, JobKind.PRUNE, connection_id) if due else None
        if job is not None:
            engine.wake(job.id)

    def _due(self, tx: Tx, connection_id: str, now: datetime, *, begun: bool) -> bool:
        """Whether a pruning has something to do, and may be asked for now."""
        if self._open_pruning(tx, connection_id) is not None:
            return False
        if begun:  # what was begun and given up is tried again, hourly
            return True
        last = catalogs.retention.last_asked_at(tx, connection_id)
        if last is not None and now - last < _DAILY:
            return False
        _, plan = plan_now(tx, connection_id, now)
        if plan is None or not plan.remove:
            return False
        pruned_at = catalogs.retention.last_pruned_at(tx, connection_id)
        proven = [d.candidate.settled_at for d in plan.decisions if d.candidate.proof == "proven"]
        return pruned_at is None or max(proven, default=pruned_at) > pruned_at

    def _tells_nothing(self, tx: Tx, connection_id: str, now: datetime) -> bool:
        known, plan = plan_now(tx, connection_id, now)
        return plan is None or (plan.paused is not None) is self._said_paused(tx, known)

    def _tell_pause(self, tx: Tx, connection_id: str, now: datetime) -> None:
        """An event when pruning pauses, and one when it goes on."""
        known, plan = plan_now(tx, connection_id, now)
        if plan is None or (plan.paused is not None) is self._said_paused(tx, known):
            return
        kind = "retention.resumed" if plan.paused is None else "retention.paused"
        data = {"connection": known.connection, **({} if plan.paused is None else {"reason": plan.paused})}
        self._event(tx, kind, connection_id, data)

    def _said_paused(self, tx: Tx, known: Policied) -> bool:
        """Whether the last that was said is that pruning is paused."""
        of = {
            kind: catalogs.events.list_recent(tx, subject=known.connection_id, kind=f"retention.{kind}", limit=1)
            for kind in ("paused", "resumed")
        }
        if not of["paused"]:
            return False
        return not of["resumed"] or of["paused"][0].seq > of["resumed"][0].seq

    def _open_pruning(self, tx: Tx, connection_id: str) -> Job | None:
        return catalogs.jobs.open_of(tx, JobKind.PRUNE, connection_id)

    def _event(self, tx: Tx, kind: str, subject: str, data: dict[str, str]) -> None:
        chain.append_event(tx, self._engine.clock, actor=self._engine.actor, kind=kind, subject=subject, data=data)


def _plan_view(known: Policied, plan: Plan) -> RetentionPlan:
    goes = [d for d in plan.decisions if not d.keep]
    return RetentionPlan(
        connection=known.connection,
        words=retention.policy_words(known.policy),
        time_zone=known.time_zone,
        policy=known.policy,
        lines=tuple(_line(d, None) for d in plan.decisions),
        paused=plan.paused,
        keeps=len(plan.keep),
        removes=len(goes),
        freed_bytes=sum(d.candidate.size_bytes for d in goes),
    )


def _line(decision: Decision, paused: str | None) -> PlanLine:
    c = decision.candidate
    reasons = decision.reasons if decision.keep or paused is None else (*decision.reasons, f"paused: {paused}")
    return PlanLine(c.id, c.taken_at, c.tag, c.size_bytes, c.verdict, decision.keep, reasons)
