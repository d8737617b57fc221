"""Drills on a server that was given to them: proven there, refused where it may be the source, nothing left."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

import psycopg
import pytest

from engine.cancel import CancelToken
from engine.errors import ConfigError, CouldNotVerify
from engine.model import Verdict
from engine.postgres.external import PREFIX
from engine.postgres.tools import Toolset
from offsitedb_tui.demo.source import Admin, postgres_server
from tests.fixtures.fire import Field, fill, settings, wait_descendant, working
from tests.fixtures.installation import running_worker, wait_until
from tests.fixtures.source import as_role


@pytest.fixture(scope="module")
def other(toolset: Toolset) -> Iterator[Admin]:
    """A second server: another system identifier, another port."""
    place = Path(tempfile.mkdtemp(prefix="odbscr-"))
    place.chmod(0o711)
    try:
        with postgres_server(toolset, place / "pg", keep=False, cancel=CancelToken()) as admin:
            yield admin
    finally:
        rmtree(place, ignore_errors=True)


def _ours(server: Admin) -> list[str]:
    """Databases and roles of drills on that server."""
    with psycopg.connect(server.url(), autocommit=True) as conn:
        rows = conn.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname::text, %(p)s) UNION ALL SELECT rolname FROM"
            " pg_roles WHERE starts_with(coalesce(shobj_description(oid, 'pg_authid'), ''), %(p)s)",
            {"p": PREFIX},
        ).fetchall()
    return [str(row[0]) for row in rows]


@contextmanager
def _role(server: Admin, name: str, rights: str) -> Iterator[str]:
    """The URL of a role with these rights on the second server."""
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {name} LOGIN {rights} PASSWORD 'long-enough-pass'".encode())
        try:
            yield as_role(server.url(), name, "long-enough-pass")
        finally:
            conn.execute(f"DROP ROLE {name}".encode())


def _policies(field: Field) -> None:
    """A table with a policy for a role that the second server does not have."""
    field.sql(
        "CREATE TABLE kept (id int PRIMARY KEY, secret text)",
        f"INSERT INTO kept SELECT n, '{field.canary}' FROM generate_series(1, 100) n",
        "DO $$ BEGIN CREATE ROLE odb_test_tenant; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        "ALTER TABLE kept ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON kept TO odb_test_tenant USING (id > 0)",
    )


@pytest.mark.parametrize("superuser", [True, False], ids=["superuser", "plain"])
def test_proven_on_a_given_server(field: Field, other: Admin, superuser: bool) -> None:
    _policies(field)
    rights = "SUPERUSER" if superuser else "CREATEDB CREATEROLE"
    with _role(other, "drills", rights) as url, working(field) as engine:
        engine.scratch.add("spare", url)
        field.connect_through()
        assert engine.scratch.use("shop", "spare").scratch == "spare"
        attempt = field.checkpoint()
        assert attempt.drill is not None, attempt.job.error
        assert attempt.drill.verdict is Verdict.PROVEN, (attempt.drill.failures, attempt.job.error)
        assert attempt.drill.isolation.sandbox == "external server spare"
        assert attempt.drill.isolation.network == "host"
        assert {(t.table, t.restored) for t in attempt.drill.tables} == {("kept", 100)}
        assert _ours(other) == []
        field.assert_clean()
        assert engine.connections.get("shop").scratch == "spare"
        with pytest.raises(ConfigError) as caught:
            engine.scratch.remove("spare")
        assert caught.value.code == "config.in-use"
        engine.scratch.use("shop", None)
        engine.scratch.remove("spare")
        assert engine.scratch.list() == ()


def test_f40_the_source_is_refused(field: Field, server: Admin) -> None:
    """By its address before anything is reached, and by its system identifier under any other name."""
    _policies(field)
    with working(field) as engine:
        field.connect_through()
        assert field.checkpoint().snapshot is not None
        for text in (field.url, server.url(), server.url().replace("127.0.0.1", "localhost")):
            with pytest.raises(CouldNotVerify) as caught:
                engine.scratch.add("spare", text)
            assert caught.value.code == "drill.external"
        assert engine.scratch.list() == ()


def test_a_role_without_rights_is_told_which(field: Field, other: Admin) -> None:
    with _role(other, "small", "NOCREATEDB CREATEROLE") as url, pytest.raises(CouldNotVerify) as caught:
        field.engine.scratch.add("spare", url)
    assert '`ALTER ROLE "small" CREATEDB;`' in caught.value.hint


def test_required_isolation_refuses_a_given_server(field: Field, other: Admin) -> None:
    settings(field.place, '[drill]\nisolation = "required"\n')
    _policies(field)
    with field.place.engine() as engine:
        strict = Field(field.place, engine, field.url, field.canary)
        with working(strict):
            engine.scratch.add("spare", other.url())
            strict.connect_through()
            engine.scratch.use("shop", "spare")
            attempt = strict.checkpoint()
    assert attempt.drill is not None
    assert attempt.drill.verdict is Verdict.COULD_NOT_VERIFY
    assert attempt.drill.failures[0].code == "drill.isolation"


@pytest.mark.slow
def test_what_a_killed_worker_left_is_removed(field: Field, other: Admin) -> None:
    """And a database that only looks like ours stays."""
    stranger = f"{PREFIX}deadbeef_0_0"
    with psycopg.connect(other.url(), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {stranger}".encode())
        try:
            fill(field, rows=10, slow_rows=500)
            field.engine.scratch.add("spare", other.url())
            field.connect_through()
            field.engine.scratch.use("shop", "spare")
            with running_worker(field.place) as worker:
                job_id = field.ask()
                wait_descendant(worker.pid, "pg_restore")
                field.wait_phase(job_id, "restore")
                assert len(_ours(other)) == 3
                os.kill(worker.pid, signal.SIGKILL)
                worker.wait(30)
            with running_worker(field.place):
                attempt = field.wait_end(job_id)
            assert attempt.drill is not None
            assert attempt.drill.verdict is Verdict.PROVEN
            wait_until(lambda: _ours(other) == [stranger], "the dead drill's database and role to go")
        finally:
            conn.execute(f"DROP DATABASE IF EXISTS {stranger} WITH (FORCE)".encode())
