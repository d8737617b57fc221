"""What a real PgBouncer says in PostgreSQL's place."""

from __future__ import annotations

import psycopg
import pytest

from engine.postgres.tools import Toolset
from offsitedb_tui.demo.source import Admin
from tests.fixtures.pooler import pgbouncer
from tests.fixtures.provoking import dump_error, expect, refused, session_error
from tests.fixtures.source import as_role

pytestmark = pytest.mark.slow


def test_f6_modes_that_hold_no_snapshot(server: Admin, toolset: Toolset) -> None:
    with pgbouncer(server.url(), "transaction") as url:
        expect(
            session_error(url), "pg.pooler", "is a transaction pooler, which cannot hold a snapshot", "session pooler"
        )
    with pgbouncer(server.url(), "statement") as url:
        expect(session_error(url), "pg.pooler", "cannot hold a snapshot", "session pooler")
        expect(dump_error(url, toolset), "pg.pooler", "gives every statement another session", "port 5432")


def test_f6_a_pool_that_is_full(server: Admin, toolset: Toolset) -> None:
    with (
        pgbouncer(server.url(), "session", "default_pool_size = 1", "query_wait_timeout = 1") as url,
        psycopg.connect(url) as holder,
    ):
        holder.execute("SELECT 1")
        found = refused(url, toolset)
        for error in (found.session, found.dump):
            expect(error, "pg.unreachable", "no connection to the server left for us", "default_pool_size")
            assert error.retry
    with pgbouncer(server.url(), "session", "max_client_conn = 1") as url, psycopg.connect(url):
        found = refused(url, toolset)
        for error in (found.session, found.dump):
            expect(error, "pg.unreachable", "no connection to the server left for us", "max_client_conn")


def test_f6_a_database_and_a_password_that_the_pooler_does_not_know(server: Admin, toolset: Toolset) -> None:
    with pgbouncer(server.url(), "session") as url:
        wrong = as_role(url, "postgres", "not-this-one-9")
        expect(session_error(wrong), "pg.auth", "or the password", "--url")
        expect(session_error(f"{url.rsplit('/', 1)[0]}/nowhere"), "pg.no-database", "no database nowhere", "--url")
