"""Schedules at the door: when checkpoints of a connection are due, which are drilled, and what became of the slots."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine import schedule as rules
from engine.catalog import Tx
from engine.errors import ConfigError
from engine.evidence import chain
from engine.model import ConnectionRecord, DrillPolicy, NextSlots, Role, Schedule, ScheduleView, Slot
from engine.schedule.presets import PRESETS
from engine.service.access import needs
from engine.service.scheduler import policy_of

if TYPE_CHECKING:
    from engine.service import Engine

__all__ = ["PRESETS", "SchedulesFacet", "effective_target", "host_zone"]

SHOWN_SLOTS = 10
_MOST_SLOTS = 1000


class SchedulesFacet:
    """``engine.schedules``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @needs(Role.OPERATOR)
    def set(
        self,
        connection: str,
        *,
        when: str | None = None,
        zone: str | None = None,
        enabled: bool | None = None,
        drills: str | None = None,
    ) -> ScheduleView:
        """Change what is given; the rest stays. ``when``: a preset in words or a cron; ``zone``: default this host's.

        A paused schedule has no slots until it is switched on again, and none of that time counts as missed. Raises
        ConfigError ``config.cron``, ``config.zone``, ``config.not-found``, ``config.invalid``.
        """
        cron = rules.cron_of(when) if when is not None else None
        name = rules.check_zone(zone) if zone is not None else None
        policy = rules.parse_policy(drills) if drills is not None else None
        if (cron, name, enabled, policy) == (None,) * 4:
            raise ConfigError(
                "config.invalid", "nothing to change", hint="See what there is: `offsitedb schedule set --help`."
            )
        with self._engine.catalog.write() as tx:
            record = catalogs.connections.by_name(tx, connection)
            if (cron, name, enabled) != (None,) * 3:
                self._put(tx, record, cron, name, enabled)
            if policy is not None and policy != policy_of(tx, record.id):
                text = rules.policy_text(policy)
                catalogs.schedules.set_drill_policy(tx, record.id, text, self._engine.clock.now())
                self._event(tx, "drills.set", record, {"drills": text})
            return self._view(tx, record)

    @needs(Role.OPERATOR)
    def remove(self, connection: str) -> None:
        """No slots any more: checkpoints on demand only. What became of earlier slots stays.

        Raises ConfigError ``config.not-found``.
        """
        with self._engine.catalog.write() as tx:
            record = catalogs.connections.by_name(tx, connection)
            if not catalogs.schedules.remove(tx, record.id):
                raise _no_schedule(connection)
            self._event(tx, "schedule.removed", record)

    def show(self, connection: str) -> ScheduleView:
        """The connection's schedule, or that it has none. Raises ConfigError ``config.not-found``."""
        with self._engine.catalog.read() as tx:
            return self._view(tx, catalogs.connections.by_name(tx, connection))

    def list(self) -> tuple[ScheduleView, ...]:
        """All connections in use, by name, without their earlier slots."""
        with self._engine.catalog.read() as tx:
            schedules = catalogs.schedules.list_all(tx)
            policies = catalogs.schedules.drill_policy_all(tx)
            records = catalogs.connections.list_all(tx)
        return tuple(_schedule_view(r, schedules.get(r.id), policies.get(r.id)) for r in records)

    def next(self, connection: str | None = None, *, count: int = 3) -> tuple[NextSlots, ...]:
        """The next ``count`` slots of a connection, or of each that has a schedule which is not paused.

        Raises ConfigError ``config.not-found``, ``config.invalid``.
        """
        if not 1 <= count <= _MOST_SLOTS:
            raise ConfigError("config.invalid", f"{count} slots cannot be shown", hint="Ask for 1 to 1000.")
        with self._engine.catalog.read() as tx:
            if connection is not None:
                record = catalogs.connections.by_name(tx, connection)
                found = catalogs.schedules.get(tx, record.id)
                if found is None:
                    raise _no_schedule(connection)
                pairs = [(record, found)]
            else:
                schedules = catalogs.schedules.list_all(tx)
                pairs = [(r, schedules[r.id]) for r in catalogs.connections.list_all(tx) if r.id in schedules]
        return tuple(self._next(r.name, s.cron, s.time_zone, count) for r, s in pairs if s.enabled)

    def preview(self, when: str, zone: str, *, count: int = 3) -> tuple[str, NextSlots]:
        """A schedule in words and its next slots, before it is set. Raises ConfigError."""
        cron, name = rules.cron_of(when), rules.check_zone(zone)
        return rules.in_words(cron), self._next("", cron, name, count)

    def _put(self, tx: Tx, record: ConnectionRecord, cron: str | None, zone: str | None, enabled: bool | None) -> None:
        """Write the schedule; one that stays as it was keeps what is due."""
        now = self._engine.clock.now()
        old = catalogs.schedules.get(tx, record.id)
        if old is None and cron is None:
            raise _no_schedule(record.name)
        cron = cron or (old.cron if old else "")
        zone = zone or (old.time_zone if old else host_zone())
        on = enabled if enabled is not None else (old.enabled if old else True)
        if old is not None and (old.cron, old.time_zone, old.enabled) == (cron, zone, on):
            return
        next_at = rules.next_slot(cron, zone, now) if on else None
        catalogs.schedules.put(tx, Schedule(record.id, cron, zone, on, next_at, now))
        self._event(tx, "schedule.set", record, {"cron": cron, "zone": zone, "enabled": on})

    def _next(self, connection: str, cron: str, zone: str, count: int) -> NextSlots:
        at = rules.next_slots(cron, zone, self._engine.clock.now(), count)
        return NextSlots(connection, zone, at, tuple(rules.local_text(a, zone) for a in at))

    def _view(self, tx: Tx, record: ConnectionRecord) -> ScheduleView:
        schedule = catalogs.schedules.get(tx, record.id)
        policy = catalogs.schedules.drill_policy(tx, record.id)
        slots = catalogs.schedules.list_slots(tx, record.id, limit=SHOWN_SLOTS)
        return _schedule_view(record, schedule, policy, tuple(slots))

    def _event(self, tx: Tx, kind: str, record: ConnectionRecord, told: Mapping[str, str | bool] | None = None) -> None:
        data = {"name": record.name, **(told or {})}
        chain.append_event(tx, self._engine.clock, actor=self._engine.actor, kind=kind, subject=record.id, data=data)


