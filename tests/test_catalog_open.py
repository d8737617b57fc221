"""Opening a catalog: made only when asked, private, migrated once, refused when it is not ours to touch."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from engine import catalog as catalogs
from engine.catalog import Catalog, Tx, database, migrate, schema_access, schema_running
from engine.catalog.schema import metadata
from engine.errors import CatalogError, ConfigError, Internal, OffsiteError
from engine.model import Destination
from tests.fixtures.records import destination

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.catalogs")


def _raw(url: str, *statements: str) -> None:
    """Change the catalog behind its back."""
    if "://" in url:
        with psycopg.connect(url, autocommit=True) as pg:
            for statement in statements:
                pg.execute(statement.encode())
        return
    with sqlite3.connect(url, isolation_level=None) as lite:
        for statement in statements:
            lite.execute(statement)
    lite.close()


def _code(url: str, *, create: bool = False) -> str:
    with pytest.raises(OffsiteError) as caught:
        Catalog.open(url, create=create).close()
    assert "sealed" not in str(caught.value)
    return caught.value.code


def test_an_absent_catalog_is_not_made_unasked(catalog_url: str) -> None:
    assert _code(catalog_url) == "config.not-initialised"
    if "://" not in catalog_url:
        assert not Path(catalog_url).exists()


def test_it_is_made_once_and_found_again(catalog_url: str) -> None:
    with Catalog.open(catalog_url, create=True) as first, first.write() as tx:
        catalogs.destinations.add(tx, destination("d1"))
    with Catalog.open(catalog_url, create=True) as again, again.read() as tx:
        assert [d.id for d in catalogs.destinations.list_all(tx)] == ["d1"]
        assert again.check() == []


def test_the_file_and_its_companions_are_private(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    with Catalog.open(path, create=True) as catalog:
        with catalog.write() as tx:
            catalogs.destinations.add(tx, destination("d1"))
        found = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert found == {"catalog.sqlite3": 0o600, "catalog.sqlite3-wal": 0o600, "catalog.sqlite3-shm": 0o600}


def test_a_readable_file_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    Catalog.open(path, create=True).close()
    path.chmod(0o644)
    Catalog.open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_sqlite_runs_as_agreed(tmp_path: Path) -> None:
    Catalog.open(tmp_path / "c", create=True).close()
    engine = database._sqlite_engine(database._parse(tmp_path / "c"))
    with engine.connect() as connection:
        asked = ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in asked]
    engine.dispose()
    assert values == ["wal", 1, 2, 10_000]


def test_a_newer_schema_is_left_alone(catalog_url: str) -> None:
    Catalog.open(catalog_url, create=True).close()
    _raw(catalog_url, "UPDATE catalog_version SET version_num = '9999'")
    assert _code(catalog_url) == "catalog.newer-schema"
    assert _code(catalog_url, create=True) == "catalog.newer-schema"


def test_an_empty_version_table_is_damage(catalog_url: str) -> None:
    Catalog.open(catalog_url, create=True).close()
    _raw(catalog_url, "DELETE FROM catalog_version")
    assert _code(catalog_url) == "catalog.damaged"


def test_a_missing_table_is_damage(catalog_url: str) -> None:
    Catalog.open(catalog_url, create=True).close()
    _raw(catalog_url, "DROP TABLE workers")
    with Catalog.open(catalog_url) as catalog, catalog.read() as tx, pytest.raises(CatalogError) as caught:
        catalogs.workers.list_all(tx)
    assert caught.value.code == "catalog.damaged"


@pytest.mark.parametrize("content", [b"PGDMP" * 1000, b"SQLite format 3\0" + b"\xff" * 4080])
def test_a_file_that_is_no_catalog_is_damage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "catalog.sqlite3"
    path.write_bytes(content)
    assert _code(str(path), create=True) == "catalog.damaged"
    assert path.read_bytes() == content


def test_an_overwritten_page_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    Catalog.open(path, create=True).close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(CatalogError) as caught, Catalog.open(path) as catalog:
        assert catalog.check() == []
    assert caught.value.code == "catalog.damaged"


def test_a_place_that_cannot_be_reached(tmp_path: Path) -> None:
    assert _code(str(tmp_path / "absent" / "c.sqlite3"), create=True) == "catalog.unreachable"
    assert _code(str(tmp_path), create=True) == "catalog.unreachable"
    assert _code(f"postgresql://u:hunter22@/x?host={tmp_path}") == "catalog.unreachable"


def test_passwords_do_not_get_into_errors(tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as caught:
        Catalog.open(f"postgresql://u:hunter22@/x?host={tmp_path}")
    assert "hunter22" not in f"{caught.value} {caught.value.context} {caught.value.hint}"


@pytest.mark.parametrize("url", ["mysql://h/x", "sqlite://", "://", "http://h"])
def test_urls_that_are_none_of_ours(url: str) -> None:
    assert _code(url, create=True) == "config.invalid"


def test_the_steps_lead_to_the_tables_in_the_code(catalog_url: str) -> None:
    Catalog.open(catalog_url, create=True).close()
    engine = create_engine(database._parse(catalog_url))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": migrate.VERSION_TABLE, "compare_server_default": True}
        )
        assert {schema_access.operators.name, schema_running.schedules.name} <= set(metadata.tables)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_every_step_is_known() -> None:
    config = Config()
    config.set_main_option("script_location", "engine.catalog:migrations")
    config.set_main_option("path_separator", "os")
    steps = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(steps)) == migrate.KNOWN


def test_opening_an_up_to_date_catalog_does_not_load_alembic(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    Catalog.open(path, create=True).close()
    program = (
        "import sys; from engine.catalog import Catalog; Catalog.open(sys.argv[1]).close(); "
        "sys.exit(any(m.split('.')[0] == 'alembic' for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program, path], check=False).returncode == 0


def _add_twice(tx: Tx, record: Destination) -> None:
    catalogs.destinations.add(tx, record)
    catalogs.destinations.add(tx, record)


def test_a_transaction_that_raises_leaves_nothing(catalog: Catalog) -> None:
    before = catalog.revision()
    with pytest.raises(ConfigError), catalog.write() as tx:
        _add_twice(tx, destination("d1"))
    with catalog.read() as tx:
        assert catalogs.destinations.list_all(tx) == []
    assert catalog.revision() == before


def test_a_reader_writes_nothing(catalog: Catalog) -> None:
    with catalog.read() as tx, pytest.raises(Internal):
        catalogs.destinations.add(tx, destination("d1"))


def test_writers_do_not_nest(catalog: Catalog) -> None:
    with catalog.write(), pytest.raises(Internal), catalog.write():
        pass
    with catalog.write() as tx:
        catalogs.destinations.add(tx, destination("d1"))


def test_a_reader_keeps_its_view_while_others_write(catalog: Catalog) -> None:
    with catalog.read() as tx:
        assert catalogs.destinations.list_all(tx) == []
        with catalog.write() as writing:
            catalogs.destinations.add(writing, destination("d1"))
        assert catalogs.destinations.list_all(tx) == []


def test_the_revision_follows_changes_and_nothing_else(catalog_url: str) -> None:
    with Catalog.open(catalog_url, create=True) as one, Catalog.open(catalog_url) as other:
        seen = other.revision()
        with one.write() as tx:
            catalogs.jobs.expire(tx, destination("x").created_at)
        assert other.revision() == seen
        with one.write() as tx:
            catalogs.destinations.add(tx, destination("d1"))
        assert other.revision() > seen


def test_a_writer_that_hangs_makes_others_busy(catalog_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 1)
    with Catalog.open(catalog_url, create=True) as one, Catalog.open(catalog_url) as other:
        with one.write(), pytest.raises(CatalogError) as caught, other.write():
            pass
        assert caught.value.code == "catalog.busy"
        assert caught.value.retry
        with other.write() as tx:
            catalogs.destinations.add(tx, destination("d1"))


def test_config_errors_have_their_class(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Catalog.open(tmp_path / "none")
