"""Connections, destinations and what a look at a database found, in words. Pure: no Textual, no terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from engine.model import Check, CheckStatus, NotCaptured
from engine.model.views import ConnectionDetail, PreflightView, StepView
from engine.model.watch import AddressView, Headline, LedgerLine
from screens import present
from screens.phrase import Phrase, Tone, joined

_LOOKS = {
    CheckStatus.OK: ("✓", Tone.GOOD),
    CheckStatus.INFO: ("i", Tone.BUSY),
    CheckStatus.WARN: ("!", Tone.WARN),
    CheckStatus.FAIL: ("✗", Tone.BAD),
}
_FIRST = (CheckStatus.FAIL, CheckStatus.WARN, CheckStatus.OK, CheckStatus.INFO)
_LISTED = 200
"""Things that are not captured, one by one; a database may have ten thousand of them."""
_STEPS = {
    "take back": "begin an upload and take it back",
    "upload": "upload a file in two parts",
    "commit": "finish the upload",
    "stat": "look at it",
    "read a range": "read a piece of it back",
    "list": "find it in the list",
    "delete": "delete it again",
    "versions": "old versions",
}
_KEYRINGS = {
    "secret-service": "the keyring of this desktop session (Secret Service)",
    "kwallet": "KWallet",
    "macos": "the macOS Keychain",
    "windows": "the Windows Credential Manager",
    "kernel": "the keyring of the Linux kernel",
}
_DATABASE = re.compile(r"/([A-Za-z0-9][A-Za-z0-9._-]{0,62})$")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to read, and the cure to copy, if there is one."""

    phrase: Phrase
    sql: str = ""
    what: str = "the SQL"
    """What the cure is, when it is copied."""


def findings(found: PreflightView) -> tuple[Finding, ...]:
    """Everything that was found: what forbids a snapshot first, then what to mend, what is well, what to know."""
    checks = sorted(found.checks, key=lambda check: (_FIRST.index(check.status), not check.fix_sql))
    shown = [_finding(check) for check in checks if not _in_the_headline(check)]
    never = "\n".join(check.detail for check in found.checks if check.code == "never-captured")
    missing = [m for m in found.not_captured if m.fix_sql or m.name not in never]
    left_out = [_left_out(m) for m in missing[:_LISTED]]
    more = len(missing) - _LISTED
    if more > 0:
        left_out.append(Finding(Phrase(f"–  and {more:,} more that are not captured", Tone.DIM)))
    return (*shown, *left_out)


def blocked_only_by_emptiness(found: PreflightView) -> bool:
    """Whether the operator may accept what forbids a snapshot: a source of which no row can be read."""
    failed = [check.code for check in found.checks if check.status is CheckStatus.FAIL]
    return failed == ["nothing-readable"]


def captured_phrase(found: PreflightView) -> Phrase:
    """``214 of 217 tables can be captured · database 412.3 MB``."""
    captured = found.captured
    if not captured.tables_in_source:
        tables = Phrase("no table yet", Tone.DIM)
    elif captured.tables == captured.tables_in_source:
        what = "table" if captured.tables == 1 else f"{captured.tables:,} tables"
        tables = Phrase(f"✓ all {what} can be captured" if captured.tables > 1 else "✓ its table can be captured")
        tables = Phrase(tables.text, Tone.GOOD)
    else:
        tone = Tone.BAD if found.blocking else Tone.WARN
        tables = Phrase(f"{captured.tables:,} of {captured.tables_in_source:,} tables can be captured", tone)
    return joined([tables, Phrase(f"database {present.human_bytes(captured.database_bytes)}")])


def verdict_phrase(found: PreflightView) -> Phrase:
    """What follows from it."""
    if blocked_only_by_emptiness(found):
        return Phrase("✗ cannot be saved like this: no row would be in the backup", Tone.BAD)
    if found.blocking:
        return Phrase("✗ cannot be saved before what is marked ✗ is mended", Tone.BAD)
    warned = sum(check.status is CheckStatus.WARN and not _in_the_headline(check) for check in found.checks)
    if warned:
        things = "1 thing" if warned == 1 else f"{warned} things"
        return Phrase(f"! {things} to mend", Tone.WARN) + Phrase("; it works as it is, too", Tone.DIM)
    return Phrase("✓ nothing to mend", Tone.GOOD)


def address_phrase(address: AddressView) -> Phrase:
    """``reader@db.example.org:5432/shop · Supabase · sslmode=require ! weaker than verify-full``."""
    return joined([Phrase(address.address, Tone.STRONG), _provider(address), tls_phrase(address.sslmode, address)])


def _provider(address: AddressView) -> Phrase:
    return Phrase() if address.provider in (None, "local") else Phrase(str(address.provider))


def tls_phrase(sslmode: str, address: AddressView | None = None) -> Phrase:
    """The mode, and a mark where it is weaker than it could be and that matters."""
    if address is not None and address.provider == "local":
        return Phrase("on this machine")
    if sslmode == "verify-full":
        return Phrase("TLS verify-full")
    return Phrase(f"! TLS {sslmode}, weaker than verify-full", Tone.WARN)


def suggested_name(address: str) -> str:
    """A name for the connection: its database's, where that can be one."""
    found = _DATABASE.search(address)
    return found[1] if found else ""


_PROVING = Phrase("; o: content, server, checks", Tone.DIM)


