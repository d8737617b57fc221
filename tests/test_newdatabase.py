"""A database made for a restore is taken away again when it is empty and nobody is at it, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from engine.cancel import CancelToken
from engine.postgres import newdatabase
from engine.postgres.address import Conninfo
from engine.postgres.conninfo import parse
from offsitedb_tui.demo.source import Admin
from tests.fixtures.drill_parts import NEEDS


@pytest.fixture
def made(server: Admin) -> Iterator[tuple[Conninfo, str]]:
    """The server, and the name of a database that was made there."""
    name, there = f"t_{uuid4().hex[:12]}", parse(server.url())
    newdatabase.make(there, name, NEEDS, CancelToken())
    yield there, name
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def test_an_empty_one_is_gone(made: tuple[Conninfo, str]) -> None:
    there, name = made
    assert newdatabase.unmake(there, name, CancelToken())
    newdatabase.make(there, name, NEEDS, CancelToken())


@pytest.mark.parametrize(
    "content", ["CREATE TABLE t (id int)", "CREATE SCHEMA s CREATE VIEW v AS SELECT 1", "SELECT lo_create(0)"]
)
def test_one_that_holds_anything_stays(server: Admin, made: tuple[Conninfo, str], content: str) -> None:
    there, name = made
    with psycopg.connect(server.url(name), autocommit=True) as conn:
        conn.execute(content.encode())
    assert not newdatabase.unmake(there, name, CancelToken())
    psycopg.connect(server.url(name)).close()


def test_one_that_somebody_is_connected_to_stays(server: Admin, made: tuple[Conninfo, str]) -> None:
    there, name = made
    with psycopg.connect(server.url(name)) as conn:
        assert not newdatabase.unmake(there, name, CancelToken())
        assert conn.execute("SELECT 1").fetchone() == (1,)
