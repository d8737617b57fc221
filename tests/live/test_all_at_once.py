"""``restore --all`` and ``drill --all``: many snapshots with one command; what fails is named and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from offsitedb_tui.demo.source import Admin
from tests.fixtures.shop import ROWS, Shop
from tests.live.test_recovery import counted, take

pytestmark = pytest.mark.slow
NAMES = ("shop_1", "shop_2", "shop_3")
"""Databases that restoring them makes."""


@pytest.fixture(scope="module")
def three(shop: Shop) -> Shop:
    """Three snapshots, none of them drilled."""
    with shop.program.place.engine() as engine:
        for _ in NAMES:
            take(engine, "shop")
    return shop


@pytest.fixture
def targets(server: Admin) -> Iterator[None]:
    """Whatever databases a test makes are gone afterwards."""
    yield
    with psycopg.connect(server.url(), autocommit=True) as conn:
        for name in NAMES:
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def test_the_newest_alone_or_every_one_and_one_that_fails(three: Shop, server: Admin, targets: None) -> None:
    restore = ("restore", "--all", "--to-url-stdin")
    refused = three.program.run(*restore, "--json", stdin=server.url())
    assert refused.error(2)["code"] == "config.consent"  # nobody at a terminal agrees
    assert not _there(server)
    newest = three.program.run(*restore, "--yes", "--json", stdin=server.url()).document()
    assert [(one["database"], one["equal"], one["tables"]) for one in newest["restored"]] == [("shop_3", True, 3)]
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute("CREATE DATABASE shop_2")
    before = counted(server.url("shop_3"))
    every = three.program.run(*restore, "--every", "--yes", stdin=server.url())
    assert every.status == 3
    assert "config.consent" not in every.err
    lines = {line.split()[0]: line for line in every.out.splitlines() if line.startswith("shop_")}
    assert lines.keys() == set(NAMES)
    assert "✓ equal" in lines["shop_1"]
    for taken in ("shop_2", "shop_3"):
        assert f"there is a database {taken} on the server already" in lines[taken]
    assert "1 of 3 restored" in every.out
    expected = {f"{schema}.{table}": rows for (schema, table), rows in ROWS.items()}
    assert counted(server.url("shop_1")) == counted(server.url("shop_3")) == before == expected
    assert counted(server.url("shop_2")) == {}
    usage = three.program.run("restore", "shop@latest", "--all", "--to-url-stdin", "--json", stdin=server.url())
    assert usage.error(2)["code"] == "config.usage"


def test_what_a_restore_that_failed_leaves_behind(three: Shop, server: Admin, targets: None) -> None:
    """Nothing: not even the empty database."""
    with three.program.place.engine() as engine:
        newest = engine.snapshots.resolve("shop@latest")
    (damaged,) = three.program.place.destination.rglob(f"*-{newest}.odb")
    kept = damaged.read_bytes()
    try:
        damaged.write_bytes(kept[:-40] + bytes(40))
        failed = three.program.run("restore", "--all", "--to-url-stdin", "--yes", stdin=server.url())
        assert failed.status == 3
        assert "0 of 1 restored" in failed.out
        assert not _there(server)
    finally:
        damaged.write_bytes(kept)


def test_every_snapshot_that_is_not_proven_is_drilled_once(three: Shop) -> None:
    done = three.program.run("drill", "--all", "--wait", "--json").document()
    assert done["proven"] == 3
    assert [one["drill"]["verdict"] for one in done["drills"]] == ["PROVEN"] * 3
    again = three.program.run("drill", "--all", "--wait")
    assert again.status == 0
    assert again.out.strip() == "Every snapshot that is there is proven."
    for arguments in (("drill",), ("drill", "shop@latest", "--all"), ("drill", "shop@latest", "--connection", "shop")):
        assert three.program.run(*arguments, "--json").error(2)["code"] == "config.usage"


def test_what_was_made_for_a_restore_that_is_refused_is_gone_again(three: Shop, server: Admin, targets: None) -> None:
    """An empty database would stand in the way of the same command, given again when what was missing is there."""
    role = sql.Identifier(f"auditor_{uuid4().hex[:12]}")
    with psycopg.connect(three.url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {0}; CREATE POLICY p ON customer TO {0}").format(role))
        with three.program.place.engine() as engine:
            take(engine, "shop")
        conn.execute(sql.SQL("DROP POLICY p ON customer; DROP ROLE {}").format(role))
        restore = ("restore", "--all", "--to-url-stdin", "--yes")
        refused = three.program.run(*restore, stdin=server.url())
        assert refused.status == 3
        assert "policies name roles that the target does not have" in refused.out
        assert "still there" not in refused.out
        assert not _there(server)
        conn.execute(sql.SQL("CREATE ROLE {}").format(role))
        try:
            given = three.program.run(*restore, "--json", stdin=server.url()).document()
            assert [(one["database"], one["equal"]) for one in given["restored"]] == [("shop_4", True)]
        finally:
            with psycopg.connect(server.url(), autocommit=True) as admin:
                admin.execute("DROP DATABASE IF EXISTS shop_4 WITH (FORCE)")
            conn.execute(sql.SQL("DROP ROLE {}").format(role))


def _there(server: Admin) -> list[str]:
    with psycopg.connect(server.url()) as conn:
        rows = conn.execute("SELECT datname FROM pg_database WHERE datname LIKE 'shop\\_%'").fetchall()
    return [str(name) for (name,) in rows]
