"""The API's server process under bad requests, wrong keys, slow clients and too many of them; where it listens."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from engine.access import apikeys as texts
from engine.model import JobState
from offsitedb_tui.api.protocol import HANDSHAKE_WITHIN_S, HEAD_WITHIN_S
from tests.fixtures.answers import fits
from tests.fixtures.bad_requests import BAD, Bad
from tests.fixtures.history import History, new_history
from tests.fixtures.installation import wait_until
from tests.fixtures.served import Served, api_key, certificate, serving

JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Front:
    """A server before an installation that has the connection ``prod`` and no worker."""

    history: History
    served: Served
    key: str
    environment: dict[str, str]

    def jobs(self) -> int:
        return len(self.history.engine.jobs.recent(10_000))


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    home = tmp_path_factory.mktemp("front") / "home"
    environment = {**os.environ, "OFFSITEDB_HOME": str(home), "OFFSITEDB_RUNTIME": str(home.parent / "runtime")}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OFFSITEDB_HOME", "OFFSITEDB_RUNTIME"):
            patch.setenv(name, environment[name])
        with new_history(home) as history:
            history.connection("prod")
            (home / "config.toml").write_text(
                "[api]\nkeep_alive_after_s = 0.3\nkeep_alive_every_s = 0.2\nconnections = 40\n"
                "requests_per_minute = 100000\n"
            )
            key = api_key(history.engine, "ci")
            with serving(environment) as served:
                yield Front(history, served, key, environment)


def test_there_are_a_hundred_and_twenty_bad_requests() -> None:
    assert len(BAD) >= 120
    assert len({bad.name for bad in BAD}) == len(BAD)


def test_bad_requests_are_refused_each_with_its_reason(front: Front) -> None:
    before = front.jobs()
    with front.served.client(front.key) as client:
        for bad in BAD:
            if bad.raw is None:
                _ask(client, bad, front)
    with ThreadPoolExecutor(8) as pool:  # for some the server hangs up only after a while
        list(pool.map(lambda bad: _send(front, bad), [bad for bad in BAD if bad.raw is not None]))
    assert front.jobs() == before, "nothing was begun"
    with front.served.client() as client:
        assert client.get("/healthz").status_code == 200
    said = "".join(front.served.said)
    assert "Traceback" not in said
    assert front.key not in said
    assert "odb_live" not in said


def _ask(client: httpx.Client, bad: Bad, front: Front) -> None:
    response = client.request(
        bad.method, bad.path, content=bad.body, headers={"content-type": "application/json", **bad.headers}
    )
    assert response.status_code == bad.status, (bad.name, response.status_code, response.text)
    if bad.method != "HEAD":
        assert response.headers["content-type"] == "application/json", (bad.name, response.text)
        answer = response.json()
        fits(answer, "Refusal")
        assert answer["ok"] is False
        assert answer["request_id"] == response.headers["x-request-id"]
        assert answer["error"]["hint"], bad.name
    assert response.headers["x-content-type-options"] == "nosniff"
    assert front.key not in response.text


def _send(front: Front, bad: Bad) -> None:
    """Bytes that no client library would send; nothing done, or a closed connection, and never a server's error."""
    assert bad.raw is not None
    with closing(socket.create_connection(front.served.address, 30)) as sock:
        sock.settimeout(30)
        sock.sendall(bad.raw.replace(b"KEY", front.key.encode()))
        sock.shutdown(socket.SHUT_WR)
        heard = b""
        try:
            while chunk := sock.recv(65536):
                heard += chunk
        except ConnectionError:
            pass
    status = heard[9:12].decode()
    assert status in ("", "100") or 300 <= int(status) < 500, (bad.name, heard[:300])


