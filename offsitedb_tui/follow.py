"""Following a job: one line on stderr that says what happens now, and the verdict at the end.

On a terminal the line is rewritten in place; elsewhere a line is written every ten seconds and at every new phase.
Without a running worker the job is run here, in this process, for as long as it lasts or is waited for.
"""

from __future__ import annotations

import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType, TracebackType

from engine.errors import ConfigError, OffsiteError, StillRunning
from engine.model import JobState
from engine.model.views import JobView
from engine.service import Engine
from offsitedb_tui.output import Talk
from screens.present import human_bytes, human_seconds, visible

POLL_S = 0.25
PLAIN_EVERY_S = 10.0
CANCEL_WITHIN_S = 15.0
"""How long a cancelled job is waited for."""
CLEAR = "\r\x1b[K"


def follow(
    engine: Engine, job: JobView, talk: Talk, timeout_s: float | None, *, interrupt_cancels: bool = False
) -> JobView:
    """Wait until ``job`` has ended or is blocked. Raises StillRunning after ``timeout_s`` seconds; the job goes on.

    An interrupt ends the waiting; with ``interrupt_cancels`` it cancels the job, whose end is waited for.
    """
    line = _Line()
    with _Substitute(engine, talk) as substitute, line:
        substitute.take(job.id)
        try:
            with _Interrupt() as interrupt:
                return _follow(engine, job, line, substitute, timeout_s, interrupt)
        except KeyboardInterrupt:
            line.clear()
            if interrupt_cancels:
                talk.say("cancelling: it ends in a moment")
                with suppress(ConfigError):  # it has ended meanwhile
                    engine.jobs.cancel(job.id)
                with _Interrupt() as interrupt:
                    return _follow(engine, job, line, substitute, CANCEL_WITHIN_S, interrupt)
            talk.say(_what_becomes_of_it(job, without_worker=substitute.active))
            raise


def follow_all(
    engine: Engine,
    jobs: Iterable[JobView],
    talk: Talk,
    ended: Callable[[JobView], None],
    *,
    interrupt_cancels: bool = False,
) -> None:
    """Follow jobs to their ends, one after the other, as ``jobs`` gives them; ``ended`` hears of each.

    An interrupt ends the waiting; with ``interrupt_cancels`` it cancels the job that is followed.
    """
    line, now = _Line(), None
    with _Substitute(engine, talk) as substitute, line:
        try:
            with _Interrupt() as interrupt:
                for now in jobs:
                    substitute.take(now.id)
                    done = _follow(engine, now, line, substitute, None, interrupt)
                    line.clear()
                    ended(done)
        except KeyboardInterrupt:
            line.clear()
            if now is not None and interrupt_cancels:
                talk.say("cancelling: it ends in a moment")
                with suppress(ConfigError):  # it has ended meanwhile
                    engine.jobs.cancel(now.id)
                with _Interrupt() as interrupt:
                    _follow(engine, now, line, substitute, CANCEL_WITHIN_S, interrupt)
            elif now is not None:
                talk.say(_what_becomes_of_it(now, without_worker=substitute.active))
            raise


def _follow(
    engine: Engine,
    job: JobView,
    line: _Line,
    substitute: _Substitute,
    timeout_s: float | None,
    interrupt: _Interrupt,
) -> JobView:
    started = time.monotonic()
    while True:
        interrupt.check()
        now = engine.jobs.get(job.id)
        if now.state.ended or now.state is JobState.BLOCKED:
            return now
        substitute.look()
        line.update(now)
        if timeout_s is not None and time.monotonic() - started >= timeout_s:
            goes_on = "waits for a worker" if substitute.active else "goes on"
            raise StillRunning(
                "job.still-running",
                f"the job has not ended after {timeout_s:g} s and {goes_on}",
                hint=_what_becomes_of_it(job, without_worker=substitute.active),
                context={"job": job.id},
            )
        line.pause()


def _what_becomes_of_it(job: JobView, *, without_worker: bool) -> str:
    """What somebody who waits no longer should know."""
    short = job.id[:12]
    if without_worker:
        return (
            "The job is back in the queue. Start a worker with `offsitedb worker`,"
            f" then follow the job with `offsitedb jobs show {short}`."
        )
    return f"Follow it with `offsitedb jobs show {short}`; `offsitedb jobs cancel {short}` stops it."


