"""What pg_restore complained about: every message read, tied to the object it is about, and said in plain words.

Three things can be behind a message: the archive does not restore (a failure, and a true one: the same would happen to
whoever restores it in earnest), the replaying role lacks superuser rights (a skip), or this host lacks something (then
nothing can be said about the archive). The room refuses to ignore a message that it does not know: that is a failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from engine.errors import CouldNotVerify
from engine.model import Failure, Skip
from engine.postgres.diagnosis import NOWHERE, Diagnosis, diagnose
from engine.postgres.replayplan import close, name_skips
from engine.postgres.rule import Place, Surroundings
from engine.postgres.rules_restore import UNKNOWN_CAUSE
from engine.postgres.toc import TocEntry
from engine.redact import redact

_MAX_MISHAPS = 5_000
_MAX_LINES = 40
_MAX_LINE = 2_000
_FROM = re.compile(r"^pg_restore: from TOC entry (\d+);")
_ERROR = re.compile(r"^pg_restore: error: (.*)$", re.DOTALL)
_OTHER = re.compile(r"^pg_restore: (?!error: )")
_SERVER_ERROR = re.compile(r"(?:ERROR|FATAL|PANIC):  ")
_STATEMENT = "Command was: "

_SUPERUSER = re.compile(
    r"must be superuser|[Oo]nly superusers? can|permission denied|must be owner of|must have privileges"
)
_NO_DATA_KINDS = frozenset(
    {
        "AGGREGATE",
        "CAST",
        "COLLATION",
        "COMMENT",
        "CONVERSION",
        "DOMAIN",
        "FOREIGN TABLE",
        "FUNCTION",
        "OPERATOR",
        "PROCEDURE",
        "SERVER",
        "STATISTICS",
        "TEXT SEARCH CONFIGURATION",
        "TEXT SEARCH DICTIONARY",
        "TYPE",
    }
)
"""Definitions that run no code of the database and hold no rows: a refusal there is about rights and nothing else."""


@dataclass(frozen=True, slots=True)
class Mishap:
    """One error message: what pg_restore was working on, the message's point, and all of it but the statement."""

    entry: TocEntry | None
    about: str
    text: str


@dataclass(frozen=True, slots=True)
class Judgement:
    failures: tuple[Failure, ...]
    skips: tuple[Skip, ...]
    lost_tables: tuple[tuple[str, str], ...]


def read_mishaps(lines: Iterable[str], entries: Sequence[TocEntry]) -> list[Mishap]:
    """Every error in pg_restore's messages, as far as the first 5,000.

    Only with ``--verbose`` does pg_restore say which entry it works on.
    """
    by_id = {e.dump_id: e for e in entries}
    mishaps: list[Mishap] = []
    for dump_id, text in _messages(lines):
        if len(mishaps) < _MAX_MISHAPS:
            mishaps.append(Mishap(by_id.get(dump_id), _point(text), text))
    return mishaps


def raise_host_problem(mishaps: Sequence[Mishap], *, major: int = 0) -> None:
    """Raise CouldNotVerify when a message shows that this host, not the archive, is the matter.

    ``major``: of the programs here.
    """
    near = Surroundings(major=major)
    for mishap in mishaps:
        found = explain(mishap, (), near=near)
        if found.host:
            assert found.code is not None
            where = f" while restoring {_kind(mishap.entry)} {mishap.entry.name}" if mishap.entry else ""
            raise CouldNotVerify(found.code, found.message + where, hint=found.hint)


