"""What a pipeline runs before its migration, against a real server and worker: it goes on after a proof alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from engine.access import apikeys as texts
from engine.model import JobState
from tests.fixtures.answers import fits
from tests.fixtures.fire import at_port
from tests.fixtures.installation import running_worker, unhurried, wait_until
from tests.fixtures.proxy import Proxy
from tests.fixtures.served import Served, answered, api_key, certificate, ci_step, serving
from tests.fixtures.shop import Shop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="curl and jq are not here"),
]


@pytest.fixture(scope="module")
def key(shop: Shop) -> str:
    with shop.program.place.engine() as engine:
        return api_key(engine, "ci", connections=["shop"])


@pytest.fixture(scope="module")
def served(shop: Shop) -> Iterator[Served]:
    """The server, with blanks soon enough to be seen."""
    (shop.program.place.home / "config.toml").write_text(
        "[api]\nkeep_alive_after_s = 1.0\nkeep_alive_every_s = 0.5\n[snapshot]\nlock_timeout_s = 1.0\n"
    )
    with serving(shop.program.environment) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def worker(shop: Shop, served: Served) -> Iterator[subprocess.Popen[bytes]]:
    del served  # its settings are the worker's, too
    with running_worker(shop.program.place, threads=2) as running:
        yield running


def test_a_proof_lets_the_pipeline_go_on(shop: Shop, served: Served, key: str) -> None:
    done = ci_step(served, key, "shop", "pre-deploy-4f2a1c")
    assert done.returncode == 0, done.stdout
    answer = answered(done)
    fits(answer, "CheckpointAnswer")
    assert (answer["ok"], answer["tag"], answer["restore_drill"]) == (True, "pre-deploy-4f2a1c", "proven")
    assert f"sealed: {answer['id']} · {answer['size']} · drill: proven" in done.stdout
    with shop.program.place.engine() as engine:
        found = engine.ledger.of_job(answer["id"])
        assert found.snapshot is not None
        assert found.drill is not None
        assert (found.snapshot.id, found.drill.receipt_sha256) == (answer["snapshot_id"], answer["receipt_sha256"])
        by_id = ci_step(served, key, engine.connections.get("shop").id, "")
    assert by_id.returncode == 0
    assert answered(by_id)["tag"] is None


def test_a_failed_drill_stops_it_with_the_reason(shop: Shop, served: Served, key: str) -> None:
    with shop.program.place.engine() as engine:
        engine.checks.add("shop", "impossible", "SELECT count(*) FROM public.customer", "41")
    try:
        done = ci_step(served, key, "shop", "failed-drill")
    finally:
        with shop.program.place.engine() as engine:
            engine.checks.remove("shop", "impossible")
    assert done.returncode == 1
    answer = answered(done)
    assert (answer["ok"], answer["restore_drill"], answer["error"]["exit_status"]) == (False, "failed", 70)
    assert answer["diagnosis"].startswith("The restore drill failed: ")
    assert "impossible" in answer["diagnosis"]
    assert answer["snapshot_id"], "the snapshot is there all the same"


def test_an_unreachable_database_stops_it(shop: Shop, served: Served, key: str) -> None:
    port = urlsplit(shop.reader_url).port
    assert port is not None
    with Proxy("127.0.0.1", port) as proxy, shop.program.place.engine() as engine:
        engine.connections.add("away", "here", at_port(shop.reader_url, proxy.port))
        wide = api_key(engine, "wide")
    refused = ci_step(served, key, "away", "x")
    assert refused.returncode == 1
    assert "reaches no database" in refused.stdout, "the key is for another one"
    done = ci_step(served, wide, "away", "gone")
    assert done.returncode == 1
    answer = answered(done)
    assert (answer["ok"], answer["state"], answer["error"]["code"]) == (False, "failed", "pg.unreachable")
    assert answer["diagnosis"].startswith("No snapshot was taken: ")
    assert shop.password not in done.stdout


def test_wrong_keys_and_no_answer_stop_it(served: Served, key: str) -> None:
    for wrong in (texts.make().text, key[:-1] + ("0" if key[-1] != "0" else "1"), "", "x"):
        done = ci_step(served, wrong, "shop", "x")
        assert done.returncode == 1
        assert "The API key is missing or not good" in done.stdout
    nowhere = Served("http://127.0.0.1:9", served.process)
    assert (ci_step(nowhere, key, "shop", "x").returncode, "no answer") == (1, "no answer")


def test_a_timeout_stops_the_pipeline_and_not_the_checkpoint(shop: Shop, served: Served, key: str) -> None:
    with psycopg.connect(shop.url, autocommit=True) as conn:
        conn.execute("CREATE TABLE slow AS SELECT n, md5(n::text) FROM generate_series(1, 200000) n")
        try:
            done = ci_step(served, key, "shop", "slow", limit_s=1)
            assert done.returncode == 1
            assert "no answer" in done.stdout
            job, _ = shop.program.job("shop")
            with served.client(key) as client:
                again = client.post("/api/checkpoint", json={"database": "shop", "tag": "slow"})
            answer = json.loads(again.content)
            assert again.content.startswith(b" ") or again.elapsed.total_seconds() < unhurried(1.5)
            assert (answer["id"], answer["joined"], answer["ok"]) == (job, True, True)
        finally:
            conn.execute("DROP TABLE slow")
    with shop.program.place.engine() as engine:
        assert (engine.jobs.get(job).state, engine.jobs.get(job).cancel_requested) == (JobState.SUCCEEDED, False)


def test_twenty_pipelines_at_once_share_one_checkpoint(shop: Shop, served: Served, key: str) -> None:
    with serving(shop.program.environment) as second, ThreadPoolExecutor(20) as pool:
        servers = (served, second)
        done = list(pool.map(lambda n: ci_step(servers[n % 2], key, "shop", "twenty"), range(20)))
    assert [d.returncode for d in done] == [0] * 20, [d.stdout for d in done if d.returncode]
    answers = [answered(d) for d in done]
    assert len({a["id"] for a in answers}) == 1
    assert [a["joined"] for a in answers].count(False) == 1
    with shop.program.place.engine() as engine:
        assert len([j for j in engine.jobs.recent(100) if j.tag == "twenty"]) == 1


def test_over_tls_with_a_private_ca(shop: Shop, served: Served, key: str, tmp_path: Path) -> None:
    cert, private = certificate(tmp_path, "127.0.0.1")
    with serving(
        shop.program.environment, "--listen", "127.0.0.1:0", "--cert", str(cert), "--key", str(private)
    ) as secure:
        assert ci_step(secure, key, "shop", "tls").returncode == 1, "an unknown certificate is no answer"
        done = ci_step(secure, key, "shop", "tls", curl=f"--cacert {cert}")
        assert done.returncode == 0, done.stdout
    assert not [j for j in _tags(shop) if j == "tls"][1:], "nothing was begun for who did not trust us"


def _tags(shop: Shop) -> list[str | None]:
    with shop.program.place.engine() as engine:
        return [j.tag for j in engine.jobs.recent(200)]


# the command's own client


def run_remote(shop: Shop, served: Served, key: str, *options: str) -> subprocess.CompletedProcess[str]:
    """``checkpoint --remote`` on a machine that has no installation."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "OFFSITEDB_API_KEY": key, "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [sys.executable, "-m", "offsitedb_tui", "checkpoint", "shop", "--remote", served.url, *options],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_checkpoint_remote_ends_as_the_local_one_does(shop: Shop, served: Served, key: str) -> None:
    done = run_remote(shop, served, key, "--tag", "remote", "--wait", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    fits(answer, "CheckpointAnswer")
    assert (answer["ok"], answer["tag"]) == (True, "remote")
    people = run_remote(shop, served, key, "--wait")
    assert (people.returncode, people.stdout.startswith("⛭ PROVEN · 3 tables · 1,240 rows")) == (0, True)
    queued = run_remote(shop, served, key, "--tag", "queued", "--json")
    assert (queued.returncode, json.loads(queued.stdout)["state"] in ("queued", "running")) == (0, True)
    with shop.program.place.engine() as engine:
        engine.checks.add("shop", "impossible", "SELECT 1", "2")
    try:
        failed = run_remote(shop, served, key, "--tag", "failing", "--wait", "--json")
    finally:
        with shop.program.place.engine() as engine:
            engine.checks.remove("shop", "impossible")
    assert (failed.returncode, json.loads(failed.stdout)["restore_drill"]) == (70, "failed")


def test_a_stopped_worker_is_told_and_the_job_waits(
    shop: Shop, served: Served, key: str, worker: subprocess.Popen[bytes]
) -> None:
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        timed_out = run_remote(shop, served, key, "--tag", "late", "--wait", "--timeout", "2", "--json")
        assert time.monotonic() - began < 60
        assert (timed_out.returncode, json.loads(timed_out.stdout)["error"]["code"]) == (75, "job.still-running")
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    with shop.program.place.engine() as engine:
        (job,) = [j for j in engine.jobs.recent(200) if j.tag == "late"]
        wait_until(lambda: engine.jobs.get(job.id).state is JobState.SUCCEEDED, "it to be done all the same")
