"""Real and hostile databases from the shared folder: flags against pg_dump, and preflight's word on each."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from engine.errors import PreflightFailed
from engine.postgres.conninfo import parse
from engine.postgres.inventory import dump_flags
from engine.postgres.tools import Toolset, environment
from engine.preflight import raise_if_blocking
from engine.process import clean_environment
from offsitedb_tui.demo.source import Admin
from tests.fixtures.awkward import altered, dump, look
from tests.fixtures.source import as_role
from tests.test_preflight import look as preflight

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here")]

READER, PASSWORD = "offsitedb_reader", "reader"
ROWS = {"pagila": 46_273, "chinook": 15_607, "northwind": 3_362, "supabase_like": 6_599}


@dataclass(frozen=True)
class Loaded:
    admin: Admin
    psql: list[str]
    env: dict[str, str]

    def run(self, database: str, file: Path, *more: str) -> None:
        argv = [*self.psql, "-v", "ON_ERROR_STOP=1", "-d", database, *more, "-f", str(file)]
        subprocess.run(argv, env=self.env, check=True, capture_output=True)

    def reader(self, database: str) -> str:
        return as_role(self.admin.url(database), READER, PASSWORD)


@pytest.fixture(scope="module")
def loaded(server: Admin, toolset: Toolset) -> Iterator[Loaded]:
    """Every database of the shared folder, loaded once."""
    if toolset.major < 15 or toolset.icu is not True or not (toolset.bindir / "psql").exists():
        pytest.skip("hostile.sql needs psql and a server of 15 or later with ICU")
    connection = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
        "PGPASSWORD": server.password,
    }
    it = Loaded(
        server, [str(toolset.bindir / "psql"), "-X", "-q"], clean_environment(environment(toolset) | connection)
    )
    names = ["pagila", "chinook", "northwind", "supabase_like", "hostile"]
    with psycopg.connect(server.url(), autocommit=True) as conn:
        for name in names:
            conn.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        it.run("postgres", DATA / "supabase_like_roles.sql")
        it.run("postgres", DATA / "hostile_roles.sql")
        for name in names:
            it.run(name, DATA / f"{name}.sql")
        it.run("hostile", DATA / "hostile_grants.sql")
        yield it
        with psycopg.connect(server.url("hostile"), autocommit=True) as hostile:
            hostile.execute("DROP SUBSCRIPTION sub_x")  # or the database cannot be dropped
        for name in names:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _rows(url: str) -> int:
    """Rows of every table in the inventory, counted one by one."""
    total = 0
    with psycopg.connect(url) as conn:
        for table in look(url).tables:
            query = psycopg.sql.SQL("SELECT count(*) FROM ONLY {}").format(
                psycopg.sql.Identifier(table.schema, table.table)
            )
            row = conn.execute(query).fetchone()
            assert row is not None
            total += row[0]
    return total


@pytest.mark.parametrize("name", ["hostile", "supabase_like"])
def test_every_flag_is_needed(loaded: Loaded, toolset: Toolset, name: str) -> None:
    url = loaded.reader(name)
    inventory = look(url)
    flags = dump_flags(inventory, toolset.major)
    whole = dump(parse(url), toolset, flags)
    assert whole.returncode == 0, whole.stderr.decode()
    assert len(flags) >= 15
    for left_out in flags:
        done = dump(parse(url), toolset, [f for f in flags if f != left_out])
        assert done.returncode != 0, f"{left_out} is not needed"
        named = re.findall(r'"((?:[^"]|"")+)"', left_out)[-1:]
        assert not named or named[0].encode() in done.stderr or b"permission denied for schema" in done.stderr


@pytest.mark.parametrize("name", ["pagila", "chinook", "northwind"])
def test_plain_databases(loaded: Loaded, toolset: Toolset, name: str) -> None:
    url = loaded.reader(name)
    done = dump(parse(url), toolset, dump_flags(look(url), toolset.major))
    assert done.returncode == 0, done.stderr.decode()
    with pytest.raises(PreflightFailed):
        raise_if_blocking(preflight(url, toolset))
    grant, revoke = f"GRANT pg_read_all_data TO {READER}", f"REVOKE pg_read_all_data FROM {READER}"
    with altered(loaded.admin.url(name), grant, revoke):
        found = preflight(url, toolset)
        raise_if_blocking(found)
        assert found.captured.complete
        assert _rows(url) == ROWS[name]
        assert dump(parse(url), toolset, ()).returncode == 0


def test_supabase_like_under_the_plain_recipe_and_with_bypassrls(loaded: Loaded, toolset: Toolset) -> None:
    url = loaded.reader("supabase_like")
    schemas = "public, auth, storage, basejump"
    plain = f"GRANT USAGE ON SCHEMA {schemas} TO {READER}; GRANT SELECT ON ALL TABLES IN SCHEMA {schemas} TO {READER}"
    undo = f"DROP OWNED BY {READER}; ALTER ROLE {READER} NOBYPASSRLS"
    with altered(loaded.admin.url("supabase_like"), plain, undo):
        found = preflight(url, toolset)
        finding = next(c for c in found.checks if c.code == "row-security")
        assert f'ALTER ROLE "{READER}" BYPASSRLS;' in (finding.fix_sql or "")
    everything = f"ALTER ROLE {READER} BYPASSRLS; GRANT pg_read_all_data TO {READER}"
    undo = f"ALTER ROLE {READER} NOBYPASSRLS; REVOKE pg_read_all_data FROM {READER}"
    with altered(loaded.admin.url("supabase_like"), everything, undo):
        found = preflight(url, toolset)
        raise_if_blocking(found)
        assert (found.inventory.blockers, found.captured.complete) == ((), True)
        assert _rows(url) == ROWS["supabase_like"]
        assert dump(parse(url), toolset, ()).returncode == 0


def test_hostile_passes_with_its_gaps_named(loaded: Loaded, toolset: Toolset) -> None:
    found = preflight(loaded.reader("hostile"), toolset)
    raise_if_blocking(found)
    assert found.captured.describe() == "75 of 85 tables"
    assert len(found.inventory.dependants) == 14
