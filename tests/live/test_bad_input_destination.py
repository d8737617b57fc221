"""Destinations that are full, gone, unmounted or forbidden: exit 30, nothing half-written, the next run works."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fixtures.binaries import lend
from tests.fixtures.disks import fill, read_only, small_disk
from tests.fixtures.program import Program, unchanged
from tests.fixtures.shapes import check_attempt
from tests.fixtures.shop import Shop

NOISE = """
CREATE TABLE noise AS SELECT n, md5(random()::text) || md5(random()::text) AS text FROM generate_series(1, 20000) n
"""


@contextmanager
def connection_to(shop: Shop, folder: Path) -> Iterator[str]:
    """The shop once more, into a destination of its own at ``folder``."""
    program = shop.program
    assert program.call("destination", "add", "other", "--folder", str(folder)).status == 0
    try:
        added = program.call(
            "connection", "add", "other", "--destination", "other", "--url-stdin", "--json", stdin=shop.reader_url
        )
        assert added.status == 0, added.err
        yield "other"
    finally:
        program.call("connection", "remove", "other")
        program.call("destination", "remove", "other")


def refused(shop: Shop, status: int, code: str) -> Any:
    """A checkpoint of ``other`` that makes no snapshot."""
    document = shop.program.run("checkpoint", "other", "--wait", "--json").document(status)
    check_attempt(document)
    assert document["snapshot"] is None
    assert document["job"]["error"]["code"] == code, document["job"]["error"]
    assert document["job"]["error"]["hint"]
    return document


def objects(folder: Path) -> list[Path]:
    ours = ("OFFSITEDB-DESTINATION", "RECOVERY")
    return [p for p in folder.rglob("*") if p.is_file() and not {p.name, p.parent.name} & {*ours}]


@pytest.mark.slow
def test_a_full_disk_then_room(shop: Shop) -> None:
    with small_disk(600) as disk, connection_to(shop, disk / "backups"):
        with psycopg.connect(shop.url, autocommit=True) as conn:
            conn.execute(NOISE.encode())
        try:
            with unchanged(shop.program.place):
                refused(shop, 30, "store.full")
            assert objects(disk) == [], "nothing of the attempt remains"
        finally:
            with psycopg.connect(shop.url, autocommit=True) as conn:
                conn.execute("DROP TABLE noise")
        document = shop.program.run("checkpoint", "other", "--wait", "--json").document()
        assert document["drill"]["verdict"] == "PROVEN"


def test_adding_a_full_disk(shop: Shop) -> None:
    with small_disk(64) as disk:
        filler = fill(disk)
        with unchanged(shop.program.place):
            error = shop.program.call("destination", "add", "full", "--folder", str(disk / "x"), "--json").error(30)
        assert error["code"] == "store.full"
        filler.unlink()
        assert objects(disk) == []


def moved_away(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def not_mounted(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.mkdir()


def another_disk(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.mkdir()
    (folder / "OFFSITEDB-DESTINATION").write_text('{"v": 1, "destinations": ["00000000000000000000000000000000"]}\n')


def a_file(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.write_text("a file")


def damaged_marker(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.mkdir()
    (folder / "OFFSITEDB-DESTINATION").write_text("{")


@pytest.mark.parametrize("what", [moved_away, not_mounted, another_disk, a_file, damaged_marker])
def test_a_destination_that_is_not_there(shop: Shop, tmp_path: Path, what: Callable[[Path], None]) -> None:
    folder = tmp_path / "backups"
    with connection_to(shop, folder):
        what(folder)
        with unchanged(shop.program.place):
            error = shop.program.call("destination", "test", "other", "--json").error(30)
            assert error["code"] == "store.unreachable", error
            assert "destination add" in error["hint"] or "Mount" in error["hint"]
            if what is not_mounted:
                refused(shop, 30, "store.unreachable")
        assert sorted(p.name for p in tmp_path.rglob("*") if p.suffix in (".odb", ".json")) == []
        if what is not_mounted:
            assert list(folder.iterdir()) == [], "an empty mount point is not filled"


def test_a_read_only_destination(shop: Shop) -> None:
    with small_disk(600) as disk, connection_to(shop, disk / "backups"):
        with read_only(disk), unchanged(shop.program.place):
            error = shop.program.call("destination", "test", "other", "--json").error(30)
            assert error["code"] == "store.denied"
            refused(shop, 30, "store.denied")
        assert objects(disk) == []
        assert shop.program.call("destination", "test", "other", "--json").status == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_destination_that_may_not_be_entered(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    with connection_to(shop, folder):
        folder.chmod(0)
        try:
            error = shop.program.call("destination", "test", "other", "--json").error(30)
        finally:
            folder.chmod(0o700)
    assert error["code"] == "store.denied"


@pytest.mark.parametrize(
    "folder", ["/proc/nothing", "/dev/null", "/etc/passwd/x", "/" + "x" * 300, "/tmp/a\x1b[31mb/\0"]
)
def test_folders_that_cannot_be_made(shop: Shop, folder: str) -> None:
    with unchanged(shop.program.place):
        said = shop.program.call("destination", "add", "bad", "--folder", folder, "--json")
    assert said.status in (2, 30), said
    error = said.error(said.status)
    assert error["code"].startswith(("store.", "config."))
    assert "\x1b" not in said.err


def test_no_room_for_the_drill(shop: Shop) -> None:
    """The snapshot stays, and the verdict says that nothing was proven."""
    with small_disk(4096) as disk:
        disk.chmod(0o711)
        lend(disk)
        cramped = Program(shop.program.place, {**shop.program.environment, "OFFSITEDB_RUNTIME": str(disk)})
        document = cramped.run("checkpoint", "shop", "--wait", "--json").document(71)
        check_attempt(document)
        assert document["drill"]["verdict"] == "COULD NOT VERIFY"
        assert document["job"]["error"]["code"] == "drill.disk"
        assert list((disk / "scratch").glob("*")) == []
    assert shop.program.call("snapshot", "verify", document["snapshot"]["id"], "--json").status == 0
