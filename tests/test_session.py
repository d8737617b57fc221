"""Sessions on a source: what is set in them, what errors are called, and that a cancel is heard."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, OffsiteError, SourceError
from engine.postgres.conninfo import parse
from engine.postgres.probe import in_force, probe, role_settings
from engine.postgres.session import connect, interruptible, read_tls, translate
from offsitedb_tui.demo.source import Admin
from tests.fixtures.installation import unhurried
from tests.fixtures.source import as_role

ROLE, PASSWORD = "session_role", "Sess10nPassw0rd"


@pytest.fixture(scope="module")
def role_url(server: Admin) -> Iterator[str]:
    """A role with timeouts of its own, as Supabase gives its roles."""
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        conn.execute(f"ALTER ROLE {ROLE} SET statement_timeout = '2min'")
        conn.execute(f"ALTER ROLE {ROLE} SET idle_in_transaction_session_timeout = '1min'")
        conn.execute(f"ALTER ROLE {ROLE} SET search_path = 'x'")
        yield as_role(server.url(), ROLE, PASSWORD)
        conn.execute(f"DROP ROLE {ROLE}")


def test_f8_the_roles_own_timeouts_are_lifted(role_url: str) -> None:
    conninfo = parse(role_url)
    with connect(conninfo, application_name="offsitedb/f8", cancel=CancelToken()) as conn:
        values = {
            name: in_force(conn, conninfo, name)
            for name in (
                "statement_timeout",
                "lock_timeout",
                "idle_in_transaction_session_timeout",
                "idle_session_timeout",
                "default_transaction_read_only",
                "application_name",
            )
        }
        assert in_force(conn, conninfo, "transaction_timeout") in (None, "0")
        assert in_force(conn, conninfo, "search_path") in ("", '""')
        assert in_force(conn, conninfo, "restrict_nonsystem_relation_kind") in (None, "view, foreign-table")
        assert ("statement_timeout", "2min") in role_settings(conn, conninfo)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            conn.execute("CREATE TABLE public.t ()")
    assert values == {
        "statement_timeout": "0",
        "lock_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "idle_session_timeout": "0",
        "default_transaction_read_only": "on",
        "application_name": "offsitedb/f8",
    }


def test_facts(server: Admin, role_url: str) -> None:
    conninfo = parse(role_url)
    with connect(conninfo, application_name="offsitedb/facts", cancel=CancelToken()) as conn:
        facts = probe(conn, conninfo)
        tls = read_tls(conn, conninfo)
    assert (facts.role, facts.database, facts.encoding, facts.collate) == (ROLE, "postgres", "UTF8", "C.UTF-8")
    assert (facts.superuser, facts.bypassrls, facts.in_recovery, facts.provider) == (False, False, False, "local")
    assert facts.size_bytes > 1_000_000
    assert facts.tls == tls
    assert (tls.in_use, tls.transport, tls.weaker_than_verify_full) == (False, "tcp", True)
    with connect(parse(server.url()), application_name="offsitedb/facts", cancel=CancelToken()) as conn:
        admin = probe(conn, parse(server.url()))
    assert admin.superuser
    assert admin.system_identifier is not None


def _refused(url: str) -> OffsiteError:
    with pytest.raises(SourceError) as caught:
        connect(parse(url), application_name="offsitedb/refused", cancel=CancelToken())
    error = caught.value
    assert PASSWORD not in error.message + error.hint + str(error.context)
    assert not error.message.endswith(".")
    assert error.message[0].islower()
    return error


def test_refusals_have_their_own_codes(server: Admin, role_url: str) -> None:
    port = server.port
    assert _refused(role_url.replace(PASSWORD, "wrong-one")).code == "pg.auth"
    assert _refused(f"postgresql://nobody_here:{PASSWORD}@127.0.0.1:{port}/postgres").code == "pg.auth"
    assert _refused(f"postgresql://{ROLE}@127.0.0.1:{port}/postgres").code == "pg.auth"
    assert _refused(role_url.replace("/postgres", "/nodb")).code == "pg.no-database"
    assert _refused(role_url + "?sslmode=require").code == "pg.tls"
    assert _refused(f"postgresql://{ROLE}:{PASSWORD}@no-such-host.invalid/db").code == "pg.unknown-host"
    assert _refused(f"postgresql://{ROLE}:{PASSWORD}@%2Fno%2Fsuch/db").code == "pg.unreachable"
    closed = _refused(f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{_closed_port()}/db")
    assert (closed.code, closed.retry) == ("pg.unreachable", True)


def test_f36_the_password_is_masked_even_where_the_server_says_it(server: Admin, role_url: str) -> None:
    conninfo = parse(role_url)
    with connect(conninfo, application_name="offsitedb/x", cancel=CancelToken()) as conn:
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(f'SELECT "{PASSWORD}"'.encode())
    error = translate(caught.value, conninfo)
    assert error.code == "pg.query-failed"
    assert PASSWORD not in error.message
    assert "***" in error.message


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SELECT * FROM pg_catalog.pg_authid", "pg.permission"),
        ("SELECT 1/0", "pg.query-failed"),
        ("SET statement_timeout = 1; SELECT pg_sleep(10)", "pg.timeout"),
    ],
)
def test_errors_of_a_running_session(role_url: str, statement: str, code: str) -> None:
    conninfo = parse(role_url)
    with connect(conninfo, application_name="offsitedb/x", cancel=CancelToken()) as conn:
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(statement.encode())
    assert translate(caught.value, conninfo).code == code


def test_a_lost_session_is_unreachable(server: Admin, role_url: str) -> None:
    conninfo = parse(role_url)
    with connect(conninfo, application_name="offsitedb/x", cancel=CancelToken()) as conn:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (conn.info.backend_pid,))
        with pytest.raises(psycopg.Error) as caught:
            conn.execute("SELECT 1")
        error = translate(caught.value, conninfo)
    assert (error.code, error.retry) == ("pg.unreachable", True)


def test_a_cancel_is_heard_while_a_silent_server_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}/db"
        token = CancelToken()

        def cancel_once_connected() -> None:
            silent.accept()
            token.cancel()

        threading.Thread(target=cancel_once_connected, daemon=True).start()
        started = time.monotonic()
        with pytest.raises(Cancelled):
            connect(parse(url), application_name="offsitedb/x", cancel=token)
        assert time.monotonic() - started < unhurried(2)


def test_a_cancel_ends_a_running_query(server: Admin, role_url: str) -> None:
    token = CancelToken()
    conninfo = parse(role_url)
    with connect(conninfo, application_name="offsitedb/long", cancel=token) as conn:

        def cancel_once_running() -> None:
            with psycopg.connect(server.url(), autocommit=True) as admin:
                query = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'offsitedb/long' AND state = 'active'"
                while admin.execute(query).fetchone() is None:
                    pass
            token.cancel()

        threading.Thread(target=cancel_once_running, daemon=True).start()
        started = time.monotonic()
        with pytest.raises(Cancelled), interruptible(conn, token):
            conn.execute("SELECT pg_sleep(30)")
        assert time.monotonic() - started < unhurried(5)


def _closed_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
