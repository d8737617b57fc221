"""Which entries of an archive go into a target, and by name which do not.

Whole, by schema or by table: with a table goes what belongs to it, and what it needs and the target lacks. What only
a superuser may create is left out unless it is asked for. The room decides on the archive's own dependencies and on
what was seen at the target; it refuses to edit a definition.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.errors import ConfigError
from engine.model.restoring import LeftOut, Parts, RestoreOptions
from engine.postgres.replayplan import close, unquote
from engine.postgres.target import Existing
from engine.postgres.toc import TocEntry

_NEVER = frozenset({"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES", "ACL", "DEFAULT ACL"})
_OTHERWISE = {
    "PUBLICATION": "a restored copy publishes nothing by itself",
    "PUBLICATION TABLE": "a restored copy publishes nothing by itself",
    "PUBLICATION TABLES IN SCHEMA": "a restored copy publishes nothing by itself",
    "SUBSCRIPTION": "a restored copy must not subscribe beside the original",
    "SUBSCRIPTION TABLE": "a restored copy must not subscribe beside the original",
    "SECURITY LABEL": "its provider may not be loaded at the target",
}
_SUPERUSER_KINDS = frozenset(
    {
        *("EVENT TRIGGER", "ACCESS METHOD", "PROCEDURAL LANGUAGE", "TRANSFORM", "FOREIGN DATA WRAPPER"),
        *("OPERATOR CLASS", "OPERATOR FAMILY", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "SHELL TYPE"),
        "USER MAPPING",
    }
)
_SUPERUSER = "only a superuser may create it; --superuser-objects restores it, too"
_TABLES = frozenset({"TABLE", "FOREIGN TABLE", "MATERIALIZED VIEW"})
_RELATIONS = _TABLES | {"VIEW"}
_BELONGS = frozenset(
    {
        *("INDEX", "CONSTRAINT", "CHECK CONSTRAINT", "TRIGGER", "RULE", "POLICY", "ROW SECURITY", "DEFAULT"),
        *("SEQUENCE OWNED BY", "SEQUENCE SET", "COMMENT", "STATISTICS", "STATISTICS DATA", "TABLE DATA"),
        *("MATERIALIZED VIEW DATA", "SEQUENCE"),
    }
)
_NAMED_AFTER = frozenset(
    {
        *("RULE", "TRIGGER", "POLICY", "DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "ROW SECURITY", "TABLE DATA"),
        "MATERIALIZED VIEW DATA",
    }
)
"""Their tags begin with the relation that they are of: other relations that they depend on they merely read."""
_BRIDGES = frozenset({"FK CONSTRAINT", "TABLE ATTACH", "INDEX ATTACH"})
"""They stand between tables: restored only with both of them."""
_PULLED = frozenset(
    {
        *("TYPE", "DOMAIN", "SHELL TYPE", "FUNCTION", "PROCEDURE", "AGGREGATE", "OPERATOR", "SEQUENCE", "COLLATION"),
        *("EXTENSION", "SCHEMA", "SERVER", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY"),
    }
)
_DATA = frozenset({"TABLE DATA", "SEQUENCE SET", "BLOBS", "STATISTICS DATA", "MATERIALIZED VIEW DATA"})
_LARGE_OBJECTS = frozenset({"BLOB", "BLOBS", "BLOB METADATA"})
_QUIET = frozenset({"SEQUENCE SET", "STATISTICS DATA", "MATERIALIZED VIEW DATA", "COMMENT", "PUBLICATION TABLE"})
_LANGUAGE = re.compile(r'\n    LANGUAGE ("(?:[^"]|"")+"|\w+)([^\n]*)')
_NAME = r'((?:"(?:[^"]|"")+"|[^\s".(]+))'
_REFERENCES = re.compile(rf" REFERENCES {_NAME}\.{_NAME}\s*\(")
_POLICY_ROLES = re.compile(r" TO (.+?)(?: USING \(| WITH CHECK \(|;\s*$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Selection:
    """``kept`` in the order in which they are restored; ``conflicts`` and ``missing`` are names at the target."""

    kept: tuple[TocEntry, ...]
    left_out: tuple[LeftOut, ...]
    uses: tuple[str, ...]
    conflicts: tuple[str, ...]
    missing: tuple[str, ...]
    extensions_lacking: tuple[tuple[str, bool], ...]
    """Extensions that are not created: name, and whether the target has their files."""
    roles_lacking: tuple[str, ...]
    """Roles that policies name and the target does not have."""

    @property
    def list_text(self) -> str:
        """The ``--use-list`` file: dump ids alone, because pg_restore reads nothing else of a line."""
        return "".join(f"{entry.dump_id};\n" for entry in self.kept)

    @property
    def loads(self) -> tuple[tuple[str, str], ...]:
        return tuple((e.schema or "", e.tag) for e in self.kept if e.desc == "TABLE DATA")

    @property
    def large_objects(self) -> tuple[int, ...]:
        """Their OIDs: one an entry, or from PostgreSQL 17 on a list in each."""
        ones = [int(e.tag) for e in self.kept if e.desc == "BLOB" and e.tag.isdigit()]
        lists = (e.definition.split() for e in self.kept if e.desc == "BLOB METADATA")
        return tuple(sorted({*ones, *(int(oid) for oids in lists for oid in oids if oid.isdigit())}))

    @property
    def creates(self) -> dict[str, int]:
        apart = _DATA | _LARGE_OBJECTS
        kinds = Counter(e.desc.lower() for e in self.kept if e.desc not in apart and e.desc != "COMMENT")
        if large := len(self.large_objects):
            kinds["large object"] = large
        return dict(sorted(kinds.items()))

    @property
    def drops_with_table(self) -> frozenset[int]:
        """Ids of what goes when its table goes, and of which PostgreSQL refuses some alone: a partition's indexes."""
        tables = {e.dump_id for e in self.kept if e.desc in _TABLES}
        return frozenset(
            e.dump_id for e in self.kept if e.desc in ("INDEX", "CONSTRAINT") and not tables.isdisjoint(e.depends_on)
        )


