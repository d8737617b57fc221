"""What keeps a source from being read: texts of a running session of ours or of pg_dump."""

from __future__ import annotations

import re

from engine.postgres import grants
from engine.postgres.rule import Case, Place, Rule, identifier, literal, plain, rule, unquoted
from engine.postgres.rules_state import STATE_RULES

_SOURCE = (Place.SESSION, Place.DUMP)
_LISTED = re.compile(r'("(?:[^"]|"")+"|[^\s".(,;]+)\.("(?:[^"]|"")+"|[^\s".(,;]+)')
_MANAGED = (
    r"auth|storage|realtime|vault|pgsodium|pgsodium_masks|supabase_functions|supabase_migrations|graphql|graphql_public"
    r"|net|cron|extensions|_analytics|_realtime|_supavisor|pgbouncer|hdb_catalog|neon|neon_auth|aiven_extras"
)


def _schema_of(case: Case, name: str) -> str:
    """The schema that a statement in the text names before ``name``, or one that must be filled in."""
    for schema, table in _LISTED.findall(case.text):
        if unquoted(table) == name:
            return unquoted(schema)
    return ""


def _unreadable(case: Case) -> str:
    what, name, role = _what(case), _name(case), case.near.role
    schema = _schema_of(case, name)
    kind = "SEQUENCE " if what.lower() == "sequence" else ""
    if not schema:
        return (
            "Run as an administrator (it covers tables and sequences of later migrations as well), then take a new"
            f" checkpoint:\n{grants.read_all(role)}\n"
            f"Or grant SELECT on this {what} alone; which schema it is in:\n"
            f"SELECT oid::regclass, relowner::regrole FROM pg_class WHERE relname = {literal(name)};"
        )
    return (
        "Run as its owner or an administrator, then take a new checkpoint:\n"
        f"{grants.read_one(kind, schema, name, role)}\n"
        "So that tables of later migrations can be read as well (default privileges hold for each owner apart):\n"
        f"{grants.later_tables_of_owners(schema, role)}"
    )


def _large_objects(case: Case) -> str:
    return (
        "pg_read_all_data does not cover large objects: each has privileges of its own. Run as their owner or a"
        f" superuser:\n{grants.read_large_objects(case.near.role, (), case.near.major)}"
    )


def _timeout_hint(case: Case) -> str:
    setting = case.name("setting").replace(" ", "_").replace("-", "_") or "statement"
    name = {"statement": "statement_timeout", "transaction": "transaction_timeout"}.get(setting, setting)
    name = {
        "idle_in_transaction": "idle_in_transaction_session_timeout",
        "idle_session": "idle_session_timeout",
        "idle": "idle_session_timeout",
    }.get(name, name)
    role = identifier(case.near.role)
    return (
        f"Backup sessions switch {name} off, so a pooler or the server's provider sets it anew. See who:\n"
        f"SELECT coalesce(r.rolname, 'every role') AS role, coalesce(d.datname, 'every database') AS database,"
        " setconfig FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON"
        f" d.oid = s.setdatabase WHERE array_to_string(setconfig, ' ') LIKE '%{name}%';\n"
        f"Then, as an administrator:\nALTER ROLE {role} SET {name} = 0;"
    )


def _version_hint(case: Case) -> str:
    major = case.name("server").split(".")[0]
    return (
        f"Install the client of the server's major: `offsitedb postgres install {major}`, or"
        f" `apt install postgresql-client-{major}`."
    )


def _lock_holder(case: Case) -> str:
    on = f" AND relation = {literal(case.table_sql)}::regclass" if case.table else ""
    return (
        "A migration, VACUUM FULL or ALTER TABLE holds it. See who:\n"
        "SELECT a.pid, a.application_name, a.state, now() - a.xact_start AS since, left(a.query, 100) FROM pg_locks l"
        f" JOIN pg_stat_activity a USING (pid) WHERE l.mode = 'AccessExclusiveLock'{on};\n"
        "When it is done run the checkpoint again, or let it wait longer: snapshot.lock_timeout_s in config.toml."
    )


def _may_not(case: Case) -> str:
    return f"the role {plain(case.near.role, 100)} may not read {_what(case)} {plain(_name(case), 200)}"


