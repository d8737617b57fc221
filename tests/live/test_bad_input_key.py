"""The master key cannot be had, or is another one: exit 12, the job waits, and goes on when the key is back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from engine import catalog as catalogs
from engine.keys.door import OsKeyring
from engine.keys.master import MasterKey
from engine.model import JobState
from tests.fixtures.installation import keyring_usable, running_worker, wait_until
from tests.fixtures.program import Program, unchanged
from tests.fixtures.secret_service import SecretService, secret_service
from tests.fixtures.shapes import check_attempt
from tests.fixtures.shop import Shop

pytestmark = pytest.mark.skipif(not keyring_usable(), reason="no keyring of this machine may hold a key")


@contextmanager
def backend(program: Program, name: str) -> Iterator[None]:
    """The catalog names another keyring for the length of the block."""
    before = program.place.made.backend
    with program.place.engine() as engine:
        with engine.catalog.write() as tx:
            catalogs.installation.set_key_backend(tx, name)
        try:
            yield
        finally:
            with engine.catalog.write() as tx:
                catalogs.installation.set_key_backend(tx, before)


@contextmanager
def key(program: Program, other: MasterKey | None) -> Iterator[MasterKey]:
    """The keyring holds ``other`` (None: nothing) instead of the key, for the length of the block."""
    store, catalog_id = OsKeyring().at(program.place.made.backend), program.place.made.catalog_id
    right = store.load(catalog_id, 1)
    if other is None:
        store.delete(catalog_id, 1)
    else:
        store.store(catalog_id, other)
    try:
        yield right
    finally:
        store.store(catalog_id, right)


def blocked(shop: Shop, program: Program, code: str) -> str:
    """Every verb that needs the key says so, a checkpoint is blocked; returns its job."""
    for verb in (("connection", "show", "shop"), ("connection", "preflight", "shop"), ("connection", "test", "shop")):
        error = program.call(*verb, "--json").error(12)
        assert error["code"] == code, verb
    assert program.call("key", "status", "--json").document(12)["state"] == code
    added = program.call("connection", "add", "new", "--destination", "here", "--url-stdin", "--json", stdin=shop.url)
    assert added.error(12)["code"] == code
    assert program.call("connection", "list", "--json").status == 0, "what needs no key goes on"
    assert program.call("ledger", "--json").status == 0
    assert program.call("doctor", "--json").document()["key"]["state"] == code
    said = program.run("checkpoint", "shop", "--wait", "--json")
    document = said.document(12)
    check_attempt(document)
    assert document["snapshot"] is None
    assert document["job"]["state"] == "blocked"
    assert document["job"]["error"]["code"] == code
    assert document["job"]["error"]["hint"]
    job: str = document["job"]["id"]
    return job


@pytest.mark.slow
def test_absent_keyring_blocks_and_a_worker_goes_on(shop: Shop) -> None:
    program = shop.program
    no_bus = {k: v for k, v in program.environment.items() if k != "DBUS_SESSION_BUS_ADDRESS"}
    without = Program(program.place, no_bus)
    with unchanged(program.place), backend(program, "secret-service"), pytest.MonkeyPatch.context() as patch:
        patch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
        job = blocked(shop, without, "key.no-backend")
        assert "doctor" in program.call("jobs", "show", job).out
    with running_worker(program.place):
        wait_until(lambda: _state(program, job).ended, "the blocked job to run once the key is back")
    assert _state(program, job) is JobState.SUCCEEDED


def test_missing_key_then_recovery_code(shop: Shop) -> None:
    program = shop.program
    with unchanged(program.place), key(program, None):
        job = blocked(shop, program, "key.missing")
        hint = program.call("connection", "show", "shop", "--json").error(12)["hint"]
        assert "offsitedb key restore" in hint
        restored = program.run("key", "restore", "--json", stdin=program.place.made.code.text + "\n").document()
        assert restored["state"] == "ok"
        assert program.call("connection", "show", "shop", "--json").status == 0
    assert program.call("jobs", "cancel", job, "--json").document()["state"] == "cancelled"


def test_wrong_key(shop: Shop) -> None:
    program = shop.program
    with unchanged(program.place), key(program, MasterKey.generate(1)):
        job = blocked(shop, program, "key.wrong")
    assert program.call("jobs", "cancel", job, "--json").document()["state"] == "cancelled"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretService]:
    with secret_service(tmp_path_factory.mktemp("locked"), unlocked=False) as running:
        yield running


@pytest.mark.slow
def test_locked_keyring(shop: Shop, locked: SecretService) -> None:
    program = Program(shop.program.place, {**shop.program.environment, **locked.environment})
    with unchanged(shop.program.place), backend(shop.program, "secret-service"):
        said = program.run("checkpoint", "shop", "--wait", "--json")
        document = said.document(12)
        assert document["job"]["error"]["code"] in ("key.locked", "key.timeout")
        assert "Unlock the keyring" in document["job"]["error"]["hint"]
        assert program.run("connection", "show", "shop", "--json").error(12)["code"] in ("key.locked", "key.timeout")
    job = document["job"]["id"]
    assert shop.program.call("jobs", "cancel", job, "--json").document()["state"] == "cancelled"


def test_sealed_string_of_another_connection(shop: Shop) -> None:
    """The catalog's cells exchanged or altered: nothing opens."""
    program = shop.program
    try:
        assert program.add("twin", shop.reader_url).status == 0
        with program.place.engine() as engine, engine.catalog.write() as tx:
            one, other = (catalogs.connections.by_name(tx, name) for name in ("shop", "twin"))
            exchanged = {one.id: other.conninfo_sealed, other.id: one.conninfo_sealed}
            _seal(tx, exchanged)
        for name in ("shop", "twin"):
            assert program.call("connection", "show", name, "--json").error(12)["code"] == "key.row-altered"
    finally:
        with program.place.engine() as engine, engine.catalog.write() as tx:
            _seal(tx, {one.id: one.conninfo_sealed, other.id: other.conninfo_sealed})
        program.call("connection", "remove", "twin")
    assert program.call("connection", "show", "shop", "--json").status == 0


def _seal(tx: catalogs.Tx, values: dict[str, str]) -> None:
    for connection_id, sealed in values.items():
        catalogs.connections.update(tx, replace(catalogs.connections.get(tx, connection_id), conninfo_sealed=sealed))


def _state(program: Program, job: str) -> JobState:
    with program.place.engine() as engine:
        return engine.jobs.get(job).state


def test_a_place_in_which_no_key_lies_about(shop: Shop) -> None:
    """The key in no file of the installation, in none of its forms."""
    right = OsKeyring().load(shop.program.place.made.backend, shop.program.place.made.catalog_id, 1)
    needles = [right.text.encode(), right.text.replace("-", "").encode(), shop.program.place.made.code.text.encode()]
    for path in Path(shop.program.place.root).rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(needle in data for needle in needles), path