@pytest.mark.slow
def test_a_thousand_wrong_keys_learn_nothing(front: Front) -> None:
    good = front.key
    revoked = api_key(front.history.engine, "revoked")
    front.history.engine.apikeys.revoke("revoked")
    wrong = [texts.make().text for _ in range(400)]
    wrong += [good[:22] + texts.make().text[22:] for _ in range(100)]
    wrong += [good[:at] + ("x" if good[at] != "x" else "y") + good[at + 1 :] for at in range(9, len(good))]
    wrong += [revoked] * 50
    wrong += [f"Zm9v{n}" * 8 for n in range(1000 - len(wrong))]
    assert len(wrong) == 1000
    answers: Counter[tuple[int, str, str]] = Counter()
    ids = set()
    with ThreadPoolExecutor(8) as pool, front.served.client() as client:

        def ask(key: str) -> httpx.Response:
            headers = {"authorization": f"Bearer {key}"}
            if sum(key.encode()) % 2:
                return client.get("/api/checkpoints/" + "0" * 32, headers=headers)
            return client.post("/api/checkpoint", json={"database": "prod"}, headers=headers)

        for response in pool.map(ask, wrong):
            answer = response.json()
            ids.add(answer.pop("request_id"))
            answers[response.status_code, response.headers["www-authenticate"], str(answer)] += 1
        for path in ("/metrics", "/api/checkpoints"):
            assert client.get(path).status_code == 401
    assert len(answers) == 1, answers
    assert next(iter(answers))[:2] == (401, 'Bearer realm="offsitedb"')
    assert len(ids) == 1000
    said = "".join(front.served.said)
    assert not any(key in said for key in wrong[:50])
    with front.served.client(good) as client:
        assert client.get("/api/checkpoints").status_code == 200, "nobody was locked out by that"


def test_asynchronous_requests_and_their_keys(front: Front) -> None:
    with front.served.client(front.key) as client:
        first = client.post("/api/checkpoints", json={"database": "prod", "tag": "a"}, headers={"idempotency-key": "1"})
        assert first.status_code == 202
        fits(first.json(), "CheckpointAnswer")
        assert (first.json()["ok"], first.json()["joined"], first.json()["state"]) == (False, False, "queued")
        place = first.headers["location"]
        assert place == f"/api/checkpoints/{first.json()['id']}"
        looked = client.get(place, params={"wait": "1"})
        assert (looked.status_code, looked.json()["id"]) == (202, first.json()["id"])
        again = client.post("/api/checkpoints", json={"tag": "a", "database": "prod"}, headers={"idempotency-key": "1"})
        assert (again.status_code, again.json()["id"], again.json()["joined"]) == (202, first.json()["id"], True)
        other = client.post("/api/checkpoints", json={"database": "prod", "tag": "b"}, headers={"idempotency-key": "1"})
        assert (other.status_code, other.json()["error"]["code"]) == (422, "api.idempotency")
        prefer = client.post(
            "/api/checkpoint", json={"database": "prod", "tag": "a"}, headers={"prefer": "respond-async, wait=10"}
        )
        assert (prefer.status_code, prefer.headers["preference-applied"]) == (202, "respond-async")
        listed = client.get("/api/checkpoints", params={"database": "prod", "tag": "a"}).json()
        fits(listed, "CheckpointList")
        assert [c["id"] for c in listed["checkpoints"]] == [first.json()["id"]]
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.get, place, params={"wait": "50"})
            front.history.engine.jobs.cancel(first.json()["id"])
            ended = waiting.result(30)
        assert (ended.status_code, ended.json()["state"], ended.json()["ok"]) == (200, "cancelled", False)


def test_a_blocking_request_that_takes_long_is_fed_with_blanks(front: Front) -> None:
    with front.served.client(front.key) as client:
        with client.stream("POST", "/api/checkpoint", json={"database": "prod", "tag": "blanks"}) as response:
            assert response.status_code == 200
            assert response.headers["x-accel-buffering"] == "no"
            chunks = response.iter_raw()
            assert [next(chunks) for _ in range(3)] == [b" "] * 3
            (job,) = [j for j in front.history.engine.jobs.recent(50) if j.tag == "blanks"]
            front.history.engine.jobs.cancel(job.id)
            rest = b"".join(chunks)
        answer = httpx.Response(200, content=rest).json()
    fits(answer, "CheckpointAnswer")
    assert (answer["ok"], answer["state"], answer["error"]["exit_status"]) == (False, "cancelled", 130)


