"""Waiting for jobs, for any number of requests: one task looks at the states of all of them, a few times a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from enum import Enum

from engine.errors import OffsiteError
from engine.model import JobState
from engine.service import Engine
from offsitedb_tui.api.http import call

POLL_S = 0.25
LOOK_FOR_WORKERS_EVERY_S = 2.0
UNATTENDED_AFTER_S = 60.0
"""A queued job is not waited for any longer when there has been no worker for so long."""
_log = logging.getLogger("offsitedb.api")


class Why(Enum):
    """Why waiting ended."""

    SETTLED = "the job has ended, or is blocked"
    TIMEOUT = "it took too long"
    UNATTENDED = "there is no worker"
    STOPPING = "the server stops"


class Waiting:
    """Nobody who stops waiting changes anything: the jobs are the worker's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiters: dict[str, set[asyncio.Future[Why]]] = {}
        self._some = asyncio.Event()
        self._stopping = False
        self._alone_since: float | None = None
        self._looked_at = 0.0

    @property
    def count(self) -> int:
        """How many requests wait."""
        return sum(len(waiters) for waiters in self._waiters.values())

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._some.wait()
            try:
                await self._look()
            except OffsiteError as e:
                _log.warning("looking at jobs: %s [%s]", e.message, e.code)
            except Exception:  # noqa: BLE001 - the last line: without this task everybody would wait for ever
                _log.exception("looking at jobs")
            await asyncio.sleep(POLL_S)

    async def until_settled(self, job_id: str, timeout_s: float) -> Why:
        """Until the job has ended or is blocked, or ``timeout_s`` seconds have passed."""
        if self._stopping:
            return Why.STOPPING
        future: asyncio.Future[Why] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(job_id, set()).add(future)
        self._some.set()
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return Why.TIMEOUT
        finally:
            waiters = self._waiters.get(job_id, set())
            waiters.discard(future)
            if not waiters:
                self._waiters.pop(job_id, None)
            if not self._waiters:
                self._some.clear()
                self._alone_since = None

    def stop(self) -> None:
        """The server stops: everybody is told now."""
        self._stopping = True
        self._tell(list(self._waiters), Why.STOPPING)

    async def _look(self) -> None:
        states = await call(self._engine.requests.states, tuple(self._waiters))
        settled = [i for i, state in states.items() if state.ended or state is JobState.BLOCKED]
        self._tell(settled, Why.SETTLED)
        if await self._unattended():
            self._tell([i for i, state in states.items() if state is JobState.QUEUED], Why.UNATTENDED)

    async def _unattended(self) -> bool:
        """Whether no worker has been alive for long."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= LOOK_FOR_WORKERS_EVERY_S:
            self._looked_at = now
            if await call(self._engine.worker.any_alive):
                self._alone_since = None
            elif self._alone_since is None:
                self._alone_since = now
        return self._alone_since is not None and now - self._alone_since >= UNATTENDED_AFTER_S

    def _tell(self, job_ids: Iterable[str], why: Why) -> None:
        for job_id in job_ids:
            for future in self._waiters.get(job_id, ()):
                if not future.done():
                    future.set_result(why)