def select(entries: Sequence[TocEntry], options: RestoreOptions, existing: Existing) -> Selection:
    """Decide for every entry. Raises ConfigError for a table or schema that the archive does not hold."""
    usable = [e for e in entries if e.desc not in _NEVER and not _about_others(e)]
    uses: set[str] = set()
    reasons: dict[int, str] = {}
    if options.whole:
        wanted = {e.dump_id for e in usable}
    else:
        wanted = _belonging(usable, _roots(usable, options), reasons)
        _pull(usable, wanted, existing, uses)
        wanted = _belonging(usable, wanted, reasons)
    chosen = [e for e in usable if e.dump_id in wanted]
    there = {e.dump_id for e in chosen if _is_base(e, existing)}
    lacking = _own_reasons(chosen, options, existing, there, reasons)
    _check_neighbours(usable, chosen, wanted, existing, reasons)
    scope = [e for e in usable if e.dump_id in wanted or e.dump_id in reasons]
    close(scope, reasons, there)
    kept = [e for e in chosen if e.dump_id not in reasons and e.dump_id not in there and _in_part(e, options.parts)]
    if options.parts is Parts.DATA:
        kept = _parents_first(entries, kept)
    named = [e for e in usable if e.dump_id in reasons and e.desc not in _QUIET]
    if options.parts is not Parts.ALL:
        named = [e for e in named if _in_part(e, options.parts)]
    return Selection(
        kept=tuple(kept),
        left_out=tuple(LeftOut(e.desc.lower(), e.name, reasons[e.dump_id]) for e in named),
        uses=tuple(sorted(uses)),
        conflicts=() if options.parts is Parts.DATA else _conflicts(kept, existing),
        missing=_missing(kept, existing) if options.parts is Parts.DATA else (),
        extensions_lacking=lacking,
        roles_lacking=_roles_lacking(kept, existing),
    )


def _about_others(entry: TocEntry) -> bool:
    return entry.desc == "COMMENT" and entry.schema is None and entry.tag.startswith(("DATABASE ", "EXTENSION "))


def _roots(entries: Sequence[TocEntry], options: RestoreOptions) -> set[int]:
    """The entries that were named. Raises ConfigError with near misses."""
    found: set[int] = set()
    tables = [e for e in entries if e.desc in _TABLES]
    for name in options.tables:
        fits = {e.dump_id for e in tables if e.name == name}
        if not fits:
            raise _unknown("table", name, [e.name for e in tables])
        found |= fits
    schemas = {e.schema for e in entries if e.schema} | {e.tag for e in entries if e.desc == "SCHEMA"}
    for name in options.schemas:
        if name not in schemas:
            raise _unknown("schema", name, sorted(schemas))
        found |= {e.dump_id for e in entries if e.schema == name and e.desc not in _BRIDGES}
        found |= {e.dump_id for e in entries if e.desc == "SCHEMA" and e.tag == name}
    return found


def _unknown(what: str, name: str, names: Sequence[str]) -> ConfigError:
    near = difflib.get_close_matches(name, names, 3, 0.5)
    near += [n for n in names if n.split(".")[-1] == name.split(".")[-1] and n not in near]
    hint = f"Did you mean {', '.join(near[:3])}?" if near else f"It holds: {', '.join(sorted(names)[:10])}."
    return ConfigError("config.not-found", f"the snapshot holds no {what} {name!r}", hint=hint)


