"""Rotating the master key: every sealed column, older epochs, refusals, epochs that are let go of, several hosts."""

from __future__ import annotations

import atexit
import fcntl
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from engine import catalog as catalogs
from engine.catalog.schema import SEALED, connections, metadata
from engine.errors import CatalogError, ConfigError, Internal, KeyAccessError
from engine.evidence import chain
from engine.jobs import JobRunner
from engine.keys.master import MasterKey
from engine.keys.seals import field_kid
from engine.model import AlertChannel, JobKind, JobState
from engine.model.retention import Removal, RemovalResult
from engine.service import Engine
from engine.service.open_channels import OpenChannels
from engine.service.rotation import KEEP
from offsitedb_tui.demo.held import HeldKey
from tests.fixtures import records
from tests.fixtures.history import StoppedClock
from tests.fixtures.vault import Kept, Ring, Vault, epochs, new_vault


@dataclass
class Host:
    """A vault, opened on the host whose keyring is ``ring``."""

    home: Path
    vault: Vault
    engine: Engine
    ring: Ring
    clock: StoppedClock

    @contextmanager
    def another(self, ring: Ring | None = None) -> Iterator[tuple[Engine, Ring]]:
        """Another host on the same catalog, with a keyring of its own."""
        ring = ring or Ring()
        with Engine.open(home=self.home, key_store=ring, clock=self.clock) as engine:
            yield engine, ring

    def unchanged(self, epoch: int = 1) -> None:
        """The old epoch is in use, and all of it works."""
        assert self.engine.keys.installation().key_epoch == epoch
        self.vault.check(self.engine)

    def remove(self, kept: Kept, result: RemovalResult = RemovalResult.REMOVED) -> None:
        """Its object is gone from the destination."""
        removal = Removal(kept.snapshot.id, kept.snapshot.connection_id, None, "r", result, "", self.clock.now())
        with self.engine.catalog.write() as tx:
            catalogs.removals.begin(tx, removal)
        if result is RemovalResult.REMOVED:
            self.vault.kept.remove(kept)


@functools.cache
def template() -> tuple[Path, Vault, dict[int, MasterKey]]:
    """A vault, closed: making one takes ten times as long as copying it."""
    home, ring = Path(tempfile.mkdtemp(prefix="odbvault-")) / "home", Ring()
    atexit.register(shutil.rmtree, home.parent, ignore_errors=True)
    with new_vault(home, ring, StoppedClock()) as (vault, _):
        pass
    return home, vault, ring.keys


@contextmanager
def opened() -> Iterator[Host]:
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFSITEDB_RUNTIME", str(Path(root) / "runtime"))
        made, vault, keys = template()
        home, ring, clock = Path(root) / "home", Ring(dict(keys)), StoppedClock()
        shutil.copytree(made, home)
        with Engine.open(home=home, key_store=ring, clock=clock) as engine:
            yield Host(home, Vault(vault.code, dict(vault.texts), list(vault.kept)), engine, ring, clock)


@pytest.fixture
def host() -> Iterator[Host]:
    with opened() as made:
        yield made


def states(engine: Engine) -> dict[int, str]:
    return {e.epoch: e.state for e in engine.keys.status().epochs}


def retired(engine: Engine) -> set[str | None]:
    return {e.kid for e in engine.keys.status().epochs if e.state == "retired"}


# -- sealed columns


def test_every_sealed_column_is_declared_as_one() -> None:
    for table in metadata.sorted_tables:
        for column in table.columns:
            named = column.name.endswith("_sealed")
            assert named == (SEALED in column.info), f"declare {table.name}.{column.name} with schema.sealed()"
            if named:
                assert column.name == f"{column.info[SEALED]}_sealed"
                assert table.name == "installation" or [c.name for c in table.primary_key] == ["id"]


def test_the_vault_has_a_value_in_every_sealed_column(host: Host) -> None:
    assert {(table, column) for table, column, _ in host.vault.texts} == catalogs.sealed.places()


