"""Interleaved pairs: A B A B …, the ratio pair by pair, medians. Whole processes, timed from outside."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a whole process tree: seconds on the clock, peak resident set of its largest process in bytes."""

    wall_s: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Side:
    """One of the things compared."""

    name: str
    run: Callable[[], Run]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians of both sides, and the median of the ratios subject ÷ peer."""

    subject: str
    peer: str
    subject_s: float
    peer_s: float
    ratio: float
    low: float
    high: float
    peak_bytes: int
    pairs: int


def compare(subject: Side, peer: Side, pairs: int) -> Comparison:
    """One warm-up of each, then ``pairs`` pairs in turn."""
    subject.run()
    peer.run()
    mine: list[Run] = []
    theirs: list[Run] = []
    for n in range(pairs):
        for side, kept in ((subject, mine), (peer, theirs)) if n % 2 == 0 else ((peer, theirs), (subject, mine)):
            kept.append(side.run())
    ratios = [a.wall_s / b.wall_s for a, b in zip(mine, theirs, strict=True)]
    return Comparison(
        subject.name,
        peer.name,
        statistics.median(r.wall_s for r in mine),
        statistics.median(r.wall_s for r in theirs),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        max(r.peak_bytes for r in mine),
        pairs,
    )


def process(argv: Sequence[str], env: Mapping[str, str] | None = None) -> Run:
    """Run ``argv`` to its end. Raises CalledProcessError."""
    began = time.perf_counter()
    child = subprocess.Popen(argv, env=dict(env) if env is not None else None, stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, argv)
    return Run(wall, usage.ru_maxrss * (1 if os.uname().sysname == "Darwin" else 1024))


def own_peak_bytes() -> int:
    """Peak resident set of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if os.uname().sysname == "Darwin" else 1024)
