"""Checkpoints into a real bucket over https with a private CA: proven, unreadable from outside; what faults leave."""

from __future__ import annotations

import threading

import pytest

from engine.model import JobState, Verdict
from engine.model.views import Attempt
from tests.fixtures.fire import working
from tests.fixtures.installation import running_worker
from tests.fixtures.shore import CANARIES, SLOW, Shore

pytestmark = pytest.mark.slow


def error_of(attempt: Attempt) -> str:
    assert attempt.snapshot is None
    assert attempt.job.error is not None
    assert attempt.job.error.hint
    return attempt.job.error.code


def test_a_checkpoint_into_a_bucket_is_proven_and_tells_nothing(shore: Shore) -> None:
    attempt = shore.ask_here()
    assert attempt.drill is not None
    assert attempt.drill.verdict is Verdict.PROVEN, attempt.drill.failures
    assert attempt.snapshot is not None
    key = attempt.snapshot.object_key
    assert shore.content() == {f"p/{key}", f"p/{key.removesuffix('.odb')}.manifest.json"}
    assert attempt.snapshot.location == f"s3://{shore.bucket}/p/{key}"
    client = shore.ceph.client()
    head = client.head_object(Bucket=shore.bucket, Key=f"p/{key}")
    assert int(head["ETag"].strip('"').rpartition("-")[2]) >= 2, "the artifact should have several parts"
    needles = [*CANARIES, shore.field.url, shore.ceph.key.secret_access_key, "incompressible"]
    assert len(needles) == 50
    everything = shore.ceph.content(shore.bucket, kit=True)
    assert len(everything) == 2 + 5, "artifact, manifest and the recovery kit"
    for name in everything:
        body = client.get_object(Bucket=shore.bucket, Key=name)["Body"].read()
        assert [needle for needle in needles if needle.encode() in body] == []
    for path in shore.field.place.home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert shore.ceph.key.secret_access_key.encode() not in data, path
            assert shore.ceph.key.access_key_id.encode() not in data, path
    verified = shore.field.engine.snapshots.verify("shop@latest")
    assert verified.artifact_sha256 == attempt.snapshot.artifact_sha256


def test_what_a_killed_worker_was_uploading_is_taken_back_by_the_next(shore: Shore) -> None:
    shore.proxy.slow(SLOW)
    with running_worker(shore.field.place) as worker:
        job_id = shore.field.ask()
        shore.wait_upload()
        worker.kill()
        worker.wait()
    (orphan,) = shore.content()
    shore.proxy.slow(None)
    with running_worker(shore.field.place):
        attempt = shore.field.wait_end(job_id)
    assert attempt.job.state is JobState.SUCCEEDED, attempt.job.error
    assert attempt.job.attempt == 2
    assert orphan not in shore.content()
    assert len(shore.content()) == 2


def test_a_suspended_user_is_denied(shore: Shore) -> None:
    shore.ceph.admin("user", "suspend", "--uid=owner")
    try:
        assert error_of(shore.ask_here()) == "store.denied"
    finally:
        shore.ceph.admin("user", "enable", "--uid=owner")
    shore.assert_nothing_came_of_it()


def test_a_quota_is_full(shore: Shore) -> None:
    shore.ceph.admin("quota", "set", "--uid=owner", "--quota-scope=bucket", f"--bucket={shore.bucket}", "--max-size=4M")
    shore.ceph.admin("quota", "enable", "--uid=owner", "--quota-scope=bucket", f"--bucket={shore.bucket}")
    try:
        assert error_of(shore.ask_here()) == "store.full"
    finally:
        shore.ceph.admin("quota", "disable", "--uid=owner", "--quota-scope=bucket", f"--bucket={shore.bucket}")
    shore.assert_nothing_came_of_it()


@pytest.mark.parametrize("shore", ["direct"], indirect=True)
def test_a_gateway_that_dies_in_the_middle(shore: Shore) -> None:
    shore.proxy.slow(SLOW)
    with working(shore.field):
        job_id = shore.field.ask()
        runner = threading.Thread(target=shore.field.engine.worker.run, args=(job_id,))
        runner.start()
        shore.wait_upload()
        shore.ceph.kill_gateway()
        try:
            shore.proxy.slow(None)
            runner.join(60)
            assert not runner.is_alive()
        finally:
            shore.ceph.start_gateway()
        assert error_of(shore.field.engine.ledger.of_job(job_id)) == "store.unreachable"
    shore.assert_nothing_came_of_it()
