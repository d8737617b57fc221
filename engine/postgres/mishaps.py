"""What pg_restore complained about: every message read, tied to the object it is about, and said in plain words.

Three things can be behind a message: the archive does not restore (a failure, and a true one: the same would happen to
whoever restores it in earnest), the replaying role lacks superuser rights (a skip), or this host lacks something (then
nothing can be said about the archive). The room refuses to ignore a message that it does not know: that is a failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from engine.errors import CouldNotVerify
from engine.model import Failure, Skip
from engine.postgres.replayplan import close, name_skips, tokens
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

_HOST_PROBLEMS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"No space left on device|Disk quota exceeded|could not extend file"), "drill.disk"),
    (
        re.compile(
            r"collation \"[^\n]*\" for encoding \"[^\n]*\" does not exist|could not create locale"
            r"|ICU is not supported in this build|could not open collator for locale"
        ),
        "drill.locale-missing",
    ),
    (re.compile(r"could not access file \"|could not load library \""), "drill.extension-missing"),
    (re.compile(r"unsupported version \(\d+\.\d+\) in file header"), "drill.tool-missing"),
    (
        re.compile(
            r"server closed the connection unexpectedly|the database system is (?:shutting down|in recovery mode)"
            r"|could not connect to server|connection to server on socket|out of shared memory|out of memory"
        ),
        "drill.scratch",
    ),
)
_SUPERUSER = re.compile(
    r"must be superuser|[Oo]nly superusers? can|permission denied|must be owner of|must have privileges"
)
_WANTS_MORE = re.compile(
    r"[Nn]on-superuser|must be a superuser|cannot be executed from a function|access to library \"[^\n]*is not allowed"
)
"""Other ways to say that code asked for what a drill never gives; they are never a reason to skip anything."""
_NO_MEMORY = (
    "A process of a drill may have half of this host's memory, and 2 GiB at the least. Read at the source what code"
    " runs on this object; if it may need so much, drill on a host with more memory."
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

_UNQUALIFIED = re.compile(r"(?:function|relation|type|operator|schema) [^\n]* does not exist|does not exist: ")
_CONTEXT_FUNCTION = re.compile(r'(?:SQL function "([^"\n]+)"|PL/pgSQL function ([^\n(]+)\()')


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


def raise_host_problem(mishaps: Sequence[Mishap]) -> None:
    """Raise CouldNotVerify when a message shows that this host, not the archive, is the matter."""
    for mishap in mishaps:
        for pattern, code in _HOST_PROBLEMS:
            if pattern.search(mishap.text):
                where = f" while restoring {_kind(mishap.entry)} {mishap.entry.name}" if mishap.entry else ""
                hint = _NO_MEMORY if "out of memory" in mishap.text else None
                raise CouldNotVerify(code, f"{mishap.about}{where}", hint=hint)


def judge(mishaps: Sequence[Mishap], entries: Sequence[TocEntry], status: int) -> Judgement:
    """Sort a full pass's mishaps into failures and skips; one for each object, consequences said to be so."""
    first: dict[int, Mishap] = {}
    failures: list[Failure] = []
    for mishap in mishaps:
        if mishap.entry is None:
            failures.append(Failure("drill.restore", redact(f"pg_restore: {mishap.about}"), hint_for(mishap, entries)))
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


_WANTS_SUPERUSER = (
    "Code of this database wants superuser rights while it is restored, and a drill never gives them. Read the"
    " object's definition at the source before you restore it as superuser."
)
UNKNOWN_CAUSE = "Restoring by hand will show the same error. Mend the object at the source, then take a new checkpoint."


def hint_for(mishap: Mishap | None, entries: Sequence[TocEntry]) -> str:
    """A full sentence on what to do at the source, for the causes that we know."""
    text = mishap.text if mishap is not None else ""
    function = _blamed_function(text, entries)
    if "canceling statement" in text or "terminating connection due to administrator command" in text:
        return "A single statement ran longer than its limit. Raise drill.statement_timeout_s in config.toml if it may."
    if _UNQUALIFIED.search(text) and function is not None:
        return (
            "A restore runs with an empty search_path, and this function uses names without their schema. Run at the"
            f" source: `ALTER FUNCTION {function} SET search_path = public, pg_temp;`, then take a new checkpoint."
        )
    if _SUPERUSER.search(mishap.about if mishap else "") or _WANTS_MORE.search(text):
        return _WANTS_SUPERUSER
    if "stack depth limit exceeded" in text:
        return "Code of this database calls itself without end while it is restored. Mend it at the source."
    loading = mishap is not None and mishap.entry is not None and mishap.entry.desc == "TABLE DATA"
    if "violates check constraint" in text or (function is not None and loading):
        return (
            "This CHECK gives another answer during a restore, most often because it reads another table that is"
            " loaded later. Replace it by a foreign key or a trigger at the source, then take a new checkpoint."
        )
    if "could not create unique index" in text or "duplicate key value" in text:
        return "The source holds duplicates that its own unique index should forbid. Run `REINDEX` there to see them."
    if "violates foreign key constraint" in text:
        return "The source holds rows without their parents. Find and mend them there, then take a new checkpoint."
    return _WANTS_SUPERUSER if _SUPERUSER.search(text) else UNKNOWN_CAUSE


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
    why = mishap.about if cause is None else f"it depends on {_kind(cause)} {cause.name}, which was not restored either"
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


def _blamed_function(text: str, entries: Sequence[TocEntry]) -> str | None:
    """The innermost function of the message's context, with its schema and arguments where the archive has just one."""
    match = _CONTEXT_FUNCTION.search(text)
    if match is None:
        return None
    parts = tokens(match[1] or match[2])
    name = parts[-1] if parts else ""
    fits = [e for e in entries if e.desc == "FUNCTION" and tokens(e.tag)[:1] == (name,)]
    if len(fits) != 1:
        return match[1] or match[2]
    schema = fits[0].schema or "public"
    if re.fullmatch(r"[a-z_][a-z0-9_$]*", schema) is None:
        schema = '"' + schema.replace('"', '""') + '"'
    return f"{schema}.{fits[0].tag}"
