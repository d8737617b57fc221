"""Jobs of an installation whose key lies in a desktop's keyring, while that keyring vanishes, locks itself or hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest

from engine.errors import KeyAccessError
from engine.model import JobState, Verdict
from engine.model.views import JobView
from tests.fixtures.fire import Field, fill, settings, throttled
from tests.fixtures.installation import installation, running_worker, unhurried, wait_until
from tests.fixtures.secret_service import SecretService, secret_service

pytestmark = pytest.mark.slow
TIMEOUT_S = 2.0


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[SecretService]:
    with secret_service(tmp_path) as running:
        yield running


@pytest.fixture
def seated(desk: SecretService, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Field]:
    """An installation that found the desktop's keyring, with a source that has tables."""
    for name in ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "HOME"):
        monkeypatch.setenv(name, desk.environment[name])
    with ExitStack() as stack:
        place = stack.enter_context(installation(monkeypatch))
        assert place.made.backend == "secret-service"
        settings(place, f"[keyring]\ntimeout_s = {TIMEOUT_S}\n")
        field = Field(place, stack.enter_context(place.engine()), database, "no-such-text-anywhere")
        fill(field)
        yield field
        with desk.anew() if desk.daemon.poll() is not None else nullcontext():
            stack.close()


def wait_blocked(field: Field, job_id: str, deadline_s: float) -> JobView:
    """The job, which waits for the key."""
    wait_until(lambda: field.job(job_id).state is JobState.BLOCKED, "the job to be blocked", deadline_s)
    return field.job(job_id)


def test_a_keyring_that_vanishes_costs_a_running_job_nothing_and_the_next_one_waits(
    seated: Field, desk: SecretService
) -> None:
    with throttled(seated, 400_000.0) as proxy, running_worker(seated.place) as worker:
        job_id = seated.ask()
        seated.wait_phase(job_id, "dump")
        desk.end()
        proxy.slow(None)
        attempt = seated.wait_end(job_id)
        assert attempt.drill is not None, attempt.job.error
        assert attempt.drill.verdict is Verdict.PROVEN
        next_id = seated.ask()
        waits = wait_blocked(seated, next_id, 20)
        assert waits.error is not None
        assert waits.error.code == "key.no-backend"
        assert waits.error.hint
        with desk.anew():
            resumed = seated.wait_end(next_id, 60)
        assert resumed.drill is not None, resumed.job.error
        assert resumed.drill.verdict is Verdict.PROVEN
        assert worker.poll() is None
    seated.assert_clean()


def test_a_keyring_that_hangs_holds_nobody_longer_than_its_timeout(seated: Field, desk: SecretService) -> None:
    seated.connect_through()
    with running_worker(seated.place) as worker, desk.silent():
        started = time.monotonic()
        job_id = seated.ask()
        waits = wait_blocked(seated, job_id, 20)
        assert time.monotonic() - started < unhurried(20)
        assert waits.error is not None
        assert (waits.error.code, waits.error.exit_status) == ("key.timeout", 12)
        assert "restart its service" in waits.error.hint
        with pytest.raises(KeyAccessError) as caught:
            seated.engine.keys.open()
        assert caught.value.code == "key.timeout"
        seated.engine.jobs.cancel(job_id)  # which may be trying again just now
        assert seated.wait_end(job_id, 10).job.state is JobState.CANCELLED
        assert worker.poll() is None
        assert seated.engine.worker.any_alive()
    assert all(a.snapshot is None for a in seated.engine.ledger.entries())


def test_a_keyring_that_is_locked_meanwhile_is_waited_for(seated: Field, desk: SecretService) -> None:
    seated.connect_through()
    with running_worker(seated.place):
        desk.end()
        with desk.anew(unlocked=False):
            waits = wait_blocked(seated, job_id := seated.ask(), 20)
            assert waits.error is not None
            assert waits.error.code == "key.locked"
            assert "Unlock the keyring" in waits.error.hint
            with pytest.raises(KeyAccessError) as caught:
                seated.engine.keys.rotate()
            assert caught.value.code == "key.locked"
        with desk.anew():
            attempt = seated.wait_end(job_id, 60)
            assert seated.engine.keys.rotate().epoch == 2, "nothing of the refused one was in the way"
            assert [e.state for e in seated.engine.keys.status().epochs] == ["current", "older"]
    assert attempt.drill is not None, attempt.job.error
    assert attempt.drill.verdict is Verdict.PROVEN
