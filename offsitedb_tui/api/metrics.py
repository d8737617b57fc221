"""``GET /metrics`` in Prometheus' text format: how fresh the proofs are, what was said, who works, who asks.

It needs a key with ``checkpoint:read`` and shows that key's connections. There is no exception for this machine: behind
a proxy on the same machine everybody seems to come from it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from engine.model import JobState
from engine.model.apikeys import ConnectionFigures, Figures
from engine.version import VERSION

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Tally:
    """Answers of this process, by route and status."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()

    def count(self, route: str, status: int) -> None:
        with self._lock:
            self._counts[route, status] += 1

    def items(self) -> list[tuple[str, int, int]]:
        with self._lock:
            return sorted((route, status, n) for (route, status), n in self._counts.items())


def exposition(figures: Figures, tally: Tally, waiting: int) -> bytes:
    """The whole page."""
    registry = CollectorRegistry()
    registry.register(_Page(figures, tally, waiting))
    return generate_latest(registry)


class _Page(Collector):
    def __init__(self, figures: Figures, tally: Tally, waiting: int) -> None:
        self._figures = figures
        self._tally = tally
        self._waiting = waiting

    def collect(self) -> Iterable[Metric]:
        yield from self._installation()
        yield from self._connections()
        yield from self._server()

    def _installation(self) -> Iterable[Metric]:
        figures = self._figures
        build = GaugeMetricFamily("offsitedb_build_info", "The version that answers.", labels=["version"])
        build.add_metric([VERSION], 1)
        yield build
        yield GaugeMetricFamily("offsitedb_workers_alive", "Workers that have beaten lately.", figures.workers_alive)
        if figures.worker_heard_at is not None:
            age = (figures.at - figures.worker_heard_at).total_seconds()
            yield GaugeMetricFamily("offsitedb_worker_heartbeat_age_seconds", "Since the newest heartbeat.", age)
        jobs = GaugeMetricFamily("offsitedb_jobs", "Jobs by state.", labels=["state"])
        for state in JobState:
            jobs.add_metric([state.value], figures.jobs.get(state, 0))
        yield jobs
        drills = CounterMetricFamily(
            "offsitedb_drills", "Drills by connection and verdict.", labels=["connection", "verdict"]
        )
        for found in figures.drills:
            drills.add_metric([found.connection, found.verdict.value], found.n)
        yield drills

    def _connections(self) -> Iterable[Metric]:
        at = self._figures.at
        yield self._gauge(
            "offsitedb_newest_proof_age_seconds",
            "Since the newest proven snapshot was taken; absent where there is none.",
            lambda c: None if c.newest_proven_at is None else (at - c.newest_proven_at).total_seconds(),
        )
        yield self._gauge(
            "offsitedb_newest_proof_timestamp_seconds",
            "When the newest proven snapshot was taken.",
            lambda c: None if c.newest_proven_at is None else c.newest_proven_at.timestamp(),
        )
        yield self._gauge(
            "offsitedb_proof_target_seconds", "How old the newest proof may be.", lambda c: c.proof_target_s
        )
        yield self._gauge("offsitedb_proof_overdue", "1: the target is missed.", lambda c: float(c.overdue))
        restore = GaugeMetricFamily(
            "offsitedb_restore_seconds",
            "What drills took: the newest proven one, and median and worst of late.",
            labels=["connection", "of"],
        )
        for c in self._figures.connections:
            for of, value in (("last", c.restore_last_s), ("p50", c.restore_p50_s), ("worst", c.restore_worst_s)):
                if value is not None:
                    restore.add_metric([c.connection, of], value)
        yield restore

    def _server(self) -> Iterable[Metric]:
        answers = CounterMetricFamily(
            "offsitedb_api_answers", "Answers of this server process.", labels=["route", "status"]
        )
        for route, status, n in self._tally.items():
            answers.add_metric([route, str(status)], n)
        yield answers
        yield GaugeMetricFamily("offsitedb_api_waiting", "Requests that wait for a checkpoint.", self._waiting)

    def _gauge(self, name: str, about: str, value: Callable[[ConnectionFigures], float | None]) -> Metric:
        made = GaugeMetricFamily(name, about, labels=["connection"])
        for c in self._figures.connections:
            found = value(c)
            if found is not None:
                made.add_metric([c.connection], found)
        return made