def _belonging(entries: Sequence[TocEntry], roots: set[int], reasons: dict[int, str]) -> set[int]:
    """The roots, partitions of them, and whatever belongs to any of these; bridges only with both ends."""
    by_id = {e.dump_id: e for e in entries}
    wanted, grew = set(roots), True
    while grew:
        before = len(wanted)
        for entry in entries:
            inside = [d for d in entry.depends_on if d in wanted]
            if not inside:
                continue
            if entry.desc == "TABLE ATTACH":
                parent = next((d for d in inside if by_id[d].tag != entry.tag or by_id[d].schema != entry.schema), None)
                if parent is not None:
                    wanted |= {d for d in entry.depends_on if d in by_id and by_id[d].desc in _TABLES}
            elif entry.desc in _BELONGS and _owned(entry, inside, by_id):
                wanted.add(entry.dump_id)
        grew = len(wanted) > before
    for entry in entries:
        if entry.desc not in _BRIDGES or not any(d in wanted for d in entry.depends_on):
            continue
        outside = [by_id[d] for d in entry.depends_on if d in by_id and d not in wanted and by_id[d].desc in _TABLES]
        if not outside:
            wanted.add(entry.dump_id)
            reasons.pop(entry.dump_id, None)
        elif entry.desc != "FK CONSTRAINT" or _owner_wanted(entry, wanted, by_id):
            reasons[entry.dump_id] = f"{outside[0].desc.lower()} {outside[0].name} is not restored"
    return wanted


def _owned(entry: TocEntry, inside: Sequence[int], by_id: dict[int, TocEntry]) -> bool:
    """Whether the entry belongs to one of ``inside``, and does not merely use it."""
    kinds = {by_id[d].desc for d in inside}
    if entry.desc == "SEQUENCE":
        return bool(kinds & _TABLES)
    if entry.desc in ("SEQUENCE OWNED BY", "SEQUENCE SET"):
        return "SEQUENCE" in kinds
    if entry.desc in ("COMMENT", "STATISTICS DATA"):
        return bool(kinds - {"SCHEMA"})
    if entry.desc in _NAMED_AFTER:
        return any(by_id[d].desc in _RELATIONS and _is_of(entry, by_id[d]) for d in inside)
    return bool(kinds & _RELATIONS)


def _owner_wanted(entry: TocEntry, wanted: set[int], by_id: dict[int, TocEntry]) -> bool:
    return any(d in wanted and _is_of(entry, by_id[d]) for d in entry.depends_on)


def _is_of(entry: TocEntry, relation: TocEntry) -> bool:
    return relation.schema == entry.schema and f"{entry.tag} ".startswith(f"{relation.tag} ")


def _pull(entries: Sequence[TocEntry], wanted: set[int], existing: Existing, uses: set[str]) -> None:
    """Add what the wanted ones need and the target lacks; note in ``uses`` what it has."""
    by_id = {e.dump_id: e for e in entries}
    waiting = list(wanted)
    while waiting:
        for d in by_id[waiting.pop()].depends_on:
            needed = by_id.get(d)
            if needed is None or d in wanted or needed.desc not in _PULLED:
                continue
            if _there(needed, existing):
                if needed.desc not in ("SCHEMA", "EXTENSION"):
                    uses.add(f"{needed.desc.lower()} {needed.name}")
                continue
            wanted.add(d)
            waiting.append(d)


def _there(entry: TocEntry, existing: Existing) -> bool:
    """Whether the target has an object of this kind and name."""
    name = (entry.schema or "", entry.tag)
    if entry.desc in _RELATIONS or entry.desc in ("SEQUENCE", "INDEX"):
        return name in existing.relations
    if entry.desc in ("TYPE", "DOMAIN", "SHELL TYPE"):
        return name in existing.types
    if entry.desc in ("FUNCTION", "PROCEDURE", "AGGREGATE"):
        return name in existing.routines
    if entry.desc == "SCHEMA":
        return entry.tag in existing.schemas
    return entry.desc == "EXTENSION" and entry.tag in existing.installed


def _is_base(entry: TocEntry, existing: Existing) -> bool:
    """Schemas and extensions that are there stay as they are, also under ``clean``."""
    return entry.desc in ("SCHEMA", "EXTENSION") and _there(entry, existing)


