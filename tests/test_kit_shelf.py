"""The kit at a real folder: laid down, kept up to date, proven; what goes wrong is named and costs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from engine import catalog as catalogs
from engine.errors import KeyAccessError, StoreError
from engine.evidence import chain
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryCode
from engine.kit import holdings, shelf, texts
from engine.kit.holdings import HeldCheck, HeldRetention, HeldSchedule, Holdings
from engine.model import OperatorCheck, ScratchServer
from engine.model.kit import KitState
from engine.model.retention import RetentionPolicy
from engine.service import Engine, doctor
from engine.service import recoverykit as service
from engine.storage.base import Storage
from offsitedb_tui.demo.held import HeldKey
from tests.fixtures.history import History, StoppedClock
from tests.fixtures.pruning import Yard, new_yard
from tests.fixtures.records import connection, snapshot


class Machine:
    """An installation with its recovery code at hand, and a folder as its destination ``here``."""

    def __init__(self, home: Path) -> None:
        self.held, self.clock = HeldKey(), StoppedClock()
        self.made = Engine.initialise(home=home, key_store=self.held)
        self.engine = Engine.open(home=home, key_store=self.held, clock=self.clock)
        self.folder = home / "destination"
        self.engine.destinations.add_folder("here", self.folder)

    @property
    def kit(self) -> Path:
        return self.folder / "RECOVERY"

    @property
    def bundle(self) -> Path:
        return self.kit / f"{self.made.catalog_id}.keys"

    def held_there(self) -> Holdings:
        return holdings.open(self.bundle.read_bytes(), self.made.code)

    def state(self) -> KitState:
        return self.engine.recovery.show().kits[0].state

    def events(self, kind: str) -> int:
        with self.engine.catalog.read() as tx:
            return len(catalogs.events.list_recent(tx, kind=kind, limit=1000))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("OFFSITEDB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OFFSITEDB_RUNTIME", str(tmp_path / "runtime"))
    return Machine(tmp_path / "home")


def test_it_lies_there_as_soon_as_there_is_a_destination(machine: Machine) -> None:
    assert machine.state() is KitState.CURRENT
    id_ = machine.made.catalog_id
    names = {p.name for p in machine.kit.iterdir()}
    assert names == {"README.txt", "ARTIFACT.md", "decrypt.py", f"{id_}.keys", f"{id_}.allowed_signers"}
    assert (machine.kit / "ARTIFACT.md").read_bytes() == Path("docs/ARTIFACT.md").read_bytes()
    held = machine.held_there()
    keys = machine.engine.keys.open()
    assert held.master_keys() == (keys.master,)
    assert held.signer.public_hex == keys.signer.public_hex
    assert [d.name for d in held.destinations] == ["here"]
    with machine.engine.catalog.read() as tx:
        assert chain.verify_chain(tx, keys.signer.public_hex) == []


def test_the_bundle_holds_what_a_rebuilt_catalog_wants(machine: Machine) -> None:
    engine, url = machine.engine, "postgresql://u:p%40ss@db.test:5432/prod?sslmode=verify-full"
    keys = engine.keys.open()
    ca, where = machine.folder.with_name("ca.pem"), _id(machine)
    ca.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with engine.catalog.write() as tx:
        for id_, name, text in (("c1", "prod", f"{url}&sslrootcert={ca}"), ("c2", "old", url)):
            sealed = engine.keys.seal(keys, "connections", "conninfo", id_, text)
            record = replace(connection(id_), name=name, destination_id=where, conninfo_sealed=sealed)
            catalogs.connections.add(tx, record)
        catalogs.retention.set_policy(tx, "c1", RetentionPolicy(keep_daily=7, keep_tags=("v*",)), machine.clock.now())
        catalogs.drift_limits.put(tx, "c1", 0.3, machine.clock.now())
        catalogs.checks.add(tx, "c1", OperatorCheck("orders", "SELECT 1", "1"), machine.clock.now())
        catalogs.schedules.set_drill_policy(tx, "c1", "daily", machine.clock.now())
    engine.connections.remove("old")
    engine.connections.set_targets("prod", proof_s=86_400, restore_s=None)
    engine.schedules.set("prod", when="0 2 * * *", zone="Europe/Berlin")
    engine.recovery.look()
    old, prod = sorted(machine.held_there().connections, key=lambda c: c.name)
    assert (old.conninfo, old.removed_at) == (None, machine.clock.now())
    assert prod.conninfo == f"{url}&sslrootcert={ca}"
    assert prod.ca_pem == ca.read_text()
    assert (prod.proof_target_s, prod.drill_policy, prod.drift_limit) == (86_400, "daily", 0.3)
    assert prod.schedule == HeldSchedule("0 2 * * *", "Europe/Berlin")
    assert prod.retention == HeldRetention(keep_daily=7, keep_tags=("v*",))
    assert prod.checks == (HeldCheck("orders", "SELECT 1", "1"),)


def test_every_change_makes_it_stale_and_a_look_mends_it(machine: Machine) -> None:
    engine = machine.engine
    changes: list[Callable[[], object]] = [
        lambda: engine.destinations.add_folder("second", machine.folder.with_name("second")),
        lambda: engine.scratch.remove("big"),
    ]
    with engine.catalog.write() as tx:
        sealed = engine.keys.seal(engine.keys.open(), "scratch_servers", "conninfo", "s1", "postgresql://u:p@h/d")
        catalogs.scratch_servers.add(
            tx,
            ScratchServer("s1", "big", sealed, machine.clock.now(), None),
        )
    assert machine.state() is KitState.STALE
    engine.recovery.look()
    assert machine.held_there().scratch_servers[0].conninfo == "postgresql://u:p@h/d"
    for change in changes:
        change()
        assert machine.state() is KitState.STALE
        engine.recovery.look()
        assert machine.state() is KitState.CURRENT
    assert machine.held_there().scratch_servers == ()
    assert {d.name for d in machine.held_there().destinations} == {"here", "second"}


def test_what_only_tries_changes_nothing(machine: Machine) -> None:
    before, written = machine.bundle.read_bytes(), machine.events(service.WRITTEN)
    machine.engine.destinations.test("here")
    machine.engine.keys.confirm_recovery()
    for _ in range(3):
        machine.engine.recovery.look()
    assert machine.state() is KitState.CURRENT
    assert (machine.bundle.read_bytes(), machine.events(service.WRITTEN)) == (before, written)


def test_only_what_differs_is_written(machine: Machine) -> None:
    with machine.engine.catalog.read() as tx:
        record = catalogs.destinations.by_name(tx, "here")
    storage = machine.engine.open_storage(record)
    stats = {p.name: p.stat().st_ino for p in machine.kit.iterdir()}
    (machine.kit / "README.txt").unlink()
    machine.engine.recovery.kit("here")
    after = {p.name: p.stat().st_ino for p in machine.kit.iterdir()}
    changed = {name for name in after if after[name] != stats[name]}
    assert changed <= {"README.txt", machine.bundle.name}
    assert "ARTIFACT.md" not in changed
    assert (machine.kit / "README.txt").read_bytes() == texts.shared()["README.txt"]
    assert shelf.missing(storage, machine.made.catalog_id) == ()


def test_a_kit_that_was_deleted_is_seen_within_a_day(machine: Machine) -> None:
    machine.bundle.unlink()
    machine.engine.recovery.look()
    assert not machine.bundle.exists(), "it was seen there a moment ago"
    machine.clock.at += timedelta(days=1, minutes=1)
    machine.engine.recovery.look()
    assert machine.held_there().catalog_id == machine.made.catalog_id


def test_a_destination_that_refuses_is_named_once_and_tried_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refusing = machine.engine.open_storage, [True]

    def opened(record: object) -> Storage:
        if refusing[0]:
            raise StoreError("store.denied", "the destination may not be written")
        return real(record)  # type: ignore[arg-type]

    monkeypatch.setattr(machine.engine, "open_storage", opened)
    machine.engine.destinations.add_folder("second", machine.folder.with_name("second"))
    for _ in range(3):
        machine.engine.recovery.look()
        machine.clock.at += timedelta(minutes=11)
    views = {v.destination: v for v in machine.engine.recovery.show().kits}
    assert views["second"].state is KitState.FAILING
    assert "may not be written" in (views["second"].error or "")
    assert machine.events(service.FAILED) == 2, "one for each destination"
    assert any("kit cannot be written to second" in problem for problem in doctor.examine(machine.engine).problems)
    assert isinstance(machine.engine.recovery.after_change(_id(machine)), StoreError)
    with pytest.raises(StoreError):
        machine.engine.recovery.kit("here")
    assert [v.state for v in machine.engine.recovery.kit()] == [KitState.FAILING] * 2
    refusing[0] = False
    machine.clock.at += timedelta(minutes=11)
    machine.engine.recovery.look()
    assert {v.state for v in machine.engine.recovery.show().kits} == {KitState.CURRENT}
    assert {v.error for v in machine.engine.recovery.show().kits} == {None}


def _id(machine: Machine, name: str = "here") -> str:
    with machine.engine.catalog.read() as tx:
        return catalogs.destinations.by_name(tx, name).id


def test_the_code_is_proven_on_everything(machine: Machine) -> None:
    engine = machine.engine
    assert engine.recovery.show().overdue
    proof = engine.recovery.verify(machine.made.code.text.upper())
    assert proof.verified, proof.steps
    assert [step.name for step in proof.steps] == ["catalog", "kit at here"]
    shown = engine.recovery.show()
    assert (shown.verified_at, shown.overdue) == (machine.clock.now(), False)
    assert shown.kits[0].state is KitState.CURRENT
    assert machine.events(service.VERIFIED) == 1
    assert not any("recovery" in problem for problem in doctor.examine(engine).problems)
    machine.clock.at += timedelta(days=181)
    assert engine.recovery.show().overdue
    assert any("offsitedb recovery verify" in problem for problem in doctor.examine(engine).problems)


def test_a_wrong_code_proves_nothing(machine: Machine) -> None:
    right = machine.made.code.text
    typo = right[:-1] + ("q" if right[-1] != "q" else "p")
    for text in (RecoveryCode.generate().text, typo, ""):
        with pytest.raises(KeyAccessError) as caught:
            machine.engine.recovery.verify(text)
        assert caught.value.code == "key.recovery-code"
    assert machine.engine.recovery.show().verified_at is None


@pytest.mark.parametrize("damage", ["removed", "of another", "altered"])
def test_a_kit_that_is_not_as_it_was_laid_is_written_anew_within_a_day(machine: Machine, damage: str) -> None:
    """A second living installation of the same name has laid its own there: this history alone would not say so."""
    machine.engine.recovery.look()  # has seen it
    data = machine.bundle.read_bytes()
    machine.bundle.chmod(0o600)
    match damage:
        case "removed":
            machine.bundle.unlink()
        case "of another":
            machine.bundle.write_bytes(holdings.seal(_of_another(machine), machine.made.code.public))
        case _:
            machine.bundle.write_bytes(data[:-20])
    machine.clock.at += service.LOOK_THERE - timedelta(seconds=1)
    machine.engine.recovery.look()
    assert not machine.bundle.exists() or machine.bundle.read_bytes() != data
    machine.clock.at += timedelta(seconds=1)
    written = machine.events(service.WRITTEN)
    machine.engine.recovery.look()
    assert machine.engine.recovery.verify(machine.made.code.text).verified
    assert machine.events(service.WRITTEN) == written + 1
    machine.clock.at += service.LOOK_THERE
    machine.engine.recovery.look()
    assert machine.events(service.WRITTEN) == written + 1


@pytest.mark.parametrize("damage", ["gone", "altered", "stale", "another"])
def test_a_kit_that_does_not_open_is_told(machine: Machine, damage: str) -> None:
    data = bytearray(machine.bundle.read_bytes())
    match damage:
        case "gone":
            machine.bundle.unlink()
        case "altered":
            data[-20] ^= 1
        case "another":
            data = bytearray(holdings.seal(_of_another(machine), machine.made.code.public))
        case _:
            machine.engine.destinations.add_folder("second", machine.folder.with_name("second"))
    if damage in ("altered", "another"):
        machine.bundle.chmod(0o600)
        machine.bundle.write_bytes(bytes(data))
    proof = machine.engine.recovery.verify(machine.made.code.text)
    assert not proof.verified
    (bad,) = [step for step in proof.steps if not step.ok]
    assert bad.name == "kit at here"
    assert "offsitedb recovery kit" in bad.detail
    assert machine.events(service.VERIFIED) == 0
    machine.engine.recovery.kit()
    assert machine.engine.recovery.verify(machine.made.code.text).verified


def _of_another(machine: Machine) -> Holdings:
    """Sealed rightly, and not by this installation: its master keys are somebody else's."""
    forged = MasterKey.generate(1)
    return replace(machine.held_there(), masters=(holdings.HeldMaster(1, forged.text),))


