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
    database: str | None,
    bypassrls: bool = True,
    *,
    owners: Iterable[tuple[str, str]] = (),
    create: bool = False,
) -> str:
    """Everything that a backup role needs, from CONNECT to tables that do not exist yet.

    Without ``schemas`` the role becomes a member of ``pg_read_all_data``, which covers every schema and every later
    table. With ``schemas`` only those are granted, and ``owners`` (pairs of owner and schema) says whose later tables
    must be covered: default privileges hold for tables that the *named* role makes, not for others (F3). Where
    ``database`` is None the text finds out the database, and the owners too, when it is run.
    """
    who = quoted(role)
    lines = ["-- run as an administrator of the server (the role that owns the database, or a superuser)"]
    if create:
        lines.append(f"CREATE ROLE {who} LOGIN PASSWORD 'choose a long password here';")
    lines.append(connect_here(role) if database is None else f"GRANT CONNECT ON DATABASE {quoted(database)} TO {who};")
    lines.append(f"ALTER ROLE {who} SET default_transaction_read_only = on;")
    if bypassrls:
        lines.append(bypass_rls(role))
    if schemas:
        lines += [read_schema(schema, role) for schema in schemas]
        lines += [later_tables(owner, schema, role) for owner, schema in owners]
        lines += [later_tables_of_owners(schema, role) for schema in schemas if database is None]
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


def read_one(what: str, schema: str, name: str, role: str) -> str:
    """Let ``role`` read one table, or with ``what`` "SEQUENCE " one sequence."""
    who = quoted(role)
    return (
        f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {who};\n"
        f"GRANT SELECT ON {what}{quoted(schema)}.{quoted(name)} TO {who};"
    )


def later_tables(owner: str, schema: str, role: str) -> str:
    """Let ``role`` read the tables and sequences that ``owner`` will make in ``schema``."""
    head = f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(owner)} IN SCHEMA {quoted(schema)}"
    who = quoted(role)
    return f"{head} GRANT SELECT ON TABLES TO {who};\n{head} GRANT SELECT ON SEQUENCES TO {who};"


def connect_here(role: str) -> str:
    """Let ``role`` connect to the database in which the text is run, whatever its name."""
    return _block(
        f"BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), {literal(role)}); END"
    )


def later_tables_of_owners(schema: str, role: str) -> str:
    """:func:`later_tables` for everybody who owns a table in ``schema`` when the text is run.

    An owner on whose behalf the administrator may not act is named in a notice and left out.
    """
    name, who = literal(schema), literal(role)
    lines = [
        "DECLARE o name; k text; BEGIN",
        "  FOR o IN SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class",
        f"      WHERE relnamespace = to_regnamespace(quote_ident({name})) AND relkind IN ('r', 'p', 'm', 'S') LOOP",
        "    BEGIN",
        "      FOREACH k IN ARRAY ARRAY['TABLES', 'SEQUENCES'] LOOP",
        "        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT SELECT ON %s TO %I',",
        f"          o, {name}, k, {who});",
        "      END LOOP;",
        "    EXCEPTION WHEN insufficient_privilege THEN",
        "      RAISE NOTICE 'later tables of % are not covered: run this as that role or as a superuser', o;",
        "    END;",
        "  END LOOP;",
        "END",
    ]
    return _block("\n".join(lines))


def _block(body: str) -> str:
    """``body`` as an anonymous block, quoted with a tag that does not occur in it."""
    tag = "do"
    while f"${tag}$" in body:
        tag += "o"
    return f"DO ${tag}$ {body} ${tag}$;"


def read_large_objects(role: str, owners: Iterable[str], major: int) -> str:
    """Let ``role`` read the large objects there are, and (18 and later) those that ``owners`` will make.

    ``pg_read_all_data`` does not cover large objects; each one carries its own privileges (F5).
    """
    who = literal(role)
    body = [
        "DECLARE o oid; BEGIN",
        "  FOR o IN SELECT oid FROM pg_largeobject_metadata LOOP",
        f"    EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO %I', o, {who});",
        "  END LOOP;",
        "END",
    ]
    lines = [_block("\n".join(body))]
    if major >= 18:  # default privileges for large objects came with 18
        lines += [
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(owner)} GRANT SELECT ON LARGE OBJECTS TO {quoted(role)};"
            for owner in owners
        ]
    return "\n".join(lines)