def effective_target(
    record: ConnectionRecord, schedule: Schedule | None, policy: str | None
) -> tuple[float | None, float | None]:
    """How old the newest proof may be, in seconds, and from when on (since the epoch) that counts without any proof.

    What the operator set counts, and at once. Without it a schedule that is switched on says it: it was set in order to
    be kept. Neither asks whether, or how well, the scheduler runs.
    """
    if record.proof_target_s is not None:
        return record.proof_target_s, None
    if schedule is None or not schedule.enabled:
        return None, None
    target = rules.target_of(schedule.cron, _policy(policy))
    return target, (schedule.changed_at + timedelta(seconds=target)).timestamp()


def host_zone() -> str:
    """This host's time zone by name; UTC where it has none that we know."""
    link = Path("/etc/localtime")
    said = [os.environ.get("TZ", "").removeprefix(":")]
    if link.is_symlink():
        said.append(str(link.resolve()).rpartition("/zoneinfo/")[2])
    for name in said:
        try:
            return rules.check_zone(name)
        except ConfigError:
            continue
    return "UTC"


def _policy(written: str | None) -> DrillPolicy:
    return DrillPolicy() if written is None else rules.parse_policy(written)


def _schedule_view(
    record: ConnectionRecord, schedule: Schedule | None, policy: str | None, slots: tuple[Slot, ...] = ()
) -> ScheduleView:
    target, _ = effective_target(record, schedule, policy)
    return ScheduleView(
        connection=record.name,
        cron=schedule.cron if schedule else None,
        words=rules.in_words(schedule.cron) if schedule else "on demand",
        time_zone=schedule.time_zone if schedule else None,
        enabled=schedule is not None and schedule.enabled,
        next_at=schedule.next_at if schedule else None,
        drills=rules.policy_text(_policy(policy)),
        proof_target_s=target,
        slots=slots,
    )


def _no_schedule(connection: str) -> ConfigError:
    return ConfigError(
        "config.not-found",
        f"{connection} has no schedule",
        hint=f"Set one: `offsitedb schedule set {connection} --preset 'daily at 03:00'`.",
    )
