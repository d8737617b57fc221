"""A catalog that is newer, damaged or not there: exit 50 with the next step, and not a byte of it changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fixtures.installation import installation
from tests.fixtures.program import Program, program_of


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    with pytest.MonkeyPatch.context() as patch, installation(patch) as place:
        yield program_of(place)


@pytest.fixture
def catalog(program: Program) -> Iterator[Path]:
    """The catalog's file; put back afterwards as it was."""
    path = program.place.home / "catalog.sqlite3"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    beside = [path.with_name(path.name + end) for end in ("-wal", "-shm")]
    kept = path.read_bytes()
    yield path
    if path.is_dir():
        path.rmdir()
    for other in beside:
        other.unlink(missing_ok=True)
    path.write_bytes(kept)


VERBS = ("ledger", "jobs list", "connection list", "checkpoint x", "key status", "destination test here")


def test_catalog_of_a_newer_version(program: Program, catalog: Path) -> None:
    with closing(sqlite3.connect(catalog)) as db, db:
        db.execute("UPDATE catalog_version SET version_num = '9999'")
    for verb in VERBS:
        error = program.call(*verb.split(), "--json").error(50)
        assert error["code"] == "catalog.newer-schema", verb
        assert "9999" in error["message"]
        assert "Update OffsiteDB console" in error["hint"]
    worker = program.run("worker")
    assert worker.status == 50
    assert "[catalog.newer-schema]" in worker.err
    assert program.run("init", "--json").error(50)["code"] == "catalog.newer-schema"
    doctor = program.call("doctor", "--json").document()
    assert doctor["initialised"] is False
    assert any("9999" in problem for problem in doctor["problems"])
    with closing(sqlite3.connect(catalog)) as db:
        assert db.execute("SELECT version_num FROM catalog_version").fetchall() == [("9999",)]


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no catalog at all" * 200)


def another_database(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE something_else (n int)")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def middle_overwritten(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as f:
        f.seek(4096)
        f.write(b"\xff" * (size - 8192))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "status", "codes"),
    [
        (garbage, 50, ("catalog.damaged",)),
        (middle_overwritten, 50, ("catalog.damaged",)),
        (directory, 50, ("catalog.unreachable",)),
        (another_database, 2, ("config.not-initialised",)),
        (empty, 2, ("config.not-initialised",)),
    ],
)
def test_what_is_no_catalog(
    program: Program, catalog: Path, damage: Callable[[Path], None], status: int, codes: tuple[str, ...]
) -> None:
    damage(catalog)
    before = catalog.read_bytes() if damage in (garbage, middle_overwritten) else None
    for verb in ("ledger", "connection list"):
        error = program.call(*verb.split(), "--json").error(status)
        assert error["code"] in codes, error
    if before is not None:
        assert catalog.read_bytes() == before, "evidence for whoever repairs it"
    if damage is another_database:
        with closing(sqlite3.connect(catalog)) as db:
            assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("something_else",)]
    assert program.call("doctor", "--json").document()["initialised"] is False


def test_a_home_that_is_a_file(program: Program, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file")
    elsewhere = Program(program.place, {**program.environment, "OFFSITEDB_HOME": str(home)})
    assert elsewhere.call("ledger", "--json").error(2)["code"] == "config.not-initialised"
    error = elsewhere.call("init", "--json").error(2)
    assert error["code"] == "config.home"
    assert "OFFSITEDB_HOME" in error["hint"]
    assert home.read_text() == "a file"


def test_a_runtime_that_is_a_file(program: Program, tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.write_text("a file")
    elsewhere = Program(program.place, {**program.environment, "OFFSITEDB_RUNTIME": str(runtime)})
    assert elsewhere.call("ledger", "--json").error(2)["code"] == "config.home"
    assert elsewhere.run("worker").status == 2
