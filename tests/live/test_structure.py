"""What a drill compares besides row counts, on real servers: no false difference, and every real one by name."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import update

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.catalog.schema import snapshots as snapshots_table
from engine.codec import to_json
from engine.model import SnapshotDetails, Verdict
from engine.model.views import Attempt, DrillView
from engine.paths import Paths
from engine.postgres import install, restoredcopy, structure
from engine.service import Engine
from engine.structural import BEFORE, not_compared
from offsitedb_tui.demo.source import Admin, postgres_server
from screens.phrase import Tone
from screens.present_compared import structure_line
from tests.fixtures.binaries import PLACE
from tests.fixtures.fire import Field, working
from tests.fixtures.installation import Place
from tests.fixtures.source import as_role

SQL = (Path(__file__).parents[1] / "fixtures" / "structured.sql").read_text()
LATER = """
CREATE TABLE s.not_yet (a int);
ALTER TABLE s.not_yet ADD CONSTRAINT a_there NOT NULL a NOT VALID;
ALTER TABLE s.t ADD virtual numeric GENERATED ALWAYS AS (n * 3) VIRTUAL;
ALTER TABLE s.child ADD CONSTRAINT loose CHECK (c < 9) NOT ENFORCED;
"""
"""What only 18 has."""


def details_of(engine: Engine, attempt: Attempt) -> SnapshotDetails:
    assert attempt.snapshot is not None, attempt.job.error
    with engine.catalog.read() as tx:
        return catalogs.snapshots.get(tx, attempt.snapshot.id).details


def rewrite(engine: Engine, attempt: Attempt, details: SnapshotDetails) -> None:
    """Have the catalog expect something else of this artifact."""
    assert attempt.snapshot is not None
    with engine.catalog.write() as tx:
        changed = update(snapshots_table).where(snapshots_table.c.id == attempt.snapshot.id)
        tx.change(changed.values(details=to_json(details)))


def drilled(engine: Engine, which: str = "shop@latest") -> DrillView:
    job_id = engine.jobs.drill(which).id
    engine.worker.run(job_id)
    drill = engine.ledger.of_job(job_id).drill
    assert drill is not None
    return drill


def assert_equal_in_all(attempt: Attempt, details: SnapshotDetails) -> None:
    drill = attempt.drill
    assert drill is not None, attempt.job.error
    assert drill.verdict is Verdict.PROVEN, (drill.failures, drill.skips)
    assert drill.structure is not None
    kinds = {c.kind: c.expected for c in drill.structure.counts}
    assert all(c.equal == c.expected for c in drill.structure.counts)
    wanted = {"table": 14, "index": 19, "constraint": 22, "trigger": 5, "policy": 2, "partition": 6, "column": 82}
    assert {k: v for k, v in kinds.items() if k in wanted and v >= wanted[k]}.keys() == wanted.keys(), kinds
    assert kinds["function"] == 7
    assert details.structure is not None
    stood = {s.name: (s.last_value, s.owner_max) for s in details.structure.sequences}
    assert stood["s.t_id_seq"] == (500, 500)
    assert (stood["s.fresh"], stood["s.down"]) == ((None, None), (-2, -2))
    assert "s.ring" not in stood, "one that cycles may stand anywhere"


@pytest.mark.slow
def test_every_kind_of_object_is_found_equal(field: Field) -> None:
    field.sql(SQL)
    field.connect_through()
    field.engine.connections.set_fingerprint("shop", wanted=True)
    with working(field) as engine:
        taken = field.checkpoint()
        assert_equal_in_all(taken, details_of(engine, taken))
    field.assert_clean()


@pytest.mark.slow
@pytest.mark.parametrize("major", [14, 18])
def test_every_kind_of_object_is_found_equal_on(
    major: int, place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    toolset = install.install(
        major, Paths(home=PLACE.parent, runtime=PLACE.parent), cancel=CancelToken(), say=lambda _: None
    )
    target = place.root / "runtime" / "postgres"
    target.mkdir(parents=True, exist_ok=True)
    if not (target / str(major)).exists():
        (target / str(major)).symlink_to(PLACE / str(major))
    root = place.root / "source"
    with postgres_server(toolset, root, keep=False, cancel=CancelToken()) as admin:
        with psycopg.connect(admin.url(), autocommit=True) as conn:
            conn.execute("CREATE DATABASE structured TEMPLATE template0")
        with psycopg.connect(admin.url("structured"), autocommit=True) as conn:
            conn.execute(SQL.encode())
            if major >= 18:
                conn.execute(LATER.encode())
        with place.engine() as engine:
            engine.connections.add("shop", "here", admin.url("structured"))
            engine.connections.set_fingerprint("shop", wanted=True)
            engine.worker.start(1)
            job = engine.jobs.checkpoint("shop")
            engine.worker.run(job.id)
            engine.worker.stop()
            attempt = engine.ledger.of_job(job.id)
            assert_equal_in_all(attempt, details_of(engine, attempt))
            if major >= 18:
                assert attempt.drill is not None
                assert attempt.drill.structure is not None
                assert any(c.kind == "not null" for c in attempt.drill.structure.counts)


@pytest.mark.slow
def test_an_altered_archive_is_failed_naming_each_thing(field: Field) -> None:
    """The second archive is of an altered database, under the details that were captured of the first."""
    field.sql(SQL)
    field.connect_through()
    field.engine.connections.set_fingerprint("shop", wanted=True)
    with working(field) as engine:
        true = details_of(engine, field.checkpoint())
        field.sql(
            "UPDATE s.t SET x = 'changed' WHERE id = 250",
            "DROP INDEX s.partial",
            "ALTER TABLE s.ident DROP CONSTRAINT ident_t_fkey,"
            " ADD CONSTRAINT ident_t_fkey FOREIGN KEY (t) REFERENCES s.t ON DELETE CASCADE NOT VALID",
            "SELECT setval('s.t_id_seq', 499)",
            "DROP TRIGGER touch ON s.t",
            "ALTER TABLE s.t ENABLE TRIGGER asleep",
            "DROP POLICY all_of ON s.t",
            "ALTER TABLE s.mother ALTER a TYPE bigint",
            "ALTER TABLE ONLY s.part ALTER n SET DEFAULT 9",
            "CREATE OR REPLACE FUNCTION s.twice(int) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 7"
            " AS 'SELECT $1 * 3'",
            'DROP FUNCTION s."na me(x"(int)',
            "DROP VIEW s.u",
            "ALTER TYPE s.mood ADD VALUE 'new'",
            "REFRESH MATERIALIZED VIEW s.mv WITH NO DATA",
        )
        second = field.checkpoint()
        assert second.drill is not None
        assert second.drill.verdict is Verdict.PROVEN, second.drill.failures
        now = details_of(engine, second)
        rewrite(engine, second, replace(now, tables=true.tables, structure=true.structure))
        drill = drilled(engine)
    assert drill.verdict is Verdict.FAILED
    assert {f.code for f in drill.failures} == {"drill.structure", "drill.content"}
    assert drill.structure is not None
    named = {(d.kind, d.name): d.restored for d in drill.structure.differences}
    assert set(named) == {
        ("index", "partial ON s.t"),
        ("constraint", "ident_t_fkey ON s.ident"),
        ("sequence value", "s.t_id_seq"),
        ("trigger", "touch ON s.t"),
        ("trigger", "asleep ON s.t"),
        ("policy", "all_of ON s.t"),
        ("column", "s.mother.a"),
        ("column", "s.child.a"),
        ("column", "s.part.n"),
        ("function", "s.twice(integer)"),
        ("function", 's."na me(x"(integer)'),
        ("view", "s.u"),
        ("type", "s.mood"),
        ("materialized view", "s.mv"),
    }
    assert named["index", "partial ON s.t"] == ""
    assert named["constraint", "ident_t_fkey ON s.ident"].endswith(" NOT VALID")
    assert named["sequence value", "s.t_id_seq"] == "499"
    said = [f.message for f in drill.failures]
    for name in (
        "partial ON s.t is missing",
        "ident_t_fkey ON s.ident",
        "s.t_id_seq: captured as 500, restored as 499",
    ):
        assert any(name in line for line in said), said
    assert [f.message.split(":")[0] for f in drill.failures if f.code == "drill.content"] == ["s.t"]


@pytest.mark.slow
def test_a_missing_table_is_named_once_and_an_old_snapshot_is_not_compared(field: Field) -> None:
    field.sql("CREATE TABLE a (id serial PRIMARY KEY, b int UNIQUE)", "CREATE TABLE kept AS SELECT 1 AS n")
    field.connect_through()
    with working(field) as engine:
        true = details_of(engine, field.checkpoint())
        field.sql("DROP TABLE a")
        second = field.checkpoint()
        now = details_of(engine, second)
        rewrite(engine, second, replace(now, structure=true.structure))
        drill = drilled(engine)
        assert drill.verdict is Verdict.FAILED
        assert drill.structure is not None
        assert {(d.kind, d.name) for d in drill.structure.differences} == {
            ("table", "public.a"),
            ("sequence", "public.a_id_seq"),
        }
        rewrite(engine, second, replace(now, structure=None))
        drill = drilled(engine)
        assert (drill.verdict, drill.structure) == (Verdict.PROVEN, not_compared(BEFORE))


@pytest.mark.slow
def test_what_a_role_cannot_read_is_not_expected(place: Place, awkward: str) -> None:
    """Excluded tables take along what hangs on them; what cannot be restored without them is excused by name."""
    with place.engine() as engine:
        engine.connections.add("shop", "here", awkward)
        engine.connections.set_fingerprint("shop", wanted=True)
        engine.worker.start(1)
        job = engine.jobs.checkpoint("shop")
        engine.worker.run(job.id)
        engine.worker.stop()
        drill = engine.ledger.of_job(job.id).drill
    assert drill is not None
    assert drill.structure is not None
    # the table of an extension that no drill host has; everything else is there
    assert all("public.settings" in f.message for f in drill.failures), drill.failures
    assert "drill.structure" not in {f.code for f in drill.failures}
    assert drill.structure.differences == ()
    assert any(c.excused for c in drill.structure.counts)


@pytest.mark.slow
def test_what_could_not_be_read_at_the_source_is_a_skip_that_says_why(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"r_{secrets.token_hex(4)}"
    field.sql(
        "CREATE TABLE a AS SELECT 1 AS n",
        f"CREATE ROLE {role} LOGIN PASSWORD 'pw'",
        f"GRANT SELECT ON a TO {role}",
        "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_get_statisticsobjdef(oid) FROM PUBLIC",
    )
    field.connect_through(as_role(field.url, role, "pw"))
    try:
        with working(field):
            refused = field.checkpoint()
            field.sql("GRANT EXECUTE ON FUNCTION pg_catalog.pg_get_statisticsobjdef(oid) TO PUBLIC")
            monkeypatch.setattr(structure, "_MOST_BYTES", 10)
            large = field.checkpoint()
            monkeypatch.undo()
    finally:
        field.sql("DROP OWNED BY " + role, "DROP ROLE " + role)
    for attempt, why in (
        (refused, "it could not be read at the source: permission denied for function pg_get_statisticsobjdef"),
        (large, "the source has 3 objects: more than are kept for a comparison"),
    ):
        drill = attempt.drill
        assert drill is not None
        assert drill.verdict is Verdict.PROVEN_WITH_SKIPS
        assert drill.failures == ()
        assert drill.structure == not_compared(why)
        assert [(s.kind, s.reason) for s in drill.skips] == [("structure", why)]
        assert structure_line(drill) == (f"not compared: {why}", Tone.WARN)


@pytest.mark.slow
def test_a_copy_that_cannot_be_read_says_why(database: str) -> None:
    """A server that gives up after a millisecond."""
    with psycopg.connect(database, autocommit=True) as conn:
        there = restoredcopy._read(conn, 0.001)
        assert there.objects == ()
        assert there.unread == "it could not be read in the restored copy: canceling statement due to statement timeout"


@pytest.mark.slow
def test_a_definition_that_is_no_text_is_compared_all_the_same(place: Place, server: Admin) -> None:
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'".encode())
        try:
            with psycopg.connect(server.url(name), autocommit=True) as conn:
                conn.execute(b"CREATE TABLE t (id serial, a text DEFAULT E'\\351' CHECK (a <> E'\\351'))")
            with place.engine() as engine:
                field = Field(place, engine, server.url(name), "no-such-text-anywhere")
                field.connect_through()
                with working(field):
                    attempt = field.checkpoint()
                    taken = details_of(engine, attempt).structure
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    assert attempt.drill is not None
    assert attempt.drill.verdict is Verdict.PROVEN, (attempt.drill.failures, attempt.drill.skips)
    assert taken is not None
    assert any("<> '\\xe9'" in o.facts for o in taken.objects if o.kind == "constraint")
    assert [s.name for s in taken.sequences] == ["public.t_id_seq"]
