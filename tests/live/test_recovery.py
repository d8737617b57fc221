"""The bad night, with real parts: a bucket over https and the recovery code are left of two connections' snapshots."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.errors import KeyAccessError
from engine.evidence.manifests import read_manifest
from engine.jobs import JobRunner
from engine.keys.door import OsKeyring
from engine.model import BucketKeys, BucketSpec, JobKind, JobState
from engine.service import Engine
from engine.storage.base import Storage
from offsitedb_tui.demo.source import Admin
from tests.fixtures.binaries import lend
from tests.fixtures.ceph import Ceph
from tests.fixtures.installation import Place, installation, keyring_usable
from tests.fixtures.program import Program
from tests.fixtures.shop import shop_source

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.slow,
    pytest.mark.skipif(not keyring_usable(), reason="no keyring of this machine may hold a key"),
]
SHOP, BILLING = 17, 3
MOST_COMMANDS = 5


@dataclass(frozen=True)
class Left:
    """What is left: the bucket, the code, and (for the test alone) what every snapshot has to hold."""

    bucket: str
    code: str
    catalog_id: str
    rows: Mapping[str, Mapping[str, int]]
    """Rows of each table by the new database's name."""


def test_20_of_20_snapshots_come_back_with_bucket_and_code_alone(
    ceph: Ceph, server: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fixtures.program.LIMIT_S", 1200.0)
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(ceph.ca_pem)
    with lose_a_machine(ceph, server) as left, empty_machine(left, ceph) as program:
        commands = [
            program.run(
                *("recover", "--destination", f"s3://{left.bucket}/deep/down", "--endpoint", ceph.https),
                *("--key-id", ceph.key.access_key_id, "--ca-file", str(ca_file), "--code-stdin", "--json"),
                stdin=left.code,
            ),
            program.run("restore", "--all", "--every", "--to-url-stdin", "--yes", "--json", stdin=server.url()),
            program.run("drill", "--all", "--connection", "billing", "--wait", "--json"),
        ]
        recovered, restored, drilled = (one.document() for one in commands)
        assert len(commands) + 1 <= MOST_COMMANDS  # and the installation of the program
        assert (recovered["snapshots"], recovered["lost"]) == (SHOP + BILLING, 0)
        assert {(one["kind"], one["subject"]) for one in recovered["remarks"]} == {
            ("still-written", "off"),
            ("not-reached", "here"),  # a folder of the lost machine, out of use
        }
        assert [(one["name"], one["known"]) for one in recovered["connections"]] == [("billing", True), ("shop", True)]
        assert restored["equal"] == SHOP + BILLING
        assert drilled["proven"] == BILLING
        assert {one["database"] for one in restored["restored"]} == left.rows.keys()
        for name, rows in left.rows.items():
            assert counted(server.url(name)) == rows, name
        for said in commands:
            assert ceph.key.secret_access_key not in said.out + said.err
            assert left.code not in said.out + said.err
        goes_on(program, ceph, left)


def goes_on(program: Program, ceph: Ceph, left: Left) -> None:
    """A checkpoint of the recovered installation has the next number, and names the last manifest before it."""
    taken = program.run("checkpoint", "billing", "--wait", "--json").document()
    assert taken["drill"]["verdict"] == "PROVEN"
    storage = ceph.storage(left.bucket, prefix="deep/down")
    connection = taken["snapshot"]["object_key"].split("/")[1]
    manifests = [info.key for info in storage.list(f"v1/{connection}/") if info.key.endswith(".manifest.json")]
    assert [key.split("/")[2][:8] for key in manifests] == [f"{n:08d}" for n in range(1, BILLING + 2)]
    newest = read_manifest(_read(storage, manifests[-1]), None)
    assert newest.previous_manifest_sha256 == hashlib.sha256(_read(storage, manifests[-2])).hexdigest()
    assert program.run("snapshot", "verify", "shop@latest", "--json").status == 0


def _read(storage: Storage, key: str) -> bytes:
    return b"".join(storage.read(key, cancel=CancelToken()))


@contextmanager
def lose_a_machine(ceph: Ceph, server: Admin) -> Iterator[Left]:
    """Two connections, 20 snapshots, each with other rows than the one before it; then home and keyring are gone."""
    bucket, rows = ceph.bucket(), {}
    with shop_source(server) as shop, shop_source(server) as billing:
        try:
            with pytest.MonkeyPatch.context() as patch, installation(patch) as place, place.engine() as engine:
                spec = BucketSpec(bucket, "ceph", ceph.https, prefix="deep/down", ca_pem=ceph.ca_pem)
                engine.destinations.add_bucket("off", spec, BucketKeys(ceph.key))
                engine.destinations.remove("here")
                for name, source, count in (("shop", shop, SHOP), ("billing", billing, BILLING)):
                    engine.connections.add(name, "off", source[1])
                    for n in range(1, count + 1):
                        _grow(source[0], n)
                        take(engine, name, tag=f"n-{n}" if n == 2 else None)
                        rows[f"{name}_{n}"] = counted(source[0])
                code, catalog_id = place.made.code.text, place.made.catalog_id
            yield Left(bucket, code, catalog_id, rows)
        finally:
            with psycopg.connect(server.url(), autocommit=True) as conn:
                for name in rows:
                    conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def take(engine: Engine, name: str, *, tag: str | None = None) -> None:
    """A snapshot without its drill, as a worker takes it."""
    with engine.catalog.write() as tx:
        connection = catalogs.connections.by_name(tx, name)
        job = engine.jobs.queue(tx, JobKind.CHECKPOINT, connection.id, tag=tag, with_drill=False)
    state = JobRunner(engine.catalog, engine.clock, engine.work, worker_id="w", lease_s=30.0).run(job.id)
    assert state is JobState.SUCCEEDED, engine.jobs.get(job.id).error


def _grow(url: str, n: int) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("INSERT INTO sales.invoice (customer_id, cents) SELECT 1, 1 FROM generate_series(1, %s)", [n])
        conn.execute("INSERT INTO sales.empty VALUES (1)")


def counted(url: str) -> dict[str, int]:
    """Rows of each table, counted by the test itself."""
    with psycopg.connect(url) as conn:
        names = conn.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'sales')"
        ).fetchall()
        found = {}
        for schema, table in names:
            row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))).fetchone()
            assert row is not None
            found[f"{schema}.{table}"] = int(row[0])
    return found


@contextmanager
def empty_machine(left: Left, ceph: Ceph) -> Iterator[Program]:
    """A fresh home, a keyring that holds nothing of the installation, and the bucket's secret in the environment."""
    root = Path(tempfile.mkdtemp(prefix="odbnew-"))
    root.chmod(0o711)
    lend(root / "runtime")
    environment = {
        **os.environ,
        "OFFSITEDB_HOME": str(root / "home"),
        "OFFSITEDB_RUNTIME": str(root / "runtime"),
        "OFFSITEDB_S3_SECRET_ACCESS_KEY": ceph.key.secret_access_key,
    }
    keyring = OsKeyring()
    backend = keyring.choose()
    with pytest.raises(KeyAccessError) as empty:
        keyring.load(backend, left.catalog_id, 1)
    assert empty.value.code == "key.missing"
    try:
        yield Program(Place(root, None, None), environment)  # type: ignore[arg-type]  # nobody made it yet
    finally:
        keyring.delete(backend, left.catalog_id, 1)
        shutil.rmtree(root, ignore_errors=True)
