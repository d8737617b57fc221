"""The console in a real terminal: what it costs on the wire, what it sends for a copy, and how fast one can leave."""

from __future__ import annotations

import base64
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine import catalog as catalogs
from engine.model import JobProgress, JobState, Role
from tests.fixtures.history import History, acme, new_history
from tests.fixtures.installation import unhurried
from tests.fixtures.people import password_of, people
from tests.fixtures.terminal import Terminal, terminal

SIZE = (80, 24)
TERMINALS = ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, {"TERM": "xterm-256color"}, {"TERM": "xterm"})
KEY_BYTES = 15_000
DRILL_BYTES_A_SECOND = 5_000
QUIT_S = 1.0
IDLE_S = 6.0
"""Longer than the poller's pause: at least one look at the catalog falls into it."""


@pytest.fixture(scope="module")
def lived() -> Iterator[History]:
    """An installation with a past that ends now: the console in the terminal has the machine's clock."""
    with pytest.MonkeyPatch.context() as patch:
        with tempfile.TemporaryDirectory(prefix="odbterm-") as root:
            home = Path(root) / "home"
            patch.setenv("OFFSITEDB_HOME", str(home))
            patch.setenv("OFFSITEDB_RUNTIME", str(Path(root) / "runtime"))
            with new_history(home) as made:
                acme(made)
                yield made


def environment(**more: str) -> dict[str, str]:
    """An operator's environment over SSH."""
    mine = {k: v for k, v in os.environ.items() if k not in ("TERM", "COLORTERM", "NO_COLOR")}
    return {**mine, "SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22", "LC_ALL": "C.UTF-8", **more}


def opened(screen: Terminal) -> None:
    screen.until("warehouse")
    screen.listen(quiet_s=0.5)


@pytest.mark.parametrize(
    "kind",
    [TERMINALS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in TERMINALS[1:])],
    ids=["truecolor", "256", "16"],
)
@pytest.mark.slow
def test_idle_costs_nothing_and_a_key_press_little(lived: History, kind: dict[str, str]) -> None:
    with terminal(lived, environment(**kind), SIZE) as screen:
        opened(screen)
        assert screen.during(IDLE_S) == 0
        for key in ("j", "G", "g", " ", "\t", "\t", "/", "\x1b", "c", "\x1b", "?", "\x1b", *"234561", "\x10", "\x1b"):
            screen.press(key.encode())
            cost = screen.listen(quiet_s=0.4)
            assert cost <= KEY_BYTES, (key, cost)


@pytest.mark.slow
def test_a_running_drill_stays_within_its_budget(lived: History) -> None:
    """Ten reports a second apart, as a worker makes them, on the ledger and on the drill page."""
    late = lived.connection("late")
    job = lived.job(late, datetime.now(UTC), state=JobState.RUNNING)
    with terminal(lived, environment(TERM="xterm-256color", COLORTERM="truecolor"), SIZE) as screen:
        opened(screen)
        for key in ("1", "4"):
            screen.press(key.encode())
            screen.listen(quiet_s=0.5)
            for n in range(5):
                report = JobProgress("restore", n * 10, 100, "bytes", "", 38e6 + n, datetime.now(UTC))
                with lived.engine.catalog.write() as tx:
                    catalogs.jobs.report(tx, job.id, job.fence, report)
                assert screen.during(1.0) <= DRILL_BYTES_A_SECOND
    with lived.engine.catalog.write() as tx:
        catalogs.jobs.settle(
            tx, job.id, job.fence, JobState.CANCELLED, error=None, drill_id=None, now=datetime.now(UTC)
        )


def test_copy_is_osc_52(lived: History) -> None:
    with terminal(lived, environment(TERM="xterm-256color"), SIZE) as screen:
        opened(screen)
        screen.press(b"/billing\ry")
        screen.until("copied")
        found = re.search(rb"\x1b\]52;c;([A-Za-z0-9+/=]+)\x07", screen.taken)
        assert found is not None
        copied = base64.b64decode(found[1]).decode()
        assert lived.engine.snapshots.resolve(copied) == copied


def test_no_color_and_ascii_terminals_lose_no_word(lived: History) -> None:
    with terminal(lived, environment(TERM="vt220", NO_COLOR="1", OFFSITEDB_ASCII="1"), SIZE) as screen:
        opened(screen)
        shown = screen.taken.decode()
        assert "OVERDUE" in shown
        assert "PROVEN" in shown
        assert "FAILED" in shown
        assert "⛭" not in shown
        assert not re.search(r"\x1b\[(?:[0-9;]*;)?(?:[34][0-8]|9[0-7]|10[0-7])[;m]", shown), "a colour is left"
        assert re.search(r"\x1b\[(?:[0-9;]*;)?7[;m][^\x1b]*(?:prod-api|late)", shown), "the cursor's line is reversed"


def test_q_leaves_within_a_second(lived: History) -> None:
    with terminal(lived, environment(TERM="xterm-256color"), SIZE) as screen:
        opened(screen)
        began = time.monotonic()
        screen.press(b"q")
        assert screen.ended(10.0) == 0
        assert time.monotonic() - began < unhurried(QUIT_S)


def test_q_leaves_within_a_second_while_a_server_is_deaf(lived: History) -> None:
    """A connection whose server takes the call and never answers is looked at when its operator leaves."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        lived.connection("aaa-deaf", url=f"postgresql://reader:secret@127.0.0.1:{port}/shop?sslmode=require")
        with terminal(lived, environment(TERM="xterm-256color"), SIZE) as screen:
            opened(screen)
            screen.press(b"2")
            screen.until("aaa-deaf")
            screen.press(b"p")
            deaf.settimeout(20)
            with deaf.accept()[0]:
                screen.press(b"j")
                assert screen.listen(quiet_s=0.4) > 0, "the screen stands still while it waits"
                began = time.monotonic()
                screen.press(b"q")
                assert screen.ended(10.0) == 0
                assert time.monotonic() - began < unhurried(QUIT_S)


def test_it_needs_a_terminal(lived: History) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "offsitedb_tui"],
        env=environment(OFFSITEDB_HOME=str(lived.home)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "Usage: offsitedb" in done.stderr
    assert not done.stdout


@pytest.mark.slow
def test_logging_in_and_locking_stay_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for somebody costs nothing, a key little; what lies behind is not on the wire before the login."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("OFFSITEDB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OFFSITEDB_RUNTIME", str(tmp_path / "runtime"))
    with new_history(tmp_path / "home") as made:
        acme(made)
        people(made.engine, alice=Role.ADMIN)
        kind = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "XDG_RUNTIME_DIR": str(tmp_path)}
        with terminal(made, environment(**kind), SIZE) as screen:
            screen.until("under")
            screen.listen(quiet_s=0.5)
            assert screen.during(IDLE_S) == 0
            for key in (*"alice", "\t", *password_of("alice")):
                screen.press(key.encode())
                assert screen.listen(quiet_s=0.1) <= KEY_BYTES, key
            assert b"warehouse" not in screen.taken
            screen.press(b"\r")
            screen.until("warehouse")
            screen.listen(quiet_s=1.0)
            assert screen.during(IDLE_S) == 0
            screen.press(b"\x0c")
            assert 0 < screen.listen(quiet_s=0.5) <= KEY_BYTES
            assert screen.during(IDLE_S) == 0
            screen.press(password_of("alice").encode())
            screen.listen(quiet_s=0.5)
            screen.press(b"\r")
            assert screen.during(5.0) <= KEY_BYTES
            assert password_of("alice").encode() not in screen.taken
