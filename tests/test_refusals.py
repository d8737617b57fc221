"""Texts of libpq, servers and poolers, and what they are called."""

from __future__ import annotations

import psycopg
import pytest

from engine.postgres.conninfo import parse
from engine.postgres.refusals import translate

SUPABASE = "postgresql://postgres:Passw0rdPassw0rd@db.abcdefgh.supabase.co:5432/postgres"

TEXTS = [
    ('could not translate host name "h" to address: Name or service not known', "pg.unknown-host"),
    ('connection to server at "h" (2a05::1), port 5432 failed: Network is unreachable', "pg.unreachable"),
    ('connection to server at "h", port 5432 failed: timeout expired', "pg.unreachable"),
    ("connection to server failed: FATAL:  sorry, too many clients already", "pg.unreachable"),
    ("connection to server failed: FATAL:  the database system is starting up", "pg.unreachable"),
    ("connection to server failed: FATAL:  Tenant or user not found", "pg.auth"),
    ("connection to server failed: ERROR:  Endpoint ID is not specified. Either please upgrade", "pg.auth"),
    ('connection to server failed: FATAL:  no pg_hba.conf entry for host "1", user "u", no encryption', "pg.tls"),
    ('connection to server failed: FATAL:  no pg_hba.conf entry for host "1", user "u", SSL encryption', "pg.auth"),
    ("connection to server failed: SSL error: certificate verify failed", "pg.tls"),
    ('connection to server failed: server certificate for "a" does not match host name "b"', "pg.tls"),
    ('connection to server failed: root certificate file "/x" does not exist', "pg.tls"),
    ("connection to server failed: FATAL:  unsupported startup parameter: options", "pg.pooler"),
    ("connection to server failed: received invalid response to GSSAPI negotiation: E", "pg.pooler"),
    ('connection to server failed: FATAL:  database "x" does not exist', "pg.no-database"),
    ('connection to server failed: FATAL:  role "x" does not exist', "pg.auth"),
    ("connection to server failed: FATAL:  SASL authentication failed", "pg.auth"),
    ("connection to server failed: something nobody has seen", "pg.unreachable"),
    ("consuming input failed: server closed the connection unexpectedly", "pg.unreachable"),
    ("consuming input failed: SSL SYSCALL error: EOF detected", "pg.unreachable"),
]


@pytest.mark.parametrize(("text", "code"), TEXTS)
def test_text(text: str, code: str) -> None:
    error = translate(psycopg.OperationalError(text), parse(SUPABASE))
    assert error.code == code
    assert error.hint


def test_without_a_connection_string() -> None:
    assert translate(psycopg.OperationalError("server closed the connection"), None).code == "pg.unreachable"


def test_no_password_in_any_text() -> None:
    text = "connection to server failed: FATAL: Passw0rdPassw0rd is not right"
    error = translate(psycopg.OperationalError(text), parse(SUPABASE))
    assert "Passw0rd" not in error.message + error.hint


def test_f7_an_address_of_the_other_family_only() -> None:
    """``::1`` resolves to IPv6 alone, as Supabase's direct hosts do."""
    text = "connection failed: Network is unreachable"
    direct = translate(psycopg.OperationalError(text), parse("postgresql://u:p@[2001:db8::1]/db"))
    assert "only an IPv6 address" in direct.hint
