"""Restores into real scratch clusters: what restores, what is named when it does not, and what never gets to run."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from engine.cancel import CancelToken
from engine.config import DrillSettings
from engine.errors import Cancelled, DrillFailed
from engine.model import Extension, RoleNeed, TableCount
from engine.postgres.isolation import Sandbox
from engine.postgres.recount import count_rows
from engine.process import RunAs
from engine.progress import Phase, Progress
from tests.fixtures.drill_parts import NEEDS, Capture, Drill, Source, bare

pytest_plugins = ("tests.fixtures.drills",)

ORDINARY = (
    'CREATE SCHEMA "we ird"',
    'CREATE TABLE "we ird"."ta ble" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t text, g int'
    " GENERATED ALWAYS AS (length(t)) STORED)",
    'INSERT INTO "we ird"."ta ble" (t) SELECT repeat(\'x\', g) FROM generate_series(1, 40) g',
    "CREATE TABLE p (k text, v int) PARTITION BY HASH (k)",
    "CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
    "CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    "INSERT INTO p SELECT 'k' || g, g FROM generate_series(1, 100) g",
    "CREATE TABLE hidden (id int)",
    "INSERT INTO hidden VALUES (1), (2)",
    "ALTER TABLE hidden ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "SELECT lo_from_bytea(0, 'abc')",
    "CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM p",
    "COMMENT ON SCHEMA public IS 'mine'",
)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_ordinary_database_restores_whole(jobs: int, drill: Drill, origin: Source, role: str) -> None:
    policy = f'CREATE POLICY pol ON hidden TO "{role}" USING (id > 1)'
    origin.run(*ORDINARY, policy)
    capture = Capture(replace(NEEDS, roles=(RoleNeed(role, "policy"),)))
    seen: list[Progress] = []
    settings = DrillSettings(jobs=jobs)
    with drill(origin.dump(), capture, settings=settings, on_progress=seen.append) as (cluster, outcome):
        assert outcome.failures == ()
        assert outcome.skips == ()
        assert outcome.fast_pass
        assert outcome.lost_tables == ()
        assert outcome.replayed_entries < outcome.toc_entries
        tables = (
            TableCount("we ird", "ta ble", 40),
            TableCount("public", "p", 100, group=True),
            TableCount("public", "p0", 0),
            TableCount("public", "hidden", 2),
            TableCount("public", "mv", 1),
            TableCount("public", "absent", 0),
        )
        counts = count_rows(cluster, outcome.dbname, tables, CancelToken())
        assert counts["we ird", "ta ble"] == 40
        assert counts["public", "p"] == 100
        assert 0 < (counts["public", "p0"] or 0) < 100
        assert counts["public", "hidden"] == 2  # forced row security hides rows even from the owner
        assert counts["public", "mv"] is None  # no table
        assert counts["public", "absent"] is None
        with cluster.connect(outcome.dbname) as conn:
            assert conn.execute("SELECT count(*) FROM pg_policy WHERE polroles <> '{0}'").fetchone() == (1,)
            assert conn.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() == (1,)
            owners = conn.execute("SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE oid >= 16384").fetchall()
            assert owners == [("offsitedb_owner",)]
            flags = "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = %s"
            assert conn.execute(flags, ["offsitedb_owner"]).fetchone() == (False, False, False, True)
    assert all(p.phase is Phase.RESTORE for p in seen)


def test_an_empty_database_is_no_failure(drill: Drill, origin: Source) -> None:
    with drill(origin.dump()) as (cluster, outcome):
        assert (outcome.failures, outcome.skips) == ((), ())
        assert count_rows(cluster, outcome.dbname, (), CancelToken()) == {}


def poison(marker: Path) -> tuple[str, ...]:
    return (
        "CREATE FUNCTION helper(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'select lower($1)'",
        "CREATE FUNCTION imm(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'select helper($1)'",
        "CREATE TABLE generated (t text, g text GENERATED ALWAYS AS (imm(t)) STORED)",
        "INSERT INTO generated (t) VALUES ('A')",
        "CREATE TABLE zz (k int)",
        "INSERT INTO zz VALUES (1)",
        "CREATE FUNCTION ok(int) RETURNS bool LANGUAGE plpgsql AS"
        " 'begin return exists (select 1 from public.zz where k = $1); end'",
        "CREATE TABLE checked (k int CHECK (ok(k)))",
        "INSERT INTO checked VALUES (1)",
        "CREATE TABLE fine (k int)",
        "INSERT INTO fine VALUES (1), (2)",
        "CREATE FUNCTION touch(text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_setting('canary.off', true) = '1' THEN RETURN true; END IF;"
        f" EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'touch {marker}'); RETURN true; END $$",
        "SET canary.off = '1'",
        "CREATE TABLE touched (t text CHECK (touch(t)))",
        "INSERT INTO touched VALUES ('x')",
    )


@pytest.mark.parametrize("strong", [True, False])
def test_f32_everything_that_is_lost_is_named_and_nothing_strange_runs(
    strong: bool, drill: Drill, origin: Source, sandbox: Sandbox, run_as: RunAs | None, scratch_root: Path
) -> None:
    scratch_root.chmod(0o777)  # whoever gets a program to run could leave a mark here
    marker = scratch_root / f"canary-{uuid4().hex}"
    origin.run(*poison(marker))
    with drill(origin.dump(), inside=sandbox if strong else bare(run_as)) as (cluster, outcome):
        assert not outcome.fast_pass
        named = {f.message.split(":")[0] for f in outcome.failures}
        assert named == {
            "table public.generated is lost with all its rows",
            "the rows of table public.checked are lost",
            "the rows of table public.touched are lost",
        }
        assert all(f.code == "drill.restore" and f.hint.endswith((".", ";")) for f in outcome.failures)
        tables = [
            TableCount("public", t, n) for t, n in (("generated", 1), ("checked", 1), ("fine", 2), ("touched", 1))
        ]
        counts = count_rows(cluster, outcome.dbname, tables, CancelToken())
        assert [counts["public", t.table] for t in tables] == [None, 0, 2, 0]
        assert not marker.exists()
    assert not marker.exists()


def test_a_count_runs_nobodys_code_as_superuser(
    drill: Drill, origin: Source, scratch_root: Path, run_as: RunAs | None
) -> None:
    """An index expression that calls itself immutable is run by whoever plans a query on its table."""
    scratch_root.chmod(0o777)
    marker = scratch_root / f"canary-{uuid4().hex}"
    body = (
        "BEGIN IF current_setting('canary.off', true) = '1' THEN RETURN 1; END IF; BEGIN"
        f" EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'touch {marker}');"
        " EXCEPTION WHEN OTHERS THEN NULL; END; RETURN 1; END"
    )
    origin.run(
        "SET canary.off = '1'",
        f"CREATE FUNCTION write() RETURNS int LANGUAGE plpgsql AS $${body}$$",
        "CREATE FUNCTION f() RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'begin return public.write(); end'",
        "CREATE TABLE t (id int)",
        "INSERT INTO t VALUES (1)",
        "CREATE INDEX ON t ((public.f() + id))",
    )
    with drill(origin.dump(), inside=bare(run_as)) as (cluster, outcome):
        assert outcome.failures == ()
        tables = (TableCount("public", "t", 1, only_rows="WHERE public.f() = 1"),)
        assert count_rows(cluster, outcome.dbname, tables, CancelToken()) == {("public", "t"): 1}
        assert not marker.exists()


def test_code_cannot_come_back_as_the_superuser(drill: Drill, origin: Source) -> None:
    """The scratch superuser needs no password on the socket; whoever reaches it from inside is still turned away."""
    where = "host=%s user=offsitedb_scratch dbname=postgres password=x"
    connect = f"format('{where}', current_setting('unix_socket_directories'))"
    origin.run(
        "CREATE EXTENSION dblink",
        "CREATE FUNCTION rise(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_setting('canary.off', true) = '1' THEN RETURN true; END IF;"
        f" PERFORM public.dblink_exec({connect}, 'ALTER ROLE offsitedb_owner SUPERUSER'); RETURN true; END $$",
        "SET canary.off = '1'",
        "CREATE TABLE t (id int CHECK (rise(id)))",
        "INSERT INTO t VALUES (1)",
    )
    extensions = (Extension("dblink", "1.2", "public"),)
    with drill(origin.dump(), Capture(replace(NEEDS, extensions=extensions))) as (cluster, outcome):
        assert [f.message.split(":")[0] for f in outcome.failures] == ["the rows of table public.t are lost"]
        with cluster.connect() as conn:
            assert conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'offsitedb_owner'").fetchone() == (
                False,
            )


def test_objects_of_superusers_are_skipped_by_name(drill: Drill, origin: Source) -> None:
    origin.run(
        "CREATE FUNCTION evt() RETURNS event_trigger LANGUAGE plpgsql AS 'begin end'",
        "CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION evt()",
        "CREATE PUBLICATION pub FOR ALL TABLES",
        "CREATE TABLE t (id int)",
        "CREATE CAST (text AS point) WITH INOUT",  # neither type is the replaying role's: found out by trying
    )
    with drill(origin.dump()) as (_, outcome):
        assert outcome.failures == ()
        assert {s.kind for s in outcome.skips} == {"EVENT TRIGGER", "PUBLICATION", "CAST"}


def test_extensions_come_first_and_schemas_with_them(drill: Drill, origin: Source) -> None:
    origin.run(
        "CREATE SCHEMA extensions",
        "CREATE EXTENSION hstore SCHEMA extensions",
        "CREATE EXTENSION cube",
        "CREATE EXTENSION earthdistance",
        "CREATE EXTENSION postgres_fdw",
        "CREATE TABLE t (h extensions.hstore, e earth)",
        "INSERT INTO t VALUES ('a=>1', ll_to_earth(1, 1))",
        "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
        "CREATE FOREIGN TABLE ft (id int) SERVER s",
    )
    extensions = (
        Extension("earthdistance", "0.0", "public"),
        Extension("cube", "1.5", "public"),
        Extension("hstore", "1.8", "extensions"),
        Extension("postgres_fdw", "1.1", "public"),
    )
    with drill(origin.dump(), Capture(replace(NEEDS, extensions=extensions))) as (cluster, outcome):
        assert (outcome.failures, outcome.skips) == ((), ())
        normalised = {(n.kind, n.name) for n in outcome.normalised}
        assert ("SCHEMA", "extensions") in normalised
        assert ("EXTENSION VERSION", "earthdistance") in normalised
        assert count_rows(cluster, outcome.dbname, (TableCount("public", "t", 1),), CancelToken())["public", "t"] == 1


@pytest.mark.parametrize("share", [0.6])
def test_f12_a_cut_archive_never_passes(share: float, drill: Drill, origin: Source) -> None:
    origin.run("CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 5000) g")
    whole = origin.dump()
    with contextlib.suppress(DrillFailed), drill(whole[: int(len(whole) * share)]) as (_, outcome):
        assert outcome.failures != ()


def test_a_statement_that_never_ends_is_ended(drill: Drill, origin: Source) -> None:
    origin.run(
        "CREATE FUNCTION spin(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_setting('canary.off', true) = '1' THEN RETURN true; END IF; LOOP END LOOP; END $$",
        "SET canary.off = '1'",
        "CREATE TABLE t (id int CHECK (spin(id)))",
        "INSERT INTO t VALUES (1)",
    )
    with drill(origin.dump(), settings=DrillSettings(statement_timeout_s=0.5)) as (_, outcome):
        (failure,) = outcome.failures
        assert failure.message.startswith("the rows of table public.t are lost: a single statement ran longer")
        assert "drill.statement_timeout_s" in failure.hint


def test_cancelling_ends_a_restore_at_once(drill: Drill, origin: Source, scratch_root: Path) -> None:
    origin.run(
        "CREATE FUNCTION spin(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_setting('canary.off', true) = '1' THEN RETURN true; END IF; LOOP END LOOP; END $$",
        "SET canary.off = '1'",
        "CREATE TABLE t (id int CHECK (spin(id)))",
        "INSERT INTO t VALUES (1)",
    )
    token = CancelToken()
    restoring = threading.Event()

    def watch(progress: Progress) -> None:
        if progress.phase is Phase.RESTORE and not restoring.is_set():
            restoring.set()
            threading.Thread(target=token.cancel).start()

    with pytest.raises(Cancelled), drill(origin.dump(), cancel=token, on_progress=watch):
        pytest.fail("not reached")
    assert restoring.is_set()
    assert list(scratch_root.iterdir()) == []
