"""How the drills of a connection prove it, in words: checks, content, the server they restore into. Pure text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from engine.model import OperatorCheck
from engine.model.views import ConnectionView, ScratchServerView
from screens.phrase import Phrase, Tone, joined, paragraphs
from screens.present import both_times, human_age, human_bytes, human_seconds
from screens.present_settings import field

FINGERPRINT_S_PER_GB = 5.5


def fingerprint_cost(size: int | None, rows: int | None = None) -> str:
    """What reading the content of every table takes."""
    rate = f"{FINGERPRINT_S_PER_GB:g} CPU seconds per GB of table data, at the source and again in each drill"
    if size is None:
        return f"this costs {rate}"
    seconds = human_seconds(size / 1e9 * FINGERPRINT_S_PER_GB)
    read = f"{rows:,} rows, {human_bytes(size)}" if rows is not None else human_bytes(size)
    return (
        f"this costs {rate}: at most about {seconds} on each side for the {read} that the database had at its last"
        " snapshot"
    )


def how_lines(view: ConnectionView) -> tuple[Phrase, ...]:
    """The two choices above the checks."""
    server = Phrase(f"server {view.scratch}" if view.scratch else "a cluster of its own on this host, each time")
    content = "rows counted, and the content of every table compared" if view.fingerprint else "rows counted"
    workers = (
        (field("Jobs are for", f"workers with the label {view.worker_label}"),) if view.worker_label is not None else ()
    )
    return field("Restores into", server), field("Compares", content), *workers


def check_cells(check: OperatorCheck) -> tuple[Phrase, ...]:
    """Name, expected answer, question."""
    return Phrase(check.name, Tone.STRONG), Phrase(check.expect), Phrase(check.query, Tone.CODE)


def check_lines(check: OperatorCheck) -> tuple[Phrase, ...]:
    """One check, with its whole question."""
    first, *more = paragraphs(check.query, Tone.CODE)
    return field("Expects", check.expect), field("Asks", first), *(field("", line) for line in more)


def scratch_choices(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """What drills may restore into; the empty one is a cluster of their own."""
    return ("", "a cluster of its own"), *((name, name) for name in sorted(names))


def scratch_cells(server: ScratchServerView, now: datetime) -> tuple[Phrase, ...]:
    """Name, address, who uses it, when it was tried."""
    users = ", ".join(server.connections) or "nobody"
    tried = human_age((now - server.tested_at).total_seconds()) if server.tested_at else "never"
    return Phrase(server.name, Tone.STRONG), Phrase(server.address), Phrase(users), Phrase(tried, Tone.DIM)


def scratch_lines(server: ScratchServerView) -> tuple[Phrase, ...]:
    """One server; ``version`` where it was asked just now."""
    users = joined([Phrase(name, Tone.STRONG) for name in server.connections])
    nobody = Phrase("no connection; o on page 2 chooses it for one", Tone.DIM)
    lines = [
        field("Address", Phrase(server.address, Tone.STRONG)),
        field("Drills of", users or nobody),
        field("Last tried", both_times(server.tested_at) if server.tested_at else "never: t tries it"),
    ]
    if server.version:
        lines.append(field("It said", f"PostgreSQL {server.version}"))
    return tuple(lines)
