"""``make bench``: snapshot and drill of a real worker against what people do by hand, in interleaved rounds.

Peers, in the same round on the same database: ``pg_dump -Fc -Z0 | cat >/dev/null`` (the floor: nothing can be faster
than the server hands out its rows), ``pg_dump -Fc`` as everyone calls it, and for the drill a person's way
(``bench.by_hand``). A snapshot counts from the moment that the worker takes the job to its registration in the catalog,
a drill from there to the cluster's removal. The same database goes into a bucket, too: of a server
that does next to nothing (``bench.sink``), and of Ceph where that is installed. Snapshots are short beside a machine's
moods and drills are long, so each round has several pairs of the floor and snapshots, and one of a drill and its peers.
Writes a table for docs/benchmarks.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench import bucket, database
from bench.bucket import S3
from bench.by_hand import Person, person
from bench.pairs import Rounds, machine, peak_bytes, timed
from bench.sink import Sink, sink
from engine import catalog as catalogs
from engine import paths as places
from engine.cancel import CancelToken
from engine.errors import KeyAccessError
from engine.keys.door import OsKeyring
from engine.model import JobKind, JobState
from engine.model.views import JobView
from engine.postgres import install, isolation, tools
from engine.postgres.tools import Toolset, environment
from engine.process import clean_environment, spawn
from engine.service import Engine
from offsitedb_tui.demo.held import HeldKey
from offsitedb_tui.demo.source import Admin, postgres_server
from offsitedb_tui.follow import follow
from offsitedb_tui.output import Talk

FLOOR = "pg_dump -Fc -Z0 into cat"
DUMP = "pg_dump -Fc"
SNAPSHOT = "snapshot to a folder"
SNAPSHOT_DRILLED = "snapshot to a folder, of the drill's checkpoint"
SNAPSHOT_SINK = "snapshot to S3 over https, a server that only takes"
SNAPSHOT_S3 = "snapshot to S3 over https, Ceph on the same processors"
DRILL = "drill"
DRILL_SINK = "drill from S3 over https, the same server"
DRILL_S3 = "drill from S3 over https, Ceph"
SERVER_SINK = "the taking server's processor time"
SERVER_S3 = "Ceph's processor time"
BY_HAND = "drill by hand"
BY_HAND_QUICK = "the same, opened by the product's function"
HERE = "here"
THERE = "there"
TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that a round needs."""

    engine: Engine
    admin: Admin
    toolset: Toolset
    worker_pid: int
    person: Person
    sink: Sink
    s3: S3 | None


