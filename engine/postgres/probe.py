"""Looking at a server once connected: what it is, and who we are on it.

The room only asks, catalogs and settings alone. Transaction poolers were refused when the session was opened.
"""

from __future__ import annotations

import psycopg

from engine.errors import SourceError
from engine.model import RolePowers, ServerFacts
from engine.postgres.address import Conninfo
from engine.postgres.providers import recognise
from engine.postgres.refusals import translate
from engine.postgres.session import Connection, read_tls

_FACTS = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int,
       d.datname::text, current_user::text, pg_catalog.pg_encoding_to_char(d.encoding)::text,
       d.datcollate::text, d.datctype::text, pg_catalog.pg_is_in_recovery(),
       r.rolsuper, r.rolbypassrls, pg_catalog.to_jsonb(d),
       pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
FROM pg_catalog.pg_database d, pg_catalog.pg_roles r
WHERE d.datname = pg_catalog.current_database() AND r.rolname = current_user
"""

_ROLE_SETTINGS = """
SELECT split_part(s, '=', 1), substr(s, strpos(s, '=') + 1)
FROM pg_catalog.pg_db_role_setting, unnest(setconfig) s
WHERE setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user))
  AND setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
ORDER BY 1, 2
"""

_OURS = "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
_POWERS = f"""
SELECT r.rolbypassrls, r.rolcreaterole, r.rolcreatedb, r.rolreplication,
  t.writes, t.owns,
  ARRAY(SELECT n.nspname::text FROM pg_catalog.pg_namespace n
        WHERE {_OURS} AND pg_catalog.has_schema_privilege(n.oid, 'CREATE') ORDER BY 1 LIMIT 50),
  ARRAY(SELECT p.rolname::text FROM pg_catalog.pg_roles p
        WHERE p.rolname IN ('pg_write_all_data', 'pg_write_server_files', 'pg_read_server_files',
                            'pg_execute_server_program', 'pg_maintain', 'pg_signal_backend', 'pg_checkpoint')
          AND pg_catalog.pg_has_role(p.oid, 'MEMBER') ORDER BY 1),
  EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c
          WHERE s.setrole = r.oid AND c = 'default_transaction_read_only=on'
            AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database
                                      WHERE datname = pg_catalog.current_database())))
FROM pg_catalog.pg_roles r, (
  SELECT count(*) FILTER (WHERE pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) AS writes,
         count(*) FILTER (WHERE pg_catalog.pg_has_role(c.relowner, 'USAGE')) AS owns
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND {_OURS}) t
WHERE r.rolname = current_user
"""  # noqa: S608 - both parts are ours

_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


def probe(conn: Connection, conninfo: Conninfo) -> ServerFacts:
    """Facts about the server behind ``conn``.

    Raises SourceError.
    """
    try:
        row = conn.execute(_FACTS).fetchone()
        if row is None:
            raise SourceError("pg.query-failed", "the server does not say which database and role we are")
        (
            version,
            number,
            name,
            role,
            encoding,
            collate,
            ctype,
            recovery,
            superuser,
            bypassrls,
            database,
            control,
        ) = row
        assert isinstance(database, dict)
        assert isinstance(number, int)
        return ServerFacts(
            version=str(version).split()[0],
            version_num=number,
            database=str(name),
            role=str(role),
            encoding=str(encoding),
            collate=str(collate),
            ctype=str(ctype),
            locale_provider=_PROVIDERS.get(str(database.get("datlocprovider", "c")), "libc"),
            icu_locale=_icu_locale(database),
            in_recovery=bool(recovery),
            superuser=bool(superuser),
            bypassrls=bool(bypassrls),
            size_bytes=_size(conn),
            tls=read_tls(conn, conninfo),
            system_identifier=_identifier(conn) if control else None,
            provider=recognise(conninfo.host),
        )
    except psycopg.Error as e:
        raise translate(e, conninfo) from e


def read_powers(conn: Connection, conninfo: Conninfo) -> RolePowers | None:
    """What our role may do beyond reading; None where the server does not say (one that only resembles PostgreSQL).

    Raises SourceError.
    """
    try:
        row = conn.execute(_POWERS).fetchone()
    except (psycopg.errors.SyntaxErrorOrAccessRuleViolation, psycopg.errors.FeatureNotSupported):
        return None
    except psycopg.Error as e:
        raise translate(e, conninfo) from e
    if row is None:
        return None
    bypass, createrole, createdb, replication, writes, owns, creates_in, member_of, read_only = row
    return RolePowers(
        bypassrls=bool(bypass),
        createrole=bool(createrole),
        createdb=bool(createdb),
        replication=bool(replication),
        writes=int(str(writes)),
        owns=int(str(owns)),
        creates_in=_names(creates_in),
        member_of=_names(member_of),
        read_only=bool(read_only),
    )


def _names(found: object) -> tuple[str, ...]:
    return tuple(str(name) for name in found) if isinstance(found, list) else ()


def role_settings(conn: Connection, conninfo: Conninfo) -> tuple[tuple[str, str], ...]:
    """Settings that the server gives our role by itself, for this database or any: ``(name, value)``.

    Raises SourceError.
    """
    try:
        rows = conn.execute(_ROLE_SETTINGS).fetchall()
    except psycopg.Error as e:
        raise translate(e, conninfo) from e
    return tuple((str(name), str(value)) for name, value in rows)


def in_force(conn: Connection, conninfo: Conninfo, setting: str) -> str | None:
    """The value of a setting in our session, None where the server does not know it. Raises SourceError."""
    try:
        row = conn.execute("SELECT pg_catalog.current_setting(%s, true)", (setting,)).fetchone()
    except psycopg.Error as e:
        raise translate(e, conninfo) from e
    return None if row is None or row[0] is None else str(row[0])


def _icu_locale(database: dict[str, object]) -> str | None:
    """The locale of ICU or of the builtin provider: ``daticulocale`` in 15 and 16, ``datlocale`` since 17."""
    value = database.get("datlocale") or database.get("daticulocale")
    return str(value) if value else None


def _size(conn: Connection) -> int:
    """Bytes on disk of the database. Needs CONNECT on it, which we evidently have."""
    row = conn.execute("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())").fetchone()
    return int(str(row[0])) if row is not None else 0


def _identifier(conn: Connection) -> str | None:
    row = conn.execute("SELECT system_identifier::text FROM pg_catalog.pg_control_system()").fetchone()
    return str(row[0]) if row is not None else None
