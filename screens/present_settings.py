"""Settings in words: destinations, the key, workers, what the doctor found. Pure text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from engine.model import OperatorView
from engine.model.kit import KitState, KitView, RecoveryView
from engine.model.retention import ReconciliationView
from engine.model.views import (
    BackendView,
    DestinationView,
    Doctor,
    KeyStatus,
    PolicyView,
    StepView,
    ToolView,
    WorkerView,
)
from engine.model.watch import DestinationUse
from screens.phrase import Phrase, Tone, joined, paragraphs
from screens.present import both_times, human_age, human_bytes
from screens.present_retention import lock_words

_LABEL = 16
_OLDER_AT_MOST = 4
_KITS_AT_MOST = 6
_KITS = {
    KitState.CURRENT: Phrase("✓ up to date", Tone.GOOD),
    KitState.STALE: Phrase("○ stale: a worker writes it anew", Tone.WARN),
    KitState.ABSENT: Phrase("○ not written yet: a worker writes it", Tone.WARN),
    KitState.FAILING: Phrase("✗ cannot be written", Tone.BAD),
}


def field(label: str, value: Phrase | str) -> Phrase:
    """``Where           s3://acme-backups``."""
    return Phrase(" ") + Phrase(label, Tone.DIM).fit(_LABEL) + value


def heading(text: str) -> Phrase:
    return Phrase(f" {text}", Tone.STRONG)


# destinations


def destination_cells(d: DestinationView, use: DestinationUse | None, now: datetime) -> tuple[Phrase, ...]:
    """Name, where, what it holds, when it was tried."""
    holds = f"{human_bytes(use.size_bytes)}" if use is not None and use.snapshots else "nothing yet"
    tried = human_age((now - d.tested_at).total_seconds()) if d.tested_at else "never"
    return Phrase(d.name, Tone.STRONG), Phrase(d.where), Phrase(holds), Phrase(tried, Tone.DIM)


def destination_lines(
    d: DestinationView, use: DestinationUse | None, last: ReconciliationView | None = None
) -> tuple[Phrase, ...]:
    kind = "a local folder" if d.kind == "folder" else f"a bucket ({d.provider})" if d.provider else "a bucket"
    lines = [field("Name", Phrase(d.name, Tone.STRONG)), field("Kind", kind), field("Where", d.where)]
    if d.endpoint:
        lines.append(field("Endpoint", d.endpoint + (f" · region {d.region}" if d.region else "")))
    if d.kind != "folder":
        prune = "a second key may delete" if d.prunes else "nobody's key may delete: snapshots stay"
        lines.append(field("Pruning", prune))
    holds = f"{use.snapshots:,} snapshots, {human_bytes(use.size_bytes)}" if use is not None else "nothing yet"
    connections = "1 connection" if d.connections == 1 else f"{d.connections} connections"
    lines.append(field("Holds", joined([holds, f"used by {connections}"])))
    lines.append(field("Last tried", both_times(d.tested_at) if d.tested_at else "never: t tries it"))
    if last is None:
        lines.append(field("Reconciled", "never: v holds what lies there against the ledger"))
    else:
        said = Phrase("✓ agrees", Tone.GOOD) if last.agrees else Phrase("✗ does not agree; v says why", Tone.BAD)
        lines.append(field("Reconciled", joined([said, Phrase(both_times(last.reconciled_at), Tone.DIM)])))
        if last.outcome.lock is not None:
            lines.append(field("Object Lock", f"{lock_words(last.outcome.lock)}, for the newest snapshot"))
    return tuple(lines)


def step_lines(name: str, steps: Sequence[StepView]) -> tuple[Phrase, ...]:
    """A test that went well, step by step."""
    told = [
        Phrase("   ")
        + (Phrase("i", Tone.DIM) if s.info else Phrase("✓", Tone.GOOD) if s.ok else Phrase("✗", Tone.BAD))
        + Phrase(f" {s.name}".ljust(_LABEL + 8))
        + Phrase(s.detail, Tone.DIM)
        for s in steps
    ]
    return (Phrase(" ✓ ", Tone.GOOD) + Phrase(f"{name} took a real round trip"), *told)


def policy_lines(policy: PolicyView, *, prune: bool) -> tuple[Phrase, ...]:
    whose = "the prune credential" if prune else "the worker's key"
    other = "p: the worker's key" if prune else "p: the prune credential"
    head = heading(f"What {whose} must be allowed to do") + Phrase(f"  y copies it · {other}", Tone.DIM)
    code = paragraphs(policy.prune if prune else policy.worker, Tone.CODE)
    said = [Phrase(f" {policy.rights}", Tone.DIM)] if policy.rights else []
    if not prune:
        said.append(Phrase(" It cannot delete. Pruning is for a second key, which may.", Tone.DIM))
    return (head, *said, *(Phrase(" ") + line for line in code))


