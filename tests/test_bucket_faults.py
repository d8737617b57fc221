"""A real bucket when things go wrong: rights, hung servers, bad networks, settings of the bucket. Needs Ceph."""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, StoreError
from engine.model import BucketKey
from engine.storage.base import Storage
from engine.storage.retry import RetryingStorage
from engine.storage.s3.address import Timeouts
from engine.storage.s3.backend import BucketStorage
from engine.storage.s3.parts import LEAST_PART_BYTES
from engine.storage.s3.policy import prune_policy, worker_policy
from tests.contract.backends import content, upload
from tests.contract.test_storage_contract import refused
from tests.fixtures.ceph import Ceph
from tests.fixtures.installation import unhurried, wait_until

pytestmark = pytest.mark.slow
IMPATIENT = Timeouts(connect_s=2, read_s=1)
SEVERAL_PARTS = 3 * LEAST_PART_BYTES + 12_345
TOMORROW = timedelta(hours=25)


@pytest.fixture
def bucket(ceph: Ceph) -> str:
    return ceph.bucket()


@pytest.fixture(scope="module")
def data() -> bytes:
    return random.Random(3).randbytes(SEVERAL_PARTS)


def send(storage: Storage, key: str, data: bytes, cancel: CancelToken | None = None) -> None:
    """Upload in the odd pieces that a pipeline writes."""
    with storage.begin_upload(key, expected_bytes=len(data), cancel=cancel or CancelToken()) as begun:
        for at in range(0, len(data), 65_600):
            begun.write(memoryview(data)[at : at + 65_600])
        begun.commit()


def test_several_parts_are_equal_and_come_back(ceph: Ceph, bucket: str, data: bytes) -> None:
    storage = ceph.storage(bucket)
    send(storage, "v1/a/several", data)
    head = ceph.client().head_object(Bucket=bucket, Key="p/v1/a/several", PartNumber=1)
    etag = ceph.client().head_object(Bucket=bucket, Key="p/v1/a/several")["ETag"].strip('"')
    parts = [data[at : at + LEAST_PART_BYTES] for at in range(0, len(data), LEAST_PART_BYTES)]
    assert etag == f"{hashlib.md5(b''.join(hashlib.md5(p).digest() for p in parts)).hexdigest()}-{len(parts)}"
    assert head["ResponseMetadata"]["HTTPStatusCode"] in (200, 206)
    assert content(storage, "v1/a/several") == data
    middle = b"".join(storage.read("v1/a/several", offset=LEAST_PART_BYTES - 5, length=10, cancel=CancelToken()))
    assert middle == data[LEAST_PART_BYTES - 5 : LEAST_PART_BYTES + 5]
    assert storage.sweep(now=datetime.now(UTC) + TOMORROW) == ()


def test_an_upload_that_outgrows_its_parts_is_ended(ceph: Ceph, bucket: str) -> None:
    """A thousand parts would take long to fill: the same with a profile that allows two."""
    address = ceph.address(bucket)
    narrow = replace(address, profile=replace(address.profile, max_parts=2))
    storage = BucketStorage(narrow, ceph.key)
    with storage.begin_upload("v1/too-long", expected_bytes=0, cancel=CancelToken()) as begun:
        begun.write(bytes(2 * LEAST_PART_BYTES))
        with refused("store.part-limit"):
            begun.write(bytes(LEAST_PART_BYTES + 1))
    assert ceph.content(bucket) == set()


# -- rights


@pytest.fixture(scope="module")
def people(ceph: Ceph) -> dict[str, BucketKey]:
    """A worker and a pruner who own nothing."""
    return {name: ceph.user(f"{name}-{secrets.token_hex(3)}") for name in ("worker", "pruner")}


def grant(ceph: Ceph, bucket: str, people: dict[str, BucketKey], *, leave_out: str | None = None) -> None:
    """Attach the printed policies to the bucket, for worker and pruner, without one of the actions."""
    address = ceph.address(bucket)
    statements = []
    for name, text in (("worker", worker_policy(address)), ("pruner", prune_policy(address))):
        uid = ceph.admin("user", "info", f"--access-key={people[name].access_key_id}")["user_id"]
        statements += json.loads(text.replace("user/USER", f"user/{uid}"))["Statement"]
    if leave_out is not None:  # denied, not left out: on Ceph who wrote an object may read it without any policy
        statements += [{**statement, "Effect": "Deny", "Action": [leave_out]} for statement in statements]
        statements = [{**s, "Condition": {}} if s["Effect"] == "Deny" else s for s in statements]
    document = {"Version": "2012-10-17", "Statement": statements}
    ceph.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))


