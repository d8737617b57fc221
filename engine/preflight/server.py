"""Checks of the connection itself: TLS, pooler, role, timeouts, and what no dump of one database ever holds."""

from __future__ import annotations

from collections.abc import Iterator

from engine.model import Check, CheckStatus, Inventory, ServerFacts
from engine.postgres import grants
from engine.postgres.conninfo import Conninfo
from engine.postgres.providers import pooler_advice
from engine.preflight.findings import listed, plural

_TIMEOUTS = ("statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout")


def check_connection(conninfo: Conninfo, facts: ServerFacts) -> Iterator[Check]:
    """Who answered, how well the way there is protected, and whether a pooler stands in between."""
    provider = "" if facts.provider in (None, "local") else f" at {facts.provider}"
    standby = ", a standby" if facts.in_recovery else ""
    yield Check(
        "connection",
        CheckStatus.OK,
        f"PostgreSQL {facts.version}{standby}{provider}, database {facts.database}, role {facts.role}.",
    )
    yield _tls(conninfo, facts)
    advice = pooler_advice(conninfo)
    if advice is not None:
        yield Check("pooler", CheckStatus.INFO, f"The address is that of a pooler ({advice.name}) in session mode.")
    for note in conninfo.notes:
        yield Check("conninfo", CheckStatus.INFO, f"Of the connection string: {note}.")


def check_role(facts: ServerFacts) -> Iterator[Check]:
    """What the role may do beyond reading."""
    if facts.superuser:
        yield Check(
            "role",
            CheckStatus.WARN,
            f"{facts.role} is a superuser. Its dump holds the passwords of foreign servers and subscriptions in clear"
            " (inside the encrypted artifact), and whoever steals this connection string owns the server. A role that"
            " only reads is enough.",
            grants.recipe((), grants.DEFAULT_ROLE, facts.database, create=True),
        )
    else:
        bypass = "sees all rows (BYPASSRLS)" if facts.bypassrls else "is subject to row level security"
        yield Check("role", CheckStatus.OK, f"{facts.role} is an ordinary role and {bypass}.")


def check_timeouts(settings: tuple[tuple[str, str], ...], in_force: dict[str, str | None]) -> Iterator[Check]:
    """Timeouts of the role's own: lifted for our sessions, and named where they could not be (F8)."""
    stubborn = {name: value for name, value in in_force.items() if value not in (None, "0")}
    if stubborn:
        shown = listed(f"{name} = {value}" for name, value in stubborn.items())
        detail = f"The server keeps a timeout on our sessions that would end a long dump: {shown}."
        yield Check("timeouts", CheckStatus.WARN, detail)
        return
    own = [(name, value) for name, value in settings if name in _TIMEOUTS and value not in ("0", "0ms")]
    if own:
        shown = listed(f"{name} = {value}" for name, value in own)
        detail = f"The role has timeouts of its own ({shown}); they are switched off for backup sessions only."
        yield Check("timeouts", CheckStatus.INFO, detail)


def timeouts() -> tuple[str, ...]:
    """The settings that :func:`check_timeouts` wants to know."""
    return _TIMEOUTS


def check_never_captured(inventory: Inventory) -> Iterator[Check]:
    """What pg_dump leaves out without a word, by kind."""
    kinds: dict[str, list[str]] = {}
    for item in inventory.never_captured:
        kinds.setdefault(item.kind, []).append(f"{item.name} ({item.reason})")
    for kind, items in kinds.items():
        yield Check("never-captured", CheckStatus.INFO, f"Not in any dump, {kind}: {listed(items, 5)}.")


def check_drill_scope(inventory: Inventory) -> Iterator[Check]:
    """What is captured but cannot be exercised by a drill, so that its verdict is PROVEN WITH SKIPS."""
    needs = inventory.needs
    found = [
        (needs.event_triggers, "event trigger"),
        (needs.publications, "publication"),
        (needs.foreign_servers, "foreign server"),
        (needs.security_label_providers, "security label provider"),
        (needs.c_libraries, "library with functions in C"),
    ]
    parts = [
        f"{plural(len(names), one, 'libraries with functions in C' if 'library' in one else None)} ({listed(names, 4)})"
        for names, one in found
        if names
    ]
    if parts:
        detail = (
            f"Captured; only a superuser can restore them, so that a drill skips and names them: {', '.join(parts)}."
        )
        yield Check("drill-skips", CheckStatus.INFO, detail)


def _tls(conninfo: Conninfo, facts: ServerFacts) -> Check:
    tls = facts.tls
    if tls.transport == "unix":
        return Check("tls", CheckStatus.OK, "The connection is a unix socket: nothing leaves this machine.")
    if tls.in_use and tls.sslmode == "verify-full":
        how = f" ({tls.version})" if tls.version else ""
        return Check("tls", CheckStatus.OK, f"Encrypted{how}, and the server's certificate is verified.")
    if facts.provider == "local":
        return Check("tls", CheckStatus.INFO, "The connection stays on this machine (loopback), so TLS matters little.")
    if tls.in_use:
        detail = (
            f"Encrypted, but sslmode={tls.sslmode} does not verify who answers: somebody on the way could pose as the"
            " server. Use sslmode=verify-full; every report shows the weaker mode."
        )
        return Check("tls", CheckStatus.WARN, detail)
    detail = (
        f"The connection to {conninfo.host} is not encrypted: the data can be read on the way. Use sslmode=verify-full."
    )
    return Check("tls", CheckStatus.WARN, detail)
