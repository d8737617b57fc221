"""The client of the checkpoint API: addresses, keys, what it makes of answers that are none."""

from __future__ import annotations

import http.server
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.access import apikeys as texts
from engine.codec import to_plain
from engine.errors import AccessDenied, CatalogError, ConfigError, StillRunning
from engine.keys.backends import OK as OK_STATE
from engine.keys.backends import Request
from engine.keys.door import OsKeyring
from engine.model import JobState
from offsitedb_tui import remote
from offsitedb_tui.api.answers import refusal
from offsitedb_tui.cli import app
from offsitedb_tui.output import run
from offsitedb_tui.remote import Client, Remote, find_key, read_url, trust
from tests.fixtures.secret_service import secret_service


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "ftp://example.org",
        "https://",
        "https://user:secret@example.org",
        "https://example.org/?a=b",
        "https://example.org/#x",
        "http://example.org",
        "http://10.0.0.1:8440",
        "http://127.0.0.1.example.org",
        "file:///etc/passwd",
        "https://[::1",
    ],
)
def test_addresses_that_will_not_do(url: str) -> None:
    with pytest.raises(ConfigError) as e:
        read_url(url)
    assert e.value.code == "api.address"
    assert "secret" not in str(e.value)


def test_addresses_that_will() -> None:
    for url in ("https://example.org", "https://example.org/base/", "http://127.0.0.1:8440", "http://[::1]:1"):
        assert str(read_url(url)) == url.rstrip("/")
    assert read_url("http://localhost:8440").host == "localhost"


def test_the_key_is_never_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    key, url = texts.make().text, read_url("https://example.org")
    monkeypatch.setenv("OFFSITEDB_API_KEY", f" {key}\n")
    assert find_key(url, from_stdin=False) == key
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{key}\n"))
    assert find_key(url, from_stdin=True) == key
    for wrong in (key[:-1], "x", key + "0"):
        monkeypatch.setenv("OFFSITEDB_API_KEY", wrong)
        with pytest.raises(ConfigError, match="mistyped") as e:
            find_key(url, from_stdin=False)
        assert wrong not in e.value.message
    assert run(app, ["checkpoint", "shop", "--remote", "https://example.org", "--key", key]) == 2


@pytest.mark.slow
def test_the_key_may_lie_in_the_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, url = texts.make().text, read_url("https://example.org")
    monkeypatch.delenv("OFFSITEDB_API_KEY", raising=False)
    with secret_service(tmp_path) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ConfigError) as e:
            find_key(url, from_stdin=False)
        assert e.value.code == "api.no-key"
        kept = OsKeyring().ask(Request("set", "secret-service", "offsitedb-api", str(url), key))
        assert kept.state == OK_STATE
        assert find_key(url, from_stdin=False) == key
        with pytest.raises(ConfigError):
            find_key(read_url("https://other.example.org"), from_stdin=False)


def test_a_ca_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("rubbish")
    for path in (tmp_path / "ca.pem", tmp_path / "none.pem"):
        with pytest.raises(ConfigError) as e:
            trust(path)
        assert e.value.code == "api.address"


@contextmanager
def answering(*answers: tuple[int, bytes, dict[str, str]]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that gives these answers in turn, the last one for ever, and notes what it was sent."""
    left, heard = list(answers), []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.do_GET()

        def do_GET(self) -> None:
            heard.append({k.lower(): v for k, v in self.headers.items()})
            status, body, headers = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", heard
        finally:
            server.shutdown()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PAUSES_S", (0.01, 0.01))


def client(url: str) -> Client:
    return Client(Remote(read_url(url), texts.make().text, True), lambda why: None)


QUEUED: dict[str, object] = {
    "ok": False,
    "id": "a" * 32,
    "database": "shop",
    "tag": None,
    "state": "queued",
    "restore_drill": "not run",
    "requested_at": "2026-11-25T09:54:34.537560Z",
    "joined": False,
    "failures": [],
    **dict.fromkeys(("diagnosis", "error", "snapshot_id", "taken_at", "size", "size_bytes", "sha256", "tables")),
    **dict.fromkeys(("tables_in_source", "rows", "drill_id", "drilled_at", "restore_s", "skips", "receipt_sha256")),
}
OK = json.dumps(QUEUED).encode()


def test_it_asks_again_under_the_same_idempotency_key(impatient: None) -> None:
    busy = (503, b"", {"retry-after": "0"})
    with answering(busy, (502, b"bad gateway", {}), (202, OK, {})) as (url, heard), client(url) as asking:
        assert asking.ask("shop", None).state is JobState.QUEUED
    assert len(heard) == 3
    assert len({h["idempotency-key"] for h in heard}) == 1


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>a login page</html>", {}),
        (200, b"", {}),
        (200, b"[1]", {}),
        (200, b"{}", {}),
        (200, b'{"request_id": 1}', {}),
        (200, b"\xff\xfe", {}),
        (302, b"", {"location": "http://127.0.0.1:1/"}),
        (404, b"not found", {}),
        (200, b'{"ok": true}' + b" " * (2 << 20), {}),
        (200, OK.replace(b'"queued"', b'"marvellous"'), {}),
        (503, b"no", {"retry-after": "0"}),
    ],
)
def test_what_answers_is_not_the_api(impatient: None, answer: tuple[int, bytes, dict[str, str]]) -> None:
    with answering(answer) as (url, _), client(url) as asking, pytest.raises(CatalogError) as e:
        asking.ask("shop", None)
    assert (e.value.code, e.value.exit_status) == ("api.unreachable", 50)


def test_what_the_server_refuses_is_the_same_error_here(impatient: None) -> None:
    for error in (AccessDenied("access.key", "no"), ConfigError("config.not-found", "nothing", hint="Look.")):
        body = json.dumps(to_plain(refusal(error, "0" * 16))).encode()
        with answering((401, body, {})) as (url, _), client(url) as asking, pytest.raises(type(error)) as e:
            asking.ask("shop", None)
        assert (e.value.code, e.value.message, e.value.hint) == (error.code, error.message, error.hint)


def test_a_server_that_is_lost_while_it_is_followed_leaves_the_checkpoint(impatient: None) -> None:
    with answering((202, OK, {})) as (url, _), client(url) as asking:
        answer = asking.ask("shop", None)
        with pytest.raises(StillRunning):
            asking.follow(answer, 0.0, lambda a: None)
    with client(url) as asking, pytest.raises(StillRunning) as e:
        asking.follow(answer, None, lambda a: None)
    assert "goes on there" in e.value.message
    with client(url) as asking, pytest.raises(CatalogError):
        asking.ask("shop", None)
