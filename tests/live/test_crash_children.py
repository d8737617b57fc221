"""The programs of a job killed one by one, its sessions ended by an administrator, cancels: a clear end each time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import psycopg
import pytest

from engine import catalog as catalogs
from engine.model import JobState, Verdict
from engine.model.views import Attempt
from tests.fixtures.fire import Field, Process, descendants, fill, settings, throttled, wait_descendant, wait_gone
from tests.fixtures.installation import running_worker, unhurried, wait_until

SLOW = 400_000.0
_OURS = "application_name LIKE 'offsitedb/%' AND datname = current_database()"
_EXPORTER = f"SELECT pid FROM pg_stat_activity WHERE {_OURS} AND state = 'idle in transaction'"
_DUMPER = f"SELECT pid FROM pg_stat_activity WHERE {_OURS} AND query LIKE 'COPY %%'"


@contextmanager
def dumping(field: Field) -> Iterator[tuple[str, int, Callable[[], None]]]:
    """A job in the middle of its dump: its id, the worker's pid, and what lets the network run free."""
    fill(field)
    with throttled(field, SLOW) as proxy, running_worker(field.place) as worker:
        job_id = field.ask()
        field.wait_phase(job_id, "dump")
        yield job_id, worker.pid, lambda: proxy.slow(None)


@contextmanager
def restoring(field: Field) -> Iterator[tuple[str, int]]:
    """A job in the middle of its restore: its id and the worker's pid."""
    fill(field, rows=10, slow_rows=500)
    field.connect_through()
    with running_worker(field.place) as worker:
        job_id = field.ask()
        wait_descendant(worker.pid, "pg_restore")
        field.wait_phase(job_id, "restore")
        yield job_id, worker.pid


@pytest.mark.slow
def test_pg_dump_killed(field: Field) -> None:
    with dumping(field) as (job_id, worker, _):
        os.kill(wait_descendant(worker, "pg_dump").pid, signal.SIGKILL)
        attempt = field.wait_end(job_id)
        field.assert_clean()
    assert attempt.snapshot is None
    assert attempt.job.error is not None
    assert attempt.job.error.code == "pg.dump-failed"
    assert "signal 9" in attempt.job.error.message


@pytest.mark.slow
@pytest.mark.parametrize("whose", [_EXPORTER, _DUMPER], ids=["exporter", "pg_dump"])
def test_a_session_ended_by_an_administrator_is_never_a_wrong_count(field: Field, whose: str) -> None:
    with dumping(field) as (job_id, _, run_free):
        wait_until(lambda: field.value(whose) is not None, "the session to be seen")
        assert field.value(f"SELECT pg_terminate_backend(({whose} LIMIT 1))") is True
        run_free()
        attempt = field.wait_end(job_id)
        field.assert_clean()
        log = " ".join(text for _, _, text in field.engine.jobs.log(job_id))
    assert "starting over" in log, (attempt.job.error, log)
    assert attempt.drill is not None, attempt.job.error
    assert attempt.drill.verdict is Verdict.PROVEN
    assert {t.table: t.restored for t in attempt.drill.tables} == {"noise": 3000, "slow": 0}
    assert len(field.engine.ledger.entries()) == 1


@pytest.mark.slow
def test_pg_restore_killed_once_is_made_good_by_a_whole_second_pass(field: Field) -> None:
    with restoring(field) as (job_id, worker):
        os.kill(wait_descendant(worker, "pg_restore").pid, signal.SIGKILL)
        attempt = field.wait_end(job_id)
        field.assert_clean()
    assert attempt.drill is not None
    assert {t.table: t.restored for t in attempt.drill.tables} == {"noise": 10, "slow": 500}
    assert attempt.drill.verdict is Verdict.PROVEN


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["pg_restore", "postgres"])
def test_a_program_of_the_drill_killed_for_good(field: Field, victim: str) -> None:
    with restoring(field) as (job_id, worker):

        def killed() -> bool:
            for process in descendants(worker):
                if process.name == victim and process.alive:
                    with suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
            return field.job(job_id).state.ended

        wait_until(killed, "the job to end")
        attempt = field.wait_end(job_id)
        field.assert_clean()
    assert attempt.snapshot is not None, "the snapshot stays"
    assert attempt.drill is not None
    assert attempt.drill.verdict is Verdict.COULD_NOT_VERIFY, "nothing was said about the snapshot"
    assert attempt.job.error is not None
    assert attempt.job.error.exit_status == 71


def _took(field: Field, job_id: str, family: list[Process]) -> Attempt:
    """Cancel the job; it must end within 2 s, with everything that it started."""
    field.engine.jobs.cancel(job_id)
    attempt = field.wait_end(job_id, 10)
    with field.engine.catalog.read() as tx:
        job = catalogs.jobs.get(tx, job_id)
    assert job.finished_at is not None
    assert job.cancel_requested_at is not None
    took = job.finished_at - job.cancel_requested_at
    assert took < timedelta(seconds=unhurried(2)), took
    wait_gone(family, 2)
    field.assert_clean()
    assert attempt.job.state is JobState.CANCELLED
    assert attempt.job.error is None or attempt.job.error.exit_status == 130
    return attempt


@pytest.mark.slow
def test_cancel_during_a_dump(field: Field) -> None:
    with dumping(field) as (job_id, worker, _):
        attempt = _took(field, job_id, descendants(worker))
        wait_until(
            lambda: field.value(f"SELECT count(*) FROM pg_stat_activity WHERE {_OURS}") == 0, "our sessions to end"
        )
    assert attempt.snapshot is None


@pytest.mark.slow
def test_cancel_during_a_restore(field: Field) -> None:
    with restoring(field) as (job_id, worker):
        attempt = _took(field, job_id, descendants(worker))
    assert attempt.snapshot is not None
    assert attempt.drill is None


def test_cancel_while_waiting_for_a_lock(field: Field) -> None:
    fill(field, rows=10)
    field.connect_through()
    with psycopg.connect(field.url) as conn, running_worker(field.place):
        conn.execute("LOCK TABLE noise IN ACCESS EXCLUSIVE MODE")
        job_id = field.ask()
        waiting = f"SELECT count(*) FROM pg_stat_activity WHERE {_OURS} AND wait_event_type = 'Lock'"
        wait_until(lambda: field.value(waiting) == 1, "the job to wait for the lock")
        _took(field, job_id, [])


@pytest.mark.slow
def test_a_dump_that_stalls_is_ended(field: Field) -> None:
    """pg_dump stopped in mid-sentence: no byte for 10 s ends the job, and the locks go with it."""
    settings(field.place, "[snapshot]\nstall_timeout_s = 10\n")
    with dumping(field) as (job_id, worker, _):
        os.kill(wait_descendant(worker, "pg_dump").pid, signal.SIGSTOP)
        attempt = field.wait_end(job_id, 40)
        field.assert_clean()
    assert attempt.job.error is not None
    assert attempt.job.error.code == "job.stalled"
    assert attempt.snapshot is None
