"""People with a browser: logging in, the cookie, receipts, and requests that come from somewhere else."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import httpx
import pytest

from engine.errors import AccessDenied
from engine.model import Principal, Role, Verdict
from engine.service import Engine
from offsitedb_tui.api.app import make_api
from offsitedb_tui.api.browser import COOKIE, Operators
from tests.fixtures.history import NOW, History, acme
from tests.fixtures.people import password_of, people

SITE = "https://backups.example.org"
OWN = {"origin": SITE, "sec-fetch-site": "same-origin"}


class Alice:
    """Operators of which there is one: what ``engine.operators`` has to be for a browser."""

    def __init__(self) -> None:
        self.sessions: dict[str, Principal] = {}
        self.sources: list[tuple[str, str]] = []
        self.exist = True
        self.blocked = False

    def any_exist(self) -> bool:
        return self.exist

    def login(self, name: str, password: str, source: str, kind: str) -> str:
        self.sources.append((source, kind))
        if self.blocked:
            raise AccessDenied("access.rate-limited", "too many failures", context={"wait_s": 16})
        if (name, password) != ("alice", "correct horse & staple"):
            raise AccessDenied("access.login", "user or password is wrong")
        token = hashlib.sha256(str(len(self.sources)).encode()).hexdigest()
        self.sessions[token] = Principal("operator:alice", Role.VIEWER)
        return token

    def session(self, token: str) -> Principal:
        try:
            return self.sessions[token]
        except KeyError:
            raise AccessDenied("access.login", "the session has ended") from None

    def logout(self, token: str) -> None:
        self.sessions.pop(token, None)


class Browser:
    """Requests to the app in this process, without following redirects."""

    def __init__(self, engine: Engine, operators: Operators | None) -> None:
        self._app = make_api(engine, operators, secure=True).app

    def request(self, method: str, path: str, **options: object) -> httpx.Response:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url=SITE) as client:
                return await client.request(method, path, **options)  # type: ignore[arg-type]

        return asyncio.run(run())

    def login(self, name: str = "alice", password: str = "correct horse & staple", **more: str) -> httpx.Response:
        return self.request("POST", "/login", data={"name": name, "password": password}, headers=OWN | more)

    def get(self, path: str, token: str) -> httpx.Response:
        return self.request("GET", path, headers={"cookie": f"{COOKIE}={token}"})


@pytest.fixture
def alice() -> Alice:
    return Alice()


@pytest.fixture
def window(history: History, alice: Alice) -> Browser:
    return Browser(history.engine, alice)


def token_of(response: httpx.Response) -> str:
    return response.headers["set-cookie"].partition("=")[2].partition(";")[0]


def test_a_login_gives_a_cookie_that_nobody_else_gets_at(window: Browser, alice: Alice) -> None:
    form = window.request("GET", "/login")
    assert 'type="password"' in form.text
    for response in (form, window.request("GET", "/style.css")):
        assert "script" not in response.text
    policy = form.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert form.headers["strict-transport-security"]
    assert form.headers["referrer-policy"] == "same-origin"
    done = window.login()
    assert (done.status_code, done.headers["location"]) == (303, "/receipts")
    cookie = done.headers["set-cookie"].lower()
    for part in ("__host-", "httponly", "secure", "samesite=strict", "path=/"):
        assert part in cookie
    assert "domain" not in cookie
    assert list(alice.sessions) == [token_of(done)]
    assert alice.sources[-1][1] == "browser"


def test_whoever_is_not_logged_in_sees_nothing(history: History, window: Browser) -> None:
    _, drill = history.drilled(history.connection("prod"), NOW)
    for path in ("/receipts", f"/receipts/{drill.id}", "/receipts?connection=prod"):
        for cookie in ("", f"{COOKIE}=", f"{COOKIE}=abc", f"{COOKIE}={'x' * 5000}", "\x01=;;;=\x02", "a" * 9000):
            response = window.request("GET", path, headers={"cookie": cookie})
            assert (response.status_code, response.headers["location"], response.text) == (303, "/login", ""), cookie


def test_receipts_are_listed_and_saved_as_they_were_signed(history: History, window: Browser) -> None:
    acme(history)
    token = token_of(window.login())
    page = window.get("/receipts", token)
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    assert "alice" in page.text
    lines = history.engine.drills.recent()
    assert all(f"/receipts/{line.id}" in page.text for line in lines)
    only = window.get("/receipts?connection=billing", token).text
    assert ("billing" in only, "warehouse" in only) == (True, False)
    saved = window.get(f"/receipts/{lines[0].id}", token)
    assert saved.headers["content-disposition"] == f'attachment; filename="receipt-{lines[0].id}.json"'
    assert saved.headers["content-type"] == "application/json"
    assert hashlib.sha256(saved.content).hexdigest() == lines[0].receipt_sha256
    for wrong in ("0" * 32, lines[0].id[:12], "%22%3E%3Cscript%3E", "prod-api@latest", "..%2f..%2fetc%2fpasswd"):
        missing = window.get(f"/receipts/{wrong}", token)
        assert missing.status_code == 404, wrong
        assert "<script>" not in missing.text
    assert window.get("/receipts?connection=%3Cscript%3E", token).status_code == 404


def test_who_is_limited_to_connections_sees_those(history: History, window: Browser, alice: Alice) -> None:
    prod, other = history.connection("prod"), history.connection("other")
    mine, theirs = history.drilled(prod, NOW)[1], history.drilled(other, NOW, Verdict.FAILED)[1]
    token = token_of(window.login())
    alice.sessions[token] = Principal("operator:alice", Role.VIEWER, frozenset([prod.id]))
    page = window.get("/receipts", token).text
    assert (mine.id in page, theirs.id in page) == (True, False)
    assert window.get(f"/receipts/{mine.id}", token).status_code == 200
    assert window.get(f"/receipts/{theirs.id}", token).status_code == 404


def test_monthly_reports_are_read_and_saved_as_they_were_signed(
    history: History, window: Browser, alice: Alice
) -> None:
    prod = history.connection("prod")
    history.connection("other")
    whole, part = (history.engine.reports.build("2026-11", names) for names in ((), ("prod",)))
    token = token_of(window.login())
    page = window.get("/reports", token).text
    assert ("2026-11" in page, whole.id in page, part.id in page) == (True, True, True)
    read = window.get(f"/reports/{whole.id}/report.html", token)
    assert read.content == history.engine.reports.file(whole, "report.html")
    assert "sandbox" in read.headers["content-security-policy"]
    assert "content-disposition" not in read.headers
    saved = window.get(f"/reports/{whole.id}/report.pdf", token)
    assert saved.content == history.engine.reports.file(whole, "report.pdf")
    assert saved.headers["content-disposition"] == 'attachment; filename="restore-drill-report-2026-11-r1.pdf"'
    for wrong in ("SHA256SUMS", "events.jsonl", "..%2freport.html", "%22%3E%3Cscript%3E"):
        assert window.get(f"/reports/{whole.id}/{wrong}", token).status_code == 404, wrong
    assert window.get(f"/reports/{'0' * 32}/report.html", token).status_code == 404
    assert window.get(f"/reports/{whole.id[:8]}/report.html", token).status_code == 404
    for path in ("/reports", f"/reports/{whole.id}/report.html"):
        assert window.request("GET", path).headers["location"] == "/login"
    alice.sessions[token] = Principal("operator:alice", Role.VIEWER, frozenset([prod.id]))
    page = window.get("/reports", token).text
    assert (whole.id in page, part.id in page) == (False, True)
    assert window.get(f"/reports/{whole.id}/report.html", token).status_code == 404
    assert window.get(f"/reports/{part.id}/report.html", token).status_code == 200
    folder = Path(part.folder or "")
    (folder / "report.html").write_text("<p>something else</p>")
    altered = window.get(f"/reports/{part.id}/report.html", token)
    assert (altered.status_code >= 400, "something else" in altered.text) == (True, False)


def test_failures_say_the_same_and_how_long_to_wait(window: Browser, alice: Alice) -> None:
    wrong = window.login(password="x")
    unknown = window.login(name='"><script>alert(1)</script>')
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    for response in (wrong, unknown):
        assert "User or password is wrong." in response.text
        assert "<script>" not in response.text
        assert "set-cookie" not in response.headers
    alice.blocked = True
    limited = window.login()
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "16")


def test_a_page_of_another_site_cannot_log_in_or_out(window: Browser, alice: Alice) -> None:
    token = token_of(window.login())
    foreign = (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": f"{SITE}.evil.example"},
        {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": SITE, "sec-fetch-site": "cross-site"},
    )
    for headers in foreign:
        cookie = {"cookie": f"{COOKIE}={token}"}
        assert window.request("POST", "/logout", headers=headers | cookie).status_code == 403, headers
        data = {"name": "alice", "password": "correct horse & staple"}
        assert window.request("POST", "/login", data=data, headers=headers).status_code == 403, headers
    assert list(alice.sessions) == [token]
    assert window.request("GET", "/logout").status_code == 405
    out = window.request("POST", "/logout", headers=OWN | {"cookie": f"{COOKIE}={token}"})
    assert (out.status_code, out.headers["location"], alice.sessions) == (303, "/login", {})
    assert "max-age=0" in out.headers["set-cookie"].lower()
    assert window.get("/receipts", token).status_code == 303


def test_forms_that_are_none(window: Browser) -> None:
    for content, kind, status in (
        (b"{}", "application/json", 415),
        (b"name=a", "text/plain", 415),
        (b"name=\xff", "application/x-www-form-urlencoded", 400),
        (b"name=%ff&password=%ff", "application/x-www-form-urlencoded", 400),
        (b"a=1&b=2&c=3&d=4&e=5", "application/x-www-form-urlencoded", 400),
        (b"name=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"", "application/x-www-form-urlencoded", 401),
    ):
        response = window.request("POST", "/login", content=content, headers=OWN | {"content-type": kind})
        assert response.status_code == status, (content[:20], kind)


def test_without_operators_the_page_says_how_to_add_one(history: History, alice: Alice) -> None:
    alice.exist = False
    for operators in (None, alice):
        there = Browser(history.engine, operators)
        for response in (there.request("GET", "/login"), there.login()):
            assert response.status_code == 200
            assert "There is no operator yet" in response.text
            assert "offsitedb operator add NAME --role admin" in response.text
        assert there.get("/receipts", "0" * 64).headers["location"] == "/login"
        home = there.request("GET", "/")
        assert (home.status_code, home.headers["location"]) == (303, "/receipts")


def test_operators_of_the_installation_log_in(history: History) -> None:
    _, drill = history.drilled(history.connection("prod"), NOW)
    there = Browser(history.engine, history.engine.operators)
    assert "There is no operator yet" in there.request("GET", "/login").text
    people(history.engine, alice=Role.ADMIN, vic=Role.VIEWER)
    done = there.login("vic", password_of("vic"))
    assert done.status_code == 303
    token = token_of(done)
    assert drill.id in there.get("/receipts", token).text
    assert there.get(f"/receipts/{drill.id}", token).status_code == 200
    statuses = [there.login("vic", "x" * 20).status_code for _ in range(8)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    there.request("POST", "/logout", headers=OWN | {"cookie": f"{COOKIE}={token}"})
    assert there.get("/receipts", token).status_code == 303


def test_health_says_when_the_catalog_is_gone(history: History) -> None:
    there, place = Browser(history.engine, None), history.home / "catalog.sqlite3"
    assert there.request("GET", "/healthz").json() == {"ok": True}
    history.engine.catalog.close()
    away = place.rename(history.home / "away")
    place.mkdir()
    try:
        gone = there.request("GET", "/healthz")
        assert (gone.status_code, gone.headers["retry-after"]) == (503, "2")
        assert str(history.home) not in gone.text
    finally:
        place.rmdir()
        away.rename(place)
    assert there.request("GET", "/healthz").status_code == 200