def test_every_column_is_sealed_anew(host: Host) -> None:
    done = host.engine.keys.rotate()
    with host.engine.catalog.read() as tx:
        found = {((c.table, c.column), field_kid(c.value)) for c in catalogs.sealed.every(tx)}
    assert found == {(place, done.to_kid) for place in catalogs.sealed.places()}


def test_nothing_is_sealed_into_a_column_that_no_rotation_would_find(host: Host) -> None:
    keys = host.engine.keys.open()
    for table, column in (("connections", "name"), ("connections", "conninfo_sealed"), ("nobody", "knows")):
        with pytest.raises(Internal):
            host.engine.keys.seal(keys, table, column, "r", "x")


# -- what a rotation does


def test_a_rotation(host: Host) -> None:
    before = host.engine.keys.installation()
    done = host.engine.keys.rotate()
    after = host.engine.keys.installation()
    assert (done.from_kid, done.to_kid, done.epoch) == (before.kid, after.kid, 2)
    assert (done.fields, done.older_snapshots) == (len(host.vault.texts), 1)
    assert ["install-systemd" in line for line in done.next] == [True]
    assert after.key_check != before.key_check
    assert (after.recovery_kid, after.recovery_public) == (before.recovery_kid, before.recovery_public)
    with host.engine.catalog.read() as tx:
        event, head = catalogs.events.last(tx), catalogs.events.newest_head(tx)
    assert event is not None
    assert head is not None
    assert (event.kind, event.subject, head.seq) == ("key.rotated", done.to_kid, event.seq)
    assert event.told == {
        "from": done.from_kid,
        "to": done.to_kid,
        "epoch": 2,
        "fields": done.fields,
        "key_backend": "kernel",
    }
    host.vault.take(host.engine, host.engine.keys.open())
    host.vault.check(host.engine)
    assert {k.snapshot.kid for k in host.vault.kept} == {done.from_kid, done.to_kid}


def test_ten_rotations(host: Host) -> None:
    for n in range(2, 12):
        assert host.engine.keys.rotate().epoch == n
        host.vault.take(host.engine, host.engine.keys.open())
    host.vault.check(host.engine)
    assert epochs(host.vault.bundle(host.engine).masters) == list(range(1, 12))
    status = host.engine.keys.status()
    assert [e.epoch for e in status.epochs] == list(range(11, 0, -1))
    assert [e.snapshots for e in status.epochs] == [1] * 11
    assert [e.fields for e in status.epochs] == [len(host.vault.texts)] + [0] * 10
    assert status.epochs[-1].why == "opens 1 snapshot"
    assert (status.rotated_at, status.created_at) == (host.clock.now(), host.engine.keys.installation().created_at)


def test_keys_that_are_open_meanwhile(host: Host) -> None:
    """A job goes on with what it opened at its start, whatever was sealed before or after the rotation."""
    old = host.engine.keys.open()
    host.engine.keys.rotate()
    new = host.engine.keys.open()
    early, late = host.vault.take(host.engine, old), host.vault.take(host.engine, new)
    host.vault.connect(host.engine, old)
    for keys in (old, new):
        for kept in (early, late):
            host.vault.open_one(kept, keys)
    with host.engine.catalog.read() as tx:
        for cell in catalogs.sealed.every(tx):
            place = (cell.table, cell.column, cell.row_id)
            assert host.engine.keys.unseal(old, *place, cell.value) == host.engine.keys.unseal(new, *place, cell.value)
    host.vault.check(host.engine)


def test_what_was_sealed_late_is_sealed_anew_by_a_worker(host: Host) -> None:
    old = host.engine.keys.open()
    host.engine.keys.rotate()
    host.vault.connect(host.engine, old)
    assert [e.fields for e in host.engine.keys.status().epochs] == [len(host.vault.texts) - 1, 1]
    host.engine.keys.duty().run()
    assert [e.fields for e in host.engine.keys.status().epochs] == [len(host.vault.texts), 0]
    with host.engine.catalog.read() as tx:
        assert [e.told for e in catalogs.events.list_recent(tx, kind="key.resealed", limit=9)] == [{"fields": 1}]
    host.engine.keys.duty().run()
    host.unchanged(2)


