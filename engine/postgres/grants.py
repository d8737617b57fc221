"""The SQL that lets a role read everything a backup needs: text for people to paste, never run by us.

Identifiers are always quoted. Whoever runs it must own the objects or be an administrator of the server; each text
says so in its first line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg import sql

DEFAULT_ROLE = "offsitedb_reader"


def quoted(name: str) -> str:
    """``name`` as a quoted identifier."""
    return sql.Identifier(name).as_string()


def literal(text: str) -> str:
    """``text`` as a string literal."""
    return sql.Literal(text).as_string().strip()


def recipe(
    schemas: Sequence[str],
    role: str,
    database: str,
    bypassrls: bool = True,
    *,
    owners: Iterable[tuple[str, str]] = (),
    create: bool = False,
) -> str:
    """Everything that a backup role needs, from CONNECT to tables that do not exist yet.

    Without ``schemas`` the role becomes a member of ``pg_read_all_data``, which covers every schema and every later
    table. With ``schemas`` only those are granted, and ``owners`` (pairs of owner and schema) says whose later tables
    must be covered: default privileges hold for tables that the *named* role makes, not for others (F3).
    """
    who = quoted(role)
    lines = ["-- run as an administrator of the server (the role that owns the database, or a superuser)"]
    if create:
        lines.append(f"CREATE ROLE {who} LOGIN PASSWORD 'choose a long password here';")
    lines.append(f"GRANT CONNECT ON DATABASE {quoted(database)} TO {who};")
    lines.append(f"ALTER ROLE {who} SET default_transaction_read_only = on;")
    if bypassrls:
        lines.append(bypass_rls(role))
    if schemas:
        lines += [read_schema(schema, role) for schema in schemas]
        lines += [later_tables(owner, schema, role) for owner, schema in owners]
    else:
        lines.append(read_all(role))
    return "\n".join(lines)


def bypass_rls(role: str) -> str:
    """Let ``role`` see rows that row level security hides."""
    return f"ALTER ROLE {quoted(role)} BYPASSRLS;"


def read_all(role: str) -> str:
    """Let ``role`` read every table and sequence, those of later migrations included."""
    return f"GRANT pg_read_all_data TO {quoted(role)};"


def read_schema(schema: str, role: str) -> str:
    """Let ``role`` read what is in ``schema`` now."""
    name, who = quoted(schema), quoted(role)
    return (
        f"GRANT USAGE ON SCHEMA {name} TO {who};\n"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {who};\n"
        f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA {name} TO {who};"
    )


def later_tables(owner: str, schema: str, role: str) -> str:
    """Let ``role`` read the tables and sequences that ``owner`` will make in ``schema``."""
    head = f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(owner)} IN SCHEMA {quoted(schema)}"
    who = quoted(role)
    return f"{head} GRANT SELECT ON TABLES TO {who};\n{head} GRANT SELECT ON SEQUENCES TO {who};"


def read_large_objects(role: str, owners: Iterable[str], major: int) -> str:
    """Let ``role`` read the large objects there are, and (18 and later) those that ``owners`` will make.

    ``pg_read_all_data`` does not cover large objects; each one carries its own privileges (F5).
    """
    who = literal(role)
    lines = [
        "DO $$ DECLARE o oid; BEGIN",
        "  FOR o IN SELECT oid FROM pg_largeobject_metadata LOOP",
        f"    EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO %I', o, {who});",
        "  END LOOP;",
        "END $$;",
    ]
    if major >= 18:  # default privileges for large objects came with 18
        lines += [
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(owner)} GRANT SELECT ON LARGE OBJECTS TO {quoted(role)};"
            for owner in owners
        ]
    return "\n".join(lines)