def main() -> int:
    """Fill a database, run the rounds, print and write the table."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--gb", type=float, default=1.0, help="heap of the measured database (default 1)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=4, help="of floor and snapshots, in each round (default 4)")
    parser.add_argument("--quick", action="store_true", help="without Ceph, a person's drill and pg_dump -Fc")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="odbbench-"))
    root.chmod(0o711)
    try:
        with prepared(root, arguments.gb, ceph=not arguments.quick) as (bench, size):
            rounds = Rounds()
            snapshots(bench, Rounds())  # warm
            for n in range(arguments.rounds):
                for pair in range(arguments.pairs):
                    snapshots(bench, rounds, first=pair)
                drills(bench, rounds, peers=not arguments.quick)
                say(f"round {n + 1}: " + ", ".join(f"{k} {v[-1]:.2f} s" for k, v in rounds.seconds.items()))
            text = table(rounds, size, peak_bytes(bench.worker_pid), bench.toolset)
        say(text)
        if arguments.out is not None:
            arguments.out.write_text(text)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return 0


@contextmanager
def prepared(root: Path, gigabytes: float, *, ceph: bool) -> Iterator[tuple[Bench, int]]:
    """A filled source, an installation and a running worker."""
    paths = places.locate()
    found = sorted((t for t in tools.discover(paths) if t.has_server), key=lambda t: t.source != "system")
    toolset = found[0] if found else install.install(17, paths, cancel=CancelToken(), say=say)
    os.environ.setdefault("OFFSITEDB_RUNTIME", str(paths.runtime))
    os.environ["OFFSITEDB_HOME"] = str(root / "home")
    with ExitStack() as stack:
        admin = stack.enter_context(postgres_server(toolset, root / "source", keep=False, cancel=CancelToken()))
        with psycopg.connect(admin.url(), autocommit=True) as conn:
            conn.execute("CREATE DATABASE bench TEMPLATE template0")
        say(f"filling about {gigabytes:g} GB …")
        size = database.fill(admin.url("bench"), gigabytes)
        missing = bucket.absent(gigabytes)
        s3 = stack.enter_context(bucket.s3_server()) if ceph and missing is None else None
        if ceph and missing is not None:
            say(f"Ceph is left out: {missing}")
        taking = stack.enter_context(sink())
        engine, held, code = stack.enter_context(installation(root / "home"))
        by_hand = stack.enter_context(person(toolset, root / "by-hand", code))
        engine.destinations.add_folder(HERE, root / "destination")
        engine.connections.add("bench", HERE, admin.url("bench"))
        engine.destinations.add_bucket(TAKEN, taking.spec, taking.keys)
        engine.connections.add("bench-sink", TAKEN, admin.url("bench"))
        if s3 is not None:
            engine.destinations.add_bucket(THERE, s3.spec, s3.keys)
            engine.connections.add("bench-s3", THERE, admin.url("bench"))
        pid = stack.enter_context(worker(root, held))
        while not engine.worker.any_alive():
            CancelToken().wait(0.05)
        yield Bench(engine, admin, toolset, pid, by_hand, taking, s3), size


def snapshots(bench: Bench, rounds: Rounds, first: int = 0) -> None:
    """The floor, and a snapshot to each destination, in an order that begins with ``first``."""
    measured: list[Callable[[], None]] = [
        lambda: rounds.add(
            FLOOR, timed(f"{bench.toolset.bindir}/pg_dump -Fc -Z0 bench | cat >/dev/null", libpq(bench))
        ),
        lambda: rounds.add(SNAPSHOT, snapshot(bench, "bench")),
        lambda: rounds.add(SNAPSHOT_SINK, snapshot(bench, "bench-sink")),
    ]
    if bench.s3 is not None:
        measured.append(lambda: rounds.add(SNAPSHOT_S3, snapshot(bench, "bench-s3")))
    for n in range(len(measured)):
        measured[(first + n) % len(measured)]()
    for artifact in folder(bench).rglob("*.odb"):  # every time as much is written again
        artifact.unlink()
    bench.sink.empty()
    if bench.s3 is not None:
        bench.s3.empty()


def drills(bench: Bench, rounds: Rounds, *, peers: bool) -> None:
    """A checkpoint to each destination; ``peers``: a person's drill, and pg_dump beside the first one's snapshot."""
    snapshot_id, snapshot_s, drill_s = checkpoint(bench, "bench")
    rounds.add(SNAPSHOT_DRILLED, snapshot_s)
    rounds.add(DRILL, drill_s)
    _, record = bench.engine.snapshots.show(snapshot_id)
    artifact = folder(bench) / record.object_key
    if peers:
        rounds.add(BY_HAND, bench.person.drill(artifact, record, None))
        rounds.add(BY_HAND_QUICK, bench.person.drill(artifact, record, bench.engine.keys.open()))
        rounds.add(DUMP, timed(f"{bench.toolset.bindir}/pg_dump -Fc bench | cat >/dev/null", libpq(bench)))
    artifact.unlink()
    before_s = bench.sink.processor_s()
    rounds.add(DRILL_SINK, checkpoint(bench, "bench-sink")[2])
    rounds.add(SERVER_SINK, bench.sink.processor_s() - before_s)
    bench.sink.empty()
    if bench.s3 is not None:
        before_s = bench.s3.processor_s()
        rounds.add(DRILL_S3, checkpoint(bench, "bench-s3")[2])
        rounds.add(SERVER_S3, bench.s3.processor_s() - before_s)
        bench.s3.empty()


def folder(bench: Bench) -> Path:
    return Path(next(d.where for d in bench.engine.destinations.list() if d.name == HERE))


def snapshot(bench: Bench, connection: str) -> float:
    """Seconds of a checkpoint without a drill, as a schedule may ask for one."""
    with bench.engine.catalog.write() as tx:
        found = catalogs.connections.by_name(tx, connection)
        job = bench.engine.jobs.queue(tx, JobKind.CHECKPOINT, found.id, with_drill=False)
    bench.engine.wake(job.id)
    ended = followed(bench, bench.engine.jobs.get(job.id))
    assert ended.started_at is not None
    assert ended.finished_at is not None
    return (ended.finished_at - ended.started_at).total_seconds()


def checkpoint(bench: Bench, connection: str) -> tuple[str, float, float]:
    """One checkpoint by the worker: the snapshot's id, seconds of the snapshot and of its drill."""
    ended = followed(bench, bench.engine.jobs.checkpoint(connection))
    assert ended.snapshot_id is not None
    assert ended.drill_id is not None
    assert ended.started_at is not None
    with bench.engine.catalog.read() as tx:
        drill = catalogs.drills.get(tx, ended.drill_id)
    # the drill begins when the snapshot has been registered
    return ended.snapshot_id, (drill.started_at - ended.started_at).total_seconds(), drill.restore_s


