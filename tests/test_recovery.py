"""An installation recovered on an empty machine: from a folder and the recovery code, and from what is left of them."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine import catalog as catalogs
from engine.errors import ConfigError, FormatError, KeyAccessError, StoreError
from engine.evidence.chain import verify_chain
from engine.evidence.signer import Signer
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryCode
from engine.kit.holdings import HeldDestination, HeldMaster
from engine.model import Counts, DestinationKind
from engine.model.recovery import RemarkKind
from engine.model.retention import RemovalResult
from engine.service import Engine, RecoveryPlace, jobs, rebuilt, restores
from engine.service.rotation import KEEP
from engine.storage.base import MARKER
from engine.storage.local import LocalStorage, prepare_folder
from offsitedb_tui.demo.held import HeldKey
from tests.fixtures.history import StoppedClock
from tests.fixtures.lost import AT, URL, Lost, moved, new_lost, shop_and_billing


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Lost:
    made = new_lost(tmp_path_factory.mktemp("first"))
    shop_and_billing(made)
    return made


@pytest.fixture
def lost(first: Lost, tmp_path: Path) -> Lost:
    """Two connections with three and two snapshots."""
    return moved(first, tmp_path)


@pytest.fixture
def bare(first: Lost, tmp_path: Path) -> Lost:
    """The same installation, with nothing at its destination yet."""
    made = moved(first, tmp_path)
    shutil.rmtree(made.folder / "v1")
    shutil.rmtree(made.folder / "RECOVERY")
    made.connections, made.laid, made.newest = [], [], {}
    return made


def test_an_empty_machine_gets_everything_back(lost: Lost, tmp_path: Path) -> None:
    held, home = HeldKey(), tmp_path / "new"
    before = lost.objects()
    found = lost.recover(home, held)
    assert lost.objects() == before
    assert (found.snapshots, found.lost, found.foreign) == (5, 0, 0)
    assert [r.kind for r in found.remarks] == []
    assert [(c.name, c.known, c.snapshots) for c in found.connections] == [("billing", True, 2), ("shop", True, 3)]
    assert found.connections[1].resume == (
        "offsitedb schedule set shop --on",
        "offsitedb retention set shop --keep-daily 7 --keep-weekly 4 --keep-tag 'release-*' --keep-unproven 7d"
        " --keep-newest-proven 1",
    )
    with Engine.open(home=home, key_store=held) as engine:
        assert engine.keys.status().state == "ok"
        assert engine.keys.status().recovery_confirmed_at is not None
        assert [d.where for d in engine.destinations.list()] == [str(lost.folder)]
        with engine.catalog.read() as tx:
            shop = catalogs.connections.by_name(tx, "shop")
            assert engine.connections.conninfo(shop).to_url() == URL
            assert catalogs.checks.list_all(tx, shop.id)[0].name == "orders"
            assert catalogs.retention.get(tx, shop.id).policy is None
            taken = catalogs.snapshots.list_recent(tx, connection_id=shop.id, limit=10)
            assert [(s.seq, s.tag, s.tables, s.counts) for s in taken] == [
                (3, None, 5, Counts.EXACT),
                (2, "release-1", 5, Counts.EXACT),
                (1, None, 5, Counts.EXACT),
            ]
            first = catalogs.events.list_after(tx, 0, limit=10)
            installation = catalogs.installation.get(tx)
            assert installation is not None
            assert verify_chain(tx, installation.signer_public) == []
        assert [event.kind for event in first] == [
            "installation.recovered",
            "recovery.verified",
            "connection.recovered",
            "connection.recovered",
            "catalog.rebuilt",
        ]
        assert engine.verify.check_all().findings == ()
        assert first[0].data["where"] == str(lost.folder)
        assert (first[1].data["steps"], first[1].data["destinations"]) == (2, 1)  # the bundle, and an artifact
        proven = engine.recovery.show()
        assert (proven.verified_at, proven.overdue) == (first[1].at, False)
        schedule = engine.schedules.show("shop")
        assert (schedule.cron, schedule.time_zone, schedule.enabled, schedule.next_at) == (
            "0 3 * * *",
            "Europe/Berlin",
            False,
            None,
        )
        attempts = engine.ledger.entries()
        assert len(attempts) == 5
        assert all(a.drill is None and a.snapshot is not None for a in attempts)
        for attempt in attempts:
            assert attempt.snapshot is not None
            assert engine.snapshots.verify(attempt.snapshot.id).size_bytes == attempt.snapshot.size_bytes


def test_it_goes_on_where_the_lost_machine_stopped(lost: Lost, tmp_path: Path) -> None:
    held, home = HeldKey(), tmp_path / "new"
    lost.recover(home, held)
    with Engine.open(home=home, key_store=held) as engine, engine.catalog.write() as tx:
        shop = catalogs.connections.by_name(tx, "shop")
        assert catalogs.snapshots.previous_manifest_sha256(tx, shop.id) == lost.newest[shop.id][1]
        assert catalogs.connections.next_seq(tx, shop.id) == 4


def test_manifests_of_older_versions_are_read(bare: Lost, tmp_path: Path) -> None:
    lost = bare
    lost.lay(lost.connect("shop"), tag="gone", older_manifest=True)
    lost.seal()
    held = HeldKey()
    assert lost.recover(tmp_path / "new", held).snapshots == 1
    with Engine.open(home=tmp_path / "new", key_store=held) as engine, engine.catalog.read() as tx:
        (snapshot,) = catalogs.snapshots.list_recent(tx, limit=10)
    assert (snapshot.tag, snapshot.counts, snapshot.tables) == (None, Counts.EXACT, 2)


def test_remarks_stay_empty_for_numbers_that_were_never_used(bare: Lost, tmp_path: Path) -> None:
    lost = bare
    shop = lost.connect("shop")
    for seq in (1, 2, 7):  # 3 to 6 were attempts that failed
        lost.lay(shop, seq=seq)
    lost.seal()
    assert lost.recover(tmp_path / "new", HeldKey()).remarks == ()


def test_what_is_missing_is_named(lost: Lost, tmp_path: Path) -> None:
    first, _, third = lost.laid[:3]
    (lost.folder / first).unlink()
    (lost.folder / third.replace(".odb", ".manifest.json")).unlink()
    (lost.folder / lost.laid[3].replace(".odb", ".manifest.json")).unlink()
    held = HeldKey()
    found = lost.recover(tmp_path / "new", held)
    assert {(remark.kind, remark.subject) for remark in found.remarks} == {
        (RemarkKind.NO_ARTIFACT, first),
        (RemarkKind.NO_MANIFEST, third),
        (RemarkKind.NO_MANIFEST, lost.laid[3]),
        (RemarkKind.GAP, "billing"),
    }
    assert (found.snapshots, found.lost) == (2, 1)
    with Engine.open(home=tmp_path / "new", key_store=held) as engine:
        with engine.catalog.read() as tx:
            gone = catalogs.removals.every(tx)
        assert [(one.result, one.snapshot_id) for one in gone] == [(RemovalResult.MISSING, _artifact(first))]
        with pytest.raises(StoreError) as refused:
            engine.snapshots.verify(_artifact(first))
        assert refused.value.code == "store.removed"


def test_a_snapshot_in_the_middle_that_is_gone_is_a_gap(bare: Lost, tmp_path: Path) -> None:
    lost = bare
    shop = lost.connect("shop")
    keys = [lost.lay(shop) for _ in range(4)]
    lost.seal()
    for key in (keys[1], keys[1].replace(".odb", ".manifest.json")):
        (lost.folder / key).unlink()
    (remark,) = lost.recover(tmp_path / "new", HeldKey()).remarks
    assert (remark.kind, remark.subject) == (RemarkKind.GAP, "shop")
    assert "number 3" in remark.text


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: data.replace(b'"seq":2', b'"seq":9'), "signature"),
        (lambda data: data[:-5], "not what was written"),
        (lambda data: b"{}", "not what was written"),
    ],
)
def test_an_altered_manifest_is_left_out_and_named(
    lost: Lost, tmp_path: Path, spoil: Callable[[bytes], bytes], said: str
) -> None:
    key = lost.laid[1].replace(".odb", ".manifest.json")
    manifest = lost.folder / key
    manifest.write_bytes(spoil(manifest.read_bytes()))
    found = lost.recover(tmp_path / "new", HeldKey())
    assert found.snapshots == 4
    assert {(one.kind, one.subject) for one in found.remarks} == {
        (RemarkKind.UNREADABLE, key),
        (RemarkKind.GAP, "shop"),
    }
    assert said in next(one.text for one in found.remarks if one.kind is RemarkKind.UNREADABLE)


def test_a_manifest_in_another_place_or_of_another_signer_is_left_out(lost: Lost, tmp_path: Path) -> None:
    manifest = lost.folder / lost.laid[0].replace(".odb", ".manifest.json")
    elsewhere = lost.folder / "v1" / ("0" * 32) / manifest.name
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(manifest.read_bytes())
    forger = replace(lost.keys, signer=Signer(b"f" * 32))
    forged = lost.lay(lost.connections[1], keys=forger)
    found = lost.recover(tmp_path / "new", HeldKey())
    assert found.snapshots == 5
    unreadable = {one.subject: one.text for one in found.remarks if one.kind is RemarkKind.UNREADABLE}
    assert unreadable.keys() == {
        str(elsewhere.relative_to(lost.folder)),
        forged.replace(".odb", ".manifest.json"),
    }


def test_a_damaged_newest_artifact_does_not_stop_a_recovery(lost: Lost, tmp_path: Path) -> None:
    (lost.folder / lost.laid[-1]).write_bytes(b"nothing")
    (remark,) = lost.recover(tmp_path / "new", HeldKey()).remarks
    assert (remark.kind, remark.subject) == (RemarkKind.WRONG_SIZE, lost.laid[-1])


def test_a_bundle_of_somebody_elses_keys_is_refused_before_anything_is_written(lost: Lost, tmp_path: Path) -> None:
    """A bundle does not say who sealed it: whoever can write there and knows the public half can leave one."""
    other, held, home = MasterKey.generate(1), HeldKey(), tmp_path / "new"
    lost.seal(replace(lost.held(), masters=(HeldMaster(1, other.text),)))
    with pytest.raises(KeyAccessError) as refused:
        lost.recover(home, held)
    assert refused.value.code == "key.wrong"
    assert "none of the 5 manifests" in refused.value.message
    seed = secrets.token_bytes(32)
    lost.seal(replace(lost.held(), signer_seed=seed.hex(), signer_public=Signer(seed).public_hex))
    with pytest.raises(KeyAccessError) as refused:
        lost.recover(home, held)
    assert refused.value.code == "key.wrong"
    assert not home.exists()
    assert held._keys == {}


def test_master_keys_are_held_against_artifacts(bare: Lost, tmp_path: Path) -> None:
    bare.lay(bare.connect("shop"), mixed=True)
    bare.seal()
    home, held = tmp_path / "new", HeldKey()
    with pytest.raises(KeyAccessError) as refused:
        bare.recover(home, held)
    assert refused.value.code == "key.wrong"
    (bare.folder / bare.laid[0]).write_bytes(b"no artifact at all")
    with pytest.raises(FormatError):
        bare.recover(home, held)
    assert not home.exists()
    assert held._keys == {}


@pytest.mark.parametrize("code", ["nonsense", "other", ""])
def test_a_wrong_code_is_refused_before_anything_is_written(lost: Lost, tmp_path: Path, code: str) -> None:
    home, held, before = tmp_path / "new", HeldKey(), lost.objects()
    text = RecoveryCode.generate().text if code == "other" else code
    with pytest.raises(KeyAccessError) as refused:
        lost.recover(home, held, code=text or " ")
    assert refused.value.code == "key.recovery-code"
    assert not home.exists()
    assert held._keys == {}
    assert lost.objects() == before


def test_several_installations_at_one_place(lost: Lost, tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    second = new_lost(beside, lost.folder)
    second.lay(second.connect("other"))
    second.seal()
    ids = sorted((lost.made.catalog_id, second.made.catalog_id))
    there = Engine.recoverable(RecoveryPlace(folder=lost.folder), home=tmp_path / "new")
    assert [one.catalog_id for one in there] == ids
    with pytest.raises(ConfigError) as ambiguous:
        second.recover(tmp_path / "new", HeldKey())
    assert ambiguous.value.code == "config.ambiguous"
    assert all(one in ambiguous.value.message for one in ids)
    with pytest.raises(ConfigError) as unknown:
        second.recover(tmp_path / "new", HeldKey(), catalog_id="zz")
    assert unknown.value.code == "config.not-found"
    with pytest.raises(KeyAccessError) as refused:
        second.recover(tmp_path / "new", HeldKey(), catalog_id=lost.made.catalog_id)
    assert refused.value.code == "key.recovery-code"
    found = second.recover(tmp_path / "new", HeldKey(), catalog_id=second.made.catalog_id[:10].upper())
    assert (found.snapshots, found.foreign) == (1, 10)


def test_a_place_without_a_bundle_and_a_place_that_is_not_there(bare: Lost, tmp_path: Path) -> None:
    lost = bare
    lost.lay(lost.connect("shop"))
    for folder, code in ((lost.folder, "store.missing"), (tmp_path / "unmounted", "store.unreachable")):
        with pytest.raises(StoreError) as refused:
            Engine.recoverable(RecoveryPlace(folder=folder), home=tmp_path / "new")
        assert refused.value.code == code
    assert not (tmp_path / "new").exists()


def test_an_installation_that_is_there_is_never_overwritten(lost: Lost, tmp_path: Path) -> None:
    before = (lost.home / "catalog.sqlite3").read_bytes()
    with pytest.raises(ConfigError) as refused:
        lost.recover(lost.home, HeldKey())
    assert refused.value.code == "config.already-initialised"
    assert "OFFSITEDB_HOME" in refused.value.hint
    assert (lost.home / "catalog.sqlite3").read_bytes() == before
    left = tmp_path / "left"
    left.mkdir()
    (left / "queue.sqlite3").touch()
    with pytest.raises(ConfigError) as refused:
        lost.recover(left, HeldKey())
    assert "queue.sqlite3" in refused.value.message
    (left / "queue.sqlite3").rename(left / "config.toml")  # settings are no installation
    assert lost.recover(left, HeldKey()).snapshots == 5


class Forgetful(HeldKey):
    """A keyring that breaks off at the ``nth`` write, after it has kept the key."""

    def store(self, catalog_id: str, master: MasterKey) -> None:
        super().store(catalog_id, master)
        raise KeyboardInterrupt


def test_a_recovery_that_was_cut_off_is_run_again(lost: Lost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, held = tmp_path / "new", HeldKey()
    with pytest.raises(KeyboardInterrupt):
        lost.recover(home, Forgetful())
    assert not (home / "catalog.sqlite3").exists()

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rebuilt, "put_snapshots", cut)  # inside the one transaction
        with pytest.raises(KeyboardInterrupt):
            lost.recover(home, held)
    assert not (home / "catalog.sqlite3").exists()
    (home / ".catalog.sqlite3.building").write_bytes(b"what a killed one leaves")
    (home / ".catalog.sqlite3.building-wal").write_bytes(b"what a killed one leaves")
    assert lost.recover(home, held).snapshots == 5
    assert sorted(path.name for path in home.iterdir() if path.is_file()) == ["catalog.sqlite3"]
    with Engine.open(home=home, key_store=held) as engine:
        assert engine.catalog.check() == []


def test_a_keyring_that_cannot_hold_the_key_is_said_before_much_is_read(lost: Lost, tmp_path: Path) -> None:
    class Refusing(HeldKey):
        def store(self, catalog_id: str, master: MasterKey) -> None:
            raise KeyAccessError("key.write-failed", "the keyring did not give back what was written")

    with pytest.raises(KeyAccessError) as refused:
        lost.recover(tmp_path / "new", Refusing())
    assert refused.value.code == "key.write-failed"
    assert not (tmp_path / "new" / "catalog.sqlite3").exists()


def test_somebody_who_still_writes_there_is_told_of(lost: Lost, tmp_path: Path) -> None:
    found = lost.recover(tmp_path / "new", HeldKey(), after=timedelta(hours=20))
    (remark,) = found.remarks
    assert (remark.kind, remark.subject) == (RemarkKind.STILL_WRITTEN, "off")
    assert "somebody wrote there on 20" in remark.text


def test_a_number_that_two_installations_gave_is_given_once(lost: Lost, tmp_path: Path) -> None:
    shop = lost.connections[0]
    twice = lost.lay(shop, seq=2, chained=False)
    held = HeldKey()
    found = lost.recover(tmp_path / "new", held)
    (remark,) = found.remarks
    assert remark.kind is RemarkKind.NUMBER_TWICE
    assert twice in remark.text
    with Engine.open(home=tmp_path / "new", key_store=held) as engine, engine.catalog.read() as tx:
        seqs = [s.seq for s in catalogs.snapshots.list_recent(tx, connection_id=shop.id, limit=10)]
    assert sorted(seqs) == [1, 2, 3, 4]


def test_snapshots_of_a_connection_that_the_bundle_does_not_name_are_kept(lost: Lost, tmp_path: Path) -> None:
    younger = replace(lost.connect("younger"), id="ab" * 16)
    lost.connections.pop()
    key = lost.lay(younger)
    held = HeldKey()
    found = lost.recover(tmp_path / "new", held)
    (remark,) = found.remarks
    assert (remark.kind, remark.subject) == (RemarkKind.UNKNOWN_CONNECTION, "unknown-abababab")
    assert [(c.name, c.known, c.snapshots) for c in found.connections][-1] == ("unknown-abababab", False, 1)
    with Engine.open(home=tmp_path / "new", key_store=held) as engine:
        assert engine.snapshots.verify(_artifact(key)).plaintext_bytes
        assert [c.name for c in engine.connections.list()] == ["billing", "shop"]


def test_removed_connections_and_destinations_stay_removed(bare: Lost, tmp_path: Path) -> None:
    lost = bare
    gone = lost.connect("shop", removed_at=AT)
    lost.connections[0] = replace(gone, conninfo=None)
    lost.lay(gone)
    lost.lay(lost.connect("shop"))
    held_ = lost.held()
    removed = HeldDestination(
        id="d" * 32, name="off", kind=DestinationKind.FOLDER, created_at=AT, folder="/nowhere", removed_at=AT
    )
    lost.seal(replace(held_, destinations=(*held_.destinations, removed)))
    held = HeldKey()
    found = lost.recover(tmp_path / "new", held)
    assert (found.snapshots, found.destinations) == (2, ("off",))
    assert [one.kind for one in found.remarks] == [RemarkKind.NOT_REACHED]
    with Engine.open(home=tmp_path / "new", key_store=held) as engine:
        assert [c.name for c in engine.connections.list()] == ["shop"]


def test_snapshots_at_another_destination_come_along_where_it_can_be_reached(lost: Lost, tmp_path: Path) -> None:
    second = tmp_path / "second"
    prepare_folder(second, "e" * 32)
    storage = LocalStorage(second, destination_id="e" * 32)
    for key in (lost.laid[0], lost.laid[0].replace(".odb", ".manifest.json")):
        storage.put(key, (lost.folder / key).read_bytes())
        (lost.folder / key).unlink()
    held_ = lost.held()
    other = HeldDestination(id="e" * 32, name="disk", kind=DestinationKind.FOLDER, created_at=AT, folder=str(second))
    lost.seal(replace(held_, destinations=(*held_.destinations, other)))
    held = HeldKey()
    found = lost.recover(tmp_path / "new", held)
    assert (found.snapshots, found.remarks, found.destinations) == (5, (), ("off", "disk"))
    with Engine.open(home=tmp_path / "new", key_store=held) as engine:
        assert engine.snapshots.verify(_artifact(lost.laid[0])).plaintext_bytes


def test_a_copy_without_its_marker_becomes_a_destination_of_its_own(lost: Lost, tmp_path: Path) -> None:
    """What a provider sends on a disk: objects, and nothing that a folder's destination has besides."""
    (lost.folder / MARKER).unlink()
    held = HeldKey()
    found = lost.recover(tmp_path / "new", held)
    assert found.snapshots == 5
    assert found.destination == "recovered"
    with Engine.open(home=tmp_path / "new", key_store=held) as engine:
        assert {d.name for d in engine.destinations.list()} == {"off", "recovered"}
        assert engine.snapshots.verify(_artifact(lost.laid[0])).plaintext_bytes


