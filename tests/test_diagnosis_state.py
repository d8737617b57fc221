"""Sources that are full, damaged, busy or strange, for real: what pg_dump or a session says becomes plain words."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import psycopg
import pytest

from engine.cancel import CancelToken
from engine.errors import SourceError
from engine.postgres.dump import finish_dump
from engine.postgres.rule import Surroundings
from engine.postgres.tools import Toolset, environment
from engine.process import clean_environment, spawn
from tests.fixtures.binaries import installed
from tests.fixtures.disks import small_disk
from tests.fixtures.drill_parts import Source
from tests.fixtures.postgres_server import create_database, run_server
from tests.fixtures.provoking import expect, settle, told

pytest_plugins = ("tests.fixtures.drills",)


def dumped(origin: Source, *flags: str) -> SourceError:
    """What is said of a pg_dump that fails."""
    argv = [str(origin.toolset.bindir / "pg_dump"), "-Fc", "-Z0", *flags, "-d", origin.url]
    env = clean_environment(environment(origin.toolset))
    with spawn(argv, name="pg_dump", cancel=CancelToken(), env=env) as child:
        child.stdout.read()
        with pytest.raises(SourceError) as caught:
            finish_dump(child, Surroundings(role="reader", major=origin.toolset.major, dbname="shop"))
    return caught.value


def rows(url: str, hint: str) -> list[tuple[object, ...]]:
    """What the query of a hint finds."""
    line = next(part for part in re.split(r"[`\n]", hint) if part.startswith("SELECT"))
    with psycopg.connect(url) as conn:
        return conn.execute(line.encode()).fetchall()


def test_an_extension_s_library_is_gone(origin: Source) -> None:
    origin.run("CREATE EXTENSION hstore", "CREATE TABLE h AS SELECT 'a=>1'::hstore AS h")
    origin.run("UPDATE pg_proc SET probin = '$libdir/gone' WHERE probin = '$libdir/hstore'")
    error = dumped(origin)
    expect(
        error, "pg.dump-failed", "the library $libdir/gone of an extension is gone from the database server", "SELECT"
    )
    assert [name for name, _ in rows(origin.url, error.hint)] == ["hstore"]


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (
            ("CREATE SCHEMA gone", "CREATE TABLE gone.t (a int)", "DELETE FROM pg_namespace WHERE nspname = 'gone'"),
            "schema",
        ),
        (("CREATE TABLE t (a serial)", "DELETE FROM pg_class WHERE relname = 't'"), "parent table"),
    ],
)
def test_a_catalog_that_names_what_is_gone(origin: Source, breaks: tuple[str, ...], says: str) -> None:
    origin.run(*breaks[:-1], f"SET allow_system_table_mods = on; {breaks[-1]}")
    error = dumped(origin)
    expect(
        error,
        "pg.damaged",
        f"the source's own catalog is damaged: something in it stands on a {says} (number",
        "SELECT",
    )
    assert rows(origin.url, error.hint)


def test_an_owner_that_is_gone(postgres_server: str, origin: Source) -> None:
    origin.run("CREATE ROLE goes_away", "CREATE TABLE owned (a int)", "ALTER TABLE owned OWNER TO goes_away")
    origin.run("SET allow_system_table_mods = on; DELETE FROM pg_authid WHERE rolname = 'goes_away'")
    error = dumped(origin)
    expect(error, "pg.damaged", "stands on a role (number", "ALTER TABLE … OWNER TO …;")
    assert [found[0] for found in rows(origin.url, error.hint)] == ["pg_class"]
    origin.run("ALTER TABLE owned OWNER TO postgres")
    assert origin.dump()


def test_limits_of_the_server(origin: Source) -> None:
    deep = "CREATE FUNCTION deep(int) RETURNS int LANGUAGE plpgsql AS 'begin return deep($1 + 1); end'"
    found = told(origin.url, deep, "SELECT deep(1)")
    assert (found.code, found.rule) == ("pg.dump-failed", "source-recursion")
    assert "Look at deep(integer) at the source" in (found.hint or "")
    small = "SET temp_file_limit = '100kB'; SET work_mem = '64kB'"
    found = told(origin.url, small, "SELECT count(*) FROM (SELECT DISTINCT g FROM generate_series(1, 100000) g) g")
    assert (found.code, "ALTER ROLE reader SET temp_file_limit = -1;" in (found.hint or "")) == ("pg.resources", True)
    found = told(
        origin.url, "SET lock_timeout = '20ms'", "CREATE TABLE held (a int)", "SELECT pg_sleep(0) FROM nowhere"
    )
    assert found.code == "pg.dump-failed"


def test_f8_every_timeout_that_ends_a_session(origin: Source) -> None:
    wanted = {"idle_in_transaction_session_timeout": "BEGIN"}
    if origin.toolset.major >= 14:
        wanted["idle_session_timeout"] = "SELECT 1"
    if origin.toolset.major >= 17:
        wanted["transaction_timeout"] = "BEGIN"
    for name, then in wanted.items():
        with psycopg.connect(origin.url, autocommit=True) as watch:

            def gone(watch: psycopg.Connection[tuple[object, ...]] = watch, name: str = name) -> None:
                query = "SELECT FROM pg_stat_activity WHERE application_name = %s"
                while watch.execute(query, [f"ends by {name}"]).fetchall():
                    pass

            url = f"{origin.url}&application_name=ends by {name}".replace(" ", "%20")
            found = told(url, f"SET {name} = '50ms'", then, "SELECT 1", before_last=gone)
        assert (found.code, f"SET {name} = 0;" in (found.hint or "")) == ("pg.timeout", True), found


def test_a_lock_that_a_session_waits_for(origin: Source) -> None:
    origin.run("CREATE TABLE held (a int)")
    with psycopg.connect(origin.url) as holder:
        holder.execute("LOCK TABLE held")
        found = told(origin.url, "SET lock_timeout = '50ms'", "BEGIN", "LOCK TABLE public.held IN ACCESS SHARE MODE")
        assert (found.code, found.retry) == ("pg.lock-timeout", True)
        assert holder.info.backend_pid in [row[0] for row in rows(origin.url, found.hint or "")]


@pytest.mark.slow
def test_f1_a_newer_server(toolset: Toolset) -> None:
    newer = next((t for t in installed() if t.major > toolset.major), None)
    if newer is None:
        pytest.skip("no newer PostgreSQL is installed here")
    with run_server(newer) as server:
        error = dumped(Source(server, toolset))
    expect(
        error, "pg.version", f"is older than the server ({newer.major}.", f"offsitedb postgres install {newer.major}"
    )


@pytest.mark.slow
def test_the_server_s_disk_is_full(toolset: Toolset) -> None:
    with small_disk(96 * 1024) as disk:
        disk.chmod(0o777)
        with run_server(toolset, "max_wal_size=32MB", "wal_level=minimal", "max_wal_senders=0", inside=disk) as url:
            spill = "SELECT count(*) FROM (SELECT DISTINCT g, repeat('x', 500) FROM generate_series(1, 500000) g) g"
            for statements in (("SET work_mem = '64kB'", spill), (f"CREATE TABLE f AS {spill[22:-3]}",)):
                found = told(url, *statements)
                assert (found.code, found.rule) == ("pg.resources", "source-disk"), found
                for query in re.findall(r"`(SELECT[^`]*)`", found.hint or ""):
                    settle(url, query)


@pytest.mark.slow
def test_a_value_too_large_to_be_sent_is_not_called_damage(origin: Source) -> None:
    """What nobody can hand out is one thing, what a disk has lost another."""
    origin.run(
        "CREATE TABLE bytes (a bytea); ALTER TABLE bytes ALTER a SET STORAGE EXTERNAL",
        "INSERT INTO bytes VALUES (convert_to(repeat('x', 540000000), 'UTF8'))",
    )
    error = dumped(origin, "--table=public.bytes")
    expect(error, "pg.dump-failed", "a row of table public.bytes is larger than 1 GB as text", "DO $do$")
    block = error.hint[error.hint.index("DO $do$") : error.hint.index("END $do$;") + len("END $do$;")]
    said: list[str] = []
    with psycopg.connect(origin.url, autocommit=True) as conn:
        conn.add_notice_handler(lambda d: said.append((d.message_primary or "").split(":")[0]))
        conn.execute(block.encode())
    assert said == ["page 0"]


@pytest.mark.slow
def test_f9_a_server_that_is_stopped_in_the_middle(toolset: Toolset) -> None:
    with run_server(toolset) as server:
        url = create_database(server, "stopped")
        settle(url, "CREATE TABLE t AS SELECT repeat('x', 1000) x FROM generate_series(1, 100000)")
        home = Path(server.split("host=")[1])
        argv = [str(toolset.bindir / "pg_dump"), "-Fc", "-Z0", "-d", url]
        env = clean_environment(environment(toolset))
        with spawn(argv, name="pg_dump", cancel=CancelToken(), env=env) as child:
            child.stdout.read(1 << 16)
            os.kill(int((home / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
            reader = threading.Thread(target=child.stdout.read)
            reader.start()
            with pytest.raises(SourceError) as caught:
                finish_dump(child)
            reader.join()
    expect(caught.value, "pg.dump-failed", "was cut before the dump was whole", "begun again by itself")
    assert caught.value.retry