# -- what a rotation that came to no end has left


def test_a_key_that_was_left_there_is_used(host: Host) -> None:
    left = MasterKey.generate(2)
    host.ring.keys[2] = left
    assert host.engine.keys.rotate().to_kid == left.kid
    host.vault.check(host.engine)


def test_an_older_key_that_lies_there_is_not(host: Host) -> None:
    host.ring.keys[2] = MasterKey(2, host.ring.keys[1].key)
    done = host.engine.keys.rotate()
    assert done.to_kid != done.from_kid
    host.vault.check(host.engine)


# -- refusals


@pytest.mark.parametrize("code", ["key.locked", "key.timeout", "key.no-backend"])
def test_a_keyring_that_cannot_be_asked(host: Host, code: str) -> None:
    host.ring.fails["load"] = KeyAccessError(code, "x")
    with pytest.raises(KeyAccessError) as caught:
        host.engine.keys.rotate()
    assert caught.value.code == code
    assert host.engine.keys.status().state == code
    assert states(host.engine) == {1: "current"}
    host.ring.fails.clear()
    assert set(host.ring.keys) == {1}
    host.unchanged()


@pytest.mark.parametrize("code", ["key.write-failed", "key.locked", "key.timeout"])
def test_a_keyring_that_does_not_keep_it(host: Host, code: str) -> None:
    host.ring.fails["store"] = KeyAccessError(code, "x")
    with pytest.raises(KeyAccessError) as caught:
        host.engine.keys.rotate()
    assert caught.value.code == code
    host.ring.fails.clear()
    host.unchanged()


def test_a_keyring_that_is_read_only(host: Host) -> None:
    with host.engine.catalog.write() as tx:
        catalogs.installation.set_key_backend(tx, "systemd")
    with pytest.raises(KeyAccessError, match="read-only") as caught:
        host.engine.keys.rotate()
    assert caught.value.code == "key.write-failed"
    assert "key restore" in caught.value.hint
    host.engine.keys.restore(host.vault.code.text)
    assert host.engine.keys.rotate().backend == "kernel"
    host.vault.check(host.engine)


def test_a_host_that_lacks_an_epoch_does_not_rotate(host: Host) -> None:
    host.engine.keys.rotate()
    first = host.ring.keys.pop(1)
    with pytest.raises(KeyAccessError) as caught:
        host.engine.keys.rotate()
    assert caught.value.code == "key.missing"
    assert first.kid in str(caught.value)
    assert "key restore" in caught.value.hint
    assert set(host.ring.keys) == {2}
    status = host.engine.keys.status()
    assert (status.state, status.epochs[1].state, status.epochs[1].kid) == ("ok", "absent", first.kid)
    assert "older epoch 1" in status.detail
    host.engine.keys.restore(host.vault.code.text)
    assert host.engine.keys.rotate().epoch == 3
    host.vault.check(host.engine)


def test_an_epoch_that_nothing_needs_may_be_lacking(host: Host) -> None:
    host.engine.keys.rotate()
    host.remove(host.vault.kept[0])
    del host.ring.keys[1]
    assert host.engine.keys.rotate().epoch == 3
    assert epochs(host.vault.bundle(host.engine).masters) == [2, 3]
    host.vault.check(host.engine)


def test_a_damaged_cell_is_named_and_nothing_changes(host: Host) -> None:
    with host.engine.catalog.write() as tx:
        cell = next(c for c in catalogs.sealed.every(tx) if c.table == "connections")
        tx.change(update(connections).values(conninfo_sealed=cell.value[:-4] + "AAAA"))
    with pytest.raises(KeyAccessError, match=r"connections\.conninfo") as caught:
        host.engine.keys.rotate()
    assert caught.value.code == "key.row-altered"
    with host.engine.catalog.write() as tx:
        catalogs.sealed.replace(tx, cell, cell.value)
    host.unchanged()


