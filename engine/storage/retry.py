"""Retries around any destination, for the calls that the contract calls idempotent and errors that say ``retry``.

``write``, ``commit``, ``put(replace=False)`` and ``test`` go through untouched: repeating them could write bytes twice
or take a lost answer for somebody else's object. ``read`` and ``list`` go on where they broke off. Waits are bounded,
jittered, and end at once when the job is cancelled.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias, TypeVar

from engine.cancel import CancelToken
from engine.errors import OffsiteError, StoreError
from engine.storage.base import (
    CHUNK_BYTES,
    Buffer,
    Erased,
    Erasure,
    Held,
    ObjectInfo,
    Storage,
    StorageTest,
    TestStep,
    Unfinished,
    Upload,
    sweep_unfinished,
)

T = TypeVar("T")
Waiter: TypeAlias = Callable[[CancelToken, float], object]
"""Waits so many seconds, or until the token is cancelled."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Up to ``attempts`` tries; before try n+1 a wait between half and all of ``first_s · 2^(n-1)``, at most ``cap_s``.

    Five tries within eight seconds ride out a hiccup of a NAS; what lasts longer is a job's retry, not a call's.
    """

    attempts: int = 5
    first_s: float = 0.5
    cap_s: float = 30.0
    within_s: float = 90.0
    """No further try begins so long after the first: a destination that hangs costs each try its whole timeout."""

    def delay_s(self, failures: int, spread: float) -> float:
        """The wait after so many failures in a row; ``spread`` in [0, 1) is the jitter."""
        full: float = min(self.cap_s, self.first_s * 2.0 ** (failures - 1))
        return full * (0.5 + spread / 2)


class Patience:
    """Counts the failures of one piece of work and waits after each; says when it is enough."""

    def __init__(
        self,
        policy: RetryPolicy,
        cancel: CancelToken,
        wait: Waiter = CancelToken.wait,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy
        self._cancel = cancel
        self._wait = wait
        self._spread = spread
        self.failures = 0
        self._since = time.monotonic()

    def progress(self) -> None:
        """Something succeeded: what fails from now on is another failure."""
        self.failures = 0
        self._since = time.monotonic()

    def bear(self, error: OffsiteError) -> None:
        """Wait before the next try, or raise ``error`` when there is to be none."""
        self.failures += 1
        late = time.monotonic() - self._since >= self._policy.within_s
        if not error.retry or late or self.failures >= self._policy.attempts or self._cancel.cancelled:
            raise error
        self._wait(self._cancel, self._policy.delay_s(self.failures, self._spread()))
        if self._cancel.cancelled:
            raise error


def insist(
    call: Callable[[], T],
    policy: RetryPolicy,
    cancel: CancelToken,
    wait: Waiter = CancelToken.wait,
    spread: Callable[[], float] = random.random,
) -> T:
    """What ``call`` gives, tried again after errors that say ``retry``. Raises the last StoreError."""
    patience = Patience(policy, cancel, wait, spread)
    while True:
        try:
            return call()
        except StoreError as error:
            patience.bear(error)


class RetryingStorage:
    """``inner`` with retries. ``cancel`` ends the waits of calls that take no token of their own."""

    def __init__(
        self,
        inner: Storage,
        *,
        cancel: CancelToken,
        policy: RetryPolicy | None = None,
        wait: Waiter = CancelToken.wait,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._inner = inner
        self._cancel = cancel
        self._policy = policy or RetryPolicy()
        self._wait = wait
        self._spread = spread
        self._given_up = False
        """The last call failed in spite of all patience: until one succeeds or an upload begins, each is made once.
        Whoever cleans up after a destination that has gone must not wait for it all over again."""

    def describe(self) -> str:
        return self._inner.describe()

    def begin_upload(self, key: str, *, expected_bytes: int, cancel: CancelToken) -> Upload:
        def begin() -> Upload:
            return self._inner.begin_upload(key, expected_bytes=expected_bytes, cancel=cancel)

        self._given_up = False
        return _PatientUpload(self._try(begin, cancel), self)

    def put(self, key: str, data: bytes, *, replace: bool = False) -> ObjectInfo:
        if not replace:
            return self._inner.put(key, data)
        return self._try(lambda: self._inner.put(key, data, replace=True))

    def stat(self, key: str) -> ObjectInfo:
        return self._try(lambda: self._inner.stat(key))

    def read(
        self,
        key: str,
        *,
        cancel: CancelToken,
        offset: int = 0,
        length: int | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> Iterator[bytes]:
        """As the contract says; after a failure it goes on behind the last byte, if the object is still the same."""
        first = self._try(lambda: self._inner.stat(key), cancel)
        patience = self._patience(cancel)
        given = 0
        while True:
            rest = None if length is None else length - given
            try:
                if patience.failures:
                    self._expect_same(first)
                for block in self._inner.read(
                    key, cancel=cancel, offset=offset + given, length=rest, chunk_bytes=chunk_bytes
                ):
                    given += len(block)
                    yield block
                    patience.progress()  # after it was taken: the time that the taker needs is not ours
            except StoreError as error:
                patience.bear(error)
            else:
                return

    def _expect_same(self, first: ObjectInfo) -> None:
        if self._inner.stat(first.key) != first:
            raise StoreError("store.io", f"the object {first.key} was exchanged while it was read")

    def delete(self, key: str) -> bool:
        """As the contract says, but True also when a try whose answer was lost may have been the one that deleted."""
        tries = 0

        def delete() -> bool:
            nonlocal tries
            tries += 1
            return self._inner.delete(key)

        return self._try(delete) or tries > 1

    def erase(self, key: str) -> Erased:
        """As the contract says; after a try whose answer was lost an object that is gone counts as deleted."""
        tries = 0

        def erase() -> Erased:
            nonlocal tries
            tries += 1
            return self._inner.erase(key)

        erased = self._try(erase)
        if erased.result is Erasure.MISSING and tries > 1:
            return replace(erased, result=Erasure.DELETED)
        return erased

    def held(self, key: str) -> Held | None:
        return self._try(lambda: self._inner.held(key))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        patience = self._patience(self._cancel)
        last = b""
        while True:
            try:
                for info in self._inner.list(prefix):
                    if info.key.encode() > last:
                        last = info.key.encode()
                        yield info
                        patience.progress()
            except StoreError as error:
                patience.bear(error)
            else:
                return

    def list_unfinished(self) -> Iterator[Unfinished]:
        yield from self._try(lambda: tuple(self._inner.list_unfinished()))

    def abort_unfinished(self, unfinished_id: str) -> bool:
        return self._try(lambda: self._inner.abort_unfinished(unfinished_id))

    def sweep(self, *, now: datetime | None = None) -> tuple[Unfinished, ...]:
        return sweep_unfinished(self, now=now)

    def test(self, cancel: CancelToken, said: Callable[[TestStep], None] | None = None) -> StorageTest:
        return self._inner.test(cancel, said)

    def try_abort(self, upload: Upload) -> None:
        """Abort ``upload``, with retries unless the job is being cancelled."""
        self._try(upload.abort)

    def _try(self, call: Callable[[], T], cancel: CancelToken | None = None) -> T:
        policy = replace(self._policy, attempts=1) if self._given_up else self._policy
        with self.noticing():
            return insist(call, policy, cancel or self._cancel, self._wait, self._spread)

    @contextmanager
    def noticing(self) -> Iterator[None]:
        """What becomes of the block says whether it is worth while to be patient."""
        try:
            yield
        except StoreError as e:
            self._given_up = e.retry
            raise
        self._given_up = False

    def _patience(self, cancel: CancelToken) -> Patience:
        return Patience(self._policy, cancel, self._wait, self._spread)


class _PatientUpload(Upload):
    def __init__(self, inner: Upload, storage: RetryingStorage) -> None:
        self._inner = inner
        self._storage = storage

    @property
    def key(self) -> str:
        return self._inner.key

    def write(self, data: Buffer) -> None:
        with self._storage.noticing():
            self._inner.write(data)

    def commit(self) -> ObjectInfo:
        with self._storage.noticing():
            return self._inner.commit()

    def abort(self) -> None:
        self._storage.try_abort(self._inner)
