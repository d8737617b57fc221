"""What a monthly report is made of, gathered from the catalog in one reading transaction.

Receipts and events are written to the bundle as they are read, and only what the report tells of them is kept: a month
of receipts does not fit into memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from engine import catalog as catalogs
from engine import retention
from engine import schedule as rules
from engine.catalog import Tx, report_facts
from engine.catalog.report_facts import Deleted, LivedConnection, StoredReceipt
from engine.errors import Internal
from engine.evidence.receipts import read_receipt
from engine.evidence.signer import fingerprint, openssh_public
from engine.model import ConnectionRecord, Event, EventHead, Incident, IncidentKind, Installation, Schedule
from engine.model.report import KeptBy, Period, ReportInstallation, Scope, TargetSource
from engine.model.retention import Decision
from engine.postgres.tools import FLOOR
from engine.pruning import plan_now
from engine.report import bundle, months
from engine.report.assemble import tells_of_change
from engine.report.facts import (
    ConnectionFacts,
    DestinationFacts,
    DrillFact,
    Facts,
    History,
    RetentionFacts,
    drill_fact,
)
from engine.report.figures import MONTHS
from engine.service.schedules import effective_target
from engine.version import VERSION

SETTLES = timedelta(minutes=5)
"""How long a slot may wait for its decision before the report says that nobody decided it."""
SETTLED_S = 60
"""What happened at the last moment of a month has its event by then."""
_PAGE = 1000
_OF_ALL = ("operator.", "access.", "key.", "installation.", "recovery.")
"""Events that concern every connection."""


@dataclass(slots=True)
class Seen:
    """Ids of what the report is about: events of these are in the bundle in full."""

    ids: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)


class Gatherer:
    """One report's facts. ``folder``: the bundle under way."""

    def __init__(self, tx: Tx, period: Period, folder: Path, *, now: datetime) -> None:
        found = catalogs.installation.get(tx)
        if found is None:
            raise Internal("internal.error", "the catalog has no installation")
        self.tx, self.period, self.folder, self.now = tx, period, folder, now
        self.installation: Installation = found
        self.seen = Seen()
        self.receipts = 0

    def facts(self, lived: Sequence[LivedConnection], *, everything: bool, revision: int) -> Facts:
        """All of them; receipts and events lie in the folder then. Raises FormatError, CatalogError."""
        (self.folder / bundle.RECEIPTS).mkdir(mode=0o700)
        names = dict.fromkeys(c.name for c in lived)
        connections = tuple(self._connection(c) for c in lived)
        deleted = report_facts.deleted(self.tx, self.period.begin_at, self.period.through_at)
        connections = tuple(
            replace(c, deletions=tuple(d.row for d in deleted if d.connection_id == c.lived.id)) for c in connections
        )
        destinations = self._destinations(connections, deleted if everything else (), everything=everything)
        incidents = self._incidents({c.id for c in lived}, everything=everything)
        self.seen.ids |= {c.id for c in lived} | {d.destination.id for d in destinations} | {i.id for i in incidents}
        self.seen.names |= set(names)
        return Facts(
            period=self.period,
            scope=Scope(tuple(c.name for c in lived), everything),
            installation=self._installation(),
            software=VERSION,
            built_at=self.now,
            revision=revision,
            connections=connections,
            destinations=destinations,
            incidents=incidents,
            history=self._history(everything=everything),
            receipts=self.receipts,
            floors=FLOOR,
            destination_names={d.destination.id: d.destination.name for d in destinations},
        )

    def _installation(self) -> ReportInstallation:
        i = self.installation
        return ReportInstallation(
            catalog_id=i.catalog_id,
            created_at=i.created_at,
            key_backend=i.key_backend,
            kid=i.kid,
            key_epoch=i.key_epoch,
            recovery_kid=i.recovery_kid,
            recovery_confirmed_at=i.recovery_confirmed_at,
            signer=openssh_public(i.signer_public),
            signer_fingerprint=fingerprint(i.signer_public),
        )

    def _connection(self, lived: LivedConnection) -> ConnectionFacts:
        tx, begin, through = self.tx, self.period.begin_at, self.period.through_at
        record = catalogs.connections.get(tx, lived.id)
        schedule = catalogs.schedules.get(tx, lived.id) if lived.removed_at is None else None
        policy = catalogs.schedules.drill_policy(tx, lived.id)
        drills = tuple(self._drill(r) for r in report_facts.receipts(tx, lived.id, begin, through))
        before = report_facts.proven_before(tx, lived.id, begin, through)
        taken = list(report_facts.taken(tx, lived.id, begin, through))
        others = {d.snapshot_id for d in drills} - {s.id for s in taken}
        snapshots = (*report_facts.snapshots_by_id(tx, sorted(others)), *taken)
        self.seen.ids |= {s.id for s in snapshots} | {d.row.id for d in drills}
        target_s, source = _target(record, schedule, policy)
        first = months.begin_of(months.before(self.period.month, MONTHS - 1), self.period.time_zone)
        return ConnectionFacts(
            lived=lived,
            destination=catalogs.destinations.get(tx, lived.destination_id).name,
            schedule=_schedule_words(schedule),
            schedule_zone=schedule.time_zone if schedule is not None else None,
            drill_policy=rules.policy_words(rules.parse_policy(policy or "every")),
            target_s=target_s,
            target_source=source,
            slots=tuple(report_facts.decided(tx, lived.id, begin, through)),
            undecided=tuple(self._undecided(lived, schedule)),
            snapshots=snapshots,
            drills=drills,
            before=None if before is None else self._before(before, drills),
            earlier=tuple(report_facts.earlier_times(tx, lived.id, first, begin)),
            failed=tuple(report_facts.failed_jobs(tx, lived.id, begin, through)),
            deletions=(),
            retention=self._retention(lived.id),
        )

    def _drill(self, stored: StoredReceipt) -> DrillFact:
        """The receipt's signature is checked on its way into the bundle."""
        receipt = read_receipt(stored.text, self.installation.signer_public)
        bundle.put(self.folder / bundle.receipt_name(stored.drill_id), stored.text.encode("utf-8"))
        self.receipts += 1
        return drill_fact(receipt, stored.sha256, stored.position)

    def _before(self, stored: StoredReceipt, drills: Collection[DrillFact]) -> DrillFact:
        """The one that proves the newest snapshot from before: a drill of the month, or one more receipt."""
        known = next((d for d in drills if d.row.id == stored.drill_id), None)
        return known if known is not None else self._drill(stored)

    def _undecided(self, lived: LivedConnection, schedule: Schedule | None) -> Iterator[datetime]:
        """Slots of the month that nobody has decided although they have been due for some time."""
        if schedule is None or not schedule.enabled:
            return
        newest = catalogs.schedules.known(self.tx, [lived.id]).get(lived.id)
        since = max(schedule.changed_at, newest or schedule.changed_at, self.period.begin_at - timedelta(seconds=1))
        until = min(self.period.through_at, self.now - SETTLES)
        for at in rules.slots_between(schedule.cron, schedule.time_zone, since, until):
            if self.period.begin_at <= at < self.period.through_at:
                yield at

    def _retention(self, connection_id: str) -> RetentionFacts:
        known, plan = plan_now(self.tx, connection_id, self.now)
        found = catalogs.retention.candidates(self.tx, connection_id)
        return RetentionFacts(
            words=retention.policy_words(known.policy),
            has_policy=known.policy is not None,
            changed_at=known.changed_at,
            paused=None if plan is None else plan.paused,
            stored=len(found),
            stored_bytes=sum(s.size_bytes for s in found),
            kept=() if plan is None else _kept(plan.decisions),
            pinned=sum(s.pinned is not None for s in found),
        )

    def _destinations(
        self, connections: tuple[ConnectionFacts, ...], deleted: Sequence[Deleted], *, everything: bool
    ) -> tuple[DestinationFacts, ...]:
        used = {c.lived.destination_id for c in connections}
        used |= {s.destination_id for c in connections for s in c.snapshots}
        if everything:
            used |= {d.id for d in catalogs.destinations.list_all(self.tx) if d.created_at < self.period.through_at}
        records = sorted((catalogs.destinations.get(self.tx, id_) for id_ in used), key=lambda d: (d.name, d.id))
        return tuple(
            DestinationFacts(
                record,
                tuple(report_facts.reconciled(self.tx, record.id, self.period.begin_at, self.period.through_at)),
                tuple(d.row for d in deleted if d.destination_id == record.id and d.connection_id is None),
            )
            for record in records
        )

    def _incidents(self, ids: Collection[str], *, everything: bool) -> tuple[Incident, ...]:
        found = report_facts.wrong(self.tx, self.period.begin_at, self.period.through_at)
        if everything:
            return tuple(found)
        mine = (i for i in found if i.subject.partition(":")[0] in ids or i.kind is IncidentKind.WORKER_DEAD)
        return tuple(mine)

    def _history(self, *, everything: bool) -> History:
        """Events from the month's first to the first signed end behind its last, written to the bundle."""
        last = report_facts.last_event_before(self.tx, self.period.end_at + timedelta(seconds=SETTLED_S)) or 1
        heads = catalogs.events.heads_after(self.tx, last - 1, limit=1)
        head = heads[0] if heads else catalogs.events.newest_head(self.tx)
        if head is None:
            raise Internal("internal.error", "no end of the history was ever signed")
        first = min(report_facts.first_event(self.tx, self.period.begin_at) or head.seq, head.seq)
        changes: list[Event] = []
        withheld = 0
        with (self.folder / bundle.EVENTS).open("xb") as file:
            for event in _events(self.tx, first, head):
                hidden = not (everything or self._concerns(event))
                withheld += hidden
                file.write(bundle.event_line(event, withheld=hidden))
                if not hidden and tells_of_change(event.kind) and self._within(event.at):
                    changes.append(event)
            _on_disk(file)
        return History(head, first, head.seq, withheld, tuple(changes))

    def _within(self, at: datetime) -> bool:
        return self.period.begin_at <= at < self.period.through_at

    def _concerns(self, event: Event) -> bool:
        """Whether a report about some connections may show the event."""
        if event.subject in self.seen.ids or event.kind.startswith(_OF_ALL):
            return True
        if event.kind.startswith("apikey."):
            named = event.data.get("connections")
            return isinstance(named, str) and (named == "all" or set(named.split()) <= self.seen.names)
        return event.data.get("connection") in self.seen.ids or event.data.get("snapshot") in self.seen.ids


