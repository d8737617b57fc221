"""Extensions in a scratch database: which ones a drill creates, in what order, and where to get what is missing.

They are created by the superuser in the empty database, before anything of the archive runs, from this host's
packages. The room refuses extensions that nobody has looked at: what it does not know could hand the replaying role
rights that a drill must not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import psycopg
from psycopg import sql

from engine.errors import CouldNotVerify
from engine.model import Extension, Normalised

DATABASE = "offsitedb_drill"
"""The database that a drill replays into; pg_cron has to know its name when the server starts."""

_CONTRIB_NAMES = (
    "adminpack amcheck autoinc bloom btree_gin btree_gist citext cube dblink dict_int dict_xsyn earthdistance file_fdw"
    " fuzzystrmatch hstore insert_username intagg intarray isn lo ltree moddatetime old_snapshot pageinspect"
    " pg_buffercache pg_freespacemap pg_logicalinspect pg_prewarm pg_stat_statements pg_surgery pg_trgm pg_visibility"
    " pg_walinspect pgcrypto pgrowlocks pgstattuple postgres_fdw refint seg sslinfo tablefunc tcn tsm_system_rows"
    " tsm_system_time unaccent uuid-ossp xml2"
)
_CONTRIB = frozenset(_CONTRIB_NAMES.split())
_LANGUAGES = {
    "plperl": "plperl",
    "plperlu": "plperl",
    "bool_plperl": "plperl",
    "bool_plperlu": "plperl",
    "hstore_plperl": "plperl",
    "hstore_plperlu": "plperl",
    "jsonb_plperl": "plperl",
    "jsonb_plperlu": "plperl",
    "plpython3u": "plpython3",
    "hstore_plpython3u": "plpython3",
    "jsonb_plpython3u": "plpython3",
    "ltree_plpython3u": "plpython3",
    "pltcl": "pltcl",
    "pltclu": "pltcl",
}
_PACKAGED = {
    # extension -> package suffix after "postgresql-<major>-", as in Debian and apt.postgresql.org
    "address_standardizer": "postgis-3",
    "address_standardizer_data_us": "postgis-3",
    "debversion": "debversion",
    "h3": "h3",
    "h3_postgis": "h3",
    "hll": "hll",
    "hypopg": "hypopg",
    "icu_ext": "icu-ext",
    "ip4r": "ip4r",
    "jsquery": "jsquery",
    "numeral": "numeral",
    "orafce": "orafce",
    "periods": "periods",
    "pg_cron": "cron",
    "pg_partman": "partman",
    "pg_repack": "repack",
    "pg_similarity": "similarity",
    "pgaudit": "pgaudit",
    "pgrouting": "pgrouting",
    "pgtap": "pgtap",
    "postgis": "postgis-3",
    "postgis_raster": "postgis-3",
    "postgis_sfcgal": "postgis-3",
    "postgis_tiger_geocoder": "postgis-3",
    "postgis_topology": "postgis-3",
    "prefix": "prefix",
    "q3c": "q3c",
    "rum": "rum",
    "semver": "semver",
    "unit": "unit",
    "vector": "pgvector",
}
ALLOWED = _CONTRIB | _LANGUAGES.keys() | _PACKAGED.keys()
"""Extensions that a drill creates."""


_PRELOADED: dict[str, dict[str, str]] = {
    # extension whose library must be there when the server starts -> what keeps it from doing anything by itself
    "pg_stat_statements": {},
    "pgaudit": {},
    "pg_cron": {
        "cron.database_name": DATABASE,
        "cron.launch_active_jobs": "off",
        "cron.log_run": "off",
    },
}


def preload_settings(names: Iterable[str]) -> dict[str, str]:
    """Server settings without which ``names`` (extensions that this host has) cannot be created; no others ever."""
    wanted = sorted(_PRELOADED.keys() & set(names))
    if not wanted:
        return {}
    settings = {"shared_preload_libraries": ",".join(wanted)}
    for name in wanted:
        settings |= _PRELOADED[name]
    return settings


def check_extensions(conn: psycopg.Connection[tuple[object, ...]], extensions: Sequence[Extension], major: int) -> None:
    """Refuse a drill whose extensions this host cannot give it.

    Raises CouldNotVerify ``drill.extension-missing`` naming every one, with the packages that hold them.
    """
    rows = conn.execute("SELECT name FROM pg_catalog.pg_available_extensions").fetchall()
    available = {str(row[0]) for row in rows}
    missing = sorted(e.name for e in extensions if e.name in ALLOWED and e.name not in available)
    if missing:
        packages = " ".join(sorted({_package(name, major) for name in missing}))
        raise CouldNotVerify(
            "drill.extension-missing",
            f"not installed on this host for PostgreSQL {major}: {', '.join(missing)}",
            hint=f"Install what is missing on the drill host: `apt install {packages}`.",
            context={"extensions": ", ".join(missing), "major": major},
        )
    unknown = sorted(e.name for e in extensions if e.name not in ALLOWED)
    if unknown:
        raise CouldNotVerify(
            "drill.extension-missing",
            f"a drill does not create extensions that are not on its list: {', '.join(unknown)}",
            hint="Restore this snapshot by hand into a server that has them; the snapshot itself is not affected.",
            context={"extensions": ", ".join(unknown), "major": major},
        )


def create_extensions(
    conn: psycopg.Connection[tuple[object, ...]], extensions: Sequence[Extension], owner: str, major: int
) -> tuple[tuple[Normalised, ...], frozenset[str]]:
    """Create ``extensions`` in their schemas, what they require first, and let ``owner`` load their config tables.

    Returns those whose version is not the source's, and the schemas made for them. Raises CouldNotVerify.
    """
    versions, requires, fixed = _offers(conn)
    other_version: list[Normalised] = []
    schemas: set[str] = set()
    for extension in _in_order(extensions, requires):
        key = (extension.name, extension.version)
        query = sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(extension.name))
        if extension.name not in fixed and extension.schema:
            if extension.schema not in ("pg_catalog", "public"):
                _create_schema(conn, extension.schema, owner)
                schemas.add(extension.schema)
            query += sql.SQL(" SCHEMA {}").format(sql.Identifier(extension.schema))
        if key in versions:
            query += sql.SQL(" VERSION {}").format(sql.Identifier(extension.version))
        try:
            conn.execute(query)
        except psycopg.Error as e:
            raise CouldNotVerify(
                "drill.extension-missing",
                f"extension {extension.name} could not be created in the scratch cluster: {_first_line(e)}",
                hint=f"Check its package on this host: `apt install --reinstall {_package(extension.name, major)}`.",
            ) from e
        if key not in versions:
            other_version.append(_note_version(conn, extension))
    _open_to(conn, owner)
    return tuple(other_version), frozenset(schemas)


def _offers(
    conn: psycopg.Connection[tuple[object, ...]],
) -> tuple[set[tuple[str, str]], dict[str, set[str]], set[str]]:
    """What the host offers: (name, version) pairs, requirements by name, names whose schema is fixed."""
    versions: set[tuple[str, str]] = set()
    requires: dict[str, set[str]] = {}
    fixed: set[str] = set()
    query = "SELECT name, version, requires::pg_catalog.text[], schema FROM pg_catalog.pg_available_extension_versions"
    for name, version, needed, schema in conn.execute(query):
        versions.add((str(name), str(version)))
        if isinstance(needed, list):
            requires.setdefault(str(name), set()).update(str(n) for n in needed)
        if schema is not None:
            fixed.add(str(name))
    return versions, requires, fixed


def _in_order(extensions: Sequence[Extension], requires: dict[str, set[str]]) -> list[Extension]:
    """Required ones first; what is not asked for is not waited for."""
    waiting = {e.name: e for e in sorted(extensions, key=lambda e: e.name)}
    ordered: list[Extension] = []
    while waiting:
        ready = [e for e in waiting.values() if not requires.get(e.name, set()) & waiting.keys() - {e.name}]
        for extension in ready or list(waiting.values()):
            ordered.append(extension)
            del waiting[extension.name]
    return ordered


def _create_schema(conn: psycopg.Connection[tuple[object, ...]], schema: str, owner: str) -> None:
    query = sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}")
    conn.execute(query.format(sql.Identifier(schema), sql.Identifier(owner)))


def _note_version(conn: psycopg.Connection[tuple[object, ...]], extension: Extension) -> Normalised:
    row = conn.execute("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = %s", [extension.name]).fetchone()
    here = row[0] if row is not None else "unknown"
    return Normalised("EXTENSION VERSION", extension.name, f"{extension.version} at the source, {here} in the drill")


def _open_to(conn: psycopg.Connection[tuple[object, ...]], owner: str) -> None:
    """Let the owner load the rows of extension configuration tables, and use their foreign-data wrappers."""
    who = sql.Identifier(owner)
    tables = conn.execute(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_extension e"
        " JOIN pg_catalog.pg_class c ON c.oid = ANY (e.extconfig)"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    ).fetchall()
    for schema, table in tables:
        name = sql.Identifier(str(schema), str(table))
        conn.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(str(schema)), who))
        conn.execute(sql.SQL("GRANT ALL ON {} TO {}").format(name, who))
    for (wrapper,) in conn.execute("SELECT fdwname FROM pg_catalog.pg_foreign_data_wrapper").fetchall():
        query = sql.SQL("GRANT USAGE ON FOREIGN DATA WRAPPER {} TO {}")
        conn.execute(query.format(sql.Identifier(str(wrapper)), who))


def _package(name: str, major: int) -> str:
    if name in _LANGUAGES:
        return f"postgresql-{_LANGUAGES[name]}-{major}"
    if name in _PACKAGED:
        return f"postgresql-{major}-{_PACKAGED[name]}"
    return f"postgresql-{major}"  # contrib is part of Debian's server package


def _first_line(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error).strip().split("\n")[0]
