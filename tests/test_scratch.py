"""Scratch directories and clusters: private, gone afterwards whatever happens, and swept when their process died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from engine.cancel import CancelToken
from engine.config import DrillSettings
from engine.errors import Cancelled, CouldNotVerify
from engine.postgres.cluster import builders, check_disk, scratch_cluster
from engine.postgres.isolation import Sandbox
from engine.postgres.scratch import open_archive_file, scratch_directory, sweep
from engine.postgres.tools import Toolset
from engine.process import RunAs, run
from tests.fixtures.drill_parts import bare

pytest_plugins = ("tests.fixtures.drills",)

JOB = "0123456789abcdef"


def working_in(directory: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink().is_relative_to(directory):
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_a_directory_is_private_and_gone_afterwards(scratch_root: Path, run_as: RunAs | None) -> None:
    with scratch_directory(scratch_root, JOB, run_as=run_as) as scratch:
        assert scratch.path.name.startswith("drill-01234567-")
        stat = scratch.path.stat()
        assert stat.st_mode & 0o777 == 0o700
        assert stat.st_uid == (run_as.uid if run_as else os.geteuid())
        (scratch.path / "deep" / "er").mkdir(parents=True)
    assert list(scratch_root.iterdir()) == []


def test_a_directory_is_gone_after_an_error(scratch_root: Path, run_as: RunAs | None) -> None:
    def fail() -> None:
        with scratch_directory(scratch_root, JOB, run_as=run_as) as scratch:
            (scratch.path / "file").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(scratch_root.iterdir()) == []


def test_a_path_too_long_for_a_socket_is_refused_with_advice(scratch_root: Path) -> None:
    root = scratch_root / ("x" * 80)
    root.mkdir()
    with pytest.raises(CouldNotVerify) as caught, scratch_directory(root, JOB, run_as=None):
        pytest.fail("not reached")
    assert "OFFSITEDB_RUNTIME" in caught.value.hint
    assert list(root.iterdir()) == []


def test_an_unusable_root_is_said_so(scratch_root: Path) -> None:
    with pytest.raises(CouldNotVerify) as caught, scratch_directory(scratch_root / "absent", JOB, run_as=None):
        pytest.fail("not reached")
    assert caught.value.code == "drill.scratch"


def test_the_archive_has_no_name_and_one_reader(scratch_root: Path, run_as: RunAs | None, sandbox: Sandbox) -> None:
    with scratch_directory(scratch_root, JOB, run_as=run_as) as scratch, open_archive_file(scratch) as archive:
        archive.write(b"PGDMP")
        archive.flush()
        stat = os.fstat(archive.fileno())
        assert stat.st_nlink == 0
        assert stat.st_mode & 0o777 == 0o600
        assert stat.st_uid == (run_as.uid if run_as else os.geteuid())
        assert [p.name for p in scratch.path.iterdir()] == ["passwd"]
        argv = sandbox.wrap(["/bin/cat", f"/proc/self/fd/{archive.fileno()}"], writable=(scratch.path,), readable=())
        fds = (archive.fileno(),)
        finished = run(argv, name="cat", cancel=CancelToken(), timeout_s=20, run_as=sandbox.spawn_as, pass_fds=fds)
        assert finished.stdout == b"PGDMP"


def test_sweep_leaves_the_living_and_what_is_not_ours(scratch_root: Path, run_as: RunAs | None) -> None:
    (scratch_root / "somebody-elses").mkdir()
    with scratch_directory(scratch_root, JOB, run_as=run_as) as scratch:
        assert sweep(scratch_root) == []
        assert scratch.path.exists()
    assert [p.name for p in scratch_root.iterdir()] == ["somebody-elses"]
    assert sweep(scratch_root / "absent") == []


def test_f33_sweep_removes_what_a_killed_worker_left(
    scratch_root: Path, run_as: RunAs | None, toolset: Toolset
) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from engine.cancel import CancelToken\n"
        "from engine.config import DrillSettings\n"
        "from engine.model import Isolation\n"
        "from engine.postgres.cluster import scratch_cluster\n"
        "from engine.postgres.isolation import Sandbox\n"
        "from engine.postgres.scratch import scratch_directory\n"
        "from engine.postgres.tools import examine\n"
        "from engine.process import RunAs\n"
        f"run_as = {run_as!r}\n"
        f"toolset = examine(Path({str(toolset.bindir)!r}), 'system')\n"
        "sandbox = Sandbox(Isolation('test', 'host', 'none'), run_as)\n"
        f"with scratch_directory(Path({str(scratch_root)!r}), {JOB!r}, run_as=run_as) as scratch:\n"
        "    with scratch_cluster(scratch, toolset, sandbox=sandbox, cancel=CancelToken(), settings=DrillSettings()):\n"
        "        print('up', flush=True)\n"
        "        sys.stdin.read()\n"
    )
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as w:
        assert w.stdout is not None
        assert w.stdout.readline() == b"up\n"
        assert sweep(scratch_root) == []
        w.send_signal(signal.SIGKILL)
        w.wait()
        removed = sweep(scratch_root)
    assert len(removed) == 1
    assert list(scratch_root.iterdir()) == []
    assert working_in(scratch_root) == []


def test_a_survivor_is_killed_by_where_it_works(scratch_root: Path) -> None:
    left = scratch_root / "drill-dead-beef"
    left.mkdir()
    with subprocess.Popen(["sleep", "600"], cwd=left) as survivor:
        assert sweep(scratch_root) == [left.name]
        assert survivor.wait(10) == -signal.SIGKILL
    assert list(scratch_root.iterdir()) == []


def test_disk_is_checked_before(scratch_root: Path) -> None:
    check_disk(scratch_root, 0)
    with pytest.raises(CouldNotVerify) as caught:
        check_disk(scratch_root, 1 << 60)
    assert caught.value.code == "drill.disk"


@pytest.mark.parametrize("strong", [True, False])
def test_a_cluster_answers_its_owner_alone(
    strong: bool, scratch_root: Path, run_as: RunAs | None, toolset: Toolset, sandbox: Sandbox
) -> None:
    inside = sandbox if strong else bare(run_as)
    with scratch_directory(scratch_root, JOB, run_as=run_as) as scratch:
        with scratch_cluster(
            scratch, toolset, sandbox=inside, cancel=CancelToken(), settings=DrillSettings()
        ) as cluster:
            assert cluster.server_version.split(".")[0] == str(toolset.major)
            assert cluster.system_identifier.isdigit()
            with cluster.connect() as conn:
                row = conn.execute(
                    "SELECT current_user, current_setting('listen_addresses'), inet_server_addr()"
                ).fetchone()
                assert row == ("offsitedb_scratch", "", None)
                settings = conn.execute(
                    "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'jit')"
                ).fetchall()
                assert sorted(settings) == [("fsync", "off"), ("jit", "off")]
            held = cluster.connect()  # a session that is still open must not hold the end up
        with pytest.raises(psycopg.OperationalError):
            held.execute("SELECT 1")
        assert working_in(scratch_root) == []
    assert list(scratch_root.iterdir()) == []


def test_a_server_that_cannot_start_says_why(scratch_root: Path, run_as: RunAs | None, sandbox: Sandbox) -> None:
    bindir = scratch_root / "broken" / "bin"
    bindir.mkdir(parents=True)
    (bindir / "initdb").write_text("#!/bin/sh\necho 'the disk says no' >&2\nexit 1\n")
    (bindir / "initdb").chmod(0o755)
    broken = Toolset(15, 150018, "15.18", bindir, None, "system", True, None)
    with (
        pytest.raises(CouldNotVerify) as caught,
        scratch_directory(scratch_root, JOB, run_as=run_as) as scratch,
        scratch_cluster(scratch, broken, sandbox=sandbox, cancel=CancelToken(), settings=DrillSettings()),
    ):
        pytest.fail("not reached")
    assert caught.value.code == "drill.scratch"
    assert "the disk says no" in caught.value.message


def test_a_cancelled_drill_leaves_nothing(
    scratch_root: Path, run_as: RunAs | None, toolset: Toolset, sandbox: Sandbox
) -> None:
    token = CancelToken()
    with (
        scratch_directory(scratch_root, JOB, run_as=run_as) as scratch,
        scratch_cluster(scratch, toolset, sandbox=sandbox, cancel=token, settings=DrillSettings()),
    ):
        token.cancel()
        with pytest.raises(Cancelled):
            token.check()
    assert list(scratch_root.iterdir()) == []
    assert working_in(scratch_root) == []


@pytest.mark.parametrize(
    ("jobs", "cores", "helpers"), [(2, 2, 0), (1, 2, 1), (2, 4, 1), (2, 8, 2), (1, 64, 2), (64, 2, 0), (1, 1, 0)]
)
def test_index_builds_have_the_cores_that_the_sessions_leave(jobs: int, cores: int, helpers: int) -> None:
    assert builders(jobs, cores) == helpers
