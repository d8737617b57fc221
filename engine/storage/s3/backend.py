"""The contract of a destination, kept by a bucket.

A bucket is no tree: a key may be the beginning of another one here. Where the provider knows no conditional writes two
that write one key at the same moment may both be told that they did; keys of artifacts are random, so nobody does.
Deleting is done under the prune credential where there is one. ``delete`` leaves old versions that a bucket keeps to
it; ``erase`` removes them where it may.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace as changed
from datetime import datetime
from pathlib import Path

from engine.cancel import CancelToken
from engine.errors import Internal, StoreError
from engine.model import BucketKey
from engine.storage import trial
from engine.storage.base import (
    CHUNK_BYTES,
    Erased,
    Held,
    ObjectInfo,
    StorageTest,
    TestStep,
    Unfinished,
    Upload,
    is_key,
    sweep_unfinished,
    validate_key,
)
from engine.storage.s3.address import BucketAddress, Timeouts
from engine.storage.s3.bucket import Bucket, Head
from engine.storage.s3.download import fetch
from engine.storage.s3.erase import erase_object, look_up_lock
from engine.storage.s3.once import Habits, put_object
from engine.storage.s3.parts import md5_of, part_bytes_for
from engine.storage.s3.upload import BucketUpload

_OURS = "v1/"
"""Every upload in parts is of an artifact, beneath here: what others began in the same bucket is left alone."""

_habits: dict[tuple[str, str], Habits] = {}
_habits_lock = threading.Lock()


class BucketStorage:
    """The bucket and prefix of ``address`` as a destination. Opens nothing before the first call."""

    def __init__(
        self,
        address: BucketAddress,
        key: BucketKey,
        *,
        prune_key: BucketKey | None = None,
        timeouts: Timeouts | None = None,
        spool: Path | None = None,
    ) -> None:
        times = timeouts or Timeouts()
        self._address = address
        self._bucket = Bucket(address, key, times)
        self._prune = None if prune_key is None else Bucket(address, prune_key, times)
        self._spool = spool
        self._keeps_versions = False
        with _habits_lock:
            self._habits = _habits.setdefault((address.endpoint, address.bucket), Habits())

    def describe(self) -> str:
        return f"{self._address} at {self._address.endpoint}"

    def make_ready(self) -> None:
        """Get ready for the first call, in a thread beside."""
        self._bucket.make_ready()

    def begin_upload(self, key: str, *, expected_bytes: int, cancel: CancelToken) -> Upload:
        validate_key(key)
        cancel.check()
        part_bytes = part_bytes_for(expected_bytes, self._address.profile)
        upload = BucketUpload(
            self._bucket,
            key,
            self._address.full(key),
            part_bytes=part_bytes,
            cancel=cancel,
            habits=self._habits,
            spool=self._spool,
        )
        if expected_bytes > part_bytes:
            upload.begin()
        return upload

    def put(self, key: str, data: bytes, *, replace: bool = False) -> ObjectInfo:
        validate_key(key)
        found = put_object(
            self._bucket,
            self._address.full(key),
            lambda: data,
            md5=md5_of(data),
            size_bytes=len(data),
            habits=self._habits,
            replace=replace,
            cancel=CancelToken(),
        )
        if found.size_bytes != len(data):
            raise StoreError(
                "store.size-mismatch", f"{key} is {found.size_bytes} bytes long at the destination, not {len(data)}"
            )
        return self._info(found)

    def stat(self, key: str) -> ObjectInfo:
        validate_key(key)
        return self._info(self._bucket.head(self._address.full(key)))

    def read(
        self,
        key: str,
        *,
        cancel: CancelToken,
        offset: int = 0,
        length: int | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> Iterator[bytes]:
        if offset < 0 or chunk_bytes < 1 or (length is not None and length < 0):
            raise Internal("internal.error", f"read of {key} with offset {offset}, length {length}")
        validate_key(key)
        cancel.check()
        found = self._bucket.head(self._address.full(key))
        end = found.size_bytes if length is None else min(found.size_bytes, offset + length)
        if offset < end:
            yield from fetch(self._bucket, found, start=offset, end=end, chunk_bytes=chunk_bytes, cancel=cancel)

    def delete(self, key: str) -> bool:
        validate_key(key)
        full = self._address.full(key)
        if not self._is_there(full):
            return False
        self._keeps_versions = (self._prune or self._bucket).delete(full) or self._keeps_versions
        if self._is_there(full):
            raise StoreError("store.io", f"{key} is still there after it was deleted", retry=True)
        return True

    def erase(self, key: str) -> Erased:
        validate_key(key)
        return erase_object(self._bucket, self._prune or self._bucket, self._address.full(key))

    def held(self, key: str) -> Held | None:
        validate_key(key)
        try:
            return look_up_lock(self._bucket, self._prune or self._bucket, self._address.full(key))
        except StoreError as e:
            if e.code == "store.missing":
                return None
            raise

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for found in self._bucket.list(self._address.full(prefix)):
            if is_key(self._address.relative(found.key)):
                yield self._info(found)

    def list_unfinished(self) -> Iterator[Unfinished]:
        for begun in self._bucket.unfinished(self._address.full(_OURS)):
            key = self._address.relative(begun.key)
            if is_key(key) and not self._is_alive(begun.upload_id):
                size_bytes = self._sent_bytes(begun.key, begun.upload_id)
                yield Unfinished(f"{begun.upload_id} {key}", key, False, size_bytes, begun.begun_at)

    def abort_unfinished(self, unfinished_id: str) -> bool:
        upload_id, _, key = unfinished_id.partition(" ")
        validate_key(key)
        if not key.startswith(_OURS) or not upload_id:
            raise StoreError("store.bad-key", f"{unfinished_id!r} is no unfinished upload")
        return not self._is_alive(upload_id) and self._bucket.abort(self._address.full(key), upload_id)

    def sweep(self, *, now: datetime | None = None) -> tuple[Unfinished, ...]:
        return sweep_unfinished(self, now=now)

    def test(self, cancel: CancelToken, said: Callable[[TestStep], None] | None = None) -> StorageTest:
        """As the contract says. A key that may not delete is a good worker's key: without a prune credential that is
        information and no failure."""
        done = trial.round_trip(
            self,
            cancel,
            piece_bytes=part_bytes_for(0, self._address.profile),
            must_delete=self._prune is not None,
            said=said,
        )
        if not self._keeps_versions:
            return done
        note = "the bucket keeps old versions: what is deleted costs until a lifecycle rule expires them"
        return changed(done, steps=(*done.steps, TestStep("versions", True, note, info=True)))

    def _info(self, found: Head) -> ObjectInfo:
        return ObjectInfo(self._address.relative(found.key), found.size_bytes, found.modified_at)

    def _is_there(self, full: str) -> bool:
        try:
            self._bucket.head(full)
        except StoreError as e:
            if e.code == "store.missing":
                return False
            raise
        return True

    def _is_alive(self, upload_id: str) -> bool:
        with self._habits.lock:
            return upload_id in self._habits.alive

    def _sent_bytes(self, full: str, upload_id: str) -> int:
        """How much lies there; 0 where that may not be seen, or it is gone by now: it is only told, not acted on."""
        try:
            return self._bucket.sent_bytes(full, upload_id)
        except StoreError as e:
            if e.code in ("store.denied", "store.missing"):
                return 0
            raise
