"""Running one job: claim it, keep its lease, watch for cancel, thin out progress, settle it.

The jobs table is the truth and the queue only says *wake up*, so everything here is safe to call twice: a job that
somebody else holds, or that has ended, is left alone. Each write carries the fencing token of the claim; a worker that
lost its lease can change nothing any more. What the work *is* comes in from outside (:data:`Work`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.catalog import Catalog, Tx
from engine.clock import Clock
from engine.errors import Cancelled, CatalogError, Internal, KeyAccessError, OffsiteError
from engine.evidence import chain
from engine.evidence.signer import Signer
from engine.model import Job, JobError, JobKind, JobProgress, JobState, PhaseTime
from engine.progress import Progress, TableRows

HEARTBEAT_S = 0.5
"""How often a running job looks for a cancel request and writes its progress: a cancel is honoured within 2 s."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the work came to: the drill's id, and the error that a bad verdict stands for."""

    drill_id: str | None = None
    error: OffsiteError | None = None


class JobContext:
    """What the work sees of its job: the token to look at, and where to report to."""

    def __init__(self, job: Job, cancel: CancelToken, clock: Clock) -> None:
        self.job = job
        self.cancel = cancel
        self.signer: Signer | None = None
        """Set by work that opened the signing key, for what is told when the job ends."""
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: Progress | None = None
        self._log: list[tuple[str, str]] = []
        self._phase_started = clock.monotonic()
        self._phase: str | None = None
        self._last: Progress | None = None
        self._phases: list[PhaseTime] = []
        self._tables: dict[tuple[str, str], TableRows] = {}
        self._tables_anew = False

    def report(self, progress: Progress) -> None:
        """Keep the newest report; the heartbeat writes it about twice a second."""
        with self._lock:
            if progress.phase != self._phase:
                self._leave_phase()
                self._phases = list(takewhile(lambda past: past.phase != progress.phase, self._phases))
                self._phase = progress.phase
                self._phase_started = self._clock.monotonic()
                self._log.append(("info", f"{progress.phase}: {progress.note}" if progress.note else progress.phase))
            self._newest = self._last = progress

    def report_tables(self, tables: Sequence[TableRows], *, anew: bool = False) -> None:
        """Keep what changed until the heartbeat writes it; ``anew``: what was said before does not count any more."""
        with self._lock:
            if anew:
                self._tables.clear()
                self._tables_anew = True
            self._tables |= {(rows.schema, rows.table): rows for rows in tables}

    def end_phase(self) -> None:
        """The work is done: the last phase lies behind, too."""
        with self._lock:
            self._leave_phase()
            self._newest, self._phase = self._last, None

    def log(self, level: str, text: str) -> None:
        """One line for the job's log."""
        with self._lock:
            self._log.append((level, text))

    def take_news(self) -> tuple[JobProgress | None, list[tuple[str, str]]]:
        """The newest report since the last call, with its average rate in this phase, and new log lines."""
        with self._lock:
            newest, self._newest = self._newest, None
            lines, self._log = self._log, []
            elapsed = self._clock.monotonic() - self._phase_started
        if newest is None:
            return None, lines
        rate = newest.done / elapsed if elapsed > HEARTBEAT_S else None
        now, phases = self._clock.now(), tuple(self._phases)
        report = JobProgress(newest.phase, newest.done, newest.total, newest.unit, newest.note, rate, now, phases)
        return report, lines

    def take_tables(self) -> tuple[list[TableRows], bool]:
        """Tables that have changed since the last call, and whether what was taken before is void."""
        with self._lock:
            tables, self._tables = list(self._tables.values()), {}
            anew, self._tables_anew = self._tables_anew, False
        return tables, anew

    def take_back_tables(self, tables: Sequence[TableRows], *, anew: bool) -> None:
        """What was taken could not be written: it is for the next time, except where there is something newer."""
        with self._lock:
            if not self._tables_anew:
                self._tables = {(rows.schema, rows.table): rows for rows in tables} | self._tables
                self._tables_anew = anew

    def _leave_phase(self) -> None:
        if self._phase is None or self._last is None:
            return
        last, took = self._last, self._clock.monotonic() - self._phase_started
        self._phases.append(PhaseTime(last.phase, round(took, 3), last.done, last.total, last.unit, last.note))


