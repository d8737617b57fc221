"""Rows per table while a real restore runs: they grow, end as what was captured, and start anew with a second pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from bench.database import fill
from engine.config import DrillSettings
from engine.postgres.tableprogress import named_by
from engine.progress import TableRows
from tests.fixtures.drill_parts import Drill, Source

pytest_plugins = ("tests.fixtures.drills",)


@dataclass
class Seen:
    """A sink that remembers: every report of each pass, and the newest of each table."""

    passes: list[dict[tuple[str, str], list[TableRows]]] = field(default_factory=list)

    def __call__(self, tables: Sequence[TableRows], *, anew: bool = False) -> None:
        if anew:
            self.passes.append({})
        for rows in tables:
            self.passes[-1].setdefault((rows.schema, rows.table), []).append(rows)

    @property
    def last(self) -> dict[tuple[str, str], TableRows]:
        return {name: rows[-1] for name, rows in self.passes[-1].items()}


def counted(url: str) -> dict[tuple[str, str], int]:
    """Rows of every table of the source that has any."""
    found = {}
    with psycopg.connect(url) as conn:
        query = (
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        for schema, table in conn.execute(query.encode()).fetchall():
            row = conn.execute(sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, table))).fetchone()
            assert row is not None
            if row[0]:
                found[schema, table] = int(row[0])
    return found


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_table_ends_with_the_rows_that_were_captured(jobs: int, drill: Drill, origin: Source) -> None:
    origin.run(
        'CREATE SCHEMA "we ird"',
        'CREATE TABLE "we ird"."ta "".(ble" (id int)',
        'INSERT INTO "we ird"."ta "".(ble" SELECT generate_series(1, 40)',
        "CREATE TABLE wide AS SELECT g AS id, repeat(md5(g::text), 20) AS t FROM generate_series(1, 60000) g",
        "CREATE TABLE nothing (id int)",
        "CREATE TABLE p (k int, v int) PARTITION BY RANGE (k)",
        "CREATE TABLE p0 PARTITION OF p FOR VALUES FROM (0) TO (10)",
        "INSERT INTO p SELECT 5, g FROM generate_series(1, 100) g",
    )
    seen = Seen()
    with drill(origin.dump(), settings=DrillSettings(jobs=jobs), on_tables=seen) as (_, outcome):
        assert outcome.fast_pass
    assert {name: rows.rows for name, rows in seen.last.items()} == counted(origin.url)
    assert all(rows.done for rows in seen.last.values())
    assert len(seen.passes) == 1


def test_a_second_pass_starts_anew(drill: Drill, origin: Source) -> None:
    origin.run(
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE kept AS SELECT generate_series(1, 30) AS id",
        "CREATE FUNCTION broken() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE VIEW v AS SELECT broken()",
    )
    archive = origin.dump().replace(b"CREATE VIEW public.v AS", b"CREATE VIEW public.v AZ")
    seen = Seen()
    with drill(archive, on_tables=seen) as (_, outcome):
        assert not outcome.fast_pass
    assert len(seen.passes) == 2
    assert seen.last == {("public", "kept"): TableRows("public", "kept", 30, True)}


def test_rows_of_extensions_are_not_those_of_the_archive(drill: Drill, origin: Source) -> None:
    origin.run("CREATE TABLE t AS SELECT 1 AS id")
    seen = Seen()
    with drill(origin.dump(), on_tables=seen):
        pass
    assert set(seen.last) == {("public", "t")}


def test_a_sink_that_nobody_hands_in(drill: Drill, origin: Source) -> None:
    origin.run("CREATE TABLE t AS SELECT 1 AS id")
    with drill(origin.dump()) as (_, outcome):
        assert outcome.fast_pass


@pytest.mark.slow
def test_numbers_grow_while_a_large_database_is_restored(drill: Drill, origin: Source) -> None:
    size = fill(origin.url, 0.35)
    assert size > 300 << 20
    seen = Seen()
    with drill(origin.dump(), settings=DrillSettings(jobs=2), on_tables=seen) as (_, outcome):
        assert outcome.fast_pass
    expected = counted(origin.url)
    assert {name: rows.rows for name, rows in seen.last.items()} == expected
    events = [rows.rows for rows in seen.passes[0]["public", "event"]]
    numbers = [n for n in events if n is not None]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) >= 4, "it was looked at while it grew"
    ends = {rows.rows for name in expected for rows in seen.passes[0][name] if rows.done}
    assert ends == set(expected.values()), "done is said with the last number"


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_any_name_is_read_from_the_statement(schema: str, table: str) -> None:
    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    assert named_by(f"COPY {quoted(schema)}.{quoted(table)} (id) FROM stdin;") == (schema, table)


def test_statements_that_name_a_table_or_do_not() -> None:
    assert named_by("COPY public.events (id, at) FROM stdin;") == ("public", "events")
    assert named_by("COPY public.events FROM stdin;\n") == ("public", "events")
    assert named_by('COPY "A b".c (') == ("A b", "c")
    for text in ("", "COPY", "COPY events FROM stdin", 'COPY "public.events (id)', "SELECT 1", 'COPY public."cut'):
        assert named_by(text) is None