def _what(case: Case) -> str:
    return case.name("what") or case.name("unread")


def _name(case: Case) -> str:
    return case.name("name") or case.name("of")


def _grant_use(case: Case) -> str:
    what, name, role = case.name("what").lower(), case.name("name").strip(), identifier(case.near.role)
    right = {"database": "CONNECT", "function": "EXECUTE"}.get(what, "USAGE")
    arguments = "(…)" if what == "function" else ""
    return f"Run as an administrator: `GRANT {right} ON {what.upper()} {identifier(name)}{arguments} TO {role};`."


SOURCE_RULES: tuple[Rule, ...] = (
    rule(
        "version-mismatch",
        (Place.DUMP,),
        r"aborting because of server version mismatch.*server version: (?P<server>\d[\w.]*).*"
        r"pg_dump version: (?P<client>\d[\w.]*)",
        "pg.version",
        "pg_dump {client} is older than the server ({server}) and does not read it; nothing was dumped",
        _version_hint,
    ),
    rule(
        "row-security",
        _SOURCE,
        r"query would be affected by row-level security policy for table \"(?P<name>[^\n]+?)\"(?=\s|$)",
        "pg.permission",
        "row level security hides rows of table {name} from the role {role}; a dump without them would be no backup",
        lambda case: (
            "Run as an administrator, then take a new checkpoint (the role stays read-only):\n"
            f"{grants.bypass_rls(case.near.role)}\n{grants.read_all(case.near.role)}\n"
            f"ALTER ROLE {identifier(case.near.role)} SET default_transaction_read_only = on;"
        ),
    ),
    rule(
        "large-object",
        _SOURCE,
        r"permission denied for large object (?P<oid>\d+)",
        "pg.permission",
        "the role {role} may not read large objects, number {oid} for one",
        _large_objects,
    ),
    rule(
        "managed-schema",
        _SOURCE,
        rf"permission denied for schema (?P<name>{_MANAGED})\b",
        "pg.permission",
        "schema {name} belongs to the provider, and the role {role} may not read it",
        "Run the checkpoint again: what the role may not read is left out by name and listed as not captured. To have"
        " it captured, connect as the provider's full role, or as that role: `GRANT USAGE ON SCHEMA {name} TO {role};"
        " GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {role};`.",
    ),
    rule(
        "schema-denied",
        _SOURCE,
        r"permission denied for schema (?P<name>[^\n]+)",
        "pg.permission",
        "the role {role} may not enter schema {name}",
        lambda case: (
            "Run as its owner or an administrator, then take a new checkpoint:\n"
            f"{grants.read_schema(case.name('name').strip(), case.near.role)}\n"
            f"For every schema, later ones included:\n{grants.read_all(case.near.role)}"
        ),
    ),
    rule(
        "denied",
        _SOURCE,
        r"permission denied for (?P<what>table|sequence|view|materialized view|relation) (?P<name>[^\n;]+)"
        r"|failed to get data for (?P<unread>sequence) \"(?P<of>[^\n]+?)\"; user may lack",
        "pg.permission",
        lambda case: f"{_may_not(case)}; usually one that a later migration made",
        _unreadable,
    ),
    rule(
        "foreign-denied",
        _SOURCE,
        r"permission denied for (?P<what>foreign-data wrapper|foreign server) (?P<name>[^\n;]+)",
        "pg.permission",
        _may_not,
        lambda case: (
            f"Run as an administrator: `GRANT USAGE ON"
            f" {'FOREIGN DATA WRAPPER' if 'wrapper' in case.name('what') else 'FOREIGN SERVER'}"
            f" {identifier(case.name('name').strip())} TO {identifier(case.near.role)};`."
        ),
    ),
    rule(
        "catalog-denied",
        _SOURCE,
        r"permission denied for (?P<what>function|type|language|database) (?P<name>[^\n;]+)",
        "pg.permission",
        lambda case: (
            f"the role {plain(case.near.role, 100)} may not use {case.name('what')} {plain(case.name('name'), 200)}"
        ),
        _grant_use,
    ),
    rule(
        "superuser-wanted",
        _SOURCE,
        r"must be (?:superuser|owner of|a member of)[^\n]*|only (?:superusers?|roles with)[^\n]*",
        "pg.permission",
        "the server wants more rights for this than the role {role} has",
        "Run `offsitedb connection preflight NAME`: what this role may not read is found and left out by name, with"
        " the SQL that would change it.",
    ),
    *STATE_RULES,
    rule(
        "lock-timeout",
        _SOURCE,
        r"canceling statement due to lock timeout|due to statement timeout.*\bLOCK TABLE|could not obtain lock on",
        "pg.lock-timeout",
        "a table lock could not be had in time; nothing was dumped",
        _lock_holder,
        retry=True,
    ),
    rule(
        "role-timeout",
        _SOURCE,
        r"due to (?P<setting>statement|transaction|idle-in-transaction|idle-session) timeout",
        "pg.timeout",
        "the server's own {setting} timeout for the role {role} ended the backup",
        _timeout_hint,
    ),
    rule(
        "snapshot-gone",
        _SOURCE,
        r"invalid snapshot identifier|could not import the requested snapshot|snapshot \"[^\n]*\" does not exist",
        "pg.snapshot-lost",
        "the snapshot that pg_dump was to read from is gone: the session that held it ended, or a pooler led pg_dump"
        " to another server",
        "Run the checkpoint again; if it happens again use the direct address of the database.",
        retry=True,
    ),
    rule(
        "pooler-interferes",
        _SOURCE,
        r"prepared statement \"[^\n]*\" (?:already exists|does not exist)|unsupported startup parameter",
        "pg.pooler",
        "a pooler stands between and changes the session under us",
        "Use the session pooler (port 5432) or the direct address: `offsitedb connection edit NAME --url`.",
    ),
    rule(
        "concurrent-change",
        _SOURCE,
        r"cache lookup failed for|could not open relation with OID|could not find tuple for"
        r"|relation \"[^\n]*\" does not exist|relation with OID \d+ does not exist|tuple concurrently",
        "pg.dump-failed",
        "something was dropped or altered while it was being read: a migration ran beside the backup",
        "Run the checkpoint again when the migration is done. If it happens every time, the catalog itself names"
        " something that is gone: look for it with `SELECT oid::regclass FROM pg_class;` and the number above.",
        retry=True,
    ),
    rule(
        "encoding",
        _SOURCE,
        r"invalid byte sequence for encoding \"(?P<encoding>[^\"]+)\"|character with byte sequence [^\n]* has no"
        r" equivalent",
        "pg.damaged",
        "{table_name} holds text that is not valid in the database's own encoding",
        lambda case: f"Find the rows at the source and mend them:\n{find_bad_text(case.table_sql)}",
    ),
    rule(
        "read-only",
        _SOURCE,
        r"cannot execute [^\n]* in a read-only transaction|cannot execute [^\n]* during recovery",
        "pg.query-failed",
        "something in the database wants to write while it is being read, and backup sessions are read-only",
        "Look at what the message names: a default, policy or view with a function that writes.",
    ),
    rule(
        "cut",
        (Place.DUMP,),
        r"server closed the connection|terminating connection|could not receive data|connection reset"
        r"|connection .{0,40} lost|SSL connection has been closed|SSL SYSCALL|no connection to the server"
        r"|connection not open|Broken pipe|could not send data",
        "pg.dump-failed",
        "the connection to the database was cut before the dump was whole; nothing of it is kept",
        "It is begun again by itself, up to three times. If it goes on: look into the server's log for a crash or"
        " `terminated by signal 9` (memory), and for a firewall or proxy that ends long connections.",
        retry=True,
    ),
)


def find_bad_text(table_sql: str) -> str:
    """SQL that names every row of a table whose text is not valid in the database's encoding."""
    return (
        "DO $do$ DECLARE c tid; BEGIN\n"
        f"  FOR c IN SELECT ctid FROM ONLY {table_sql} LOOP\n"
        f"    BEGIN PERFORM convert_to(r::text, 'UTF8') FROM ONLY {table_sql} r WHERE r.ctid = c;\n"
        "    EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'row %: %', c, SQLERRM; END;\n"
        "  END LOOP;\n"
        "END $do$;"
    )
