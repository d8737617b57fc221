"""What the API answers, as frozen records: the JSON, the OpenAPI document and the client are all made from these."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from engine.errors import OffsiteError
from engine.model import JobState, Verdict
from engine.model.views import Attempt
from screens.present import human_bytes, visible

NOT_RUN = "not run"
_FAILURES_AT_MOST = 20
_DRILLED = {
    Verdict.FAILED: "The restore drill failed",
    Verdict.COULD_NOT_VERIFY: "The restore drill could not run, so nothing is proven",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """An error of docs/ERRORS.md. ``exit_status``: what the command line ends with for it."""

    code: str
    message: str
    hint: str
    exit_status: int


@dataclass(frozen=True, slots=True)
class CheckpointAnswer:
    """A checkpoint as it is now. ``ok`` only when it has ended and its snapshot is proven to restore."""

    ok: bool
    id: str
    """Of the checkpoint; ``GET /api/checkpoints/{id}`` finds it again."""
    database: str
    tag: str | None
    state: JobState
    restore_drill: str
    """``proven``, ``proven with skips``, ``failed``, ``could not verify``; ``not run`` until there is a verdict."""
    diagnosis: str | None
    """What went wrong and what to do, in plain words."""
    error: Problem | None
    requested_at: datetime
    joined: bool
    """Whether an equal request had asked for it before."""
    snapshot_id: str | None
    """What ``offsitedb restore`` takes."""
    taken_at: datetime | None
    """The instant that the snapshot shows: what was committed later is not in it."""
    size: str | None
    size_bytes: int | None
    sha256: str | None
    tables: int | None
    tables_in_source: int | None
    rows: int | None
    drill_id: str | None
    drilled_at: datetime | None
    restore_s: float | None
    skips: int | None
    failures: tuple[str, ...]
    receipt_sha256: str | None


@dataclass(frozen=True, slots=True)
class CheckpointList:
    """Newest first."""

    checkpoints: tuple[CheckpointAnswer, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was not done. ``ok`` is false. ``request_id`` finds it in the server's log."""

    ok: bool
    diagnosis: str
    error: Problem
    request_id: str


@dataclass(frozen=True, slots=True)
class Health:
    ok: bool


def checkpoint_answer(
    attempt: Attempt, *, joined: bool = False, instead: OffsiteError | None = None
) -> CheckpointAnswer:
    """The answer for a job as it is now. ``instead``: why it is not waited for any longer, if that is so."""
    job, snapshot, drill = attempt.job, attempt.snapshot, attempt.drill
    proven = job.state is JobState.SUCCEEDED and drill is not None and drill.verdict.proven
    error = _problem(attempt) if instead is None else problem(instead)
    return CheckpointAnswer(
        ok=proven,
        id=job.id,
        database=job.connection,
        tag=job.tag,
        state=job.state,
        restore_drill=drill.verdict.value.lower() if drill is not None else NOT_RUN,
        diagnosis=None if proven or error is None else _diagnosis(attempt, error),
        error=error,
        requested_at=job.created_at,
        joined=joined,
        snapshot_id=snapshot.id if snapshot is not None else None,
        taken_at=snapshot.taken_at if snapshot is not None else None,
        size=human_bytes(snapshot.size_bytes) if snapshot is not None else None,
        size_bytes=snapshot.size_bytes if snapshot is not None else None,
        sha256=snapshot.artifact_sha256 if snapshot is not None else None,
        tables=snapshot.tables if snapshot is not None else None,
        tables_in_source=snapshot.tables_in_source if snapshot is not None else None,
        rows=snapshot.rows if snapshot is not None else None,
        drill_id=drill.id if drill is not None else None,
        drilled_at=drill.drilled_at if drill is not None else None,
        restore_s=round(drill.restore_s, 3) if drill is not None else None,
        skips=len(drill.skips) if drill is not None else None,
        failures=tuple(visible(f.message) for f in drill.failures[:_FAILURES_AT_MOST]) if drill is not None else (),
        receipt_sha256=drill.receipt_sha256 if drill is not None else None,
    )


def problem(error: OffsiteError) -> Problem:
    return Problem(error.code, visible(error.message), visible(error.hint, keep="\n"), error.exit_status)


def refusal(error: OffsiteError, request_id: str) -> Refusal:
    found = problem(error)
    return Refusal(False, sentence(found), found, request_id)


def sentence(found: Problem) -> str:
    """Message and hint as people read them."""
    return f"{found.message[:1].upper()}{found.message[1:]}. {found.hint}"


def _problem(attempt: Attempt) -> Problem | None:
    job = attempt.job
    if job.error is not None:
        e = job.error
        return Problem(e.code, visible(e.message), visible(e.hint, keep="\n"), e.exit_status)
    if job.state is JobState.CANCELLED:
        return Problem("job.cancelled", "the checkpoint was cancelled", "Ask for it again when you want.", 130)
    if job.state is JobState.SUCCEEDED and attempt.drill is None:
        hint = "Drill the snapshot on the server: `offsitedb drill ID --wait`."
        return Problem("drill.scratch", "the snapshot was taken and not drilled", hint, 71)
    return None


def _diagnosis(attempt: Attempt, error: Problem) -> str:
    """Where it went wrong, what, and what to do."""
    job, drill = attempt.job, attempt.drill
    if error.code == "job.still-running" or not job.state.ended:
        return sentence(error)
    if drill is not None and drill.verdict in _DRILLED:
        return f"{_DRILLED[drill.verdict]}: {error.message}. {error.hint}"
    if attempt.snapshot is None:
        return f"No snapshot was taken: {error.message}. {error.hint}"
    return f"The snapshot was taken and is not proven: {error.message}. {error.hint}"