def test_a_client_that_leaves_cancels_nothing(front: Front) -> None:
    with front.served.client(front.key) as client:
        with client.stream("POST", "/api/checkpoint", json={"database": "prod", "tag": "left"}) as response:
            assert next(response.iter_raw()) == b" "
    with front.served.client(front.key) as client:
        wait_until(lambda: _waiting(client) == 0, "the server to notice")
        (job,) = [j for j in front.history.engine.jobs.recent(50) if j.tag == "left"]
        assert (job.state, job.cancel_requested) == (JobState.QUEUED, False)
        again = client.post("/api/checkpoints", json={"database": "prod", "tag": "left"}).json()
        assert (again["id"], again["joined"]) == (job.id, True)
    front.history.engine.jobs.cancel(job.id)


def _waiting(client: httpx.Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("offsitedb_api_waiting ")).split()[1])


@pytest.mark.slow
def test_twenty_at_once_at_two_servers_share_one_job(front: Front) -> None:
    before = front.jobs()
    with serving(front.environment) as second, ThreadPoolExecutor(20) as pool, ExitStack() as stack:
        clients = [stack.enter_context(s.client(front.key)) for s in (front.served, second)]

        def ask(n: int) -> httpx.Response:
            return clients[n % 2].post("/api/checkpoints", json={"database": "prod", "tag": "twenty"})

        answers = [response.json() for response in pool.map(ask, range(20))]
    assert len({a["id"] for a in answers}) == 1
    assert [a["joined"] for a in answers].count(False) == 1
    assert front.jobs() == before + 1
    front.history.engine.jobs.cancel(answers[0]["id"])


@pytest.mark.slow
def test_too_many_requests_of_one_key(front: Front, tmp_path: Path) -> None:
    config = front.history.home / "config.toml"
    kept = config.read_text()
    config.write_text("[api]\nrequests_per_minute = 5\n")
    try:
        other = api_key(front.history.engine, "busy")
        with serving(front.environment) as served, served.client(other) as client:
            answers = [client.get("/api/checkpoints") for _ in range(7)]
            assert [a.status_code for a in answers[:5]] == [200] * 5
            assert answers[5].status_code == 429
            assert int(answers[5].headers["retry-after"]) in range(1, 13)
            fits(answers[5].json(), "Refusal")
            assert client.get("/api/checkpoints", headers={"authorization": f"Bearer {front.key}"}).status_code == 200
    finally:
        config.write_text(kept)


@pytest.mark.slow
def test_slow_clients_and_too_many_of_them(front: Front) -> None:
    """Thirty heads byte by byte and ten bodies that never come hold nobody up, and are hung up on."""
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    post = (
        b"POST /api/checkpoint HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
        b"Authorization: Bearer " + front.key.encode() + b"\r\n\r\n{"
    )
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(front.served.address)) for _ in range(30)]
        bodies = [stack.enter_context(socket.create_connection(front.served.address)) for _ in range(5)]
        for sock in slow:
            sock.sendall(head)
        for sock in bodies:
            sock.sendall(post)
        with front.served.client() as client:
            assert client.get("/healthz").status_code == 200, "there is room left"
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.5):
                for sock in slow:
                    try:
                        sock.sendall(b"X-A: b\r\n")
                    except OSError:
                        return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            extra = [stack.enter_context(socket.create_connection(front.served.address)) for _ in range(10)]
            heard = []
            for sock in extra:
                sock.settimeout(3 * HEAD_WITHIN_S)
                heard.append(sock.recv(1000)[:12])
            assert b"HTTP/1.1 503" in heard, "more than forty are turned away"
            for sock in slow:
                sock.settimeout(3 * HEAD_WITHIN_S)
                assert _closed(sock)
        finally:
            stop.set()
            dripping.join()
        for sock in bodies:
            sock.settimeout(3 * HEAD_WITHIN_S)
            assert sock.recv(1000).startswith(b"HTTP/1.1 408")
    with front.served.client() as client:
        wait_until(lambda: client.get("/healthz").status_code == 200, "room again")


def _closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(1000) == b""
    except ConnectionError:
        return True


