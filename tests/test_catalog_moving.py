"""A catalog moved to PostgreSQL and back: every row, the history unbroken, the old one closed for good."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import catalog as catalogs
from engine.catalog import Catalog, moving
from engine.errors import CatalogError, ConfigError
from engine.evidence import chain
from engine.model import Worker
from engine.service import Engine
from tests.fixtures.installation import Place
from tests.fixtures.postgres_server import create_database
from tests.fixtures.records import NOW

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.installation")


@pytest.fixture
def url(postgres_server: str) -> str:
    return create_database(postgres_server)


def test_there_and_back(place: Place, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with place.engine() as engine:
        before = engine.destinations.list()
        stale = place.engine()
        moved = engine.move.to(url)
    assert moved.rows > 0
    assert moved.dialect == "postgresql"
    with stale, pytest.raises(CatalogError) as written, stale.catalog.write() as tx:
        catalogs.workers.register(tx, Worker("w", "h", 1, "1", 1, NOW, NOW, None))
    assert written.value.code == "catalog.moved"
    with pytest.raises(ConfigError) as absent:
        place.engine()
    assert absent.value.code == "config.not-initialised"
    assert Path(moved.kept).exists()
    with pytest.raises(CatalogError) as opened:
        Catalog.open(moved.kept)
    assert opened.value.code == "catalog.moved"

    monkeypatch.setenv("OFFSITEDB_DATABASE_URL", url)
    with place.engine() as engine:
        assert engine.destinations.list() == before
        assert _events(engine)[-1] == "catalog.moved"
        with engine.catalog.read() as tx:
            record = catalogs.installation.get(tx)
            assert record is not None
            assert chain.verify_chain(tx, record.signer_public) == []
        back = tmp_path / "back.sqlite3"
        engine.move.to(str(back))
        with pytest.raises(CatalogError) as closed, engine.catalog.write() as tx:
            catalogs.workers.register(tx, Worker("w", "h", 1, "1", 1, NOW, NOW, None))
        assert closed.value.code == "catalog.moved"
    with Catalog.open(back) as catalog, catalog.read() as tx:
        assert moving.counts(tx)["events"] == len(_kinds(tx))
        assert _kinds(tx)[-2:] == ["catalog.moved", "catalog.moved"]


def test_a_database_that_is_in_use_is_refused(place: Place, url: str) -> None:
    Catalog.open(url, create=True).close()
    with Catalog.open(url) as other, other.write() as tx:
        with place.engine() as engine, engine.catalog.read() as mine:
            record = catalogs.installation.get(mine)
        assert record is not None
        catalogs.installation.put(tx, record)
    with place.engine() as engine:
        with pytest.raises(ConfigError) as refused:
            engine.move.to(url)
        assert refused.value.code == "config.already-initialised"
        assert engine.destinations.list()  # still in use


def test_not_while_a_worker_lives(place: Place, url: str) -> None:
    with place.engine() as engine:
        engine.worker.start(1)
        try:
            with pytest.raises(ConfigError) as refused:
                engine.move.to(url)
        finally:
            engine.worker.stop()
        assert refused.value.code == "config.in-use"
        engine.move.to(url)


def test_what_is_written_while_it_is_copied_keeps_the_old_one_in_use(
    place: Place, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place.engine() as engine, place.engine() as other:
        differences = moving.differences

        def disturbed(source: catalogs.Tx, target: catalogs.Tx) -> list[str]:
            found = differences(source, target)
            with other.catalog.write() as tx:
                catalogs.workers.register(tx, Worker("w", "h", 1, "1", 1, NOW, NOW, NOW))
            return found

        monkeypatch.setattr(moving, "differences", disturbed)
        with pytest.raises(CatalogError) as busy:
            engine.move.to(url)
        assert busy.value.code == "catalog.busy"
        assert engine.destinations.list()
        with other.catalog.write() as tx:
            catalogs.workers.register(tx, Worker("w2", "h", 1, "1", 1, NOW, NOW, NOW))


def _events(engine: Engine) -> list[str]:
    with engine.catalog.read() as tx:
        return _kinds(tx)


def _kinds(tx: catalogs.Tx) -> list[str]:
    return [event.kind for event in catalogs.events.list_after(tx, 0, limit=1000)]
