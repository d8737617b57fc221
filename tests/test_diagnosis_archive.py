"""What a host lacks and what an archive has, for real: pg_restore's words in a drill, and in a server of the user's."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from engine.errors import CouldNotVerify, DrillFailed
from engine.model import Failure
from engine.postgres.rule import Place
from engine.postgres.tools import Toolset, has_extension
from tests.fixtures.binaries import installed
from tests.fixtures.disks import small_disk
from tests.fixtures.drill_parts import Drill, Source
from tests.fixtures.installation import wait_until
from tests.fixtures.postgres_server import create_database, run_server
from tests.fixtures.provoking import first, restored, settle

pytest_plugins = ("tests.fixtures.drills",)
pytestmark = pytest.mark.slow


def could_not(drill: Drill, archive: bytes) -> CouldNotVerify:
    with pytest.raises(CouldNotVerify) as caught, drill(archive):
        pass
    return caught.value


def failures(drill: Drill, archive: bytes) -> tuple[Failure, ...]:
    with drill(archive) as (_cluster, outcome):
        return outcome.failures


def about(found: tuple[Failure, ...], name: str) -> Failure:
    (failure,) = [f for f in found if name in f.message.split(":")[0]]
    return failure


# the host


def test_a_locale_that_the_host_does_not_have(origin: Source, drill: Drill) -> None:
    origin.run("CREATE COLLATION far (locale = 'C')", "CREATE TABLE t (a text COLLATE far)")
    origin.run("UPDATE pg_collation SET collcollate = 'xx_XX.utf8', collctype = 'xx_XX.utf8' WHERE collname = 'far'")
    error = could_not(drill, origin.dump())
    assert error.code == "drill.locale-missing"
    assert 'says nothing about the snapshot (could not create locale "xx_XX.utf8"' in error.message
    assert "locale" in error.hint


def test_f27_an_extension_that_the_host_does_not_have(toolset: Toolset, origin: Source) -> None:
    bare = next((t for t in installed() if not has_extension(t, "plperl") and t.major >= toolset.major), None)
    if bare is None or not has_extension(toolset, "plperl"):
        pytest.skip("needs one PostgreSQL with plperl and one without")
    origin.run("CREATE EXTENSION plperl", "CREATE FUNCTION f() RETURNS int LANGUAGE plperl AS 'return 1'")
    with run_server(bare) as server:
        found = restored(origin.dump(), create_database(server), bare, Place.RESTORE)
        missing = first(found, "extension")
        assert (missing.code, missing.host) == ("drill.extension-missing", True)
        assert f"`apt install postgresql-{bare.major}-plperl`" in (missing.hint or "")
        assert "`CREATE EXTENSION plperl;`" in (first(found, "language").hint or "")
        found = restored(origin.dump(), create_database(server), bare, Place.TARGET)
        hint = first(found, "target-extension").hint or ""
        settle(server, re.findall(r"`(SELECT[^`]*)`", hint)[0])


def test_f30_an_archive_of_a_newer_pg_dump(toolset: Toolset) -> None:
    newer = next((t for t in installed() if t.major >= 17 and toolset.major < 16), None)
    if newer is None:
        pytest.skip("needs a PostgreSQL before 16 and one from 17 on")
    with run_server(newer) as server:
        source = Source(create_database(server), newer)
        source.run("CREATE TABLE t (a int)")
        archive = source.dump()
    with run_server(toolset) as older:
        (found,) = restored(archive, create_database(older), toolset, Place.RESTORE)
        assert (found.code, found.host, found.rule) == ("drill.tool-missing", True, "archive-version")
        assert "`offsitedb postgres install 17`" in (found.hint or "")
        for place, rule in ((Place.RESTORE, "newer-setting"), (Place.TARGET, "target-older")):
            found = first(restored(archive, create_database(older), newer, place), rule)
            assert "does not know transaction_timeout" in found.sentence


def test_f33_the_disk_of_the_drill_is_full(toolset: Toolset, origin: Source) -> None:
    origin.run("CREATE TABLE big AS SELECT repeat('x', 500) x FROM generate_series(1, 200000)")
    with small_disk(112 * 1024) as disk:
        disk.chmod(0o777)
        settings = ("max_wal_size=32MB", "wal_level=minimal", "max_wal_senders=0")
        with run_server(toolset, *settings, inside=disk) as server:
            filler = "CREATE TABLE filler AS SELECT repeat('y', 500) FROM generate_series(1, 25000)"
            settle(server, filler)
            url = create_database(server)
            for place, rule, words in (
                (Place.RESTORE, "scratch-disk", "the disk of the drill is full"),
                (Place.TARGET, "target-disk", "the target's disk is full"),
            ):
                found = restored(origin.dump(), url, toolset, place, "--single-transaction")
                assert words in first(found, rule).sentence, found
                assert ("No space left on device" in found[0].message) or "could not extend" in found[0].message


# the archive


def test_an_archive_that_is_cut_garbled_or_none_at_all(toolset: Toolset, origin: Source) -> None:
    origin.run("CREATE TABLE t AS SELECT g FROM generate_series(1, 5000) g")
    whole = origin.dump()
    for bad in (whole[: len(whole) // 2], b"PGDMP" + b"x" * 200, b"hello, this is no archive", b""):
        for place in (Place.RESTORE, Place.TARGET):
            found = first(restored(bad, origin.url, toolset, place, "--clean", "--if-exists"), "cut-archive")
            assert (found.code, "cut or damaged" in found.sentence) == ("drill.restore", True)
            assert "Take a new checkpoint now" in (found.hint or "")


@pytest.fixture
def bad_text(postgres_server: str, origin: Source) -> Iterator[Source]:
    """A database that says it is UTF-8 and holds a byte that is not."""
    with psycopg.connect(postgres_server, autocommit=True) as conn:
        conn.execute("CREATE DATABASE bad_text ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        url = postgres_server.replace("/postgres?", "/bad_text?")
        settle(url, "CREATE TABLE words (a text)", "INSERT INTO words VALUES ('fine'), (E'caf\\xe9')")
        conn.execute("UPDATE pg_database SET encoding = 6 WHERE datname = 'bad_text'")
        yield Source(url, origin.toolset)
        conn.execute("DROP DATABASE bad_text WITH (FORCE)")


def test_text_that_is_not_of_its_encoding(bad_text: Source, drill: Drill) -> None:
    failure = about(failures(drill, bad_text.dump()), "table public.words")
    assert "holds text that is not valid in the database's encoding" in failure.message
    assert 'invalid byte sequence for encoding "UTF8": 0xe9' in failure.message
    block = failure.hint[failure.hint.index("DO $do$") : failure.hint.index("END $do$;") + len("END $do$;")]
    said: list[str] = []
    with psycopg.connect(bad_text.url, autocommit=True) as conn:
        conn.add_notice_handler(lambda d: said.append((d.message_primary or "").split(":")[0]))
        conn.execute(block.encode())
    assert said == ["row (0,2)"]


ODD = (
    # an exclusion constraint whose index lost sight of its rows
    "CREATE TABLE room (during int4range, CONSTRAINT no_overlap EXCLUDE USING gist (during WITH &&))",
    "UPDATE pg_index SET indisready = false WHERE indexrelid = 'no_overlap'::regclass",
    "INSERT INTO room VALUES ('[1,5]'), ('[2,3]')",
    "UPDATE pg_index SET indisready = true WHERE indexrelid = 'no_overlap'::regclass",
    # a row in a partition that is not its own
    "CREATE TABLE parts (a int) PARTITION BY RANGE (a)",
    "CREATE TABLE part1 (a int, CONSTRAINT fits CHECK (a >= 1 AND a < 10 AND a IS NOT NULL))",
    "ALTER TABLE part1 DROP CONSTRAINT fits",
    "INSERT INTO part1 VALUES (300)",
    "ALTER TABLE part1 ADD CONSTRAINT fits CHECK (a >= 1 AND a < 10 AND a IS NOT NULL) NOT VALID",
    "UPDATE pg_constraint SET convalidated = true WHERE conname = 'fits'",
    "ALTER TABLE parts ATTACH PARTITION part1 FOR VALUES FROM (1) TO (10)",
    "ALTER TABLE part1 DROP CONSTRAINT fits",
    # an index over a function that is not immutable any more
    "CREATE FUNCTION same(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'begin return $1; end'",
    "CREATE TABLE keyed (a int)",
    "CREATE INDEX keyed_same ON keyed (same(a))",
    "ALTER FUNCTION same(int) VOLATILE",
    # a function that calls itself
    "CREATE FUNCTION deep(int) RETURNS int LANGUAGE plpgsql AS 'begin return 1; end'",
    "CREATE MATERIALIZED VIEW deeper AS SELECT deep(1)",
    "CREATE OR REPLACE FUNCTION deep(int) RETURNS int LANGUAGE plpgsql AS 'begin return public.deep($1 + 1); end'",
    # a setting that only the application has
    "CREATE FUNCTION tenant() RETURNS text LANGUAGE sql AS $$ SELECT current_setting('app.tenant', true) $$",
    "CREATE MATERIALIZED VIEW tenants AS SELECT tenant()",
    "CREATE OR REPLACE FUNCTION tenant() RETURNS text LANGUAGE sql AS $$ SELECT current_setting('app.tenant') $$",
    # a type that was narrowed past its rows
    "CREATE TABLE narrow (a varchar(10))",
    "INSERT INTO narrow VALUES ('1234567890')",
    "UPDATE pg_attribute SET atttypmod = 9 WHERE attrelid = 'narrow'::regclass AND attname = 'a'",
)


def test_what_an_archive_holds_and_no_server_takes(origin: Source, drill: Drill) -> None:
    origin.run(*ODD)
    found = failures(drill, origin.dump())
    for name, words, hint in (
        ("constraint public.room no_overlap", "holds rows that exclude each other", "REINDEX TABLE public.room;"),
        ("table public.part1", "do not fall into the partition", "ATTACH PARTITION"),
        ("index public.keyed_same", "uses a function that is not IMMUTABLE", "ALTER FUNCTION … IMMUTABLE;"),
        ("view public.deeper", "calls itself until the server's stack is full", "public.deep(integer)"),
        ("view public.tenants", "reads the setting app.tenant", "current_setting('app.tenant', true)"),
        ("table public.narrow", "holds a value that its own type does not take", "the column that the message names"),
    ):
        failure = about(found, name)
        assert words in failure.message, failure.message
        assert hint in failure.hint, failure.hint
    assert len(found) == 6, [f.message for f in found]


# a server of the user's


@pytest.fixture
def owner(postgres_server: str) -> Iterator[str]:
    settle(postgres_server, "CREATE ROLE copy_owner LOGIN")
    yield "copy_owner"
    settle(postgres_server, "DROP OWNED BY copy_owner", "DROP ROLE copy_owner")


def test_f28_f29_what_a_target_says(postgres_server: str, origin: Source, toolset: Toolset, owner: str) -> None:
    origin.run(
        "CREATE TABLE t (a int PRIMARY KEY)",
        "INSERT INTO t SELECT generate_series(1, 100)",
        "CREATE TABLE kid (a int REFERENCES t)",
        "SELECT lo_from_bytea(4711, 'abc')",
    )
    archive = origin.dump("--no-owner")
    url = create_database(postgres_server)

    def there(rule: str, url: str = url, *flags: str) -> str:
        found = first(restored(archive, url, toolset, Place.TARGET, *flags), rule)
        assert found.words in found.message
        return found.hint or ""

    closed = create_database(postgres_server)
    settle(closed, "REVOKE CREATE ON SCHEMA public FROM public")
    may_not = closed.replace("postgres@", f"{owner}@")
    assert "CREATE DATABASE copy TEMPLATE template0;" in there("target-rights", may_not)
    settle(postgres_server, f"DROP DATABASE {closed.split('/')[3].split('?')[0]} WITH (FORCE)")
    assert restored(archive, url, toolset, Place.TARGET) == []
    assert "--clean" in there("target-there")
    assert "one list for the whole database" in there("target-large-object")
    assert "new database" in there("target-rows", url, "--data-only", "--table=t")
    settle(url, "CREATE VIEW stands AS SELECT * FROM t")
    assert "new database" in there("target-dependants", url, "--clean", "--if-exists")
    settle(url, "DROP VIEW stands", "TRUNCATE t, kid", "ALTER TABLE t ADD CONSTRAINT small CHECK (a < 50)")
    assert "another one than at the source" in there("target-check", url, "--data-only", "--table=t")
    dbname = url.split("/")[3].split("?")[0]
    settle(
        url, "ALTER TABLE t DROP CONSTRAINT small", f"ALTER DATABASE {dbname} SET default_transaction_read_only = on"
    )
    hint = there("target-read-only", url, "--data-only", "--table=t").replace("copy", dbname)
    settle(url, *re.findall(r"`BEGIN[^`]*`", hint)[0].strip("`").split("; "))
    assert restored(archive, url, toolset, Place.TARGET, "--data-only", "--table=t") == []


@pytest.mark.parametrize(("ends", "rule"), [("cancel", "target-cancelled"), ("terminate", "target-lost")])
def test_a_restore_that_somebody_at_the_target_ends(
    postgres_server: str, origin: Source, toolset: Toolset, ends: str, rule: str
) -> None:
    origin.run("CREATE TABLE t AS SELECT 1 AS a")
    archive, url = origin.dump(), create_database(postgres_server)
    settle(url, "CREATE TABLE t (a int)")
    with ThreadPoolExecutor(1) as beside, psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as conn:
        holder.execute("LOCK TABLE t")
        said = beside.submit(restored, archive, url, toolset, Place.TARGET, "--data-only")
        query = (
            f"SELECT pg_{ends}_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_restore'"
            " AND wait_event_type = 'Lock' AND datname = current_database()"
        )
        wait_until(lambda: bool(conn.execute(query.encode()).fetchall()), "pg_restore to wait for the lock")
        found = first(said.result(), rule)
    for select in re.findall(r"`(SELECT[^`]*)`", found.hint or ""):
        settle(url, select)


def test_f28_roles_tablespaces_and_encodings_that_a_target_does_not_have(toolset: Toolset, origin: Source) -> None:
    fast = Path(tempfile.mkdtemp(prefix="odbspace-"))
    try:
        with run_server(toolset) as server, run_server(toolset) as other:
            shutil.chown(fast, *(Path(server.split("host=")[1]).owner(),))
            url = create_database(server)
            settle(url, "CREATE ROLE app_owner", f"CREATE TABLESPACE fast LOCATION '{fast}'")
            settle(
                url,
                "CREATE TABLE t (a text) TABLESPACE fast",
                "INSERT INTO t VALUES ('€')",
                "ALTER TABLE t OWNER TO app_owner",
            )
            archive = Source(url, toolset).dump()
            settle(other, "CREATE DATABASE narrow ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
            narrow = other.replace("/postgres?", "/narrow?")
            found = restored(archive, narrow, toolset, Place.TARGET)
            assert "`CREATE ROLE app_owner NOLOGIN;`" in (first(found, "role").hint or "")
            assert "CREATE TABLESPACE fast" in (first(found, "tablespace").hint or "")
            assert "ENCODING 'UTF8'" in (first(found, "target-encoding").hint or "")
            settle(
                other, *re.findall(r"`(CREATE ROLE[^`]*|CREATE DATABASE[^`]*)`", "".join(d.hint or "" for d in found))
            )
            assert (
                restored(archive, other.replace("/postgres?", "/copy?"), toolset, Place.TARGET, "--no-tablespaces")
                == []
            )
            found = restored(Source(url, toolset).dump("-n", "public"), url, toolset, Place.RESTORE)
            assert "DROP SCHEMA public;" in (first(found, "schema-there").hint or "")
    finally:
        shutil.rmtree(fast)


def test_a_newer_archive_is_refused_before_a_drill_begins(drill: Drill, origin: Source) -> None:
    archive = bytearray(origin.dump())
    archive[6] = 99
    with pytest.raises((CouldNotVerify, DrillFailed)) as caught, drill(bytes(archive)):
        pass
    assert caught.value.hint
