"""An empty database made ready for a replay: encoding and locale of the source, extensions, stub roles, an owner.

This is all that a drill does as superuser, and it happens before a single statement of the archive runs. The room
refuses to guess: what the host lacks makes the drill say "could not verify", except for the default locale, whose
absence changes sort orders and nothing else, and is recorded as a skip.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import psycopg
from psycopg import sql

from engine.errors import CouldNotVerify
from engine.model import CollationNeed, Normalised, RestoreNeeds, Skip
from engine.postgres import locales as localegen
from engine.postgres.cluster import SUPERUSER, ScratchCluster
from engine.postgres.extensions import check_extensions, create_extensions
from engine.postgres.external import ExternalServer
from engine.postgres.replayplan import Ground

_OWNER = "offsitedb_owner"
_PROBE = "offsitedb_probe"
_HEAP_ALWAYS_MAJOR = 15  # pg_restore --no-table-access-method exists from here on


@dataclass(frozen=True, slots=True)
class Prepared:
    """A database that an archive can be replayed into as ``owner``."""

    dbname: str
    owner: str
    ground: Ground
    skips: tuple[Skip, ...]
    normalised: tuple[Normalised, ...]


def prepare_database(
    cluster: ScratchCluster | ExternalServer, dbname: str, needs: RestoreNeeds, *, table_methods: Iterable[str] = ()
) -> Prepared:
    """Create ``dbname`` for an archive with these ``needs``.

    ``table_methods``: table access methods that the archive names; where pg_restore cannot ignore them they become
    heap. Raises CouldNotVerify ``drill.extension-missing``, ``drill.locale-missing``, ``drill.scratch``.
    """
    major = cluster.toolset.major
    try:
        with cluster.connect() as conn:
            check_extensions(conn, needs.extensions, major)
            owner = _create_roles(conn, needs, cluster if isinstance(cluster, ExternalServer) else None)
            skips = create_database(conn, dbname, owner, needs, major)
            if isinstance(cluster, ExternalServer):  # others have roles there, and could leave something in its path
                conn.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(dbname)))
        # PostGIS's geocoder appends to the session's path and finds its helpers there; nothing of the archive is in yet
        with cluster.connect(dbname, path="pg_catalog,public") as conn:
            conn.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(owner)))
            _check_collations(conn, needs.collations)
            versions, schemas = create_extensions(conn, needs.extensions, owner, major)
            if major < _HEAP_ALWAYS_MAJOR:
                _create_table_methods(conn, table_methods)
            untrusted = conn.execute("SELECT lanname FROM pg_catalog.pg_language WHERE NOT lanpltrusted").fetchall()
    except psycopg.Error as e:
        said = e.diag.message_primary or str(e).strip()
        raise CouldNotVerify("drill.scratch", f"the scratch database could not be prepared: {said}") from e
    roles = tuple(Normalised("ROLE", role.name, "a stub without login") for role in needs.roles if _is_stub(role.name))
    ground = Ground(schemas | {"public"}, frozenset(str(name) for (name,) in untrusted))
    return Prepared(dbname, owner, ground, skips, (*versions, *roles))


def drop_database(cluster: ScratchCluster | ExternalServer, dbname: str) -> None:
    """Remove a database, so that a second pass does not need its room as well. Raises CouldNotVerify."""
    try:
        with cluster.connect() as conn:
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(dbname)))
    except psycopg.Error as e:
        raise CouldNotVerify("drill.scratch", f"the scratch database could not be dropped: {e}") from e


def _is_stub(role: str) -> bool:
    return role not in (SUPERUSER, "public", "none") and not role.startswith("pg_")


def _create_roles(
    conn: psycopg.Connection[tuple[object, ...]], needs: RestoreNeeds, given: ExternalServer | None
) -> str:
    """The stub roles under their exact names, and the owner under one that none of them has. Idempotent.

    On a given server roles that are there are left as they are, and ours are marked, to be found and removed.
    """
    rows = conn.execute("SELECT rolname FROM pg_catalog.pg_roles").fetchall()
    there = {str(name) for (name,) in rows}
    taken = {role.name for role in needs.roles}
    for name in sorted(taken):
        if _is_stub(name) and name not in there:
            conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
            if given is not None:
                given.mark(conn, name)
    if given is not None:
        if given.owner not in there:
            given.create_owner(conn)
        return given.owner
    owner = _OWNER
    while owner in taken:
        owner += "_"
    if owner not in there:
        query = sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB BYPASSRLS")
        conn.execute(query.format(sql.Identifier(owner)))
    return owner


def create_database(
    conn: psycopg.Connection[tuple[object, ...]], dbname: str, owner: str, needs: RestoreNeeds, major: int
) -> tuple[Skip, ...]:
    """The database with the source's encoding, and its locale if the host has it."""
    first_error: psycopg.Error | None = None
    for n, locale in enumerate(_locales(needs, major)):
        query = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} ").format(
            sql.Identifier(dbname), sql.Identifier(owner), sql.Literal(needs.encoding)
        )
        try:
            conn.execute(query + locale.clause)
        except psycopg.Error as e:
            first_error = first_error or e
            continue
        if n == 0:
            return ()
        wanted = needs.icu_locale if needs.locale_provider != "libc" and needs.icu_locale else needs.collate
        assert first_error is not None
        why = first_error.diag.message_primary or str(first_error)
        return (
            Skip("LOCALE", wanted, f"not on this host ({why}); the drill used {locale.name}{_brings(needs, major)}"),
        )
    assert first_error is not None
    raise first_error


