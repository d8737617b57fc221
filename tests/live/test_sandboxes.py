"""The sandbox of dump and drill as the host lets it be: with a CA file, through a unix socket, without bubblewrap,
without anything, and for an ordinary user; what is in force is said, and what was required is kept."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from engine import catalog as catalogs
from engine.model.views import Attempt
from engine.postgres.isolation import choose, drill_user
from engine.postgres.tools import Toolset
from tests.fixtures import installation
from tests.fixtures.fire import Field, descendants, fill, settings, wait_descendant, wait_gone, working
from tests.fixtures.hosts import seeing, without_program
from tests.fixtures.installation import Place, running_worker, wait_until
from tests.fixtures.postgres_server import run_server
from tests.test_session_tls import ca as ca

pytestmark = pytest.mark.slow

BWRAP, UNSHARE = Path("/usr/bin/bwrap"), Path("/usr/bin/unshare")


@pytest.fixture
def bubblewrap() -> None:
    if choose(required=False, drill_user=drill_user()).facts.sandbox != "bubblewrap":
        pytest.skip("bubblewrap does not work on this host")


def dumped_in(field: Field, attempt: Attempt) -> str:
    """What the receipt says about pg_dump."""
    assert attempt.drill is not None, attempt.job.error
    with field.engine.catalog.read() as tx:
        record = catalogs.drills.get(tx, attempt.drill.id)
    return str(json.loads(record.receipt)["receipt"]["scratch_settings"]["pg_dump"])


def checked(field: Field, url: str) -> Attempt:
    """A checkpoint of ``url``, proven, and nothing left."""
    field.connect_through(url)
    with working(field):
        attempt = field.checkpoint()
    field.assert_clean()
    assert attempt.drill is not None, attempt.job.error
    assert attempt.drill.verdict == "PROVEN", attempt.drill.failures
    return attempt


def test_the_dump_verifies_the_server_against_a_ca_file_in_its_sandbox(
    field: Field, bubblewrap: None, ca: Path
) -> None:
    """The file lies where no other user may look, and nowhere in the system."""
    ca.parent.chmod(0o700)
    field.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 5) n")
    attempt = checked(field, f"{field.url}?sslmode=verify-full&sslrootcert={ca}")
    assert dumped_in(field, attempt) == "sandbox bubblewrap"
    assert attempt.snapshot is not None


@pytest.mark.parametrize(("mode", "sandbox"), [(0o755, "bubblewrap"), (0o700, "none")], ids=["open", "closed"])
def test_the_dump_reaches_a_unix_socket(
    field: Field, bubblewrap: None, toolset: Toolset, mode: int, sandbox: str
) -> None:
    """Where only root's capabilities reach the socket, which a sandbox takes away, the dump has none and says so."""
    with run_server(toolset) as url:
        home = Path(url.rpartition("host=")[2])
        home.chmod(mode)
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 5) n")
        attempt = checked(field, url)
    assert dumped_in(field, attempt) == f"sandbox {sandbox}"


HOSTS = {
    "no bubblewrap": (without_program(BWRAP), "unshare", "none"),
    "nothing": (without_program(BWRAP) | without_program(UNSHARE), "none", "host"),
}


@pytest.mark.parametrize("policy", ["best-effort", "required"])
@pytest.mark.parametrize("host", HOSTS)
def test_a_host_without_the_programs(field: Field, host: str, policy: str) -> None:
    hidden, sandbox, network = HOSTS[host]
    settings(field.place, f'[drill]\nisolation = "{policy}"\n')
    field.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 5) n")
    field.connect_through()
    with running_worker(field.place, before=seeing(hidden)):
        attempt = field.wait_end(field.ask())
    field.assert_clean()
    drill = attempt.drill
    assert drill is not None, attempt.job.error
    if policy == "required" and network == "host":
        assert drill.verdict == "COULD NOT VERIFY"
        assert drill.failures[0].code == "drill.isolation"
        assert "Install bubblewrap" in drill.failures[0].hint
        return
    assert drill.verdict == "PROVEN", drill.failures
    assert (drill.isolation.sandbox, drill.isolation.network) == (sandbox, network)
    assert dumped_in(field, attempt) == f"sandbox {sandbox}"


