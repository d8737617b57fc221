"""The console as a newcomer meets it: over a real SSH login, in tmux, by the keyboard alone, from nothing to PROVEN."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from engine.service import Engine
from offsitedb_tui.demo.source import Admin
from tests.fixtures.binaries import lend
from tests.fixtures.installation import keyring_usable, wait_until
from tests.fixtures.shop import shop_source
from tests.fixtures.tmux import Seat, seat, sshd

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Newcomer:
    """Somebody with an empty home, a login and a connection string."""

    seat: Seat
    root: Path
    url: str
    admin_url: str

    @property
    def home(self) -> Path:
        return self.root / "home"


@pytest.fixture
def newcomer(server: Admin, tmp_path: Path) -> Iterator[Newcomer]:
    if not keyring_usable():
        pytest.skip("needs a keyring that may hold the master key")
    root = Path(tempfile.mkdtemp(prefix="odbssh-"))
    root.chmod(0o711)
    lend(root / "runtime")
    environment = {
        "OFFSITEDB_HOME": str(root / "home"),
        "OFFSITEDB_RUNTIME": str(root / "runtime"),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(["", str(Path(__file__).parents[2])]).strip(os.pathsep),
    }
    for name in ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"):
        if name in os.environ:
            environment[name] = os.environ[name]
    keys = tmp_path / "ssh"
    keys.mkdir()
    try:
        with sshd(keys) as login, shop_source(server) as (admin_url, reader_url, _):
            with psycopg.connect(admin_url) as conn:
                conn.execute("CREATE TABLE big AS SELECT g AS id, md5(g::text) AS t FROM generate_series(1, 20000) g")
                conn.execute("CREATE INDEX ON big (t)")
                conn.execute(b"GRANT SELECT ON big TO " + reader_url.split("//")[1].split(":")[0].encode())
            with seat(login, environment) as made:
                yield Newcomer(made, root, reader_url, admin_url)
            with Engine.open(home=root / "home") as engine:
                wait_until(lambda: not engine.worker.any_alive(), "the session's worker to end")
                status = engine.keys.status()
                with engine.catalog.read():
                    pass
                engine.key_store(status.backend).delete(engine.keys.open().catalog_id, 1)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def test_from_nothing_to_a_watched_drill(newcomer: Newcomer) -> None:
    seat = newcomer.seat
    first_run(newcomer)
    second_connection(newcomer)
    watched(newcomer)
    cancelled(newcomer)
    filtered_and_copied(newcomer)
    seat.press("q")
    seat.until("the console has ended")


def first_run(newcomer: Newcomer) -> None:
    seat = newcomer.seat
    seat.until("Welcome to OffsiteDB.", "The master key will be kept in", "✓")
    seat.press("Enter")
    shown = seat.until("This is the recovery code.", "odbr1", "y copies it")
    groups = dict(re.findall(r"(\d+) ([02-9ac-hj-np-z]{2,4})(?=\s)", shown[shown.index("odbr1") + 5 :]))
    assert len(groups) >= 14, shown
    seat.press("Enter")
    shown = seat.until("what you have written down")
    asked = re.findall(r"^ +Group (\d+)", shown, re.MULTILINE)
    assert len(asked) == 3
    for n in asked[:-1]:
        seat.enter_text(groups[n])
        seat.move("Enter")
    seat.enter_text(groups[asked[-1]])
    seat.press("Enter")
    seat.until("the recovery code is confirmed", "Where backups go")
    seat.press("Enter")
    seat.until("a folder", "Name")
    seat.press("Right")
    seat.until("● a folder")
    seat.move("Tab")
    seat.enter_text("vault")
    seat.move("Tab")
    seat.enter_text(str(newcomer.root / "vault"))
    seat.press("Enter")
    seat.until("destination vault works, and is saved", "The database to protect")
    seat.press("Enter")
    seat.until("Connection string")
    seat.type(newcomer.url)
    shown = seat.until("✓")
    assert newcomer.url.split(":")[2].split("@")[0] not in shown, "the password is on the screen"
    seat.press("C-t")
    seat.until("tables can be captured", "enter save")
    seat.press("Enter")
    seat.until("Everything is in place.")
    seat.press("Enter")
    seat.until("⛭ PROVEN", "restored in", "public.big")


def second_connection(newcomer: Newcomer) -> None:
    """One that fails, with what to do; mended, it is saved."""
    seat = newcomer.seat
    seat.press("2")
    seat.until("NEWEST PROVEN", "n new")
    seat.press("n")
    seat.until("Connection string", "How to make a read-only role")
    seat.type(newcomer.url.replace("pw-", "wrong-"))
    seat.until("✓")
    seat.move("Tab")
    seat.press("C-u")
    seat.until("it stands in reports")
    seat.enter_text("second")
    seat.press("C-t")
    seat.until("[pg.auth]", "→")
    seat.press("Escape")
    seat.until_gone("[pg.auth]")
    seat.move("BTab")
    seat.press("C-u")
    seat.until("paste it")
    seat.type(newcomer.url)
    seat.until("✓")
    seat.press("C-t")
    seat.until("tables can be captured", "enter save")
    seat.press("Enter")
    seat.until("second is saved")


def watched(newcomer: Newcomer) -> None:
    """A drill that was asked for on the ledger, seen while it waits and when it has ended, however long it takes."""
    seat = newcomer.seat
    seat.press("1")
    seat.until("LEDGER")
    with worker_held(newcomer):
        seat.press("d")
        seat.until("is queued")
        seat.press("4")
        seat.until("Drill of", "restore data and indexes")
    seat.until("⛭ PROVEN", "Drill of", "public.big")


def cancelled(newcomer: Newcomer) -> None:
    """A checkpoint of the other connection: it runs until a table is let go, and is cancelled before."""
    seat = newcomer.seat
    with psycopg.connect(newcomer.admin_url) as conn:
        conn.execute("LOCK TABLE big")
        seat.press("2")
        seat.until("second")
        seat.press("c")
        seat.until("tag (optional)")
        seat.enter_text("to-cancel")
        seat.press("Enter")
        seat.until("is queued")
        seat.press("4")
        seat.until("to-cancel", "●", "x cancel")
        seat.press("x")
        seat.until("Cancel this checkpoint")
        seat.press("y", "Enter")
        seat.until("cancelled at")


@contextmanager
def worker_held(newcomer: Newcomer) -> Iterator[None]:
    """The session's worker takes nothing meanwhile; it is not stopped while it writes, so that others can."""
    with Engine.open(home=newcomer.home) as engine:
        (worker,) = [worker for worker in engine.workers.list() if worker.alive]
        with engine.catalog.write(), closing(sqlite3.connect(engine.paths.queue, isolation_level=None)) as queue:
            queue.execute("BEGIN IMMEDIATE")
            os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker.pid, signal.SIGCONT)


def filtered_and_copied(newcomer: Newcomer) -> None:
    seat = newcomer.seat
    seat.press("1")
    seat.until("LEDGER")
    seat.press("/")
    seat.until("Show lines with")
    seat.enter_text("first", "with “first”")
    seat.press("Enter")
    seat.press("y")
    seat.until("copied the snapshot's id")
    with Engine.open(home=newcomer.home) as engine:
        assert engine.snapshots.resolve(seat.clipboard().strip()) == seat.clipboard().strip()
    seat.press("Escape")
    seat.press("?")
    seat.until("Help")
    seat.press("Escape")
    seat.until("LEDGER")