# the key


def key_lines(status: KeyStatus, recovery: RecoveryView) -> tuple[Phrase, ...]:
    ok = status.state == "ok"
    state = Phrase("● there", Tone.GOOD) if ok else Phrase(f"! {status.state}", Tone.BAD)
    confirmed = status.recovery_confirmed_at
    if confirmed is not None:
        code = Phrase("✓ confirmed ", Tone.GOOD) + Phrase(both_times(confirmed), Tone.DIM)
    else:
        code = Phrase("! nobody has confirmed it", Tone.WARN) + Phrase("  f types it back", Tone.DIM)
    lines = [
        field("Master key", state),
        field("", Phrase(status.detail, Tone.DIM)),
        field("Kept in", status.backend),
        field("Key id", Phrase(status.kid, Tone.CODE) + Phrase(f" · epoch {status.epoch}")),
        *_epoch_lines(status),
        field("Recovery key", Phrase(status.recovery_kid, Tone.CODE)),
        field("Recovery code", code),
        field("Code tried", _proof(recovery)),
        *_kit_lines(recovery.kits),
        Phrase(),
    ]
    if ok:
        lines += [
            Phrase(" The master key seals every snapshot, and never leaves this machine.", Tone.DIM),
            Phrase(" The recovery code is the only way back to them without it: keep it elsewhere.", Tone.DIM),
        ]
    else:
        lines += [
            Phrase(" Nothing can be taken or drilled until the key is back.", Tone.WARN),
            Phrase(" → e puts it back with the recovery code. Jobs that wait for it go on by themselves."),
        ]
    return tuple(lines)


def _proof(recovery: RecoveryView) -> Phrase:
    """When the code was last proven to open everything."""
    at = recovery.verified_at
    if at is None:
        return Phrase("! never: `offsitedb recovery verify` tries it on everything", Tone.WARN)
    if recovery.overdue:
        said = Phrase("! long ago: `offsitedb recovery verify`  ", Tone.WARN)
    else:
        said = Phrase("✓ opens everything  ", Tone.GOOD)
    return said + Phrase(both_times(at), Tone.DIM)


def _kit_lines(kits: Sequence[KitView]) -> list[Phrase]:
    """How the recovery kit at each destination stands."""
    if not kits:
        return [field("Recovery kit", Phrase("lies nowhere: there is no destination yet", Tone.DIM))]
    lines = []
    for n, kit in enumerate(kits[:_KITS_AT_MOST]):
        said = joined([kit.destination, _KITS[kit.state]])
        if kit.written_at is not None:
            said = joined([said, Phrase(f"written {both_times(kit.written_at)}", Tone.DIM)])
        lines.append(field("Recovery kit" if n == 0 else "", said))
        if kit.error:
            lines.append(field("", Phrase(kit.error, Tone.DIM)))
    if len(kits) > _KITS_AT_MOST:
        more = f"and {len(kits) - _KITS_AT_MOST} more: `offsitedb recovery show` lists them"
        lines.append(field("", Phrase(more, Tone.DIM)))
    return lines


def _epoch_lines(status: KeyStatus) -> tuple[Phrase, ...]:
    """When it was rotated, and which older epochs are kept for what."""
    if status.rotated_at is None:
        return (field("Rotated", Phrase("never: o makes a new one", Tone.DIM)),)
    lines = [field("Rotated", both_times(status.rotated_at))]
    kept = [e for e in status.epochs if e.epoch != status.epoch and (e.state == "older" or e.needed)]
    for n, e in enumerate(kept[:_OLDER_AT_MOST]):
        absent = e.state == "absent"
        said = Phrase(
            f" {e.why}" + (", and is not in this keyring" if absent else ""), Tone.BAD if absent else Tone.DIM
        )
        lines.append(field("Older epochs" if n == 0 else "", Phrase(f"{e.epoch} {e.kid or ''}", Tone.CODE) + said))
    if len(kept) > _OLDER_AT_MOST:
        more = f"and {len(kept) - _OLDER_AT_MOST} more: `offsitedb key status` lists them"
        lines.append(field("", Phrase(more, Tone.DIM)))
    return tuple(lines)


# operators


def operator_cells(o: OperatorView, now: datetime) -> tuple[Phrase, ...]:
    """Name, role, state, last login, sessions."""
    state = Phrase("✗ disabled", Tone.DIM) if o.disabled_at is not None else Phrase("● may log in", Tone.GOOD)
    last = "never" if o.last_login_at is None else human_age((now - o.last_login_at).total_seconds())
    return Phrase(o.name), Phrase(o.role.value), state, Phrase(last, Tone.DIM), Phrase(str(o.sessions))