def test_one_at_a_time(host: Host) -> None:
    fd = os.open(host.home / "rotation.lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(ConfigError) as caught:
            host.engine.keys.rotate()
    finally:
        os.close(fd)
    assert caught.value.code == "config.in-use"
    host.unchanged()
    host.engine.keys.rotate()


def test_two_hosts_at_once(host: Host) -> None:
    """The one that comes second finds another epoch than it began with; its key is left over, the catalog is whole."""
    with host.another(Ring(dict(host.ring.keys))) as (engine, ring):
        inner = ring.store

        def store(catalog_id: str, master: MasterKey) -> None:
            inner(catalog_id, master)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(fcntl, "flock", lambda *_: None)  # another host has another home
                host.engine.keys.rotate()

        ring.store = store  # type: ignore[method-assign]  # a fault
        with pytest.raises(ConfigError) as caught:
            engine.keys.rotate()
        assert caught.value.code == "config.in-use"
        host.unchanged(2)
        with pytest.raises(KeyAccessError) as wrong:
            engine.keys.open()
        assert wrong.value.code == "key.wrong"
        assert "key restore" in wrong.value.hint
        ring.store = inner  # type: ignore[method-assign]  # no fault
        engine.keys.restore(host.vault.code.text)
        host.vault.check(engine)


def test_a_catalog_that_cannot_be_written(host: Host) -> None:
    inner = catalogs.installation.replace_key
    with pytest.MonkeyPatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise CatalogError("catalog.unreachable", "disk full")

        patch.setattr(catalogs.installation, "replace_key", full)
        with pytest.raises(CatalogError):
            host.engine.keys.rotate()
    assert catalogs.installation.replace_key is inner
    left = host.ring.keys[2]
    host.unchanged()
    assert host.engine.keys.rotate().to_kid == left.kid


# -- the recovery code, and other hosts


def test_the_code_brings_every_epoch_back(host: Host) -> None:
    for _ in range(3):
        host.engine.keys.rotate()
        host.vault.take(host.engine, host.engine.keys.open())
    with host.another() as (engine, ring):
        assert engine.keys.restore(host.vault.code.text).epoch == 4
        assert ring.keys == host.ring.keys
        host.vault.check(engine)


def run_job(engine: Engine, job_id: str) -> JobState | None:
    return JobRunner(engine.catalog, engine.clock, engine.work, worker_id="w", lease_s=30.0).run(job_id)


def test_a_job_of_a_host_without_the_new_epoch_waits_for_it(host: Host) -> None:
    with host.another() as (engine, ring):
        engine.keys.restore(host.vault.code.text)
        host.engine.keys.rotate()
        with host.engine.catalog.read() as tx:
            name = catalogs.connections.list_all(tx)[0].name
        job = engine.jobs.checkpoint(name)
        assert run_job(engine, job.id) is JobState.BLOCKED
        error = engine.jobs.get(job.id).error
        assert error is not None
        assert error.code == "key.missing"
        assert "offsitedb key restore" in error.hint
        assert set(ring.keys) == {1}
        engine.keys.restore(host.vault.code.text)
        assert set(ring.keys) == {1, 2}
        host.vault.check(engine)
        assert run_job(engine, job.id) is JobState.FAILED  # it has its key; its server is nobody's
        error = engine.jobs.get(job.id).error
        assert error is not None
        assert error.code.startswith("pg.")


def test_an_artifact_of_an_epoch_that_this_host_lacks_waits_for_it(host: Host) -> None:
    host.engine.keys.rotate()
    kept = host.vault.kept[0]
    with host.another(Ring({2: host.ring.keys[2]})) as (engine, _):
        with pytest.raises(KeyAccessError) as caught:
            host.vault.open_one(kept, engine.keys.open())
        assert caught.value.code == "key.missing"
        assert kept.snapshot.kid in str(caught.value)


def test_channels_go_on_where_the_new_epoch_is_not(host: Host) -> None:
    def channel() -> AlertChannel:
        with host.engine.catalog.read() as tx:
            return catalogs.alert_channels.list_all(tx)[0]

    with host.another(Ring(dict(host.ring.keys))) as (engine, _):
        channels = OpenChannels(engine)
        channels.keep([channel()])
        opened_once = channels.get(channel())
        host.engine.keys.rotate()
        channels.keep([channel()])
        assert channels.get(channel()) == opened_once
        engine.keys.restore(host.vault.code.text)
        assert channels.get(channel()) == opened_once
        channels.keep([])
        assert channels.get(channel()) == opened_once, "opened anew"


def test_a_worker_that_holds_the_demo_key_learns_of_a_rotation(host: Host) -> None:
    held = HeldKey()
    for master in host.ring.keys.values():
        held.store("c", master)
    worker = HeldKey.from_memory_file(held.to_memory_file())
    assert worker.load("c", 1) == host.ring.keys[1]
    newer = MasterKey.generate(2)
    held.store("c", newer)
    assert worker.load("c", 2) == newer
    held.delete("c", 2)
    with pytest.raises(KeyAccessError):
        held.load("d", 1)


# -- letting go


def test_an_epoch_is_kept_for_its_snapshots_and_then_a_week(host: Host) -> None:
    host.engine.keys.rotate()
    tidy = host.engine.keys.duty().run
    host.clock.at += KEEP
    tidy()
    assert states(host.engine) == {2: "current", 1: "older"}
    host.remove(host.vault.kept[0])
    host.clock.at -= timedelta(seconds=1)
    tidy()
    assert states(host.engine) == {2: "current", 1: "older"}
    assert "kept until 2026-11-30" in host.engine.keys.status().epochs[1].why
    host.clock.at += timedelta(seconds=1)
    tidy()
    assert states(host.engine) == {2: "current", 1: "retired"}
    assert set(host.ring.keys) == {2}
    assert epochs(host.vault.bundle(host.engine).masters) == [2]
    assert host.engine.keys.systemd_install().epochs == (2,)
    assert "rm -f /etc/credstore.encrypted/" in host.engine.keys.systemd_install().text
    tidy()
    host.vault.check(host.engine)
    assert host.engine.keys.rotate().epoch == 3
    host.vault.check(host.engine)


@pytest.mark.parametrize("result", [RemovalResult.LOCKED, RemovalResult.MISSING, RemovalResult.REMOVING])
def test_an_epoch_is_kept_for_what_may_still_lie_there(host: Host, result: RemovalResult) -> None:
    host.engine.keys.rotate()
    host.remove(host.vault.kept[0], result)
    host.clock.at += 2 * KEEP
    host.engine.keys.duty().run()
    assert states(host.engine) == {2: "current", 1: "older"}


def test_an_epoch_is_kept_for_a_job_that_began_under_it(host: Host) -> None:
    with host.engine.catalog.write() as tx:
        connection = catalogs.connections.list_all(tx)[0]
        job = replace(
            records.job("j" * 32, connection.id, JobKind.CHECKPOINT, at=host.clock.now()),
            state=JobState.RUNNING,
            started_at=host.clock.now(),
            fence=1,
            worker_id="w",
            lease_until=host.clock.now() + 9 * KEEP,
        )
        catalogs.jobs.create(tx, job)
    old = host.engine.keys.open()
    host.clock.at += timedelta(minutes=1)
    host.engine.keys.rotate()
    host.remove(host.vault.kept[0])
    host.clock.at += 2 * KEEP
    host.engine.keys.duty().run()
    assert states(host.engine)[1] == "older"
    host.vault.take(host.engine, old)
    with host.engine.catalog.write() as tx:
        catalogs.jobs.settle(tx, job.id, 1, JobState.SUCCEEDED, now=host.clock.now())
    host.engine.keys.duty().run()
    assert states(host.engine)[1] == "older", "its snapshot is there now"
    host.unchanged(2)


def test_what_was_sealed_under_a_retired_epoch_is_not_saved(host: Host) -> None:
    old = host.engine.keys.open()
    host.engine.keys.rotate()
    host.remove(host.vault.kept[0])
    host.clock.at += KEEP
    host.engine.keys.duty().run()
    texts = dict(host.vault.texts)
    for write in (host.vault.connect, host.vault.take):
        with pytest.raises(KeyAccessError) as caught:
            write(host.engine, old)
        assert caught.value.code == "key.wrong"
        assert "Do it again" in caught.value.hint
    host.vault.texts = texts
    host.unchanged(2)


def test_each_host_lets_go_in_its_own_keyring(host: Host) -> None:
    with host.another() as (engine, ring):
        engine.keys.restore(host.vault.code.text)
        host.engine.keys.rotate()
        engine.keys.restore(host.vault.code.text)
        host.remove(host.vault.kept[0])
        host.clock.at += KEEP
        host.ring.fails["delete"] = KeyAccessError("key.locked", "x")
        with pytest.raises(KeyAccessError):
            host.engine.keys.duty().run()  # as if it was killed between the two
        assert set(host.ring.keys) == set(ring.keys) == {1, 2}
        host.ring.fails.clear()
        for one in (host.engine, engine):
            one.keys.duty().run()
        assert set(host.ring.keys) == set(ring.keys) == {2}
        host.vault.check(engine)


def test_an_event_alone_removes_no_key(host: Host) -> None:
    """Whoever can write to the catalog cannot have a worker throw away what snapshots need."""
    host.engine.keys.rotate()
    with host.engine.catalog.write() as tx:
        for epoch in (1, 2):
            chain.append_event(tx, host.clock, actor="x", kind="key.retired", subject="x", data={"epoch": epoch})
    host.clock.at += 2 * KEEP
    host.engine.keys.duty().run()
    assert set(host.ring.keys) == {1, 2}
    host.unchanged(2)


def test_a_host_that_lacks_a_needed_epoch_retires_none(host: Host) -> None:
    host.engine.keys.rotate()
    host.vault.take(host.engine, host.engine.keys.open())
    host.engine.keys.rotate()
    host.remove(host.vault.kept[0])
    host.clock.at += KEEP
    with host.another(Ring({n: host.ring.keys[n] for n in (1, 3)})) as (engine, _):
        engine.keys.duty().run()
    assert epochs(host.vault.bundle(host.engine).masters) == [1, 2, 3]
    host.engine.keys.duty().run()
    assert epochs(host.vault.bundle(host.engine).masters) == [2, 3]
    host.vault.check(host.engine)


# -- any order


STEPS = ("rotate", "fail", "take", "take late", "connect", "connect late", "open", "remove", "week", "tidy", "restore")


@settings(max_examples=6, deadline=None)
@given(st.lists(st.sampled_from(STEPS), min_size=3, max_size=12))
def test_any_sequence_of_rotations_and_writes_leaves_everything_openable(steps: list[str]) -> None:
    with opened() as host:
        engine, vault = host.engine, host.vault
        old = engine.keys.open()
        for step in steps:
            texts = dict(vault.texts)
            match step:
                case "rotate":
                    engine.keys.rotate()
                case "fail":
                    host.ring.fails["store"] = KeyAccessError("key.write-failed", "x")
                    with pytest.raises(KeyAccessError):
                        engine.keys.rotate()
                    host.ring.fails.clear()
                case "take" | "connect":
                    (vault.take if step == "take" else vault.connect)(engine, engine.keys.open())
                case "take late" | "connect late":
                    try:
                        (vault.take if step == "take late" else vault.connect)(engine, old)
                    except KeyAccessError:
                        assert old.master.kid in retired(engine), "nothing else is refused"
                        vault.texts = texts
                case "open":
                    old = engine.keys.open()
                case "remove" if vault.kept:
                    host.remove(vault.kept[0])
                case "week":
                    host.clock.at += KEEP
                case "tidy":
                    engine.keys.duty().run()
                case "restore":
                    engine.keys.restore(vault.code.text)
        vault.check(engine)
        with host.another() as (another, _):
            another.keys.restore(vault.code.text)
            vault.check(another)