Work = Callable[[JobContext], Outcome]


class JobRunner:
    """Runs jobs for one worker process; any number of threads may call :meth:`run`."""

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        work: Mapping[JobKind, Work],
        *,
        worker_id: str,
        lease_s: float,
        labels: frozenset[str] = frozenset(),
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._work = work
        self._worker_id = worker_id
        self._lease_s = lease_s
        self._labels = labels
        self._lock = threading.Lock()
        self._running: dict[str, CancelToken] = {}
        self._stopping = threading.Event()
        self._idle = threading.Condition(self._lock)

    def run(self, job_id: str) -> JobState | None:
        """Claim and run ``job_id`` to its end. None when there was nothing to do (held by another, ended, stopping)."""
        if self._stopping.is_set():
            return None
        with self._catalog.write() as tx:
            now = self._clock.now()
            job = catalogs.jobs.claim(tx, job_id, self._worker_id, now, self._lease_s, self._labels)
        if job is None:
            return None
        token = CancelToken()
        with self._registered(job.id, token):
            context = JobContext(job, token, self._clock)
            with _Heartbeat(self._catalog, self._clock, context, self._lease_s):
                outcome = self._attempt(context)
            return self._settle(context, outcome)

    def stop(self, grace_s: float) -> None:
        """Take no more jobs; let running ones go on for ``grace_s`` seconds, then put them back in the queue."""
        self._stopping.set()
        with self._idle:
            self._idle.wait_for(lambda: not self._running, timeout=grace_s)
            tokens = list(self._running.values())
        for token in tokens:
            token.cancel(Cancelled("job.worker-stopped", "the worker is stopping", retry=True))
        with self._idle:
            self._idle.wait_for(lambda: not self._running, timeout=grace_s + 10.0)

    @contextmanager
    def _registered(self, job_id: str, token: CancelToken) -> Iterator[None]:
        with self._lock:
            self._running[job_id] = token
        if self._stopping.is_set():
            token.cancel(Cancelled("job.worker-stopped", "the worker is stopping", retry=True))
        try:
            yield
        finally:
            with self._idle:
                self._running.pop(job_id, None)
                self._idle.notify_all()

    def _attempt(self, context: JobContext) -> Outcome:
        try:
            return self._work[context.job.kind](context)
        except OffsiteError as e:
            for note in getattr(e, "__notes__", ()):  # what could not be cleaned up is told, too
                context.log("warning", note)
            # a stage that was torn down by the cancel reports its own torn end: the reason for the cancel is the truth
            return Outcome(error=context.cancel.error or e)
        except Exception as e:  # noqa: BLE001 - the last line: whatever it was, the job must be settled and say so
            internal = Internal("internal.error", f"{type(e).__name__}: {e}", context={"job": context.job.id})
            internal.__cause__ = e
            _log_traceback(context, e)
            return Outcome(error=internal)

    def _settle(self, context: JobContext, outcome: Outcome) -> JobState | None:
        job, error, now = context.job, outcome.error, self._clock.now()
        if error is None or outcome.drill_id is not None:
            context.end_phase()
        progress, lines = context.take_news()
        record = None if error is None else JobError(error.code, error.message, error.hint, error.exit_status)

        def write() -> JobState:
            with self._catalog.write() as tx:
                for level, text in lines:
                    catalogs.jobs.append_log(tx, job.id, now, level, text)
                if progress is not None:
                    catalogs.jobs.report(tx, job.id, job.fence, progress)
                if error is not None and error.code == "job.worker-stopped":
                    catalogs.jobs.requeue(tx, job.id, job.fence, now, error=record)
                    if catalogs.jobs.get(tx, job.id).state.ended:  # it was asked to stop meanwhile
                        self._tell_end(tx, context, JobState.CANCELLED, error)
                    return JobState.QUEUED
                state = _end_state(error)
                catalogs.jobs.settle(tx, job.id, job.fence, state, error=record, drill_id=outcome.drill_id, now=now)
                if state.ended:
                    self._tell_end(tx, context, state, error)
                return state

        return self._insist(write)

    def _tell_end(self, tx: Tx, context: JobContext, state: JobState, error: OffsiteError | None) -> None:
        """That the job ended, and how; the end of the history is signed where the work had the key for it."""
        job = context.job
        data: dict[str, str | int | bool | None] = {
            "job": job.kind.value,
            "connection": job.connection_id,
            "state": state.value,
            "error": error.code if error is not None else None,
        }
        if job.kind is JobKind.CHECKPOINT:
            data["with_drill"] = job.with_drill
        chain.append_event(tx, self._clock, actor=f"job:{job.id}", kind="job.ended", subject=job.id, data=data)
        if context.signer is not None:
            chain.sign_head(tx, context.signer, self._clock)

    def _insist(self, write: Callable[[], JobState]) -> JobState | None:
        """Try again for as long as a lease lasts: what a job came to is not lost to a catalog that is busy.

        None when another worker holds the job meanwhile, and will settle it.
        """
        until = self._clock.monotonic() + self._lease_s
        while True:
            try:
                return write()
            except CatalogError as e:
                if e.code == "catalog.fenced":
                    return None
                if not e.retry or self._clock.monotonic() > until or self._stopping.wait(HEARTBEAT_S):
                    raise