@pytest.mark.parametrize(
    ("host", "reasons"),
    [
        ("no bubblewrap", ["no bubblewrap: bwrap is not installed"]),
        ("nothing", ["no bubblewrap: bwrap is not installed", "no unshare: unshare is not installed"]),
    ],
)
def test_the_doctor_says_why(place: Place, host: str, reasons: list[str]) -> None:
    hidden, sandbox, network = HOSTS[host]
    settings(place, '[drill]\nisolation = "required"\n')
    argv = [*seeing(hidden), sys.executable, "-m", "offsitedb_tui", "doctor", "--json"]
    said = subprocess.run(argv, env=place.environment, capture_output=True, text=True, check=False)
    document = json.loads(said.stdout)
    assert (document["isolation"]["sandbox"], document["isolation"]["network"]) == (sandbox, network)
    assert document["isolation_missing"] == reasons
    demanded = [p for p in document["problems"] if "drill.isolation is required" in p]
    assert bool(demanded) == (network == "host")


NAMELESS = 64_123
"""An OS user that has no name here: a container's."""


def _user() -> pwd.struct_passwd:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


@pytest.fixture
def ordinary(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, database: str
) -> Iterator[tuple[Field, tuple[str, ...]]]:
    """An installation of an ordinary user, its key held in memory, and the words that make a command that user's.

    bubblewrap is hidden from it; this Python, which may lie in root's home, is not.
    """
    monkeypatch.setattr(installation, "keyring_usable", lambda: False)
    rooms = Path(tempfile.mkdtemp(prefix="odbuser-"))
    rooms.chmod(0o755)
    try:
        before = _as_user(rooms, getattr(request, "param", _user().pw_uid))
        with installation.installation(monkeypatch) as place, place.engine() as engine:
            yield Field(place, engine, database, "canary-of-an-ordinary-user"), before
    finally:
        shutil.rmtree(rooms, ignore_errors=True)


def _as_user(rooms: Path, uid: int) -> tuple[str, ...]:
    python = Path(sys.base_prefix)
    places = without_program(BWRAP)
    if python.is_relative_to("/root"):
        inner = rooms / "home" / python.relative_to("/root")
        inner.mkdir(parents=True)
        places = {inner: python, **places, Path("/root"): rooms / "home"}
    before = (
        *seeing(places),
        *("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs", "--"),
    )
    network = ("unshare", "--user", "--map-current-user", "--net", "--pid", "--fork", "true")
    for argv in ((*before, sys.executable, "-c", "import engine.service"), (*before, *network)):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"an ordinary user cannot do this here: {done.stderr.strip()[-200:]}")
    return before


def _give(place: Place, uid: int) -> None:
    (place.root / "runtime" / "templates").unlink()  # what others have made is theirs
    for path in (place.root, *place.root.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


def test_an_ordinary_user_drills_in_namespaces_and_its_janitor_clears_up(
    ordinary: tuple[Field, tuple[str, ...]],
) -> None:
    field, before = ordinary
    fill(field, rows=10, slow_rows=400)
    field.connect_through()
    _give(field.place, _user().pw_uid)
    with running_worker(field.place, before=before) as worker:
        job_id = field.ask()
        field.wait_phase(job_id, "restore")
        wait_descendant(worker.pid, "pg_restore")
        below = descendants(worker.pid)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait(30)
    wait_gone(below)
    assert list(field.place.scratch.glob("drill-*")), "the dead worker's scratch directory"
    with running_worker(field.place, before=before):
        attempt = field.wait_end(job_id)
        wait_until(lambda: not field.leftovers(), "the janitor")
    assert attempt.drill is not None, attempt.job.error
    assert attempt.drill.verdict == "PROVEN", attempt.drill.failures
    assert (attempt.drill.isolation.sandbox, attempt.drill.isolation.network) == ("unshare", "none")
    assert attempt.drill.isolation.user == _user().pw_name
    field.assert_clean()


@pytest.mark.parametrize("ordinary", [NAMELESS], indirect=True)
def test_a_user_without_a_name_is_told_what_to_do(ordinary: tuple[Field, tuple[str, ...]]) -> None:
    field, before = ordinary
    field.sql("CREATE TABLE t AS SELECT 1 AS i")
    field.connect_through()
    _give(field.place, NAMELESS)
    with running_worker(field.place, before=before):
        attempt = field.wait_end(field.ask())
    field.assert_clean()
    assert attempt.drill is not None, attempt.job.error
    assert attempt.drill.verdict == "COULD NOT VERIFY"
    assert attempt.drill.failures[0].code == "drill.scratch"
    assert "Install bubblewrap" in attempt.drill.failures[0].hint
