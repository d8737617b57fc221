"""Edits behind the program's back: whatever was altered, removed, put in or exchanged, ``verify`` finds it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from engine.catalog import bound
from engine.errors import CatalogError
from engine.service import Engine
from tests.fixtures.edits import Edit, Store, every_edit, fill, lite, postgres
from tests.fixtures.history import History, new_history
from tests.fixtures.postgres_server import create_database

pytest_plugins = ("tests.fixtures.history", "tests.fixtures.postgres_server")

SEED = 20261130


def _found(engine: Engine) -> list[str]:
    """What is wrong, in words; a catalog that cannot be read at all says so, too."""
    try:
        return [f"{f.subject}: {f.text}" for f in engine.verify.check().findings]
    except CatalogError as e:
        return [f"{e.message} [{e.code}]"]


def _missed(engine: Engine, store: Store, put_back: Callable[[], None], edits: list[Edit]) -> list[str]:
    """The edits that nobody would see. Every one is undone."""
    missed = []
    for edit in edits:
        edit.do(store)
        if not _found(engine):
            missed.append(edit.name)
        put_back()
    return missed


def test_a_hundred_edits_are_found(history: History) -> None:
    fill(history)
    engine, chance = history.engine, random.Random(SEED)
    assert _found(engine) == []
    with lite(engine.catalog.where) as (store, put_back):
        edits = chance.sample(every_edit(store, chance), 100)
        assert _missed(engine, store, put_back, edits) == []
    assert _found(engine) == []


@pytest.mark.slow
def test_every_edit_is_found(history: History) -> None:
    """Of every column of every kind, and every way to change rows and history that the fixture knows."""
    fill(history)
    engine = history.engine
    with lite(engine.catalog.where) as (store, put_back):
        edits = every_edit(store, random.Random(SEED + 1))
        assert len(edits) > sum(len(kind.columns) for kind in bound.KINDS.values())
        assert _missed(engine, store, put_back, edits) == []
    assert _found(engine) == []


@pytest.mark.slow
def test_a_catalog_that_moves_takes_its_bonds_along(
    history: History, postgres_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows have the same hashes on both dialects."""
    fill(history)
    url = create_database(postgres_server)
    history.engine.move.to(url)
    monkeypatch.setenv("OFFSITEDB_DATABASE_URL", url)
    with history.open() as moved:
        assert _found(moved) == []
        back = str(history.home / "back.sqlite3")
        moved.move.to(back)
    monkeypatch.setenv("OFFSITEDB_DATABASE_URL", f"sqlite:///{back}")
    with history.open() as again:
        assert _found(again) == []


@contextmanager
def _on_postgres(url: str, history: History, monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    monkeypatch.setenv("OFFSITEDB_DATABASE_URL", url)
    with new_history(history.home / "second") as made:
        yield made


@pytest.mark.slow
def test_edits_of_a_catalog_on_postgres_are_found(
    history: History, postgres_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, chance = create_database(postgres_server), random.Random(SEED)
    with _on_postgres(url, history, monkeypatch) as made:
        fill(made)
        assert _found(made.engine) == []
        with postgres(url) as (store, put_back):
            edits = chance.sample(every_edit(store, chance), 25)
            assert _missed(made.engine, store, put_back, edits) == []
        assert _found(made.engine) == []
