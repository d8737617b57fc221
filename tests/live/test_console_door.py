"""The door's verbs for a console, with a database: trying a string out, targets, drift, download, receipts."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from engine import catalog as catalogs
from engine.errors import ConfigError, SourceError
from engine.model import CheckStatus
from offsitedb_tui.demo.source import Admin
from tests.fixtures.program import unchanged
from tests.fixtures.shop import ROWS, Shop
from tests.fixtures.source import as_role


def test_a_string_is_read_without_a_network(shop: Shop) -> None:
    with shop.program.place.engine() as engine:
        found = engine.connections.read("postgresql://reader:hunter22@db.example.neon.tech/shop?sslmode=require")
        assert (found.provider, found.sslmode) == ("neon", "require")
        assert "hunter22" not in str(found)
        assert "db.example.neon.tech" in found.address
        for text in ("", "mysql://h/x", "postgresql://h:notaport/x"):
            with pytest.raises(ConfigError):
                engine.connections.read(text)


def test_a_string_is_tried_out_and_nothing_is_saved(shop: Shop) -> None:
    place = shop.program.place
    with place.engine() as engine, unchanged(place):
        address, found = engine.connections.try_out(shop.reader_url)
        assert (found.captured.tables, found.blocking) == (len(ROWS), False)
        assert shop.password not in f"{address} {found}"
        with pytest.raises(SourceError):
            engine.connections.try_out(shop.reader_url.replace(shop.password, "wrong"))


def test_blocking_findings_are_findings(shop: Shop, server: Admin, database: str) -> None:
    role, password = "poor", "pw-poor"
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)")
        conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'".encode())
    try:
        with shop.program.place.engine() as engine:
            _, found = engine.connections.try_out(as_role(database, role, password))
            assert found.blocking
            assert any(c.status is CheckStatus.FAIL for c in found.checks)
            _, accepted = engine.connections.try_out(as_role(database, role, password), accept_empty=True)
            assert not accepted.blocking
    finally:
        with psycopg.connect(server.url(), autocommit=True) as conn:
            conn.execute(f"DROP ROLE {role}".encode())


def test_targets(shop: Shop) -> None:
    call = shop.program.call
    before = call("connection", "list", "--json").document()[0]
    assert (before["proof_target_s"], before["restore_target_s"]) == (None, None)
    said = call("connection", "edit", "shop", "--proof-target", "6h", "--json").document()
    assert said == {"connection": {**before, "proof_target_s": 21_600.0}, "preflight": None}
    call("connection", "edit", "shop", "--restore-target", "10min")
    shown = call("connection", "show", "shop", "--json").document()["connection"]
    assert (shown["proof_target_s"], shown["restore_target_s"]) == (21_600.0, 600.0)
    assert "age of the newest proof 6h · restore time 10min" in call("connection", "show", "shop").out
    assert " 6h" in call("connection", "list").out
    for wrong in ("6", "6 hours", "soon", "0s"):
        error = call("connection", "edit", "shop", "--proof-target", wrong, "--json").error(2)
        assert error["code"] == "config.invalid"
    said = call("connection", "edit", "shop", "--proof-target", "none", "--restore-target", "none", "--json").document()
    assert said["connection"] == before
    with shop.program.place.engine() as engine, engine.catalog.read() as tx:
        events = catalogs.events.list_recent(tx, kind="connection.targets-set", limit=9)
    assert events[0].told == {"name": "shop", "proof": "none", "restore": "none"}
    assert events[1].told == {"name": "shop", "proof": "6h", "restore": "10min"}


def test_targets_from_the_start(shop: Shop) -> None:
    program = shop.program
    assert program.add("strict", shop.reader_url, "--proof-target", "yesterday").error(2)["code"] == "config.invalid"
    added = program.add("strict", shop.reader_url, "--proof-target", "1d").document()["connection"]
    assert (added["name"], added["proof_target_s"], added["restore_target_s"]) == ("strict", 86_400.0, None)
    with program.place.engine() as engine:
        line = next(line for line in engine.watch.overview().headlines if line.connection == "strict")
        assert line.overdue
        with pytest.raises(ConfigError):
            engine.connections.set_targets("strict", proof_s=-1.0, restore_s=None)
        with pytest.raises(ConfigError):
            engine.connections.set_targets("nobody", proof_s=1.0, restore_s=None)
        view = engine.connections.get("strict")
        assert replace(view, proof_target_s=None) == replace(engine.connections.list()[1], proof_target_s=None)
        engine.connections.remove("strict")
