"""The command line with a database: connections, checkpoints, drills, the ledger, jobs and workers."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.model import JobState
from tests.fixtures.installation import Place, running_worker, wait_until
from tests.fixtures.program import processes_of, unchanged
from tests.fixtures.shapes import PREFLIGHT, SNAPSHOT, check, check_attempt
from tests.fixtures.shop import ROWS, Shop

ROOT = Path(__file__).parents[2]


def proven(document: Any) -> Any:
    """``document`` is a whole proof of the shop's rows."""
    check_attempt(document)
    assert document["job"]["state"] == "succeeded", document["job"]
    assert document["job"]["error"] is None
    assert document["snapshot"]["counts"] == "exact"
    assert {missing["kind"] for missing in document["snapshot"]["not_captured"]} <= {"roles"}, (
        "the reader's grants name it"
    )
    assert (document["snapshot"]["tables"], document["snapshot"]["rows"]) == (3, sum(ROWS.values()))
    drill = document["drill"]
    assert (drill["verdict"], drill["skips"], drill["failures"]) == ("PROVEN", [], [])
    counted = {(t["schema"], t["table"]): (t["expected"], t["restored"]) for t in drill["tables"]}
    assert counted == {name: (rows, rows) for name, rows in ROWS.items()}
    majors = {str(drill["versions"][name]).split(".")[0] for name in ("server", "pg_dump", "pg_restore", "scratch")}
    assert len(majors) == 1, drill["versions"]
    return document


def test_connection_verbs(shop: Shop) -> None:
    program = shop.program
    listed = program.call("connection", "list", "--json").document()
    assert [c["name"] for c in listed] == ["shop"]
    shown = program.run("connection", "show", "shop", "--json")
    check(shown.document(), {"connection": {"name": str}, "address": str, "sslmode": str, "notes": [str]})
    found = program.run("connection", "preflight", "shop", "--json").document()
    check(found, PREFLIGHT)
    assert found["captured"]["tables"] == 3
    assert {missing["kind"] for missing in found["not_captured"]} <= {"roles"}
    assert program.call("connection", "test", "shop", "--json").document().keys() == found.keys()
    people = program.call("connection", "preflight", "shop")
    assert people.out.startswith("3 of 3 tables can be captured")
    assert program.call("connection", "edit", "shop", "--json").error(2)["code"] == "config.invalid"
    edited = program.call("connection", "edit", "shop", "--url-stdin", "--json", stdin=shop.reader_url).document()
    check(edited, {"connection": {"name": str}, "preflight": PREFLIGHT})
    for said in (shown, people, program.call("connection", "show", "shop")):
        assert shop.password not in said.out + said.err


def test_grants_recipe_covers_tables_of_later(shop: Shop) -> None:
    with psycopg.connect(shop.url, autocommit=True) as conn:
        conn.execute("CREATE TABLE sales.later AS SELECT 1 AS n")
        try:
            with psycopg.connect(shop.reader_url) as reader:
                assert reader.execute("SELECT n FROM sales.later").fetchone() == (1,)
        finally:
            conn.execute("DROP TABLE sales.later")


def test_checkpoint_runs_itself_without_a_worker(shop: Shop) -> None:
    said = shop.program.run("checkpoint", "shop", "--tag", "first", "--wait", "--json")
    document = proven(said.document())
    assert document["snapshot"]["tag"] == "first"
    assert "no worker is running: this command runs the job itself" in said.err
    assert "\n● " in said.err, "what happens is told on stderr"
    assert (shop.program.place.destination / document["snapshot"]["object_key"]).stat().st_size == (
        document["snapshot"]["size_bytes"]
    )
    assert processes_of(shop.program.place) == []