def test_every_epoch_of_the_master_key_comes_back(bare: Lost, tmp_path: Path) -> None:
    second, shop = MasterKey.generate(2), bare.connect("shop")
    bare.lay(shop)
    bare.lay(shop, keys=replace(bare.keys, master=second))
    masters = (HeldMaster(1, bare.keys.master.text), HeldMaster(2, second.text))
    bare.seal(replace(bare.held(), masters=masters, key_epoch=2))
    held = HeldKey()
    found = bare.recover(tmp_path / "new", held)
    assert (found.snapshots, found.remarks, found.kid) == (2, (), second.kid)
    assert [held.load(found.catalog_id, epoch).kid for epoch in (1, 2)] == [bare.keys.master.kid, second.kid]
    with Engine.open(home=tmp_path / "new", key_store=held) as engine:
        assert (engine.keys.status().state, engine.keys.status().epoch) == ("ok", 2)
        with engine.catalog.read() as tx:
            kids = [s.kid for s in catalogs.snapshots.list_recent(tx, limit=10)]
        assert kids == [second.kid, bare.keys.master.kid]
        for key in bare.laid:
            assert engine.snapshots.verify(_artifact(key)).plaintext_bytes
        assert engine.keys.rotate().epoch == 3  # a full installation: it rotates, and what was sealed still opens
        assert engine.snapshots.verify(_artifact(bare.laid[0])).plaintext_bytes
        assert engine.connections.show("shop").sslmode == "verify-full"
        assert engine.verify.check_all().findings == ()


