"""Checks of what the role can read: tables, row level security, sequences, large objects, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator

from engine.model import Blocker, Check, CheckStatus, Inventory, ServerFacts
from engine.postgres import grants
from engine.preflight.findings import listed, plural

MANAGED = {
    "supabase": frozenset(
        (
            "auth",
            "storage",
            "realtime",
            "vault",
            "graphql",
            "graphql_public",
            "pgsodium",
            "pgsodium_masks",
            "supabase_functions",
            "supabase_migrations",
            "extensions",
            "net",
            "cron",
            "_analytics",
            "_realtime",
            "pgbouncer",
        )
    ),
    "neon": frozenset(("neon_auth", "neon")),
    "heroku": frozenset(("heroku_ext", "_heroku")),
    "timescale": frozenset(("_timescaledb_internal", "_timescaledb_catalog", "_timescaledb_config")),
    "azure": frozenset(("cron", "azure")),
}
"""Schemas that a provider makes and runs itself (F4)."""

_SUPABASE_MARKS = frozenset(("auth", "storage"))


def check_coverage(facts: ServerFacts, inventory: Inventory, *, rows_seen: bool, accept_empty: bool) -> Iterator[Check]:
    """Every finding about what is captured. ``rows_seen``: at least one captured table holds a row."""
    by_code: dict[str, list[Blocker]] = {}
    for blocker in inventory.blockers:
        by_code.setdefault(blocker.code, []).append(blocker)
    yield _verdict(facts, inventory, rows_seen=rows_seen, accept_empty=accept_empty)
    if "rls_blocks_copy" in by_code:
        yield _row_security(facts, by_code["rls_blocks_copy"])
    unreadable = by_code.get("table_unreadable", [])
    managed = [b for b in unreadable if b.schema in managed_schemas(facts, inventory)]
    own = [b for b in unreadable if b not in managed]
    if own:
        yield _unreadable(facts, own)
    if managed:
        yield _managed(facts, managed)
    if "sequence_value_unreadable" in by_code:
        yield _sequences(facts, by_code["sequence_value_unreadable"])
    if "large_object_unreadable" in by_code:
        yield _large_objects(facts, by_code["large_object_unreadable"])
    if "extconfig_unreadable" in by_code:
        yield _configuration(facts, by_code["extconfig_unreadable"])
    if "unlogged_on_standby" in by_code:
        names = listed(_name(b) for b in by_code["unlogged_on_standby"])
        yield Check("unlogged", CheckStatus.INFO, f"The server is a standby, where unlogged tables are empty: {names}.")
    yield from _dependants(inventory)


def managed_schemas(facts: ServerFacts, inventory: Inventory) -> frozenset[str]:
    """Schemas of the provider's. Supabase is also told by its schemas, for self-hosted ones."""
    provider = facts.provider
    if provider not in MANAGED:
        seen = {t.schema for t in inventory.tables} | {b.schema for b in inventory.blockers if b.schema}
        provider = "supabase" if seen >= _SUPABASE_MARKS else None
    return MANAGED.get(provider or "", frozenset())


def _verdict(facts: ServerFacts, inventory: Inventory, *, rows_seen: bool, accept_empty: bool) -> Check:
    captured, total = len(inventory.tables), inventory.relations_total
    if total == 0:
        return Check("coverage", CheckStatus.OK, "The database holds no table yet; an empty snapshot is right for it.")
    if captured == total:
        return Check("coverage", CheckStatus.OK, f"All {plural(total, 'table')} can be captured.")
    if captured and rows_seen:
        detail = f"{captured} of {total} tables can be captured; the others are left out, and every report says so."
        return Check("coverage", CheckStatus.WARN, detail)
    hidden = sum(b.code == "rls_blocks_copy" for b in inventory.blockers)
    unreadable = sum(b.code == "table_unreadable" for b in inventory.blockers)
    causes = []
    if unreadable:
        causes.append(f"it may not read {plural(unreadable, 'table')} at all")
    if hidden:
        causes.append(f"row level security hides every row of {plural(hidden, 'table')} from it")
    if captured:
        causes.append(f"{plural(captured, 'table')} that it can read hold no row")
    detail = (
        f"The role {facts.role} can read no row of any of the {plural(total, 'table')}: {'; '.join(causes)}. A backup"
        " made with it would hold definitions and no data, and it would look healthy. Run the SQL as an administrator"
        " of the database, then look again."
    )
    fix = grants.recipe((), facts.role, facts.database, _needs_bypass(inventory))
    status = CheckStatus.WARN if accept_empty else CheckStatus.FAIL
    return Check("nothing-readable", status, detail, fix)


def _needs_bypass(inventory: Inventory) -> bool:
    """Row security that would be in force once the tables are granted is not visible before: ask for it anyway."""
    return any(b.code in ("rls_blocks_copy", "table_unreadable") for b in inventory.blockers)


