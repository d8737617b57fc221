"""Interleaved rounds, ratios within the round, medians: the machine's moods touch both sides alike."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Rounds:
    """Seconds of each measured thing, one list entry a round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, seconds: float) -> None:
        self.seconds.setdefault(name, []).append(seconds)

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratios(self, subject: str, peer: str) -> list[float]:
        """Subject ÷ peer, round by round, sorted."""
        return sorted(a / b for a, b in zip(self.seconds[subject], self.seconds[peer], strict=True))

    def ratio(self, subject: str, peer: str) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios(subject, peer))


def timed(argv: Sequence[str] | str, env: Mapping[str, str]) -> float:
    """Seconds on the clock of a whole process, or of a pipeline of /bin/sh given as text. Raises CalledProcessError."""
    began = time.perf_counter()
    shell = ["/bin/sh", "-ec", argv] if isinstance(argv, str) else list(argv)
    subprocess.run(shell, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def peak_bytes(pid: int) -> int:
    """Peak resident set of a running process in bytes (VmHWM of proc(5)); 0 where there is no /proc."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:  # noqa: PTH123 - a kernel file, read once
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


def processor_seconds(pid: int) -> float:
    """Processor time that a running process has used, its threads included; 0 where there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:  # noqa: PTH123 - as above
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """One line on where this was measured."""
    model = "unknown processor"
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:  # noqa: PTH123 - as above
            model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), model)
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores, {model}"