@pytest.mark.slow
def test_where_it_listens_is_the_one_document_on_stdout(front: Front) -> None:
    with serving(front.environment, "--json") as served:
        assert served.stop() == 0
        assert served.process.stdout is not None
        assert json.loads(served.process.stdout.read()) == {"listening": served.url}


def test_a_stop_tells_those_who_wait_and_leaves_their_jobs(front: Front) -> None:
    with serving(front.environment) as served, served.client(front.key) as client, ThreadPoolExecutor(2) as pool:
        blocked = pool.submit(client.post, "/api/checkpoint", json={"database": "prod", "tag": "stop"})
        wait_until(lambda: _waiting(client) == 1, "the request to wait")
        looked = pool.submit(client.get, f"/api/checkpoints/{_job(front, 'stop')}", params={"wait": "50"})
        wait_until(lambda: _waiting(client) == 2, "the look to wait")
        assert served.stop() == 0
        answer = blocked.result(10)
        assert (answer.json()["ok"], answer.json()["error"]["code"]) == (False, "job.still-running")
        assert "goes on" in answer.json()["diagnosis"]
        assert looked.result(10).status_code == 202
    assert front.history.engine.jobs.get(_job(front, "stop")).state is JobState.QUEUED
    front.history.engine.jobs.cancel(_job(front, "stop"))


def _job(front: Front, tag: str) -> str:
    return next(j.id for j in front.history.engine.jobs.recent(50) if j.tag == tag)


@pytest.mark.slow
def test_beyond_this_machine_it_needs_a_certificate(front: Front, tmp_path: Path) -> None:
    said = _refused(front, "--listen", "0.0.0.0:0")
    assert "there is no certificate" in said
    assert "--cert FILE --key FILE" in said
    _refused(front, "--listen", "127.0.0.1:0", "--unix", str(tmp_path / "s"))
    _refused(front, "--listen", "{}:{}".format(*front.served.address))


def _refused(front: Front, *options: str) -> str:
    """What it says when it does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "offsitedb_tui", "serve", *options],
        env=front.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "[api.listen]" in done.stderr) == (2, True), (options, done.stderr)
    return done.stderr


@pytest.mark.slow
def test_with_a_certificate_it_speaks_tls_alone(front: Front, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "127.0.0.1", "localhost")
    with serving(front.environment, "--listen", "0.0.0.0:0", "--cert", str(cert), "--key", str(key)) as served:
        served.url = served.url.replace("0.0.0.0", "127.0.0.1")
        context = ssl.create_default_context(cafile=str(cert))
        with served.client(front.key, verify=context) as client:
            answer = client.get("/api/checkpoints")
            assert answer.status_code == 200
            assert "max-age" in answer.headers["strict-transport-security"]
        with served.client(front.key) as client, pytest.raises(httpx.ConnectError):
            client.get("/healthz")
        with closing(socket.create_connection(served.address)) as silent:
            silent.settimeout(3 * HANDSHAKE_WITHIN_S)
            assert _closed(silent), "who never says hello is hung up on"
        with closing(socket.create_connection(served.address)) as plain:
            plain.settimeout(20)
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not _heard(plain).startswith(b"HTTP")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with warnings.catch_warnings(action="ignore"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with closing(socket.create_connection(served.address)) as sock, pytest.raises((ssl.SSLError, OSError)):
            old.wrap_socket(sock)


def _heard(sock: socket.socket) -> bytes:
    try:
        return sock.recv(100)
    except ConnectionError:
        return b""


@pytest.mark.slow
def test_a_unix_socket_is_for_its_user_and_group(front: Front, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()  # what a killed server leaves
    with serving(front.environment, "--unix", str(path)) as served:
        assert path.stat().st_mode & 0o777 == 0o660
        _refused(front, "--unix", str(path))
        transport = httpx.HTTPTransport(uds=str(path))
        headers = {"authorization": f"Bearer {front.key}"}
        with httpx.Client(transport=transport, base_url="http://localhost", headers=headers) as client:
            assert client.get("/api/checkpoints").status_code == 200
            assert client.get("/login").status_code == 200
        assert served.stop() == 0
    assert not path.exists()