def _own_reasons(
    chosen: Sequence[TocEntry], options: RestoreOptions, existing: Existing, there: set[int], reasons: dict[int, str]
) -> tuple[tuple[str, bool], ...]:
    """Fill in why entries are left out for what they are; the extensions among them."""
    lacking: list[tuple[str, bool]] = []
    for entry in chosen:
        if entry.dump_id in there:
            continue
        reason = _OTHERWISE.get(entry.desc)
        if entry.desc == "EXTENSION":
            files = entry.tag in existing.available
            if not files or not (existing.available[entry.tag] or existing.superuser):
                reason = "its files are not on the target's host" if not files else "only a superuser may create it"
                lacking.append((entry.tag, files))
        elif reason is None and not options.superuser_objects and _needs_superuser(entry, existing):
            reason = _SUPERUSER
        if reason is not None:
            reasons.setdefault(entry.dump_id, reason)
    return tuple(lacking)


def _needs_superuser(entry: TocEntry, existing: Existing) -> bool:
    if entry.desc in _SUPERUSER_KINDS:
        return True
    if entry.desc in ("FUNCTION", "PROCEDURE"):
        match = _LANGUAGE.search(entry.definition)
        if match is None:
            return False
        leaks = re.search(r" (LEAKPROOF|SUPPORT)\b", re.sub(r" NOT LEAKPROOF\b", "", match[2]))
        return unquote(match[1]) in existing.untrusted_languages or leaks is not None
    if entry.desc == "TYPE":
        return "\n    INTERNALLENGTH = " in entry.definition
    return entry.desc == "CAST" and " WITHOUT FUNCTION" in entry.definition


def _check_neighbours(
    usable: Sequence[TocEntry],
    chosen: Sequence[TocEntry],
    wanted: set[int],
    existing: Existing,
    reasons: dict[int, str],
) -> None:
    """Views, rules, parents: what refers to a relation that is neither restored nor at the target cannot be made."""
    by_id = {e.dump_id: e for e in usable}
    attached = [set(e.depends_on) for e in usable if e.desc == "TABLE ATTACH"]
    for entry in chosen:
        for d in entry.depends_on:
            other = by_id.get(d)
            if any({entry.dump_id, d} <= pair for pair in attached):
                continue  # a partition is made without its root
            if other is None or d in wanted or other.desc not in _RELATIONS or _there(other, existing):
                continue
            if entry.desc in _BELONGS and entry.desc in ("INDEX", "CONSTRAINT"):
                continue
            reasons.setdefault(entry.dump_id, f"{other.desc.lower()} {other.name} is neither restored nor there")


def _in_part(entry: TocEntry, parts: Parts) -> bool:
    if parts is Parts.SCHEMA:
        return entry.desc not in _DATA and entry.desc not in _LARGE_OBJECTS
    if parts is Parts.DATA:
        return entry.desc in ("TABLE DATA", "SEQUENCE SET") or entry.desc in _LARGE_OBJECTS
    return True


def _conflicts(kept: Iterable[TocEntry], existing: Existing) -> tuple[str, ...]:
    """Objects that would be created and are there."""
    return tuple(f"{e.desc.lower()} {e.name}" for e in kept if e.desc not in _DATA and _there(e, existing))


def _missing(kept: Iterable[TocEntry], existing: Existing) -> tuple[str, ...]:
    data = (e for e in kept if e.desc in ("TABLE DATA", "SEQUENCE SET"))
    return tuple(e.name for e in data if (e.schema or "", e.tag) not in existing.relations)


def _roles_lacking(kept: Iterable[TocEntry], existing: Existing) -> tuple[str, ...]:
    named: set[str] = set()
    for entry in kept:
        match = _POLICY_ROLES.search(entry.definition) if entry.desc == "POLICY" else None
        if match is not None:
            named |= {unquote(role.strip()) for role in match[1].split(", ")}
    return tuple(sorted(named - existing.roles - {"public", "PUBLIC"}))


def _parents_first(entries: Sequence[TocEntry], kept: list[TocEntry]) -> list[TocEntry]:
    """The rows of a table after those of the tables that its foreign keys name; circles stay as they come."""
    data = {(e.schema or "", e.tag): e for e in kept if e.desc == "TABLE DATA"}
    parents: dict[tuple[str, str], set[tuple[str, str]]] = {name: set() for name in data}
    for entry in entries:
        match = _REFERENCES.search(entry.definition) if entry.desc == "FK CONSTRAINT" else None
        if match is None:
            continue
        parent = (unquote(match[1]), unquote(match[2]))
        for name in data:
            if name[0] == entry.schema and entry.tag.startswith(name[1] + " ") and parent in data:
                parents[name].add(parent)
    ordered: list[TocEntry] = []
    done: set[tuple[str, str]] = set()
    while len(done) < len(data):
        ready = [n for n in data if n not in done and parents[n] - {n} <= done]
        for name in ready or [next(n for n in data if n not in done)]:
            done.add(name)
            ordered.append(data[name])
    return [*ordered, *(e for e in kept if e.desc != "TABLE DATA")]
