"""What lies at the destination was damaged, exchanged or removed: found by verify and by the drill, never PROVEN."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.model.views import Attempt
from tests.fixtures.program import unchanged
from tests.fixtures.shapes import check_attempt
from tests.fixtures.shop import Shop


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def alter_manifest(path: Path) -> None:
    """Still JSON, still well-formed: only a figure is another."""
    document: dict[str, Any] = json.loads(path.read_bytes())
    document["manifest"]["size_bytes"] += 1
    path.write_text(json.dumps(document))


def resign_manifest(path: Path) -> None:
    """The signature cut out, as somebody would who cannot sign."""
    document: dict[str, Any] = json.loads(path.read_bytes())
    path.write_text(json.dumps({key: value for key, value in document.items() if "sig" not in key}))


def make_directory(odb: Path) -> None:
    odb.unlink()
    odb.mkdir()


def make_link(odb: Path) -> None:
    odb.unlink()
    odb.symlink_to("/etc/passwd")


DAMAGES: dict[str, tuple[Callable[[Path, Path], object], int, str]] = {
    # case -> (what is done to artifact and manifest, exit status of verify, code)
    "header flipped": (lambda odb, _: flip(odb, 12), 40, "format."),
    "middle flipped": (lambda odb, _: flip(odb, odb.stat().st_size // 2), 40, "format."),
    "last bit flipped": (lambda odb, _: flip(odb, -1), 40, "format."),
    "last byte gone": (lambda odb, _: cut(odb, -1), 40, "format."),
    "cut in half": (lambda odb, _: cut(odb, odb.stat().st_size // 2), 40, "format."),
    "empty": (lambda odb, _: cut(odb, 0), 40, "format."),
    "extended": (lambda odb, _: odb.write_bytes(odb.read_bytes() + b"\0"), 40, "format."),
    "not ours": (lambda odb, _: odb.write_bytes(b"PGDMP" + bytes(5000)), 40, "format."),
    "artifact removed": (lambda odb, _: odb.unlink(), 30, "store.missing"),
    "artifact is a directory": (lambda odb, _: make_directory(odb), 30, "store.missing"),
    "artifact is a link": (lambda odb, _: make_link(odb), 30, "store.bad-key"),
    "manifest removed": (lambda _, manifest: manifest.unlink(), 30, "store.missing"),
    "manifest altered": (lambda _, manifest: alter_manifest(manifest), 40, "format.manifest"),
    "manifest unsigned": (lambda _, manifest: resign_manifest(manifest), 40, "format.manifest"),
    "manifest empty": (lambda _, manifest: cut(manifest, 0), 40, "format.manifest"),
}
COULD_NOT_VERIFY = {"artifact is a link"}
"""A link at the destination is never followed: nothing is said about the artifact."""


@pytest.fixture(scope="module")
def pair(shop: Shop) -> tuple[Attempt, Attempt]:
    """Two proven snapshots, made by this process as the worker."""
    with shop.program.place.engine() as engine:
        engine.worker.start(1)
        try:
            made = []
            for _ in range(2):
                job = engine.jobs.checkpoint("shop")
                engine.worker.run(job.id)
                made.append(engine.ledger.of_job(job.id))
        finally:
            engine.worker.stop()
    for attempt in made:
        assert attempt.drill is not None, attempt.job.error
        assert attempt.drill.verdict.proven
    return made[0], made[1]


def drill(shop: Shop, snapshot_id: str) -> Attempt:
    with shop.program.place.engine() as engine:
        engine.worker.start(1)
        try:
            job = engine.jobs.drill(snapshot_id)
            engine.worker.run(job.id)
        finally:
            engine.worker.stop()
        return engine.ledger.of_job(job.id)


def files(shop: Shop, attempt: Attempt) -> tuple[Path, Path]:
    assert attempt.snapshot is not None
    odb = shop.program.place.destination / attempt.snapshot.object_key
    return odb, odb.with_suffix("").with_suffix(".manifest.json")


@contextmanager
def put_back(*paths: Path) -> Iterator[None]:
    """Whatever the block does to ``paths`` is undone."""
    kept = {path: path.read_bytes() for path in paths}
    try:
        yield
    finally:
        for path, data in kept.items():
            if path.is_dir():
                path.rmdir()
            path.unlink(missing_ok=True)
            path.write_bytes(data)
            path.chmod(0o600)


@pytest.mark.parametrize("case", DAMAGES)
def test_damage_is_found(shop: Shop, pair: tuple[Attempt, Attempt], case: str) -> None:
    damage, status, code = DAMAGES[case]
    odb, manifest = files(shop, pair[0])
    assert pair[0].snapshot is not None
    with put_back(odb, manifest):
        damage(odb, manifest)
        with unchanged(shop.program.place):
            error = shop.program.call("snapshot", "verify", pair[0].snapshot.id, "--json").error(status)
        assert error["code"].startswith(code), error
        ended = drill(shop, pair[0].snapshot.id)
    assert ended.drill is not None, "a drill that found damage has a receipt"
    wanted = ("COULD NOT VERIFY", 71) if case in COULD_NOT_VERIFY else ("FAILED", 70)
    assert (ended.drill.verdict, ended.job.error and ended.job.error.exit_status) == wanted
    assert ended.drill.failures[0].code.startswith(code), ended.drill.failures
    assert ended.drill.failures[0].hint
    assert len(ended.drill.receipt_sha256) == 64
    assert list(shop.program.place.scratch.glob("*")) == []


@pytest.mark.parametrize("what", ["artifacts", "manifests", "both"])
def test_swapped(shop: Shop, pair: tuple[Attempt, Attempt], what: str) -> None:
    """Both are whole and authentic; they only stand in each other's place."""
    (odb, manifest), (other_odb, other_manifest) = files(shop, pair[0]), files(shop, pair[1])
    assert pair[0].snapshot is not None
    with put_back(odb, manifest, other_odb, other_manifest):
        if what in ("artifacts", "both"):
            exchange(odb, other_odb)
        if what in ("manifests", "both"):
            exchange(manifest, other_manifest)
        error = shop.program.call("snapshot", "verify", pair[0].snapshot.id, "--json").error(40)
        ended = drill(shop, pair[0].snapshot.id)
    assert error["code"] == ("format.swapped" if what == "artifacts" else "format.manifest")
    assert ended.drill is not None
    assert ended.drill.verdict == "FAILED"


def exchange(one: Path, other: Path) -> None:
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def test_a_failed_drill_in_the_program(shop: Shop, pair: tuple[Attempt, Attempt]) -> None:
    odb, manifest = files(shop, pair[1])
    assert pair[1].snapshot is not None
    with put_back(odb, manifest):
        flip(odb, 3000)
        said = shop.program.run("drill", pair[1].snapshot.id, "--wait", "--json")
        document = said.document(70)
        check_attempt(document)
        assert (document["drill"]["verdict"], document["job"]["state"]) == ("FAILED", "failed")
        assert document["job"]["error"]["code"].startswith("drill.")
        people = shop.program.call("snapshot", "show", pair[1].snapshot.id)
        assert people.out.startswith("✗ FAILED · 3 tables")
        assert "⛭" not in people.out
        assert "✗ FAILED" in shop.program.call("ledger").out.splitlines()[1]
    again = shop.program.call("snapshot", "verify", pair[1].snapshot.id, "--json").document()
    assert again["snapshot"] == pair[1].snapshot.id
