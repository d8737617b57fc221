"""The password's way into a child: nothing on argv, in the environment or in a file with a name."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from engine.cancel import CancelToken
from engine.postgres.conninfo import parse
from engine.postgres.passfile import NO_FILE, libpq_environment, password_file
from engine.postgres.tools import Toolset, environment
from engine.process import clean_environment, spawn
from offsitedb_tui.demo.source import Admin
from tests.fixtures.source import as_role

needs_memfd = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memfd is Linux's")
AWKWARD = "a:b\\c d'é\"$*"


@needs_memfd
def test_the_file_is_sealed_and_private() -> None:
    with password_file(parse("postgresql://u:secret@h/db")) as handed:
        assert handed.fd is not None
        assert os.fstat(handed.fd).st_mode & 0o777 == 0o600
        with pytest.raises(OSError) as caught:
            os.write(handed.fd, b"x")
        assert caught.value.errno == errno.EPERM
        assert Path(handed.path).read_text() == "*:*:*:*:secret\n"
        fd = handed.fd
    with pytest.raises(OSError):
        os.fstat(fd)


def test_without_a_password_no_file_of_the_users_is_read() -> None:
    with password_file(parse("postgresql://u@h/db")) as handed:
        assert (handed.path, handed.pass_fds) == (NO_FILE, ())


def test_the_environment_holds_no_password() -> None:
    c = parse("postgresql://u:s3cretpw@h.example:6000/a%3Db?channel_binding=require")
    env = libpq_environment(c, passfile_path="/x", application_name="offsitedb/1", options="-c a=1")
    assert not any("s3cretpw" in v for v in env.values())
    assert env["PGDATABASE"] == "a=b"
    assert env["PGSSLMODE"] == "verify-full"
    assert env["PGSSLROOTCERT"].endswith("cacert.pem")
    assert env["PGOPTIONS"] == "-c a=1"
    assert env["PGCHANNELBINDING"] == "require"


@needs_memfd
def test_f36_pg_dump_logs_in_and_nothing_of_the_password_is_seen(server: Admin, toolset: Toolset) -> None:
    """An awkward password, a database whose name looks like a connection string, and a look into /proc."""
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE awkward LOGIN PASSWORD {}").format(sql.Literal(AWKWARD)))
        conn.execute('CREATE DATABASE "host=nowhere user=x" OWNER awkward')
    try:
        url = as_role(server.url("host%3Dnowhere%20user%3Dx"), "awkward", "a%3Ab%5Cc%20d%27%C3%A9%22%24%2A")
        conninfo = parse(url)
        assert conninfo.password == AWKWARD
        with password_file(conninfo) as handed:
            env = clean_environment(
                environment(toolset)
                | libpq_environment(conninfo, passfile_path=handed.path, application_name="offsitedb/test")
            )
            argv: list[str | Path] = [toolset.bindir / "pg_dump", "-Fc", "-Z0", "--no-password"]
            with spawn(
                argv, name="pg_dump", cancel=CancelToken(), env=env, pass_fds=handed.pass_fds, stdout=subprocess.PIPE
            ) as child:
                seen = Path(f"/proc/{child.pid}/environ").read_bytes() + Path(f"/proc/{child.pid}/cmdline").read_bytes()
                head = child.stdout.read(5)
                child.stdout.read()
                assert child.wait(30) == 0, child.stderr_tail()
        assert head == b"PGDMP"
        assert AWKWARD.encode() not in seen
        assert b"a\\:b" not in seen
    finally:
        with psycopg.connect(server.url(), autocommit=True) as conn:
            conn.execute('DROP DATABASE "host=nowhere user=x"')
            conn.execute("DROP ROLE awkward")
