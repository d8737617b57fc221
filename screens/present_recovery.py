"""A recovered installation in words: what was found, what is missing, what to do next. Pure."""

from __future__ import annotations

from datetime import datetime

from engine.model.recovery import Recovered, RecoveredConnection
from screens.present import visible

UNPROVEN = "UNPROVEN, all of them: receipts were kept on the lost machine alone."
AT_REST = "At rest until you say so. Make sure first that the old machine writes no more, then:"
NOT_KEPT = "Operators, API keys, alert channels and pins were not kept at the destination: add them anew."
VOLATILE = "The key is gone after a reboot of this machine: `offsitedb key install-systemd` makes it permanent."
HEAD = ("CONNECTION", "SNAPSHOTS", "LOST", "OLDEST", "NEWEST", "")


def row(one: RecoveredConnection) -> tuple[object, ...]:
    """One connection, as :data:`HEAD` says."""
    said = "" if one.known else "no connection string"
    return one.name, one.snapshots, one.lost, _at(one.oldest_at), _at(one.newest_at), said


def totals(found: Recovered) -> str:
    return f"{_snapshots(found.snapshots)} {_are(found.snapshots)} there, {found.lost:,} {_are(found.lost)} lost."


def remark_lines(found: Recovered) -> list[str]:
    return [f"! {visible(remark.subject)}: {visible(remark.text)}" for remark in found.remarks]


def next_lines(found: Recovered) -> list[str]:
    """The commands, shortest path first."""
    newest = next((one for one in found.connections if one.newest_id is not None), None)
    lines = []
    if newest is not None:
        which = f"{newest.name}@latest" if newest.known else str(newest.newest_id)[:16]
        lines.append(f"  {f'offsitedb restore {which}':<36} one snapshot, into a database of yours")
    lines.append(f"  {'offsitedb restore --all':<36} the newest of each, into new databases of a server")
    lines.append(f"  {'offsitedb drill --all --wait':<36} prove every snapshot: restored, counted, signed")
    return lines


def resume_lines(found: Recovered) -> list[str]:
    return [f"  {visible(command)}" for one in found.connections for command in one.resume]


def text(found: Recovered) -> str:
    """All of it, for a sheet."""
    lines = [f"{one.name}: {_snapshots(one.snapshots)}, newest {_at(one.newest_at)}" for one in found.connections]
    resume = resume_lines(found)
    parts = [
        [*lines, totals(found)],
        remark_lines(found),
        [UNPROVEN, *next_lines(found)],
        [AT_REST, *resume] if resume else [],
        [NOT_KEPT, *([VOLATILE] if found.backend == "kernel" else [])],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _snapshots(n: int) -> str:
    return "1 snapshot" if n == 1 else f"{n:,} snapshots"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _at(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at is not None else ""
