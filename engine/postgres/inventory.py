"""One look at a source's catalog: what a dump by this role will hold, what it cannot, and the flags that follow.

Two looks that are equal mean that a dump planned on the first is right for the second. The room reads catalogs only
and takes no lock on a user's table: it must be able to run before, and again after, the locks of a snapshot.
"""

from __future__ import annotations

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from engine.model import (
    Blocker,
    CollationNeed,
    Dependant,
    Extension,
    Inventory,
    NotCaptured,
    RestoreNeeds,
    RoleNeed,
    ServerFacts,
    TableEntry,
)
from engine.postgres import grants, queries
from engine.postgres.refusals import translate
from engine.postgres.session import Connection

Row = tuple[object, ...]


def take_inventory(conn: Connection, facts: ServerFacts) -> Inventory:
    """What is there now. Runs in the open transaction, or in a REPEATABLE READ one of its own.

    Raises SourceError.
    """
    own = conn.info.transaction_status == TransactionStatus.IDLE
    try:
        if own:
            conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        inventory = _read(conn, facts)
        if own:
            conn.execute("COMMIT")
    except psycopg.Error as e:
        if own and not conn.closed:
            conn.rollback()
        raise translate(e, None) from e
    return inventory


def dump_flags(inventory: Inventory, major: int) -> tuple[str, ...]:
    """pg_dump's flags (of ``major``) that keep it from failing on what it cannot read. Deterministic."""
    flags: list[str] = []
    for blocker in inventory.blockers:
        if blocker.code == "large_object_unreadable":
            flag = "--no-large-objects" if major >= 16 else "--no-blobs"  # renamed in 16
        elif blocker.code == "unlogged_on_standby":
            flag = blocker.flag
        else:
            assert blocker.schema is not None
            flag = f"{blocker.flag}={pattern(blocker.schema, blocker.name)}"
        if flag not in flags:
            flags.append(flag)
    return tuple(flags)


def pattern(schema: str, name: str) -> str:
    """A pg_dump pattern that matches exactly one relation.

    Inside double quotes every character stands for itself, regular-expression characters and dots included; only the
    quote is doubled. A pattern that matches nothing is silent, so that this must be right.
    """
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))


def _read(conn: Connection, facts: ServerFacts) -> Inventory:
    tables: list[TableEntry] = []
    lock: list[tuple[str, str]] = []
    sequences: list[tuple[str, str]] = []
    total = 0
    for row in _rows(conn, queries.TABLES):
        schema, name, kind, persistence = (str(v) for v in row[:4])
        only_rows, group_schema, group_table = (None if v is None else str(v) for v in row[4:7])
        rows_captured, readable = row[7:9]
        total += kind == "r"
        if kind == "S":
            if readable:
                sequences.append((schema, name))
            continue
        if readable:
            lock.append((schema, name))
        if rows_captured:
            group = None if group_schema is None or group_table is None else (group_schema, group_table)
            tables.append(TableEntry(schema, name, persistence, only_rows, group))
    needs = _needs(conn, facts)
    return Inventory(
        tables=tuple(tables),
        lock=tuple(lock),
        blockers=_blockers(conn),
        dependants=_dependants(conn),
        needs=needs,
        never_captured=_never_captured(conn, needs),
        relations_total=total,
        objects={str(kind): int(str(count)) for kind, count in _rows(conn, queries.OBJECTS)},
        sequences=tuple(sequences),
    )


def _rows(conn: Connection, query: str) -> list[Row]:
    return conn.execute(query.encode()).fetchall()


def _blockers(conn: Connection) -> tuple[Blocker, ...]:
    return tuple(
        Blocker(
            code=str(code),
            schema=None if schema is None else str(schema),
            name=str(name),
            kind=str(kind),
            why=str(why),
            flag=str(flag),
            owner=None if owner is None else str(owner),
        )
        for code, schema, name, kind, why, flag, owner in _rows(conn, queries.BLOCKERS)
    )


def _dependants(conn: Connection) -> tuple[Dependant, ...]:
    return tuple(
        Dependant(
            kind=str(kind),
            schema=None if schema is None else str(schema),
            name=str(identity if name is None else name),
            identity=str(identity),
            on_table=None if on_table is None else str(on_table),
        )
        for kind, schema, name, identity, on_table in _rows(conn, queries.DEPENDANTS)
    )


