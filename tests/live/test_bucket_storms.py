"""Faults between a working worker and its bucket: in the middle of an upload, and while a drill reads it back.

Every one ends in a clear error or a retry that succeeds, in time, with nothing registered that is not whole, and with
nothing left in the bucket after the sweep.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from engine.clock import SystemClock
from engine.janitor import Janitor
from engine.model import BucketKeys, BucketSpec, JobState, Verdict
from engine.model.views import Attempt
from tests.fixtures.answering import Answer, AnsweringProxy
from tests.fixtures.ceph import Ceph
from tests.fixtures.fire import Field, fill, working
from tests.fixtures.installation import running_worker, unhurried, wait_until
from tests.fixtures.shore import SLOW, Shore

pytestmark = pytest.mark.slow
CRAWL = 1_500_000.0
"""Bytes a second and connection from the bucket: reading the artifact back takes about five seconds."""


def error_of(attempt: Attempt) -> str:
    assert attempt.snapshot is None
    assert attempt.job.state is JobState.FAILED
    assert attempt.job.error is not None
    assert attempt.job.error.hint
    return attempt.job.error.code


def assert_proven(attempt: Attempt) -> None:
    assert attempt.drill is not None, attempt.job.error
    assert attempt.drill.verdict is Verdict.PROVEN, attempt.drill.failures


@contextmanager
def suspended(shore: Shore) -> Iterator[None]:
    shore.ceph.admin("user", "suspend", "--uid=owner")
    try:
        yield
    finally:
        shore.ceph.admin("user", "enable", "--uid=owner")


@contextmanager
def killed(shore: Shore) -> Iterator[None]:
    shore.ceph.kill_gateway()
    try:
        yield
    finally:
        shore.ceph.start_gateway()


@contextmanager
def hung(shore: Shore) -> Iterator[None]:
    with shore.ceph.frozen_disk():
        yield


@contextmanager
def deaf(shore: Shore) -> Iterator[None]:
    shore.sea.stop()
    try:
        yield
    finally:
        shore.sea.go()
        shore.sea.reset()


# -- while an artifact is on its way


def test_a_user_who_is_suspended_in_the_middle(shore: Shore) -> None:
    shore.proxy.slow(SLOW)
    with running_worker(shore.field.place):
        job_id = shore.field.ask()
        shore.wait_upload()
        with suspended(shore):
            shore.proxy.slow(None)
            attempt = shore.field.wait_end(job_id, 60)
        assert error_of(attempt) == "store.denied"
        assert attempt.job.error is not None
        assert "suspended" in attempt.job.error.message
        assert "while cleaning up" in shore.log(job_id), "that the upload could not be aborted is told"
    shore.assert_nothing_came_of_it()


def test_a_disk_that_hangs_for_a_while_costs_time(shore: Shore) -> None:
    shore.proxy.slow(SLOW)
    with running_worker(shore.field.place):
        job_id = shore.field.ask()
        shore.wait_upload()
        with hung(shore):
            shore.proxy.slow(None)
            seen = shore.sea.accepted
            wait_until(lambda: shore.sea.accepted > seen, "a request to be given up and made again", 18)
        attempt = shore.field.wait_end(job_id)
    assert_proven(attempt)
    assert attempt.job.attempt == 1
    shore.assert_only(attempt)


def test_a_line_that_falls_silent_is_given_up_in_time(shore: Shore) -> None:
    shore.proxy.slow(SLOW)
    with running_worker(shore.field.place):
        job_id = shore.field.ask()
        shore.wait_upload()
        started = time.monotonic()
        with deaf(shore):
            shore.proxy.slow(None)
            attempt = shore.field.wait_end(job_id, 150)
        assert time.monotonic() - started < unhurried(150)
        assert error_of(attempt) == "store.timeout"
    shore.assert_nothing_came_of_it()


def test_a_line_that_is_reset_again_and_again_costs_nothing(shore: Shore) -> None:
    shore.proxy.slow(SLOW)
    with running_worker(shore.field.place):
        job_id = shore.field.ask()
        shore.wait_upload()
        for _ in range(3):
            seen = shore.sea.passed_bytes
            shore.sea.reset()
            wait_until(lambda seen=seen: shore.sea.passed_bytes > seen + 500, "another part to arrive")  # type: ignore[misc]
        shore.proxy.slow(None)
        attempt = shore.field.wait_end(job_id)
        assert_proven(attempt)
        assert attempt.job.attempt == 1
        assert "starting over" not in shore.log(job_id)
    shore.assert_only(attempt)


def test_a_slow_line_takes_its_time(shore: Shore) -> None:
    shore.sea.slow_up(3_000_000.0)
    with running_worker(shore.field.place):
        attempt = shore.field.wait_end(shore.field.ask())
    assert_proven(attempt)
    assert attempt.job.attempt == 1
    shore.assert_only(attempt)


# -- while a drill reads it back


def test_a_drill_that_cannot_read_says_so_and_never_that_it_is_proven(shore: Shore) -> None:
    """One snapshot, drilled again and again while its bucket is taken away; each time with a good end afterwards."""
    faults: tuple[tuple[Callable[[Shore], AbstractContextManager[None]], str], ...] = (
        (suspended, "store.denied"),
        (killed, "store.unreachable"),
        (deaf, "store.timeout"),
    )
    with running_worker(shore.field.place):
        taken = shore.field.wait_end(shore.field.ask())
        assert_proven(taken)
        for fault, code in faults:
            shore.sea.slow(CRAWL)
            job_id = shore.field.engine.jobs.drill("shop@latest").id
            shore.field.wait_phase(job_id, "fetch")
            with fault(shore):
                shore.sea.slow(None)
                attempt = shore.field.wait_end(job_id, 100)
            assert attempt.drill is not None
            assert attempt.drill.verdict is Verdict.COULD_NOT_VERIFY
            assert attempt.drill.failures[0].code in (code, "store.io"), attempt.drill.failures
            assert attempt.job.error is not None
            assert (attempt.job.error.code, attempt.job.error.exit_status) == ("drill.fetch", 71)
            assert attempt.job.error.hint
        again = shore.field.wait_end(shore.field.engine.jobs.drill("shop@latest").id)
        assert_proven(again)
    shore.assert_only(taken)


@pytest.mark.parametrize("loss", ["hung", "cut", "slow"])
def test_a_drill_whose_reading_is_disturbed_goes_on(shore: Shore, loss: str) -> None:
    with running_worker(shore.field.place):
        assert_proven(shore.field.wait_end(shore.field.ask()))
        shore.sea.slow(CRAWL)
        job_id = shore.field.engine.jobs.drill("shop@latest").id
        shore.field.wait_phase(job_id, "fetch")
        if loss == "hung":
            with hung(shore):
                seen = shore.sea.passed_bytes
                shore.sea.slow(None)
                wait_until(lambda: shore.sea.passed_bytes > seen, "what is on its way to arrive")
        elif loss == "cut":
            shore.sea.cut()
        attempt = shore.field.wait_end(job_id)
    assert_proven(attempt)


# -- afterwards


class Tomorrow(SystemClock):
    """The clock of a day from now."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=25)