def judge(mishaps: Sequence[Mishap], entries: Sequence[TocEntry], status: int) -> Judgement:
    """Sort a full pass's mishaps into failures and skips; one for each object, consequences said to be so."""
    first: dict[int, Mishap] = {}
    failures: list[Failure] = []
    for mishap in mishaps:
        if mishap.entry is None:
            message = f"pg_restore: {explain(mishap, entries).message}"
            failures.append(Failure("drill.restore", message, hint_for(mishap, entries)))
        else:
            first.setdefault(mishap.entry.dump_id, mishap)
    reasons = {
        dump_id: redact(f"it needs superuser rights ({m.about})")
        for dump_id, m in first.items()
        if m.entry is not None and m.entry.desc in _NO_DATA_KINDS and _SUPERUSER.search(m.about)
    }
    failed_entries = [e for e in entries if e.dump_id in first]
    close(failed_entries, reasons, frozenset())
    skipped = [e for e in failed_entries if e.dump_id in reasons]
    real = [e for e in failed_entries if e.dump_id not in reasons]
    broken = {e.dump_id: e for e in real}
    for entry in real:
        cause = next((broken[d] for d in entry.depends_on if d in broken), None)
        if cause is not None and cause.desc == "TABLE" and entry.desc == "TABLE DATA":
            continue  # said with the table
        failures.append(_failure(entry, first[entry.dump_id], cause, entries))
    if status != 0 and not mishaps:
        how = f"exit status {status}" if status > 0 else f"ended by signal {-status}"
        failures.append(Failure("drill.restore", f"pg_restore failed without a word ({how})", hint_for(None, entries)))
    lost = tuple((e.schema or "", e.tag) for e in skipped if e.desc == "TABLE DATA")
    return Judgement(tuple(failures), name_skips(skipped, reasons), lost)


def explain(
    mishap: Mishap, entries: Sequence[TocEntry], place: Place = Place.RESTORE, *, near: Surroundings = NOWHERE
) -> Diagnosis:
    """What a message means, as far as a rule knows it."""
    return diagnose(mishap.text, place, replace(near, entry=mishap.entry, entries=entries), point=mishap.about)


def hint_for(mishap: Mishap | None, entries: Sequence[TocEntry]) -> str:
    """A full sentence on what to do at the source, for the causes that we know."""
    found = explain(mishap, entries).hint if mishap is not None else None
    return redact(found or UNKNOWN_CAUSE)


def _messages(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """(dump id or 0, message) for each error; a message goes on until pg_restore speaks again."""
    dump_id = 0
    message: list[str] | None = None
    for line in lines:
        error = _ERROR.match(line)
        if message is not None and line.startswith(_STATEMENT):
            yield dump_id, "\n".join(message)  # the statement itself follows: source text, which proves nothing
            message = None
        if error or _OTHER.match(line):
            if message is not None:
                yield dump_id, "\n".join(message)
            message = [error[1][:_MAX_LINE]] if error else None
            origin = _FROM.match(line)
            if origin:
                dump_id = int(origin[1])
            elif line.startswith("pg_restore: while "):
                dump_id = 0
        elif message is not None and len(message) < _MAX_LINES:
            message.append(line[:_MAX_LINE])
    if message is not None:
        yield dump_id, "\n".join(message)


def _point(text: str) -> str:
    """The first line, from the server's own words on; the statement that pg_restore repeats is left out."""
    head = text.split("\n", 1)[0]
    match = _SERVER_ERROR.search(head)
    return head[match.end() :].strip() if match else head.strip()


def _failure(entry: TocEntry, mishap: Mishap, cause: TocEntry | None, entries: Sequence[TocEntry]) -> Failure:
    why = (
        explain(mishap, entries).message
        if cause is None
        else f"it depends on {_kind(cause)} {cause.name}, which was not restored either"
    )
    if entry.desc == "TABLE":
        message = f"table {entry.name} is lost with all its rows: {why}"
    elif entry.desc == "TABLE DATA":
        message = f"the rows of table {entry.name} are lost: {why}"
    elif entry.desc == "MATERIALIZED VIEW DATA":
        message = f"materialized view {entry.name} could not be filled: {why}"
    else:
        message = f"{_kind(entry)} {entry.name} was not restored: {why}"
    return Failure("drill.restore", redact(message), hint_for(mishap, entries))


def _kind(entry: TocEntry) -> str:
    return entry.desc.lower()
