"""Poolers, told on the wire: PgBouncer in front of a real server, where this machine has it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from engine.cancel import CancelToken
from engine.errors import SourceError
from engine.postgres.conninfo import parse
from engine.postgres.inventory import take_inventory
from engine.postgres.probe import in_force, probe
from engine.postgres.session import connect
from offsitedb_tui.demo.source import Admin
from tests.fixtures.installation import wait_until

PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")


@contextmanager
def pgbouncer(server: Admin, mode: str, *more: str) -> Iterator[str]:
    """A pooler in front of the server; its URL. Ends with the block."""
    assert PGBOUNCER is not None
    directory = Path(tempfile.mkdtemp(prefix="odbpool-"))
    directory.chmod(0o711)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    (directory / "users").write_text(f'"postgres" "{server.password}"\n')
    lines = [
        "[databases]",
        f"* = host=127.0.0.1 port={server.port}",
        "[pgbouncer]",
        "listen_addr=127.0.0.1",
        f"listen_port={port}",
        "unix_socket_dir=",
        "auth_type=plain",
        f"auth_file={directory / 'users'}",
        f"pool_mode={mode}",
        *more,
    ]
    (directory / "ini").write_text("\n".join(lines) + "\n")
    argv = [PGBOUNCER, str(directory / "ini")]
    if os.geteuid() == 0:  # it refuses root
        nobody = pwd.getpwnam("nobody")
        argv = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", *argv]
    url = f"postgresql://postgres:{server.password}@127.0.0.1:{port}/postgres"
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _answers(url), "pgbouncer to answer")
            yield url
        finally:
            process.terminate()
            process.wait(30)
            shutil.rmtree(directory)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


@needs_pgbouncer
@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("options", ["", "ignore_startup_parameters=options"])
def test_f6_a_shared_backend_is_refused_and_left_as_it_was(server: Admin, mode: str, options: str) -> None:
    """Whether the pooler refuses our startup options or swallows them. No setting of ours reaches the others."""
    with pgbouncer(server, mode, options) as url:
        with pytest.raises(SourceError) as caught:
            connect(parse(url), application_name="offsitedb/f6", cancel=CancelToken())
        assert caught.value.code == "pg.pooler"
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as application:
            row = application.execute("SELECT current_setting('default_transaction_read_only')").fetchone()
    assert row == ("off",)


@needs_pgbouncer
@pytest.mark.parametrize("more", ["", "ignore_startup_parameters=options", "default_pool_size=1"])
def test_a_session_pooler_is_as_good_as_direct(server: Admin, more: str) -> None:
    """Settings are in force although the pooler refuses, or silently ignores, startup options."""
    with pgbouncer(server, "session", more) as url:
        conninfo = parse(url)
        with connect(conninfo, application_name="offsitedb/session", cancel=CancelToken()) as conn:
            facts = probe(conn, conninfo)
            assert in_force(conn, conninfo, "default_transaction_read_only") == "on"
            assert in_force(conn, conninfo, "statement_timeout") == "0"
            assert take_inventory(conn, facts).blockers == ()
