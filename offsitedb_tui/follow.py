"""Following a job: one line on stderr that says what happens now, and the verdict at the end.

On a terminal the line is rewritten in place; elsewhere a line is written every ten seconds and at every new phase.
Without a running worker the job is run here, in this process, for as long as it lasts.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import OffsiteError, StillRunning
from engine.model import JobState
from engine.model.views import JobView
from engine.service import Engine
from offsitedb_tui.output import Talk
from screens.present import human_bytes, human_seconds, visible

POLL_S = 0.25
PLAIN_EVERY_S = 10.0
CLEAR = "\r\x1b[K"


def follow(engine: Engine, job: JobView, talk: Talk, timeout_s: float | None) -> JobView:
    """Wait until ``job`` has ended or is blocked. Raises StillRunning after ``timeout_s`` seconds; the job goes on."""
    line = _Line()
    started = time.monotonic()
    with _worker_for(engine, job, talk), line:
        while True:
            now = engine.jobs.get(job.id)
            if now.state.ended or now.state is JobState.BLOCKED:
                return now
            line.update(now)
            if timeout_s is not None and time.monotonic() - started >= timeout_s:
                raise StillRunning(
                    "job.still-running",
                    f"the job has not ended after {timeout_s:g} s and goes on",
                    hint=f"Follow it with `offsitedb jobs show {job.id[:12]}`.",
                    context={"job": job.id},
                )
            line.pause()


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
        if self._tty and self._shown:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()

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


@contextmanager
def _worker_for(engine: Engine, job: JobView, talk: Talk) -> Iterator[None]:
    """A worker of our own while the block runs, if there is none."""
    if engine.worker.any_alive():
        yield
        return
    talk.say("no worker is running: this command runs the job itself (start one for good: `offsitedb worker`)")
    engine.worker.start(1)
    thread = threading.Thread(target=_run, args=(engine, job.id), name="job", daemon=True)
    thread.start()
    try:
        yield
    finally:
        engine.worker.stop()
        thread.join()


def _run(engine: Engine, job_id: str) -> None:
    try:
        engine.worker.run(job_id)
    except OffsiteError:
        return  # the job's row says what happened; the follower reads it
