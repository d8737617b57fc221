"""A destination's listing held against the ledger: what is missing, unknown, of another size, or there again."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path

import pytest

from engine import catalog as catalogs
from engine.errors import StoreError
from engine.model import JobKind, JobState
from engine.model.retention import RetentionPolicy
from tests.fixtures.history import History
from tests.fixtures.pruning import Yard, new_yard

DAY = timedelta(days=1)


@pytest.fixture
def yard(history: History) -> Yard:
    return new_yard(history)


def folder(yard: Yard) -> Path:
    return yard.history.home / "destination"


def lay_days(yard: Yard, *ages: int) -> list[str]:
    return [yard.lay(yard.history.clock.now() - n * DAY).object_key for n in ages]


def test_a_destination_that_agrees(yard: Yard) -> None:
    lay_days(yard, 3, 2, 1)
    found = yard.history.engine.reconcile.run("here")
    assert found.agrees
    assert (found.objects, found.size_bytes, found.outcome.snapshots) == (6, 3 * 1002, 3)
    lines = "".join(f"{info.key} {info.size_bytes}\n" for info in yard.storage.list("v1/"))
    assert found.listing_sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert yard.history.engine.reconcile.last("here") == found
    assert yard.history.engine.reconcile.recent() == (found,)
    assert yard.events("destination.reconciled") == 1
    assert found.outcome.lock is None


def test_differences_in_both_directions(yard: Yard) -> None:
    """Nothing that is not known is ever touched."""
    engine = yard.history.engine
    _, gone, cut, bare = lay_days(yard, 4, 3, 2, 1)
    yard.storage.delete(gone)
    yard.storage.put(cut, b"short", replace=True)
    manifest = bare.replace(".odb", ".manifest.json")
    yard.storage.delete(manifest)
    stranger = f"v1/{yard.connection.id}/99999999-{'e' * 32}.odb"
    yard.storage.put(stranger, b"who knows")
    yard.storage.put(f"v1/{'f' * 32}/00000001-{'a' * 32}.odb", b"another catalog's")
    yard.storage.put("RECOVERY/README", b"not listed")
    found = engine.reconcile.run("here")
    assert not found.agrees
    assert set(found.outcome.missing) == {gone, manifest}
    assert found.outcome.mismatched == (cut,)
    assert found.outcome.unknown == (stranger,)
    assert found.outcome.foreign == 1
    lost = next(s for s in yard.snapshots if s.object_key == gone)
    assert yard.results() == {lost.id: "missing"}, "only the one whose artifact is missing"
    assert yard.events("snapshot.missing") == 1
    with pytest.raises(StoreError) as caught:
        engine.jobs.drill(lost.id)
    assert caught.value.code == "store.removed"
    assert {stranger, cut} <= yard.lying()
    again = engine.reconcile.run("here")
    assert set(again.outcome.missing) == {manifest}, "it is known by now"
    assert again.outcome.snapshots == 3


def test_what_is_found_again_counts_again(yard: Yard) -> None:
    engine = yard.history.engine
    (key,) = lay_days(yard, 1)
    yard.storage.delete(key)
    engine.reconcile.run("here")
    assert yard.results() != {}
    yard.storage.put(key, b"x" * 1000)
    assert engine.reconcile.run("here").outcome.found_again == (key,)
    assert yard.results() == {}
    assert yard.events("snapshot.found") == 1
    assert engine.jobs.drill("shop@latest").kind is JobKind.DRILL


def test_what_was_removed_and_lies_there_all_the_same(yard: Yard) -> None:
    engine = yard.history.engine
    old, _ = lay_days(yard, 2, 1)
    engine.retention.set("shop", RetentionPolicy(keep_last=1))
    yard.prune()
    assert engine.reconcile.run("here").agrees
    yard.storage.put(old, b"x" * 1000)
    found = engine.reconcile.run("here")
    assert found.outcome.lingering == (old,)
    assert found.outcome.found_again == ()
    assert not found.agrees


def test_what_a_job_is_writing_is_not_unknown(yard: Yard) -> None:
    job = yard.history.job(yard.connection, yard.history.clock.now(), state=JobState.RUNNING)
    key = f"v1/{yard.connection.id}/00000042-{'b' * 32}.odb"
    with yard.history.engine.catalog.write() as tx:
        catalogs.jobs.note_object(tx, job.id, job.fence, key)
    for written in (key, key.replace(".odb", ".manifest.json")):
        yard.storage.put(written, b"on its way")
    assert yard.history.engine.reconcile.run("here").agrees


def test_uploads_that_nobody_will_finish_are_aborted(yard: Yard) -> None:
    lay_days(yard, 1)
    left = folder(yard) / "v1" / yard.connection.id / ".partial-dead"
    left.write_bytes(b"half an artifact")
    long_ago = (yard.history.clock.now() - 2 * DAY).timestamp()
    os.utime(left, (long_ago, long_ago))
    found = yard.history.engine.reconcile.run("here")
    assert (found.outcome.aborted_uploads, found.outcome.aborted_bytes) == (1, 16)
    assert not left.exists()
    assert found.agrees


def test_a_disk_that_is_not_mounted_is_no_loss(yard: Yard) -> None:
    lay_days(yard, 8)
    folder(yard).rename(folder(yard).with_name("elsewhere"))
    folder(yard).mkdir()
    with pytest.raises(StoreError) as caught:
        yard.history.engine.reconcile.run("here")
    assert caught.value.code == "store.unreachable"
    assert yard.results() == {}
    yard.history.engine.reconcile.look()
    assert yard.history.engine.reconcile.last("here") is None


def test_the_duty_looks_weekly(yard: Yard) -> None:
    engine, clock = yard.history.engine, yard.history.clock
    engine.reconcile.look()
    lay_days(yard, 1)
    engine.reconcile.look()
    assert engine.reconcile.last("here") is None, "its first snapshot is a day old"
    for days, expected in ((6, 1), (3, 1), (3.9, 1), (0.2, 2)):
        clock.at += days * DAY
        engine.reconcile.look()
        assert len(engine.reconcile.recent()) == expected


def test_snapshots_of_a_removed_connection_are_still_ours(yard: Yard) -> None:
    (key,) = lay_days(yard, 1)
    with yard.history.engine.catalog.write() as tx:
        catalogs.connections.remove(tx, yard.connection.id, yard.history.clock.now())
    assert yard.history.engine.reconcile.run("here").outcome.snapshots == 1
    yard.storage.delete(key)
    assert yard.history.engine.reconcile.run("here").outcome.missing == (key,)