def detail_lines(found: ConnectionDetail, headline: Headline, now: datetime) -> tuple[Phrase, ...]:
    """What is known of a connection without asking its database."""
    connection = found.connection
    seen = AddressView(found.address, connection.provider, found.sslmode, found.notes)
    tested = (
        "never" if connection.tested_at is None else present.human_age((now - connection.tested_at).total_seconds())
    )
    rows = [
        ("address", joined([Phrase(found.address, Tone.STRONG), _provider(seen)])),
        ("on the way", tls_phrase(found.sslmode, seen)),
        ("backups go to", Phrase(connection.destination)),
        ("drills use", Phrase(f"server {connection.scratch}" if connection.scratch else "clusters of their own")),
        ("they compare", Phrase("rows and content" if connection.fingerprint else "rows") + _PROVING),
        ("checkpoints", schedule_phrase(headline, now)),
        ("drilled", Phrase(headline.drills)),
        ("targets", targets_phrase(headline.proof_target_s, headline.restore_target_s, headline.target_by_schedule)),
        ("last looked at", Phrase(tested)),
    ]
    if connection.worker_label is not None:
        rows.append(("jobs are for", Phrase(f"workers with the label {connection.worker_label}")))
    if connection.accept_empty:
        rows.append(("accepted", Phrase("! a source of which no row can be read", Tone.WARN)))
    rows += [("note", Phrase(note)) for note in found.notes]
    return tuple(Phrase(" ") + Phrase(f"{name:<16}", Tone.DIM) + value for name, value in rows)


def schedule_phrase(line: Headline, now: datetime) -> Phrase:
    """``daily at 03:00 · Europe/Berlin · next Tue 03:00``."""
    if not line.schedule:
        return Phrase("on demand; s sets a schedule", Tone.DIM)
    if line.paused:
        return joined([Phrase(line.schedule), Phrase("! paused", Tone.WARN)])
    return joined([Phrase(line.schedule), Phrase("next ", Tone.DIM) + present.next_phrase(line, now)])


def targets_phrase(proof_s: float | None, restore_s: float | None, by_schedule: bool = False) -> Phrase:
    """``newest proof at most 1 h old · restore within 5 min``."""
    if proof_s is None and restore_s is None:
        return Phrase("none; t sets them", Tone.DIM)
    why = " (by its schedule)" if by_schedule else ""
    proof = f"newest proof at most {present.human_span(proof_s)} old{why}" if proof_s else ""
    restore = f"restore within {present.human_span(restore_s)}" if restore_s else ""
    return joined([proof, restore])


def connection_cells(line: Headline, newest: LedgerLine | None, now: datetime) -> tuple[Phrase, ...]:
    """Connection, provider, destination, newest proven, target, restore target, tables captured at the last look."""
    words = present.headline_cells(line, now)
    tables = Phrase("–", Tone.DIM)
    if newest is not None and newest.tables is not None:
        tables = Phrase(f"{newest.tables:,}")
        if newest.tables_in_source is not None and newest.tables < newest.tables_in_source:
            tables = Phrase(f"{newest.tables:,} of {newest.tables_in_source:,}", Tone.WARN)
    restore = Phrase(present.human_span(line.restore_target_s) if line.restore_target_s else "–")
    return (words[0], words[1], Phrase(line.destination), words[2], words[3], restore, tables)


def step_phrase(step: StepView) -> Phrase:
    """One step of a round trip."""
    glyph, tone = ("i", Tone.BUSY) if step.info else ("✓", Tone.GOOD) if step.ok else ("✗", Tone.BAD)
    return Phrase(f"{glyph} ", tone) + Phrase(f"{_STEPS.get(step.name, step.name):<34}") + Phrase(step.detail, Tone.DIM)


def keyring_words(backend: str) -> str:
    """A keyring as people call it."""
    return _KEYRINGS.get(backend, backend)


def keyring_caveat(backend: str) -> str:
    """What to know about it before the key lies there; may be empty."""
    if backend == "kernel":
        return "Emptied at every restart; `offsitedb key install-systemd` makes it last."
    return ""


def code_lines(groups: Sequence[str], columns: int = 5) -> tuple[Phrase, ...]:
    """A recovery code as a numbered grid, its prefix first."""
    out = [Phrase("     ") + Phrase("odbr1", Tone.STRONG)]
    for start in range(0, len(groups), columns):
        line = Phrase("   ")
        for n in range(start, min(start + columns, len(groups))):
            line = line + Phrase(f"{n + 1:>4} ", Tone.DIM) + Phrase(f"{groups[n]:<4}", Tone.STRONG) + Phrase("  ")
        out.append(line)
    return tuple(out)


def _finding(check: Check) -> Finding:
    glyph, tone = _LOOKS[check.status]
    what = "the SQL" if not (check.fix_sql or "").startswith(("offsitedb", "apt", "localedef")) else "the command"
    return Finding(Phrase(f"{glyph} ", tone) + Phrase(check.detail), check.fix_sql or "", what)


def _left_out(missing: NotCaptured) -> Finding:
    return Finding(
        Phrase("– ", Tone.DIM)
        + Phrase(f"not captured: {missing.kind} ", Tone.DIM)
        + Phrase(missing.name)
        + Phrase(f", {missing.reason}", Tone.DIM),
        missing.fix_sql or "",
    )


def _in_the_headline(check: Check) -> bool:
    """How many tables can be captured stands above the findings."""
    return check.code == "coverage"