def test_the_printed_policy_is_enough_and_a_worker_cannot_delete(
    ceph: Ceph, bucket: str, people: dict[str, BucketKey], data: bytes
) -> None:
    grant(ceph, bucket, people)
    storage = BucketStorage(ceph.address(bucket), people["worker"])
    tested = storage.test(CancelToken())
    assert tested.ok, tested.steps
    assert [step.name for step in tested.steps if step.info] == ["delete"]
    assert "may not delete" in tested.steps[-1].detail
    send(storage, "v1/a/kept", data)
    with refused("store.missing"):
        storage.stat("v1/a/absent")
    assert storage.delete("v1/a/absent") is False
    with pytest.raises(StoreError) as caught:
        storage.delete("v1/a/kept")
    assert caught.value.code == "store.denied"
    assert '"s3:DeleteObject"' in caught.value.hint
    assert content(storage, "v1/a/kept") == data
    with pytest.raises(StoreError) as outside:
        list(BucketStorage(ceph.address(bucket, prefix="other"), people["worker"]).list())
    assert outside.value.code == "store.denied"


def test_the_prune_credential_deletes_and_nothing_else(ceph: Ceph, bucket: str, people: dict[str, BucketKey]) -> None:
    grant(ceph, bucket, people)
    address = ceph.address(bucket)
    storage = BucketStorage(address, people["worker"], prune_key=people["pruner"])
    tested = storage.test(CancelToken())
    assert tested.ok, tested.steps
    assert not any(step.info for step in tested.steps)
    assert ceph.content(bucket) == set()
    with refused("store.denied"):
        BucketStorage(address, people["pruner"]).put("v1/x", b"x")


@pytest.mark.parametrize(
    ("action", "step"),
    [
        ("s3:PutObject", "take back"),
        ("s3:AbortMultipartUpload", "take back"),
        ("s3:ListBucketMultipartUploads", "take back"),
        ("s3:GetObject", "commit"),
        ("s3:ListBucket", "commit"),
    ],
)
def test_each_missing_right_is_named_with_its_statement(
    ceph: Ceph, bucket: str, people: dict[str, BucketKey], action: str, step: str
) -> None:
    grant(ceph, bucket, people, leave_out=action)
    tested = BucketStorage(ceph.address(bucket), people["worker"]).test(CancelToken())
    failed = next(found for found in tested.steps if not found.ok)
    assert failed.name == step, tested.steps
    assert failed.error is not None
    assert failed.error.code == "store.denied"
    assert f'"{action}"' in failed.error.hint
    assert f"{bucket}" in failed.error.hint


# -- servers and networks that fail


def test_a_hung_server_is_a_timeout_within_its_limits(ceph: Ceph, bucket: str, data: bytes) -> None:
    storage = ceph.storage(bucket, timeouts=IMPATIENT)
    begun = storage.begin_upload("v1/hung", expected_bytes=len(data), cancel=CancelToken())

    def go_on() -> None:
        with begun:
            begun.write(data)
            begun.commit()

    started = time.monotonic()
    with ceph.frozen_disk(), pytest.raises(StoreError) as caught:
        go_on()
    assert caught.value.code == "store.timeout", f"{caught.value}: {caught.value.__cause__!r}"
    assert time.monotonic() - started < unhurried(25)
    patient = ceph.storage(bucket)
    with refused("store.missing"):
        patient.stat("v1/hung")
    wait_until(lambda: patient.sweep(now=datetime.now(UTC) + TOMORROW) == (), "the sweep to find nothing more")
    assert ceph.content(bucket) == set()


def test_a_cancelled_upload_does_not_wait_for_a_hung_server(ceph: Ceph, bucket: str, data: bytes) -> None:
    cancel = CancelToken()
    begun = ceph.storage(bucket).begin_upload("v1/hung", expected_bytes=len(data), cancel=cancel)
    with ceph.frozen_disk():
        threading.Timer(0.5, cancel.cancel).start()
        started = time.monotonic()
        with pytest.raises(Cancelled):
            begun.write(data * 3)
        assert time.monotonic() - started < unhurried(2)
    begun.abort()
    assert ceph.content(bucket) == set()


