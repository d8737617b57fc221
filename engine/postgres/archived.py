"""What an archive's table of contents says about a failure: where a missing name lives, what a constraint says.

Definitions are read as pg_dump writes them. Where one is not of that form the answer is a placeholder in capitals and
never a guess: what is built here is SQL that people paste.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from engine.postgres.replayplan import tokens
from engine.postgres.rule import Entry, Surroundings, defined_on, identifier, qualified, unquoted

_CONTEXT_FUNCTION = re.compile(r'(?:SQL function "([^"\n]+)"|PL/pgSQL function ([^\n(]+)\()')
_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)'
_QUALIFIED = rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})?"
_SIGNATURE = re.compile(
    rf"CREATE (?:FUNCTION|PROCEDURE|AGGREGATE) (?P<schema>{_IDENTIFIER})\.(?P<name>{_IDENTIFIER})\("
)
_INDEX = re.compile(
    rf"CREATE UNIQUE INDEX (?P<index>{_IDENTIFIER}) ON (?:ONLY )?(?P<table>{_QUALIFIED}) USING {_IDENTIFIER} \("
)
_KEY = re.compile(
    rf"ALTER TABLE (?:ONLY )?(?P<table>{_QUALIFIED})\s+ADD CONSTRAINT (?P<index>{_IDENTIFIER})"
    r" (?:PRIMARY KEY|UNIQUE(?: NULLS NOT DISTINCT)?) \("
)
_FOREIGN = re.compile(
    rf"ALTER TABLE (?:ONLY )?(?P<child>{_QUALIFIED})\s+ADD CONSTRAINT (?P<name>{_IDENTIFIER}) FOREIGN KEY"
    rf" \((?P<mine>[^()]+)\) REFERENCES (?P<parent>{_QUALIFIED})\((?P<theirs>[^()]+)\)"
)
_MISSING_NAME = re.compile(
    r'(?:relation|type|schema|table|view|sequence|collation|text search \w+) "(?P<quoted>[^"\n]+)" does not exist'
    r"|(?:function|operator) (?P<call>[^\n(]+)\([^\n]* does not exist"
)
_NAMED_KINDS = frozenset(
    {
        "AGGREGATE",
        "COLLATION",
        "DOMAIN",
        "FOREIGN TABLE",
        "FUNCTION",
        "MATERIALIZED VIEW",
        "PROCEDURE",
        "SEQUENCE",
        "TABLE",
        "TEXT SEARCH CONFIGURATION",
        "TEXT SEARCH DICTIONARY",
        "TYPE",
        "VIEW",
    }
)
_ROUTINES = frozenset({"FUNCTION", "PROCEDURE", "AGGREGATE"})


def blamed_function(text: str, entries: Sequence[Entry]) -> str | None:
    """The innermost function of a message's context; with schema and arguments where the archive has just one such."""
    match = _CONTEXT_FUNCTION.search(text)
    if match is None:
        return None
    fits = _named(tokens(match[1] or match[2]), entries)
    return signature(fits[0]) if len(fits) == 1 else match[1] or match[2]


def function_signature(text: str, entries: Sequence[Entry]) -> str:
    """The same for SQL; a placeholder for the arguments where several functions share the name."""
    match = _CONTEXT_FUNCTION.search(text)
    parts = tokens(match[1] or match[2]) if match is not None else ()
    fits = _named(parts, entries)
    if len(fits) == 1:
        return signature(fits[0])
    return ".".join(identifier(part) for part in parts) or "FUNCTION"


def signature(entry: Entry) -> str:
    """``schema.name(types)`` as SQL. pg_dump's tag has the types as SQL and the name as it is."""
    name = _routine(entry)
    return f"{qualified(entry.schema or 'public', name)}{entry.tag.removeprefix(name)}"


def missing_name(text: str) -> str | None:
    """The name that does not exist, without its schema, as the catalog would have it."""
    match = _MISSING_NAME.search(text)
    if match is None:
        return None
    parts = tokens(match["quoted"] or match["call"])
    return parts[-1] if parts else None


