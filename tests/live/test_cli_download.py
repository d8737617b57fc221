"""Getting a snapshot back without a drill: download, the restore command, drift against the proof before."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, ConfigError, FormatError
from engine.postgres.tools import Toolset, environment
from tests.fixtures.bare import run_alone
from tests.fixtures.shop import ROWS, Shop


@pytest.fixture(scope="module")
def snapshot(shop: Shop) -> str:
    """Id of a proven snapshot of the shop."""
    document = shop.program.run("checkpoint", "shop", "--wait", "--json").document()
    return str(document["snapshot"]["id"])


@pytest.fixture
def altered(shop: Shop, snapshot: str) -> Iterator[str]:
    """The snapshot with one byte of its object changed, and put back afterwards."""
    found = shop.program.call("snapshot", "show", snapshot, "--json").document()
    path = shop.program.place.destination / found["snapshot"]["object_key"]
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[len(broken) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(broken)
    yield snapshot
    path.write_bytes(whole)


def _names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_whole_and_private(shop: Shop, snapshot: str, toolset: Toolset, tmp_path: Path) -> None:
    target = tmp_path / "shop.dump"
    said = shop.program.run("snapshot", "download", "shop@latest", "-o", str(target), "--json").document()
    assert said["snapshot"] == snapshot
    assert (_names(tmp_path), target.stat().st_size) == (["shop.dump"], said["plaintext_bytes"])
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    listed = subprocess.run(
        [toolset.bindir / "pg_restore", "--list", target],
        env={**os.environ, **environment(toolset)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "TABLE DATA sales invoice" in listed.stdout


def test_nothing_is_replaced_unasked(shop: Shop, snapshot: str, tmp_path: Path) -> None:
    target = tmp_path / "shop.dump"
    target.write_text("precious")
    error = shop.program.call("snapshot", "download", snapshot, "-o", str(target), "--json").error(2)
    assert (error["code"], target.read_text()) == ("config.file-exists", "precious")
    assert "--force" in error["hint"]
    shop.program.call("snapshot", "download", snapshot, "-o", str(target), "--force", "--json").document()
    assert target.read_bytes().startswith(b"PGDMP")
    assert _names(tmp_path) == ["shop.dump"]
    (tmp_path / "link").symlink_to("nowhere")
    assert shop.program.call("snapshot", "download", snapshot, "-o", str(tmp_path / "link")).status == 2
    absent = shop.program.call("snapshot", "download", snapshot, "-o", str(tmp_path / "no" / "x"), "--json").error(2)
    assert absent["code"] == "config.file"


def test_an_altered_object_leaves_no_file(shop: Shop, altered: str, tmp_path: Path) -> None:
    target = tmp_path / "shop.dump"
    error = shop.program.call("snapshot", "download", altered, "-o", str(target), "--json").error(40)
    assert error["code"].startswith("format.")
    assert _names(tmp_path) == []
    target.write_text("precious")
    assert shop.program.call("snapshot", "download", altered, "-o", str(target), "--force").status == 40
    assert (target.read_text(), _names(tmp_path)) == ("precious", ["shop.dump"])
    said = shop.program.run("snapshot", "download", altered, "-o", "-", "--json")
    assert said.error(2)["code"] == "config.invalid"
    piped = subprocess.run(
        [sys.executable, "-m", "offsitedb_tui", "snapshot", "download", altered, "-o", "-"],
        env=shop.program.environment,
        capture_output=True,
    )
    assert piped.returncode == 40
    assert b"error: " in piped.stderr


def test_a_reader_that_leaves_is_not_success(shop: Shop, snapshot: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "offsitedb_tui", "snapshot", "download", snapshot, "-o", "-"],
        env=shop.program.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(60) == 2
    assert b"config.file" in said
    assert b"Traceback" not in said


def test_the_door_streams_and_can_be_cancelled(shop: Shop, snapshot: str) -> None:
    with shop.program.place.engine() as engine:
        blocks: list[bytes] = []
        seen: list[tuple[int, int]] = []
        found = engine.snapshots.download(
            snapshot, blocks.append, on_bytes=lambda done, total: seen.append((done, total))
        )
        assert sum(map(len, blocks)) == found.plaintext_bytes
        assert seen[-1] == (found.size_bytes, found.size_bytes)
        token = CancelToken()
        token.cancel()
        with pytest.raises(Cancelled):
            engine.snapshots.download(snapshot, blocks.append, cancel=token)
        with pytest.raises(ConfigError):
            engine.snapshots.download("", blocks.append)


def test_an_altered_object_is_refused_at_the_door(shop: Shop, altered: str) -> None:
    with shop.program.place.engine() as engine, pytest.raises(FormatError):
        engine.snapshots.download(altered, lambda data: None)


def test_the_restore_command_restores(shop: Shop, snapshot: str, database: str, tmp_path: Path) -> None:
    """What is shown is run by a shell, with nothing but the program on the PATH and the name that is typed back."""
    with shop.program.place.engine() as engine:
        line = engine.snapshots.restore_command("shop@latest")
    assert line in shop.program.call("snapshot", "show", snapshot).out
    program = tmp_path / "offsitedb"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m offsitedb_tui "$@"\n')
    program.chmod(0o755)
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-o", "pipefail", "-c", f"{line} --yes-target {urlsplit(database).path[1:]}"],
        env={**shop.program.environment, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TARGET_URL": database},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with psycopg.connect(database) as conn:
        for (schema, table), rows in ROWS.items():
            assert conn.execute(f"SELECT count(*) FROM {schema}.{table}".encode()).fetchone() == (rows,), done.stderr


def test_the_kit_restores_it_with_nothing_of_ours(
    shop: Shop, snapshot: str, bare: Path, toolset: Toolset, database: str, tmp_path: Path
) -> None:
    """As the README at the destination says: decrypt.py in a Python of its own, then PostgreSQL's pg_restore."""
    place, code, dump = shop.program.place, shop.program.place.made.code.text, tmp_path / "restored.dump"
    copy = tmp_path / "backups"
    shutil.copytree(place.destination, copy)
    program = "RECOVERY/decrypt.py"
    listed = run_alone(bare, program, "--list", ".", code="", cwd=copy).stdout.decode()
    (artifact,) = copy.rglob(f"*-{snapshot}.odb")
    assert artifact.name in listed
    done = run_alone(bare, program, artifact, "-o", dump, code=code, cwd=copy)
    assert done.returncode == 0, done.stderr
    assert b"the hash of the content" in done.stderr
    said = run_alone(bare, program, "--manifest", artifact.with_suffix(".manifest.json"), code=code, cwd=copy)
    counted = {(t["schema"], t["table"]): t["rows"] for t in json.loads(said.stdout)["sealed"]["tables"]}
    assert counted == ROWS
    (bundle,) = (copy / "RECOVERY").glob("*.keys")
    keys = json.loads(run_alone(bare, program, "--keys", bundle, code=code, cwd=copy).stdout)
    assert [c["name"] for c in keys["connections"]] == ["shop"]
    assert shop.password in keys["connections"][0]["conninfo"]
    flags = ("--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error", f"--dbname={database}")
    restored = subprocess.run(
        [toolset.bindir / "pg_restore", *flags, dump], env={**os.environ, **environment(toolset)}, capture_output=True
    )
    assert restored.returncode == 0, restored.stderr
    with psycopg.connect(database) as conn:
        for (schema, table), rows in ROWS.items():
            assert conn.execute(f"SELECT count(*) FROM {schema}.{table}".encode()).fetchone() == (rows,)
    proof = shop.program.run("recovery", "verify", "--json", stdin=code).document()
    assert [step["name"] for step in proof["steps"]] == ["catalog", "kit at here", "newest snapshot at here"]
    assert proof["verified"]
    shown = shop.program.call("recovery", "show", "--json").document()
    assert shown["verified_at"] >= proof["at"]
    assert not shown["overdue"]
    assert [kit["state"] for kit in shown["kits"]] == ["current"]
    refused = shop.program.call("recovery", "verify", "--json", stdin=code[:-1] + ("q" if code[-1] != "q" else "p"))
    assert refused.error(12)["code"] == "key.recovery-code"
    assert code[:-1] not in refused.out + refused.err
    assert shop.program.call("recovery", "kit", "--destination", "nowhere", "--json").error(2)


