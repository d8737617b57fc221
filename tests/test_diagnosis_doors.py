"""What stands at a server's door: pg_hba.conf, certificates, the number of sessions, recovery. Each provoked for real.

On every major that is here; the commands of the hints are run, and open the door.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from engine.cancel import CancelToken
from engine.postgres import isolation
from engine.postgres.tools import Toolset, environment
from engine.process import clean_environment, spawn
from offsitedb_tui.demo.source import Admin, postgres_server
from tests.fixtures.binaries import installed
from tests.fixtures.certificates import Authority, authority, give
from tests.fixtures.installation import wait_until
from tests.fixtures.provoking import dump_error, expect, hba, refused, reload, session_error, settle
from tests.fixtures.source import as_role

pytestmark = pytest.mark.slow
PASSWORD = "pw-of-a-role-1"


@pytest.fixture(scope="module", params=installed(), ids=lambda t: str(t.major))
def programs(request: pytest.FixtureRequest) -> Toolset:
    found: Toolset = request.param
    return found


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="odbdoor-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def door(programs: Toolset) -> Iterator[tuple[Admin, Path, Path, Authority]]:
    """A server with TLS and a role ``r``; its data directory, the file of its authority, the authority."""
    place = Path(tempfile.mkdtemp(prefix="odbdoor-"))
    place.chmod(0o711)
    known = authority("a private CA")
    try:
        with postgres_server(programs, place / "pg", keep=False, cancel=CancelToken()) as admin:
            settle(admin.url(), f"CREATE ROLE r LOGIN PASSWORD '{PASSWORD}'")
            give(place / "pg" / "data", known)
            names = ("ssl_cert_file = 'tls.crt'", "ssl_key_file = 'tls.key'", "ssl_ca_file = 'root.crt'", "ssl = on")
            reload(admin.url(), *(f"ALTER SYSTEM SET {name}" for name in names))
            yield admin, place / "pg" / "data", known.write(place / "ca.crt"), known
    finally:
        shutil.rmtree(place, ignore_errors=True)


def line_of(hint: str) -> str:
    """The line for pg_hba.conf in a hint."""
    return next(str(text) for text in re.findall(r"`([^`]*)`", hint) if text.startswith(("host", "local")))


def test_pg_hba_conf_and_the_line_that_opens_it(door: tuple[Admin, Path, Path, Authority], programs: Toolset) -> None:
    admin, data, _, _ = door
    url = as_role(admin.url(), "r", PASSWORD)
    ours = "host all postgres 127.0.0.1/32 scram-sha-256"
    shut = "host all r 127.0.0.1/32 reject"
    with hba(admin.url(), data, ours, shut):
        found = refused(f"{url}?sslmode=require", programs)
        for error in (found.session, found.dump):
            expect(error, "pg.auth", "pg_hba.conf refuses r from this machine's address", "pg_hba_file_rules")
        settle(admin.url(), re.findall(r"`(SELECT[^`]*)`", found.session.hint)[0])
    kept = (data / "pg_hba.conf").read_text()
    (data / "pg_hba.conf").write_text(ours + "\n")
    reload(admin.url())
    try:
        for mode in ("require", "prefer"):
            found = refused(f"{url}?sslmode={mode}", programs)
            for error in (found.session, found.dump):
                expect(error, "pg.auth", "allows no login of r to postgres", "hostssl postgres r 127.0.0.1/32")
        found = refused(f"{url}?sslmode=disable", programs)
        for error in (found.session, found.dump):
            expect(error, "pg.tls", "wants an encrypted connection", "sslmode=verify-full")
        hint = session_error(f"{url}?sslmode=require").hint
        with hba(admin.url(), data, line_of(hint)):
            psycopg.connect(f"{url}?sslmode=require").close()
    finally:
        (data / "pg_hba.conf").write_text(kept)
        reload(admin.url())


def test_a_client_certificate_and_the_system_s_own_users(
    door: tuple[Admin, Path, Path, Authority], programs: Toolset
) -> None:
    admin, data, _, _ = door
    url = as_role(admin.url(), "r", PASSWORD)
    with hba(admin.url(), data, "hostssl all r 127.0.0.1/32 cert"):
        found = refused(f"{url}?sslmode=require", programs)
        for error in (found.session, found.dump):
            expect(error, "pg.tls", "asks for a client certificate", "hostssl postgres r ADDRESS scram-sha-256")
        line = line_of(found.session.hint).replace("ADDRESS", "127.0.0.1/32")
        with hba(admin.url(), data, line):
            psycopg.connect(f"{url}?sslmode=require").close()
    socket = f"postgresql://r:{PASSWORD}@/postgres?host={data.parent}&port={admin.port}"
    with hba(admin.url(), data, "local all all peer"):
        found = refused(socket, programs)
        for error in (found.session, found.dump):
            expect(error, "pg.auth", "asks this machine's operating system who r is", "local postgres r scram-sha-256")
        with hba(admin.url(), data, line_of(found.session.hint)):
            psycopg.connect(socket).close()


def test_certificates(door: tuple[Admin, Path, Path, Authority], programs: Toolset, tmp_path: Path) -> None:
    admin, data, ca, known = door
    strict = f"{admin.url()}?sslmode=verify-full&sslrootcert="
    psycopg.connect(f"{strict}{ca}").close()
    other = authority("another CA").write(tmp_path / "other.crt")
    (tmp_path / "junk.crt").write_text("junk")
    unknown = "is not signed by an authority that is known here"
    cases = [
        (f"{strict}{other}", unknown, "sslrootcert=/path/to/ca.crt"),
        (f"{admin.url()}?sslmode=verify-full", unknown, "sslrootcert=/path/to/ca.crt"),
        (f"{strict}{tmp_path}/junk.crt", "the CA file cannot be read", "Check the path behind sslrootcert"),
        (f"{strict}/no/such/ca.crt", "the CA file cannot be read", "Check the path behind sslrootcert"),
        (f"{strict}{ca}".replace("127.0.0.1", "localhost"), "is for another host name", "stands in the certificate"),
    ]
    for url, words, hint in cases:
        expect(session_error(url), "pg.tls", words, hint)
        assert dump_error(url, programs).code == "pg.tls"
    for by, days, words, hint in (
        (known, (-9, -3), "is over (SSL error: certificate verify failed: certificate has expired)", "openssl x509"),
        (known, (3, 9), "not valid yet, by the clock of this machine", "timedatectl"),
        (None, (-1, 1), f"{unknown} (SSL error: certificate verify failed: self-signed certificate)", "sslrootcert="),
    ):
        give(data, by, days=days)
        reload(admin.url())
        expect(session_error(f"{strict}{ca}"), "pg.tls", words, hint)
        expect(dump_error(f"{strict}{ca}", programs), "pg.tls", "could not be verified", "sslrootcert=")
    give(data, known)
    reload(admin.url())
    psycopg.connect(f"{strict}{ca}").close()


def test_too_many_sessions(door: tuple[Admin, Path, Path, Authority], programs: Toolset) -> None:
    admin, _, _, _ = door
    url = as_role(admin.url(), "r", PASSWORD)
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(psycopg.connect(url))
            except psycopg.OperationalError:
                break
        found = refused(url, programs)
        for error in (found.session, found.dump):
            expect(error, "pg.unreachable", "the server has no free connection", "pg_stat_activity")
            assert error.retry
        assert "reserved" in found.session.message
        settle(admin.url(), re.findall(r"`(SELECT[^`]*)`", found.session.hint)[0])
        with ExitStack() as more:
            while "too many clients" not in str(refusal(admin.url())):
                more.enter_context(psycopg.connect(admin.url()))
            expect(session_error(url), "pg.unreachable", "the server has no free connection", "max_connections")


def test_a_server_that_stops_and_a_standby_without_hot_standby(programs: Toolset, directory: Path) -> None:
    with postgres_server(programs, directory / "pg", keep=True, cancel=CancelToken()) as admin:
        with psycopg.connect(admin.url()):
            os.kill(int((directory / "pg" / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGTERM)
            wait_until(lambda: "shutting down" in str(refusal(admin.url())), "the server to stop")
            found = refused(admin.url(), programs)
            for error in (found.session, found.dump):
                expect(error, "pg.unreachable", "does not accept connections at the moment", "Wait until")
                assert error.retry
    data = directory / "pg" / "data"
    (data / "standby.signal").touch()
    os.chown(data / "standby.signal", data.stat().st_uid, data.stat().st_gid)
    argv: list[str | Path] = [
        programs.bindir / "postgres",
        "-D",
        data,
        "-p",
        str(admin.port),
        "-h",
        "127.0.0.1",
        "-k",
        data.parent,
    ]
    env = clean_environment(environment(programs))
    with spawn(
        [*argv, "-c", "hot_standby=off"],
        name="standby",
        cancel=CancelToken(),
        env=env,
        run_as=isolation.drill_user(),
        cwd=data.parent,
        stdout=None,
    ):
        wait_until(lambda: "not accepting" in str(refusal(admin.url())), "the standby")
        found = refused(admin.url(), programs)
        for error in (found.session, found.dump):
            expect(error, "pg.unreachable", "does not accept connections at the moment", "hot_standby = off")


def refusal(url: str) -> str | None:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError as e:
        return str(e)
    return None
