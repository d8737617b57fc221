"""Several workers on one catalog in PostgreSQL, each with a home of its own as on hosts of their own.

One is killed in the middle of a job and one loses the catalog's network in the middle of another: every job is settled
once, by whoever is left, and nothing is registered by halves.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from engine import catalog as catalogs
from engine.model import JobKind, JobState, Verdict
from engine.model.views import WorkerView
from engine.service import Engine
from offsitedb_tui.demo.source import Admin
from tests.fixtures.fire import Field, at_port, fill, throttled
from tests.fixtures.installation import Place, wait_until
from tests.fixtures.proxy import Proxy

CONNECTIONS = 12
JOBS = 60
LEASE_S = 3
DUMP_BYTES_PER_S = 300_000.0
HARDLY = 20_000.0
"""Bytes a second of a dump that does not end while somebody watches."""


@contextmanager
def worker(place: Place, host: str, catalog: str, *options: str, threads: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with a home of its own, on the catalog at this URL."""
    home = place.root / host
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(f"[worker]\nlease_s = {LEASE_S}\ngrace_s = 2\n")
    fds: tuple[int, ...] = ()
    argv = [sys.executable, "-m", "offsitedb_tui", "worker", "--workers", str(threads), *options]
    if place.held is not None:
        fds = (place.held.to_memory_file(),)
        argv = [sys.executable, "-m", "offsitedb_tui.demo.held", str(fds[0])]
    env = {**place.environment, "OFFSITEDB_HOME": str(home), "OFFSITEDB_DATABASE_URL": catalog}
    with (home / "worker.log").open("ab") as log:
        process = subprocess.Popen(argv, env=env, pass_fds=fds, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for fd in fds:
            os.close(fd)


@contextmanager
def fleet(field: Field, server: Admin, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Engine, str]]:
    """The field's catalog moved to PostgreSQL: an engine on it, and its URL."""
    name = f"catalog_{secrets.token_hex(6)}"
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}".encode())
    url = server.url(name)
    try:
        field.engine.move.to(url)
        monkeypatch.setenv("OFFSITEDB_DATABASE_URL", url)
        with field.place.engine() as engine:
            yield engine, url
    finally:
        with psycopg.connect(server.url(), autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def alive(engine: Engine) -> list[WorkerView]:
    return [w for w in engine.workers.list() if w.alive]


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def wait_workers(engine: Engine, n: int) -> None:
    wait_until(lambda: len(alive(engine)) == n, f"{n} workers to live")


def queue(engine: Engine, names: list[str], *, with_drill: bool = True) -> list[str]:
    """One checkpoint of each, as the scheduler asks for them."""
    with engine.catalog.write() as tx:
        return [
            engine.jobs.queue(
                tx, JobKind.CHECKPOINT, catalogs.connections.by_name(tx, name).id, with_drill=with_drill
            ).id
            for name in names
        ]


def wait_ended(field: Field, engine: Engine, jobs: list[str], deadline_s: float) -> None:
    """Until all have ended; else with what the workers wrote down."""
    try:
        wait_until(lambda: all(engine.jobs.get(job).state.ended for job in jobs), "jobs to end", deadline_s)
    except AssertionError as e:
        waiting = [view for view in map(engine.jobs.get, jobs) if not view.state.ended]
        logs = [f"{log.parent.name}: {log.read_text()[-4000:]}" for log in field.place.root.glob("*/worker.log")]
        raise AssertionError(
            "\n".join(
                (str(e), *f"{len(waiting)} wait", *map(str, waiting[:5]), *map(str, engine.workers.list()), *logs)
            )
        ) from e


def in_dump(engine: Engine, job_id: str) -> bool:
    job = engine.jobs.get(job_id)
    assert not job.state.ended, job.error
    return job.state is JobState.RUNNING and job.progress is not None and job.progress.phase == "dump"


def holder(engine: Engine, job_id: str) -> str | None:
    with engine.catalog.read() as tx:
        return catalogs.jobs.get(tx, job_id).worker_id


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_killed_and_one_cut_off(field: Field, server: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(field)
    with ExitStack() as stack:
        one = stack.enter_context(throttled(field, DUMP_BYTES_PER_S))  # saves the connection `shop`
        two = stack.enter_context(Proxy("127.0.0.1", port_of(field.url)))
        field.engine.connections.add("shop2", "here", at_port(field.url, two.port))
        two.slow(DUMP_BYTES_PER_S)
        small = _small_sources(stack, field, server)
        engine, url = stack.enter_context(fleet(field, server, monkeypatch))
        wire = stack.enter_context(Proxy("127.0.0.1", port_of(url)))

        doomed = stack.enter_context(worker(field.place, "one", url))
        wait_workers(engine, 1)
        (first,) = queue(engine, ["shop"])
        wait_until(lambda: in_dump(engine, first), "the first job to dump")
        one.slow(HARDLY)
        stack.enter_context(worker(field.place, "two", at_port(url, wire.port)))
        wait_workers(engine, 2)
        (second,) = queue(engine, ["shop2"])
        wait_until(lambda: in_dump(engine, second), "the second job to dump")
        two.slow(HARDLY)
        deaf = holder(engine, second)
        assert deaf != holder(engine, first)

        jobs = [first, second]
        for n in range((JOBS - 2) // CONNECTIONS + 1):
            jobs += queue(engine, small[: JOBS - len(jobs)], with_drill=n == 0)
        assert len(jobs) == JOBS
        doomed.kill()
        doomed.wait()
        wire.stop()
        one.slow(None)
        two.slow(None)
        stack.enter_context(worker(field.place, "three", url, threads=2))
        wait_ended(field, engine, jobs, 240)

        wire.go()  # what the one that was cut off still believes counts for nothing, and it is a worker again
        wait_until(lambda: deaf in {w.id for w in alive(engine)}, "the one that was cut off to be heard of")
        after = queue(engine, small[:4], with_drill=False)
        wait_ended(field, engine, after, 60)

        ended = [engine.jobs.get(job) for job in (*jobs, *after)]
        assert [job.error for job in ended if job.state is not JobState.SUCCEEDED] == []
        assert {job.id for job in ended if job.attempt > 1} >= {first, second}
        drilled = [job for job in ended if job.drill_id is not None]
        assert {first, second} <= {job.id for job in drilled}
        assert {engine.ledger.of_job(job.id).drill.verdict for job in drilled} == {Verdict.PROVEN}  # type: ignore[union-attr]
        with engine.catalog.read() as tx:
            made = [snapshot.job_id for snapshot in catalogs.snapshots.list_recent(tx, limit=1000)]
            objects = {snapshot.object_key for snapshot in catalogs.snapshots.list_recent(tx, limit=1000)}
        assert sorted(made) == sorted(job.id for job in ended)  # each once
        folder = field.place.destination
        wait_until(lambda: artifacts(folder) == objects, f"what was half done to go: {artifacts(folder) ^ objects}")


@pytest.mark.slow
def test_a_connection_can_ask_for_a_worker_that_reaches_it(
    field: Field, server: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    if field.place.held is not None:
        pytest.skip("needs a keyring that worker processes share")
    field.sql("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    field.connect_through()
    with ExitStack() as stack:
        engine, url = stack.enter_context(fleet(field, server, monkeypatch))
        view = engine.connections.set_worker_label("shop", "vpc-frankfurt")
        assert view.worker_label == "vpc-frankfurt"
        stack.enter_context(worker(field.place, "outside", url))
        wait_workers(engine, 1)
        waiting = engine.jobs.checkpoint("shop")
        with engine.catalog.read() as tx:
            assert catalogs.jobs.labelled(tx, ["vpc-frankfurt"], 10) == [waiting.id]
        stack.enter_context(worker(field.place, "inside", url, "--label", "vpc-frankfurt", "--label", "lab"))
        wait_until(lambda: engine.jobs.get(waiting.id).state.ended, "the job to end")
        assert engine.jobs.get(waiting.id).state is JobState.SUCCEEDED
        inside = next(w for w in engine.workers.list() if w.labels)
        assert inside.labels == ("lab", "vpc-frankfurt")
        assert holder(engine, waiting.id) == inside.id


def artifacts(folder: Path) -> set[str]:
    """Keys of all artifacts at a destination, half-written files included."""
    found = [*(p for p in folder.rglob("*.odb") if p.is_file()), *folder.rglob(".partial-*")]
    return {str(p.relative_to(folder)) for p in found}


def _small_sources(stack: ExitStack, field: Field, server: Admin) -> list[str]:
    """Connections to small databases."""
    names = []
    admin = stack.enter_context(psycopg.connect(server.url(), autocommit=True))
    for n in range(CONNECTIONS):
        name = f"fleet_{secrets.token_hex(6)}"
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        stack.callback(admin.execute, f"DROP DATABASE {name} WITH (FORCE)".encode())
        with psycopg.connect(server.url(name), autocommit=True) as conn:
            conn.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 100) n")
        field.engine.connections.add(f"small{n}", "here", server.url(name))
        names.append(f"small{n}")
    return names
