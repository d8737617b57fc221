"""``python -m bench.schedules``: what a look for due checkpoints costs with 100, 1,000 and 10,000 connections.

Catalogs in files, filled beforehand; every connection has a schedule. Three things are timed in interleaved rounds:
a look that finds nothing, one that finds 10 due, one that finds 100. The cost has to follow what is due and not what is
there, so each is compared with the same look among 100 connections.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, insert, update

from bench.pairs import Rounds, machine
from engine import catalog as catalogs
from engine import paths as places
from engine.catalog import Catalog
from engine.catalog.schema import connections, jobs
from engine.catalog.schema_running import schedules, slots
from engine.config import Settings
from engine.model import Destination, DestinationKind
from engine.service import Engine
from engine.service.scheduler import Scheduler

SIZES = (100, 1_000, 10_000)
DUE = (0, 10, 100)
NOW = datetime(2026, 11, 23, 11, tzinfo=UTC)
LATER = NOW + timedelta(hours=3)
_AT_ONCE = 1_000
_SLOTS = 4
"""Decided slots of each connection, so that the tables are not empty."""


class Standing:
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return time.monotonic()


def main() -> int:
    """Fill the catalogs, run the rounds, print the table."""
    parser = argparse.ArgumentParser(prog="bench.schedules", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    root, rounds = Path(tempfile.mkdtemp(prefix="odbbench-")), Rounds()
    try:
        engines = {size: filled(root / str(size), size) for size in SIZES}
        for n in range(arguments.rounds + 1):
            for due in DUE:
                for size, engine in engines.items():
                    seconds = look(engine, due)
                    if n:  # the first round is warm-up
                        rounds.add(named(size, due), seconds)
        text = table(rounds, arguments.rounds)
        for engine in engines.values():
            engine.close()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    sys.stdout.write(text)
    if arguments.out is not None:
        arguments.out.write_text(text)
    return 0


def filled(home: Path, size: int) -> Engine:
    """An installation with ``size`` connections, each with a schedule and some slots behind it."""
    home.mkdir(mode=0o700)
    catalog = Catalog.open(home / "catalog.sqlite3", create=True)
    engine = Engine(places.locate(home), Settings(), catalog, clock=Standing(), wake=lambda _id: None, held_keys=None)
    with catalog.write() as tx:
        catalogs.destinations.add(tx, Destination("d", "here", DestinationKind.FOLDER, "/srv", NOW, None))
    for start in range(0, size, _AT_ONCE):
        ids = [f"c{n:06}" for n in range(start, min(start + _AT_ONCE, size))]
        with catalog.write() as tx:
            rows = [{"id": i, "name": i, "destination_id": "d", "conninfo_sealed": "-"} for i in ids]
            tx.change(insert(connections).values([row | {"accept_empty": False, "created_at": NOW} for row in rows]))
            zone = {"cron": "0 */3 * * *", "time_zone": "Europe/Berlin", "next_at": LATER}
            changed = NOW - timedelta(days=30)
            tx.change(insert(schedules).values([{"connection_id": i, "changed_at": changed, **zone} for i in ids]))
            for n in range(1, _SLOTS + 1):
                past = {"slot_at": NOW - timedelta(hours=3 * n), "outcome": "started", "decided_at": NOW}
                tx.change(insert(slots).values([{"connection_id": i, **past} for i in ids]))
    return engine


def look(engine: Engine, due: int) -> float:
    """Seconds of one look that finds ``due`` schedules; afterwards everything is as before."""
    ids = [f"c{n:06}" for n in range(due)]
    with engine.catalog.write() as tx:
        tx.change(update(schedules).where(schedules.c.connection_id.in_(ids)).values(next_at=NOW))
    began = time.perf_counter()
    started = Scheduler(engine).tick()
    seconds = time.perf_counter() - began
    if started != due:
        raise SystemExit(f"{started} checkpoints were started, not {due}")
    with engine.catalog.write() as tx:
        tx.change(delete(slots).where(slots.c.slot_at == NOW))
        tx.change(delete(jobs))
        tx.change(update(schedules).where(schedules.c.connection_id.in_(ids)).values(next_at=LATER))
    return seconds


def named(size: int, due: int) -> str:
    return f"{due} of {size}"


def table(rounds: Rounds, count: int) -> str:
    """The result as Markdown."""
    lines = [
        f"One look for due checkpoints, catalog in a file, Python {platform.python_version()}, {machine()};"
        f" {count} interleaved rounds after one warm-up, medians.",
        "",
        "| connections | due | ms | against 100 connections (min–max) |",
        "|---|---|---|---|",
    ]
    for due in DUE:
        for size in SIZES:
            ms = rounds.median(named(size, due)) * 1000
            ratios = rounds.ratios(named(size, due), named(SIZES[0], due))
            ratio = "" if size == SIZES[0] else f"{rounds.ratio(named(size, due), named(SIZES[0], due)):.2f}"
            spread = "" if size == SIZES[0] else f" ({ratios[0]:.2f}–{ratios[-1]:.2f})"
            lines.append(f"| {size:,} | {due} | {ms:.2f} | {ratio}{spread} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
