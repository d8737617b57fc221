"""kill -9 of the real worker process at the worst moments: the next worker settles the job, and nothing is left."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from engine.model import JobState, Verdict
from engine.model.views import Attempt
from tests.fixtures.fire import Field, descendants, fill, settings, throttled, wait_descendant, wait_gone
from tests.fixtures.installation import running_worker, wait_until

SLOW = 400_000.0
"""Bytes a second: the dump of 3 MB takes 8 s."""


@pytest.fixture
def armed(field: Field) -> Field:
    """Leases of 3 s, so that nobody has to wait; a worker that is killed is noticed by its lock anyway."""
    settings(field.place, "[worker]\nlease_s = 3\ngrace_s = 1\n")
    return field


def kill(worker: subprocess.Popen[bytes]) -> None:
    """kill -9, and wait until nothing of the worker's family lives: nobody but the kernel ends them."""
    family = descendants(worker.pid)
    assert family, "the worker had no children: killed at the wrong moment"
    worker.kill()
    worker.wait()
    wait_gone(family)


@contextmanager
def holding_catalog(field: Field) -> Iterator[None]:
    """Nobody else can write to the catalog in the block."""
    with closing(sqlite3.connect(field.place.home / "catalog.sqlite3", isolation_level=None)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        yield
        conn.execute("ROLLBACK")


def settled(field: Field, job_id: str) -> Attempt:
    """What the next worker makes of the job."""
    with running_worker(field.place):
        attempt = field.wait_end(job_id)
        field.assert_clean()
    field.assert_clean()
    return attempt


def assert_proven_again(attempt: Attempt) -> None:
    assert attempt.job.error is None, attempt.job.error
    assert attempt.job.attempt == 2
    assert attempt.drill is not None
    assert attempt.drill.verdict is Verdict.PROVEN


@pytest.mark.slow
def test_killed_in_the_middle_of_a_dump(armed: Field) -> None:
    fill(armed)
    with throttled(armed, SLOW) as proxy:
        with running_worker(armed.place) as worker:
            job_id = armed.ask()
            armed.wait_phase(job_id, "dump")
            assert list(armed.place.destination.rglob(".partial-*"))
            kill(worker)
        assert armed.job(job_id).state is JobState.RUNNING
        proxy.slow(None)
        assert_proven_again(settled(armed, job_id))


@pytest.mark.slow
def test_killed_between_the_artifact_and_its_registration(armed: Field) -> None:
    fill(armed)
    with throttled(armed, 1_500_000.0), running_worker(armed.place) as worker:
        job_id = armed.ask()
        armed.wait_phase(job_id, "dump")
        with holding_catalog(armed):
            wait_until(lambda: bool(list(armed.place.destination.rglob("*.manifest.json"))), "the manifest")
            worker.kill()
            worker.wait()
        assert armed.job(job_id).snapshot_id is None
        assert len(list(armed.place.destination.rglob("*.odb"))) == 1
        assert_proven_again(settled(armed, job_id))
    assert len(list(armed.place.destination.rglob("*.odb"))) == 1


@pytest.mark.slow
def test_killed_in_the_middle_of_a_restore(armed: Field) -> None:
    fill(armed, rows=10, slow_rows=400)
    armed.connect_through()
    with running_worker(armed.place) as worker:
        job_id = armed.ask()
        wait_descendant(worker.pid, "pg_restore")
        armed.wait_phase(job_id, "restore")
        assert list(armed.place.scratch.glob("*"))
        kill(worker)
    first = armed.job(job_id).snapshot_id
    assert first is not None
    attempt = settled(armed, job_id)
    assert_proven_again(attempt)
    assert attempt.snapshot is not None
    assert attempt.snapshot.id == first, "the drill is done again, not the snapshot"


@pytest.mark.slow
def test_three_workers_that_die_over_a_job_end_it(armed: Field) -> None:
    fill(armed)
    with throttled(armed, SLOW):
        job_id = armed.ask()
        for _ in range(3):
            with running_worker(armed.place) as worker:
                wait_descendant(worker.pid, "pg_dump")
                armed.wait_phase(job_id, "dump")
                kill(worker)
        with running_worker(armed.place):
            attempt = armed.wait_end(job_id)
            armed.assert_clean()
    assert attempt.job.state is JobState.FAILED
    assert attempt.job.error is not None
    assert attempt.job.error.code == "job.worker-lost"
    assert attempt.snapshot is None


@pytest.mark.slow
def test_a_stopped_worker_puts_its_job_back(armed: Field) -> None:
    fill(armed)
    with throttled(armed, SLOW) as proxy:
        with running_worker(armed.place) as worker:
            job_id = armed.ask()
            armed.wait_phase(job_id, "dump")
            worker.terminate()
            worker.wait(10)
        assert armed.job(job_id).state is JobState.QUEUED
        armed.assert_clean()
        proxy.slow(None)
        attempt = settled(armed, job_id)
    assert attempt.drill is not None
    assert attempt.drill.verdict is Verdict.PROVEN


@pytest.mark.slow
def test_a_worker_that_was_paused_beyond_its_lease_is_fenced(armed: Field) -> None:
    """It comes back in the middle of its dump, finds its job in other hands, and registers nothing."""
    fill(armed)
    with throttled(armed, SLOW) as proxy, running_worker(armed.place) as paused:
        job_id = armed.ask()
        armed.wait_phase(job_id, "dump")
        os.kill(paused.pid, signal.SIGSTOP)
        try:
            proxy.slow(None)
            with running_worker(armed.place):
                attempt = armed.wait_end(job_id)
        finally:
            os.kill(paused.pid, signal.SIGCONT)
        assert_proven_again(attempt)
        wait_until(lambda: not descendants(paused.pid), "the paused worker to give up")
        armed.assert_clean()
        assert armed.engine.ledger.of_job(job_id) == attempt
        assert len(armed.engine.ledger.entries()) == 1


@pytest.mark.slow
def test_two_workers_run_each_job_once(armed: Field) -> None:
    fill(armed, rows=200)
    armed.connect_through()
    with running_worker(armed.place), running_worker(armed.place):
        jobs = [armed.ask() for _ in range(4)]
        attempts = [armed.wait_end(job) for job in jobs]
    assert [a.job.attempt for a in attempts] == [1] * 4
    assert len({a.snapshot.id for a in attempts if a.snapshot}) == 4
    assert all(a.drill is not None and a.drill.verdict is Verdict.PROVEN for a in attempts)
    armed.assert_clean()
