"""The workers of a fleet, as those who look at them see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.janitor import is_alive
from engine.model.views import WorkerView
from engine.service import labels
from engine.service.worker import ALIVE_WITHIN_S

if TYPE_CHECKING:
    from engine.service import Engine


class WorkersFacet:
    """``engine.workers``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list(self) -> tuple[WorkerView, ...]:
        """Workers that did not sign off, alive or not, oldest first."""
        engine, now = self._engine, self._engine.clock.now()
        with engine.catalog.read() as tx:
            known = [w for w in catalogs.workers.list_all(tx) if w.stopped_at is None]
            busy = catalogs.jobs.running_by_worker(tx)
        return tuple(
            WorkerView(
                id=w.id,
                host=w.host,
                pid=w.pid,
                threads=w.threads,
                version=w.version,
                started_at=w.started_at,
                heartbeat_at=w.heartbeat_at,
                alive=(now - w.heartbeat_at).total_seconds() < ALIVE_WITHIN_S and is_alive(engine.paths.home, w),
                labels=tuple(sorted(w.labels)),
                jobs=busy.get(w.id, 0),
            )
            for w in reversed(known)
        )

    def check_label(self, label: str) -> None:
        """Raises ConfigError ``config.invalid`` for what cannot be a label."""
        labels.check_label(label)
