"""Real and awkward databases, dumped as a reader would and drilled: what is proven, skipped by name, lost by name.

The databases lie beside the repository (``../shared/data``); without them there is nothing to test here.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from engine.cancel import CancelToken
from engine.model import Inventory, TableCount, TableEntry
from engine.postgres.conninfo import parse
from engine.postgres.inventory import dump_flags, take_inventory
from engine.postgres.probe import probe
from engine.postgres.recount import count_rows
from engine.postgres.restore import RestoreOutcome
from engine.postgres.session import connect
from engine.postgres.tools import Toolset
from tests.fixtures.drill_parts import Capture, Drill

pytest_plugins = ("tests.fixtures.drills",)
pytestmark = pytest.mark.slow

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
ALL_SCHEMAS = (
    "DO $$ DECLARE s text; BEGIN FOR s IN SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^pg_' LOOP"
    " EXECUTE format('GRANT USAGE ON SCHEMA %s TO {role}', s);"
    " EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %s TO {role}', s);"
    " EXECUTE format('GRANT SELECT ON ALL SEQUENCES IN SCHEMA %s TO {role}', s); END LOOP; END $$"
)

Result = tuple[RestoreOutcome, dict[tuple[str, str], int], dict[tuple[str, str], int | None], Inventory]
Run = Callable[..., Result]


@pytest.fixture
def run(postgres_database: str, toolset: Toolset, drill: Drill) -> Run:
    if not DATA.is_dir():
        pytest.skip("the databases to try are not beside the repository")

    def load(*names: str) -> None:
        for name in names:
            argv = [str(toolset.bindir / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", postgres_database]
            subprocess.run([*argv, "-f", str(DATA / name)], check=True, capture_output=True)

    def go(*scripts: str, role: str | None = None) -> Result:
        load(*scripts)
        reader = role or f"reader_{uuid4().hex[:8]}"
        with psycopg.connect(postgres_database, autocommit=True) as conn:
            if role is None:
                conn.execute(f"CREATE ROLE {reader} LOGIN BYPASSRLS".encode())
                conn.execute(ALL_SCHEMAS.format(role=reader).encode())
        url = postgres_database.replace("//postgres@", f"//{reader}@")
        conninfo = parse(url)
        with connect(conninfo, application_name="test", cancel=CancelToken()) as conn:
            facts = probe(conn, conninfo)
            inventory = take_inventory(conn, facts)
        # with the ordinary search_path: planning a count inlines index expressions, and poison's need it
        with psycopg.connect(postgres_database, options="-c canary.off=1") as conn:
            expected = dict(_count(conn, table) for table in inventory.tables)
        argv = [str(toolset.bindir / "pg_dump"), "-Fc", "-Z0", *dump_flags(inventory, facts.major), "-d", url]
        archive = subprocess.run(argv, check=True, capture_output=True).stdout
        counted = [TableCount(t.schema, t.table, expected[t.schema, t.table], t.only_rows) for t in inventory.tables]
        with drill(archive, Capture(inventory.needs, inventory.dependants)) as (cluster, outcome):
            restored = count_rows(cluster, outcome.dbname, counted, CancelToken())
            return outcome, expected, restored, inventory

    return go


def _count(conn: psycopg.Connection[tuple[object, ...]], table: TableEntry) -> tuple[tuple[str, str], int]:
    query = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(table.schema, table.table))
    row = conn.execute(query).fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return (table.schema, table.table), row[0]


@pytest.mark.parametrize(("name", "rows"), [("pagila", 46_273), ("chinook", 15_607), ("northwind", 3_362)])
def test_ordinary_databases_are_proven(name: str, rows: int, run: Run) -> None:
    outcome, expected, restored, _ = run(f"{name}.sql")
    assert (outcome.failures, outcome.skips, outcome.lost_tables) == ((), (), ())
    assert outcome.fast_pass
    assert restored == expected
    assert sum(expected.values()) == rows


def test_supabase_like_is_proven_with_its_event_triggers_and_publication_skipped(run: Run) -> None:
    outcome, expected, restored, _ = run("supabase_like_roles.sql", "supabase_like.sql")
    assert outcome.failures == ()
    assert restored == expected
    assert sum(expected.values()) == 6_599
    assert {s.kind for s in outcome.skips} == {"EVENT TRIGGER", "PUBLICATION"}
    assert {s.name for s in outcome.skips if s.kind == "EVENT TRIGGER"} == {
        "issue_pg_cron_access",
        "issue_pg_net_access",
    }


def test_hostile_restores_but_for_what_is_named(run: Run) -> None:
    outcome, expected, restored, inventory = run(
        "hostile_roles.sql", "hostile.sql", "hostile_grants.sql", role="offsitedb_reader"
    )
    assert outcome.failures == ()
    assert outcome.fast_pass
    assert set(outcome.lost_tables) == {
        ("public", name)
        for name in ("check_over_hr", "child_of_unreadable", "col_of_unreadable_type", "default_over_hr")
    }
    enum_leaves = {("public", "penum0"), ("public", "penum1")}  # rows may land in the other leaf
    unequal = {key for key, rows in expected.items() if restored[key] != rows}
    assert unequal - enum_leaves == set(outcome.lost_tables)
    assert sum(expected[leaf] for leaf in enum_leaves) == sum(restored[leaf] or 0 for leaf in enum_leaves)
    named = {s.name for s in outcome.skips}
    for dependant in inventory.dependants:
        if dependant.kind not in ("partition attach", "publication relation"):
            assert any(dependant.identity.split(" on ")[0].split("(")[0].removeprefix("public.") in n for n in named)
    assert {f"public.{table}" for _, table in outcome.lost_tables} <= named


def test_poison_fails_naming_everything_and_runs_nothing(run: Run) -> None:
    before = set(Path("/tmp").glob("offsitedb_canary_*"))
    outcome, expected, restored, _ = run("poison.sql")
    assert set(Path("/tmp").glob("offsitedb_canary_*")) == before
    assert {f.message.split(":")[0] for f in outcome.failures} == {
        "table public.p_generated is lost with all its rows",
        "the rows of table public.a_check_order are lost",
        "the rows of table public.p_check are lost",
        "index public.ix_imm was not restored",
        "materialized view public.p_mv could not be filled",
    }
    lost = {key for key, rows in expected.items() if restored[key] != rows}
    assert lost == {("public", name) for name in ("p_generated", "a_check_order", "p_check")}
    assert [(s.kind, s.name) for s in outcome.skips] == [("PROCEDURAL LANGUAGE", "plfake")]
