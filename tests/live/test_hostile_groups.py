"""Each hostile database drilled alone: its own verdict and its own words, nothing outside, nothing left.

One server holds all of them, and one worker drills two at a time while the tests wait for their own job.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from engine.model.views import Attempt, DrillView
from engine.service import Engine
from offsitedb_tui.demo.source import Admin
from tests.fixtures.fire import Field, settings
from tests.fixtures.hostile import GROUPS, Hostile
from tests.fixtures.installation import Place, installation, running_worker
from tests.live.test_hostile_sources import listener

pytestmark = pytest.mark.slow

STATEMENT_S = 4
SCRATCH_BYTES = 200 << 20
MEMORY_BYTES = 768 << 20
"""Private memory of a process of a drill: it inherits the worker's own limit where that is lower than its own."""


@dataclass(frozen=True)
class Ground:
    """All groups as connections of one installation, each with a job on its way."""

    place: Place
    engine: Engine
    markers: dict[str, Path] = field(default_factory=dict)
    came: dict[str, list[object]] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)

    def drill(self, name: str) -> DrillView:
        """What the group's job came to."""
        attempt = self.end(name)
        assert attempt.drill is not None, attempt.job.error
        return attempt.drill

    def end(self, name: str) -> Attempt:
        return Field(self.place, self.engine, "", "-").wait_end(self.jobs[name], 600)

    def left_of(self, name: str) -> list[str]:
        """Scratch directories of the group's job."""
        return [p.name for p in self.place.scratch.glob(f"drill-{self.jobs[name][:8]}-*")]


@pytest.fixture(scope="module")
def ground(server: Admin) -> Iterator[Ground]:
    with ExitStack() as stack:
        place = stack.enter_context(installation(stack.enter_context(pytest.MonkeyPatch.context())))
        settings(
            place,
            f"[drill]\nstatement_timeout_s = {STATEMENT_S}\nmax_scratch_bytes = {SCRATCH_BYTES}\n",
        )
        made = Ground(place, stack.enter_context(place.engine()))
        for name, hostile in GROUPS.items():
            url = stack.enter_context(_database(server))
            made.markers[name] = Path("/tmp") / f"odb-canary-{uuid4().hex}"
            port = 0
            if any("{port}" in statement for statement in hostile.sql):
                port, made.came[name] = stack.enter_context(listener())
            _create(url, hostile, made.markers[name], port)
            made.engine.connections.add(name, "here", url)
        limited = ("prlimit", f"--data={MEMORY_BYTES}", "--")
        with running_worker(place, threads=2, before=limited):
            for name in GROUPS:
                made.jobs[name] = made.engine.jobs.checkpoint(name).id
            yield made
        Field(place, made.engine, "", "no-such-text-anywhere").assert_clean()


@contextmanager
def _database(server: Admin) -> Iterator[str]:
    name = f"t_{uuid4().hex[:12]}"
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    yield server.url(name)
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _create(url: str, hostile: Hostile, marker: Path, port: int) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET hostile.off = '1'")
        for statement in hostile.sql:
            conn.execute(statement.replace("{marker}", str(marker)).replace("{port}", str(port)).encode())


def test_there_are_enough_of_them() -> None:
    assert len(GROUPS) >= 25


@pytest.mark.parametrize("name", GROUPS)
def test_each_alone(ground: Ground, name: str) -> None:
    hostile, drill = GROUPS[name], ground.drill(name)
    said = [*(f.message for f in drill.failures), *(f"{s.kind} {s.name}" for s in drill.skips)]
    assert drill.verdict == hostile.verdict, said
    assert [n for n in hostile.names if not any(re.search(rf"(?<!\w){re.escape(n)}(?!\w)", t) for t in said)] == []
    assert hostile.says in " ".join(said)
    assert not any("This CHECK" in f.hint for f in drill.failures), "no CHECK here reads another table"
    if drill.verdict != "COULD NOT VERIFY":
        assert {t.table for t in drill.tables if not t.equal} == set(hostile.lost)
    assert (drill.verdict == "PROVEN WITH SKIPS") == bool(drill.skips)
    assert drill.isolation.network == "none" or drill.isolation.sandbox == "none"
    assert not ground.markers[name].exists()
    assert ground.came.get(name, []) == []
    assert ground.left_of(name) == []


def test_the_memory_limit_is_what_ends_the_memory_eater(ground: Ground) -> None:
    first = ground.drill("memory-eater").failures[0]
    assert first.code == "drill.scratch"
    assert "(out of memory)" in first.message
    assert "half of this host's memory" in first.hint


def test_the_quota_is_what_ends_the_disk_filler(ground: Ground) -> None:
    first = ground.drill("disk-filler").failures[0]
    assert first.code == "drill.disk"
    assert f"allows {SCRATCH_BYTES >> 20} MiB" in first.message


@pytest.mark.parametrize("name", ["infinite-loop", "loop-that-catches-its-cancel"])
def test_the_statement_limit_is_what_ends_a_loop(ground: Ground, name: str) -> None:
    assert "drill.statement_timeout_s" in ground.drill(name).failures[0].hint
