"""The home screen's view: who is overdue, which drill counts, what ran and made nothing, on both dialects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from engine import catalog as catalogs
from engine import paths as places
from engine.catalog import Catalog, Tx
from engine.config import Settings
from engine.errors import ConfigError
from engine.model import JobError, JobKind, JobProgress, JobState, Verdict
from engine.service import Engine
from tests.fixtures.records import NOW, HandClock, connection, destination, drill, installation, job, snapshot, worker

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.catalogs")

HOUR = timedelta(hours=1)
ERROR = JobError("pg.auth", "the server refused the password", "Check it.", 20)
A, B, C, D = (letter * 32 for letter in "abcd")


@pytest.fixture
def engine(filled: Catalog, tmp_path: Path) -> Engine:
    """The door over the filled catalog; its clock stands at ``NOW``."""
    return Engine(
        places.locate(tmp_path), Settings(), filled, clock=HandClock(), wake=lambda job_id: None, held_keys=None
    )


def _taken(tx: Tx, id_: str, connection_id: str = "c1", *, seq: int, hours_ago: float = 1) -> None:
    """A snapshot with the job that made it."""
    at = NOW - hours_ago * HOUR
    made = replace(job(f"job-{id_[:4]}", connection_id), snapshot_id=id_, state=JobState.SUCCEEDED, created_at=at)
    catalogs.snapshots.add(tx, replace(snapshot(id_, connection_id, seq=seq), taken_at=at, job_id=made.id))
    catalogs.jobs.create(tx, made)


def _drilled(tx: Tx, id_: str, snapshot_id: str, verdict: Verdict = Verdict.PROVEN, *, s: float = 8.0) -> None:
    record = drill(id_, snapshot_id, verdict)
    lost = "orders: 1 of 2 rows" if verdict is Verdict.FAILED else ""
    catalogs.drills.add(tx, replace(record, job_id=f"job-{snapshot_id[:4]}", restore_s=s, summary=lost))


def test_an_empty_catalog(catalog: Catalog, tmp_path: Path) -> None:
    engine = Engine(places.locate(tmp_path), Settings(), catalog, clock=HandClock(), wake=print, held_keys=None)
    found = engine.watch.overview()
    assert (found.headlines, found.lines, found.jobs, found.destinations) == ((), (), (), ())
    assert (found.workers_alive, found.worker_since, found.recovery_confirmed) == (0, None, False)


def test_a_line_says_what_the_columns_say(engine: Engine) -> None:
    with engine.catalog.write() as tx:
        _taken(tx, A, seq=1)
        _drilled(tx, "1", A)
    (line,) = engine.watch.overview().lines
    made = snapshot(A)
    assert (line.snapshot_id, line.job_id, line.connection, line.provider) == (A, "job-aaaa", "name-c1", "Neon")
    assert (line.at, line.state, line.verdict, line.skips) == (NOW - HOUR, JobState.SUCCEEDED, Verdict.PROVEN, 0)
    assert (line.tables, line.tables_in_source, line.rows) == (made.tables, made.details.relations_total, made.rows)
    assert (line.size_bytes, line.restore_s, line.summary, line.tag) == (made.size_bytes, 8.0, "", None)


def test_the_newest_drill_of_a_snapshot_counts(engine: Engine) -> None:
    with engine.catalog.write() as tx:
        _taken(tx, A, seq=1, hours_ago=2)
        _taken(tx, B, seq=2, hours_ago=1)
        _drilled(tx, "1", B)
        _drilled(tx, "2", A, Verdict.COULD_NOT_VERIFY)
        _drilled(tx, "3", A)
        _drilled(tx, "4", B, Verdict.FAILED)
    found = engine.watch.overview()
    assert [(line.snapshot_id, line.verdict, line.state) for line in found.lines] == [
        (B, Verdict.FAILED, JobState.FAILED),
        (A, Verdict.PROVEN, JobState.SUCCEEDED),
    ]
    assert found.lines[0].summary == "orders: 1 of 2 rows"
    assert (found.headlines[0].newest_proven_at, found.headlines[0].last_verdict) == (NOW - 2 * HOUR, Verdict.FAILED)
    assert (found.headlines[1].newest_proven_at, found.headlines[1].last_verdict) == (None, None)


def test_overdue_is_judged_by_the_age_of_the_data(engine: Engine) -> None:
    def overdue(target_s: float | None) -> bool:
        with engine.catalog.write() as tx:
            catalogs.connections.set_targets(tx, "c1", proof_s=target_s, restore_s=600.0)
        line = engine.watch.overview().headlines[0]
        assert (line.proof_target_s, line.restore_target_s) == (target_s, 600.0)
        return line.overdue

    assert not overdue(None)
    assert overdue(6 * 3600.0), "a target and never a proof"
    with engine.catalog.write() as tx:
        _taken(tx, A, seq=1, hours_ago=2)
        _drilled(tx, "1", A)  # drilled a moment ago
    assert overdue(2 * 3600.0 - 60)
    assert not overdue(2 * 3600.0 + 60)
    with engine.catalog.write() as tx:
        _taken(tx, B, seq=2, hours_ago=1)
        _drilled(tx, "2", B, Verdict.FAILED)
    assert overdue(1.5 * 3600), "what failed is no proof"


def test_restore_times_are_those_of_the_newest_twenty_proven_drills(engine: Engine) -> None:
    with engine.catalog.write() as tx:
        for n in range(25):
            id_ = f"{n:04x}" * 8
            _taken(tx, id_, seq=n + 1, hours_ago=50 - n)
            tx_verdict = Verdict.FAILED if n == 24 else Verdict.PROVEN_WITH_SKIPS if n % 2 else Verdict.PROVEN
            _drilled(tx, str(n), id_, tx_verdict, s=900.0 if n == 24 else 500.0 if n < 4 else 10.0 + n)
    line = engine.watch.overview().headlines[0]
    assert line.trend == tuple(10.0 + n for n in range(12, 24))
    assert (line.restore_p50_s, line.restore_worst_s) == (10.0 + (4 + 23) / 2, 33.0)
    assert engine.watch.overview().headlines[1].restore_p50_s is None


def test_checkpoints_without_a_snapshot_are_lines(engine: Engine) -> None:
    with engine.catalog.write() as tx:
        _taken(tx, A, seq=1, hours_ago=5)
        catalogs.jobs.create(tx, replace(job("failed", at=NOW - 4 * HOUR), state=JobState.FAILED, error=ERROR))
        catalogs.jobs.create(tx, replace(job("gone", at=NOW - 3 * HOUR), state=JobState.CANCELLED))
        catalogs.jobs.create(tx, job("waits", "c2", at=NOW - HOUR))
        catalogs.jobs.create(tx, job("runs", at=NOW - 2 * HOUR))
        assert catalogs.jobs.claim(tx, "runs", "w1", NOW, 30.0) is not None
        drilling = replace(job("drill", kind=JobKind.DRILL, at=NOW), state=JobState.FAILED, error=ERROR, snapshot_id=A)
        catalogs.jobs.create(tx, drilling)
    found = engine.watch.overview()
    assert [(line.job_id, line.state, line.summary) for line in found.lines] == [
        ("waits", JobState.QUEUED, ""),
        ("runs", JobState.RUNNING, ""),
        ("gone", JobState.CANCELLED, ""),
        ("failed", JobState.FAILED, ERROR.message),
        ("job-aaaa", JobState.SUCCEEDED, ""),
    ]
    assert {line.snapshot_id for line in found.lines[:4]} == {None}
    assert [j.id for j in found.jobs] == ["runs", "waits"]
    assert [line.job.id if line.job else None for line in found.headlines] == ["runs", "waits"]
    assert [line.job_id for line in engine.watch.overview(limit=2).lines] == ["waits", "runs"]


def test_a_snapshot_without_a_verdict_tells_of_its_job(engine: Engine) -> None:
    with engine.catalog.write() as tx:
        _taken(tx, A, seq=1, hours_ago=2)
        broken = replace(job("j9"), snapshot_id=B, state=JobState.FAILED, error=ERROR, created_at=NOW - HOUR)
        catalogs.snapshots.add(tx, replace(snapshot(B, seq=2), taken_at=NOW - HOUR, job_id="j9"))
        catalogs.jobs.create(tx, broken)
        catalogs.snapshots.add(tx, replace(snapshot(C, seq=3), taken_at=NOW, job_id="found at a destination"))
    lines = engine.watch.overview().lines
    assert [(line.snapshot_id, line.state, line.verdict, line.summary) for line in lines] == [
        (C, JobState.SUCCEEDED, None, ""),
        (B, JobState.FAILED, None, ERROR.message),
        (A, JobState.SUCCEEDED, None, ""),
    ]


def test_a_snapshot_that_is_drilled_again_says_so(engine: Engine) -> None:
    with engine.catalog.write() as tx:
        _taken(tx, A, seq=1)
        _drilled(tx, "1", A)
        for id_, later in (("again", 1), ("and-again", 2)):
            wanted = job(id_, kind=JobKind.DRILL, at=NOW + later * HOUR)
            catalogs.jobs.create(tx, replace(wanted, snapshot_id=A))
        assert catalogs.jobs.claim(tx, "again", "w1", NOW, 30.0) is not None
    (line,) = engine.watch.overview().lines
    assert (line.job_id, line.state, line.verdict) == ("again", JobState.RUNNING, Verdict.PROVEN)


def test_a_removed_connection_keeps_its_lines_and_no_headline(engine: Engine) -> None:
    with engine.catalog.write() as tx:
        _taken(tx, A, seq=1)
        _drilled(tx, "1", A)
        catalogs.connections.remove(tx, "c1", NOW)
        catalogs.connections.add(tx, connection("c9", "name-c1"))
    found = engine.watch.overview()
    assert [line.connection for line in found.lines] == ["name-c1"]
    assert [(line.connection, line.newest_proven_at) for line in found.headlines] == [
        ("name-c1", None),
        ("name-c2", None),
    ]
    assert [(d.name, d.snapshots, d.size_bytes) for d in found.destinations] == [("name-d1", 1, snapshot(A).size_bytes)]


def test_unchanged_lines_are_kept_and_changed_ones_are_not(engine: Engine) -> None:
    def lines() -> object:
        return engine.watch.overview().lines

    with engine.catalog.write() as tx:
        _taken(tx, A, seq=1, hours_ago=3)
        catalogs.jobs.create(tx, job("j1"))
    before = lines()
    with engine.catalog.write() as tx:
        claimed = catalogs.jobs.claim(tx, "j1", "w1", NOW, 30.0)
        assert claimed is not None
    running = lines()
    assert running != before
    with engine.catalog.write() as tx:
        progress = JobProgress("dump", 10, None, "bytes", "", 5.5, NOW)
        catalogs.jobs.report(tx, "j1", claimed.fence, progress)
    assert lines() is running, "progress is not in the lines"
    seen = [running]
    changes: tuple[Callable[[Tx], object], ...] = (
        lambda tx: _drilled(tx, "1", A),
        lambda tx: _taken(tx, B, seq=2, hours_ago=2),
        lambda tx: catalogs.connections.mark_tested(tx, "c1", NOW, "Supabase"),
        lambda tx: catalogs.jobs.settle(tx, "j1", claimed.fence, JobState.FAILED, error=ERROR, now=NOW),
    )
    for change in changes:
        with engine.catalog.write() as tx:
            change(tx)
        seen.append(lines())
        assert seen[-1] != seen[-2]


def test_destinations_workers_and_the_recovery_code(engine: Engine) -> None:
    with engine.catalog.write() as tx:
        catalogs.installation.put(tx, installation())
        catalogs.installation.confirm_recovery(tx, NOW)
        catalogs.destinations.add(tx, destination("d2"))
        catalogs.workers.register(tx, replace(worker("w1", at=NOW), host="elsewhere", started_at=NOW - HOUR))
        catalogs.workers.register(tx, replace(worker("w2", at=NOW - HOUR), host="elsewhere"))
    found = engine.watch.overview()
    assert [(d.name, d.where, d.snapshots) for d in found.destinations] == [
        ("name-d1", "/srv/d1", 0),
        ("name-d2", "/srv/d2", 0),
    ]
    assert (found.workers_alive, found.worker_since, found.recovery_confirmed) == (1, NOW - HOUR, True)


def test_the_number_of_queries_does_not_grow(engine: Engine) -> None:
    def queries() -> int:
        engine.watch.__init__(engine)  # type: ignore[misc]
        said: list[str] = []
        listen = lambda *a: said.append(a[2])  # noqa: E731
        event.listen(engine.catalog._engine, "before_cursor_execute", listen)
        engine.watch.overview()
        event.remove(engine.catalog._engine, "before_cursor_execute", listen)
        return len(said)

    before = queries()
    with engine.catalog.write() as tx:
        for n in range(30):
            catalogs.connections.add(tx, connection(f"x{n}"))
            _taken(tx, f"{n:04x}" * 8, f"x{n}", seq=1)
            _drilled(tx, str(n), f"{n:04x}" * 8)
            catalogs.jobs.create(tx, job(f"q{n}", f"x{n}"))
    assert len(engine.watch.overview().lines) == 60
    assert queries() == before <= 20


def test_usual_takes_medians_out_of_the_receipts(engine: Engine) -> None:
    with engine.catalog.write() as tx:
        for n, total in enumerate((10, 30, 20), 1):
            id_ = str(n) * 32
            _taken(tx, id_, seq=n)
            receipt = f'{{"receipt":{{"tables":[],"timings":{{"fetch_s":"{n}.500","total_s":"{total}.000"}}}}}}'
            catalogs.drills.add(tx, replace(drill(str(n), id_), restore_s=float(total), receipt=receipt))
        _taken(tx, D, seq=9)
        _drilled(tx, "9", D, Verdict.FAILED, s=900.0)
    found = engine.watch.usual("name-c1")
    assert found is not None
    assert (found.drills, found.p50_s, found.worst_s, found.snapshot_s) == (3, 20.0, 30.0, 12.345)
    assert (found.timings.fetch_s, found.timings.total_s, found.timings.verify_s) == (2.5, 20.0, 0.0)
    assert engine.watch.usual("name-c2") is None
    with pytest.raises(ConfigError):
        engine.watch.usual("name-c9")


def test_the_revision_is_the_catalogs(engine: Engine) -> None:
    before = engine.watch.revision()
    engine.watch.overview()
    assert engine.watch.revision() == before
    with engine.catalog.write() as tx:
        catalogs.jobs.create(tx, job("j1"))
    assert engine.watch.revision() > before