def test_a_cut_line_costs_an_upload_nothing(ceph: Ceph, bucket: str, data: bytes) -> None:
    with ceph.proxy() as (proxy, endpoint):
        storage = ceph.storage(bucket, endpoint=endpoint)
        with storage.begin_upload("v1/cut", expected_bytes=len(data), cancel=CancelToken()) as begun:
            begun.write(data[: LEAST_PART_BYTES + 1])
            for at in range(LEAST_PART_BYTES + 1, len(data), LEAST_PART_BYTES):
                proxy.cut()
                begun.write(data[at : at + LEAST_PART_BYTES])
            proxy.cut()
            begun.commit()
    assert content(ceph.storage(bucket), "v1/cut") == data
    assert ceph.content(bucket) == {"p/v1/cut"}


def test_a_cut_line_costs_a_download_nothing(ceph: Ceph, bucket: str, data: bytes) -> None:
    send(ceph.storage(bucket), "v1/cut", data)
    with ceph.proxy() as (proxy, endpoint):
        storage = RetryingStorage(ceph.storage(bucket, endpoint=endpoint), cancel=CancelToken())
        got = b""
        for n, block in enumerate(storage.read("v1/cut", cancel=CancelToken(), chunk_bytes=1 << 20)):
            got += block
            if n in (3, 11, 19):
                proxy.cut()
    assert got == data


def test_a_deaf_line_is_a_timeout(ceph: Ceph, bucket: str) -> None:
    with ceph.proxy() as (proxy, endpoint):
        storage = ceph.storage(bucket, endpoint=endpoint, timeouts=IMPATIENT)
        storage.put("v1/x", b"x")
        proxy.stop()
        started = time.monotonic()
        with refused("store.timeout"):
            storage.stat("v1/x")
        assert time.monotonic() - started < unhurried(10)


def test_a_download_that_is_cancelled_or_left_ends_at_once(ceph: Ceph, bucket: str, data: bytes) -> None:
    storage = ceph.storage(bucket)
    send(storage, "v1/left", data)
    cancel = CancelToken()
    reading = storage.read("v1/left", cancel=cancel, chunk_bytes=1000)
    assert next(reading) == data[:1000]
    with ceph.frozen_disk():
        cancel.cancel()
        started = time.monotonic()
        with pytest.raises(Cancelled):
            next(reading)
        assert time.monotonic() - started < unhurried(2)
    leaving = iter(storage.read("v1/left", cancel=CancelToken()))
    next(leaving)
    assert isinstance(leaving, Iterator)


# -- the bucket's own habits


def test_what_others_began_in_the_bucket_is_left_alone(ceph: Ceph, bucket: str) -> None:
    client = ceph.client()
    for key in ("elsewhere/v1/x", "p/notes", "px/v1/x"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    ours = client.create_multipart_upload(Bucket=bucket, Key="p/v1/conn/old")
    client.upload_part(Bucket=bucket, Key="p/v1/conn/old", UploadId=ours["UploadId"], PartNumber=1, Body=b"12345")
    storage = ceph.storage(bucket)
    (found,) = storage.list_unfinished()
    assert (found.beneath, found.size_bytes, found.dead) == ("v1/conn/old", 5, False)
    assert storage.sweep() == ()
    assert [left.id for left in storage.sweep(now=datetime.now(UTC) + TOMORROW)] == [found.id]
    assert storage.abort_unfinished(found.id) is False
    assert ceph.content(bucket) == {"upload elsewhere/v1/x", "upload p/notes", "upload px/v1/x"}


def test_a_bucket_that_keeps_versions_is_told(ceph: Ceph, bucket: str) -> None:
    ceph.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    storage = ceph.storage(bucket)
    tested = storage.test(CancelToken())
    assert tested.ok
    assert tested.steps[-1].info
    assert "old versions" in tested.steps[-1].detail
    storage.put("v1/x", b"x")
    assert storage.delete("v1/x") is True
    assert storage.delete("v1/x") is False


def test_an_object_that_is_exchanged_is_not_mixed(ceph: Ceph, bucket: str, data: bytes) -> None:
    storage = ceph.storage(bucket)
    data *= 3  # longer than what is fetched ahead
    send(storage, "v1/one", data)
    reading = storage.read("v1/one", cancel=CancelToken())
    got = next(reading)
    assert storage.delete("v1/one")
    send(storage, "v1/one", os.urandom(len(data)))
    with pytest.raises(StoreError) as caught:
        got += b"".join(reading)
    assert caught.value.code in ("store.io", "store.missing")
    assert data.startswith(got)


def test_a_prefix_is_optional(ceph: Ceph, bucket: str) -> None:
    storage = ceph.storage(bucket, prefix=None)
    upload(storage, "v1/x", b"x")
    assert ceph.content(bucket) == {"v1/x"}
    assert [info.key for info in storage.list()] == ["v1/x"]
    assert storage.test(CancelToken()).ok
