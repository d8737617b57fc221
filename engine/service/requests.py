"""Requests of machines at the door: ask for a checkpoint, look at it, read the installation's figures.

Whoever calls holds an API key, and its scopes and connections are looked at here. What a key may not see does not exist
for it: the answer is the same as for a connection or checkpoint that there never was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.catalog import Tx
from engine.errors import AccessDenied, ConfigError
from engine.model import ConnectionRecord, JobKind, JobState
from engine.model.apikeys import ApiCaller, Asked, ConnectionFigures, Figures, Scope
from engine.model.views import Attempt
from engine.rebuilding import MADE_ELSEWHERE
from engine.service.access import acting_as
from engine.service.jobs import check_tag

if TYPE_CHECKING:
    from engine.service import Engine

KEPT = timedelta(days=7)
"""How long a request is known by its ``Idempotency-Key``."""
_LONGEST_NAME = 100
_LONGEST_KEY = 255
LISTED_AT_MOST = 100


class RequestsFacet:
    """``engine.requests``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def checkpoint(
        self, caller: ApiCaller, database: str, tag: str | None = None, idempotency_key: str | None = None
    ) -> Asked:
        """Ask for a snapshot and its drill of ``database``, a connection's name or id.

        An equal request of the same caller that has not ended is joined, and one with the same ``idempotency_key`` is
        found again. Raises AccessDenied ``access.scope``, ConfigError ``config.not-found``, ``config.invalid``,
        ``api.idempotency``.
        """
        _demand(caller, Scope.CREATE)
        check_tag(tag)
        if idempotency_key is not None and not (0 < len(idempotency_key) <= _LONGEST_KEY and _plain(idempotency_key)):
            raise ConfigError(
                "config.invalid",
                "an Idempotency-Key has 1 to 255 printable ASCII characters",
                hint="Send a new UUID for each checkpoint that is wanted, and the same one when it is asked again.",
            )
        asked_for = hashlib.sha256(json.dumps({"database": database, "tag": tag}).encode()).hexdigest()
        with acting_as(caller.principal), self._engine.catalog.write() as tx:
            if idempotency_key is not None:
                earlier = catalogs.api_requests.find(tx, caller.key_id, idempotency_key)
                if earlier is not None:
                    if earlier.request_sha256 != asked_for:
                        raise ConfigError("api.idempotency", "this Idempotency-Key belongs to another request")
                    return Asked(earlier.job_id, joined=True)
            asked = self._join_or_queue(tx, caller, self._connection(tx, caller, database), tag)
            if idempotency_key is not None:
                now = self._engine.clock.now()
                catalogs.api_requests.keep(tx, caller.key_id, idempotency_key, asked_for, asked.job_id, now, now - KEPT)
        if not asked.joined:
            self._engine.wake(asked.job_id)
        return asked

    def get(self, caller: ApiCaller, checkpoint: str) -> Attempt:
        """A checkpoint as it is now, by the id of its job or its snapshot. Raises ConfigError ``config.not-found``.

        A key that may only create sees what was asked for with it.
        """
        with self._engine.catalog.read() as tx:
            job_id = self._visible(tx, caller, checkpoint)
        return self._engine.ledger.of_job(job_id)

    def come_to(self, job_id: str) -> Attempt:
        """What the job that somebody asked for has come to: who may ask may hear the answer."""
        return self._engine.ledger.of_job(job_id)

    def recent(
        self, caller: ApiCaller, database: str | None = None, tag: str | None = None, limit: int = 20
    ) -> tuple[Attempt, ...]:
        """The newest checkpoints, newest first. Raises AccessDenied, ConfigError ``config.not-found``."""
        _demand(caller, Scope.READ)
        check_tag(tag)
        with self._engine.catalog.read() as tx:
            only: Collection[str] | None = caller.principal.connections
            if database is not None:
                only = [self._connection(tx, caller, database).id]
            limit = max(1, min(limit, LISTED_AT_MOST))
            found = catalogs.api_requests.checkpoints(tx, connection_ids=only, tag=tag, limit=limit)
        return tuple(self._engine.ledger.of_job(job_id) for job_id in found)

    def states(self, job_ids: Collection[str]) -> dict[str, JobState]:
        """The states of these jobs."""
        with self._engine.catalog.read() as tx:
            return catalogs.api_requests.states(tx, job_ids)

    def figures(self, caller: ApiCaller) -> Figures:
        """What a monitoring system wants to know, of the caller's connections. Raises AccessDenied."""
        _demand(caller, Scope.READ)
        engine, only = self._engine, caller.principal.connections
        overview = engine.watch.overview(limit=1)
        with engine.catalog.read() as tx:
            names = {c.name for c in catalogs.connections.list_all(tx) if only is None or c.id in only}
            drills = catalogs.api_requests.drills_by_verdict(tx, connection_ids=only)
            jobs = catalogs.api_requests.jobs_by_state(tx, connection_ids=only)
            heard = [w.heartbeat_at for w in catalogs.workers.list_all(tx) if w.stopped_at is None]
        return Figures(
            at=engine.clock.now(),
            connections=tuple(
                ConnectionFigures(
                    connection=line.connection,
                    newest_proven_at=line.newest_proven_at,
                    proof_target_s=line.proof_target_s,
                    overdue=line.overdue,
                    restore_p50_s=line.restore_p50_s,
                    restore_worst_s=line.restore_worst_s,
                    restore_last_s=line.trend[-1] if line.trend else None,
                )
                for line in overview.headlines
                if line.connection in names
            ),
            drills=tuple(drills),
            jobs=jobs,
            workers_alive=overview.workers_alive,
            worker_heard_at=max(heard, default=None),
        )

    def _join_or_queue(self, tx: Tx, caller: ApiCaller, connection: ConnectionRecord, tag: str | None) -> Asked:
        running = catalogs.api_requests.in_flight(tx, connection.id, tag, caller.principal.actor)
        if running is not None:
            return Asked(running, joined=True)
        return Asked(self._engine.jobs.queue(tx, JobKind.CHECKPOINT, connection.id, tag=tag).id, joined=False)

    def _connection(self, tx: Tx, caller: ApiCaller, database: str) -> ConnectionRecord:
        """The connection in use under this name or id, if the caller may see it. Raises ConfigError."""
        known = catalogs.connections.list_all(tx) if _plain(database) and len(database) <= _LONGEST_NAME else []
        by_name = [c for c in known if c.name == database]
        found = by_name or [c for c in known if c.id == database]
        only = caller.principal.connections
        if not found or (only is not None and found[0].id not in only):
            raise ConfigError(
                "config.not-found",
                "this API key reaches no database of that name or id",
                hint="Compare with `offsitedb connection list`, and with the key's limits: `offsitedb apikey list`.",
            )
        return found[0]

    def _visible(self, tx: Tx, caller: ApiCaller, checkpoint: str) -> str:
        """The id of the job, if it is a checkpoint that the caller may see. Raises ConfigError."""
        jobs, snapshots = catalogs.jobs.find(tx, checkpoint), catalogs.snapshots.find(tx, checkpoint)
        ids = [job.id for job in jobs if job.id == checkpoint]
        ids += [s.job_id for s in snapshots if s.id == checkpoint and s.job_id != MADE_ELSEWHERE]
        only = caller.principal.connections
        for job_id in ids:
            job = catalogs.jobs.get(tx, job_id)
            mine = Scope.READ in caller.scopes or job.requested_by == caller.principal.actor
            if job.kind is JobKind.CHECKPOINT and mine and (only is None or job.connection_id in only):
                return job.id
        raise ConfigError(
            "config.not-found",
            "this API key reaches no checkpoint of that id",
            hint="Ask for the newest ones: `GET /api/checkpoints`.",
        )


def _demand(caller: ApiCaller, scope: Scope) -> None:
    if scope not in caller.scopes:
        raise AccessDenied("access.scope", f"the API key has not got the scope {scope}")


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable()