def _events(tx: Tx, first: int, head: EventHead) -> Iterator[Event]:
    seq = first - 1
    while seq < head.seq and (page := catalogs.events.list_after(tx, seq, limit=min(_PAGE, head.seq - seq))):
        yield from page
        seq = page[-1].seq


def _on_disk(file: BinaryIO) -> None:
    file.flush()
    os.fchmod(file.fileno(), 0o600)
    os.fsync(file.fileno())


def _target(
    record: ConnectionRecord, schedule: Schedule | None, policy: str | None
) -> tuple[float | None, TargetSource | None]:
    target, _ = effective_target(record, schedule, policy)
    if target is None:
        return None, None
    return target, TargetSource.OPERATOR if record.proof_target_s is not None else TargetSource.SCHEDULE


def _schedule_words(schedule: Schedule | None) -> str:
    if schedule is None:
        return "on demand"
    return rules.in_words(schedule.cron) + ("" if schedule.enabled else " (paused)")


def _kept(decisions: Sequence[Decision]) -> tuple[KeptBy, ...]:
    """Rules in the order in which a policy names them; a snapshot counts under each that keeps it."""
    by_rule: dict[str, list[Decision]] = {}
    for decision in decisions:
        for rule in dict.fromkeys(map(_rule, decision.reasons)) if decision.keep else ():
            by_rule.setdefault(rule, []).append(decision)
    return tuple(
        KeptBy(
            rule,
            len(found),
            sum(d.candidate.size_bytes for d in found),
            min(d.candidate.taken_at for d in found),
            max(d.candidate.taken_at for d in found),
        )
        for rule, found in sorted(by_rule.items())
    )


def _rule(reason: str) -> str:
    """``daily`` of ``daily 2026-11-30``: the rule without what tells one snapshot from the next."""
    known = re.match(r"(last|hourly|daily|weekly|monthly|yearly|newest proven)\b", reason)
    if known is not None:
        return known[1]
    head = re.match(r"(pinned|locked until)\b", reason)
    return reason if head is None else head[1].removesuffix(" until")
