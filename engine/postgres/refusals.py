"""What a psycopg error means, in the product's own codes and words.

Connections that fail are told apart by text (``engine.postgres.diagnosis``), errors of a running session by text where
a rule knows it and by SQLSTATE elsewhere. The room refuses to pass on a text without masking the password first.
"""

from __future__ import annotations

import re
import socket

import psycopg

from engine.errors import OffsiteError, SourceError
from engine.postgres.address import Conninfo
from engine.postgres.certificate import why_refused
from engine.postgres.diagnosis import diagnose
from engine.postgres.providers import pooler_advice, recognise
from engine.postgres.rule import Place, Surroundings
from engine.redact import holding

_BY_STATE: dict[str, tuple[str, str, bool]] = {
    # SQLSTATE or its class -> (code, message, retry)
    "42501": ("pg.permission", "the role {user} may not do this", False),
    "55P03": ("pg.lock-timeout", "a table lock could not be had in time", True),
    "57014": ("pg.query-failed", "the server cancelled our statement", True),
    "28": ("pg.auth", "the server refused the user {user} or the password", False),
    "3D000": ("pg.no-database", "there is no database {dbname} on {host}", False),
    "53300": ("pg.unreachable", "the server has no free connection", True),
    "57P": ("pg.unreachable", "the server ended the session", True),
    "08": ("pg.unreachable", "the connection to {host} was lost", True),
    "26000": ("pg.pooler", "a pooler answered and refused what a backup needs", False),
}

_UNNAMED = Conninfo(host="the server", dbname="the database", user="we log in as")

_LOST = re.compile(
    r"server closed the connection|connection (?:reset|is lost|not open|was lost|is closed)|broken pipe|ssl syscall"
    r"|could not (?:receive|send) data|eof detected|consuming input failed|the connection is",
    re.IGNORECASE,
)


def translate(exc: psycopg.Error, conninfo: Conninfo | None) -> OffsiteError:
    """The SourceError for ``exc``; the caller raises it ``from exc``. The password is in none of its texts.

    ``conninfo`` is None where a room has only the connection: then the text names no host.
    """
    conninfo = conninfo or _UNNAMED
    with holding(*conninfo.secrets()):
        if exc.sqlstate:
            return _by_state(exc, conninfo)
        if isinstance(exc, psycopg.OperationalError):
            text = str(exc)
            if _LOST.search(text) and "connection failed" not in text:
                return _error("pg.unreachable", "the connection to {host} was lost", conninfo, exc, None, retry=True)
            return _refused(exc, conninfo, text)
        return _error("pg.query-failed", "the server refused one of our queries", conninfo, exc, None, retry=False)


def surroundings(conninfo: Conninfo, *, role: str | None = None, major: int = 0) -> Surroundings:
    """What a rule may say about a connection: no password."""
    return Surroundings(
        host=conninfo.host,
        port=conninfo.port,
        dbname=conninfo.dbname,
        role=role or conninfo.user,
        sslmode=conninfo.sslmode,
        timeout_s=conninfo.connect_timeout_s,
        major=major,
    )


def _refused(exc: psycopg.Error, conninfo: Conninfo, text: str) -> OffsiteError:
    """A connection that was not made."""
    found = diagnose(text, Place.CONNECT, surroundings(conninfo))
    why = why_refused(conninfo) if found.rule == "certificate" else None
    if why is not None:
        found = diagnose(f"{text}: {why}", Place.CONNECT, surroundings(conninfo))
    assert found.code is not None  # the last rule fits everything
    hint = found.hint
    if found.rule == "no-route":
        hint = _route_hint(conninfo)
    elif found.code == "pg.pooler":
        advice = pooler_advice(conninfo)
        hint = advice.text if advice is not None else hint
    return _told(found.code, found.sentence, conninfo, exc, hint, retry=found.retry, why=why)


def _by_state(exc: psycopg.Error, conninfo: Conninfo) -> OffsiteError:
    state = exc.sqlstate or ""
    found = diagnose(str(exc), Place.SESSION, surroundings(conninfo))
    if found.code is not None:
        code = "pg.query-failed" if found.code == "pg.dump-failed" else found.code
        return _told(code, found.sentence, conninfo, exc, found.hint, retry=found.retry)
    for length in (5, 3, 2):
        known = _BY_STATE.get(state[:length])
        if known is not None:
            code, message, retry = known
            return _error(code, message, conninfo, exc, None, retry=retry)
    return _error("pg.query-failed", "the server refused one of our queries", conninfo, exc, None, retry=False)


def _error(
    code: str, message: str, conninfo: Conninfo, exc: psycopg.Error, hint: str | None, *, retry: bool
) -> OffsiteError:
    filled = message.format(
        host=conninfo.host,
        port=conninfo.port,
        user=conninfo.user,
        dbname=conninfo.dbname,
        sslmode=conninfo.sslmode,
        timeout=conninfo.connect_timeout_s,
    )
    return _told(code, filled, conninfo, exc, hint, retry=retry)


def _told(
    code: str,
    sentence: str,
    conninfo: Conninfo,
    exc: psycopg.Error,
    hint: str | None,
    *,
    retry: bool,
    why: str | None = None,
) -> OffsiteError:
    reason = ": ".join(part for part in (_reason(exc), why) if part)
    context = {"sqlstate": exc.sqlstate, "connection": conninfo.describe()}
    return SourceError(code, f"{sentence} ({reason})" if reason else sentence, hint=hint, context=context, retry=retry)


def _reason(exc: psycopg.Error) -> str:
    """The server's or libpq's own words on one line, without libpq's preamble."""
    primary = exc.diag.message_primary
    lines = (primary or str(exc)).strip().splitlines()
    if not lines:
        return ""
    line = re.sub(r"^(?:connection failed: )?(?:connection to server .*? failed: )?(?:FATAL|ERROR):?\s*", "", lines[0])
    line = re.sub(r"^connection failed: (?:connection to server .*? failed: )?(?:FATAL:\s*)?", "", line)
    return line.strip().rstrip(".")[:300]


def _route_hint(conninfo: Conninfo) -> str:
    """Why there is no route. The usual case: the name has IPv6 addresses only, and this machine has no IPv6 (F7)."""
    families = _families(conninfo)
    if families and socket.AF_INET not in families:
        if recognise(conninfo.host) == "supabase":
            return (
                "Supabase's direct host has only an IPv6 address and this machine has no IPv6: copy the string of the"
                " *session pooler* (port 5432, host …pooler.supabase.com) from the project's Connect page."
            )
        return "The host has only an IPv6 address and this machine has no IPv6 route: use an IPv4 address or a pooler."
    return "Check this machine's network and firewall, then run `offsitedb connection test NAME` again."


def _families(conninfo: Conninfo) -> set[int]:
    try:
        found = socket.getaddrinfo(conninfo.hostaddr or conninfo.host, conninfo.port, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {int(family) for family, *_ in found}
