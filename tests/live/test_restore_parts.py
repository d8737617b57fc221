"""Parts of a snapshot that lean on each other, what only a superuser may create, and targets that cannot take it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from engine import paths as places
from engine.cancel import CancelToken
from engine.postgres.tools import MAJORS, discover
from offsitedb_tui.demo.source import Admin, postgres_server
from tests.fixtures.binaries import PLACE, find_toolset
from tests.fixtures.installation import installation
from tests.fixtures.pooler import pgbouncer
from tests.fixtures.program import Program, program_of
from tests.live.test_restore_verb import name_of, rows, run

pytestmark = pytest.mark.slow

SOURCE = """
CREATE SCHEMA closed;
CREATE TABLE closed.salary (emp int PRIMARY KEY, amount numeric); INSERT INTO closed.salary VALUES (1, 2), (2, 3);
CREATE TABLE typed (s closed.salary);
CREATE TABLE refers (emp int REFERENCES closed.salary); INSERT INTO refers VALUES (1);
CREATE TABLE base (a int); CREATE TABLE kid (b int) INHERITS (base); INSERT INTO kid VALUES (1, 2);
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE moods (m mood) PARTITION BY LIST (m);
CREATE TABLE moods_sad PARTITION OF moods FOR VALUES IN ('sad'); INSERT INTO moods VALUES ('sad');
CREATE TABLE moods_ok PARTITION OF moods FOR VALUES IN ('ok'); INSERT INTO moods VALUES ('ok'), ('ok');
CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree); INSERT INTO tree VALUES (1, 2), (2, 1);
CREATE TABLE "Wü rd""x" ("a b" int GENERATED ALWAYS AS IDENTITY, t text); INSERT INTO "Wü rd""x" (t) VALUES ('a');
CREATE VIEW over_closed AS SELECT emp FROM closed.salary;
CREATE FUNCTION root(float8) RETURNS float8 LANGUAGE internal IMMUTABLE AS 'dsqrt';
CREATE TABLE roots (x float8, y float8 GENERATED ALWAYS AS (root(x)) STORED); INSERT INTO roots VALUES (4);
CREATE FUNCTION told() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER tells ON ddl_command_end EXECUTE FUNCTION told();
CREATE PUBLICATION published FOR TABLE base;
"""


@dataclass(frozen=True)
class Source:
    """The program, and the id of a snapshot of all that."""

    program: Program
    snapshot: str

    def restore(self, url: str, *options: str, status: int = 0) -> tuple[str, str]:
        said = self.program.run(
            "restore", self.snapshot, "--to-url-stdin", "--yes-target", name_of(url), *options, stdin=url
        )
        assert said.status == status, said.err
        return said.out, said.err


@pytest.fixture(scope="module")
def source(server: Admin) -> Iterator[Source]:
    name = "leaning_source"
    run(server.url(), f"CREATE DATABASE {name} TEMPLATE template0")
    with psycopg.connect(server.url(name), autocommit=True) as conn:
        conn.execute(SOURCE.encode())
    with pytest.MonkeyPatch.context() as patch, installation(patch) as place:
        program = program_of(place)
        assert program.add("leaning", server.url(name)).status == 0
        found = program.run("checkpoint", "leaning", "--wait", "--json").document()
        yield Source(program, found["snapshot"]["id"])
    run(server.url(), f"DROP DATABASE {name} WITH (FORCE)")


def tables(url: str) -> set[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    return {name for (name,) in rows(url, query)}


def test_tables_bring_what_they_need(source: Source, database: str) -> None:
    out, _ = source.restore(database, "--table", "public.moods", "--table", "public.tree", "--table", 'public.Wü rd"x')
    assert "4 of 4 tables equal" in out
    assert tables(database) == {"moods", "moods_sad", "moods_ok", "tree", 'Wü rd"x'}
    assert rows(database, "SELECT count(*) FROM moods") == [(3,)]
    assert len(rows(database, "SELECT 1 FROM pg_constraint WHERE contype = 'f' AND conrelid = 'tree'::regclass")) == 1
    out, err = source.restore(database, "--table", "public.refers")
    assert "table closed.salary is not restored" in err


@pytest.mark.parametrize(("table", "needs"), [("kid", "public.base"), ("typed", "closed.salary")])
def test_what_leans_on_another_table_names_it(source: Source, database: str, table: str, needs: str) -> None:
    _, err = source.restore(database, "--table", f"public.{table}", status=60)
    assert f"table {needs} is neither restored nor there" in err
    assert tables(database) == set()
    source.restore(database, "--table", f"public.{table}", "--table", needs)
    assert tables(database) == {table, needs.split(".")[1]}


def test_a_schema_leaves_out_what_leans_on_another(source: Source, database: str) -> None:
    out, _ = source.restore(database, "--schema", "public")
    assert "view public.over_closed: table closed.salary is neither restored nor there" in out
    assert "salary" not in tables(database)


def test_what_only_a_superuser_may_create_is_asked_for(source: Source, database: str) -> None:
    out, err = source.restore(database)
    assert "event trigger tells: only a superuser may create it; --superuser-objects" in out
    assert "rows are left out, see below: public.roots" in err
    assert "publication published: a restored copy publishes nothing by itself" in out
    assert rows(database, "SELECT 1 FROM pg_event_trigger") == []
    assert "roots" not in tables(database)
    source.restore(database, "--clean", "--superuser-objects")
    assert rows(database, "SELECT evtname FROM pg_event_trigger") == [("tells",)]
    assert rows(database, "SELECT y FROM roots") == [(2.0,)]


def test_large_objects_that_are_there_are_not_overwritten(source: Source, database: str) -> None:
    run(database, "SELECT lo_from_bytea(4711, 'precious')")
    source.restore(database, "--schema", "closed")
    assert rows(database, "SELECT lo_get(4711)") == [(b"precious",)]


def test_a_transaction_pooler_is_refused(source: Source, database: str) -> None:
    with pgbouncer(database, "transaction") as through:
        _, err = source.restore(through, status=20)
    assert "[pg.pooler]" in err
    assert tables(database) == set()


@pytest.mark.parametrize("major", [min(MAJORS), max(MAJORS)])
def test_only_an_older_major_is_refused(source: Source, major: int) -> None:
    paths = places.Paths(home=PLACE.parent, runtime=PLACE.parent)
    own = find_toolset().major
    there = next((t for t in discover(paths) if t.major == major and t.has_server), None)
    if there is None or major == own:
        pytest.skip(f"no second PostgreSQL {major} here; `offsitedb postgres install {major}`")
    target = source.program.place.root / "runtime" / "postgres"
    target.mkdir(parents=True, exist_ok=True)
    if not (target / str(major)).exists() and (PLACE / str(major)).exists():
        (target / str(major)).symlink_to(PLACE / str(major))
    directory = Path(tempfile.mkdtemp(prefix="odbmajor-"))
    directory.chmod(0o711)
    try:
        with postgres_server(there, directory / "pg", keep=False, cancel=CancelToken()) as admin:
            run(admin.url(), "CREATE DATABASE older TEMPLATE template0")
            url = admin.url("older")
            if major < own:
                _, err = source.restore(url, status=60)
                assert f"older than the source's {own}" in err
                assert tables(url) == set()
            else:
                source.restore(url)
                assert {"tree", "moods", "salary"} <= tables(url)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