def test_a_rotation_brings_every_epoch_along(machine: Machine) -> None:
    engine = machine.engine
    first = engine.keys.open().master
    engine.keys.rotate()
    assert machine.state() is KitState.STALE
    engine.recovery.look()
    held = machine.held_there()
    assert [m.epoch for m in held.master_keys()] == [1, 2]
    assert held.master == engine.keys.open().master
    proof = engine.recovery.verify(machine.made.code.text)
    assert proof.verified, proof.steps
    assert "2 epochs" in proof.steps[0].detail
    with engine.catalog.write() as tx:
        catalogs.connections.add(tx, replace(connection("c1"), destination_id=_id(machine), conninfo_sealed=""))
        catalogs.snapshots.add(tx, replace(snapshot("s1"), destination_id=_id(machine), kid=first.kid))
    machine.held.delete(machine.made.catalog_id, 1)
    assert machine.state() is KitState.STALE
    with pytest.raises(KeyAccessError) as caught:
        engine.recovery.look()
    assert caught.value.code == "key.missing"
    assert first.kid in caught.value.message
    assert machine.held_there() == held, "a kit that lacks a key is worse than an older one"
    machine.held.store(machine.made.catalog_id, first)
    engine.recovery.look()
    assert machine.state() is KitState.CURRENT


def test_retention_and_reconciliation_pass_it_by(history: History) -> None:
    yard: Yard = new_yard(history)
    history.engine.recovery.kit()
    folder = history.home / "destination/RECOVERY"
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert len(before) == 5
    found = history.engine.reconcile.run("here")
    assert (found.objects, found.outcome.unknown, found.outcome.foreign) == (0, (), 0)
    yard.storage.sweep(now=history.clock.now() + timedelta(days=400))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
