"""One database with everything that dumps well and does not restore: each loss has its sentence and SQL that works."""

from __future__ import annotations

import re

import psycopg
import pytest

from engine.model import Failure
from tests.fixtures.drill_parts import Drill, Source

pytest_plugins = ("tests.fixtures.drills",)

BROKEN = (
    # F32: names without their schema, in the function of a materialized view
    'CREATE SCHEMA "ware house"',
    'CREATE TABLE "ware house".stock (n int)',
    'INSERT INTO "ware house".stock VALUES (4)',
    "CREATE FUNCTION total() RETURNS bigint LANGUAGE plpgsql AS 'begin return 1; end'",
    "CREATE MATERIALIZED VIEW totals AS SELECT total() AS n",
    "CREATE OR REPLACE FUNCTION total() RETURNS bigint LANGUAGE plpgsql AS"
    " 'begin return (select sum(n) from stock); end'",
    # a CHECK that reads another table
    "CREATE TABLE zz_allowed (k int)",
    "INSERT INTO zz_allowed VALUES (1)",
    "CREATE FUNCTION allowed(int) RETURNS bool LANGUAGE sql AS"
    " 'select exists (select from public.zz_allowed where k = $1)'",
    'CREATE TABLE "che cked" (k int, CONSTRAINT "only allowed" CHECK (allowed(k) AND k > 0))',
    'INSERT INTO "che cked" VALUES (1)',
    # a domain whose CHECK was added past its rows
    "CREATE FUNCTION even(int) RETURNS bool LANGUAGE sql AS 'select true'",
    "CREATE DOMAIN number AS int CONSTRAINT even CHECK (even(VALUE))",
    "CREATE TABLE numbered (n number)",
    "INSERT INTO numbered VALUES (3)",
    "CREATE OR REPLACE FUNCTION even(int) RETURNS bool LANGUAGE sql AS 'select $1 % 2 = 0'",
    # a generated column whose function fails now
    "CREATE FUNCTION half(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'begin return $1 / 2; end'",
    "CREATE TABLE halves (n int, h int GENERATED ALWAYS AS (half(n)) STORED)",
    "INSERT INTO halves VALUES (4)",
    "CREATE OR REPLACE FUNCTION half(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'begin return $1 / 0; end'",
    # a unique index that lost sight of its rows, as after a change of collation
    'CREATE TABLE people (mail text, "first name" text)',
    'CREATE UNIQUE INDEX people_mail ON people (lower(mail) DESC, "first name")',
    "UPDATE pg_index SET indisready = false WHERE indexrelid = 'people_mail'::regclass",
    "INSERT INTO people VALUES ('a@b.c', 'x'), ('A@b.c', 'x')",
    "UPDATE pg_index SET indisready = true WHERE indexrelid = 'people_mail'::regclass",
    # rows without parents
    "CREATE TABLE parents (a int, b int, PRIMARY KEY (a, b))",
    'CREATE TABLE children (x int, "y y" int, CONSTRAINT fam FOREIGN KEY (x, "y y") REFERENCES parents (a, b))',
    "ALTER TABLE children DISABLE TRIGGER ALL",
    "INSERT INTO children VALUES (1, 2), (NULL, 2)",
    "ALTER TABLE children ENABLE TRIGGER ALL",
    # NULL in a column that forbids it
    "CREATE TABLE filled (must int)",
    "INSERT INTO filled VALUES (NULL)",
    "UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'filled'::regclass AND attname = 'must'",
    "CREATE TABLE fine (k int)",
    "INSERT INTO fine VALUES (1)",
)


@pytest.fixture
def broken(origin: Source) -> Source:
    with psycopg.connect(origin.url, autocommit=True) as conn:
        for statement in BROKEN:
            conn.execute(statement.encode())
    return origin


def found_in(failures: tuple[Failure, ...], about: str) -> Failure:
    (failure,) = [f for f in failures if about in f.message.split(":")[0]]
    return failure


def answer(origin: Source, hint: str, begins: str) -> list[tuple[object, ...]]:
    """What the source says to the query of a hint."""
    line = next(part for part in re.split(r"[`\n]", hint) if part.startswith(begins))
    with psycopg.connect(origin.url) as conn:
        conn.execute("SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off")
        return conn.execute(line.encode()).fetchall()


def test_f32_every_loss_has_its_sentence_and_sql_that_works(broken: Source, drill: Drill) -> None:
    with drill(broken.dump()) as (_cluster, outcome):
        failures = outcome.failures

    totals = found_in(failures, "materialized view public.totals")
    assert "the function public.total() uses a name without its schema (stock)" in totals.message
    assert totals.message.endswith('(relation "stock" does not exist)')
    assert 'ALTER FUNCTION public.total() SET search_path = "ware house", pg_temp;' in totals.hint

    checked = found_in(failures, "rows of table public.che cked")
    assert "do not meet the CHECK only allowed" in checked.message
    assert 'violates check constraint "only allowed"' in checked.message
    assert answer(broken, checked.hint, "SELECT ctid") == []

    numbered = found_in(failures, "rows of table public.numbered")
    assert "values do not meet the CHECK even of their domain" in numbered.message
    assert "ALTER DOMAIN public.number DROP CONSTRAINT even;" in numbered.hint

    halves = found_in(failures, "rows of table public.halves")
    assert "code of the database that runs for every row failed" in halves.message
    assert "(division by zero)" in halves.message
    assert "public.half(integer)" in halves.hint

    people = found_in(failures, "index public.people_mail")
    assert "table public.people holds values twice" in people.message
    assert "REINDEX INDEX public.people_mail;" in people.hint
    assert answer(broken, people.hint, "SELECT lower") == [("a@b.c", "x", 2, ["(0,1)", "(0,2)"])]

    family = found_in(failures, "fk constraint public.children fam")
    assert "table public.children holds rows without their parents" in family.message
    assert answer(broken, family.hint, "SELECT c.ctid") == [("(0,1)", 1, 2)]

    if broken.toolset.major < 18:  # there it is a constraint of its own, which this database does not have
        filled = found_in(failures, "rows of table public.filled")
        assert "holds NULL where its definition forbids it" in filled.message
        assert answer(broken, filled.hint, "SELECT ctid") == [("(0,1)", None)]

    assert len(failures) == (7 if broken.toolset.major < 18 else 6), [f.message for f in failures]
    assert all(f.code == "drill.restore" and f.hint for f in failures)


def test_f32_what_the_hints_say_mends_the_source(broken: Source, drill: Drill) -> None:
    with drill(broken.dump()) as (_cluster, outcome):
        failures = outcome.failures
    search_path = re.findall(r"`(ALTER FUNCTION [^`]*)`", found_in(failures, "view public.totals").hint)
    not_valid = [line for line in found_in(failures, "public.che cked").hint.split("\n") if line.startswith("ALTER")]
    domain = re.findall(r"`(ALTER DOMAIN [^`]*)`", found_in(failures, "public.numbered").hint)
    assert len(search_path) == len(not_valid) == len(domain) == 1
    broken.run(*search_path, *not_valid, *domain)
    broken.run("CREATE OR REPLACE FUNCTION half(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'select $1 / 2'")
    broken.run("DELETE FROM people WHERE mail LIKE 'A%'", "REINDEX INDEX people_mail")
    broken.run("DELETE FROM children WHERE x = 1", "UPDATE filled SET must = 1")
    with drill(broken.dump()) as (_cluster, outcome):
        assert outcome.failures == ()
        assert outcome.fast_pass
