"""The demo's source: a PostgreSQL server of its own on loopback, with the sample shop and a read-only role.

The server belongs to the demo's process tree and dies with it. As root it runs as the drill's OS user, because
PostgreSQL refuses root.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from engine.cancel import CancelToken
from engine.errors import CouldNotVerify
from engine.postgres import grants, isolation
from engine.postgres.tools import Toolset, environment
from engine.process import Child, RunAs, clean_environment, run, spawn

DATABASE = "shop"
READER = "offsitedb_reader"
SHOP_SQL = Path(__file__).with_name("shop.sql")
_START_TRIES = 600  # × 0.1 s


@dataclass(frozen=True, slots=True)
class Source:
    """A running source. ``reader_url`` is what an operator would paste; ``recipe`` the SQL that made the role."""

    reader_url: str
    recipe: str
    version: str
    data: Path


@contextmanager
def source_server(toolset: Toolset, directory: Path, *, keep: bool, cancel: CancelToken) -> Iterator[Source]:
    """A server in ``directory`` with the sample shop, for the length of the block. Raises CouldNotVerify."""
    reader_password = secrets.token_urlsafe(18)
    with postgres_server(toolset, directory, keep=keep, cancel=cancel) as admin:
        recipe = _load(admin, reader_password)
        yield Source(
            f"postgresql://{READER}:{quote(reader_password)}@127.0.0.1:{admin.port}/{DATABASE}",
            recipe,
            toolset.version,
            directory / "data",
        )


@dataclass(frozen=True, slots=True)
class Admin:
    """The superuser's way into a server on loopback."""

    port: int
    password: str

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:{quote(self.password)}@127.0.0.1:{self.port}/{database}"


@contextmanager
def postgres_server(toolset: Toolset, directory: Path, *, keep: bool, cancel: CancelToken) -> Iterator[Admin]:
    """An empty server in ``directory``, on loopback with passwords. Raises CouldNotVerify ``drill.scratch``."""
    run_as = isolation.drill_user()
    data = directory / "data"
    password = secrets.token_urlsafe(18)
    directory.mkdir(mode=0o700)
    try:
        _initdb(toolset, directory, data, password, run_as, cancel)
        admin = Admin(_free_port(), password)
        argv: list[str | Path] = [toolset.bindir / "postgres", "-D", data, "-p", str(admin.port)]
        argv += ["-h", "127.0.0.1", "-k", directory, "-c", "fsync=off", "-c", "shared_buffers=64MB"]
        env = clean_environment(environment(toolset))
        with spawn(argv, name="source", cancel=cancel, env=env, run_as=run_as, cwd=directory, stdout=None) as server:
            _wait_ready(server, admin.url(), cancel)
            yield admin
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)


def _initdb(
    toolset: Toolset, directory: Path, data: Path, password: str, run_as: RunAs | None, cancel: CancelToken
) -> None:
    password_file = directory / "pw"
    password_file.write_text(password + "\n")
    password_file.chmod(0o600)
    if run_as is not None:
        os.chown(password_file, run_as.uid, run_as.gid)
        os.chown(directory, run_as.uid, run_as.gid)
    argv: list[str | Path] = [toolset.bindir / "initdb", "-D", data, "-U", "postgres", f"--pwfile={password_file}"]
    argv += ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    done = run(
        argv,
        name="initdb",
        cancel=cancel,
        timeout_s=120,
        env=clean_environment(environment(toolset)),
        run_as=run_as,
        cwd=directory,
    )
    password_file.unlink()
    if done.status != 0:
        raise CouldNotVerify("drill.scratch", f"the demo's source could not be made: {done.stderr}")


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _wait_ready(server: Child, url: str, cancel: CancelToken) -> None:
    for _ in range(_START_TRIES):
        cancel.check()
        if server.poll() is not None:
            break
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            cancel.wait(0.1)
    raise CouldNotVerify("drill.scratch", f"the demo's source did not start: {server.stderr_tail()}")


def _load(admin: Admin, reader_password: str) -> str:
    """The sample database and the read-only role, made with the recipe that the product prints."""
    with psycopg.connect(admin.url(), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    recipe = grants.recipe(("shop", "audit"), role=READER, database=DATABASE, create=True)
    with psycopg.connect(admin.url(DATABASE), autocommit=True) as conn:
        conn.execute(SHOP_SQL.read_bytes())
        conn.execute(recipe.encode())
        set_password = sql.SQL("ALTER ROLE {} PASSWORD {}")
        conn.execute(set_password.format(sql.Identifier(READER), sql.Literal(reader_password)))
        conn.execute("ANALYZE")
    return recipe
