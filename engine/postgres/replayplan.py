"""What of an archive a drill replays, and by name what it does not.

The replaying role is no superuser, so whatever only a superuser may create is left out, and so is what stands on it.
Everything captured ends in exactly one of three places: replayed, skipped with a reason, or normalised (owners, grants
and extensions: in another form, without loss of data). The room decides on the archive's own definitions and
dependencies; it refuses to edit a definition so that it fits.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.model import Dependant, Normalised, Skip
from engine.postgres.toc import TocEntry

_SUPERUSER = "only a superuser can create it, and a drill replays without superuser rights"
_SKIPPED_KINDS = {
    "EVENT TRIGGER": _SUPERUSER,
    "PUBLICATION": "a scratch cluster publishes nothing",
    "PUBLICATION TABLE": "a scratch cluster publishes nothing",
    "PUBLICATION TABLES IN SCHEMA": "a scratch cluster publishes nothing",
    "SUBSCRIPTION": "a drill must not connect to a publisher",
    "SUBSCRIPTION TABLE": "a drill must not connect to a publisher",
    "SECURITY LABEL": "its provider is not loaded in a scratch cluster",
    "ACCESS METHOD": _SUPERUSER,
    "USER MAPPING": "a drill must not log in to other servers",
    "PROCEDURAL LANGUAGE": _SUPERUSER,
    "TRANSFORM": _SUPERUSER,
    "FOREIGN DATA WRAPPER": _SUPERUSER,
    "OPERATOR CLASS": _SUPERUSER,
    "OPERATOR FAMILY": _SUPERUSER,
    "TEXT SEARCH PARSER": _SUPERUSER,
    "TEXT SEARCH TEMPLATE": _SUPERUSER,
    "SHELL TYPE": _SUPERUSER,
}
_COUNTED_KINDS = {
    "ACL": "grants are not replayed; the roles exist as stubs",
    "DEFAULT ACL": "default privileges are not replayed",
}
_PLUMBING = frozenset({"ENCODING", "STDSTRINGS", "SEARCHPATH"})
_FOLDED_KINDS = frozenset(
    {
        "MATERIALIZED VIEW DATA",
        "SEQUENCE SET",
        "STATISTICS DATA",
        "PUBLICATION TABLE",
        "PUBLICATION TABLES IN SCHEMA",
        "SUBSCRIPTION TABLE",
    }
)
"""Second halves and members of an object: left out with it without being named again."""

_LANGUAGE = re.compile(r'\n    LANGUAGE ("(?:[^"]|"")+"|\w+)([^\n]*)')
_FILE_FDW = re.compile(r"^CREATE SERVER .*? FOREIGN DATA WRAPPER file_fdw\b", re.DOTALL)
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|([^\s".,()]+)')
_DEPENDANT_KINDS: dict[str, frozenset[str]] = {
    "table": frozenset({"TABLE"}),
    "foreign table": frozenset({"FOREIGN TABLE"}),
    "view": frozenset({"VIEW"}),
    "materialized view": frozenset({"MATERIALIZED VIEW"}),
    "sequence": frozenset({"SEQUENCE"}),
    "function": frozenset({"FUNCTION"}),
    "procedure": frozenset({"PROCEDURE"}),
    "aggregate": frozenset({"AGGREGATE"}),
    "domain": frozenset({"DOMAIN"}),
    "domain constraint": frozenset({"CHECK CONSTRAINT"}),
    "statistics object": frozenset({"STATISTICS"}),
    "table constraint": frozenset({"CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT"}),
    "trigger": frozenset({"TRIGGER"}),
    "policy": frozenset({"POLICY"}),
    "rule": frozenset({"RULE"}),
    "default value": frozenset({"DEFAULT"}),
    "partition attach": frozenset({"TABLE ATTACH"}),
}
_ON_A_TABLE = frozenset({"table constraint", "domain constraint", "trigger", "policy", "rule"})


@dataclass(frozen=True, slots=True)
class Ground:
    """What the prepared database has before the replay starts. Names as in the catalog, unquoted."""

    schemas: frozenset[str] = frozenset({"public"})
    untrusted_languages: frozenset[str] = frozenset({"c", "internal"})


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """``kept`` in the archive's order. ``lost_tables``: tables whose rows are not replayed; ``skips`` has them too."""

    kept: tuple[TocEntry, ...]
    skips: tuple[Skip, ...]
    normalised: tuple[Normalised, ...]
    lost_tables: tuple[tuple[str, str], ...]
    skipped_ids: frozenset[int]

    @property
    def list_text(self) -> str:
        """The ``--use-list`` file: dump ids alone, because pg_restore reads nothing else of a line."""
        return "".join(f"{entry.dump_id};\n" for entry in self.kept)


