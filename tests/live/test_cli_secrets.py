"""Where secrets must not be: 50 canaries planted in a source, searched for in everything that others could read."""

from __future__ import annotations

import base64
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql

from engine.keys.door import OsKeyring
from engine.kit import holdings
from engine.postgres.conninfo import parse
from engine.service.postgres import grant_recipe
from offsitedb_tui.demo.source import Admin
from tests.fixtures.installation import Place, keyring_usable, running_worker
from tests.fixtures.program import program_of
from tests.fixtures.proxy import Proxy

BYTES_PER_S = 400_000


def canary() -> str:
    return f"canary{secrets.token_hex(10)}"


@dataclass(frozen=True)
class Planted:
    """``credentials`` belong nowhere; ``names`` and ``values`` of the source not to the destination."""

    url: str
    password: str
    names: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def credentials(self) -> tuple[bytes, ...]:
        """The password as it is, in a URL, in a password file, in base64; and the whole connection string."""
        escaped = self.password.replace("\\", "\\\\").replace(":", "\\:")
        forms = [self.password, quote(self.password, safe=""), escaped, self.url]
        encoded = base64.b64encode(self.password.encode()).rstrip(b"=")
        return (*(form.encode() for form in forms), encoded)


@pytest.fixture
def planted(server: Admin) -> Iterator[Planted]:
    """A database of which every name and some values are canaries; its reader's password needs quoting."""
    database, role, schema = canary(), canary(), canary()
    tables, columns = [canary() for _ in range(9)], [canary() for _ in range(9)]
    values = [canary() for _ in range(20)]
    comments = [canary() for _ in range(9)]
    password = f"pw:{canary()}\\@%/'\" x"
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(database)))
        with psycopg.connect(server.url(database), autocommit=True) as here:
            here.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            for table, column, comment in zip(tables, columns, comments, strict=True):
                name = sql.Identifier(schema, table)
                rows = sql.SQL("unnest({}::text[]) v, generate_series(1, 50) n").format(sql.Literal(values))
                made = sql.SQL("CREATE TABLE {} AS SELECT v AS {}, md5(n::text) AS m FROM {}")
                here.execute(made.format(name, sql.Identifier(column), rows))
                here.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(name, sql.Literal(comment)))
            here.execute(grant_recipe((), role=role).encode())
            here.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password)))
        try:
            parts = urlsplit(server.url(database))
            url = f"postgresql://{role}:{quote(password, safe='')}@127.0.0.1:{parts.port}/{database}"
            yield Planted(url, password, (database, role, schema, *tables, *columns, *comments), tuple(values))
        finally:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
            conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@dataclass
class Watch:
    """What others saw meanwhile: command lines and environments of every process, and files of the installation."""

    root: Path
    needles: tuple[bytes, ...]
    seen: set[str] = field(default_factory=set)
    found: list[str] = field(default_factory=list)
    looks: int = 0

    def look(self) -> None:
        self.looks += 1
        for entry in Path("/proc").glob("[0-9]*"):
            if int(entry.name) == os.getpid():
                continue
            for name in ("cmdline", "environ"):
                data = _read(entry / name)
                if name == "cmdline":
                    self.seen.add(Path(os.fsdecode(data.split(b"\0")[0])).name)
                    self.seen.update(
                        Path(os.fsdecode(part)).name for part in data.split(b"\0") if part.startswith(b"/")
                    )
                self.found += [f"{name} of {entry.name}" for needle in self.needles if needle in data]

    def files(self) -> None:
        for path in self.root.rglob("*"):
            data = _read(path) if path.is_file() and not path.is_symlink() else b""
            self.found += [str(path) for needle in self.needles if needle in data]


@contextmanager
def watching(root: Path, needles: tuple[bytes, ...]) -> Iterator[Watch]:
    """Look without a pause for as long as the block lasts."""
    watch, stop = Watch(root, needles), threading.Event()

    def run() -> None:
        while not stop.wait(0.001):
            watch.look()

    thread = threading.Thread(target=run, name="watch")
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # gone meanwhile, or not ours to read


@pytest.mark.slow
def test_f36_canaries(place: Place, planted: Planted) -> None:
    program = program_of(place)
    parts = urlsplit(planted.url)
    assert parts.port is not None
    key = b"no key in a keyring"
    if keyring_usable():
        key = OsKeyring().load(place.made.backend, place.made.catalog_id, 1).text.encode()
    assert len({*planted.names, *planted.values}) >= 50
    forbidden = (*planted.credentials, key, place.made.code.text.encode())
    said = []
    with Proxy("127.0.0.1", parts.port) as proxy, running_worker(place):
        url = planted.url.replace(f":{parts.port}/", f":{proxy.port}/")
        with watching(place.root, (*forbidden, *(v.encode() for v in planted.values))) as watch:
            said.append(program.add("vault", url))
            assert said[-1].status == 0, said[-1].err
            proxy.slow(BYTES_PER_S)
            said.append(program.run("checkpoint", "vault", "--wait", "--json"))
            assert said[-1].document()["drill"]["verdict"] == "PROVEN", said[-1].err
            said.append(program.run("checkpoint", "vault", "--wait", "--timeout", "0.2"))
            assert said[-1].status == 75
        job = program.job("vault")[0]
        for verb in ("connection show vault", "ledger", "snapshot show vault@latest", f"jobs show {job}"):
            said += [program.call(*verb.split(), "--json"), program.call(*verb.split())]
        for verb in ("connection preflight vault", "connection list", "doctor", "key status", f"jobs cancel {job}"):
            said.append(program.call(*verb.split(), "--json"))
    assert {"pg_dump", "pg_restore", "postgres"} <= watch.seen, "the watch saw the programs at work"
    assert watch.found == []
    for run in said:
        for needle in forbidden:
            assert needle.decode() not in run.out + run.err
    values = tuple(v.encode() for v in planted.values)
    everywhere = Watch(place.root, (*forbidden, *values))
    everywhere.files()
    assert everywhere.found == [], "catalog, write-ahead log, queue, logs, configuration, destination"
    outside = Watch(place.destination, (*forbidden, *values, *(n.encode() for n in planted.names)))
    outside.files()
    assert outside.found == [], "whoever reads the destination learns no name either"
    assert any(place.destination.rglob("*.odb"))
    (bundle,) = place.destination.glob("RECOVERY/*.keys")
    (vault,) = holdings.open(bundle.read_bytes(), place.made.code).connections
    assert vault.conninfo is not None, "the kit holds the string, and the search above would have found it"
    assert parse(vault.conninfo).password == planted.password
