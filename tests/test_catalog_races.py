"""Several processes and threads at once: one wins, nothing is lost, nobody is turned away."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest

from engine import catalog as catalogs
from engine.catalog import Catalog, Tx, jobs
from engine.errors import CatalogError
from engine.evidence import chain
from engine.model import JobKind
from tests.fixtures.records import NOW, HandClock, destination, job

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.catalogs")


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def _open_and_add(url: str, id_: str) -> str:
    with Catalog.open(url, create=True) as catalog, catalog.write() as tx:
        catalogs.destinations.add(tx, destination(id_))
    return id_


def _claim(url: str, job_ids: list[str], worker_id: str) -> list[str]:
    taken = []
    with Catalog.open(url) as catalog:
        for job_id in job_ids:
            with catalog.write() as tx:
                if jobs.claim(tx, job_id, worker_id, NOW, 30.0) is not None:
                    taken.append(job_id)
    return taken


def _take_numbers(url: str, times: int) -> list[int]:
    found = []
    with Catalog.open(url) as catalog:
        for _ in range(times):
            with catalog.write() as tx:
                found.append(catalogs.connections.next_seq(tx, "c1"))
    return found


def _take_month(url: str, by: str) -> int | None:
    with Catalog.open(url) as catalog, catalog.write() as tx:
        return catalogs.reports.take_month(tx, "2026-11", by=by, now=NOW, until=NOW + timedelta(hours=2))


def test_two_processes_make_one_catalog(catalog_url: str, processes: ProcessPoolExecutor) -> None:
    names = ["d1", "d2", "d3", "d4"]
    assert sorted(processes.map(_open_and_add, [catalog_url] * 4, names)) == names
    with Catalog.open(catalog_url) as catalog, catalog.read() as tx:
        assert [d.id for d in catalogs.destinations.list_all(tx)] == names
        assert catalog.check() == []


def test_two_processes_claim_and_one_wins(filled: Catalog, catalog_url: str, processes: ProcessPoolExecutor) -> None:
    ids = [f"j{n:03}" for n in range(50)]
    with filled.write() as tx:
        for id_ in ids:
            jobs.create(tx, job(id_, kind=JobKind.DRILL))
    one, other = processes.map(_claim, [catalog_url] * 2, [ids, ids[::-1]], ["w1", "w2"])
    assert sorted(one + other) == ids
    with filled.read() as tx:
        held = {j.id: (j.worker_id, j.fence, j.attempt) for j in jobs.list_recent(tx, limit=100)}
    assert held == {id_: ("w1" if id_ in one else "w2", 1, 1) for id_ in ids}


def test_two_processes_start_one_checkpoint(filled: Catalog, catalog_url: str, processes: ProcessPoolExecutor) -> None:
    with filled.write() as tx:
        jobs.create(tx, job("j1"))
        jobs.create(tx, job("j2"))
    taken = list(processes.map(_claim, [catalog_url] * 2, [["j1", "j2"], ["j2", "j1"]], ["w1", "w2"]))
    assert sum(map(len, taken)) == 1


def test_two_processes_take_different_numbers(
    filled: Catalog, catalog_url: str, processes: ProcessPoolExecutor
) -> None:
    one, other = processes.map(_take_numbers, [catalog_url] * 2, [60, 60])
    assert sorted(one + other) == list(range(1, 121))


def _die_while_writing(url: str) -> None:
    catalog = Catalog.open(url)
    with catalog.write() as tx:
        catalogs.connections.next_seq(tx, "c1")
        os._exit(9)


def test_a_writer_that_is_killed_leaves_nothing_and_holds_nothing(filled: Catalog, catalog_url: str) -> None:
    victim = multiprocessing.get_context("spawn").Process(target=_die_while_writing, args=(catalog_url,))
    victim.start()
    victim.join()
    assert victim.exitcode == 9
    with filled.write() as tx:
        assert catalogs.connections.next_seq(tx, "c1") == 1


def test_a_server_that_hung_up_is_called_again(postgres_database: str) -> None:
    hang_up = (
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'offsitedb/catalog'"
    )
    hang_up += " AND datname = current_database()"
    with Catalog.open(postgres_database, create=True) as catalog:
        before = catalog.revision()
        with psycopg.connect(postgres_database, autocommit=True) as admin:
            assert len(admin.execute(hang_up.encode()).fetchall()) >= 1
            assert catalog.revision() == before
            with pytest.raises(CatalogError) as caught, catalog.write() as tx:
                _hang_up_and_add(admin, hang_up, tx)
        assert caught.value.code == "catalog.unreachable"
        assert caught.value.retry
        with catalog.write() as tx:
            catalogs.destinations.add(tx, destination("d1"))


def _hang_up_and_add(admin: psycopg.Connection, hang_up: str, tx: Tx) -> None:
    admin.execute(hang_up.encode())
    catalogs.destinations.add(tx, destination("d1"))


def test_twenty_threads_write_and_nothing_is_lost(filled: Catalog) -> None:
    clock = HandClock()
    with filled.write() as tx:
        jobs.create(tx, job("j1"))

    def work(thread: int) -> list[int]:
        numbers = []
        for n in range(10):
            with filled.write() as tx:
                numbers.append(catalogs.connections.next_seq(tx, "c1"))
                jobs.append_log(tx, "j1", NOW, "info", f"{thread}/{n}")
                chain.append_event(tx, clock, actor=f"thread-{thread}", kind="test", subject=str(n))
            with filled.read() as tx:
                assert catalogs.events.last(tx) is not None
        return numbers

    with ThreadPoolExecutor(20) as pool:
        numbers = [n for found in pool.map(work, range(20)) for n in found]
    assert sorted(numbers) == list(range(1, 201))
    with filled.read() as tx:
        lines = jobs.read_log(tx, "j1")
        assert [line.n for line in lines] == list(range(1, 201))
        assert len({line.text for line in lines}) == 200
        findings = chain.verify_chain(tx, "00" * 32)
    assert [f.kind for f in findings] == [chain.FindingKind.MISSING_HEAD]


def test_of_two_processes_one_builds_the_months_report(
    filled: Catalog, catalog_url: str, processes: ProcessPoolExecutor
) -> None:
    fences = list(processes.map(_take_month, [catalog_url] * 4, ["w1", "w2", "w3", "w4"]))
    assert sorted(fences, key=str) == [1, None, None, None]
    with filled.write() as tx:
        later = NOW + timedelta(hours=3)
        assert catalogs.reports.take_month(tx, "2026-11", by="w5", now=later, until=later) == 2
        assert not catalogs.reports.settle_month(tx, "2026-11", 1, "too late")
        assert catalogs.reports.settle_month(tx, "2026-11", 2, "r2")
        assert catalogs.reports.take_month(tx, "2026-11", by="w6", now=later, until=later) is None
