"""Databases that attack whoever restores them, many at once: nothing runs outside, nothing goes out.

``test_hostile_groups`` has each of them alone.
"""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from engine.model.views import DrillView
from engine.postgres.tools import Toolset
from tests.fixtures.fire import Field, working
from tests.fixtures.hostile import DORMANT, HOSTILE, Hostile


@contextmanager
def listener() -> Iterator[tuple[int, list[object]]]:
    """A port of loopback, and who came."""
    came: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def wait() -> None:
            while True:
                try:
                    other, address = server.accept()
                except OSError:
                    return
                came.append(address)
                other.close()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def attacked(field: Field, sources: list[Hostile]) -> DrillView:
    """Checkpoint and drill of one database with all of these in it; asserts what holds for every one."""
    marker = Path("/tmp") / f"odb-canary-{uuid4().hex}"
    with listener() as (port, came), psycopg.connect(field.url, autocommit=True) as conn:
        conn.execute("SET hostile.off = '1'")
        for statement in (s for source in sources for s in source.sql):
            conn.execute(statement.replace("{marker}", str(marker)).replace("{port}", str(port)).encode())
        field.connect_through()
        with working(field):
            attempt = field.checkpoint()
        field.assert_clean()
        assert came == []
    assert not marker.exists()
    assert attempt.drill is not None, attempt.job.error
    return attempt.drill


def words(drill: DrillView) -> str:
    return "\n".join([*(f.message for f in drill.failures), *(f"{s.kind} {s.name}" for s in drill.skips)])


def unnamed(drill: DrillView, sources: list[Hostile]) -> list[str]:
    """Names of objects that no failure and no skip says; part of a longer name is not said."""
    said = words(drill)
    return [n for source in sources for n in source.names if not re.search(rf"(?<!\w){re.escape(n)}(?!\w)", said)]


FIRES = (
    *("check", "copy-from-program", "copy-to-file", "lo-export", "dblink", "domain", "generated", "index-expression"),
    *("index-predicate", "partition-key", "materialized-view", "security-definer", "operator-aggregate-cast"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRES)
def test_a_careless_restore_is_hurt_by_it(database: str, toolset: Toolset, name: str) -> None:
    """What the other tests rest on: restored by a superuser without a sandbox, each of these does its harm."""
    marker = Path("/tmp") / f"odb-canary-{uuid4().hex}"
    copy = f"copy_{uuid4().hex[:12]}"
    with listener() as (port, came), psycopg.connect(database, autocommit=True) as conn:
        conn.execute("SET hostile.off = '1'")
        for statement in HOSTILE[name].sql:
            conn.execute(statement.replace("{marker}", str(marker)).replace("{port}", str(port)).encode())
        conn.execute(f"CREATE DATABASE {copy} TEMPLATE template0".encode())
        into = database.rsplit("/", 1)[0] + f"/{copy}"
        try:
            dump = subprocess.run([toolset.bindir / "pg_dump", "-Fc", database], capture_output=True, check=True)
            restore = [str(toolset.bindir / "pg_restore"), "-d", into]
            said = subprocess.run(restore, input=dump.stdout, capture_output=True, check=False).stderr
            assert marker.exists() or came, said.decode()
        finally:
            marker.unlink(missing_ok=True)
            conn.execute(f"DROP DATABASE {copy} WITH (FORCE)".encode())


def test_the_cheapest(field: Field) -> None:
    chosen = [HOSTILE[n] for n in ("check", "domain", "copy-to-file", "set-role")]
    drill = attacked(field, chosen)
    assert drill.verdict == "FAILED", words(drill)
    assert unnamed(drill, chosen) == []


@pytest.mark.slow
def test_what_runs_during_a_restore_loses_what_it_guards_by_name(field: Field) -> None:
    drill = attacked(field, list(HOSTILE.values()))
    said = words(drill)
    assert drill.verdict == "FAILED", said
    assert unnamed(drill, list(HOSTILE.values())) == []


@pytest.mark.slow
def test_what_sleeps_is_proven_and_what_is_not_exercised_named(field: Field) -> None:
    drill = attacked(field, list(DORMANT.values()))
    said = words(drill)
    assert drill.verdict == "PROVEN WITH SKIPS", said
    assert unnamed(drill, list(DORMANT.values())) == []
    assert all(t.equal for t in drill.tables)
