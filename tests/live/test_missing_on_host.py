"""Sources that need what the drill host lacks: never FAILED, never PROVEN, and the command that brings it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from engine.cancel import CancelToken
from engine.model.views import DrillView
from engine.postgres.tools import Toolset, examine, has_extension
from offsitedb_tui.demo.source import Admin, postgres_server
from tests.fixtures.binaries import PLACE
from tests.fixtures.fire import Field
from tests.fixtures.hosts import second_installation, seeing, without_extensions, without_locales
from tests.fixtures.installation import running_worker
from tests.fixtures.postgres_preloaded import preloaded
from tests.live.test_legal_sources import _database, _drop, _need_locale

pytestmark = pytest.mark.slow


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory that the drill's OS user may pass through."""
    made = Path(tempfile.mkdtemp(prefix="odbhost-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def drilled(field: Field, url: str, host: Mapping[Path, Path] | None = None) -> DrillView:
    """Checkpoint and drill of ``url`` by a worker on such a host."""
    field.connect_through(url)
    with running_worker(field.place, before=seeing(host) if host else ()):
        attempt = field.wait_end(field.ask())
    field.assert_clean()
    assert attempt.snapshot is not None, attempt.job.error
    assert attempt.drill is not None, attempt.job.error
    return attempt.drill


@pytest.mark.parametrize(
    ("extension", "package"),
    [("postgis", "postgresql-{}-postgis-3"), ("pg_cron", "postgresql-{}-cron"), ("hstore", "postgresql-{}")],
)
def test_an_extension_that_the_host_lacks(
    field: Field, toolset: Toolset, room: Path, extension: str, package: str
) -> None:
    if not has_extension(toolset, extension):
        pytest.skip(f"the package of {extension} is not installed")
    host = without_extensions(toolset, room / "extension", extension)
    with preloaded(toolset) as admin:
        with psycopg.connect(admin.url(), autocommit=True) as conn:
            conn.execute(f"CREATE EXTENSION {extension}".encode())
            conn.execute("CREATE TABLE t AS SELECT 1 AS i")
        drill = drilled(field, admin.url(), host)
    assert drill.verdict == "COULD NOT VERIFY"
    assert [f.code for f in drill.failures] == ["drill.extension-missing"]
    assert extension in drill.failures[0].message
    assert f"`apt install {package.format(toolset.major)}`" in drill.failures[0].hint


@pytest.mark.parametrize("listed", [True, False], ids=["on the list", "unknown"])
def test_an_extension_that_only_the_source_has(field: Field, toolset: Toolset, room: Path, listed: bool) -> None:
    name = "hypopg" if listed else "acme_things"
    if has_extension(toolset, name):
        pytest.skip(f"{name} is installed here")
    theirs = second_installation(
        toolset, room / "theirs", {name: "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';"}
    )
    with postgres_server(theirs, room / "pg", keep=False, cancel=CancelToken()) as admin:
        with psycopg.connect(admin.url(), autocommit=True) as conn:
            conn.execute(f"CREATE EXTENSION {name}".encode())
            conn.execute("CREATE TABLE t AS SELECT 1 AS i")
        drill = drilled(field, admin.url())
    assert drill.verdict == "COULD NOT VERIFY"
    assert [f.code for f in drill.failures] == ["drill.extension-missing"]
    assert name in drill.failures[0].message
    wanted = f"`apt install postgresql-{toolset.major}-hypopg`" if listed else "Restore this snapshot by hand"
    assert wanted in drill.failures[0].hint


def test_a_default_locale_that_the_host_lacks_is_a_skip_with_the_command(
    field: Field, server: Admin, room: Path
) -> None:
    _need_locale()
    with database(server, "LC_COLLATE 'en_US.UTF-8' LC_CTYPE 'en_US.UTF-8'") as url:
        run(url, "CREATE TABLE t AS SELECT n, 'é' AS x FROM generate_series(1, 9) n")
        drill = drilled(field, url, without_locales(room / "locale"))
    assert drill.verdict == "PROVEN WITH SKIPS", drill.failures
    assert [(s.kind, s.name) for s in drill.skips] == [("LOCALE", "en_US.UTF-8")]
    assert "`localedef -i en_US -f UTF-8 en_US.UTF-8`" in drill.skips[0].reason
    assert [t.restored for t in drill.tables] == [9]


@pytest.mark.parametrize(
    "definition",
    ['t text COLLATE "en_US.utf8"', "t text COLLATE ours"],
    ids=["of the system", "of the database"],
)
def test_a_collation_that_the_host_lacks(field: Field, server: Admin, room: Path, definition: str) -> None:
    _need_locale()
    with database(server, "LC_COLLATE 'C' LC_CTYPE 'C'") as url:
        run(url, "CREATE COLLATION ours (provider = libc, locale = 'en_US.UTF-8')", f"CREATE TABLE t ({definition})")
        if "ours" not in definition:
            run(url, "DROP COLLATION ours")
        drill = drilled(field, url, without_locales(room / "locale"))
    assert drill.verdict == "COULD NOT VERIFY"
    assert [f.code for f in drill.failures] == ["drill.locale-missing"]
    assert "en_US" in drill.failures[0].message
    assert "`localedef -i en_US -f UTF-8 en_US.UTF-8`" in drill.failures[0].hint


ICU = "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"


@pytest.mark.parametrize("named", [False, True], ids=["of the database", "of a column"])
def test_a_host_without_icu(field: Field, server: Admin, toolset: Toolset, room: Path, named: bool) -> None:
    """Fetched programs have none; the distribution's are hidden."""
    host = _only_fetched(field, toolset, room)
    with database(server, "LC_COLLATE 'C' LC_CTYPE 'C'" if named else ICU) as url:
        run(url, "CREATE TABLE t AS SELECT 'x'::text AS x")
        if named:
            run(
                url,
                "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
                "ALTER TABLE t ALTER x TYPE text COLLATE ci",
            )
        drill = drilled(field, url, host)
    if named:
        assert drill.verdict == "COULD NOT VERIFY"
        assert [f.code for f in drill.failures] == ["drill.locale-missing"]
        assert "ci (icu und-u-ks-level2" in drill.failures[0].message
        assert f"`apt install postgresql-{toolset.major}` (a build with ICU)" in drill.failures[0].hint
        return
    assert drill.verdict == "PROVEN WITH SKIPS", drill.failures
    assert [(s.kind, s.name) for s in drill.skips] == [("LOCALE", "de-DE")]
    assert f"`apt install postgresql-{toolset.major}`" in drill.skips[0].reason


def test_icu_is_proven_where_the_host_has_it_whatever_its_version(
    field: Field, server: Admin, toolset: Toolset
) -> None:
    """Of a database and of a column, deterministic and not; the source's ICU was another one when they were made."""
    if not toolset.icu or toolset.major < 15:
        pytest.skip("this PostgreSQL has no ICU databases")
    with database(server, ICU) as url:
        run(
            url,
            "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
            "CREATE TABLE t (a text COLLATE ci PRIMARY KEY, b text UNIQUE)",
            "INSERT INTO t VALUES ('A', 'ä'), ('B', 'z')",
            "UPDATE pg_collation SET collversion = '1.1' WHERE collprovider = 'i'",
            "UPDATE pg_database SET datcollversion = '1.1' WHERE datname = current_database()",
        )
        drill = drilled(field, url)
    assert drill.verdict == "PROVEN", (drill.failures, drill.skips)
    assert [t.restored for t in drill.tables] == [2]


def _only_fetched(field: Field, toolset: Toolset, room: Path) -> dict[Path, Path]:
    """A host whose PostgreSQL is the fetched one of the source's major."""
    fetched = examine((PLACE / str(toolset.major) / "bin").resolve(), "installed")
    if not toolset.icu or toolset.source != "system" or fetched is None:
        pytest.skip(f"this needs a PostgreSQL {toolset.major} with ICU of the system, and a fetched one")
    if fetched.icu:
        pytest.skip("the fetched PostgreSQL has ICU")
    target = field.place.root / "runtime" / "postgres"
    target.mkdir(parents=True, exist_ok=True)
    (target / str(toolset.major)).symlink_to(PLACE / str(toolset.major))
    (room / "bin").mkdir()
    return {toolset.bindir: room / "bin"}


@contextmanager
def database(server: Admin, options: str) -> Iterator[str]:
    url = _database(server, f"ENCODING 'UTF8' {options}")
    try:
        yield url
    finally:
        _drop(server, url)


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())