def _brings(needs: RestoreNeeds, major: int) -> str:
    """Words on how the host gets the database's own locale; empty where we do not know."""
    if needs.locale_provider in ("icu", "i"):
        return f". `apt install postgresql-{major}` brings a PostgreSQL with ICU"
    command = localegen.command(needs.collate)
    return "" if command is None else f". Run on the drill host: `{command}`"


@dataclass(frozen=True, slots=True)
class _Locale:
    name: str
    clause: sql.Composed


def _locales(needs: RestoreNeeds, major: int) -> list[_Locale]:
    """What to try, nearest to the source first. Locale C fits every encoding."""
    c_like = "C.UTF-8" if needs.encoding == "UTF8" else "C"
    tries: list[_Locale] = []
    if needs.locale_provider in ("icu", "i") and needs.icu_locale and major >= 15:
        for collate, ctype in ((needs.collate, needs.ctype), (c_like, c_like), ("C", "C")):
            tries.append(_icu(needs.icu_locale, collate, ctype))
    elif needs.locale_provider in ("builtin", "b") and major >= 17:
        for collate, ctype in ((needs.collate, needs.ctype), (c_like, c_like), ("C", "C")):
            tries.append(_builtin(needs.icu_locale or needs.collate, collate, ctype))
    else:
        tries.append(_libc(needs.collate, needs.ctype, major))
    tries += [_libc(c_like, c_like, major), _libc("C", "C", major)]
    return tries


def _libc(collate: str, ctype: str, major: int) -> _Locale:
    provider = sql.SQL("LOCALE_PROVIDER libc ") if major >= 15 else sql.SQL("")
    return _Locale(collate, provider + _lc(collate, ctype))


def _icu(locale: str, collate: str, ctype: str) -> _Locale:
    clause = sql.SQL("LOCALE_PROVIDER icu ICU_LOCALE {} ").format(sql.Literal(locale))
    return _Locale(f"ICU {locale} over {collate}", clause + _lc(collate, ctype))


def _builtin(locale: str, collate: str, ctype: str) -> _Locale:
    clause = sql.SQL("LOCALE_PROVIDER builtin BUILTIN_LOCALE {} ").format(sql.Literal(locale))
    return _Locale(f"builtin {locale} over {collate}", clause + _lc(collate, ctype))


def _lc(collate: str, ctype: str) -> sql.Composed:
    return sql.SQL("LC_COLLATE {} LC_CTYPE {}").format(sql.Literal(collate), sql.Literal(ctype))


def _check_collations(conn: psycopg.Connection[tuple[object, ...]], collations: Iterable[CollationNeed]) -> None:
    """Make each named collation once and take it back: the only sure test that the host has its locale."""
    missing: list[str] = []
    generate: set[str] = set()
    icu = False
    for need in collations:
        if need.schema == "pg_catalog":
            query = "SELECT 1 FROM pg_catalog.pg_collation WHERE collname = %s AND collnamespace = 11"
            if conn.execute(query, [need.name]).fetchone() is None:
                missing.append(need.name)
                icu = icu or need.provider == "icu"
                if need.provider == "libc" and need.locale:
                    generate.add(need.locale)
        elif need.locale:
            provider = {"i": "icu", "c": "libc", "b": "builtin"}.get(need.provider, need.provider)
            query_ = sql.SQL("CREATE COLLATION public.{} (provider = {}, locale = {})").format(
                sql.Identifier(_PROBE), sql.Identifier(provider), sql.Literal(need.locale)
            )
            try:
                with conn.transaction(force_rollback=True):
                    conn.execute(query_)
            except psycopg.Error as e:
                icu = icu or provider == "icu"
                if provider == "libc":
                    generate.add(need.locale)
                missing.append(f"{need.name} ({provider} {need.locale}: {e.diag.message_primary or e})")
    if missing:
        raise CouldNotVerify(
            "drill.locale-missing",
            f"collations that the source uses are not available on this host: {'; '.join(missing)}",
            hint=_locale_hint(sorted(generate), icu=icu, major=conn.info.server_version // 10000),
            context={"collations": len(missing)},
        )


def _locale_hint(locales: list[str], *, icu: bool, major: int) -> str | None:
    """The exact commands for the drill host."""
    commands = [f"`{command}`" for name in locales if (command := localegen.command(name)) is not None]
    if icu:
        commands.append(f"`apt install postgresql-{major}` (a build with ICU)")
    return f"Run on the drill host: {', then '.join(commands)}; then drill again." if commands else None


def _create_table_methods(conn: psycopg.Connection[tuple[object, ...]], names: Iterable[str]) -> None:
    for name in sorted(set(names) - {"heap"}):
        query = sql.SQL("CREATE ACCESS METHOD {} TYPE TABLE HANDLER heap_tableam_handler")
        conn.execute(query.format(sql.Identifier(name)))