def followed(bench: Bench, job: JobView) -> JobView:
    """The job at its end. Raises SystemExit when it failed."""
    ended = follow(bench.engine, job, Talk(as_json=True), None)
    if ended.state is not JobState.SUCCEEDED:
        raise SystemExit(f"the checkpoint of {job.connection} failed: {ended.error}")
    return ended


def libpq(bench: Bench) -> dict[str, str]:
    env = clean_environment(environment(bench.toolset))
    return env | {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(bench.admin.port),
        "PGUSER": "postgres",
        "PGPASSWORD": bench.admin.password,  # a throw-away server of our own
        "LC_ALL": "C.UTF-8",
    }


@contextmanager
def installation(home: Path) -> Iterator[tuple[Engine, HeldKey | None, str]]:
    """A throw-away installation; its key leaves the keyring afterwards."""
    held: HeldKey | None = None
    try:
        OsKeyring().choose()
    except KeyAccessError:
        held = HeldKey()
    made = Engine.initialise(home=home, key_store=held)
    import huey_config  # late: it makes the queue's file where OFFSITEDB_HOME says

    with Engine.open(home=home, key_store=held, wake=huey_config.wake) as engine:
        try:
            yield engine, held, made.code.text
        finally:
            engine.key_store(made.backend).delete(made.catalog_id, 1)


@contextmanager
def worker(root: Path, held: HeldKey | None) -> Iterator[int]:
    """The real worker process; its pid."""
    fds = () if held is None else (held.to_memory_file(),)
    argv = [sys.executable, "-m", "offsitedb_tui", "worker", "--workers", "1"]
    if fds:
        argv = [sys.executable, "-m", "offsitedb_tui.demo.held", str(fds[0])]
    env = clean_environment({k: v for k, v in os.environ.items() if k.startswith("OFFSITEDB_") or k == "HOME"})
    with (root / "worker.log").open("wb") as log:
        with spawn(argv, name="worker", cancel=CancelToken(), env=env, pass_fds=fds, stdout=log) as child:
            yield child.pid
            child.end(grace_s=15)


def table(rounds: Rounds, size: int, peak: int, toolset: Toolset) -> str:
    """The result as Markdown."""
    rows = [
        (SNAPSHOT, FLOOR, "≤ 1.15"),
        (SNAPSHOT_SINK, FLOOR, "≤ 1.25"),
        (SNAPSHOT_S3, FLOOR, "≤ 1.25"),
        (SNAPSHOT_DRILLED, DUMP, "≤ 0.33"),
        (DRILL, BY_HAND, "≤ 0.85"),
        (DRILL, BY_HAND_QUICK, ""),
        (DRILL_SINK, BY_HAND, ""),
        (DRILL_S3, BY_HAND, ""),
    ]
    sandbox = isolation.choose(required=False, drill_user=isolation.drill_user()).facts.sandbox
    lines = [
        f"Database of {size / 1e9:.2f} GB on disk, PostgreSQL {toolset.version}, Python {platform.python_version()},"
        f" {machine()}, sandbox {sandbox}; interleaved after one warm-up, medians.",
        "",
        "| measured | s | against | s | n | ratio (quartiles) | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for subject, peer, goal in rows:
        if subject not in rounds.seconds or peer not in rounds.seconds:
            continue
        ratios = rounds.ratios(subject, peer)
        lines.append(
            f"| {subject} | {rounds.median(subject):.2f} | {peer} | {rounds.median(peer):.2f} | {len(ratios)} |"
            f" {rounds.ratio(subject, peer):.2f} ({ratios[len(ratios) // 4]:.2f}–{ratios[-1 - len(ratios) // 4]:.2f}) |"
            f" {goal} |"
        )
    spent = ", ".join(
        f"{name} {rounds.median(name):.2f} s" for name in (SERVER_SINK, SERVER_S3) if name in rounds.seconds
    )
    lines += ["", f"The S3 servers run on the same processors. For a snapshot and its drill: {spent}."]
    lines += ["", f"Peak resident set of the worker process over all rounds: {peak / 2**20:.0f} MiB (goal: 150 MiB)."]
    return "\n".join(lines) + "\n"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except subprocess.CalledProcessError as e:
        raise SystemExit(f"a peer failed: {e}") from e
