"""Servers that let nobody in, for real: each refusal has its code, its words and the command that mends it.

Sessions of ours and pg_dump's are told the same and must say the same.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest

from engine.postgres.diagnosis import RULES
from engine.postgres.refusals import translate
from engine.postgres.rule import Case, Place, Surroundings
from engine.postgres.tools import Toolset
from engine.redact import redact
from offsitedb_tui.demo.source import Admin
from tests.fixtures.provoking import dump_error, expect, refused, session_error, settle
from tests.fixtures.source import as_role

PASSWORD = "pw-of-a-role-1"


@pytest.fixture
def role(server: Admin) -> Iterator[str]:
    """A role that may log in with ``PASSWORD``."""
    name = f"r_{uuid4().hex[:8]}"
    settle(server.url(), f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    yield name
    settle(server.url(), f"DROP ROLE {name}")


def name_of(url: str) -> str:
    return url.rsplit("/", 1)[1]


def says(url: str, toolset: Toolset, code: str, words: str, hint: str) -> str:
    """Both are told so; the hint."""
    found = refused(url, toolset)
    for error in (found.session, found.dump):
        expect(error, code, words, hint)
    return found.session.hint


def test_a_wrong_password_and_none(server: Admin, role: str, toolset: Toolset) -> None:
    wrong = as_role(server.url(), role, "not-this-one-9")
    says(wrong, toolset, "pg.auth", f"the server refused the user {role} or the password", "connection edit NAME --url")
    none = server.url().replace(f":{server.password}@", "@")
    says(none, toolset, "pg.auth", "the connection string has none", "`offsitedb connection edit NAME --url`")


def test_a_password_that_is_over(server: Admin, role: str, toolset: Toolset) -> None:
    settle(server.url(), f"ALTER ROLE {role} VALID UNTIL '2001-01-01'")
    url = as_role(server.url(), role, PASSWORD)
    hint = says(url, toolset, "pg.auth", "or the password", "VALID UNTIL 'infinity'")
    settle(server.url(), *(s for s in re.findall(r"`([^`]*)`", hint) if s.startswith("ALTER")))
    psycopg.connect(url).close()


def test_a_database_that_is_not_there(server: Admin, toolset: Toolset) -> None:
    hint = says(server.url("nowhere"), toolset, "pg.no-database", "there is no database nowhere", "FROM pg_database")
    settle(server.url(), re.findall(r"`(SELECT[^`]*)`", hint)[0])


def test_a_role_that_may_not_log_in(server: Admin, role: str, toolset: Toolset) -> None:
    settle(server.url(), f"ALTER ROLE {role} NOLOGIN")
    url = as_role(server.url(), role, PASSWORD)
    hint = says(url, toolset, "pg.auth", f"the role {role} may not log in", f"ALTER ROLE {role} LOGIN;")
    settle(server.url(), *re.findall(r"`(ALTER[^`]*)`", hint))
    psycopg.connect(url).close()


@pytest.mark.parametrize(
    ("closes", "code", "words"),
    [
        ("REVOKE CONNECT ON DATABASE {db} FROM public", "pg.permission", "may not connect to"),
        ("ALTER DATABASE {db} ALLOW_CONNECTIONS false", "pg.no-database", "is closed to connections"),
        ("ALTER DATABASE {db} CONNECTION LIMIT 0", "pg.unreachable", "has as many sessions as it may have"),
        ("ALTER ROLE {role} CONNECTION LIMIT 0", "pg.unreachable", "has as many sessions as it may have"),
    ],
)
def test_a_database_or_role_that_is_closed_is_opened_by_the_hint(
    server: Admin, role: str, database: str, toolset: Toolset, closes: str, code: str, words: str
) -> None:
    settle(server.url(), closes.format(db=name_of(database), role=role))
    url = as_role(database, role, PASSWORD)
    hint = says(url, toolset, code, words, ";`")
    settle(server.url(), *re.findall(r"`([^`]*)`", hint))
    psycopg.connect(url).close()


def test_the_rest_of_a_database(server: Admin, toolset: Toolset) -> None:
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute("CREATE DATABASE half_dropped")
        conn.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'half_dropped'")
    hint = says(server.url("half_dropped"), toolset, "pg.no-database", "cut short", "DROP DATABASE half_dropped;")
    settle(server.url(), *re.findall(r"`(DROP[^`]*)`", hint))


def test_tls_and_channel_binding_that_the_server_does_not_have(server: Admin, toolset: Toolset) -> None:
    says(f"{server.url()}?sslmode=require", toolset, "pg.tls", "the server offers no TLS", "sslmode=disable")
    binding = f"{server.url()}?channel_binding=require"
    says(binding, toolset, "pg.tls", "no channel binding", "Remove channel_binding")


def test_a_server_of_another_kind(server: Admin, toolset: Toolset) -> None:
    standby = f"{server.url()}?target_session_attrs=standby"
    says(standby, toolset, "pg.unreachable", "not of the kind", "Remove target_session_attrs")


def test_nothing_there(toolset: Toolset) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"postgresql://u:{PASSWORD}@127.0.0.1:{taken.getsockname()[1]}/x"
        says(url, toolset, "pg.unreachable", "nothing listens on 127.0.0.1", "SHOW listen_addresses;")
    unknown = f"postgresql://u:{PASSWORD}@no-such-host.invalid/x"
    says(unknown, toolset, "pg.unknown-host", "does not resolve", "getent hosts no-such-host.invalid")
    nowhere = f"postgresql://u:{PASSWORD}@/x?host=/nowhere"
    says(nowhere, toolset, "pg.unreachable", "no server socket in /nowhere", "SHOW unix_socket_directories;")


@contextmanager
def listener(answer: bytes, *, first: bool = False) -> Iterator[str]:
    """Something else at a port, which says ``answer`` and hangs up; the URL of a database there."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            while True:
                try:
                    guest, _ = door.accept()
                except OSError:
                    return
                with guest:
                    if answer and not first:
                        guest.recv(100)
                    guest.sendall(answer)
                    guest.shutdown(socket.SHUT_WR)
                    while answer and guest.recv(1000):
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"postgresql://u:{PASSWORD}@127.0.0.1:{door.getsockname()[1]}/x"
        door.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("mode", ["disable", "prefer", "require"])
