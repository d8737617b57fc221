"""What a person does to try a backup: a server of the default configuration, its socket, pg_restore with two jobs.

The artifact is opened as RECOVERY/README.txt at the destination says, by the ``decrypt.py`` that lies there; or, where
asked, by the product's own function, which is quicker than any tool that a person would find. What is taken away again
afterwards is not counted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.pairs import timed
from engine.cancel import CancelToken
from engine.model import Snapshot
from engine.postgres import isolation
from engine.postgres.tools import Toolset, environment
from engine.process import clean_environment, run, spawn
from engine.snapshot import Keys, open_object

COUNTS = "SELECT count(*) FROM account; SELECT count(*) FROM event; SELECT count(*) FROM document"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a server of the default configuration, and a directory to work in."""

    toolset: Toolset
    env: dict[str, str]
    work: Path
    code: str

    def drill(self, copy_of: Path, record: Snapshot, keys: Keys | None) -> float:
        """Seconds from fetching the artifact to knowing its rows; with ``keys`` it is opened by the product."""
        programs = self.toolset.bindir
        copy, plain = self.work / copy_of.name, self.work / "plain.dump"
        manifest = copy_of.with_suffix(".manifest.json")
        kit = next(parent for parent in copy_of.parents if (parent / "RECOVERY").is_dir()) / "RECOVERY"
        began = time.perf_counter()
        shutil.copyfile(copy_of, copy)
        shutil.copyfile(manifest, self.work / manifest.name)
        if keys is None:
            opening = [sys.executable, "-I", str(kit / "decrypt.py"), "--code-stdin", str(copy), "-o", str(plain)]
            bundle = next(kit.glob("*.keys"))
            subprocess.run([*opening, "--bundle", bundle], input=self.code.encode(), check=True, capture_output=True)
        else:
            _open(copy, plain, record, keys)
        timed([f"{programs}/createdb", "-T", "template0", "by_hand"], self.env)
        timed([f"{programs}/pg_restore", "-j2", "-d", "by_hand", str(plain)], self.env)
        timed([f"{programs}/psql", "-XAtc", COUNTS, "by_hand"], self.env)
        seconds = time.perf_counter() - began
        timed([f"{programs}/dropdb", "by_hand"], self.env)
        for made in self.work.iterdir():
            made.unlink()
        return seconds


def _open(copy: Path, plain: Path, record: Snapshot, keys: Keys) -> None:
    with plain.open("wb") as out, copy.open("rb") as source:
        open_object(
            iter(lambda: source.read(1 << 20), b""),
            record,
            keys,
            write=out.write,
            cancel=CancelToken(),
            on_progress=lambda _sealed, _plain: None,
        )


@contextmanager
def person(toolset: Toolset, directory: Path, code: str) -> Iterator[Person]:
    """A server exactly as initdb configures it, but that it listens on no port. Raises RuntimeError."""
    run_as = isolation.drill_user()
    directory.mkdir(mode=0o755)
    data = directory / "data"
    if run_as is not None:
        os.chown(directory, run_as.uid, run_as.gid)
    work = directory.with_name("work")
    work.mkdir()
    env = clean_environment(environment(toolset))
    initdb: list[str | Path] = [
        toolset.bindir / "initdb",
        "-D",
        data,
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
    ]
    done = run(initdb, name="initdb", cancel=CancelToken(), timeout_s=120, env=env, run_as=run_as, cwd=directory)
    if done.status != 0:
        raise RuntimeError(f"the person's server could not be made: {done.stderr}")
    argv: list[str | Path] = [toolset.bindir / "postgres", "-D", data, "-h", "", "-k", directory]
    with spawn(
        argv, name="by-hand", cancel=CancelToken(), env=env, run_as=run_as, cwd=directory, stdout=None
    ) as server:
        client = env | {"PGHOST": str(directory), "PGUSER": "postgres", "LC_ALL": "C.UTF-8"}
        while _answers(toolset, client) is False:
            if server.poll() is not None:
                raise RuntimeError(f"the person's server ended: {server.stderr_tail()}")
            CancelToken().wait(0.1)
        yield Person(toolset, client, work, code)


def _answers(toolset: Toolset, env: dict[str, str]) -> bool:
    ready = subprocess.run([toolset.bindir / "pg_isready", "-q"], env=env, check=False)
    return ready.returncode == 0