@pytest.mark.parametrize("reached", [True, False])
def test_an_epoch_is_kept_for_what_a_recovery_could_not_read(bare: Lost, tmp_path: Path, reached: bool) -> None:
    """Snapshots at a destination that was away are in no catalog, and open with the epochs of the bundle alone."""
    bare.connect("shop")
    held_ = bare.held()
    gone = HeldDestination(
        id="e" * 32, name="disk", kind=DestinationKind.FOLDER, created_at=AT, folder=str(tmp_path / "away")
    )
    bare.seal(held_ if reached else replace(held_, destinations=(*held_.destinations, gone)))
    held, clock = HeldKey(), StoppedClock()
    found = bare.recover(tmp_path / "new", held)
    assert [one.kind for one in found.remarks] == ([] if reached else [RemarkKind.NOT_REACHED])
    with Engine.open(home=tmp_path / "new", key_store=held, clock=clock) as engine:
        clock.at = datetime.now(UTC) + timedelta(days=4)
        for epoch in (2, 3):
            assert engine.keys.rotate().epoch == epoch
            clock.at += 2 * KEEP
            engine.keys.duty().run()
        told = {one.epoch: one for one in engine.keys.status().epochs}
        assert [told[n].state for n in (1, 2, 3)] == ["retired" if reached else "older", "retired", "current"]
        assert ("could not read everything" in told[1].why) is not reached
    if not reached:
        assert held.load(found.catalog_id, 1).kid == found.kid