def _needs(conn: Connection, facts: ServerFacts) -> RestoreNeeds:
    found: dict[str, list[tuple[str, str, str]]] = {}
    for code, name, detail, schema in _rows(conn, queries.NEEDS):
        row = (str(name), "" if detail is None else str(detail), "" if schema is None else str(schema))
        found.setdefault(str(code), []).append(row)

    def names(code: str) -> tuple[str, ...]:
        return tuple(name for name, _, _ in found.get(code, ()))

    return RestoreNeeds(
        encoding=facts.encoding,
        collate=facts.collate,
        ctype=facts.ctype,
        locale_provider=facts.locale_provider,
        icu_locale=facts.icu_locale,
        extensions=tuple(Extension(name, version, schema) for name, version, schema in found.get("extension", ())),
        roles=tuple(RoleNeed(name, why) for name, why, _ in found.get("role", ())),
        collations=tuple(_collation(*row) for row in found.get("collation", ())),
        c_libraries=names("c_library"),
        event_triggers=names("event_trigger"),
        publications=names("publication"),
        foreign_servers=names("foreign_server"),
        security_label_providers=names("seclabel"),
        tablespaces=names("tablespace"),
    )


def _collation(name: str, detail: str, schema: str) -> CollationNeed:
    provider, _, locale = detail.partition(" ")
    return CollationNeed(schema, name, provider, locale or None)


_REASONS = {
    # code -> (kind, reason)
    "extension_table_rows": ("table", "a table of the extension {detail}: pg_dump leaves its rows to the extension"),
    "extension_condition": ("rows", "the extension dumps only rows {detail}"),
    "foreign_table_rows": ("foreign table", "its rows live on the foreign server {detail}; the definition is captured"),
    "subscription": ("subscription", "only a superuser's dump holds subscriptions"),
    "user_mapping_options": ("user mapping", "its options, passwords among them, are hidden from this role"),
}


def _never_captured(conn: Connection, needs: RestoreNeeds) -> tuple[NotCaptured, ...]:
    out: list[NotCaptured] = []
    for code, name, detail in _rows(conn, queries.NEVER_CAPTURED):
        if code == "database_settings":
            whose = f"settings of role {name} in this database" if name else "settings of the database"
            out.append(NotCaptured("settings", whose, f"a dump of one database leaves them out: {detail}"))
            continue
        kind, reason = _REASONS[str(code)]
        out.append(NotCaptured(kind, str(name), reason.format(detail=detail)))
    if needs.roles:
        kept = ", ".join(role.name for role in needs.roles[:12]) + (", …" if len(needs.roles) > 12 else "")
        reason = "they belong to the server, not to the database: their names are kept, their passwords are not"
        out.append(NotCaptured("roles", kept, reason))
    return tuple(out)


def holds_rows(conn: Connection, inventory: Inventory) -> bool:
    """Whether at least one captured table holds at least one row. Stops at the first. Raises SourceError."""
    statement = sql.SQL("SELECT EXISTS (SELECT FROM ONLY {})")
    try:
        for entry in inventory.tables:
            row = conn.execute(statement.format(sql.Identifier(entry.schema, entry.table))).fetchone()
            if row is not None and row[0]:
                return True
    except psycopg.Error as e:
        raise translate(e, None) from e
    return False


def not_captured(inventory: Inventory, role: str, major: int) -> tuple[NotCaptured, ...]:
    """Everything of the source that a dump of ``inventory`` does not hold: what blocks ``role``, each with the SQL
    that lets it read, on a server of ``major``; then what never is held."""
    return tuple(_left_out(b, role, major) for b in inventory.blockers) + inventory.never_captured


_LEFT_OUT = {
    # code of a blocker -> (kind, reason)
    "table_unreadable": ("table", "{why}: neither definition nor rows are captured"),
    "sequence_value_unreadable": ("sequence value", "{why}: the definition is captured, the value is not"),
    "rls_blocks_copy": ("rows", "{why}: the definition is captured, no row is"),
    "extconfig_unreadable": ("rows", "{why}"),
    "unlogged_on_standby": ("rows", "{why}"),
    "large_object_unreadable": ("large objects", "{why}: one that cannot be read leaves out all of them"),
}


def _left_out(blocker: Blocker, role: str, major: int) -> NotCaptured:
    kind, reason = _LEFT_OUT[blocker.code]
    name = blocker.name if blocker.schema is None else f"{blocker.schema}.{blocker.name}"
    return NotCaptured(kind, name, reason.format(why=blocker.why), _fix(blocker, role, major))


def _fix(blocker: Blocker, role: str, major: int) -> str | None:
    """The SQL for this one object; preflight's findings have the SQL for all of them."""
    match blocker.code:
        case "rls_blocks_copy":
            return grants.bypass_rls(role)
        case "large_object_unreadable":
            return grants.read_large_objects(role, [blocker.owner] if blocker.owner else [], major)
        case "unlogged_on_standby":
            return None
    assert blocker.schema is not None
    what = "SEQUENCE " if blocker.code == "sequence_value_unreadable" else ""
    return grants.read_one(what, blocker.schema, blocker.name, role)
