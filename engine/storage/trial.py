"""The round trip that ``destination test`` makes: every right a snapshot or a drill needs, tried for real.

It takes back one upload that was begun, writes one object in two parts, reads a piece of it back and takes it away. It
touches nothing else, and it reports a failure instead of raising it, so that the operator sees which right is missing.
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

_BLOCK = bytes(range(256)) * 256  # 64 KiB, so that an offset says which byte must be there
_TAIL_BYTES = len(_BLOCK)


def round_trip(
    storage: Storage,
    cancel: CancelToken,
    *,
    piece_bytes: int = len(_BLOCK),
    must_delete: bool = True,
    said: Callable[[TestStep], None] | None = None,
) -> StorageTest:
    """Try every step once; after the first failure only the deletion. Raises only the token's error.

    The first of the two parts has ``piece_bytes``, a multiple of 64 KiB. Unless ``must_delete``, a missing right to
    delete is information. ``said`` hears of every step as soon as it is done.
    """
    return _RoundTrip(storage, cancel, piece_bytes, must_delete, said).run()


class _RoundTrip:
    def __init__(
        self,
        storage: Storage,
        cancel: CancelToken,
        piece_bytes: int,
        must_delete: bool,
        said: Callable[[TestStep], None] | None,
    ) -> None:
        self._storage = storage
        self._cancel = cancel
        self._piece_bytes = piece_bytes
        self._must_delete = must_delete
        self._size_bytes = piece_bytes + _TAIL_BYTES
        self._key = f"v1/test-{secrets.token_hex(8)}"
        self._uploads: list[Upload] = []
        self._steps: list[TestStep] = []
        self._said = said

    def run(self) -> StorageTest:
        for name, step in (
            ("take back", self._take_back),
            ("upload", self._upload),
            ("commit", lambda: self._expect_size(self._uploads[-1].commit())),
            ("stat", lambda: self._expect_size(self._storage.stat(self._key))),
            ("read a range", self._read),
            ("list", self._list),
            ("delete", self._delete),
        ):
            self._step(name, step)
            if self._said is not None:
                self._said(self._steps[-1])
        for begun in self._uploads:
            self._try(begun.abort)  # its failure would repeat the one of upload or commit
        self._cancel.check()
        return StorageTest(tuple(self._steps))

    def _step(self, name: str, step: Callable[[], None]) -> None:
        failed = any(not done.ok for done in self._steps)
        committed = any(done.name == "commit" and done.ok for done in self._steps)
        if failed and not (name == "delete" and committed):
            self._steps.append(TestStep(name, None, "not reached"))
            return
        started = time.monotonic()
        error = self._try(step)
        if error is None:
            self._steps.append(TestStep(name, True, f"{(time.monotonic() - started) * 1000:.0f} ms"))
        elif name == "delete" and error.code == "store.denied" and not self._must_delete:
            self._steps.append(
                TestStep(
                    name,
                    True,
                    f"this key may not delete, and a worker need not: pruning will want a prune credential. "
                    f"{self._key} stays; remove it with a key that may",
                    info=True,
                )
            )
        else:
            self._steps.append(TestStep(name, False, error.message, error))

    def _try(self, step: Callable[[], None]) -> OffsiteError | None:
        try:
            step()
        except StoreError as error:
            return error
        except OffsiteError as error:
            if self._cancel.cancelled:
                return error  # raised at the end, when nothing is left behind
            raise
        return None

    def _take_back(self) -> None:
        begun = self._storage.begin_upload(self._key, expected_bytes=self._size_bytes, cancel=self._cancel)
        self._uploads.append(begun)
        begun.abort()
        if any(left.beneath == self._key for left in self._storage.list_unfinished()):
            raise StoreError("store.io", "the upload that was taken back is still there")

    def _upload(self) -> None:
        begun = self._storage.begin_upload(self._key, expected_bytes=self._size_bytes, cancel=self._cancel)
        self._uploads.append(begun)
        for _ in range(self._size_bytes // len(_BLOCK)):
            begun.write(_BLOCK)

    def _expect_size(self, info: ObjectInfo) -> None:
        if info.size_bytes != self._size_bytes:
            raise StoreError(
                "store.size-mismatch", f"{info.size_bytes} bytes are there, {self._size_bytes} were written"
            )

    def _read(self) -> None:
        offset = self._piece_bytes - 100
        piece = b"".join(self._storage.read(self._key, offset=offset, length=200, cancel=self._cancel))
        if piece != (_BLOCK + _BLOCK)[len(_BLOCK) - 100 : len(_BLOCK) + 100]:
            raise StoreError("store.io", "the bytes that came back are not the ones that were written")

    def _list(self) -> None:
        if [info.key for info in self._storage.list(self._key)] != [self._key]:
            raise StoreError("store.io", "the object that was written is not in the list")

    def _delete(self) -> None:
        if not self._storage.delete(self._key):
            raise StoreError("store.missing", "the object was gone before it was deleted")
