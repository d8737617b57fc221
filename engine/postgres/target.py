"""A look at the server that a restore would go into: what it is, who we are there, what is there already.

The room only asks, in a read-only session with an empty search path, and refuses what a source would refuse, too
(transaction poolers above all). What to make of the answers is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import cast

import psycopg
from psycopg import sql

from engine.cancel import CancelToken
from engine.errors import OffsiteError
from engine.model import ServerFacts
from engine.postgres.address import Conninfo
from engine.postgres.probe import probe
from engine.postgres.session import Connection, connect, interruptible, translate

Name = tuple[str, str]

_OURS = "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
_OWN = (
    r"NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.\1'::pg_catalog.regclass"
    r" AND d.objid = \2.oid AND d.deptype = 'e')"
)
"""What no extension brought along; stands for ``<own table alias>`` in the queries, as ``<ours>`` for the schemas."""
_SCHEMAS = (
    "SELECT n.nspname, pg_catalog.has_schema_privilege(n.oid, 'CREATE'), <own pg_namespace n>"
    " FROM pg_catalog.pg_namespace n WHERE <ours>"
)
_RELATIONS = (
    "SELECT n.nspname, c.relname, c.relkind::text, greatest(c.reltuples, 0)::bigint, <own pg_class c>"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I') AND <ours>"
)
_TYPES = (
    "SELECT n.nspname, t.typname, <own pg_type t> FROM pg_catalog.pg_type t"
    " JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid"
    " WHERE (t.typrelid = 0 OR c.relkind = 'c') AND t.typcategory <> 'A' AND t.typtype <> 'm' AND <ours>"
)
_ROUTINES = (
    "SELECT n.nspname, p.proname || '(' || coalesce((SELECT pg_catalog.string_agg(pg_catalog.format_type(a.t, NULL),"
    " ', ' ORDER BY a.o) FROM pg_catalog.unnest(p.proargtypes::pg_catalog.oid[]) WITH ORDINALITY a(t, o)), '') || ')',"
    " <own pg_proc p> FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE <ours>"
)
_EXTENSIONS = (
    "SELECT a.name, a.installed_version IS NOT NULL, coalesce(v.trusted, false)"
    " FROM pg_catalog.pg_available_extensions a LEFT JOIN pg_catalog.pg_available_extension_versions v"
    " ON v.name = a.name AND v.version = a.default_version"
)
_LEANING = (
    # whatever at the target stands on a table: foreign keys of other tables, views, and what inherits from it
    "SELECT rn.nspname, r.relname, n.nspname, c.relname, 'foreign key ' || f.conname || ' on'"
    " FROM pg_catalog.pg_constraint f"
    " JOIN pg_catalog.pg_class c ON c.oid = f.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_catalog.pg_class r ON r.oid = f.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace"
    " WHERE f.contype = 'f' AND f.conrelid <> f.confrelid AND f.conparentid = 0"
    " UNION SELECT rn.nspname, r.relname, n.nspname, c.relname,"
    " CASE WHEN c.relispartition THEN 'partition' ELSE 'child' END FROM pg_catalog.pg_inherits i"
    " JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_catalog.pg_class r ON r.oid = i.inhparent JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace"
    " WHERE c.relkind NOT IN ('i', 'I')"
    " UNION SELECT rn.nspname, r.relname, n.nspname, c.relname, 'view' FROM pg_catalog.pg_depend d"
    " JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid JOIN pg_catalog.pg_class c ON c.oid = w.ev_class"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_class r ON r.oid = d.refobjid"
    " JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace"
    " WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.deptype = 'n' AND c.oid <> r.oid"
    " AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND rn.nspname <> 'pg_catalog'"
)
_CARRIED = (
    # what goes with a table without a word: sequences that its columns own, its place in publications
    "SELECT rn.nspname, r.relname, n.nspname, c.relname, 'sequence' FROM pg_catalog.pg_depend d"
    " JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S'"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_catalog.pg_class r ON r.oid = d.refobjid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace"
    " WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'a'"
    " AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0"
    " UNION SELECT rn.nspname, r.relname, '', p.pubname, 'publication' FROM pg_catalog.pg_publication_rel m"
    " JOIN pg_catalog.pg_publication p ON p.oid = m.prpubid"
    " JOIN pg_catalog.pg_class r ON r.oid = m.prrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace"
)
_SOURCE_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class Leaning:
    """``what`` says how ``name`` stands on the table ``on``: "view", "partition", "foreign key f on"."""

    on: Name
    name: Name
    what: str


@dataclass(frozen=True, slots=True)
class Existing:
    """What there is at a target. Names as in the catalog; routines with the types of their arguments.

    ``made`` holds what people made and no extension brought along, each as (kind, schema, name).
    """

    relations: frozenset[Name] = frozenset()
    types: frozenset[Name] = frozenset()
    routines: frozenset[Name] = frozenset()
    schemas: frozenset[str] = frozenset({"public"})
    made: tuple[tuple[str, str, str], ...] = ()
    rows_estimate: int = 0
    installed: frozenset[str] = frozenset()
    available: dict[str, bool] = field(default_factory=dict)
    """Extensions whose files are there; the value says whether they are trusted."""
    untrusted_languages: frozenset[str] = frozenset({"c", "internal"})
    roles: frozenset[str] = frozenset()
    filled: frozenset[Name] = frozenset()
    """Of the tables that were asked about: those with a row."""
    leaning: tuple[Leaning, ...] = ()
    carried: tuple[Leaning, ...] = ()
    """What goes with a table that is dropped, without standing in its way."""
    large_objects: int = 0
    large_there: frozenset[int] = frozenset()
    """Of the large objects that were asked about: those that are there."""
    no_create: frozenset[str] = frozenset()
    """Schemas that we may not create anything in."""
    may_create_schemas: bool = True
    superuser: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    facts: ServerFacts
    existing: Existing


def look(
    conninfo: Conninfo,
    *,
    application_name: str,
    cancel: CancelToken,
    filled: Iterable[Name] = (),
    large: Iterable[int] = (),
) -> Look:
    """The target as it is now. Raises SourceError.

    ``filled``: tables to be asked whether they hold a row; ``large``: large objects to be looked for.
    """
    with connect(conninfo, application_name=application_name, cancel=cancel) as conn, interruptible(conn, cancel):
        facts = probe(conn, conninfo)
        try:
            return Look(facts, _existing(conn, facts, tuple(filled), tuple(large)))
        except psycopg.Error as e:
            raise translate(e, conninfo) from e


def same_server(source: Conninfo, facts: ServerFacts, *, cancel: CancelToken) -> bool | None:
    """Whether the target is the source's own database; None when the source does not say who it is."""
    quick = replace(source, connect_timeout_s=min(source.connect_timeout_s, _SOURCE_TIMEOUT_S))
    try:
        with connect(quick, application_name="offsitedb: restore", cancel=cancel) as conn:
            ours = probe(conn, quick)
    except OffsiteError:
        cancel.check()
        return None
    if ours.system_identifier is None or facts.system_identifier is None:
        return None
    return (ours.system_identifier, ours.database) == (facts.system_identifier, facts.database)


