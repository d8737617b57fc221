"""The SQL that people paste: it runs, whatever the names are, and afterwards everything is readable."""

from __future__ import annotations

import psycopg
import pytest

from engine.cancel import CancelToken
from engine.postgres import grants
from engine.postgres.conninfo import parse
from engine.postgres.inventory import take_inventory
from engine.postgres.probe import probe
from engine.postgres.session import connect
from tests.fixtures.source import as_role

ROLE = 'back"up; DROP ROLE postgres; --\\'
SCHEMA = 'we"ird; --'


@pytest.fixture
def awkward(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(f"CREATE SCHEMA {grants.quoted(SCHEMA)}")
        conn.execute(f"CREATE TABLE {grants.quoted(SCHEMA)}.t (id serial)")
        conn.execute("CREATE TABLE public.t (id int); ALTER TABLE public.t ENABLE ROW LEVEL SECURITY")
        conn.execute("SELECT lo_from_bytea(0, 'x')")
        conn.execute(f"DROP ROLE IF EXISTS {grants.quoted(ROLE)}")
    return database


@pytest.mark.parametrize("schemas", [(), (SCHEMA, "public")])
def test_the_recipe_runs_and_is_enough(awkward: str, schemas: tuple[str, ...]) -> None:
    name = parse(awkward).dbname
    with psycopg.connect(awkward, autocommit=True) as conn:
        text = grants.recipe(schemas, ROLE, name, owners=[("postgres", s) for s in schemas], create=True)
        conn.execute(text.encode())
        conn.execute(grants.read_large_objects(ROLE, ["postgres"], conn.info.server_version // 10000).encode())
        conn.execute(f"ALTER ROLE {grants.quoted(ROLE)} PASSWORD 'pw'")
        conn.execute("CREATE TABLE public.later (id serial)")
        url = as_role(awkward, "back%22up%3B%20DROP%20ROLE%20postgres%3B%20--%5C", "pw")
        try:
            with connect(parse(url), application_name="offsitedb/x", cancel=CancelToken()) as reader:
                inventory = take_inventory(reader, probe(reader, parse(url)))
            assert inventory.blockers == ()
            assert len(inventory.tables) == inventory.relations_total == 3
        finally:
            conn.execute(f"DROP OWNED BY {grants.quoted(ROLE)}")
            conn.execute(f"DROP ROLE {grants.quoted(ROLE)}")
