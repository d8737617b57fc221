"""The round trip that ``destination test`` makes: every right a snapshot or a drill needs, tried for real.

It writes one small object in two parts, reads a piece of it back and takes it away. It touches nothing else, and it
reports a failure instead of raising it, so that the operator sees which right is missing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.cancel import CancelToken
from engine.errors import OffsiteError, StoreError
from engine.storage.base import ObjectInfo, StorageTest, TestStep, Upload

if TYPE_CHECKING:
    from engine.storage.base import Storage

_PART = bytes(range(256)) * 256  # 64 KiB, so that an offset says which byte must be there
_SIZE_BYTES = 2 * len(_PART)


def round_trip(storage: Storage, cancel: CancelToken) -> StorageTest:
    """Try every step once; after the first failure only the deletion. Raises only the token's error."""
    key = f"v1/test-{secrets.token_hex(8)}"
    upload: list[Upload] = []
    steps: list[TestStep] = []

    def begin() -> None:
        upload.append(storage.begin_upload(key, expected_bytes=_SIZE_BYTES, cancel=cancel))
        upload[0].write(_PART)
        upload[0].write(_PART)

    plan: tuple[tuple[str, Callable[[], None]], ...] = (
        ("upload", begin),
        ("commit", lambda: _expect_size(upload[0].commit())),
        ("stat", lambda: _expect_size(storage.stat(key))),
        ("read a range", lambda: _expect_range(storage, key, cancel)),
        ("list", lambda: _expect_listed(storage, key)),
        ("delete", lambda: _expect_deleted(storage, key)),
    )
    failed = False
    for name, step in plan:
        cleaning = name == "delete" and len(steps) > 1 and steps[1].ok
        if failed and not cleaning:
            steps.append(TestStep(name, None, "not reached"))
            continue
        started = time.monotonic()
        error = _try(step, cancel)
        failed = failed or error is not None
        took = f"{(time.monotonic() - started) * 1000:.0f} ms"
        steps.append(TestStep(name, error is None, took if error is None else error.message, error))
    for begun in upload:
        _try(begun.abort, cancel)  # its failure would repeat the one of upload or commit
    cancel.check()
    return StorageTest(tuple(steps))


def _try(step: Callable[[], None], cancel: CancelToken) -> OffsiteError | None:
    try:
        step()
    except StoreError as error:
        return error
    except OffsiteError as error:
        if cancel.cancelled:
            return error  # raised at the end, when nothing is left behind
        raise
    return None


def _expect_size(info: ObjectInfo) -> None:
    if info.size_bytes != _SIZE_BYTES:
        raise StoreError("store.size-mismatch", f"{info.size_bytes} bytes are there, {_SIZE_BYTES} were written")


def _expect_range(storage: Storage, key: str, cancel: CancelToken) -> None:
    offset = len(_PART) - 100
    piece = b"".join(storage.read(key, offset=offset, length=200, cancel=cancel))
    if piece != (_PART + _PART)[offset : offset + 200]:
        raise StoreError("store.io", "the bytes that came back are not the ones that were written")


def _expect_listed(storage: Storage, key: str) -> None:
    if [info.key for info in storage.list(key)] != [key]:
        raise StoreError("store.io", "the object that was written is not in the list")


def _expect_deleted(storage: Storage, key: str) -> None:
    if not storage.delete(key):
        raise StoreError("store.missing", "the object was gone before it was deleted")
