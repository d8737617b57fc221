"""The sandbox of a drill: what a program inside it sees, may do, and that it never outlives us."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.errors import CouldNotVerify
from engine.model import Isolation
from engine.postgres.isolation import Sandbox, choose, demand_no_network, drill_user
from engine.process import Finished, RunAs, run

pytest_plugins = ("tests.fixtures.drills",)

KINDS = ("bubblewrap", "unshare", "none")


@pytest.fixture(params=KINDS)
def any_sandbox(request: pytest.FixtureRequest, run_as: RunAs | None) -> Sandbox:
    kind = str(request.param)
    sandbox = Sandbox(Isolation("test", "host" if kind == "none" else "none", kind), run_as)
    if inside(sandbox, "/bin/true").status != 0:
        pytest.skip(f"{kind} does not work on this host")
    return sandbox


def inside(
    sandbox: Sandbox,
    *argv: str,
    writable: tuple[Path, ...] = (),
    readable: tuple[Path, ...] = (),
    network: bool = False,
    passwd: Path | None = None,
) -> Finished:
    wrapped = sandbox.wrap(argv, writable=writable, readable=readable, network=network, passwd=passwd)
    return run(wrapped, name="probe", cancel=CancelToken(), timeout_s=20, run_as=sandbox.spawn_as)


def interfaces(text: bytes) -> set[str]:
    return {line.split(":")[0].strip() for line in text.decode().splitlines() if ":" in line}


def test_no_network_inside_unless_asked_for(any_sandbox: Sandbox) -> None:
    seen = interfaces(inside(any_sandbox, "/bin/cat", "/proc/self/net/dev").stdout)
    shared = interfaces(inside(any_sandbox, "/bin/cat", "/proc/self/net/dev", network=True).stdout)
    host = interfaces(Path("/proc/self/net/dev").read_bytes())
    assert seen == (host if any_sandbox.facts.network == "host" else {"lo"})
    assert shared == host


def test_limits_are_in_force(any_sandbox: Sandbox) -> None:
    said = inside(any_sandbox, "/bin/sh", "-c", "ulimit -c; ulimit -f").stdout.split()
    assert said[0] == b"0"
    assert int(said[1]) * 512 == 4 << 30  # sh counts in blocks of 512 bytes


def test_the_user_changes_and_gains_nothing(any_sandbox: Sandbox, run_as: RunAs | None) -> None:
    status = inside(any_sandbox, "/bin/cat", "/proc/self/status").stdout.decode()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["Uid"].split()[0]) == (run_as.uid if run_as else os.geteuid())
    assert fields["NoNewPrivs"] == "1"
    assert int(fields["CapEff"], 16) == 0


def test_bubblewrap_hides_the_host(run_as: RunAs | None, scratch_root: Path) -> None:
    sandbox = Sandbox(Isolation("test", "none", "bubblewrap"), run_as)
    if inside(sandbox, "/bin/true").status != 0:
        pytest.skip("bubblewrap does not work on this host")
    shown, hidden, own = (scratch_root / name for name in ("shown", "hidden", "own"))
    for directory in (shown, hidden, own):
        directory.mkdir()
        (directory / "file").write_text("x")
        directory.chmod(0o777)
    script = f"cat {shown}/file; cat {hidden}/file; touch {own}/new; touch {shown}/new; cat /etc/passwd; ls /"
    passwd = scratch_root / "passwd"
    passwd.write_text("somebody:x:1:1::/:/bin/false\n")
    finished = inside(sandbox, "/bin/sh", "-c", script, writable=(own,), readable=(shown,), passwd=passwd)
    lines = finished.stdout.decode().split("\n")
    assert lines[0] == "xsomebody:x:1:1::/:/bin/false"
    assert (own / "new").exists()
    assert not (shown / "new").exists()
    assert "home" not in lines
    assert "root" not in lines


def test_children_die_with_a_killed_worker(any_sandbox: Sandbox, run_as: RunAs | None) -> None:
    alive, held = os.pipe()
    code = (
        "import sys\n"
        "from engine.cancel import CancelToken\n"
        "from engine.model import Isolation\n"
        "from engine.postgres.isolation import Sandbox\n"
        "from engine.process import RunAs, spawn\n"
        f"sandbox = Sandbox({any_sandbox.facts!r}, {run_as!r})\n"
        "argv = sandbox.wrap(['/bin/sh', '-c', 'echo up; exec sleep 600'], writable=(), readable=())\n"
        f"fds = ({held},)\n"
        "with spawn(argv, name='x', cancel=CancelToken(), run_as=sandbox.spawn_as, pass_fds=fds) as child:\n"
        "    print(child.stdout.readline().decode(), end='', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(held,), cwd=root
    ) as worker:
        os.close(held)
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"up\n"
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        ready, _, _ = select.select([alive], [], [], 10)
        assert ready == [alive]
        assert os.read(alive, 1) == b""  # nobody holds the other end any more
    os.close(alive)


def test_required_isolation_is_refused_without_namespaces(run_as: RunAs | None) -> None:
    with pytest.raises(CouldNotVerify) as caught:
        demand_no_network(Sandbox(Isolation("test", "host", "none"), run_as))
    assert caught.value.code == "drill.isolation"
    assert "bubblewrap" in caught.value.hint


def test_the_choice_is_made_once_and_tells_the_truth(run_as: RunAs | None) -> None:
    sandbox = choose(required=False, drill_user=run_as)
    assert choose(required=False, drill_user=run_as) is sandbox
    seen = interfaces(inside(sandbox, "/bin/cat", "/proc/self/net/dev").stdout)
    assert (seen == {"lo"}) == (sandbox.facts.network == "none")
    assert sandbox.facts.user


@pytest.mark.skipif(os.geteuid() == 0, reason="root gets a user of its own")
def test_an_ordinary_user_drills_as_itself() -> None:
    assert drill_user() is None


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")
def test_root_drills_as_its_own_user() -> None:
    user = drill_user()
    assert user is not None
    assert user.name == "offsitedb-drill"
    assert user.uid != 0
    assert drill_user() == user
