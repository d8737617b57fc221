"""Connections that cannot work: a clear error with its code, an exit status, the next step, and nothing saved."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from engine import paths as places
from engine import preflight
from engine.cancel import CancelToken
from engine.clock import SystemClock
from engine.errors import SourceError
from engine.postgres import tools
from engine.postgres.conninfo import parse
from engine.postgres.tools import Toolset
from offsitedb_tui.demo.source import postgres_server
from tests.fixtures.pooler import pgbouncer
from tests.fixtures.program import unchanged
from tests.fixtures.shapes import PREFLIGHT, check, check_attempt
from tests.fixtures.shop import Shop
from tests.fixtures.source import as_role


def closed_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def urls(shop: Shop) -> dict[str, tuple[str, int, str, str]]:
    """Case -> (connection string, exit status, code, a word of the hint)."""
    parts = urlsplit(shop.reader_url)
    at = f"{parts.hostname}:{parts.port}"
    user = parts.username
    supabase = "postgresql://postgres.abcd:S3cretPw@aws-0-eu-west-1.pooler.supabase.com"
    return {
        "unknown host": ("postgresql://u:S3cretPw@no-such-host.invalid/db", 20, "pg.unknown-host", "host"),
        "refused": (f"postgresql://u:S3cretPw@127.0.0.1:{closed_port()}/db", 20, "pg.unreachable", "port"),
        "no socket": ("postgresql://u:S3cretPw@/db?host=/nonexistent", 20, "pg.unreachable", "host"),
        "wrong password": (f"postgresql://{user}:S3cretPw@{at}{parts.path}", 20, "pg.auth", "password"),
        "no such role": (f"postgresql://nosuch:S3cretPw@{at}{parts.path}", 20, "pg.auth", "password"),
        "no such database": (shop.reader_url + "x", 20, "pg.no-database", "pg_database"),
        "supabase transaction pooler": (supabase + ":6543/postgres", 20, "pg.pooler", "5432"),
        "neon pooler": (
            "postgresql://u:S3cretPw@ep-cool-name-12345-pooler.eu-central-1.aws.neon.tech/db",
            20,
            "pg.pooler",
            "ep-cool-name-12345.eu-central-1.aws.neon.tech",
        ),
        "tls that is not there": (shop.reader_url + "?sslmode=require", 20, "pg.tls", "sslmode"),
        "service": ("postgresql://u@h/db?service=prod", 2, "config.conninfo", "Remove service"),
        "passfile": ("host=h dbname=d passfile=/etc/passwd", 2, "config.conninfo", "Remove passfile"),
        "options": ("postgresql://u:S3cretPw@h/db?options=-c%20role%3Dadmin", 2, "config.conninfo", ""),
        "empty": ("\n", 2, "config.conninfo", "postgresql://"),
        "another scheme": ("mysql://u:S3cretPw@h/db", 2, "config.conninfo", "postgresql://"),
        "prose": ("please connect to S3cretPw", 2, "config.conninfo", "postgresql://"),
        "nul": ("postgresql://u:S3cretPw@h/d\0b", 2, "config.conninfo", ""),
        "port": ("postgresql://u:S3cretPw@h:99999/db", 2, "config.conninfo", ""),
        "long": ("postgresql://u:S3cretPw@h/" + "d" * 70_000, 2, "config.conninfo", ""),
    }


CASES = (
    "unknown host",
    "refused",
    "no socket",
    "wrong password",
    "no such role",
    "no such database",
    "supabase transaction pooler",
    "neon pooler",
    "tls that is not there",
    "service",
    "passfile",
    "options",
    "empty",
    "another scheme",
    "prose",
    "nul",
    "port",
    "long",
)


@pytest.mark.parametrize("case", CASES)
def test_connection_is_refused(shop: Shop, case: str) -> None:
    url, status, code, word = urls(shop)[case]
    with unchanged(shop.program.place):
        said = shop.program.add("bad", url)
        error = said.error(status)
        assert error["code"] == code, error
        assert word in error["hint"], error
        edited = shop.program.call("connection", "edit", "shop", "--url-stdin", "--json", stdin=url)
        assert edited.error(status)["code"] == code
    for text in (said.out, said.err, edited.out, edited.err):
        assert "S3cretPw" not in text


def test_the_list_of_cases_is_whole(shop: Shop) -> None:
    assert set(urls(shop)) == set(CASES)


@contextmanager
def role(shop: Shop) -> Iterator[tuple[str, str]]:
    """A role that may log in and read nothing: its name and its URL."""
    name, password = f"poor_{uuid4().hex[:12]}", uuid4().hex
    with psycopg.connect(shop.url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(password)))
        try:
            yield name, as_role(shop.url, name, password)
        finally:
            conn.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_a_role_that_can_read_nothing(shop: Shop) -> None:
    program = shop.program
    with role(shop) as (name, url):
        with unchanged(program.place):
            said = program.add("poor", url)
            error = said.error(60)
            people = program.call("connection", "add", "poor", "--destination", "here", "--url-stdin", stdin=url)
        assert error["code"] == "preflight.nothing-readable"
        assert name in error["message"]
        assert people.status == 60
        for text in (error["hint"], people.err):
            assert f'GRANT pg_read_all_data TO "{name}"' in text
        # what the hint says is what helps
        recipe = "\n".join(line for line in error["hint"].splitlines() if line.endswith(";"))
        with psycopg.connect(shop.url, autocommit=True) as conn:
            conn.execute(recipe.encode())
        try:
            added = program.add("poor", url).document()
            check(added["preflight"], PREFLIGHT)
            assert added["preflight"]["captured"]["tables"] == 3
        finally:
            program.call("connection", "remove", "poor")


def test_accept_empty_must_be_said(shop: Shop) -> None:
    program = shop.program
    with role(shop) as (_, url):
        try:
            added = program.add("poor", url, "--accept-empty").document()
            assert added["connection"]["accept_empty"] is True
            assert added["preflight"]["captured"]["tables"] == 0
            found = program.call("connection", "preflight", "poor", "--json")
            assert found.document()["captured"]["tables_in_source"] == 3
            with unchanged(program.place):
                refused = program.call("connection", "edit", "poor", "--no-accept-empty", "--json")
                assert refused.error(60)["code"] == "preflight.nothing-readable"
        finally:
            program.call("connection", "remove", "poor")


def test_a_role_that_lost_its_rights(shop: Shop) -> None:
    """Preflight runs before every snapshot: the job fails in its words, and nothing is written."""
    program = shop.program
    with role(shop) as (name, url), psycopg.connect(shop.url, autocommit=True) as conn:
        grant = sql.SQL("GRANT pg_read_all_data TO {}").format(sql.Identifier(name))
        conn.execute(grant)
        assert program.add("poor", url).status == 0
        try:
            conn.execute(sql.SQL("REVOKE pg_read_all_data FROM {}").format(sql.Identifier(name)))
            with unchanged(program.place):
                found = program.call("connection", "preflight", "poor", "--json")
                check(found.document(60), PREFLIGHT)
                document = program.run("checkpoint", "poor", "--wait", "--json").document(60)
            check_attempt(document)
            assert document["snapshot"] is None
            assert document["job"]["state"] == "failed"
            assert document["job"]["error"]["code"] == "preflight.nothing-readable"
            assert "pg_read_all_data" in document["job"]["error"]["hint"]
            conn.execute(sql.SQL("ALTER ROLE {} PASSWORD 'another'").format(sql.Identifier(name)))
            with unchanged(program.place):
                refused = program.run("checkpoint", "poor", "--wait")
            assert refused.status == 20
            assert refused.out.startswith("✗ no snapshot · the server refused the user")
            assert "[pg.auth]" in refused.err
            newest = program.call("ledger", "--connection", "poor", "--json").document()[0]
            check_attempt(newest)
            assert newest["job"]["error"]["code"] == "pg.auth"
        finally:
            program.call("connection", "remove", "poor")


def test_f01_server_newer_than_every_pg_dump(shop: Shop, toolset: Toolset) -> None:
    older = replace(toolset, major=toolset.major - 1, version_num=toolset.version_num - 10_000)
    found = preflight.run(
        parse(shop.reader_url),
        toolsets=(older,),
        accept_empty=False,
        cancel=CancelToken(),
        clock=SystemClock(),
        job="test",
    )
    with pytest.raises(SourceError) as caught:
        preflight.raise_if_blocking(found)
    assert caught.value.code == "pg.version"
    assert caught.value.exit_status == 20
    assert str(toolset.major) in caught.value.message
    assert f"offsitedb postgres install {toolset.major}" in caught.value.hint


@pytest.mark.slow
def test_f01_a_real_newer_server(shop: Shop, tmp_path: Path) -> None:
    """A server of a major that the installation has no programs of: theirs lie where it does not look."""
    with shop.program.place.engine() as engine:
        known = max(t.major for t in engine.toolsets())
    others = [t for t in tools.discover(places.locate(runtime=places.SYSTEM_ROOT)) if t.has_server and t.major > known]
    if not others:
        pytest.skip(f"no server newer than {known} is installed on this machine")
    directory = Path(tempfile.mkdtemp(prefix="odbnew-"))
    directory.chmod(0o711)
    try:
        with postgres_server(others[0], directory / "pg", keep=False, cancel=CancelToken()) as newer:
            with psycopg.connect(newer.url(), autocommit=True) as conn:
                conn.execute("CREATE TABLE t AS SELECT 1 AS n")
            with unchanged(shop.program.place):
                error = shop.program.add("newer", newer.url()).error(20)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    assert error["code"] == "pg.version"
    assert f"server {others[0].major}, newest pg_dump here {known}" in error["message"]
    assert f"offsitedb postgres install {others[0].major}" in error["hint"]


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_f06_a_real_pooler(shop: Shop, mode: str) -> None:
    with pgbouncer(shop.reader_url, mode) as url:
        with unchanged(shop.program.place):
            said = shop.program.add("pooled", url)
            error = said.error(20)
    assert error["code"] == "pg.pooler", error
    assert "session" in error["hint"]
    assert shop.password not in said.out + said.err


def test_f06_a_pooler_in_session_mode_is_fine(shop: Shop) -> None:
    with pgbouncer(shop.reader_url, "session") as url:
        document = shop.program.add("pooled", url).document()
    shop.program.call("connection", "remove", "pooled")
    assert document["preflight"]["captured"]["tables"] == 3


def test_no_programs_at_all(shop: Shop) -> None:
    found = preflight.run(
        parse(shop.reader_url), toolsets=(), accept_empty=False, cancel=CancelToken(), clock=SystemClock(), job="test"
    )
    with pytest.raises(SourceError) as caught:
        preflight.raise_if_blocking(found)
    assert caught.value.code == "pg.tool-missing"