def test_no_connection_is_left_out_of_all(lost: Lost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many snapshots another one has since: a list of the newest would end before it."""
    monkeypatch.setattr(restores, "_MOST", 2)
    monkeypatch.setattr(jobs, "_MOST", 2)
    held = HeldKey()
    lost.recover(tmp_path / "new", held)
    with Engine.open(home=tmp_path / "new", key_store=held) as engine:
        assert [c.database for c in engine.restores.candidates()] == ["billing_2", "shop_3"]
        every = [c.database for c in engine.restores.candidates(every=True)]
        assert every == ["billing_2", "billing_1", "shop_3", "shop_2"]
        assert [c.database for c in engine.restores.candidates(connection="shop")] == ["shop_3"]
        assert [job.connection for job in engine.jobs.drill_all()] == ["billing", "billing", "shop", "shop"]


def test_new_databases_have_names_of_their_own(bare: Lost, tmp_path: Path) -> None:
    for name in ("shop-a", "shop_a"):
        bare.lay(bare.connect(name))
    bare.seal()
    held = HeldKey()
    bare.recover(tmp_path / "new", held)
    with Engine.open(home=tmp_path / "new", key_store=held) as engine:
        first, second = engine.restores.candidates()
        assert (first.connection, first.database) == ("shop-a", "shop_a_1")
        assert (second.connection, second.database) == ("shop_a", f"shop_a_1_{second.snapshot_id[:6]}")


def test_a_ca_file_of_the_lost_machine_is_written_where_the_connection_finds_it(bare: Lost, tmp_path: Path) -> None:
    url = f"{URL}&sslrootcert={tmp_path}/gone/ca.pem"
    one = replace(bare.connect("shop"), conninfo=url, ca_pem="-----BEGIN CERTIFICATE-----\n")
    bare.connections[0] = one
    bare.lay(one)
    bare.seal()
    held, home = HeldKey(), tmp_path / "new"
    bare.recover(home, held)
    with Engine.open(home=home, key_store=held) as engine, engine.catalog.read() as tx:
        conninfo = engine.connections.conninfo(catalogs.connections.by_name(tx, "shop"))
    assert conninfo.sslrootcert == str(home / "ca" / f"{one.id}.pem")
    assert Path(conninfo.sslrootcert).read_text() == one.ca_pem


def test_into_a_catalog_in_postgresql(
    lost: Lost, tmp_path: Path, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFSITEDB_DATABASE_URL", postgres_database)
    home, held = tmp_path / "new", HeldKey()

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rebuilt, "put_snapshots", cut)
        with pytest.raises(KeyboardInterrupt):
            lost.recover(home, held)
    with pytest.raises(ConfigError) as nothing:
        with Engine.open(home=home, key_store=held) as engine:
            engine.keys.status()
    assert nothing.value.code == "config.not-initialised"
    assert lost.recover(home, held).snapshots == 5
    with Engine.open(home=home, key_store=held) as engine:
        assert engine.keys.status().state == "ok"
        assert engine.verify.check_all().findings == ()
    with pytest.raises(ConfigError) as refused:
        lost.recover(home, held)
    assert refused.value.code == "config.already-initialised"


def _artifact(key: str) -> str:
    return key.rpartition("-")[2].removesuffix(".odb")
