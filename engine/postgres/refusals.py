"""What a psycopg error means, in the product's own codes and words.

libpq gives no SQLSTATE for a connection that fails, not even for a wrong password, so those are told apart by text;
errors of a running session by SQLSTATE. The room refuses to pass on a text without masking the password first.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from engine.errors import OffsiteError, SourceError
from engine.postgres.address import Conninfo
from engine.postgres.providers import pooler_advice, recognise
from engine.redact import holding


@dataclass(frozen=True, slots=True)
class _Rule:
    """A text of libpq, a server or a pooler, and what it means. ``retry``: it may pass by itself."""

    pattern: re.Pattern[str]
    code: str
    message: str
    hint: str | None = None
    retry: bool = False


def _rule(pattern: str, code: str, message: str, hint: str | None = None, *, retry: bool = False) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), code, message, hint, retry)


_CONNECT_RULES: Sequence[_Rule] = (
    _rule(
        r"tenant or user not found|tenant/user .* not found",
        "pg.auth",
        "the pooler does not know this user",
        "Behind Supabase's pooler the user is `postgres.<project-ref>` or `<role>.<project-ref>`: copy the string of"
        " the session pooler from the project's Connect page.",
    ),
    _rule(
        r"endpoint id is not specified|inconsistent project name",
        "pg.auth",
        "Neon could not tell which endpoint is meant",
        "Add `options=endpoint%3D<endpoint-id>` behind the ? of the connection string; the id is the"
        " first part of the host.",
    ),
    _rule(
        r"unsupported startup parameter|gssapi negotiation|prepared statement .* (?:already exists|does not exist)",
        "pg.pooler",
        "a pooler answered and refused what a backup needs",
    ),
    _rule(
        r"could not translate host name|name or service not known|nodename nor servname|no address associated"
        r"|failed to resolve|name resolution",
        "pg.unknown-host",
        "the host name {host} does not resolve",
    ),
    _rule(
        r"no pg_hba\.conf entry.*(?:no encryption|ssl off)",
        "pg.tls",
        "the server wants an encrypted connection",
        "Set `sslmode=verify-full` (or `require`) in the connection string.",
    ),
    _rule(
        r"no pg_hba\.conf entry",
        "pg.auth",
        "the server allows no login of {user} to {dbname} from this machine's address",
        "Allow this machine's address in the provider's network settings, or add a line for it to pg_hba.conf.",
    ),
    _rule(
        r"root certificate file .* does not exist|could not (?:read|load) root certificate",
        "pg.tls",
        "the CA file cannot be read",
        "Check the path behind sslrootcert, or remove sslrootcert to use the bundle that comes with this program.",
    ),
    _rule(
        r"certificate verify failed|self-signed certificate|unable to get (?:local )?issuer",
        "pg.tls",
        "the server's certificate is not signed by an authority that is known here",
        "Download the provider's CA certificate and add `sslrootcert=/path/to/ca.crt`; or choose `sslmode=require`"
        " knowingly: it encrypts without knowing to whom, and every report will say so.",
    ),
    _rule(
        r"server certificate for .* does not match host name|certificate .* does not match",
        "pg.tls",
        "the server's certificate is for another host name",
        "Use the host name that stands in the certificate, not an address or an alias.",
    ),
    _rule(
        r"server does not support ssl",
        "pg.tls",
        "the server offers no TLS and the connection asks for it",
        "Enable TLS on the server; or choose `sslmode=disable` knowingly: every report will say so.",
    ),
    _rule(r"channel binding", "pg.tls", "the server offers no channel binding and the connection asks for it"),
    _rule(
        r"ssl error|tls|certificate|sslv3 alert",
        "pg.tls",
        "no TLS connection that meets sslmode={sslmode} could be made",
    ),
    _rule(
        r"password authentication failed|sasl authentication failed|wrong password|authentication failed"
        r"|no password supplied|role \".*\" does not exist|is not permitted to log in|no such user|bouncer config error"
        r"|scram",
        "pg.auth",
        "the server refused the user {user} or the password",
    ),
    _rule(
        r"database \".*\" does not exist|no such database", "pg.no-database", "there is no database {dbname} on {host}"
    ),
    _rule(
        r"network is unreachable|cannot assign requested address|no route to host|address family not supported",
        "pg.unreachable",
        "there is no network route to {host}",
        retry=True,
    ),
    _rule(
        r"too many (?:connections|clients)|remaining connection slots|max_client_conn|max clients",
        "pg.unreachable",
        "the server has no free connection",
        "Raise the connection limit, or run the checkpoint when fewer programs are connected.",
        retry=True,
    ),
    _rule(
        r"starting up|shutting down|in recovery mode|not accepting connections",
        "pg.unreachable",
        "the server does not accept connections at the moment",
        "Wait until the server has started, then run the command again.",
        retry=True,
    ),
    _rule(r"connection refused", "pg.unreachable", "nothing listens on {host} port {port}", retry=True),
    _rule(
        r"timeout expired|timed out",
        "pg.unreachable",
        "{host} port {port} did not answer within {timeout} s",
        "Check host, port and firewall, and that this machine's address is allowed at the provider.",
        retry=True,
    ),
    _rule(
        r"no such file or directory",
        "pg.unreachable",
        "there is no server socket in {host} for port {port}",
        retry=True,
    ),
    _rule(
        r"session is read-only|session is not read-only|server is (?:not )?in hot standby",
        "pg.unreachable",
        "the server is not of the kind that target_session_attrs asks for",
        "Remove target_session_attrs, or name the host of the right server.",
    ),
    _rule(r"", "pg.unreachable", "the database server {host} port {port} cannot be reached", retry=True),
)

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
            rule = next(r for r in _CONNECT_RULES if r.pattern.search(text))
            hint = _route_hint(conninfo) if "route" in rule.message else rule.hint
            if rule.code == "pg.pooler":
                advice = pooler_advice(conninfo)
                hint = advice.text if advice is not None else hint
            return _error(rule.code, rule.message, conninfo, exc, hint, retry=rule.retry)
        return _error("pg.query-failed", "the server refused one of our queries", conninfo, exc, None, retry=False)


def _by_state(exc: psycopg.Error, conninfo: Conninfo) -> OffsiteError:
    state = exc.sqlstate or ""
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
    reason = _reason(exc)
    context = {"sqlstate": exc.sqlstate, "connection": conninfo.describe()}
    return SourceError(code, f"{filled} ({reason})" if reason else filled, hint=hint, context=context, retry=retry)


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
