"""Facts put together to the report's record. Pure: the same facts make the same report, byte for byte."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from engine.catalog.report_facts import SnapshotFact
from engine.evidence import canonical
from engine.model import Destination, DestinationKind, Event, Incident, TlsFacts
from engine.model.report import (
    ChangeRow,
    ClientRow,
    ConnectionReport,
    Controls,
    Criterion,
    DayState,
    DestinationReport,
    IsolationRow,
    Period,
    ReconciliationRow,
    Report,
    ReportCoverage,
    ReportException,
    ReportLock,
    ReportSummary,
    RetentionProof,
    SnapshotRow,
    TlsRow,
    Verdicts,
    Verifying,
)
from engine.model.retention import Reconciliation
from engine.report import figures
from engine.report.facts import ConnectionFacts, DestinationFacts, DrillFact, Facts
from engine.report.wording import CIPHER, COMMANDS, CRITERIA, NOT_PROVEN

ACCESS = ("access.", "operator.", "apikey.")
KEYS = ("key.", "installation.", "recovery.")
_NOISE = frozenset({"operator.logged-in", "operator.logged-out"})
OTHER = (
    *("connection.", "destination.added", "destination.changed", "destination.removed", "schedule.", "drills."),
    *(
        "retention.set",
        "retention.cleared",
        "retention.paused",
        "retention.resumed",
        "channel.",
        "check.",
        "snapshot.pinned",
        "snapshot.unpinned",
    ),
    *("scratch.added", "scratch.removed", "catalog."),
)


def tells_of_change(kind: str) -> bool:
    """Whether an event of this kind is told of in the chapter on controls."""
    return kind.startswith((*ACCESS, *KEYS, *OTHER)) and kind not in _NOISE


def assemble(facts: Facts) -> Report:
    """The report. Durations are rounded to milliseconds, as they are written."""
    connections = tuple(_connection(c, facts) for c in facts.connections)
    exceptions = _exceptions(facts)
    report = Report(
        period=facts.period,
        scope=facts.scope,
        installation=facts.installation,
        software=facts.software,
        built_at=facts.built_at,
        revision=facts.revision,
        summary=summary(connections, exceptions, facts.destinations),
        connections=connections,
        destinations=tuple(_destination(d, facts.period) for d in facts.destinations),
        exceptions=exceptions,
        controls=_controls(facts),
        verifying=_verifying(facts),
        posture=facts.posture,
    )
    return canonical.normalise(Report, report)


def summary(
    connections: Sequence[ConnectionReport],
    exceptions: Sequence[ReportException],
    destinations: Sequence[DestinationFacts] = (),
) -> ReportSummary:
    """The month over all connections."""
    missed = [f"{c.name}: recovery point" for c in connections if c.recovery.within_target is False]
    missed += [f"{c.name}: restore time" for c in connections if c.restore.within_target is False]
    return ReportSummary(
        connections=len(connections),
        due=sum(c.due for c in connections),
        made=sum(c.made for c in connections),
        missed=sum(c.missed for c in connections),
        failed_attempts=sum(len(c.failed_attempts) for c in connections),
        drills=Verdicts(
            sum(c.drills.proven for c in connections),
            sum(c.drills.proven_with_skips for c in connections),
            sum(c.drills.failed for c in connections),
            sum(c.drills.could_not_verify for c in connections),
        ),
        undrilled=sum(c.undrilled for c in connections),
        gaps=sum(day.state is DayState.GAP for c in connections for day in c.days),
        open_exceptions=sum(e.open_at_end for e in exceptions),
        targets_missed=tuple(sorted(missed)),
        deletions=sum(len(c.retention.deletions) for c in connections)
        + sum(len(d.other_deletions) for d in destinations),
        stored_bytes=sum(c.stored_bytes for c in connections),
    )


def _connection(c: ConnectionFacts, facts: Facts) -> ConnectionReport:
    period = facts.period
    mine = figures.in_month(c, period)
    drilled = {d.snapshot_id for d in c.drills}
    newest = figures.newest_proven(c, period)
    missed = figures.missed(c)
    return ConnectionReport(
        id=c.lived.id,
        name=c.lived.name,
        provider=c.lived.provider,
        destination=c.destination,
        created_at=c.lived.created_at,
        removed_at=c.lived.removed_at,
        schedule=c.schedule,
        schedule_zone=c.schedule_zone,
        drill_policy=c.drill_policy,
        due=len(c.slots) + len(c.undecided),
        made=len(mine),
        missed=len(missed),
        drills=figures.verdicts(d.row.verdict for d in c.drills),
        undrilled=sum(s.id not in drilled for s in mine),
        stored_bytes=sum(s.size_bytes for s in mine),
        newest_proven_at=newest,
        newest_proven_age_s=None if newest is None else (period.through_at - newest).total_seconds(),
        coverage=_coverage(c),
        days=figures.days(c, period),
        restore=figures.restore_times(c, period),
        recovery=figures.recovery(c, period),
        retention=_retention(c, facts.built_at),
        snapshots=tuple(_row(s, c.drills, period, facts.destination_names) for s in c.snapshots),
        missed_slots=missed,
        failed_attempts=c.failed,
        tls=_tls(c.drills),
    )


def _coverage(c: ConnectionFacts) -> ReportCoverage | None:
    """What the newest snapshot that was ever drilled holds, as its receipt says."""
    drills = [*([c.before] if c.before is not None else []), *c.drills]
    if not drills:
        return None
    newest = max(drills, key=lambda d: (d.taken_at, d.position))
    return ReportCoverage(
        newest.snapshot_id, newest.taken_at, newest.tables_captured, newest.tables_total, newest.not_captured
    )


def _retention(c: ConnectionFacts, looked_at: datetime) -> RetentionProof:
    r = c.retention
    return RetentionProof(
        words=r.words,
        has_policy=r.has_policy,
        changed_at=r.changed_at,
        paused=r.paused,
        looked_at=looked_at,
        stored=r.stored,
        stored_bytes=r.stored_bytes,
        kept=r.kept,
        pinned=r.pinned,
        deletions=c.deletions,
    )


def _row(s: SnapshotFact, drills: Iterable[DrillFact], period: Period, names: dict[str, str]) -> SnapshotRow:
    mine = sorted((d for d in drills if d.snapshot_id == s.id), key=lambda d: d.position)
    return SnapshotRow(
        id=s.id,
        seq=s.seq,
        taken_at=s.taken_at,
        taken_in_month=period.begin_at <= s.taken_at < period.through_at,
        tag=s.tag,
        destination=names.get(s.destination_id, ""),
        object_key=s.object_key,
        size_bytes=s.size_bytes,
        sha256=s.sha256,
        tables=s.tables,
        tables_in_source=s.tables_in_source,
        rows=s.rows,
        kid=s.kid,
        drills=tuple(d.row for d in mine),
        fate=s.fate or "kept",
        fate_at=s.fate_at,
        fate_rule=s.fate_rule,
    )


def _tls(drills: Iterable[DrillFact]) -> tuple[TlsRow, ...]:
    """Of the snapshots that were drilled: a receipt says how its snapshot was taken."""
    seen = Counter(d.tls for d in figures.newest_drills(drills).values())
    ordered = sorted(seen.items(), key=lambda pair: (-pair[1], _tls_key(pair[0])))
    merged: Counter[tuple[str, bool, str | None, str, bool]] = Counter()
    for tls, n in ordered:
        merged[tls.sslmode, tls.in_use, tls.version, tls.transport, tls.weaker_than_verify_full] += n
    return tuple(TlsRow(*key, n) for key, n in merged.items())


def _tls_key(tls: TlsFacts) -> tuple[str, ...]:
    return (tls.sslmode, tls.version or "", tls.transport, tls.cipher or "")


def _destination(d: DestinationFacts, period: Period) -> DestinationReport:
    seen = [r for r in d.reconciliations if r.outcome.lock is not None]
    lock = seen[-1] if seen else None
    within = [r for r in d.reconciliations if r.reconciled_at >= period.begin_at]
    return DestinationReport(
        id=d.destination.id,
        name=d.destination.name,
        kind=d.destination.kind.value,
        where=d.destination.where,
        provider=d.destination.bucket.provider if d.destination.bucket is not None else None,
        transport=_transport(d.destination),
        lock=None
        if lock is None or lock.outcome.lock is None
        else ReportLock(lock.outcome.lock.mode, lock.outcome.lock.until, lock.reconciled_at),
        reconciliations=tuple(map(_reconciled, within)),
        other_deletions=d.other_deletions,
    )


def _transport(destination: Destination) -> str:
    if destination.kind is DestinationKind.FOLDER or destination.bucket is None:
        return "local folder"
    plain = (destination.bucket.endpoint or "").startswith("http://")
    return "http, not encrypted" if plain else "https, certificate checked"


def _reconciled(r: Reconciliation) -> ReconciliationRow:
    o = r.outcome
    return ReconciliationRow(
        reconciled_at=r.reconciled_at,
        objects=r.objects,
        size_bytes=r.size_bytes,
        listing_sha256=r.listing_sha256,
        agrees=o.agrees,
        missing=len(o.missing),
        unknown=len(o.unknown),
        mismatched=len(o.mismatched),
        lingering=len(o.lingering),
    )


def _exceptions(facts: Facts) -> tuple[ReportException, ...]:
    names = {c.lived.id: c.lived.name for c in facts.connections}
    found = [_exception(i, names, facts.period) for i in facts.incidents]
    return tuple(sorted(found, key=lambda e: (not e.open_at_end, e.opened_at, e.id)))


def _exception(i: Incident, names: dict[str, str], period: Period) -> ReportException:
    return ReportException(
        id=i.id,
        kind=i.kind.value,
        connection=names.get(i.subject.partition(":")[0]),
        name=i.name,
        summary=i.summary,
        opened_at=i.opened_at,
        closed_at=i.closed_at,
        open_at_end=i.closed_at is None or i.closed_at >= period.through_at,
        acknowledged_at=i.acknowledged_at,
        acknowledged_by=i.acknowledged_by,
        acknowledged_note=i.acknowledged_note,
    )


def _controls(facts: Facts) -> Controls:
    snapshots = [s for c in facts.connections for s in figures.in_month(c, facts.period)]
    drills = [d for c in facts.connections for d in c.drills]
    boxes = Counter((d.row.sandbox, d.row.network) for d in drills)
    changes = facts.history.changes
    return Controls(
        cipher=CIPHER,
        kids=tuple(sorted({s.kid for s in snapshots})),
        clients=clients(drills, facts.floors),
        isolation=tuple(IsolationRow(box, network, n) for (box, network), n in sorted(boxes.items())),
        access_changes=tuple(_change(e) for e in changes if e.kind.startswith(ACCESS)),
        key_changes=tuple(_change(e) for e in changes if e.kind.startswith(KEYS)),
        other_changes=tuple(_change(e) for e in changes if e.kind.startswith(OTHER)),
        criteria=tuple(Criterion(*row) for row in CRITERIA),
    )


def clients(drills: Iterable[DrillFact], floors: dict[int, int]) -> tuple[ClientRow, ...]:
    """The programs that took the drilled snapshots, and those that restored them, against the security floor."""
    drills = list(drills)
    used: Counter[tuple[str, str]] = Counter()
    used.update(("pg_dump", d.versions.pg_dump) for d in figures.newest_drills(drills).values() if d.versions.pg_dump)
    used.update(("pg_restore", d.versions.pg_restore) for d in drills if d.versions.pg_restore)
    used.update(("scratch server", d.versions.scratch) for d in drills if d.versions.scratch)
    return tuple(_client(program, version, n, floors) for (program, version), n in sorted(used.items()))


def _client(program: str, version: str, n: int, floors: dict[int, int]) -> ClientRow:
    found = re.match(r"(\d+)\.(\d+)", version)
    floor = floors.get(int(found[1])) if found else None
    if found is None or floor is None:
        return ClientRow(program, version, None, None, n)
    number = int(found[1]) * 10000 + int(found[2])
    return ClientRow(program, version, f"{floor // 10000}.{floor % 10000}", number >= floor, n)


def _change(event: Event) -> ChangeRow:
    detail = ", ".join(f"{name}: {'' if value is None else value}" for name, value in sorted(event.told.items()))
    return ChangeRow(event.seq, event.at, event.actor, event.kind, event.subject, detail)


def _verifying(facts: Facts) -> Verifying:
    h = facts.history
    return Verifying(
        head_seq=h.head.seq,
        head_hash=h.head.hash,
        head_signed_at=h.head.signed_at,
        head_signature=h.head.signature,
        first_seq=h.first_seq,
        last_seq=h.last_seq,
        events=h.last_seq - h.first_seq + 1,
        withheld=h.withheld,
        receipts=facts.receipts,
        commands=COMMANDS,
        not_proven=NOT_PROVEN,
    )
