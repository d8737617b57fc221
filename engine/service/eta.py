"""How long a job will still take: from what earlier drills of the connection took, or else from the rate it has now."""

from __future__ import annotations

from engine.model import JobKind, JobProgress, JobState, Timings
from engine.model.views import JobView
from engine.model.watch import Usual
from engine.progress import Phase

_BY_SIZE = (Phase.FETCH, Phase.RESTORE, Phase.VERIFY)
_LEAST, _MOST = 0.1, 10.0
"""A snapshot beyond these ratios to the usual ones says little about them."""


def eta(job: JobView, usual: Usual | None, size_ratio: float | None, now: float) -> float | None:
    """Seconds to the job's end; without a history, to the end of its phase. None where nothing tells.

    ``size_ratio``: this snapshot's size to the usual one, None while there is no snapshot. ``now``: since the epoch.
    """
    progress = job.progress
    if job.state is not JobState.RUNNING or job.started_at is None or progress is None:
        return None
    by_rate = _by_rate(progress)
    if usual is None:
        return by_rate
    ratio = min(max(size_ratio or 1.0, _LEAST), _MOST)
    phases = {phase: s * (ratio if phase in _BY_SIZE else 1.0) for phase, s in _usually(usual.timings).items()}
    elapsed = now - job.started_at.timestamp()
    here = next((phase for phase in phases if phase == progress.phase), None)
    if here is None:
        if job.kind is not JobKind.CHECKPOINT or usual.snapshot_s is None:
            return None
        drill_s = sum(phases.values()) if job.with_drill else 0.0
        return _left(usual.snapshot_s, elapsed, by_rate) + drill_s
    in_phase = elapsed - sum(past.seconds for past in progress.phases)
    if progress.rate and progress.done:
        in_phase = progress.done / progress.rate + now - progress.updated_at.timestamp()
    order = list(phases)
    later = order[order.index(here) + 1 :]
    return _left(phases[here], in_phase, by_rate) + sum(phases[phase] for phase in later)


def _left(usual_s: float, elapsed_s: float, by_rate: float | None) -> float:
    """What is left of a phase. One that takes longer than it should is asked for its rate."""
    left = usual_s - max(elapsed_s, 0.0)
    return left if left > 0 else by_rate or 0.0


def _by_rate(progress: JobProgress) -> float | None:
    if not progress.rate or progress.total is None or progress.total <= progress.done:
        return None
    return (progress.total - progress.done) / progress.rate


def _usually(t: Timings) -> dict[Phase, float]:
    """The median of each phase as a job reports them: what was fetched is opened as it comes, the cluster is started
    meanwhile, and the cluster's end belongs to the last phase."""
    fetch = t.fetch_s + t.open_s
    found = {
        Phase.FETCH: fetch,
        Phase.SCRATCH: max(t.scratch_s - fetch, 0.0),
        Phase.LIST: t.list_s,
        Phase.RESTORE: t.restore_s,
    }
    return {**found, Phase.VERIFY: max(t.total_s - sum(found.values()), t.verify_s)}
