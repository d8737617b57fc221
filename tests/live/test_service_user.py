"""The account of a service behind a real sshd with ForceCommand: people get the program, and nothing else."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine import catalog as catalogs
from engine.access import limits
from engine.model import Role
from tests.fixtures.installation import Place
from tests.fixtures.people import password_of, people
from tests.fixtures.program import Program, program_of
from tests.fixtures.tmux import Login, seat, sshd

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0


@dataclass(frozen=True)
class Service:
    """An installation whose account people reach through sshd only."""

    place: Place
    program: Program
    login: Login

    def ask(self, command: str) -> subprocess.CompletedProcess[str]:
        """What somebody types behind ``ssh host``, without a terminal."""
        return subprocess.run([*self._ssh("-T"), command], input="", capture_output=True, text=True, timeout=LIMIT_S)

    def ask_as(self, name: str, password: str, command: str) -> tuple[int, str]:
        """The same in a terminal, with name and password typed when they are asked for."""
        process = subprocess.Popen([*self._ssh("-tt"), command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        said = b""
        with process:
            for prompt, answer in ((b"Operator: ", name), (b"Password: ", password)):
                while prompt not in said:
                    more = os.read(process.stdout.fileno(), 1 << 12)
                    assert more, said
                    said += more
                process.stdin.write(answer.encode() + b"\n")
                process.stdin.flush()
            said += process.stdout.read()
        return process.returncode, said.decode()

    def _ssh(self, terminal: str) -> list[str]:
        argv = [word for word in self.login.argv if word != "-t"]
        return [*argv[:-1], terminal, argv[-1]]


@pytest.fixture
def service(place: Place, tmp_path: Path) -> Iterator[Service]:
    program = program_of(place)
    (place.home / "config.toml").write_text("[access]\nservice_user = true\n")
    with place.engine() as engine:
        people(engine, alice=Role.ADMIN, vera=Role.VIEWER)
    kept = ("OFFSITEDB_HOME", "OFFSITEDB_RUNTIME", "CREDENTIALS_DIRECTORY", "DBUS_SESSION_BUS_ADDRESS")
    environment = {k: program.environment[k] for k in kept if k in program.environment}
    environment |= {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "XDG_RUNTIME_DIR": str(tmp_path)}
    (tmp_path / "ssh").mkdir()
    extra = {
        "ForceCommand": f"{shlex.quote(sys.executable)} -m offsitedb_tui",
        "SetEnv": " ".join(f"{k}={v}" for k, v in environment.items()),
        "PermitUserEnvironment": "no",
        "PermitUserRC": "no",
        "Subsystem": "sftp internal-sftp",
    }
    with sshd(tmp_path / "ssh", extra) as login:
        yield Service(place, program, login)


def test_people_get_the_program_and_nothing_else(service: Service, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for command in (
        f"touch {marker}",
        f"sh -c 'touch {marker}'",
        f"ledger; touch {marker}",
        f"ledger $(touch {marker})",
        f"ledger `touch {marker}`",
        f"ledger | tee {marker}",
        f"ledger --json > {marker}",
        f"receipt x --output {marker}",
        "worker",
        "init",
        "key install-systemd --print-key",
    ):
        done = service.ask(command)
        assert done.returncode in (2, 80), (command, done)
        assert not marker.exists(), command
        assert "Traceback" not in done.stderr
    batch = tmp_path / "batch"
    batch.write_text(f"put {ROOT / 'README.md'} {marker}\n")
    argv = [word for word in service.login.argv[1:-1] if word != "-t"]
    argv[argv.index("-p")] = "-P"
    sftp = subprocess.run(
        ["sftp", *argv, "-b", str(batch), service.login.argv[-1]], capture_output=True, text=True, timeout=60
    )
    assert sftp.returncode != 0
    assert not marker.exists()


def test_a_command_asks_for_name_and_password_each_time(service: Service, tmp_path: Path) -> None:
    assert service.ask("ledger --json").returncode == 80, "nobody to ask"
    for _ in range(2):
        status, said = service.ask_as("vera", password_of("vera"), "operator list --json")
        assert status == 0, said
        assert '"alice"' in said
        assert password_of("vera") not in said
    status, said = service.ask_as("vera", password_of("vera"), "operator disable alice --json")
    assert status == 80
    assert "access.role" in said
    status, said = service.ask_as("vera", "wrong", "ledger")
    assert status == 80
    assert "access.login" in said
    with service.place.engine() as engine, engine.catalog.read() as tx:
        known = catalogs.login_limits.read(tx, limits.scopes("vera", "127.0.0.1"))
        assert known["source:127.0.0.1"].failures == 1, "the address that sshd names"
        logins = [e for e in catalogs.events.list_after(tx, 0, limit=1000) if e.kind == "operator.logged-in"]
        assert {e.data["source"] for e in logins} == {"127.0.0.1"}
    assert list(tmp_path.rglob("session-*")) == [], "a token would be everybody's"
    assert list(service.place.home.rglob("session-*")) == []


def test_the_console_is_locked_until_somebody_logs_in(service: Service) -> None:
    with seat(service.login, {}, forced=True) as one:
        shown = one.until("Log in", "Operator", "Password")
        assert "LEDGER" not in shown
        one.press("C-c")
        one.press("C-z")
        one.press("C-p")
        one.enter_text("vera")
        one.move("Tab")
        one.type("wrong")
        one.press("Enter")
        one.until("user or password is wrong")
        one.type(password_of("vera"))
        one.press("Enter")
        one.until("LEDGER")
        one.press("C-l")
        one.until("Locked", "vera")
        one.type(password_of("vera"))
        one.press("Enter")
        one.until("LEDGER")
    with seat(service.login, {}, forced=True) as two:  # nobody inherits the session of somebody else
        two.until("Log in", "Operator", "Password")


def test_the_first_who_comes_is_not_the_admin(place: Place, tmp_path: Path) -> None:
    """Without an operator nobody gets in over SSH; the first one is added on the host."""
    program = program_of(place)
    (place.home / "config.toml").write_text("[access]\nservice_user = true\n")
    far = Program(place, {**program.environment, "SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"})
    assert far.run("ledger", "--json").error(80)["code"] == "access.login-required"
    add = ("operator", "add", "alice", "--role", "admin", "--password-stdin", "--json")
    assert far.run(*add, stdin=password_of("alice")).error(80)["code"] == "access.login-required"
    here = {k: v for k, v in program.environment.items() if k != "SSH_CONNECTION"}
    assert Program(place, here).run(*add, stdin=password_of("alice")).document()["name"] == "alice"
    assert os.environ.get("SSH_ORIGINAL_COMMAND") is None
