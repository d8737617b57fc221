"""A worker says that it lives for as long as it does, whatever it runs into and whoever took it for dead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import catalog as catalogs
from engine.errors import KeyAccessError, OffsiteError
from engine.janitor import Janitor
from engine.service import Engine
from engine.service import worker as room
from tests.fixtures.history import History, new_history
from tests.fixtures.installation import wait_until


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    monkeypatch.setattr(room, "BEAT_S", 0.01)
    monkeypatch.setattr(Engine, "duties", property(lambda _engine: ()))
    with new_history(tmp_path / "home") as made:
        yield made
        made.engine.worker.stop()


def lives(history: History) -> bool:
    with history.engine.catalog.read() as tx:
        return [w.id for w in catalogs.workers.list_all(tx) if w.stopped_at is None] == [history.engine.worker.id]


def test_one_that_was_taken_for_dead_announces_itself_again(history: History) -> None:
    history.engine.worker.start(1, ["lan"])
    with history.engine.catalog.write() as tx:
        before = catalogs.workers.list_all(tx)
        catalogs.workers.stop(tx, history.engine.worker.id, history.clock.now())
    wait_until(lambda: lives(history), "the worker to be heard of again")
    with history.engine.catalog.read() as tx:
        assert catalogs.workers.list_all(tx) == before


@pytest.mark.parametrize(
    "error", [KeyAccessError("key.missing", "it is gone"), RuntimeError("a defect")], ids=["told", "unknown"]
)
def test_what_goes_wrong_beside_it_does_not_silence_it(
    history: History, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    turns = 0

    def fail(_janitor: Janitor) -> None:
        nonlocal turns
        turns += 1
        raise error

    history.engine.worker.start(1)
    monkeypatch.setattr(Janitor, "tick", fail)
    wait_until(lambda: turns >= 4, "four turns")
    told = [r for r in caplog.records if r.name == "offsitedb.worker"]
    assert lives(history)
    assert len(told) == 1 if isinstance(error, OffsiteError) else len(told) >= 3
