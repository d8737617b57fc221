"""What a rule of diagnosis is: a text of PostgreSQL's, what it means, and the exact command or SQL that comes next.

Names that are taken out of a text belong to strangers. In a sentence they stand cleaned, in SQL as identifiers that
mean the same whatever they hold, control characters included. The room refuses to put a name anywhere else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from engine.redact import redact

LONGEST_WORDS = 600
"""Characters of PostgreSQL's own words that are shown."""
_LONGEST_NAME = 200
_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_RESERVED_WORDS = (
    "all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case cast"
    " char character check coalesce collate collation column concurrently constraint create cross current_catalog"
    " current_date current_role current_schema current_time current_timestamp current_user dec decimal default"
    " deferrable desc distinct do else end except exists extract false fetch float for foreign freeze from full grant"
    " greatest group grouping having ilike in initially inner inout int integer intersect interval into is isnull join"
    " lateral leading least left like limit localtime localtimestamp national natural nchar none normalize not notnull"
    " null nullif numeric offset on only or order out outer overlaps overlay placing position precision primary real"
    " references returning right row select session_user setof similar smallint some substring symmetric system_user"
    " table tablesample then time timestamp to trailing treat trim true union unique user using values varchar variadic"
    " verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse"
    " xmlpi xmlroot xmlserialize xmltable"
)
_RESERVED = frozenset(_RESERVED_WORDS.split())


class Place(StrEnum):
    """Who said it."""

    CONNECT = "connect"
    """A server or pooler, to a session that it refused."""
    SESSION = "session"
    """The source, to a session of ours."""
    DUMP = "dump"
    """pg_dump."""
    RESTORE = "restore"
    """pg_restore, of an archive into a scratch database."""
    TARGET = "target"
    """pg_restore, of an archive into a server of the user's."""


