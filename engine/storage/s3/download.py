"""An object on its way out of a bucket: ranges fetched side by side, handed out in order, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

from engine.cancel import CancelToken
from engine.errors import StoreError
from engine.storage.retry import RetryPolicy, insist
from engine.storage.s3.bucket import Bucket, Head
from engine.storage.s3.crew import Crew, result_of
from engine.storage.s3.profiles import MIB

RANGE_BYTES = 3 * MIB
READERS = 3
"""Ranges on their way at the same time: with the one that is handed out, four lie in memory."""
FETCHING = RetryPolicy(attempts=2, first_s=0.2, cap_s=1.0)
"""A range that was cut is fetched again at once; what goes on is left to the retries around the destination."""


def fetch(
    bucket: Bucket, found: Head, *, start: int, end: int, chunk_bytes: int, cancel: CancelToken
) -> Iterator[bytes]:
    """The bytes of ``found`` from ``start`` to ``end`` in blocks of at most ``chunk_bytes``. Raises StoreError."""
    spans = _spans(start, end)
    crew = Crew(min(READERS, len(spans)), "download")
    stop = CancelToken()
    coming: deque[Future[bytearray]] = deque()

    def fetch_one(at: int, size_bytes: int) -> bytearray:
        return insist(lambda: bucket.read(found.key, at, size_bytes, found.etag, stop), FETCHING, stop)

    def order() -> None:
        if spans:
            at, size_bytes = spans.popleft()
            coming.append(crew.submit(lambda: fetch_one(at, size_bytes)))

    try:
        for _ in range(READERS):
            order()
        while coming:
            data = _exchanged_or(coming.popleft(), found, cancel)
            order()
            for at in range(0, len(data), chunk_bytes):
                cancel.check()
                yield bytes(memoryview(data)[at : at + chunk_bytes])
    finally:
        stop.cancel()
        crew.close()


def _exchanged_or(future: Future[bytearray], found: Head, cancel: CancelToken) -> bytearray:
    try:
        return result_of(future, cancel)
    except StoreError as e:
        if e.code == "store.exists":  # 412: the version that was asked for is not there any more
            raise StoreError("store.io", f"the object {found.key} was exchanged while it was read") from e
        raise


def _spans(start: int, end: int) -> deque[tuple[int, int]]:
    """Offsets and sizes of the ranges that make up ``start`` to ``end``."""
    return deque((at, min(RANGE_BYTES, end - at)) for at in range(start, end, RANGE_BYTES))