def test_drift(shop: Shop, snapshot: str) -> None:
    call = shop.program.call
    first = call("snapshot", "drift", snapshot, "--json").document()
    assert first == {"previous_id": None, "previous_at": None, "appeared": [], "gone": [], "rows": []}
    assert "no proven snapshot before it" in call("snapshot", "drift", snapshot).out
    with psycopg.connect(shop.url, autocommit=True) as conn:
        conn.execute("DELETE FROM sales.invoice WHERE id > 1000")
        conn.execute("INSERT INTO customer SELECT n, 'c', NULL FROM generate_series(41, 45) n")
        conn.execute("ALTER TABLE sales.empty RENAME TO fresh")
    try:
        later = shop.program.run("checkpoint", "shop", "--wait", "--json").document()
        with shop.program.place.engine() as engine:
            found = engine.snapshots.drift(later["snapshot"]["id"])
            assert (found.previous_id, found.appeared, found.gone) == (snapshot, ("sales.fresh",), ("sales.empty",))
            assert [(d.schema, d.table, d.before, d.after) for d in found.rows] == [
                ("sales", "invoice", 1200, 1000),
                ("public", "customer", 40, 45),
            ]
            assert engine.snapshots.drift(snapshot).previous_id is None, "what came later is not before it"
        said = call("snapshot", "drift", "shop@latest").out
        assert "+ sales.fresh" in said
        assert "-200" in said
    finally:
        with psycopg.connect(shop.url, autocommit=True) as conn:
            conn.execute("ALTER TABLE sales.fresh RENAME TO empty")


def test_drills_and_their_receipts(shop: Shop, snapshot: str, tmp_path: Path) -> None:
    call = shop.program.call
    listed = call("drills", "--connection", "shop", "--json").document()
    mine = next(d for d in listed if d["snapshot_id"] == snapshot)
    assert mine["verdict"] == "PROVEN"
    assert mine["id"][:12] in call("drills").out
    document = call("receipt", mine["id"][:12], "--json").document()
    assert (document["drill_id"], document["chained"], document["sha256"]) == (mine["id"], True, mine["receipt_sha256"])
    target = tmp_path / "receipt.json"
    said = call("receipt", snapshot, "-o", str(target))
    assert said.status == 0
    assert target.read_text() == document["text"]
    assert call("receipt", snapshot, "-o", str(target), "--json").error(2)["code"] == "config.file-exists"
    people = call("receipt", mine["id"]).out
    for text in ("⛭ PROVEN", "signature  holds", "names the receipt before it", "sales.invoice", snapshot):
        assert text in people
    assert call("receipt", "nothing", "--json").error(2)["code"] == "config.not-found"
    assert call("drills", "--connection", "nobody", "--json").error(2)["code"] == "config.not-found"
