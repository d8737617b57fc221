"""The two sessions of an export are opened at the same time: both are there, or neither."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from engine.cancel import CancelToken
from engine.clock import SystemClock
from engine.errors import SourceError
from engine.postgres.conninfo import parse
from engine.postgres.export import open_exporter
from offsitedb_tui.demo.source import Admin
from tests.fixtures.installation import wait_until
from tests.fixtures.source import as_role


@pytest.fixture
def role(server: Admin) -> Iterator[str]:
    """A role that may have one session."""
    name = f"r_{uuid4().hex[:8]}"
    query = sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'pw-of-it' CONNECTION LIMIT 1").format(sql.Identifier(name))
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute(query)
        yield name
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_of_two_sessions_where_one_is_refused_none_is_left(server: Admin, role: str) -> None:
    where = parse(as_role(server.url(), role, "pw-of-it"))
    with psycopg.connect(server.url(), autocommit=True) as admin:

        def sessions() -> int:
            row = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [role]).fetchone()
            assert row is not None
            return int(row[0])

        def export() -> None:
            with open_exporter(
                where, application_name="offsitedb/test", lock_timeout_s=5, clock=SystemClock(), cancel=CancelToken()
            ):
                assert sessions() == 2

        for _ in range(5):
            with pytest.raises(SourceError) as refused:
                export()
            assert refused.value.code == "pg.unreachable"
            wait_until(lambda: sessions() == 0, "the session that was not refused to end")
        admin.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 2").format(sql.Identifier(role)))
        export()
        wait_until(lambda: sessions() == 0, "both sessions to end")