def plan_restore(entries: Sequence[TocEntry], dependants: Iterable[Dependant], ground: Ground) -> RestorePlan:
    """Decide for every entry. ``dependants``: objects whose ground was not captured (they are in the archive, too)."""
    normalised, soft = _normalise(entries, ground)
    reasons = _own_reasons(entries, ground, soft)
    for entry, dependant in _match(entries, dependants):
        if entry.dump_id not in soft:
            reasons.setdefault(entry.dump_id, f"it needs something that was not captured ({dependant.kind})")
    _detached_indexes(entries, reasons)
    # an access method of tables is replaced by heap, so what stands on it stands
    carried = soft | {e.dump_id for e in entries if e.desc == "ACCESS METHOD" and " TYPE TABLE " in e.definition}
    close(entries, reasons, carried)
    dropped = soft | reasons.keys()
    kept = tuple(e for e in entries if e.dump_id not in dropped and e.desc not in _PLUMBING)
    skipped = [e for e in entries if e.dump_id in reasons]
    return RestorePlan(
        kept=kept,
        skips=name_skips(skipped, reasons),
        normalised=normalised,
        lost_tables=tuple((e.schema or "", e.tag) for e in skipped if e.desc == "TABLE DATA"),
        skipped_ids=frozenset(reasons),
    )


def close(entries: Sequence[TocEntry], reasons: dict[int, str], carried: frozenset[int] | set[int]) -> None:
    """Extend ``reasons`` (dump id -> why left out) to everything that depends on what is left out.

    ``carried`` ids are there in another form, so nothing falls with them.
    """
    names = {e.dump_id: f"{e.desc.lower()} {e.name}" for e in entries}
    grew = True
    while grew:
        grew = False
        for entry in entries:
            if entry.dump_id in reasons or entry.dump_id in carried or entry.desc in _COUNTED_KINDS:
                continue
            cause = next((d for d in entry.depends_on if d in reasons and d not in carried), None)
            if cause is not None:
                reasons[entry.dump_id] = f"it depends on {names.get(cause, 'something')}, which is left out"
                grew = True


def name_skips(skipped: Sequence[TocEntry], reasons: dict[int, str]) -> tuple[Skip, ...]:
    """One skip an object; the rows of a table are an object of their own, because they are what matters."""
    named: list[Skip] = []
    for entry in skipped:
        if entry.desc in _FOLDED_KINDS:
            continue
        reason = reasons[entry.dump_id]
        if entry.desc == "TABLE DATA":
            reason = f"the captured rows of this table were not replayed: {reason}"
        named.append(Skip(entry.desc, entry.name, reason))
    return tuple(named)


def _normalise(entries: Sequence[TocEntry], ground: Ground) -> tuple[tuple[Normalised, ...], frozenset[int]]:
    """What is there in another form, and the ids of its entries."""
    named: list[Normalised] = []
    soft: set[int] = set()
    counted: Counter[str] = Counter()
    owners = {e.owner for e in entries if e.owner and e.desc not in _COUNTED_KINDS}
    extensions: set[int] = set()
    for entry in entries:
        if entry.desc in _COUNTED_KINDS:
            counted[entry.desc] += 1
        elif entry.desc == "EXTENSION":
            extensions.add(entry.dump_id)
            named.append(Normalised(entry.desc, entry.tag, "created beforehand from this host's packages"))
        elif entry.desc == "SCHEMA" and entry.tag in ground.schemas:
            named.append(Normalised(entry.desc, entry.tag, "created beforehand"))
        elif entry.desc == "DATABASE PROPERTIES":
            named.append(Normalised(entry.desc, entry.tag, "settings of the database are not replayed"))
        elif entry.desc == "COMMENT" and entry.tag.startswith("EXTENSION ") and extensions & set(entry.depends_on):
            counted["COMMENT ON EXTENSION"] += 1
        elif entry.desc not in ("DATABASE",) and not _comment_on_database(entry):
            continue
        soft.add(entry.dump_id)
    for kind, count in sorted(counted.items()):
        reason = _COUNTED_KINDS.get(kind, "extensions bring their own")
        named.append(Normalised(kind, f"{count} entries", reason))
    if versions := sum(entry.versions for entry in entries if "pg_attver" in entry.definition):
        named.append(
            Normalised("COLUMN VERSION", f"{versions} columns", "the server's own note (pg_attver), not replayed")
        )
    if owners:
        named.append(Normalised("OWNER", ", ".join(sorted(owners)), "everything belongs to the replaying role"))
    return tuple(named), frozenset(soft)


