"""What a running job tells: phases left behind, rows per table; fenced, batched, and gone when the job is settled."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.catalog import Catalog, Tx, job_tables, jobs
from engine.codec import from_json, to_json
from engine.errors import CatalogError
from engine.jobs import JobContext, JobRunner, Outcome
from engine.model import Job, JobKind, JobProgress, JobState, PhaseTime, Timings
from engine.model.watch import Usual
from engine.progress import Phase, Progress, TableRows, Unit
from engine.service.eta import eta
from engine.service.jobs import job_view
from tests.fixtures.records import NOW, HandClock, job

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.catalogs")

LEASE_S = 30.0
LATER = NOW + timedelta(seconds=31)
ORDERS, USERS = TableRows("public", "orders", 5, False), TableRows("auth", "users", None, False)


def _running(catalog: Catalog, id_: str = "j1") -> Job:
    with catalog.write() as tx:
        jobs.create(tx, job(id_, kind=JobKind.DRILL))
        claimed = jobs.claim(tx, id_, "w1", NOW, LEASE_S)
    assert claimed is not None
    return claimed


def _read(catalog: Catalog, id_: str = "j1") -> dict[tuple[str, str], TableRows]:
    with catalog.read() as tx:
        return job_tables.read(tx, id_)


def test_rows_are_written_changed_and_begun_anew(filled: Catalog) -> None:
    held = _running(filled)
    with filled.write() as tx:
        job_tables.write(tx, "j1", held.fence, [ORDERS, USERS])
    assert _read(filled) == {("public", "orders"): ORDERS, ("auth", "users"): USERS}
    done = replace(ORDERS, rows=9, done=True)
    with filled.write() as tx:
        job_tables.write(tx, "j1", held.fence, [done])
    assert _read(filled) == {("public", "orders"): done, ("auth", "users"): USERS}
    with filled.write() as tx:
        job_tables.write(tx, "j1", held.fence, [USERS], anew=True)
    assert _read(filled) == {("auth", "users"): USERS}


@pytest.mark.slow
def test_many_tables_at_once(filled: Catalog) -> None:
    held = _running(filled)
    many = [TableRows("public", f"t{n}", n, True) for n in range(10_001)]
    with filled.write() as tx:
        job_tables.write(tx, "j1", held.fence, many)
        job_tables.write(tx, "j1", held.fence, many)
    assert len(_read(filled)) == len(many)


def test_another_fence_writes_nothing(filled: Catalog) -> None:
    held = _running(filled)
    with pytest.raises(CatalogError) as caught, filled.write() as tx:
        job_tables.write(tx, "j1", held.fence + 1, [ORDERS])
    assert caught.value.code == "catalog.fenced"
    with filled.write() as tx:
        job_tables.write(tx, "j1", held.fence, [ORDERS])
        jobs.expire(tx, LATER)
    with pytest.raises(CatalogError), filled.write() as tx:
        job_tables.write(tx, "j1", held.fence, [ORDERS])
    assert _read(filled) == {}


def _cancelled(tx: Tx, fence: int) -> None:
    jobs.request_cancel(tx, "j1", NOW)
    jobs.requeue(tx, "j1", fence, NOW)


ENDS: dict[str, Callable[[Tx, int], object]] = {
    "succeeded": lambda tx, fence: jobs.settle(tx, "j1", fence, JobState.SUCCEEDED, now=NOW),
    "failed": lambda tx, fence: jobs.settle(tx, "j1", fence, JobState.FAILED, now=NOW),
    "blocked": lambda tx, fence: jobs.settle(tx, "j1", fence, JobState.BLOCKED, now=NOW),
    "given back": lambda tx, fence: jobs.requeue(tx, "j1", fence, NOW),
    "cancelled": _cancelled,
    "lease ended": lambda tx, fence: jobs.expire(tx, LATER),
}


@pytest.mark.parametrize("end", ENDS)
def test_rows_go_when_the_attempt_ends(filled: Catalog, end: str) -> None:
    held, other = _running(filled), _running(filled, "j2")
    with filled.write() as tx:
        job_tables.write(tx, "j1", held.fence, [ORDERS])
        job_tables.write(tx, "j2", other.fence, [USERS])
        jobs.renew(tx, "j2", other.fence, LATER, LEASE_S)
        ENDS[end](tx, held.fence)
    assert _read(filled) == {}
    assert _read(filled, "j2") == {("auth", "users"): USERS}


def _context() -> tuple[JobContext, HandClock]:
    clock = HandClock()
    return JobContext(job("j1"), CancelToken(), clock), clock


def _report(context: JobContext, phase: Phase, done: int = 0, total: int | None = None) -> None:
    context.report(Progress(phase, done, total, Unit.BYTES))


def test_phases_that_lie_behind_are_kept_with_their_times() -> None:
    context, clock = _context()
    _report(context, Phase.FETCH, 0, 100)
    clock.at += timedelta(seconds=3)
    _report(context, Phase.FETCH, 100, 100)
    _report(context, Phase.SCRATCH)
    clock.at += timedelta(seconds=1)
    _report(context, Phase.LIST)
    progress, _ = context.take_news()
    assert progress is not None
    assert progress.phase == Phase.LIST
    assert progress.phases == (
        PhaseTime("fetch", 3.0, 100, 100, "bytes"),
        PhaseTime("scratch", 1.0, 0, None, "bytes"),
    )
    context.end_phase()
    progress, _ = context.take_news()
    assert progress is not None
    assert [p.phase for p in progress.phases] == ["fetch", "scratch", "list"]
    context.end_phase()
    assert from_json(JobProgress, to_json(progress)) == progress


def test_an_attempt_that_starts_over_forgets_what_it_does_again() -> None:
    context, _ = _context()
    for phase in (Phase.PREFLIGHT, Phase.LOCK, Phase.DUMP, Phase.PREFLIGHT, Phase.LOCK):
        _report(context, phase)
    progress, _ = context.take_news()
    assert progress is not None
    assert [p.phase for p in progress.phases] == ["preflight"]


def test_a_row_of_an_older_program_is_read(filled: Catalog) -> None:
    held = _running(filled)
    old = json.loads(to_json(JobProgress("dump", 1, 2, "bytes", "", None, NOW)))
    del old["phases"]
    assert from_json(JobProgress, json.dumps(old)).phases == ()
    with filled.write() as tx:
        jobs.report(tx, "j1", held.fence, from_json(JobProgress, json.dumps(old)))
        assert jobs.get(tx, "j1").progress == JobProgress("dump", 1, 2, "bytes", "", None, NOW)


def test_tables_wait_for_the_heartbeat() -> None:
    context, _ = _context()
    context.report_tables([ORDERS, USERS])
    context.report_tables([replace(ORDERS, rows=7)])
    assert context.take_tables() == ([replace(ORDERS, rows=7), USERS], False)
    assert context.take_tables() == ([], False)
    context.report_tables([ORDERS])
    context.report_tables([], anew=True)
    context.report_tables([USERS])
    tables, anew = context.take_tables()
    assert (tables, anew) == ([USERS], True)
    context.report_tables([replace(USERS, rows=1)])
    context.take_back_tables([*tables, ORDERS], anew=anew)  # it could not be written
    assert context.take_tables() == ([replace(USERS, rows=1), ORDERS], True)
    context.report_tables([], anew=True)
    context.take_back_tables([ORDERS], anew=False)
    assert context.take_tables() == ([], True)


def test_the_heartbeat_writes_them_and_the_end_clears_them(filled: Catalog) -> None:
    with filled.write() as tx:
        jobs.create(tx, job("j1", kind=JobKind.DRILL))
    seen: list[dict[tuple[str, str], TableRows]] = []

    def work(context: JobContext) -> Outcome:
        context.report(Progress(Phase.RESTORE, 0, None, Unit.BYTES))
        context.report_tables([ORDERS], anew=True)
        for _ in range(200):
            seen.append(_read(filled))
            if seen[-1]:
                break
            context.cancel.wait(0.05)
        return Outcome()

    runner = JobRunner(filled, HandClock(), {JobKind.DRILL: work}, worker_id="w1", lease_s=LEASE_S)
    assert runner.run("j1") is JobState.SUCCEEDED
    assert seen[-1] == {("public", "orders"): ORDERS}
    assert _read(filled) == {}
    with filled.read() as tx:
        ended = catalogs.jobs.get(tx, "j1")
    assert ended.progress is not None
    assert [p.phase for p in ended.progress.phases] == ["restore"]


# fetch 4 + open 2, list 1, a cluster of 9 s that is started meanwhile, restore 60, verify 7 and 3 more to the end
USUAL = Usual(3, Timings(4.0, 2.0, 1.0, 9.0, 60.0, 7.0, 80.0), 30.0, 80.0, 90.0)
START = NOW.timestamp()


def _eta(
    phase: Phase,
    at_s: float,
    *,
    usual: Usual | None = USUAL,
    ratio: float | None = 1.0,
    done: int = 0,
    total: int | None = None,
    rate: float | None = None,
    phases: tuple[PhaseTime, ...] = (),
    kind: JobKind = JobKind.CHECKPOINT,
) -> float | None:
    now = NOW + timedelta(seconds=at_s)
    progress = JobProgress(phase, done, total, "bytes", "", rate, now, phases)
    running = replace(job("j1", kind=kind), state=JobState.RUNNING, started_at=NOW, progress=progress)
    return eta(job_view(running, "shop"), usual, ratio, now.timestamp())


def test_the_time_that_is_left_comes_from_history() -> None:
    before = (PhaseTime("dump", 20.0, 0, None, "bytes"),)
    assert _eta(Phase.DUMP, 10.0) == 20.0 + 6 + 3 + 1 + 60 + 10
    assert _eta(Phase.RESTORE, 40.0, phases=before) == (60.0 - 20.0) + 10
    assert _eta(Phase.RESTORE, 40.0, phases=before, ratio=2.0) == (120.0 - 20.0) + 20
    assert _eta(Phase.RESTORE, 40.0, phases=before, ratio=1000.0) == (600.0 - 20.0) + 100
    assert _eta(Phase.RESTORE, 95.0, done=50, total=100, rate=5.0) == (60.0 - 10.0) + 10
    assert _eta(Phase.VERIFY, 500.0, done=1, total=None, rate=0.01) == 0.0
    assert _eta(Phase.RESTORE, 200.0, phases=before, done=900, total=1000, rate=5.0) == 20.0 + 10


def test_without_a_history_the_phase_tells() -> None:
    assert _eta(Phase.FETCH, 5.0, usual=None, done=50, total=100, rate=10.0) == 5.0
    assert _eta(Phase.FETCH, 5.0, usual=None, done=50, total=None, rate=10.0) is None
    assert _eta(Phase.LIST, 5.0, usual=None) is None
    assert _eta(Phase.DUMP, 5.0, usual=replace(USUAL, snapshot_s=None)) is None


def test_a_job_that_does_not_run_has_no_end_in_sight() -> None:
    for state in (JobState.QUEUED, JobState.SUCCEEDED, JobState.BLOCKED):
        assert eta(job_view(replace(job("j1"), state=state), "shop"), USUAL, 1.0, START) is None
    assert eta(job_view(replace(job("j1"), state=JobState.RUNNING, started_at=NOW), "shop"), USUAL, 1.0, START) is None
