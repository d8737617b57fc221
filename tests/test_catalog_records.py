"""Installation, destinations, connections, snapshots, drills, workers: what goes in comes out, on both dialects."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from engine import catalog as catalogs
from engine.catalog import Catalog
from engine.errors import CatalogError, ConfigError, Internal
from engine.model import Verdict
from tests.fixtures.records import NOW, connection, destination, drill, installation, snapshot, worker

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.catalogs")


def test_an_installation_is_put_once(catalog: Catalog) -> None:
    with catalog.write() as tx:
        assert catalogs.installation.get(tx) is None
        catalogs.installation.put(tx, installation())
        with pytest.raises(ConfigError, match="set up already"):
            catalogs.installation.put(tx, installation())
    with catalog.read() as tx:
        assert catalogs.installation.get(tx) == installation()


def test_an_installation_changes_key_and_recovery(catalog: Catalog) -> None:
    with catalog.write() as tx:
        with pytest.raises(ConfigError):
            catalogs.installation.confirm_recovery(tx, NOW)
        catalogs.installation.put(tx, installation())
        confirmed = catalogs.installation.confirm_recovery(tx, NOW)
        assert confirmed == replace(installation(), recovery_confirmed_at=NOW)
        changed = catalogs.installation.replace_key(
            tx,
            key_backend="systemd",
            key_epoch=2,
            kid="2" * 16,
            key_check="c2",
            recovery_bundle="b2",
        )
        assert changed == replace(
            confirmed,
            key_backend="systemd",
            key_epoch=2,
            kid="2" * 16,
            key_check="c2",
            recovery_bundle="b2",
        )
        assert catalogs.installation.set_bundle(tx, "b3").recovery_bundle == "b3"
        assert catalogs.installation.set_key_backend(tx, "kernel").key_backend == "kernel"


def test_destinations(catalog: Catalog) -> None:
    d1, d2 = destination("d1", "offsite"), destination("d2", "another")
    with catalog.write() as tx:
        catalogs.destinations.add(tx, d1)
        catalogs.destinations.add(tx, d2)
        catalogs.destinations.mark_tested(tx, "d2", NOW)
        with pytest.raises(ConfigError) as caught:
            catalogs.destinations.add(tx, replace(d1, id="d3"))
        assert caught.value.code == "config.name-taken"
    with catalog.read() as tx:
        assert catalogs.destinations.list_all(tx) == [replace(d2, tested_at=NOW), d1]
        assert catalogs.destinations.by_name(tx, "offsite") == d1
        for lookup in (catalogs.destinations.by_name, catalogs.destinations.get):
            with pytest.raises(ConfigError) as caught:
                lookup(tx, "x")
            assert caught.value.code == "config.not-found"


def test_a_destination_in_use_stays(filled: Catalog) -> None:
    with filled.write() as tx:
        with pytest.raises(ConfigError) as caught:
            catalogs.destinations.remove(tx, "d1", NOW)
        assert caught.value.code == "config.in-use"
        assert "name-c1, name-c2" in str(caught.value)
        catalogs.connections.remove(tx, "c1", NOW)
        catalogs.connections.remove(tx, "c2", NOW)
        catalogs.destinations.remove(tx, "d1", NOW)
        assert catalogs.destinations.list_all(tx) == []
        assert catalogs.destinations.get(tx, "d1").name == "name-d1"
        with pytest.raises(ConfigError):
            catalogs.destinations.remove(tx, "d1", NOW)
        catalogs.destinations.add(tx, destination("d9", "name-d1"))


def test_connections(filled: Catalog) -> None:
    with filled.write() as tx:
        with pytest.raises(ConfigError) as caught:
            catalogs.connections.add(tx, connection("c3", "name-c1"))
        assert caught.value.code == "config.name-taken"
        changed = replace(
            connection("c1"), conninfo_sealed="odb1f.new", accept_empty=True, provider=None, tested_at=NOW
        )
        catalogs.connections.update(tx, changed)
        catalogs.connections.mark_tested(tx, "c2", NOW)
        with pytest.raises(ConfigError):
            catalogs.connections.update(tx, connection("c9"))
    with filled.read() as tx:
        assert catalogs.connections.by_name(tx, "name-c1") == changed
        assert catalogs.connections.list_all(tx) == [changed, replace(connection("c2"), tested_at=NOW)]


def test_a_removed_connection_forgets_its_string_and_keeps_its_history(filled: Catalog) -> None:
    with filled.write() as tx:
        catalogs.snapshots.add(tx, snapshot("a" * 32))
        catalogs.connections.remove(tx, "c1", NOW)
    with filled.write() as tx:
        assert catalogs.connections.get(tx, "c1").conninfo_sealed == ""
        assert catalogs.connections.is_removed(tx, "c1")
        assert not catalogs.connections.is_removed(tx, "c2")
        assert catalogs.snapshots.newest(tx, "c1") == snapshot("a" * 32)
        with pytest.raises(ConfigError):
            catalogs.connections.by_name(tx, "name-c1")
        with pytest.raises(ConfigError):
            catalogs.connections.update(tx, connection("c1"))
        catalogs.connections.add(tx, connection("c3", "name-c1"))


def test_numbers_are_given_once(filled: Catalog) -> None:
    with filled.write() as tx:
        assert [catalogs.connections.next_seq(tx, "c1") for _ in range(3)] == [1, 2, 3]
        assert catalogs.connections.next_seq(tx, "c2") == 1
        with pytest.raises(ConfigError):
            catalogs.connections.next_seq(tx, "c9")
        catalogs.snapshots.add(tx, snapshot("a" * 32, seq=41))  # found at a destination
        catalogs.snapshots.add(tx, snapshot("b" * 32, seq=7))
        assert catalogs.connections.next_seq(tx, "c1") == 42


def test_snapshots(filled: Catalog) -> None:
    ids = [f"{n:x}" * 32 for n in range(10, 15)]
    made = [snapshot(id_, seq=seq) for seq, id_ in enumerate(ids, 1)]
    other = snapshot("f" * 32, "c2", seq=1)
    with filled.write() as tx:
        assert catalogs.snapshots.previous_manifest_sha256(tx, "c1") is None
        assert catalogs.snapshots.newest(tx, "c1") is None
        for record in [*made, other]:
            catalogs.snapshots.add(tx, record)
    with filled.read() as tx:
        assert [catalogs.snapshots.get(tx, id_) for id_ in ids] == made
        assert catalogs.snapshots.newest(tx, "c1") == made[-1]
        assert catalogs.snapshots.previous_manifest_sha256(tx, "c1") == made[-1].manifest_sha256
        assert catalogs.snapshots.find(tx, "AAA") == [made[0]]
        assert catalogs.snapshots.find(tx, "%") == []
        assert len(catalogs.snapshots.find(tx, "")) == 6
        recent = catalogs.snapshots.list_recent(tx, connection_id="c1", limit=2)
        assert recent == [made[4], made[3]]
        rest = catalogs.snapshots.list_recent(tx, connection_id="c1", limit=9, before=recent[-1].taken_at)
        assert rest == [made[2], made[1], made[0]]
        assert len(catalogs.snapshots.list_recent(tx, limit=9)) == 6
        assert catalogs.snapshots.count(tx) == 6
        assert catalogs.snapshots.count(tx, connection_id="c2") == 1
        with pytest.raises(ConfigError):
            catalogs.snapshots.get(tx, "0" * 32)


def test_a_snapshot_needs_its_connection_and_a_number_of_its_own(filled: Catalog) -> None:
    with pytest.raises(Internal), filled.write() as tx:
        catalogs.snapshots.add(tx, snapshot("a" * 32, "c9"))
    with filled.write() as tx:
        catalogs.snapshots.add(tx, snapshot("a" * 32, seq=1))
    with pytest.raises(Internal), filled.write() as tx:
        catalogs.snapshots.add(tx, snapshot("b" * 32, seq=1))


def test_drills(filled: Catalog) -> None:
    a, b, c = "a" * 32, "b" * 32, "c" * 32
    with filled.write() as tx:
        for seq, id_ in enumerate((a, b, c), 1):
            catalogs.snapshots.add(tx, snapshot(id_, seq=seq))
        assert catalogs.drills.last_receipt_sha256(tx) is None
        made = [drill("1", a, Verdict.FAILED), drill("2", b, Verdict.COULD_NOT_VERIFY), drill("3", a)]
        for record in made:
            catalogs.drills.add(tx, record)
    with filled.read() as tx:
        assert catalogs.drills.get(tx, "2") == made[1]
        assert catalogs.drills.for_snapshot(tx, a) == [made[2], made[0]]
        assert catalogs.drills.newest_for(tx, (a, b, c)) == {a: made[2], b: made[1]}
        assert catalogs.drills.newest_for(tx, ()) == {}
        assert catalogs.drills.list_recent(tx, limit=2) == [made[2], made[1]]
        assert catalogs.drills.last_receipt_sha256(tx) == made[2].receipt_sha256
        with pytest.raises(ConfigError):
            catalogs.drills.get(tx, "9")


def test_workers(catalog: Catalog) -> None:
    late, soon = NOW + timedelta(seconds=100), NOW + timedelta(seconds=5)
    with catalog.write() as tx:
        catalogs.workers.register(tx, worker("w1"))
        catalogs.workers.register(tx, worker("w2", at=soon))
        assert [w.id for w in catalogs.workers.live(tx, soon, 5.0)] == ["w1", "w2"]
        assert [w.id for w in catalogs.workers.live(tx, soon, 4.9)] == ["w2"]
        catalogs.workers.beat(tx, "w1", late)
        assert [w.id for w in catalogs.workers.live(tx, late, 10)] == ["w1"]
        catalogs.workers.stop(tx, "w1", late)
        catalogs.workers.stop(tx, "w1", late + timedelta(seconds=1))
        assert catalogs.workers.live(tx, late, 1000) == [worker("w2", at=soon)]
        assert catalogs.workers.list_all(tx) == [
            worker("w2", at=soon),
            replace(worker("w1"), heartbeat_at=late, stopped_at=late),
        ]
        with pytest.raises(CatalogError) as caught:
            catalogs.workers.beat(tx, "w1", late)
        assert caught.value.code == "catalog.fenced"
        catalogs.workers.register(tx, worker("w1"))
        catalogs.workers.beat(tx, "w1", late)
