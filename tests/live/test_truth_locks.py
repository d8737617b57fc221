"""What happens to the source between our look at it and our locks: never a count that is not the dump's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from engine.model import Verdict
from engine.model.views import Attempt
from tests.fixtures.fire import Field, settings, working
from tests.fixtures.installation import wait_until
from tests.fixtures.source import as_role

ROWS = 5000
_WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'offsitedb/%' AND wait_event_type = 'Lock'"
    " AND datname = current_database()"
)


@pytest.fixture
def filled(field: Field) -> Field:
    field.sql(
        f"CREATE TABLE t AS SELECT n AS id, 'row ' || n AS note FROM generate_series(1, {ROWS}) n",
        "CREATE TABLE other AS SELECT 1 AS one",
    )
    return field


@contextmanager
def while_waiting(field: Field, *statements: str) -> Iterator[Future[Attempt]]:
    """A checkpoint that waits for the lock on ``t`` while the statements have run and are not committed yet.

    They are committed when the block begins; what the checkpoint came to is the future's result.
    """
    with (
        working(field),
        psycopg.connect(field.url) as conn,
        ThreadPoolExecutor(1) as pool,
    ):
        conn.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        for statement in statements:
            conn.execute(statement.encode())
        running = pool.submit(field.checkpoint)
        wait_until(lambda: running.done() or field.value(_WAITING) != 0, "the checkpoint to wait for the lock")
        conn.commit()
        yield running


def _tables(attempt: Attempt) -> dict[str, int | None]:
    assert attempt.drill is not None, attempt.job.error
    assert all(t.equal for t in attempt.drill.tables), attempt.drill.tables
    return {t.table: t.expected for t in attempt.drill.tables}


@pytest.mark.parametrize(
    ("statements", "rows"),
    [
        (["TRUNCATE t"], 0),
        (["TRUNCATE t", "INSERT INTO t SELECT n, 'new' FROM generate_series(1, 7) n"], 7),
        (["ALTER TABLE t ALTER COLUMN id TYPE bigint"], ROWS),
        (["ALTER TABLE t ADD COLUMN stamp timestamptz DEFAULT clock_timestamp()"], ROWS),
        (["DELETE FROM t WHERE id <= 10", "ALTER TABLE t DROP COLUMN note"], ROWS - 10),
        (["DROP TABLE t"], None),
        (["DROP TABLE t", "CREATE TABLE t AS SELECT 1 AS id"], 1),
        (["ALTER TABLE t RENAME TO u", "CREATE TABLE t (x int)"], 0),
    ],
    ids=lambda value: value[-1][:24] if isinstance(value, list) else "",
)
def test_what_was_committed_while_we_waited_is_what_is_captured(
    filled: Field, statements: list[str], rows: int | None
) -> None:
    filled.connect_through()
    with while_waiting(filled, *statements) as running:
        attempt = running.result(60)
    tables = _tables(attempt)
    assert tables.get("t") == rows
    assert tables["other"] == 1
    if "u" in " ".join(statements).split():
        assert tables["u"] == ROWS
    assert attempt.drill is not None
    assert attempt.drill.verdict is Verdict.PROVEN


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("REVOKE SELECT ON t FROM {role}", "table"),
        ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", "rows"),
        ("ALTER SCHEMA public RENAME TO elsewhere", None),
    ],
)
def test_rights_that_go_while_we_wait_are_planned_again(filled: Field, statement: str, kind: str | None) -> None:
    role = f"reader_{filled.canary[-8:]}"
    filled.sql(
        f"CREATE ROLE {role} LOGIN PASSWORD 'pw'",
        f"GRANT USAGE ON SCHEMA public TO {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
    )
    try:
        filled.connect_through(as_role(filled.url, role, "pw"))
        with while_waiting(filled, statement.format(role=role)) as running:
            attempt = running.result(60)
        assert _tables(attempt)["other"] == 1
        assert attempt.snapshot is not None
        left_out = {(n.kind, n.name) for n in attempt.snapshot.not_captured}
        if kind is None:
            assert _tables(attempt)["t"] == ROWS
        else:
            assert (kind, "public.t") in left_out
            assert "t" not in _tables(attempt)
    finally:
        filled.sql(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.mark.slow
def test_a_truncate_that_never_pauses_is_never_a_false_proof(filled: Field) -> None:
    """Each transaction leaves 100 rows: whoever sees another number sees a table that nobody ever saw."""
    filled.sql("TRUNCATE t", "INSERT INTO t SELECT n, 'x' FROM generate_series(1, 100) n")
    filled.connect_through()
    over = threading.Event()

    def hammer() -> None:
        with psycopg.connect(filled.url) as conn:
            while not over.wait(0.05):  # between two deployments of this madness a busy application also reads
                conn.execute("TRUNCATE t")
                conn.execute("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 100) n")
                conn.commit()

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        with working(filled):
            attempts = [filled.checkpoint() for _ in range(2)]
    finally:
        over.set()
        thread.join()
    for attempt in attempts:
        if attempt.job.error is not None:
            assert attempt.job.error.code == "pg.schema-changing", attempt.job.error
            assert attempt.snapshot is None
        else:
            assert _tables(attempt)["t"] == 100
    filled.assert_clean()


def test_a_lock_that_cannot_be_had_names_who_holds_it(filled: Field) -> None:
    filled.connect_through()
    settings(filled.place, "[snapshot]\nlock_timeout_s = 1\n")
    with filled.place.engine() as engine, psycopg.connect(filled.url, application_name="migration-42") as conn:
        fresh = Field(filled.place, engine, filled.url, filled.canary)
        conn.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with working(fresh):
            attempt = fresh.checkpoint()
        assert attempt.snapshot is None
        assert attempt.job.error is not None
        assert attempt.job.error.code == "pg.lock-timeout"
        for part in (str(conn.info.backend_pid), "migration-42", "public.t", "LOCK TABLE t"):
            assert part in attempt.job.error.message
        fresh.assert_clean()


@pytest.mark.slow
def test_timeouts_of_the_role_do_not_end_the_exporter(filled: Field) -> None:
    """Half a second of everything, and a dump that takes longer (F8)."""
    role = f"hasty_{filled.canary[-8:]}"
    filled.sql(
        "CREATE TABLE slow (id int, c text)",
        "INSERT INTO slow SELECT n, repeat(md5(n::text), 200) FROM generate_series(1, 40000) n",
        f"CREATE ROLE {role} LOGIN PASSWORD 'pw'",
        f"GRANT pg_read_all_data TO {role}",
        f"ALTER ROLE {role} SET statement_timeout = '300ms'",
        f"ALTER ROLE {role} SET idle_in_transaction_session_timeout = '300ms'",
        f"ALTER ROLE {role} SET lock_timeout = '200ms'",
        f"ALTER ROLE {role} SET default_transaction_isolation = 'serializable'",
    )
    try:
        filled.connect_through(as_role(filled.url, role, "pw"))
        with working(filled):
            attempt = filled.checkpoint()
        assert _tables(attempt) == {"t": ROWS, "other": 1, "slow": 40000}
        log = " ".join(text for _, _, text in filled.engine.jobs.log(attempt.job.id))
        assert "starting over" not in log
    finally:
        filled.sql(f"DROP OWNED BY {role}", f"DROP ROLE {role}")
