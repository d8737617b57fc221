"""How runs of the program end early: Ctrl-C, SIGTERM, a reader that went away, a disk without room for the catalog."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from engine.model import JobState
from engine.postgres import grants
from tests.fixtures.disks import fill, small_disk
from tests.fixtures.installation import wait_until
from tests.fixtures.program import Program, processes_of, unchanged
from tests.fixtures.shapes import check_attempt
from tests.fixtures.shop import Shop


def test_ctrl_c_while_the_job_runs_here(shop: Shop) -> None:
    program = shop.program
    with unchanged(program.place), psycopg.connect(shop.url) as blocker:
        blocker.execute("LOCK TABLE customer IN ACCESS EXCLUSIVE MODE")
        with program.start("checkpoint", "shop", "--wait", "--json") as process:
            wait_until(lambda: program.job("shop")[1] is JobState.RUNNING, "the job to run")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert out == ""
    job, state = program.job("shop")
    assert state is JobState.QUEUED, "the job is put back, for a worker"
    assert job[:12] in err
    assert "offsitedb worker" in err
    assert program.call("jobs", "cancel", job, "--json").document()["state"] == "cancelled"
    assert processes_of(program.place) == []


@pytest.mark.parametrize("sent", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_worker_ends_well(shop: Shop, sent: signal.Signals) -> None:
    program = shop.program
    with program.start("worker", "--workers", "3") as process, program.place.engine() as engine:
        wait_until(lambda: engine.worker.any_alive() or process.poll() is not None, "the worker to start")
        workers = program.call("doctor", "--json").document()["workers"]
        assert [(w["pid"], w["threads"], w["alive"]) for w in workers] == [(process.pid, 3, True)]
        process.send_signal(sent)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, ""), err
        assert "worker with 3 threads is running" in err
        assert "Traceback" not in err
        assert not engine.worker.any_alive()


def test_a_reader_that_went_away(shop: Shop) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = [sys.executable, "-m", "offsitedb_tui", "connection", "list"]
    with os.fdopen(writing, "w") as gone:
        done = subprocess.run(
            argv, stdout=gone, stderr=subprocess.PIPE, env=shop.program.environment, text=True, timeout=60, check=False
        )
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr


def test_no_room_for_the_catalog(shop: Shop) -> None:
    """Reading goes on; what must be written down fails in the catalog's own words, and works again with room."""
    with small_disk(4096) as disk:
        home = disk / "home"
        shutil.copytree(shop.program.place.home, home, ignore=shutil.ignore_patterns("destination", "*.log"))
        cramped = Program(shop.program.place, {**shop.program.environment, "OFFSITEDB_HOME": str(home)})
        assert cramped.call("connection", "list", "--json").status == 0
        filler = fill(disk)
        failed = cramped.run("checkpoint", "shop", "--json").error(50)
        assert failed["code"].startswith("catalog.")
        assert "room on the disk" in failed["hint"]
        filler.unlink()
        document = cramped.run("checkpoint", "shop", "--json").document()
        check_attempt(document)


@pytest.mark.slow
def test_forgotten_connections_keep_their_history(shop: Shop) -> None:
    program = shop.program
    assert program.add("passing", shop.reader_url).status == 0
    job = program.call("connection", "list", "--json").document()
    assert {c["name"] for c in job} == {"shop", "passing"}
    with program.place.engine() as engine:
        engine.worker.start(1)
        try:
            engine.worker.run(engine.jobs.checkpoint("passing").id)
        finally:
            engine.worker.stop()
    snapshot = program.call("snapshot", "show", "passing@latest", "--json").document()["snapshot"]
    program.call("connection", "remove", "passing")
    assert program.call("connection", "remove", "passing").status == 2
    assert program.call("checkpoint", "passing", "--json").error(2)["code"] == "config.not-found"
    first = program.call("ledger", "--json").document()[0]
    assert (first["snapshot"]["id"], first["snapshot"]["connection"]) == (snapshot["id"], "passing")
    assert program.call("snapshot", "verify", snapshot["id"], "--json").status == 0
    drilled = program.run("drill", snapshot["id"], "--wait", "--json").document()
    assert drilled["drill"]["verdict"] == "PROVEN", "a snapshot restores without its connection"
    data = (program.place.home / "catalog.sqlite3").read_bytes()
    assert shop.password.encode() not in data


@pytest.mark.parametrize(
    "name", ["plain", 'qu"ote', "$do$", "$doo$ $do$", "%I %s", "it's", "back\\slash", "ü é", "a;b--"]
)
def test_grants_with_names_of_all_kinds(shop: Shop, name: str) -> None:
    """The recipe without a database runs as it is, whatever role and schema are called, and covers later tables."""
    role = f"{name} {os.getpid()}"
    text = shop.program.call("connection", "grants", "--schema", name, "--role", role).out
    with psycopg.connect(shop.url) as conn:
        conn.execute(f"CREATE SCHEMA {grants.quoted(name)}".encode())
        conn.execute(f"CREATE TABLE {grants.quoted(name)}.t AS SELECT 1 AS n".encode())
        conn.execute(text.encode())
        conn.execute(f"CREATE TABLE {grants.quoted(name)}.later AS SELECT 2 AS n".encode())
        conn.execute(f"SET LOCAL ROLE {grants.quoted(role)}".encode())
        for table in ("t", "later"):
            assert conn.execute(f"SELECT count(*) FROM {grants.quoted(name)}.{table}".encode()).fetchone() == (1,)
        conn.rollback()


def test_install_asks_first(shop: Shop, tmp_path: Path) -> None:
    elsewhere = Program(shop.program.place, {**shop.program.environment, "OFFSITEDB_RUNTIME": str(tmp_path)})
    refused = elsewhere.call("postgres", "install", "17", "--json")
    assert refused.error(2)["code"] == "config.consent"
    assert "PostgreSQL 17" in refused.err
    assert "--yes" in refused.error(2)["hint"]
    unknown = elsewhere.call("postgres", "install", "99", "--yes", "--json")
    assert unknown.error(20)["code"] == "pg.install"
    assert not list(tmp_path.rglob("bin"))