@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"J\0\0\0\x0a8.0.3"])
def test_something_that_is_not_postgresql(toolset: Toolset, answer: bytes, mode: str) -> None:
    with listener(answer) as url:
        says(f"{url}?sslmode={mode}", toolset, "pg.unreachable", "is not PostgreSQL", "connection edit NAME --url")


def test_a_port_of_ssh_looks_like_tls_for_a_moment(toolset: Toolset) -> None:
    with listener(b"SSH-2.0-OpenSSH_9\r\n", first=True) as url:
        says(f"{url}?sslmode=require", toolset, "pg.tls", "may not be PostgreSQL", "openssl s_client -starttls")


@pytest.mark.parametrize("mode", ["disable", "require"])
def test_something_that_hangs_up(toolset: Toolset, mode: str) -> None:
    with listener(b"") as url:
        found = refused(f"{url}?sslmode={mode}", toolset)
    for error in (found.session, found.dump):
        expect(error, "pg.unreachable", "hangs up before anybody can log in", "offsitedb connection test NAME")
        assert error.retry


def test_something_that_does_not_answer(toolset: Toolset) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as door:
        url = f"postgresql://u:{PASSWORD}@127.0.0.1:{door.getsockname()[1]}/x?connect_timeout=2"
        expect(session_error(url), "pg.unreachable", "did not answer within 2 s", "firewall")


@pytest.mark.parametrize("host", ["[2001:db8::1]", "192.0.2.1"])
def test_f7_no_network_at_all(toolset: Toolset, host: str) -> None:
    """In a network namespace of its own nothing can be reached, as an IPv6 host from a machine without IPv6."""
    url = f"postgresql://u:{PASSWORD}@{host}/x"
    error = dump_error(url, toolset, "unshare", "--user", "--map-root-user", "--net")
    if "unshare" in error.message:
        pytest.skip(f"no namespaces here: {error.message}")
    expect(error, "pg.unreachable", f"there is no network route to {host.strip('[]')}", "session pooler")
    assert re.search("Network is unreachable|Cannot assign requested address", error.message), error.message


def test_a_host_s_name_is_no_text_of_the_server_s() -> None:
    host = "no-pg_hba.conf-entry.tls.example"
    text = f'connection failed: connection to server at "{host}", port 5 failed: Connection refused'
    assert translate(psycopg.OperationalError(text), None).message.startswith("nothing listens on")


def test_no_next_step_is_taken_for_a_secret() -> None:
    near = Surroundings("db.example.org", 5432, "shop", "reader", "require", 15.0, 17)
    for rule in RULES:
        match = re.match("", "")
        assert match is not None
        case = Case("certificate", match, near)
        for text in (rule.sentence(case), rule.next_step(case) or ""):
            assert redact(text) == text, rule.name
    assert Place.TARGET in {place for rule in RULES for place in rule.places}
