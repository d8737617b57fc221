"""A drill as it is watched: phases, rows of each table, the time that is left, while the real thing runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.database import fill
from engine import catalog as catalogs
from engine.model import JobState
from engine.model.watch import LiveJob
from engine.progress import Phase
from engine.service import Engine
from tests.fixtures.installation import Place, wait_until

DRILL = [Phase.FETCH, Phase.SCRATCH, Phase.LIST, Phase.RESTORE, Phase.VERIFY]


@contextmanager
def working(engine: Engine, job_id: str) -> Iterator[threading.Thread]:
    """The job run by a worker of our own beside the block."""
    thread = threading.Thread(target=engine.worker.run, args=(job_id,), name="job")
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


def watch(engine: Engine, job_id: str) -> list[LiveJob]:
    """Every view that differed from the one before, to the job's end."""
    seen: list[LiveJob] = []

    def ended() -> bool:
        live = engine.watch.job(job_id)
        if not seen or (live.tables, live.phases, live.job.state) != (
            seen[-1].tables,
            seen[-1].phases,
            seen[-1].job.state,
        ):
            seen.append(live)
        return live.job.state.ended

    with working(engine, job_id):
        wait_until(ended, "the job to end", 250.0)
    return seen


@pytest.mark.parametrize("gigabytes", [0.06, pytest.param(0.35, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_drill_is_watched(place: Place, database: str, gigabytes: float) -> None:
    size = fill(database, gigabytes)
    with place.engine() as engine:
        engine.connections.add("big", "here", database)
        engine.worker.start(1)
        try:
            first = watch(engine, engine.jobs.checkpoint("big").id)
            again = watch(engine, engine.jobs.drill("big@latest").id)
        finally:
            engine.worker.stop(grace_s=0.0)
        with engine.catalog.read() as tx:
            assert catalogs.job_tables.read(tx, first[0].job.id) == {}
    for seen in (first, again):
        end = seen[-1]
        assert end.job.state is JobState.SUCCEEDED, end.job.error
        assert end.attempt.drill is not None
        assert [p.phase for p in end.phases if p.phase in DRILL] == DRILL
        assert all(p.seconds >= 0 for p in end.phases)
        assert {t.table for t in end.tables} == {"account", "event", "document"}
        assert all(t.restored == t.expected and t.done for t in end.tables)
        assert end.tables_done == 3
        assert (end.eta_s, end.log[0].n) == (None, 1)
        _judge_growth(seen, least=5 if size > 300 << 20 else 1)  # a small one may be restored between two looks
    fetch = next(p for p in first[-1].phases if p.phase == Phase.FETCH)
    assert first[-1].attempt.snapshot is not None
    assert (fetch.done, fetch.total, fetch.unit) == (first[-1].attempt.snapshot.size_bytes,) * 2 + ("bytes",)
    assert first[-1].usual is not None
    assert first[-1].usual.drills == 1
    left = [live.eta_s for live in again if live.eta_s is not None]
    assert left, "there is a history now"
    assert left[0] <= 3 * first[-1].usual.p50_s + 1
    assert left[-1] <= left[0]


def _judge_growth(seen: list[LiveJob], *, least: int) -> None:
    """Rows only grow, a table that is done has all of its rows at the end, and the largest was seen on its way."""
    for name in ("event", "document", "account"):
        rows = [t.restored for live in seen for t in live.tables if t.table == name and t.restored is not None]
        assert rows == sorted(rows), name
    events = [t for live in seen for t in live.tables if t.table == "event" and t.restored]
    assert len({t.restored for t in events}) >= least
    assert all(live.tables == tuple(sorted(live.tables, key=lambda t: -(t.expected or 0))) for live in seen)
