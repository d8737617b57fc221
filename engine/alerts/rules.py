"""Which incidents there are: facts and an instant in, what is wrong out. Pure.

A rule may also say that it cannot tell yet: then an incident that is open stays open and none is opened. That is what
keeps a worker that is being restarted, or a blocked job that looks for its key again, from ringing every time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from engine.alerts import drift as drifts
from engine.alerts.facts import ConnectionFacts, Facts, FailedReport
from engine.model import Incident, IncidentKind, Wanted

SILENT_S = 60.0
"""How long workers may be silent before somebody is told: a restart takes less."""
KEY_SETTLES_S = 10.0
"""How long a job runs before it counts as having its key."""
ALL_WORKERS = "workers"
"""The subject of the incident that no worker lives at all."""
MASTER_KEY = "master-key"
LEDGER = "ledger"
_TEXT = 500
"""Characters."""

Subject = tuple[IncidentKind, str]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is wrong, and about which kinds and subjects nothing can be said yet."""

    wanted: tuple[Wanted, ...]
    undecided: frozenset[Subject] = frozenset()


@dataclass(frozen=True, slots=True)
class Change:
    """What makes the open incidents those that are wanted."""

    opened: tuple[Wanted, ...]
    closed: tuple[Incident, ...]
    reworded: tuple[tuple[Incident, Wanted], ...]
    """Still open, but there is something newer to say."""


def evaluate(facts: Facts, now: datetime) -> Judgement:
    """Everything that is wrong at ``now``."""
    wanted: list[Wanted] = []
    undecided: set[Subject] = set()
    for connection in facts.connections:
        wanted += _connection(connection, now)
    wanted += _ledger(facts)
    for verdict in (_key(facts, now), _workers(facts, now)):
        wanted += verdict.wanted
        undecided |= verdict.undecided
    wanted += (_report(report) for report in facts.reports)
    return Judgement(tuple(wanted), frozenset(undecided))


def difference(open_: Sequence[Incident], judgement: Judgement) -> Change:
    """What to open, to close and to word anew, so that exactly one incident is open for each thing that is wrong."""
    wanted = {(w.kind, w.subject): w for w in judgement.wanted}
    standing = {(i.kind, i.subject): i for i in open_}
    return Change(
        opened=tuple(w for key, w in wanted.items() if key not in standing),
        closed=tuple(i for key, i in standing.items() if key not in wanted and key not in judgement.undecided),
        reworded=tuple(
            (i, wanted[key])
            for key, i in standing.items()
            if key in wanted and (i.name, i.summary, i.hint) != worded(wanted[key], i.id)
        ),
    )


def stale(connections: Iterable[ConnectionFacts], now: datetime) -> tuple[str, ...]:
    """Names of the connections whose proof is not fresh: with any of them no heartbeat is sent."""
    return tuple(c.name for c in connections if not c.fresh(now))


def drift_subject(connection_id: str, baseline_id: str) -> str:
    """A drift is told once for each proven snapshot that it is measured from."""
    return f"{connection_id}:{baseline_id}"


def worded(wanted: Wanted, incident_id: str) -> tuple[str, str, str]:
    """Name, summary and hint of the incident with this id: the command in the hint names it."""
    return wanted.name, wanted.summary, wanted.hint.replace("acknowledge ID", f"acknowledge {incident_id[:12]}")


def _connection(c: ConnectionFacts, now: datetime) -> Iterator[Wanted]:
    if c.failed is not None:
        yield _failed(c)
    if c.proof_target_s is not None and _overdue(c, now):
        yield _wanted(IncidentKind.OVERDUE, c.id, c.name, _overdue_text(c), f"`offsitedb checkpoint {c.name} --wait`")
    if c.retention_paused is not None:
        yield _wanted(
            IncidentKind.RETENTION_PAUSED,
            c.id,
            c.name,
            f"{c.name}: retention is paused" + (f": {c.retention_paused}" if c.retention_paused else ""),
            f"Look at it with `offsitedb retention show {c.name}`; until then nothing is removed",
        )
    limit = drifts.DEFAULT_LIMIT if c.drift_limit is None else c.drift_limit
    for found in c.drifts:
        text = None if found.accepted else drifts.told(found.drift, limit)
        if text is not None:
            yield _wanted(
                IncidentKind.DRIFT,
                drift_subject(c.id, found.baseline_id),
                c.name,
                f"{c.name}: {text}",
                f"`offsitedb snapshot drift {found.newest_id[:12]}`; if it is right: `offsitedb alerts acknowledge ID`",
            )


def _failed(c: ConnectionFacts) -> Wanted:
    failed = c.failed
    assert failed is not None
    verdict = "COULD NOT VERIFY" if failed.could_not_verify else "FAILED"
    if failed.snapshot_id is None:
        verdict = "no snapshot"
    show = f"`offsitedb jobs show {failed.job_id[:12]}`"
    said = f"{c.name}: {failed.what}: {verdict}" + (f": {failed.message}" if failed.message else "")
    return _wanted(IncidentKind.FAILED, c.id, c.name, said, f"{show}. {failed.hint}" if failed.hint else show)