def operator_lines(found: Sequence[OperatorView], actor: str) -> tuple[Phrase, ...]:
    kind, _, name = actor.partition(":")
    you = next((o for o in found if kind == "operator" and o.name == name), None)
    if you is not None:
        return (
            Phrase(" You are ", Tone.DIM) + Phrase(you.name, Tone.STRONG) + Phrase(f", with the role {you.role}."),
            Phrase(" ctrl+l locks the console; it locks itself after 15 idle minutes.", Tone.DIM),
        )
    if found:
        return (Phrase(f" You act as {actor}.", Tone.DIM),)
    return (
        Phrase(" Nobody has to log in here: whoever may use this OS account may do everything.", Tone.STRONG),
        Phrase(" That is right for one person. For several, n adds the first operator, an admin.", Tone.DIM),
    )


# workers and tools


def worker_cells(w: WorkerView, now: datetime) -> tuple[Phrase, ...]:
    """State, host, process, jobs of threads, labels, since, last heard of."""
    state = Phrase("● alive", Tone.GOOD) if w.alive else Phrase("✗ gone", Tone.BAD)
    heard = "now" if w.alive else human_age((now - w.heartbeat_at).total_seconds())
    since = f"{w.started_at.astimezone():%m-%d %H:%M}"
    return (
        state,
        Phrase(w.host),
        Phrase(str(w.pid)),
        Phrase(f"{w.jobs}/{w.threads}"),
        Phrase(", ".join(w.labels), Tone.DIM),
        Phrase(since),
        Phrase(heard, Tone.DIM),
    )


def worker_lines(workers: Sequence[WorkerView]) -> tuple[Phrase, ...]:
    """What it means that there are these workers."""
    if any(w.alive for w in workers):
        return (
            Phrase(" Jobs are run by workers, not by this console: closing it stops nothing.", Tone.DIM),
            Phrase(" A worker for good is a service: `offsitedb worker` under systemd.", Tone.DIM),
        )
    return (
        Phrase(" ! no worker is running", Tone.WARN) + Phrase(": jobs wait."),
        Phrase("   → w starts one for as long as this console lasts."),
        Phrase("   → `offsitedb worker` as a service runs for good.", Tone.DIM),
    )


def doctor_lines(doctor: Doctor) -> tuple[Phrase, ...]:
    """Problems first, each with what to do; then what there is."""
    lines: list[Phrase] = []
    for problem in doctor.problems:
        said, _, cure = problem.partition(". ")
        lines.append(Phrase(" ! ", Tone.WARN) + Phrase(said))
        if cure:
            lines.append(Phrase("   → ", Tone.DIM) + Phrase(cure))
    if not doctor.problems:
        lines.append(Phrase(" ✓ ", Tone.GOOD) + Phrase("nothing needs mending"))
    lines += [Phrase(), heading("PostgreSQL programs")]
    lines += [_tool_line(tool) for tool in doctor.postgres] or [Phrase(" none", Tone.WARN)]
    where = doctor.isolation
    network = "no network" if where.network == "none" else f"network of the {where.network}"
    fence = joined([f"sandbox {where.sandbox}", network, f"user {where.user or 'of the worker'}"])
    lines += [Phrase(), heading("Drills run in"), Phrase(" ") + fence]
    lines.append(Phrase(f" drill.isolation is {doctor.isolation_policy}", Tone.DIM))
    lines += [Phrase(), heading("Keyrings of this machine"), *(_keyring_line(k) for k in doctor.keyrings)]
    lines += [
        Phrase(),
        heading("This installation"),
        field("Version", doctor.version),
        field("Home", doctor.home),
        field("Runtime", doctor.runtime),
        field("Catalog", doctor.catalog),
    ]
    return tuple(lines)


def _tool_line(tool: ToolView) -> Phrase:
    if tool.meets_floor:
        glyph, floor = Phrase("✓", Tone.GOOD), Phrase(f"at or above {tool.floor}", Tone.DIM)
    else:
        glyph, floor = Phrase("!", Tone.WARN), Phrase(f"below the security floor {tool.floor}", Tone.WARN)
    server = "" if tool.server else "no server: cannot drill"
    where = Phrase(f"{tool.where} ({tool.source})", Tone.DIM)
    return Phrase(" ") + glyph + Phrase(f" {tool.version:<8}") + joined([floor, server, where])


def _keyring_line(k: BackendView) -> Phrase:
    glyph = Phrase("✓", Tone.GOOD) if k.usable else Phrase("–", Tone.DIM)
    detail = "" if k.usable and not k.detail else k.detail
    return Phrase(" ") + glyph + Phrase(f" {k.name:<16}") + joined([k.state, Phrase(detail, Tone.DIM)])
