"""Jobs: claims, leases, fences, cancels and crashes, on both dialects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from engine import catalog as catalogs
from engine.catalog import Catalog, Tx, jobs
from engine.errors import CatalogError, ConfigError, Internal
from engine.model import Job, JobError, JobKind, JobProgress, JobState
from tests.fixtures.records import NOW, drill, job, snapshot

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.catalogs")

LEASE_S = 30.0
LATER = NOW + timedelta(seconds=31)
ERROR = JobError("pg.auth", "the server refused the password", "Check it.", 20)
PROGRESS = JobProgress("dump", 10, None, "bytes", "", 5.5, NOW)


def _running(catalog: Catalog, id_: str = "j1", kind: JobKind = JobKind.CHECKPOINT) -> Job:
    with catalog.write() as tx:
        jobs.create(tx, job(id_, kind=kind))
        claimed = jobs.claim(tx, id_, "w1", NOW, LEASE_S)
    assert claimed is not None
    return claimed


def _get(catalog: Catalog, id_: str = "j1") -> Job:
    with catalog.read() as tx:
        return jobs.get(tx, id_)


def test_what_is_created_is_read_back(filled: Catalog) -> None:
    with filled.write() as tx:
        jobs.create(tx, job("j1"))
        jobs.create(tx, job("j2", "c2", JobKind.DRILL, at=LATER))
        assert jobs.get(tx, "j1") == job("j1")
        assert [j.id for j in jobs.queued(tx)] == ["j1", "j2"]
        assert [j.id for j in jobs.list_recent(tx, limit=9)] == ["j2", "j1"]
        assert [j.id for j in jobs.list_recent(tx, limit=1)] == ["j2"]
        assert [j.id for j in jobs.list_recent(tx, connection_id="c1", limit=9)] == ["j1"]
        assert jobs.list_recent(tx, states=(JobState.RUNNING,), limit=9) == []
        assert [j.id for j in jobs.find(tx, "j")] == ["j2", "j1"]
        assert jobs.find(tx, "_1") == []
        with pytest.raises(ConfigError):
            jobs.get(tx, "j9")


def test_a_claim_takes_the_job_once(filled: Catalog) -> None:
    claimed = _running(filled)
    assert claimed == replace(
        job("j1"),
        state=JobState.RUNNING,
        attempt=1,
        fence=1,
        worker_id="w1",
        lease_until=NOW + timedelta(seconds=LEASE_S),
        started_at=NOW,
    )
    with filled.write() as tx:
        assert jobs.claim(tx, "j1", "w2", NOW, LEASE_S) is None
        assert jobs.claim(tx, "unknown", "w2", NOW, LEASE_S) is None


def test_one_checkpoint_of_a_connection_runs_at_a_time(filled: Catalog) -> None:
    first = _running(filled)
    with filled.write() as tx:
        jobs.create(tx, job("j2"))
        jobs.create(tx, job("drill", kind=JobKind.DRILL))
        jobs.create(tx, job("other", "c2"))
        assert jobs.claim(tx, "j2", "w2", NOW, LEASE_S) is None
        assert jobs.claim(tx, "drill", "w2", NOW, LEASE_S) is not None
        assert jobs.claim(tx, "other", "w2", NOW, LEASE_S) is not None
        jobs.settle(tx, "j1", first.fence, JobState.SUCCEEDED, now=NOW)
        assert jobs.claim(tx, "j2", "w2", NOW, LEASE_S) is not None


def test_the_index_refuses_a_second_running_checkpoint(filled: Catalog) -> None:
    _running(filled)
    with pytest.raises(Internal), filled.write() as tx:
        jobs.create(tx, replace(job("j2"), state=JobState.RUNNING))
    with filled.write() as tx:
        jobs.create(tx, replace(job("j3", kind=JobKind.DRILL), state=JobState.RUNNING))
        jobs.create(tx, replace(job("j4", "c2"), state=JobState.RUNNING))


def test_a_job_from_claim_to_end(filled: Catalog) -> None:
    fence = _running(filled).fence
    with filled.write() as tx:
        renewed = jobs.renew(tx, "j1", fence, LATER, LEASE_S)
        assert renewed.lease_until == LATER + timedelta(seconds=LEASE_S)
        assert renewed.cancel_requested_at is None
        jobs.note_object(tx, "j1", fence, "v1/c1/1-x.odb")
        jobs.report(tx, "j1", fence, PROGRESS)
    seen = _get(filled)
    assert (seen.object_key, seen.progress) == ("v1/c1/1-x.odb", PROGRESS)
    with filled.write() as tx:
        jobs.note_snapshot(tx, "j1", fence, "a" * 32)  # before the row itself: the commit wants both
        catalogs.snapshots.add(tx, snapshot("a" * 32))
        jobs.note_object(tx, "j1", fence, None)
        catalogs.drills.add(tx, drill("d1", "a" * 32))
        jobs.settle(tx, "j1", fence, JobState.SUCCEEDED, drill_id="d1", now=LATER)
    ended = _get(filled)
    assert (ended.state, ended.snapshot_id, ended.drill_id) == (JobState.SUCCEEDED, "a" * 32, "d1")
    assert (ended.finished_at, ended.lease_until, ended.object_key) == (LATER, None, None)


def test_a_job_cannot_name_a_snapshot_that_is_not_there(filled: Catalog) -> None:
    fence = _running(filled).fence
    with pytest.raises(Internal), filled.write() as tx:
        jobs.note_snapshot(tx, "j1", fence, "a" * 32)
    assert _get(filled).snapshot_id is None


def test_a_failed_job_keeps_its_error(filled: Catalog) -> None:
    fence = _running(filled).fence
    with filled.write() as tx:
        jobs.settle(tx, "j1", fence, JobState.FAILED, error=ERROR, now=LATER)
    assert (_get(filled).state, _get(filled).error) == (JobState.FAILED, ERROR)


def test_a_blocked_job_runs_again(filled: Catalog) -> None:
    fence = _running(filled).fence
    with filled.write() as tx:
        jobs.settle(tx, "j1", fence, JobState.BLOCKED, error=ERROR, now=LATER)
        blocked = jobs.get(tx, "j1")
        assert (blocked.state, blocked.finished_at, blocked.error) == (JobState.BLOCKED, None, ERROR)
        again = jobs.claim(tx, "j1", "w2", LATER, LEASE_S)
    assert again is not None
    assert (again.attempt, again.fence, again.error) == (2, 2, None)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
def test_an_attempt_does_not_end_as(filled: Catalog, state: JobState) -> None:
    fence = _running(filled).fence
    with filled.write() as tx, pytest.raises(Internal):
        jobs.settle(tx, "j1", fence, state, now=NOW)


_WRITES: dict[str, Callable[[Tx, int], object]] = {
    "renew": lambda tx, fence: jobs.renew(tx, "j1", fence, NOW, LEASE_S),
    "note_object": lambda tx, fence: jobs.note_object(tx, "j1", fence, "k"),
    "note_snapshot": lambda tx, fence: jobs.note_snapshot(tx, "j1", fence, "s"),
    "report": lambda tx, fence: jobs.report(tx, "j1", fence, PROGRESS),
    "settle": lambda tx, fence: jobs.settle(tx, "j1", fence, JobState.SUCCEEDED, now=NOW),
    "requeue": lambda tx, fence: jobs.requeue(tx, "j1", fence, NOW),
}


@pytest.mark.parametrize("write", _WRITES)
def test_a_worker_that_lost_its_lease_writes_nothing(filled: Catalog, write: str) -> None:
    old = _running(filled).fence
    with filled.write() as tx:
        [expired] = jobs.expire(tx, LATER)
        assert expired.fence == old + 1
    for _ in range(2):  # while it is queued, and while another worker has it
        before = _get(filled)
        with filled.write() as tx, pytest.raises(CatalogError) as caught:
            _WRITES[write](tx, old)
        assert caught.value.code == "catalog.fenced"
        assert _get(filled) == before
        with filled.write() as tx:
            jobs.claim(tx, "j1", "w2", LATER, LEASE_S)


@pytest.mark.parametrize("write", _WRITES)
def test_nothing_is_written_to_a_job_that_ended(filled: Catalog, write: str) -> None:
    fence = _running(filled).fence
    with filled.write() as tx:
        jobs.settle(tx, "j1", fence, JobState.CANCELLED, now=NOW)
        with pytest.raises(CatalogError):
            _WRITES[write](tx, fence)


def test_a_lease_that_lasts_does_not_expire(filled: Catalog) -> None:
    _running(filled)
    with filled.write() as tx:
        assert jobs.expire(tx, NOW + timedelta(seconds=LEASE_S) - timedelta(microseconds=1)) == []
        assert [j.id for j in jobs.expire(tx, NOW + timedelta(seconds=LEASE_S))] == ["j1"]
        assert jobs.expire(tx, LATER) == []


def test_the_third_crash_fails_the_job(filled: Catalog) -> None:
    fence, at = _running(filled).fence, NOW
    with filled.write() as tx:
        jobs.note_object(tx, "j1", fence, "k")
        for crash in (1, 2, 3):
            at += timedelta(seconds=LEASE_S)
            [expired] = jobs.expire(tx, at)
            assert expired.attempt == crash
            assert expired.error is not None
            assert expired.error.code == "job.worker-lost"
            assert expired.object_key == "k"
            if crash < jobs.MAX_ATTEMPTS:
                assert (expired.state, expired.worker_id) == (JobState.QUEUED, None)
                assert jobs.claim(tx, "j1", "w1", at, LEASE_S) is not None
        assert (expired.state, expired.finished_at) == (JobState.FAILED, at)
        assert jobs.claim(tx, "j1", "w1", at, LEASE_S) is None


def test_a_graceful_stop_is_no_crash(filled: Catalog) -> None:
    claimed = _running(filled)
    with filled.write() as tx:
        for _ in range(5):
            jobs.requeue(tx, "j1", claimed.fence, NOW, error=ERROR)
            assert jobs.get(tx, "j1").state is JobState.QUEUED
            again = jobs.claim(tx, "j1", "w1", NOW, LEASE_S)
            assert again is not None
            claimed = again
        [expired] = jobs.expire(tx, LATER)
    assert (expired.state, expired.attempt) == (JobState.QUEUED, 6)


def test_the_leases_of_a_dead_worker_end_at_once(filled: Catalog) -> None:
    _running(filled)
    with filled.write() as tx:
        jobs.create(tx, job("j2", "c2"))
        jobs.claim(tx, "j2", "w2", NOW, LEASE_S)
        jobs.end_leases(tx, "w1", NOW)
        assert [j.id for j in jobs.expire(tx, NOW)] == ["j1"]


def test_a_cancel_reaches_waiting_and_running_jobs(filled: Catalog) -> None:
    fence = _running(filled).fence
    with filled.write() as tx:
        jobs.create(tx, job("waiting", "c2"))
        gone = jobs.request_cancel(tx, "waiting", LATER)
        assert (gone.state, gone.finished_at, gone.cancel_requested_at) == (JobState.CANCELLED, LATER, LATER)
        assert jobs.claim(tx, "waiting", "w1", LATER, LEASE_S) is None
        asked = jobs.request_cancel(tx, "j1", LATER)
        assert (asked.state, asked.cancel_requested_at) == (JobState.RUNNING, LATER)
        assert jobs.request_cancel(tx, "j1", LATER + timedelta(seconds=1)) == asked
        assert jobs.renew(tx, "j1", fence, LATER, LEASE_S).cancel_requested_at == LATER
        jobs.settle(tx, "j1", fence, JobState.SUCCEEDED, now=LATER)
        assert jobs.request_cancel(tx, "j1", LATER).state is JobState.SUCCEEDED
        with pytest.raises(ConfigError):
            jobs.request_cancel(tx, "unknown", LATER)


def test_a_blocked_job_is_cancelled_at_once(filled: Catalog) -> None:
    fence = _running(filled).fence
    with filled.write() as tx:
        jobs.settle(tx, "j1", fence, JobState.BLOCKED, now=NOW)
        assert jobs.request_cancel(tx, "j1", LATER).state is JobState.CANCELLED


@pytest.mark.parametrize("way", ["requeue", "expire"])
def test_a_job_that_was_asked_to_stop_is_not_run_again(filled: Catalog, way: str) -> None:
    fence = _running(filled).fence
    with filled.write() as tx:
        jobs.request_cancel(tx, "j1", NOW)
        if way == "requeue":
            jobs.requeue(tx, "j1", fence, LATER)
        else:
            jobs.expire(tx, LATER)
    assert (_get(filled).state, _get(filled).finished_at) == (JobState.CANCELLED, LATER)


def test_a_log_counts_its_lines(filled: Catalog) -> None:
    _running(filled)
    with filled.write() as tx:
        jobs.create(tx, job("j2", "c2"))
        for n in range(1, 4):
            jobs.append_log(tx, "j1", NOW, "info", f"line {n}")
        jobs.append_log(tx, "j2", NOW, "error", "other")
    with filled.read() as tx:
        assert [(line.n, line.text) for line in jobs.read_log(tx, "j1")] == [(n, f"line {n}") for n in (1, 2, 3)]
        assert [line.n for line in jobs.read_log(tx, "j1", after=1, limit=1)] == [2]
        assert jobs.read_log(tx, "j2") == [jobs.LogLine(1, NOW, "error", "other")]