class _Interrupt:
    """Ctrl-C, heard between two looks.

    Python raises KeyboardInterrupt wherever the main thread is, and in a callback of a library (a weak reference, a
    finalizer) it is printed and forgotten: the key would do nothing. A second one does what it always does.
    """

    def __init__(self) -> None:
        self._asked = False
        self._installed = False

    def __enter__(self) -> _Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
            self._installed = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raise KeyboardInterrupt if it was asked for."""
        if self._asked:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True


class _Line:
    def __init__(self) -> None:
        self._tty = sys.stderr.isatty()
        self._shown = ""
        self._phase = ""
        self._at = 0.0
        self._pause = threading.Event()

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Take the line away, so that something else may be said."""
        if self._tty and self._shown:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()
            self._shown = ""

    def pause(self) -> None:
        self._pause.wait(POLL_S)

    def update(self, job: JobView) -> None:
        text = describe(job)
        phase = job.progress.phase if job.progress is not None else str(job.state)
        if self._tty:
            if text != self._shown:
                sys.stderr.write(CLEAR + text)
                sys.stderr.flush()
        elif phase != self._phase or time.monotonic() - self._at >= PLAIN_EVERY_S:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
            self._at = time.monotonic()
        self._shown, self._phase = text, phase


def describe(job: JobView) -> str:
    """``● dump  61 %  245.1 MB of 412.3 MB  38.0 MB/s``; a phase without a known end has no percent."""
    if job.state is JobState.QUEUED:
        return "● waiting for a worker"
    p = job.progress
    if p is None:
        return "● starting"
    parts = [f"● {p.phase}"]
    if p.unit == "bytes":
        if p.total:
            parts.append(f"{min(99, p.done * 100 // p.total)} %" if p.done < p.total else "")
        parts.append(human_bytes(p.done) + (f" of {human_bytes(p.total)}" if p.total and p.total > p.done else ""))
        if p.rate:
            parts.append(f"{human_bytes(p.rate)}/s")
            if p.total and p.total > p.done:
                parts.append(f"ETA {human_seconds((p.total - p.done) / p.rate)}")
    elif p.total:
        parts += [f"{p.done * 100 // p.total} %", f"{p.done} of {p.total} {p.unit}"]
    if p.note:
        parts.append(visible(p.note))
    return "  ".join(part for part in parts if part)


class _Substitute:
    """A worker of our own for as long as there is no other: at the start, or when the one there was has gone.

    Another `--wait` counts as a worker while it lasts, but runs its own jobs only; so this looks again and again.
    """

    def __init__(self, engine: Engine, talk: Talk) -> None:
        self._engine = engine
        self._jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._talk = talk
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def __enter__(self) -> _Substitute:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if self._thread is None:
            return
        self._stop.set()
        # who stops waiting does not want to wait for the job's grace period
        self._engine.worker.stop(grace_s=None if kind is None else 0.0)
        self._thread.join()

    @property
    def active(self) -> bool:
        return self._thread is not None

    def look(self) -> None:
        """Become a worker if there is none."""
        if self.active or self._engine.worker.any_alive():
            return
        self._talk.say(
            "no worker is running: this command runs the job itself (start one for good: `offsitedb worker`)"
        )
        self._engine.worker.start(1)
        self._thread = threading.Thread(target=self._run, name="job", daemon=True)
        self._thread.start()

    def take(self, job_id: str) -> None:
        """A job to be run here, unless somebody else does."""
        self._jobs.put(job_id)

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(queue.Empty):
                self._run_job(self._jobs.get(timeout=POLL_S))

    def _run_job(self, job_id: str) -> None:
        while not self._stop.is_set():
            try:
                if self._engine.worker.run(job_id) is not None or self._engine.jobs.get(job_id).state.ended:
                    return
            except OffsiteError:
                return  # the job's row says what happened; the follower reads it
            self._stop.wait(POLL_S)  # another checkpoint of the connection runs: this one waits for its turn