def _existing(conn: Connection, facts: ServerFacts, filled: tuple[Name, ...], large: tuple[int, ...]) -> Existing:
    schemas = _rows(conn, _SCHEMAS)
    relations = _rows(conn, _RELATIONS)
    types, routines = _rows(conn, _TYPES), _rows(conn, _ROUTINES)
    kinds = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table", "S": "sequence"}
    made = [(kinds[str(k)], str(s), str(n)) for s, n, k, _, own in relations if own and k in kinds]
    made += [("type", str(s), str(n)) for s, n, own in types if own]
    made += [("routine", str(s), str(n)) for s, n, own in routines if own]
    extensions = _rows(conn, _EXTENSIONS)
    (may,) = _rows(conn, "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')")
    there = frozenset((str(s), str(n)) for s, n, *_ in relations)
    return Existing(
        relations=there,
        types=frozenset((str(s), str(n)) for s, n, _ in types),
        routines=frozenset((str(s), str(n)) for s, n, _ in routines),
        schemas=frozenset(str(s) for s, _, _ in schemas),
        made=tuple(sorted(made, key=lambda m: (m[0] != "table", m))),
        rows_estimate=sum(cast("int", r) for _, _, k, r, own in relations if own and k == "r"),
        installed=frozenset(str(n) for n, installed, _ in extensions if installed),
        available={str(n): bool(trusted) for n, _, trusted in extensions},
        untrusted_languages=frozenset(
            str(n) for (n,) in _rows(conn, "SELECT lanname FROM pg_catalog.pg_language WHERE NOT lanpltrusted")
        ),
        roles=frozenset(str(n) for (n,) in _rows(conn, "SELECT rolname FROM pg_catalog.pg_roles")),
        filled=frozenset(name for name in filled if name in there and _has_row(conn, name)),
        leaning=_leaning(conn, _LEANING),
        carried=_leaning(conn, _CARRIED),
        large_objects=cast(
            "int", _rows(conn, "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata")[0][0]
        ),
        large_there=_large_there(conn, large),
        no_create=frozenset(str(s) for s, create, _ in schemas if not create),
        may_create_schemas=bool(may[0]),
        superuser=facts.superuser,
    )


def _has_row(conn: Connection, name: Name) -> bool:
    query = sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(sql.Identifier(*name))
    row = conn.execute(query).fetchone()
    return row is not None and bool(row[0])


def _leaning(conn: Connection, query: str) -> tuple[Leaning, ...]:
    return tuple(Leaning((str(rs), str(r)), (str(s), str(n)), str(what)) for rs, r, s, n, what in _rows(conn, query))


def _large_there(conn: Connection, oids: tuple[int, ...]) -> frozenset[int]:
    if not oids:
        return frozenset()
    query = "SELECT oid::pg_catalog.int8 FROM pg_catalog.pg_largeobject_metadata WHERE oid = ANY (%s::pg_catalog.oid[])"
    return frozenset(cast("int", oid) for (oid,) in conn.execute(query, [list(oids)]))


def _rows(conn: Connection, query: str) -> list[tuple[object, ...]]:
    return conn.execute(re.sub(r"<own (\w+) (\w)>", _OWN, query).replace("<ours>", _OURS).encode()).fetchall()