def test_a_worker_that_starts_sweeps_what_is_ours_and_a_day_old(shore: Shore) -> None:
    client, engine = shore.ceph.client(), shore.field.engine
    for key in ("p/v1/conn/00000001-aa.odb", "p/notes", "other/v1/x"):
        begun = client.create_multipart_upload(Bucket=shore.bucket, Key=key)
        client.upload_part(Bucket=shore.bucket, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=b"12345")
    theirs = {"upload p/notes", "upload other/v1/x"}
    ours = {"upload p/v1/conn/00000001-aa.odb"}

    def start(clock: SystemClock) -> None:
        Janitor(
            engine.catalog, clock, engine.paths, lambda _: None, engine.open_storage, engine.scratch.sweep
        ).start_up()

    with suspended(shore):
        start(Tomorrow())
    assert shore.content() == ours | theirs
    start(Tomorrow())
    wait_until(lambda: shore.content() == theirs, "the sweep")


def test_an_object_that_a_failed_job_could_not_take_away_is_taken_by_the_next_worker(field: Field, ceph: Ceph) -> None:
    """The artifact is whole at the bucket, its manifest is refused, and so is every attempt to clean up."""
    fill(field)
    bucket = ceph.bucket()
    with AnsweringProxy(ceph.http_port) as line:
        spec = BucketSpec(bucket=bucket, provider="ceph", endpoint=line.endpoint, prefix="p")
        field.engine.destinations.add_bucket("off", spec, BucketKeys(ceph.key))
        field.engine.connections.add("shop", "off", field.url)
        denied = Answer(403, "AccessDenied", always=True)
        line.answer(lambda method, path: method == "PUT" and ".manifest.json" in path, denied)
        line.answer(lambda method, path: method == "DELETE", denied)
        with working(field):
            attempt = field.checkpoint()
        assert error_of(attempt) == "store.denied"
        assert "while cleaning up" in " ".join(text for _, _, text in field.engine.jobs.log(attempt.job.id))
        (left,) = ceph.content(bucket)
        assert left.endswith(".odb")
        line.honest()
        with running_worker(field.place):
            wait_until(lambda: ceph.content(bucket) == set(), "the object to be taken away")
    assert all(a.snapshot is None for a in field.engine.ledger.entries())