class _Heartbeat:
    """Renews the lease, writes progress and turns a cancel request into a cancelled token, twice a second.

    A second thread looks at the clock alone: where the catalog neither answers nor fails, the first one hangs, and by
    the time that the lease is over somebody else may hold the job.
    """

    def __init__(self, catalog: Catalog, clock: Clock, context: JobContext, lease_s: float) -> None:
        self._catalog = catalog
        self._clock = clock
        self._context = context
        self._lease_s = lease_s
        self._stop = threading.Event()
        self._renewed = clock.monotonic()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat-{context.job.id[:8]}", daemon=True)
        self._watch = threading.Thread(target=self._look_at_clock, name=f"lease-{context.job.id[:8]}", daemon=True)

    def __enter__(self) -> _Heartbeat:
        self._thread.start()
        self._watch.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._watch.join()

    def _look_at_clock(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            if self._clock.monotonic() - self._renewed > self._lease_s:
                said = "the catalog has not answered for as long as a lease lasts"
                self._context.cancel.cancel(CatalogError("catalog.unreachable", said, retry=True))
                return

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            try:
                self._renew()
                self._renewed = self._clock.monotonic()
            except CatalogError as e:
                if e.code == "catalog.fenced":
                    self._context.cancel.cancel(e)
                    return
                if self._clock.monotonic() - self._renewed > self._lease_s:
                    self._context.cancel.cancel(e)
                    return

    def _renew(self) -> None:
        context, now = self._context, self._clock.now()
        progress, lines = context.take_news()
        tables, anew = context.take_tables()
        try:
            with self._catalog.write() as tx:
                job = catalogs.jobs.renew(tx, context.job.id, context.job.fence, now, self._lease_s)
                if progress is not None:
                    catalogs.jobs.report(tx, job.id, job.fence, progress)
                if tables or anew:
                    catalogs.job_tables.write(tx, job.id, job.fence, tables, anew=anew)
                for level, text in lines:
                    catalogs.jobs.append_log(tx, job.id, now, level, text)
        except CatalogError:
            context.take_back_tables(tables, anew=anew)
            raise
        if job.cancel_requested_at is not None:
            context.cancel.cancel()


def _end_state(error: OffsiteError | None) -> JobState:
    if error is None:
        return JobState.SUCCEEDED
    if isinstance(error, KeyAccessError):
        return JobState.BLOCKED
    if isinstance(error, Cancelled) and error.code == "job.cancelled":
        return JobState.CANCELLED
    return JobState.FAILED


def _log_traceback(context: JobContext, error: Exception) -> None:
    import traceback

    for line in traceback.format_exception(error):
        context.log("error", line.rstrip())
