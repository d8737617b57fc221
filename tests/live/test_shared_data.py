"""The databases of ``shared/data`` beside the repository, as operators meet them. Skipped where they are not."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from engine import paths as places
from engine.cancel import CancelToken
from engine.errors import PreflightFailed
from engine.model import BucketKeys, BucketSpec, Verdict
from engine.model.views import Attempt, DrillView
from engine.postgres import tools
from engine.postgres.tools import Toolset
from offsitedb_tui.demo.source import Admin, postgres_server
from tests.fixtures.ceph import Ceph
from tests.fixtures.fire import CONNECTION, Field, working
from tests.fixtures.installation import Place
from tests.fixtures.source import as_role

DATA = Path(__file__).parents[3] / "shared" / "data"
PSQL = shutil.which("psql") or next((str(p) for p in Path("/usr/lib/postgresql").glob("*/bin/psql")), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here"),
    pytest.mark.skipif(PSQL is None, reason="there is no psql"),
]


@dataclass(frozen=True)
class Source:
    """A server of its own for this file, because the prelude files make roles. ``icu``: its build has ICU."""

    admin: Admin
    icu: bool

    def load(self, *files: str) -> str:
        """URL of a new database with these files in it."""
        name = f"t_{uuid4().hex[:12]}"
        with psycopg.connect(self.admin.url(), autocommit=True) as conn:
            conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        url = self.admin.url(name)
        for file in files:
            argv = [str(PSQL), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", str(DATA / file)]
            subprocess.run(argv, check=True, capture_output=True)
        return url

    def reader(self, url: str, *statements: str) -> str:
        """``url`` as a new role, on which the statements have been run: {role} is its name."""
        role = f"r_{uuid4().hex[:8]}"
        with psycopg.connect(url, autocommit=True) as conn:
            for statement in (f"CREATE ROLE {role} LOGIN PASSWORD 'pw'", *statements):
                conn.execute(statement.format(role=role).encode())
        return as_role(url, role, "pw")


@pytest.fixture(scope="module")
def source() -> Iterator[Source]:
    """Debian's server before any other: it has ICU."""
    found: list[Toolset] = [t for t in tools.discover(places.locate()) if t.has_server and t.major in tools.MAJORS]
    found.sort(key=lambda t: not t.icu)
    if not found:
        pytest.skip("no PostgreSQL server")
    root = Path(tempfile.mkdtemp(prefix="odbsrc-"))
    root.chmod(0o711)
    try:
        with postgres_server(found[0], root / "pg", keep=False, cancel=CancelToken()) as admin:
            yield Source(admin, bool(found[0].icu))
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(params=["folder", "bucket"])
def proven(place: Place, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Attempt]]:
    """A checkpoint of a URL into a folder, and into a real bucket over https, and that nothing is left of it."""
    with place.engine() as engine:
        if request.param == "bucket":
            ceph: Ceph = request.getfixturevalue("ceph")
            bucket = ceph.bucket()
            spec = BucketSpec(bucket=bucket, provider="ceph", endpoint=ceph.https, prefix="p", ca_pem=ceph.ca_pem)
            engine.destinations.add_bucket("off", spec, BucketKeys(ceph.key))

        def run(url: str) -> Attempt:
            field = Field(place, engine, url, "no-such-text-anywhere")
            if request.param == "folder":
                field.connect_through()
                with working(field):
                    attempt = field.checkpoint()
                field.assert_clean()
                return attempt
            engine.connections.add(CONNECTION, "off", url)
            with working(field):
                attempt = field.checkpoint()
            assert attempt.snapshot is not None
            key = f"p/{attempt.snapshot.object_key}"
            assert ceph.content(bucket) == {key, key.removesuffix(".odb") + ".manifest.json"}
            return attempt

        yield run


def _drill(attempt: Attempt) -> DrillView:
    assert attempt.drill is not None, attempt.job.error
    return attempt.drill


@pytest.mark.parametrize(("name", "rows"), [("pagila", 46_273), ("chinook", 15_607), ("northwind", 3_362)])
def test_the_samples_are_proven(source: Source, proven: Callable[[str], Attempt], name: str, rows: int) -> None:
    url = source.load(f"{name}.sql")
    attempt = proven(source.reader(url, "GRANT pg_read_all_data TO {role}"))
    drill = _drill(attempt)
    assert drill.verdict is Verdict.PROVEN, (drill.failures, drill.skips)
    assert all(t.equal for t in drill.tables)
    assert sum(t.restored or 0 for t in drill.tables) == rows
    assert attempt.snapshot is not None
    assert attempt.snapshot.rows == rows


def test_supabase_with_bypassrls_is_proven_but_for_event_triggers_and_publication(
    source: Source, proven: Callable[[str], Attempt]
) -> None:
    url = source.load("supabase_like_roles.sql", "supabase_like.sql")
    with psycopg.connect(url) as conn:
        triggers = {str(row[0]) for row in conn.execute("SELECT evtname FROM pg_event_trigger")}
        publications = {str(row[0]) for row in conn.execute("SELECT pubname FROM pg_publication")}
    drill = _drill(proven(source.reader(url, "ALTER ROLE {role} BYPASSRLS", "GRANT pg_read_all_data TO {role}")))
    assert drill.verdict is Verdict.PROVEN_WITH_SKIPS, drill.failures
    assert all(t.equal for t in drill.tables)
    assert sum(t.restored or 0 for t in drill.tables) == 6_599
    named = sorted((s.kind, s.name) for s in drill.skips)
    wanted = [("EVENT TRIGGER", name) for name in triggers] + [("PUBLICATION", name) for name in publications]
    assert named == sorted(wanted)


def test_supabase_under_the_plain_recipe_is_refused_with_the_sql(source: Source, place: Place) -> None:
    url = source.load("supabase_like_roles.sql", "supabase_like.sql")
    reader = source.reader(
        url,
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {role}",
    )
    with place.engine() as engine:
        with pytest.raises(PreflightFailed) as refused:
            engine.connections.add("shop", "here", reader)
        assert engine.connections.list() == ()
    assert refused.value.exit_status == 60
    assert "BYPASSRLS" in (refused.value.hint or "")
    assert str(urlsplit(reader).username) in (refused.value.hint or "")


def test_hostile_is_proven_or_named(source: Source, proven: Callable[[str], Attempt]) -> None:
    if not source.icu:
        pytest.skip("hostile.sql needs a server with ICU")
    url = source.load("hostile_roles.sql", "hostile.sql", "hostile_grants.sql")
    drill = _drill(proven(as_role(url, "offsitedb_reader", "reader")))
    assert drill.verdict is Verdict.PROVEN_WITH_SKIPS, drill.failures
    skipped = " ".join(s.name for s in drill.skips)
    unequal = [t for t in drill.tables if not t.equal]
    assert all(t.table in skipped for t in unequal), unequal


def test_poison_is_failed_naming_every_lost_table(source: Source, proven: Callable[[str], Attempt]) -> None:
    before = set(Path("/tmp").glob("offsitedb_canary_*"))
    url = source.load("poison.sql")
    attempt = proven(source.reader(url, "GRANT pg_read_all_data TO {role}"))
    drill = _drill(attempt)
    assert drill.verdict is Verdict.FAILED
    assert attempt.job.error is not None
    assert attempt.job.error.exit_status == 70
    unequal = {t.table for t in drill.tables if not t.equal}
    assert unequal == {"p_generated", "p_check", "a_check_order"}
    said = " ".join(f.message for f in drill.failures)
    assert all(name in said for name in unequal)
    assert set(Path("/tmp").glob("offsitedb_canary_*")) == before, "code of the archive reached this machine"
