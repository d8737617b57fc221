"""Parts of legal databases that a drill meets outside the tables: tablespaces, rows of extensions, old programs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from engine.cancel import CancelToken
from engine.model import JobState
from engine.model.views import Attempt
from engine.postgres.isolation import drill_user
from engine.postgres.tools import Toolset, has_extension
from offsitedb_tui.demo.source import Admin, postgres_server
from tests.fixtures.fire import Field, settings, working
from tests.fixtures.hosts import second_installation
from tests.fixtures.postgres_preloaded import preloaded

pytestmark = pytest.mark.slow


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory that the drill's OS user may pass through."""
    made = Path(tempfile.mkdtemp(prefix="odblegal-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def attempted(field: Field, url: str, config: str = "") -> Attempt:
    """A checkpoint of ``url`` under this configuration, and nothing left of it."""
    if config:
        settings(field.place, config)
    with field.place.engine() as engine:
        mine = Field(field.place, engine, url, field.canary)
        mine.connect_through()
        with working(mine):
            attempt = mine.checkpoint()
        mine.assert_clean()
    return attempt


def test_tablespaces_of_the_source_are_not_needed(field: Field, server: Admin, room: Path) -> None:
    """Of a table, an index, a partitioned table and its leaf, and a materialized view."""
    place, user = room / "space", drill_user()
    place.mkdir()
    if user is not None:
        shutil.chown(place, user.uid, user.gid)
    space, name = f"ts_{uuid4().hex[:8]}", f"t_{uuid4().hex[:12]}"
    url = server.url(name)
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE TABLESPACE {space} LOCATION '{place}'".encode())
        try:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
            with psycopg.connect(url, autocommit=True) as conn:
                for statement in (
                    "CREATE TABLE here (i int)",
                    f"CREATE TABLE there (i int) TABLESPACE {space}",
                    "INSERT INTO there SELECT generate_series(1, 30)",
                    f"CREATE INDEX ON here (i) TABLESPACE {space}",
                    f"CREATE TABLE parts (i int) PARTITION BY RANGE (i) TABLESPACE {space}",
                    f"CREATE TABLE parts_0 PARTITION OF parts DEFAULT TABLESPACE {space}",
                    "INSERT INTO parts VALUES (1), (2)",
                    f"CREATE MATERIALIZED VIEW seen TABLESPACE {space} AS SELECT * FROM there",
                ):
                    conn.execute(statement.encode())
            drill = attempted(field, url).drill
        finally:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
            admin.execute(f"DROP TABLESPACE {space}".encode())
    assert drill is not None
    assert drill.verdict == "PROVEN", (drill.failures, drill.skips)
    assert {t.table: t.restored for t in drill.tables} == {"here": 0, "there": 30, "parts_0": 2}


CONFIG = """
CREATE TABLE settings (name text PRIMARY KEY, own bool NOT NULL);
INSERT INTO settings VALUES ('shipped', true), ('shipped too', true);
SELECT pg_catalog.pg_extension_config_dump('settings', 'WHERE NOT own');
CREATE TABLE all_of_it (i int);
SELECT pg_catalog.pg_extension_config_dump('all_of_it', '');
CREATE TABLE internal (i int);
"""


def test_rows_of_extension_tables_count_under_their_condition(field: Field, toolset: Toolset, room: Path) -> None:
    """What the extension ships comes from the extension, what the user added from the dump, neither twice."""
    if has_extension(toolset, "hypopg"):
        pytest.skip("hypopg is installed here")
    theirs = second_installation(toolset, room / "theirs", {"hypopg": CONFIG})
    with postgres_server(theirs, room / "pg", keep=False, cancel=CancelToken()) as admin:
        with psycopg.connect(admin.url(), autocommit=True) as conn:
            conn.execute("CREATE EXTENSION hypopg")
            conn.execute("INSERT INTO settings VALUES ('mine', false), ('mine too', false), ('also', false)")
            conn.execute("INSERT INTO all_of_it SELECT generate_series(1, 7)")
            conn.execute("INSERT INTO internal VALUES (1)")
        attempt = attempted(field, admin.url(), f'[postgres]\nbin_dirs = ["{theirs.bindir}"]\n')
    drill = attempt.drill
    assert drill is not None, attempt.job.error
    assert drill.verdict == "PROVEN", (drill.failures, drill.skips)
    assert {t.table: (t.expected, t.restored) for t in drill.tables} == {"settings": (3, 3), "all_of_it": (7, 7)}
    assert attempt.snapshot is not None
    left_out = {n.name: n.reason for n in attempt.snapshot.not_captured}
    assert "WHERE NOT own" in left_out["public.settings"]
    assert "public.internal" in left_out


GEOMETRY = (
    "CREATE EXTENSION postgis",
    "CREATE TABLE places (id int PRIMARY KEY, at geometry(Point, 4326), area geography(Polygon, 4326))",
    "INSERT INTO places SELECT n, ST_SetSRID(ST_MakePoint(n / 10.0, n / 20.0), 4326),"
    " ST_Buffer(ST_SetSRID(ST_MakePoint(n / 10.0, n / 20.0), 4326)::geography, 100) FROM generate_series(1, 500) n",
    "CREATE INDEX places_at ON places USING gist (at)",
    "CREATE INDEX places_area ON places USING gist (area)",
    "INSERT INTO spatial_ref_sys (srid, auth_name, auth_srid, proj4text) VALUES (990001, 'ours', 1, '+proj=longlat')",
)
VECTORS = (
    "CREATE EXTENSION vector",
    "CREATE TABLE items (id int PRIMARY KEY, v vector(8))",
    "INSERT INTO items SELECT n, ARRAY(SELECT sin(n * m) FROM generate_series(1, 8) m)::vector"
    " FROM generate_series(1, 500) n",
    "CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops)",
    "CREATE INDEX items_c ON items USING ivfflat (v vector_cosine_ops) WITH (lists = 10)",
)
JOBS = (
    "CREATE EXTENSION pg_cron",
    "CREATE TABLE done (i int)",
    "SELECT cron.schedule('j', '0 0 1 1 *', 'INSERT INTO done VALUES (1)')",
)


@pytest.mark.parametrize(
    ("extension", "statements", "rows"),
    [
        ("postgis", GEOMETRY, {"places": 500, "spatial_ref_sys": 1}),
        ("vector", VECTORS, {"items": 500}),
        ("pg_cron", JOBS, {"done": 0, "job": 1}),
    ],
)
def test_real_columns_of_an_extension_are_proven_with_their_indexes(
    field: Field, toolset: Toolset, extension: str, statements: tuple[str, ...], rows: dict[str, int]
) -> None:
    if not has_extension(toolset, extension):
        pytest.skip(f"the package of {extension} is not installed")
    with preloaded(toolset) as admin:
        with psycopg.connect(admin.url(), autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement.encode())
        drill = attempted(field, admin.url()).drill
    assert drill is not None
    assert drill.verdict == "PROVEN", (drill.failures, drill.skips)
    assert rows.items() <= {t.table: t.restored for t in drill.tables}.items()
    assert all(t.equal for t in drill.tables)


STRICT = "[postgres]\nstrict_floor = true\n"


def test_strict_mode_refuses_old_programs_for_the_dump(field: Field, toolset: Toolset) -> None:
    if toolset.meets_floor:
        pytest.skip(f"PostgreSQL {toolset.version} is above the floor")
    field.sql("CREATE TABLE t AS SELECT 1 AS i")
    attempt = attempted(field, field.url, STRICT)
    assert (attempt.snapshot, attempt.drill) == (None, None)
    assert attempt.job.state is JobState.FAILED
    assert attempt.job.error is not None
    assert attempt.job.error.code == "pg.client-floor"
    assert toolset.version in attempt.job.error.message
    assert "Update the PostgreSQL packages" in attempt.job.error.hint


def test_strict_mode_refuses_old_programs_for_the_drill(field: Field, toolset: Toolset) -> None:
    """Of a snapshot that was taken before strict mode was switched on."""
    if toolset.meets_floor:
        pytest.skip(f"PostgreSQL {toolset.version} is above the floor")
    field.sql("CREATE TABLE t AS SELECT 1 AS i")
    first = attempted(field, field.url)
    assert first.drill is not None
    assert first.drill.verdict == "PROVEN"
    settings(field.place, STRICT)
    with field.place.engine() as engine:
        mine = Field(field.place, engine, field.url, field.canary)
        with working(mine):
            job = engine.jobs.drill("shop@latest")
            engine.worker.run(job.id)
        again = engine.ledger.of_job(job.id).drill
        mine.assert_clean()
    assert again is not None
    assert again.verdict == "COULD NOT VERIFY"
    assert again.failures[0].code == "drill.tool-missing"
    assert "below the security floor" in again.failures[0].message
    assert "Update the PostgreSQL packages" in again.failures[0].hint
