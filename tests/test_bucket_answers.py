"""A real bucket behind a line that loses answers, and providers that answer otherwise than Ceph. Needs Ceph."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, StoreError
from engine.storage.base import StorageTest
from engine.storage.retry import RetryingStorage
from engine.storage.s3.address import bucket_address
from engine.storage.s3.backend import BucketStorage
from engine.storage.s3.parts import LEAST_PART_BYTES
from engine.storage.s3.profiles import PROFILES, Profile
from tests.contract.backends import content, upload
from tests.contract.test_storage_contract import refused
from tests.fixtures.answering import Answer, AnsweringProxy
from tests.fixtures.ceph import Ceph
from tests.fixtures.installation import wait_until

pytestmark = pytest.mark.slow
KEY = "v1/conn/00000001-aa.odb"
DATA = random.Random(5).randbytes(2 * LEAST_PART_BYTES + 4321)
TOMORROW = timedelta(hours=25)


@pytest.fixture
def bucket(ceph: Ceph) -> str:
    return ceph.bucket()


@pytest.fixture
def proxy(ceph: Ceph) -> Iterator[AnsweringProxy]:
    with AnsweringProxy(ceph.http_port) as made:
        yield made


def through(ceph: Ceph, proxy: AnsweringProxy, bucket: str, *, profile: Profile | None = None) -> BucketStorage:
    """The bucket behind the proxy, as one of this provider."""
    address = bucket_address(provider="ceph", bucket=bucket, endpoint=proxy.endpoint, prefix="p")
    return BucketStorage(replace(address, profile=profile or address.profile), ceph.key)


def completes(method: str, path: str) -> bool:
    return method == "POST" and "uploadId=" in path


def begins(method: str, path: str) -> bool:
    return method == "POST" and path.endswith("?uploads")


def sends_part(method: str, path: str) -> bool:
    return method == "PUT" and "partNumber=2" in path


def puts(method: str, path: str) -> bool:
    return method == "PUT" and "uploadId=" not in path


@pytest.mark.parametrize("provider", ["ceph", "s3", "wasabi"])
@pytest.mark.parametrize("asks", [completes, begins, sends_part])
def test_an_answer_that_is_lost_is_no_second_object_and_no_false_error(
    ceph: Ceph, proxy: AnsweringProxy, bucket: str, asks: object, provider: str
) -> None:
    """With and without conditional writes: the object is looked at before the call is made again."""
    assert callable(asks)
    profile = replace(PROFILES[provider], path_style=True)
    storage = RetryingStorage(through(ceph, proxy, bucket, profile=profile), cancel=CancelToken())
    proxy.lose(asks)
    upload(storage, KEY, DATA)
    assert proxy.lost == 1
    assert content(storage, KEY) == DATA
    storage.sweep(now=datetime.now(UTC) + TOMORROW)  # of an upload whose beginning was never answered nobody knows
    assert ceph.content(bucket) == {f"p/{KEY}"}


def test_a_small_object_whose_answer_is_lost_is_there_once(ceph: Ceph, proxy: AnsweringProxy, bucket: str) -> None:
    storage = through(ceph, proxy, bucket)
    proxy.lose(puts)
    assert storage.put("v1/m.json", b"manifest").size_bytes == 8
    with refused("store.exists"):
        storage.put("v1/m.json", b"manifest")
    assert proxy.lost == 1


def test_an_object_of_somebody_else_is_not_taken_for_ours(ceph: Ceph, proxy: AnsweringProxy, bucket: str) -> None:
    """The answer is lost, and what lies there then is another object: that is said, and it stays as it is."""
    storage = through(ceph, proxy, bucket)
    ceph.client().put_object(Bucket=bucket, Key="p/v1/m.json", Body=b"theirs..")
    proxy.lose(puts)
    with refused("store.exists"):
        storage.put("v1/m.json", b"manifest")
    assert content(storage, "v1/m.json") == b"theirs.."


def test_an_upload_that_is_cancelled_while_it_begins_leaves_nothing(
    ceph: Ceph, proxy: AnsweringProxy, bucket: str
) -> None:
    """The provider has begun it and nobody waits for the answer any more: who gets it ends it."""
    storage, cancel = through(ceph, proxy, bucket), CancelToken()

    def cancels(method: str, path: str) -> bool:
        if begins(method, path):
            cancel.cancel()
        return False

    proxy.lose(cancels)
    with pytest.raises(Cancelled):
        storage.begin_upload(KEY, expected_bytes=len(DATA), cancel=cancel)
    wait_until(lambda: ceph.content(bucket) == set(), "the upload to be taken back", 10)


# -- what other providers answer


def failed(tested: StorageTest) -> StoreError:
    """The first failure of a round trip."""
    error = next(step.error for step in tested.steps if step.error is not None)
    assert isinstance(error, StoreError)
    return error


@pytest.mark.parametrize(
    "answer",
    [
        Answer(301, "PermanentRedirect", {"x-amz-bucket-region": "eu-west-3"}, always=True),
        Answer(301, "PermanentRedirect", more="<Endpoint>b.s3.eu-west-3.amazonaws.com</Endpoint>", always=True),
        Answer(400, "AuthorizationHeaderMalformed", more="<Region>eu-west-3</Region>", always=True),
    ],
    ids=["301 with the region", "301 without", "400"],
)
def test_another_region_is_named(ceph: Ceph, proxy: AnsweringProxy, bucket: str, answer: Answer) -> None:
    """Amazon's answers to a request in the wrong region, word for word."""
    proxy.answer(lambda *_: True, answer)
    error = failed(through(ceph, proxy, bucket).test(CancelToken()))
    assert error.code == "store.region"
    assert "--region" in error.hint
    if "Endpoint" not in answer.more:
        assert "`--region eu-west-3`" in error.hint


def test_a_provider_without_conditional_writes_is_asked_once(ceph: Ceph, proxy: AnsweringProxy, bucket: str) -> None:
    """501 to `If-None-Match`: from then on the object is looked for before it is written."""
    storage = through(ceph, proxy, bucket)
    proxy.answer(puts, Answer(501, "NotImplemented"))
    storage.put("v1/one", b"1")
    with refused("store.exists"):
        storage.put("v1/one", b"2")
    assert content(storage, "v1/one") == b"1"


def test_a_provider_that_slows_us_down_is_waited_for(ceph: Ceph, proxy: AnsweringProxy, bucket: str) -> None:
    storage = through(ceph, proxy, bucket)
    proxy.answer(sends_part, Answer(503, "SlowDown"))
    proxy.answer(completes, Answer(500, "InternalError"))
    upload(storage, KEY, DATA)
    assert content(storage, KEY) == DATA


def test_a_bucket_that_asks_for_content_md5_gets_it(ceph: Ceph, proxy: AnsweringProxy, bucket: str) -> None:
    """Object Lock: Amazon wants it with every part then."""
    storage = through(ceph, proxy, bucket)
    proxy.answer(
        sends_part, Answer(400, "InvalidRequest", more="<Message>Content-MD5 HTTP header is required</Message>")
    )
    upload(storage, KEY, DATA)
    assert content(storage, KEY) == DATA


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wrong_clock_is_told(ceph: Ceph, bucket: str, hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real request, signed at another hour, and what the server says of it."""
    import botocore.auth

    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda: datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=hours)
    )
    storage = ceph.storage(bucket)
    error = failed(storage.test(CancelToken()))
    assert error.code == "store.clock"
    assert "clock" in error.hint
    with refused("store.clock"):
        storage.stat("v1/x")
