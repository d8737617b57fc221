"""Running preflight: one read-only session, every check, nothing changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.cancel import CancelToken
from engine.clock import Clock
from engine.errors import OffsiteError, SourceError
from engine.model import CheckStatus, Inventory, ServerFacts
from engine.postgres.conninfo import Conninfo
from engine.postgres.inventory import holds_rows, not_captured, take_inventory
from engine.postgres.probe import in_force, probe, read_powers, role_settings
from engine.postgres.session import connect, interruptible
from engine.postgres.tools import Toolset, pick
from engine.preflight.coverage import check_coverage
from engine.preflight.findings import Captured, ChecksFailed, Preflight
from engine.preflight.host import check_extensions, check_locales, check_tools, uses_icu
from engine.preflight.server import (
    check_connection,
    check_drill_scope,
    check_never_captured,
    check_role,
    check_timeouts,
    timeouts,
)


def run(
    conninfo: Conninfo,
    *,
    toolsets: Sequence[Toolset],
    accept_empty: bool,
    cancel: CancelToken,
    clock: Clock,
    job: str,
) -> Preflight:
    """Look at the source as the backup role. ``job`` names the session (``application_name=offsitedb/<job>``).

    Raises SourceError where the look itself fails: unreachable, refused, a transaction pooler. What can be found
    wrong at leisure is a check; :func:`raise_if_blocking` turns failed ones into an error.
    """
    looked_at = clock.now()
    with connect(conninfo, application_name=f"offsitedb/{job}", cancel=cancel) as conn, interruptible(conn, cancel):
        facts = probe(conn, conninfo)
        facts = replace(facts, powers=read_powers(conn, conninfo))
        inventory = take_inventory(conn, facts)
        partial = len(inventory.tables) < inventory.relations_total
        rows_seen = holds_rows(conn, inventory) if partial else True
        settings = role_settings(conn, conninfo)
        current = {name: in_force(conn, conninfo, name) for name in timeouts()}
    toolset, tool_error = _toolset(toolsets, facts, inventory)
    checks = (
        *check_connection(conninfo, facts),
        *check_tools(facts, toolset, tool_error),
        *check_role(facts),
        *check_timeouts(settings, current),
        *check_coverage(facts, inventory, rows_seen=rows_seen, accept_empty=accept_empty),
        *check_extensions(inventory, toolset),
        *check_locales(facts, inventory, toolset, cancel),
        *check_drill_scope(inventory),
        *check_never_captured(inventory),
    )
    captured = Captured(
        tables=len(inventory.tables),
        tables_total=inventory.relations_total,
        sequences=len(inventory.sequences),
        large_objects=not any(b.code == "large_object_unreadable" for b in inventory.blockers),
        dependants_lost=len(inventory.dependants),
    )
    return Preflight(
        looked_at=looked_at,
        facts=facts,
        inventory=inventory,
        toolset=toolset,
        tool_error=tool_error,
        checks=checks,
        not_captured=not_captured(inventory, facts.role, facts.major),
        captured=captured,
    )


def raise_if_blocking(preflight: Preflight) -> None:
    """Raise what forbids a snapshot.

    SourceError ``pg.version`` or ``pg.tool-missing`` without the server's programs; ChecksFailed (a PreflightFailed)
    ``preflight.nothing-readable`` or ``preflight.failed`` otherwise, with the SQL as its hint.
    """
    blocking = preflight.blocking
    if not blocking:
        return
    if preflight.tool_error is not None:
        raise preflight.tool_error
    first = blocking[0]
    code = "preflight.nothing-readable" if first.code == "nothing-readable" else "preflight.failed"
    role, total = preflight.facts.role, preflight.captured.tables_total
    message = (
        f"the role {role} can read no row of {total} tables"
        if first.code == "nothing-readable"
        else "; ".join(c.code for c in blocking)
    )
    error = ChecksFailed(
        code,
        message,
        hint=f"Run this SQL as an administrator of the database, then try again:\n{first.fix_sql}"
        if first.fix_sql
        else None,
        context={"captured": preflight.captured.describe()},
    )
    rest = (c for c in preflight.checks if c.status is not CheckStatus.FAIL)
    error.checks = (*blocking, *rest)
    raise error


def _toolset(
    toolsets: Sequence[Toolset], facts: ServerFacts, inventory: Inventory
) -> tuple[Toolset | None, OffsiteError | None]:
    extensions = [e.name for e in inventory.needs.extensions]
    try:
        return pick(toolsets, facts.version_num, extensions=extensions, needs_icu=uses_icu(facts, inventory)), None
    except SourceError as e:
        return None, e