@pytest.mark.slow
def test_a_day_with_a_worker(shop: Shop) -> None:
    program = shop.program
    with running_worker(program.place):
        asked = program.run("checkpoint", "shop", "--json")
        document = asked.document()
        check_attempt(document)
        assert "no worker" not in asked.err
        job = document["job"]["id"]
        wait_until(lambda: program.idle("shop"), "the checkpoint that nobody waits for")
        assert program.call("jobs", "show", job, "--json").document()["state"] == "succeeded"
        people = program.run("checkpoint", "shop", "--tag", "[@click=app.quit()]x", "--wait")
        assert people.status == 0, people.err
        assert re.match(r"⛭ PROVEN · 3 tables · 1,240 rows · \d+(\.\d)? s\n", people.out), people.out
        drilled = proven(program.run("drill", "shop@latest", "--wait", "--json").document())
        assert drilled["snapshot"]["tag"] == "[@click=app.quit()]x"
    ledger = program.call("ledger", "--json").document()
    for attempt in ledger:
        check_attempt(attempt)
    assert ledger[0]["snapshot"]["id"] == drilled["snapshot"]["id"]
    assert ledger[0]["drill"]["id"] == drilled["drill"]["id"], "the newest drill of a snapshot stands in the ledger"
    taken = [a["snapshot"]["taken_at"] for a in ledger]
    assert taken == sorted(taken, reverse=True)
    assert program.call("ledger", "--connection", "shop", "--limit", "1", "--json").document() == ledger[:1]
    lines = program.call("ledger").out.splitlines()
    assert len(lines) == len(ledger) + 1
    assert "⛭ PROVEN" in lines[1]


def test_snapshots_by_id_prefix_and_latest(shop: Shop) -> None:
    program = shop.program
    ensure_snapshot(shop)
    newest = program.call("ledger", "--json").document()[0]["snapshot"]
    for name in (newest["id"], newest["id"][:10], newest["id"][:10].upper(), "shop@latest"):
        shown = program.call("snapshot", "show", name, "--json").document()
        check_attempt(shown)
        check(shown["snapshot"], SNAPSHOT)
        assert shown["snapshot"]["id"] == newest["id"], name
        queued = program.call("drill", name, "--json").document()
        assert queued["snapshot"]["id"] == newest["id"]
        assert queued["job"]["state"] == "queued"
        cancelled = program.call("jobs", "cancel", queued["job"]["id"], "--json").document()
        assert cancelled["state"] == "cancelled"
        again = program.call("jobs", "cancel", queued["job"]["id"], "--json").error(2)
        assert "ended already" in again["message"]
    people = program.call("snapshot", "show", "shop@latest").out
    assert "public.customer" in people
    assert "isolation: user" in people
    verified = program.run("snapshot", "verify", "shop@latest", "--json").document()
    check(verified, {"snapshot": str, "artifact_sha256": str, "size_bytes": int, "plaintext_bytes": int})
    assert verified["artifact_sha256"] == newest["artifact_sha256"]


def test_what_is_not_there(shop: Shop) -> None:
    program = shop.program
    ensure_snapshot(shop)
    unknown = ("ffffffffffff", "nosuch@latest", "", "%", "_", "../x", "'; DROP TABLE jobs; --", "\x1b[2J")
    with unchanged(program.place):
        for verb in (("snapshot", "show"), ("snapshot", "verify"), ("drill",), ("jobs", "show"), ("jobs", "cancel")):
            for name in unknown:
                said = program.call(*verb, "--json", "--", name)
                assert said.error(2)["code"] == "config.not-found", (verb, name)
                assert "\x1b" not in said.err
        for verb in (("connection", "show"), ("connection", "test"), ("checkpoint",), ("ledger", "--connection")):
            error = program.call(*verb, "nosuch", "--json").error(2)
            assert error["code"] == "config.not-found"
            assert "offsitedb connection list" in error["hint"]
        for tag in ("", "x" * 101, "a\nb", "\x1b[31m", "a\u202eb", "a\u200bb"):
            assert program.call("checkpoint", "shop", "--json", f"--tag={tag}").error(2)["code"] == "config.invalid"
        in_use = program.call("destination", "remove", "here")
        assert (in_use.status, "[config.in-use]" in in_use.err) == (2, True)
        taken = program.add("shop", shop.reader_url)
        assert taken.error(2)["code"] == "config.name-taken"
        missing = program.call(
            "connection", "add", "x", "--destination", "no", "--url-stdin", "--json", stdin=shop.reader_url
        )
        assert missing.error(2)["code"] == "config.not-found"