def _row_security(facts: ServerFacts, blockers: list[Blocker]) -> Check:
    detail = (
        f"Row level security hides rows of {plural(len(blockers), 'table')} from {facts.role}, so that no row of them"
        f" is captured: {listed(_name(b) for b in blockers)}. BYPASSRLS lets this one role read all rows; it gives no"
        " right to write. Where the provider does not allow it, connect as the owner of the tables."
    )
    fix = "\n".join(
        (
            "-- run as an administrator of the server",
            grants.bypass_rls(facts.role),
            grants.read_all(facts.role),
            f"ALTER ROLE {grants.quoted(facts.role)} SET default_transaction_read_only = on;",
        )
    )
    return Check("row-security", CheckStatus.WARN, detail, fix)


def _unreadable(facts: ServerFacts, blockers: list[Blocker]) -> Check:
    owners = sorted({b.owner for b in blockers if b.owner})
    column_only = [b for b in blockers if b.why == "only column-level SELECT"]
    detail = (
        f"{facts.role} may not read {plural(len(blockers), 'table')}, which are left out:"
        f" {listed(_name(b) for b in blockers)}. They belong to {listed(owners)}: default privileges cover only tables"
        " made by the role that they were set for, so that tables of later migrations need their own line."
    )
    if column_only:
        detail += f" A grant on single columns is not enough: {listed(_name(b) for b in column_only)}."
    return Check("unreadable-tables", CheckStatus.WARN, detail, _grant_all(facts, blockers))


def _grant_all(facts: ServerFacts, blockers: list[Blocker]) -> str:
    """Grants for what there is and, per owner, for what will come."""
    lines = ["-- run as an administrator of the server, or as the owner of the tables"]
    lines += [grants.read_schema(schema, facts.role) for schema in sorted({b.schema for b in blockers if b.schema})]
    pairs = sorted({(b.owner, b.schema) for b in blockers if b.owner and b.schema})
    lines += [grants.later_tables(owner, schema, facts.role) for owner, schema in pairs]
    return "\n".join(lines)


def _managed(facts: ServerFacts, blockers: list[Blocker]) -> Check:
    schemas = sorted({b.schema for b in blockers if b.schema})
    detail = (
        f"{plural(len(blockers), 'table')} in schemas that the provider runs cannot be read and are left out:"
        f" {listed(schemas)}. Without them the snapshot holds the application's tables but not, for example, the"
        " users of its login service. Grant them if you need them back after a disaster."
    )
    fix = "-- run as an administrator of the project\n" + grants.read_all(facts.role)
    return Check("managed-schemas", CheckStatus.WARN, detail, fix)


def _sequences(facts: ServerFacts, blockers: list[Blocker]) -> Check:
    detail = (
        f"The value of {plural(len(blockers), 'sequence')} cannot be read: {listed(_name(b) for b in blockers)}. They"
        " come back with their start value, so that the next insert after a restore may meet an id that is taken."
    )
    who = grants.quoted(facts.role)
    fix = ["-- run as an administrator of the server, or as the owner of the sequences"]
    for schema in sorted({b.schema for b in blockers if b.schema}):
        name = grants.quoted(schema)
        fix.append(f"GRANT USAGE ON SCHEMA {name} TO {who};")
        fix.append(f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA {name} TO {who};")
    return Check("sequences", CheckStatus.WARN, detail, "\n".join(fix))


def _large_objects(facts: ServerFacts, blockers: list[Blocker]) -> Check:
    owners = sorted({b.owner for b in blockers if b.owner})
    detail = (
        f"There are large objects that {facts.role} may not read ({listed(owners)} own them). pg_dump takes all or"
        " none, so that none is captured. pg_read_all_data does not cover large objects."
    )
    fix = "-- run as a superuser, or as the owner of the large objects\n" + grants.read_large_objects(
        facts.role, owners, facts.major
    )
    return Check("large-objects", CheckStatus.WARN, detail, fix)


def _configuration(facts: ServerFacts, blockers: list[Blocker]) -> Check:
    names = ", ".join(f"{grants.quoted(b.schema or '')}.{grants.quoted(b.name)}" for b in blockers)
    schemas = sorted({b.schema for b in blockers if b.schema})
    who = grants.quoted(facts.role)
    fix = [
        f"GRANT USAGE ON SCHEMA {', '.join(map(grants.quoted, schemas))} TO {who};",
        f"GRANT SELECT ON {names} TO {who};",
    ]
    detail = (
        f"The settings that extensions keep in tables cannot be read: {listed(_name(b) for b in blockers)}. Without"
        " them, for example, scheduled jobs or partition rules are missing after a restore."
    )
    return Check("extension-settings", CheckStatus.WARN, detail, "\n".join(fix))


def _dependants(inventory: Inventory) -> Iterator[Check]:
    lost = inventory.dependants
    if not lost:
        return
    tables = [d for d in lost if d.kind == "table"]
    detail = (
        f"{plural(len(lost), 'object')} need something that is left out, and cannot be restored:"
        f" {listed(f'{d.kind} {d.identity}' for d in lost)}."
    )
    if tables:
        names = listed(d.identity for d in tables)
        detail += f" Among them {plural(len(tables), 'table')} whose rows would be lost: {names}."
    yield Check("dependants", CheckStatus.WARN, detail)


def _name(blocker: Blocker) -> str:
    return blocker.name if blocker.schema is None else f"{blocker.schema}.{blocker.name}"