def _comment_on_database(entry: TocEntry) -> bool:
    return entry.desc in ("COMMENT", "SECURITY LABEL") and entry.schema is None and entry.tag.startswith("DATABASE ")


def _own_reasons(entries: Sequence[TocEntry], ground: Ground, soft: frozenset[int]) -> dict[int, str]:
    """Entries that cannot be replayed for what they are themselves."""
    reasons: dict[int, str] = {}
    file_servers = {e.dump_id for e in entries if e.desc == "SERVER" and _FILE_FDW.match(e.definition)}
    for entry in entries:
        if entry.dump_id in soft:
            continue
        reason = _SKIPPED_KINDS.get(entry.desc)
        if reason is None and entry.desc in ("FUNCTION", "PROCEDURE"):
            reason = _routine_reason(entry, ground)
        elif reason is None and (
            (entry.desc == "TYPE" and "\n    INTERNALLENGTH = " in entry.definition)
            or (
                entry.desc == "CAST"
                and entry.definition.rstrip().endswith(
                    (" WITHOUT FUNCTION;", " WITHOUT FUNCTION AS ASSIGNMENT;", " WITHOUT FUNCTION AS IMPLICIT;")
                )
            )
        ):
            reason = _SUPERUSER
        elif reason is None and entry.desc == "FOREIGN TABLE" and file_servers & set(entry.depends_on):
            reason = "it reads files of the source's host"
        if reason is not None:
            reasons[entry.dump_id] = reason
    return reasons


def _routine_reason(entry: TocEntry, ground: Ground) -> str | None:
    match = _LANGUAGE.search(entry.definition)
    if match is None:
        return None
    language = unquote(match[1])
    if language in ground.untrusted_languages:
        return f"functions in language {language} need superuser rights"
    if re.search(r" (LEAKPROOF|SUPPORT)\b", re.sub(r" NOT LEAKPROOF\b", "", match[2])):
        return _SUPERUSER
    return None


def _match(entries: Sequence[TocEntry], dependants: Iterable[Dependant]) -> list[tuple[TocEntry, Dependant]]:
    """Which entries the dependants are. A dependant that is not in the archive matches nothing."""
    wanted: dict[tuple[str, ...], Dependant] = {}
    for dependant in dependants:
        parts = (
            (dependant.schema or "", dependant.name)
            if dependant.kind == "partition attach"
            else tokens(dependant.identity)
        )
        for desc in _DEPENDANT_KINDS.get(dependant.kind, frozenset({dependant.kind.upper()})):
            wanted[(desc, *parts)] = dependant
    found: list[tuple[TocEntry, Dependant]] = []
    for entry in entries:
        key = next((key for key in _keys(entry) if key in wanted), None)
        if key is not None:
            found.append((entry, wanted[key]))
    return found


def _keys(entry: TocEntry) -> list[tuple[str, ...]]:
    """Every way in which PostgreSQL could identify the entry; tags of things on a table read "table name"."""
    schema = entry.schema or ""
    if entry.desc in ("FUNCTION", "PROCEDURE", "AGGREGATE"):
        return [(entry.desc, schema, *tokens(entry.tag))]
    keys: list[tuple[str, ...]] = [(entry.desc, schema, entry.tag)]
    if any(entry.desc in _DEPENDANT_KINDS[kind] for kind in _ON_A_TABLE):
        words = entry.tag.split(" ")
        for cut in range(1, len(words)):
            table, name = " ".join(words[:cut]), " ".join(words[cut:])
            keys.append((entry.desc, name, "on", schema, table))
    return keys


def tokens(identity: str) -> tuple[str, ...]:
    """The names in an object identity, unquoted, without ``pg_catalog``, whatever stands between them."""
    found = (m[2] if m[1] is None else m[1].replace('""', '"') for m in _TOKEN.finditer(identity))
    return tuple(name for name in found if name != "pg_catalog")


def unquote(name: str) -> str:
    """A SQL identifier as the catalog has it."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _detached_indexes(entries: Sequence[TocEntry], reasons: dict[int, str]) -> None:
    """An index cannot be attached to that of a partition root which was not captured."""
    by_id = {e.dump_id: e for e in entries}
    loose = {d for e in entries if e.desc == "TABLE ATTACH" and e.dump_id in reasons for d in e.depends_on}
    for entry in entries:
        if entry.desc != "INDEX ATTACH":
            continue
        tables = {d for d in entry.depends_on if d in by_id and by_id[d].desc == "TABLE"}
        if len(tables) == 1 and tables <= loose:
            reasons[entry.dump_id] = "the partition root that it belongs to was not captured"