@pytest.mark.slow
def test_waiting_has_an_end(shop: Shop) -> None:
    said = shop.program.run("checkpoint", "shop", "--wait", "--timeout", "0", "--json")
    error = said.error(75)
    assert error["code"] == "job.still-running"
    assert "offsitedb worker" in error["hint"]
    job, state = shop.program.job("shop")
    assert job[:12] in error["hint"]
    assert state is JobState.QUEUED
    assert shop.program.call("jobs", "cancel", job, "--json").document()["state"] == "cancelled"
    assert processes_of(shop.program.place) == []
    with running_worker(shop.program.place):
        with_worker = shop.program.run("checkpoint", "shop", "--wait", "--timeout", "0.1", "--json").error(75)
        assert "goes on" in with_worker["message"]
        wait_until(lambda: shop.program.idle("shop"), "the job to go on without its caller")
    assert shop.program.job("shop")[1] is JobState.SUCCEEDED


@pytest.mark.slow
def test_two_checkpoints_at_once(shop: Shop) -> None:
    with running_worker(shop.program.place, threads=2):
        documents = at_once(shop, 2)
    one_after_the_other(shop, documents)


@pytest.mark.slow
def test_two_checkpoints_at_once_without_a_worker(shop: Shop) -> None:
    """Each runs its own job; the second must not wait for a worker that only ever runs the first."""
    one_after_the_other(shop, at_once(shop, 2))
    assert processes_of(shop.program.place) == []


@pytest.mark.parametrize("where", ["elsewhere", pytest.param("project", marks=pytest.mark.slow)])
def test_huey_consumer_is_a_worker_too(shop: Shop, where: str, tmp_path: Path) -> None:
    with consumer(
        shop.program.place, dict(shop.program.environment), ROOT if where == "project" else tmp_path
    ) as process:
        document = proven(shop.program.run("checkpoint", "shop", "--wait", "--json").document())
        with shop.program.place.engine() as engine:
            job = engine.jobs.get(document["job"]["id"])
        assert job.attempt == 1
        assert process.poll() is None
        workers = shop.program.call("doctor", "--json").document()["workers"]
        assert [(w["pid"], w["alive"]) for w in workers] == [(process.pid, True)]
    assert process.returncode == 0


def ensure_snapshot(shop: Shop) -> None:
    """At least one snapshot, also when this test runs alone."""
    if not any(a["snapshot"] for a in shop.program.call("ledger", "--json").document()):
        proven(shop.program.run("checkpoint", "shop", "--wait", "--json").document())


def at_once(shop: Shop, count: int) -> list[Any]:
    """``count`` checkpoints asked for at the same moment, each waited for."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(shop.program.start("checkpoint", "shop", "--wait", "--json")) for _ in range(count)
        ]
        ended = [process.communicate(timeout=120) for process in started]
    return [proven(_json(out, err)) for out, err in ended]


def _json(out: str, err: str) -> Any:
    assert out.count("\n") == 1, err
    return json.loads(out)


def one_after_the_other(shop: Shop, documents: list[Any]) -> None:
    with shop.program.place.engine() as engine:
        jobs = sorted((engine.jobs.get(d["job"]["id"]) for d in documents), key=lambda j: str(j.started_at))
    first, second = jobs
    assert first.finished_at is not None
    assert second.started_at is not None
    assert first.finished_at <= second.started_at
    assert (first.attempt, second.attempt) == (1, 1)


@contextmanager
def consumer(place: Place, environment: dict[str, str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Huey's own console script with our object."""
    script = Path(sys.executable).with_name("huey_consumer")
    with (place.home / "consumer.log").open("wb") as log:
        process = subprocess.Popen(
            [script, "huey_config.huey"], env=environment, cwd=cwd, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            with place.engine() as engine:
                wait_until(lambda: engine.worker.any_alive() or process.poll() is not None, "the consumer to start")
            assert process.poll() is None, (place.home / "consumer.log").read_text()
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