def schemas_of(name: str | None, entries: Sequence[Entry], *, kinds: frozenset[str] = _NAMED_KINDS) -> list[str]:
    """The schemas in which the archive has something of that name."""
    if not name:
        return []
    found: dict[str, None] = {}
    for entry in entries:
        if entry.desc not in kinds or not entry.schema:
            continue
        if name == (_routine(entry) if entry.desc in _ROUTINES else entry.tag):
            found[entry.schema] = None
    return list(found)


def check_expression(near: Surroundings, constraint: str) -> str | None:
    """What the CHECK of this name on the entry's table says."""
    if near.entry is None:
        return None
    for entry in near.entries:
        if (entry.desc, entry.schema, entry.tag) == ("TABLE", near.entry.schema, near.entry.tag):
            for name in (identifier(constraint), '"' + constraint.replace('"', '""') + '"'):
                at = entry.definition.find(f"CONSTRAINT {name} CHECK (")
                if at >= 0:
                    return _enclosed(entry.definition, entry.definition.index("(", at))
    return None


def indexed(near: Surroundings, index: str) -> tuple[str, str, str]:
    """Table, columns and index of a unique index or key, as SQL."""
    entry = near.entry
    told = None if entry is None else _INDEX.search(entry.definition) or _KEY.search(entry.definition)
    if entry is None or told is None:
        return "SCHEMA.TABLE", "COLUMNS", identifier(index)
    columns = _enclosed(entry.definition, told.end() - 1)
    terms = [_without_order(term) for term in _split(columns or "")]
    schema = entry.schema or (defined_on(entry.definition) or ("", ""))[0]
    return told["table"], ", ".join(terms) or "COLUMNS", qualified(schema, unquoted(told["index"]))


def foreign_key(near: Surroundings, constraint: str) -> tuple[str, str, list[tuple[str, str]]] | None:
    """Child, parent and the pairs of their columns, as SQL."""
    told = _FOREIGN.search(near.entry.definition) if near.entry is not None else None
    if told is None or unquoted(told["name"]) != constraint:
        return None
    mine, theirs = (list(_split(told[group])) for group in ("mine", "theirs"))
    return (told["child"], told["parent"], list(zip(mine, theirs, strict=True))) if len(mine) == len(theirs) else None


def _named(parts: Sequence[str], entries: Sequence[Entry]) -> list[Entry]:
    if not parts:
        return []
    return [
        e
        for e in entries
        if e.desc in _ROUTINES and _routine(e) == parts[-1] and (len(parts) == 1 or e.schema in (None, parts[-2]))
    ]


def _routine(entry: Entry) -> str:
    """The name of a function: the tag has it as it is, with the types behind it."""
    told = _SIGNATURE.match(entry.definition)
    return unquoted(told["name"]) if told is not None else entry.tag.split("(", 1)[0]


def _enclosed(text: str, at: int) -> str | None:
    """What stands between the parenthesis at ``at`` and its partner; strings and quoted names are passed over."""
    depth, quote = 0, ""
    for n in range(at, len(text)):
        c = text[n]
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c == "(":
            depth += 1
        elif c == ")":
            depth -= 1
            if depth == 0:
                return text[at + 1 : n].strip()
    return None


def _split(text: str) -> Iterator[str]:
    """Terms of a list, at the commas that are in no parenthesis, string or name."""
    depth, quote, begin = 0, "", 0
    for n, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c in "()":
            depth += 1 if c == "(" else -1
        elif c == "," and depth == 0:
            yield text[begin:n].strip()
            begin = n + 1
    if text[begin:].strip():
        yield text[begin:].strip()


def _without_order(term: str) -> str:
    """An index's term without what orders it: that cannot stand in GROUP BY."""
    return re.sub(rf"(?: {_IDENTIFIER}_ops)?(?: DESC| ASC)?(?: NULLS (?:FIRST|LAST))?$", "", term)
