"""A network between worker and database that is slow, falls silent, or breaks."""

from __future__ import annotations

import pytest

from engine.model import Verdict
from tests.fixtures.fire import Field, fill, settings, throttled
from tests.fixtures.installation import running_worker, wait_until


@pytest.fixture
def hasty(field: Field) -> Field:
    settings(field.place, "[snapshot]\nstall_timeout_s = 10\nlock_timeout_s = 1\n")
    fill(field)
    return field


@pytest.mark.slow
def test_a_slow_network_takes_its_time(hasty: Field) -> None:
    with throttled(hasty, 700_000.0) as proxy, running_worker(hasty.place):
        attempt = hasty.wait_end(hasty.ask())
        assert proxy.passed_bytes > 2_900_000
    assert attempt.drill is not None, attempt.job.error
    assert attempt.drill.verdict is Verdict.PROVEN
    hasty.assert_clean()


@pytest.mark.slow
def test_a_connection_reset_in_the_middle_is_tried_again(hasty: Field) -> None:
    with throttled(hasty, 400_000.0) as proxy, running_worker(hasty.place):
        job_id = hasty.ask()
        hasty.wait_phase(job_id, "dump")
        proxy.slow(None)
        proxy.reset()
        attempt = hasty.wait_end(job_id)
        log = " ".join(text for _, _, text in hasty.engine.jobs.log(job_id))
        hasty.assert_clean()
    assert "starting over" in log, attempt.job.error
    assert attempt.drill is not None, attempt.job.error
    assert attempt.drill.verdict is Verdict.PROVEN
    assert len(hasty.engine.ledger.entries()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["dump", "preflight", "lock"])
def test_a_network_that_falls_silent_ends_the_job(hasty: Field, phase: str) -> None:
    """Connections that stay open and carry nothing: ended by the stall timeout, long before TCP gives up."""
    with throttled(hasty, 400_000.0 if phase == "dump" else 20_000.0) as proxy, running_worker(hasty.place):
        passed = proxy.passed_bytes
        job_id = hasty.ask()
        if phase == "dump":
            hasty.wait_phase(job_id, "dump")
        elif phase == "preflight":
            wait_until(lambda: proxy.passed_bytes > passed + 2000, "the first answers")
        else:
            hasty.wait_phase(job_id, "lock")
        proxy.stop()
        attempt = hasty.wait_end(job_id, 60)
        hasty.assert_clean()
    assert attempt.snapshot is None
    assert attempt.job.error is not None
    assert attempt.job.error.code == "job.stalled", attempt.job.error


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["preflight", "lock"])
def test_a_connection_reset_before_the_dump_is_told_or_tried_again(hasty: Field, phase: str) -> None:
    with throttled(hasty, 20_000.0) as proxy, running_worker(hasty.place):
        passed = proxy.passed_bytes
        job_id = hasty.ask()
        if phase == "preflight":
            wait_until(lambda: proxy.passed_bytes > passed + 2000, "the first answers")
        else:
            hasty.wait_phase(job_id, "lock")
        proxy.slow(None)
        proxy.reset()
        attempt = hasty.wait_end(job_id, 30)
        hasty.assert_clean()
    if attempt.snapshot is None:
        assert attempt.job.error is not None
        assert attempt.job.error.code in ("pg.unreachable", "pg.snapshot-lost"), attempt.job.error
        assert attempt.job.error.hint
    else:
        assert attempt.drill is not None, attempt.job.error
        assert attempt.drill.verdict is Verdict.PROVEN


@pytest.mark.slow
def test_a_server_that_takes_connections_and_says_nothing_is_unreachable(hasty: Field) -> None:
    with throttled(hasty, None) as proxy, running_worker(hasty.place):
        proxy.stop()
        attempt = hasty.wait_end(hasty.ask(), 40)
        assert attempt.snapshot is None
        assert attempt.job.error is not None
        assert attempt.job.error.code in ("pg.unreachable", "job.stalled"), attempt.job.error
        assert attempt.job.error.hint
        proxy.go()
        again = hasty.wait_end(hasty.ask())
    assert again.drill is not None, again.job.error
    assert again.drill.verdict is Verdict.PROVEN