class Entry(Protocol):
    """An archive's entry, as far as a rule wants to know it (``engine.postgres.toc``)."""

    @property
    def desc(self) -> str: ...
    @property
    def schema(self) -> str | None: ...
    @property
    def tag(self) -> str: ...
    @property
    def definition(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known beside the text. An empty text or 0: not known."""

    host: str = "the server"
    port: int = 0
    dbname: str = "the database"
    role: str = "we log in as"
    sslmode: str = ""
    timeout_s: float = 0.0
    major: int = 0
    entry: Entry | None = None
    entries: Sequence[Entry] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Case:
    """One text that a rule fits."""

    text: str
    match: re.Match[str]
    near: Surroundings

    def name(self, group: str, otherwise: str = "") -> str:
        """What the rule found under ``group``, as it stands in the text."""
        return self.match.groupdict().get(group) or otherwise

    @property
    def table(self) -> tuple[str, str] | None:
        """Schema and name of the table whose rows were being copied or that the entry is about."""
        return copied_table(self.text) or _entry_table(self.near.entry)

    @property
    def table_sql(self) -> str:
        """The same for SQL; a placeholder where it is not known."""
        return qualified(*self.table) if self.table else "SCHEMA.TABLE"

    @property
    def table_text(self) -> str:
        return f"table {plain('.'.join(self.table), _LONGEST_NAME)}" if self.table else "a table"


Words = str | Callable[[Case], str]


@dataclass(frozen=True, slots=True)
class Rule:
    """``says``: what happened and what it means for this database; ``hint``: full sentences with the next step.

    Either may be a template: its fields are the pattern's groups and what is known of the surroundings, cleaned in
    ``says``; in ``hint`` as identifiers, and cleaned under the name with ``_text`` behind it. ``host``: the place
    where it was restored is the matter, not the archive. ``retry``: it may pass by itself.
    """

    name: str
    places: frozenset[Place]
    pattern: re.Pattern[str]
    code: str
    says: Words
    hint: Words | None = None
    retry: bool = False
    host: bool = False
    kinds: frozenset[str] | None = None
    """Kinds of archive entries that it is for; None: any, or none."""
    when: Callable[[Surroundings], bool] | None = None
    """What has to be so beside the text; None: anything."""

    def fits(self, text: str, place: Place, near: Surroundings) -> Case | None:
        if place not in self.places:
            return None
        if self.kinds is not None and (near.entry is None or near.entry.desc not in self.kinds):
            return None
        if self.when is not None and not self.when(near):
            return None
        match = self.pattern.search(text)
        return Case(text, match, near) if match is not None else None

    def sentence(self, case: Case) -> str:
        return self.says(case) if callable(self.says) else self.says.format_map(_Cleaned(case))

    def next_step(self, case: Case) -> str | None:
        if self.hint is None:
            return None
        return self.hint(case) if callable(self.hint) else self.hint.format_map(_Quoted(case))


def rule(
    name: str,
    places: Sequence[Place],
    pattern: str,
    code: str,
    says: Words,
    hint: Words | None = None,
    *,
    retry: bool = False,
    host: bool = False,
    kinds: Sequence[str] | None = None,
    when: Callable[[Surroundings], bool] | None = None,
) -> Rule:
    compiled = re.compile(pattern, re.IGNORECASE | re.DOTALL)
    only = frozenset(kinds) if kinds is not None else None
    return Rule(name, frozenset(places), compiled, code, says, hint, retry, host, only, when)


class _Cleaned(dict[str, object]):
    """Fields of a sentence."""

    def __init__(self, case: Case) -> None:
        super().__init__(_fields(case))
        self._case = case

    def __missing__(self, key: str) -> str:
        return plain(self._case.name(key, "?"), _LONGEST_NAME)


class _Quoted(dict[str, object]):
    """Fields of a next step."""

    def __init__(self, case: Case) -> None:
        super().__init__(_fields(case))
        self["role"] = identifier(case.near.role)
        self["dbname"] = identifier(case.near.dbname)
        self._case = case

    def __missing__(self, key: str) -> str:
        if key.endswith("_text"):
            return plain(self._case.name(key.removesuffix("_text"), "?"), _LONGEST_NAME)
        return identifier(self._case.name(key, "NAME"))


def _fields(case: Case) -> Mapping[str, object]:
    near = case.near
    return {
        "host": plain(near.host, _LONGEST_NAME),
        "port": near.port,
        "dbname": plain(near.dbname, _LONGEST_NAME),
        "role": plain(near.role, _LONGEST_NAME),
        "user": plain(near.role, _LONGEST_NAME),
        "sslmode": near.sslmode,
        "timeout": f"{near.timeout_s:g}",
        "major": near.major or "MAJOR",
        "table_name": case.table_text,
        "table_sql": case.table_sql,
    }


# names


def identifier(name: str) -> str:
    """``name`` as SQL: bare where that is safe, quoted elsewhere, and escaped where it holds what cannot be seen."""
    if _PLAIN.fullmatch(name) and name not in _RESERVED:
        return name
    if not any(unicodedata.category(c) in _HIDDEN for c in name):
        return '"' + name.replace('"', '""') + '"'
    escaped = "".join(
        rf"\+{ord(c):06X}" if unicodedata.category(c) in _HIDDEN else {'"': '""', "\\": "\\\\"}.get(c, c) for c in name
    )
    return f'U&"{escaped}"'


def qualified(schema: str, name: str) -> str:
    """``schema.name`` as SQL."""
    return f"{identifier(schema)}.{identifier(name)}" if schema else identifier(name)


def literal(text: str) -> str:
    """``text`` as a SQL literal that can be seen through."""
    if not any(unicodedata.category(c) in _HIDDEN for c in text) and "\\" not in text:
        return "'" + text.replace("'", "''") + "'"
    escaped = "".join(
        rf"\U{ord(c):08X}" if unicodedata.category(c) in _HIDDEN else {"'": "''", "\\": "\\\\"}.get(c, c) for c in text
    )
    return f"E'{escaped}'"


def plain(text: str, limit: int = LONGEST_WORDS) -> str:
    """``text`` on one line, secrets taken out, what cannot be seen made visible, ``limit`` characters at the most."""
    shown: list[str] = []
    for c in redact(text)[: limit * 2]:
        if c in "\n\r\t" or unicodedata.category(c) == "Zs":
            if shown and shown[-1] != " ":
                shown.append(" ")
        elif unicodedata.category(c) in _HIDDEN:
            shown.append(_escape(c))
        else:
            shown.append(c)
    line = "".join(shown).strip()
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def shown_lines(text: str | None) -> str | None:
    """``text`` of several lines as it is, but for what cannot be seen: it is there to be copied."""
    if text is None:
        return None
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _HIDDEN else _escape(c) for c in text)


def _escape(c: str) -> str:
    return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"


_NAME = r'("(?:[^"]|"")+"|[^\s".(;]+)'
_COPIED = re.compile(rf"\b(?:COPY|LOCK TABLE|FROM ONLY) {_NAME}\.{_NAME}")
_ON = re.compile(rf"\b(?:ON|ALTER TABLE|ALTER TABLE ONLY|CREATE TABLE) (?:ONLY )?{_NAME}\.{_NAME}")
_OWN_TABLE = frozenset({"TABLE", "TABLE DATA", "MATERIALIZED VIEW", "MATERIALIZED VIEW DATA"})


def copied_table(text: str) -> tuple[str, str] | None:
    """The table of the COPY or LOCK TABLE that the text quotes; not where it names several."""
    found = _COPIED.search(text)
    return None if found is None else (unquoted(found[1]), unquoted(found[2]))


def defined_on(definition: str) -> tuple[str, str] | None:
    """The table that an index, constraint or trigger is defined on."""
    found = _ON.search(definition)
    return None if found is None else (unquoted(found[1]), unquoted(found[2]))


def _entry_table(entry: Entry | None) -> tuple[str, str] | None:
    if entry is None:
        return None
    if entry.desc in _OWN_TABLE:
        return entry.schema or "", entry.tag
    return defined_on(entry.definition)


def unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