def _overdue(c: ConnectionFacts, now: datetime) -> bool:
    """A connection that was never proven has its target's time for its first proof."""
    assert c.proof_target_s is not None
    since = c.newest_proven_at or c.target_since or c.created_at
    return (now - since).total_seconds() > c.proof_target_s


def _overdue_text(c: ConnectionFacts) -> str:
    """Says instants and not ages: a text that changes with every look would be news every time."""
    assert c.proof_target_s is not None
    target = span(c.proof_target_s)
    if c.newest_proven_at is None:
        return f"{c.name}: never proven; a proof may be {target} old"
    return f"{c.name}: the newest proof is of {_instant(c.newest_proven_at)}, and may be {target} old"


def _key(facts: Facts, now: datetime) -> Judgement:
    subject = (IncidentKind.KEY_BLOCKED, MASTER_KEY)
    if facts.blocked:
        names = ", ".join(facts.blocked[:3]) + (f" and {len(facts.blocked) - 3} more" if len(facts.blocked) > 3 else "")
        said = f"jobs wait for the master key: {names}"
        return Judgement((_wanted(*subject, "master key", said, "`offsitedb key status` says why and what to do"),))
    tried = facts.key_tried_at
    if tried is not None and now - tried < timedelta(seconds=KEY_SETTLES_S):
        return Judgement((), frozenset([subject]))
    return Judgement(())


def _report(report: FailedReport) -> Wanted:
    said = f"the report of {report.month} could not be built: {report.error}"
    hint = f"It is tried again every 15 minutes; by hand: `offsitedb report build --month {report.month}`"
    return _wanted(IncidentKind.REPORT, report.month, f"report of {report.month}", said, hint)


def _ledger(facts: Facts) -> Iterator[Wanted]:
    if facts.wrong:
        first = f": {facts.first_wrong}" if facts.first_wrong else ""
        said = f"the ledger does not hold together: {facts.wrong} found wrong{first}"
        hint = "`offsitedb verify` names each of them, and what to do"
        yield _wanted(IncidentKind.LEDGER, LEDGER, "ledger", said, hint)


def _workers(facts: Facts, now: datetime) -> Judgement:
    silent = [w for w in facts.workers if not w.alive]
    if any(w.alive for w in facts.workers):
        return _silent_ones(facts, now)
    # with none alive one incident says it; what is said of single ones stays as it is
    undecided = {(IncidentKind.WORKER_DEAD, w.id) for w in silent}
    if facts.work_since is None:
        return Judgement((), frozenset(undecided))
    since = max(facts.work_since, facts.last_heard_at or facts.work_since)
    if (now - since).total_seconds() <= SILENT_S:
        return Judgement((), frozenset({*undecided, (IncidentKind.WORKER_DEAD, ALL_WORKERS)}))
    heard = f" since {_instant(facts.last_heard_at)}" if facts.last_heard_at is not None else ""
    said = f"no worker is running{heard}, and there is work for one"
    hint = "Start one: `offsitedb worker`, as a service so that it comes back by itself"
    wanted = _wanted(IncidentKind.WORKER_DEAD, ALL_WORKERS, "workers", said, hint)
    return Judgement((wanted,), frozenset(undecided))


def _silent_ones(facts: Facts, now: datetime) -> Judgement:
    """Workers that fell silent while others live. One whose host has a living one was started again there."""
    hosts = {w.host for w in facts.workers if w.alive}
    wanted: list[Wanted] = []
    undecided: set[Subject] = set()
    for worker in facts.workers:
        if worker.alive or worker.host in hosts:
            continue
        if (now - worker.heard_at).total_seconds() <= SILENT_S:
            undecided.add((IncidentKind.WORKER_DEAD, worker.id))
            continue
        said = f"the worker on {worker.host} has been silent since {_instant(worker.heard_at)} and did not sign off"
        hint = "Start it there again: `offsitedb worker`; if it is not to come back: `offsitedb alerts acknowledge ID`"
        wanted.append(_wanted(IncidentKind.WORKER_DEAD, worker.id, worker.host, said, hint))
    return Judgement(tuple(wanted), frozenset(undecided))


def _wanted(kind: IncidentKind, subject: str, name: str, summary: str, hint: str) -> Wanted:
    return Wanted(kind, subject, _text(name), _text(summary), _text(hint.rstrip(".") + "."))


def _text(text: str) -> str:
    """Short, and without what no database keeps: a name from outside must not keep an alert from being told."""
    kept = text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode()
    return kept if len(kept) <= _TEXT else kept[: _TEXT - 1] + "…"


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def span(seconds: float) -> str:
    """``6 h``, ``90 min``: a target in words."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:g} s"
