"""From a policy, the snapshots that are there and an instant to a decision about each, with its reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from fnmatch import fnmatchcase

from engine.model.retention import Candidate, Decision, Plan, Proof, RetentionPolicy
from engine.retention.policy import span

Reasons = dict[str, list[str]]

_SLOT_OF: dict[str, Callable[[datetime], str]] = {
    "hourly": lambda at: f"{at:%Y-%m-%d %H:00}{_offset(at)}",
    "daily": lambda at: f"{at:%Y-%m-%d}",
    "weekly": lambda at: f"{at.isocalendar().year}-W{at.isocalendar().week:02d}",
    "monthly": lambda at: f"{at:%Y-%m}",
    "yearly": lambda at: f"{at:%Y}",
}
"""What a slot is called; the hour that comes twice in autumn is two hours."""
BEYOND = "beyond every rule"
UNPROVEN = "unproven and superseded"


def plan(
    policy: RetentionPolicy,
    snapshots: Sequence[Candidate],
    now: datetime,
    *,
    zone: tzinfo,
    proof_target_s: float | None = None,
) -> Plan:
    """Decide about every one of ``snapshots``, all of one connection; days begin at midnight of ``zone``.

    Only proven snapshots fill slots, and what is not proven evicts nothing. Planning again what this leaves, at the
    same instant, removes nothing more. Where the newest proven is older than ``proof_target_s`` nothing goes at all.
    """
    newest_first = sorted(snapshots, key=lambda s: (s.taken_at, s.seq, s.id), reverse=True)
    proven = [s for s in newest_first if s.proof is Proof.PROVEN]
    reasons: Reasons = {s.id: [] for s in newest_first}
    _keep_newest(policy, proven, reasons)
    _keep_slots(policy, proven, zone, reasons)
    _keep_unproven(policy, newest_first, proven, now, reasons)
    for s in newest_first:
        reasons[s.id] += _own_reasons(policy, s, now)
    decisions = tuple(_decision(policy, s, reasons[s.id]) for s in newest_first)
    return Plan(decisions, _paused(snapshots, proven, now, proof_target_s))


def is_overdue(newest_proven_at: datetime | None, now: datetime, target_s: float | None) -> bool:
    """Whether the newest proof misses its target: then nothing may be removed."""
    if target_s is None:
        return False
    return newest_proven_at is None or (now - newest_proven_at).total_seconds() > target_s


def _keep_newest(policy: RetentionPolicy, proven: Sequence[Candidate], reasons: Reasons) -> None:
    for n, s in enumerate(proven[: max(1, policy.keep_newest_proven)]):
        reasons[s.id].append("newest proven" if n == 0 else f"newest proven {n + 1}")


def _keep_slots(policy: RetentionPolicy, proven: Sequence[Candidate], zone: tzinfo, reasons: Reasons) -> None:
    for n, s in enumerate(proven[: policy.keep_last]):
        reasons[s.id].append(f"last {n + 1}")
    if proven and policy.keep_within_s is not None:
        since = proven[0].taken_at - timedelta(seconds=policy.keep_within_s)
        for s in proven:
            if s.taken_at >= since:
                reasons[s.id].append(f"within {span(policy.keep_within_s)}")
    local = [s.taken_at.astimezone(zone) for s in proven]
    for name, slot_of in _SLOT_OF.items():
        left, last = int(getattr(policy, f"keep_{name}")), None
        for s, at in zip(proven, local, strict=True):
            if not left:
                break
            slot = slot_of(at)
            if slot != last:
                reasons[s.id].append(f"{name} {slot}")
                left, last = left - 1, slot
            elif s is proven[-1]:
                reasons[s.id].append(f"{name}, the oldest")


def _keep_unproven(
    policy: RetentionPolicy, every: Sequence[Candidate], proven: Sequence[Candidate], now: datetime, reasons: Reasons
) -> None:
    """What is not proven stays until something newer is proven, and some days longer; what is in doubt stays."""
    for s in every:
        if s.proof is Proof.DOUBTFUL:
            reasons[s.id].append("proven before, and its newest drill could not be carried out")
        elif s.proof is Proof.UNPROVEN:
            if not proven or s.taken_at >= proven[0].taken_at:
                reasons[s.id].append("nothing newer is proven")
            elif (now - s.settled_at).total_seconds() < policy.keep_unproven_s:
                reasons[s.id].append(f"unproven, for {span(policy.keep_unproven_s)}")


def _own_reasons(policy: RetentionPolicy, s: Candidate, now: datetime) -> list[str]:
    found = [] if s.pinned is None else [f"pinned: {s.pinned}"]
    if s.tag is not None:
        found += [f"tag {pattern}" for pattern in policy.keep_tags if fnmatchcase(s.tag, pattern)]
    if s.busy:
        found.append("a job uses it")
    if s.locked_until is not None and s.locked_until > now:
        found.append(f"locked until {s.locked_until:%Y-%m-%d %H:%M} UTC")
    return found


def _decision(policy: RetentionPolicy, s: Candidate, reasons: Sequence[str]) -> Decision:
    if reasons:
        return Decision(s, True, reasons[0], tuple(reasons))
    if s.proof is Proof.PROVEN:
        return Decision(s, False, BEYOND, (f"{BEYOND}: others hold its slots",))
    return Decision(s, False, UNPROVEN, (f"unproven for {span(policy.keep_unproven_s)}, and a newer one is proven",))


def _paused(
    snapshots: Sequence[Candidate], proven: Sequence[Candidate], now: datetime, target_s: float | None
) -> str | None:
    newest = proven[0].taken_at if proven else None
    if target_s is None or not snapshots or not is_overdue(newest, now, target_s):
        return None
    if newest is None:
        return "no snapshot is proven, so nothing is removed"
    return f"the newest proven snapshot is older than its target of {span(target_s)}, so nothing is removed"


def _offset(at: datetime) -> str:
    return f"{at:%z}" if at.utcoffset() != at.replace(fold=1 - at.fold).utcoffset() else ""
