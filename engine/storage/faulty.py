"""A destination that fails on command, around any other: for tests, and for drills of the failure paths themselves.

Faults are values: which call, the how-manieth, on which keys, and what happens then. The room invents nothing: without
a fault that fits, every call goes through as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engine.cancel import CancelToken
from engine.errors import OffsiteError, StoreError
from engine.storage.base import (
    CHUNK_BYTES,
    Buffer,
    Erased,
    Held,
    ObjectInfo,
    Storage,
    StorageTest,
    TestStep,
    Unfinished,
    Upload,
    sweep_unfinished,
)

_AGAIN_S = 3600.0
"""Waiting in slices: a token's wait needs some number."""


class Call(StrEnum):
    BEGIN = "begin"
    WRITE = "write"
    COMMIT = "commit"
    ABORT = "abort"
    PUT = "put"
    STAT = "stat"
    READ = "read"
    DELETE = "delete"
    LIST = "list"


class Effect(StrEnum):
    FAIL = "fail"
    """Raise ``error``; a read gives ``at_bytes`` first."""
    HANG = "hang"
    """Wait until the token is cancelled, then raise its error; a read gives ``at_bytes`` first."""
    DAMAGE = "damage"
    """Read only: flip the lowest bit of byte ``at_bytes`` of what is read."""
    CUT = "cut"
    """Read only: end after ``at_bytes`` as if that were all."""
    LOSE = "lose"
    """Commit only: commit, say so, and remove the object."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``nth`` counts the calls that fit, from 1 on; None hits each of them."""

    call: Call
    effect: Effect
    nth: int | None = 1
    at_bytes: int = 0
    key_suffix: str = ""
    error: OffsiteError | None = None

    def __post_init__(self) -> None:
        only_on = {Effect.DAMAGE: Call.READ, Effect.CUT: Call.READ, Effect.LOSE: Call.COMMIT}
        if only_on.get(self.effect, self.call) is not self.call:
            raise ValueError(f"{self.effect} does not fit {self.call}")
        if self.effect is Effect.HANG and self.call not in (Call.BEGIN, Call.WRITE, Call.COMMIT, Call.READ):
            raise ValueError(f"{self.call} has no token to hang on")

    def raise_error(self, key: str) -> None:
        raise self.error or StoreError("store.io", f"injected fault: {self.call} of {key}")


class FaultySchedule:
    """Counts calls and says which fault is due. Shared by the uploads of one destination; safe across threads."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._lock = threading.Lock()
        self._faults = tuple(faults)
        self._seen = [0] * len(self._faults)

    def due(self, call: Call, key: str) -> Fault | None:
        with self._lock:
            found = None
            for i, fault in enumerate(self._faults):
                if fault.call is call and key.endswith(fault.key_suffix):
                    self._seen[i] += 1
                    if found is None and fault.nth in (None, self._seen[i]):
                        found = fault
            return found

    def strike(self, call: Call, key: str, cancel: CancelToken | None = None) -> Fault | None:
        """Fail or hang if that is due; any other fault that is due is for the caller to carry out."""
        fault = self.due(call, key)
        if fault is not None and fault.effect is Effect.FAIL:
            fault.raise_error(key)
        if fault is not None and fault.effect is Effect.HANG:
            assert cancel is not None
            hang(cancel)
        return fault


def hang(cancel: CancelToken) -> None:
    """Wait for the token and raise its error."""
    while not cancel.wait(_AGAIN_S):
        pass
    cancel.check()


class FaultyStorage:
    """``inner`` with ``faults``."""

    def __init__(self, inner: Storage, faults: Sequence[Fault] = ()) -> None:
        self._inner = inner
        self._schedule = FaultySchedule(faults)

    def describe(self) -> str:
        return self._inner.describe()

    def begin_upload(self, key: str, *, expected_bytes: int, cancel: CancelToken) -> Upload:
        self._schedule.strike(Call.BEGIN, key, cancel)
        upload = self._inner.begin_upload(key, expected_bytes=expected_bytes, cancel=cancel)
        return _FaultyUpload(upload, self._inner, self._schedule, cancel)

    def put(self, key: str, data: bytes, *, replace: bool = False) -> ObjectInfo:
        self._schedule.strike(Call.PUT, key)
        return self._inner.put(key, data, replace=replace)

    def stat(self, key: str) -> ObjectInfo:
        self._schedule.strike(Call.STAT, key)
        return self._inner.stat(key)

    def read(
        self,
        key: str,
        *,
        cancel: CancelToken,
        offset: int = 0,
        length: int | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> Iterator[bytes]:
        fault = self._schedule.due(Call.READ, key)
        blocks = self._inner.read(key, cancel=cancel, offset=offset, length=length, chunk_bytes=chunk_bytes)
        if fault is None:
            yield from blocks
        elif fault.effect is Effect.DAMAGE:
            yield from _damaged(blocks, fault.at_bytes)
        else:
            yield from _first(blocks, fault.at_bytes)
            if fault.effect is Effect.FAIL:
                fault.raise_error(key)
            if fault.effect is Effect.HANG:
                hang(cancel)

    def delete(self, key: str) -> bool:
        self._schedule.strike(Call.DELETE, key)
        return self._inner.delete(key)

    def erase(self, key: str) -> Erased:
        self._schedule.strike(Call.DELETE, key)
        return self._inner.erase(key)

    def held(self, key: str) -> Held | None:
        return self._inner.held(key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self._schedule.strike(Call.LIST, prefix)
        yield from self._inner.list(prefix)

    def list_unfinished(self) -> Iterator[Unfinished]:
        return self._inner.list_unfinished()

    def abort_unfinished(self, unfinished_id: str) -> bool:
        return self._inner.abort_unfinished(unfinished_id)

    def sweep(self, *, now: datetime | None = None) -> tuple[Unfinished, ...]:
        return sweep_unfinished(self, now=now)

    def test(self, cancel: CancelToken, said: Callable[[TestStep], None] | None = None) -> StorageTest:
        return self._inner.test(cancel, said)


class _FaultyUpload(Upload):
    def __init__(self, inner: Upload, storage: Storage, schedule: FaultySchedule, cancel: CancelToken) -> None:
        self._inner = inner
        self._storage = storage
        self._schedule = schedule
        self._cancel = cancel

    @property
    def key(self) -> str:
        return self._inner.key

    def write(self, data: Buffer) -> None:
        self._schedule.strike(Call.WRITE, self.key, self._cancel)
        self._inner.write(data)

    def commit(self) -> ObjectInfo:
        fault = self._schedule.strike(Call.COMMIT, self.key, self._cancel)
        info = self._inner.commit()
        if fault is not None and fault.effect is Effect.LOSE:
            self._storage.delete(self.key)
        return info

    def abort(self) -> None:
        self._schedule.strike(Call.ABORT, self.key)
        self._inner.abort()


def _damaged(blocks: Iterator[bytes], at_bytes: int) -> Iterator[bytes]:
    begin = 0
    for block in blocks:
        at = at_bytes - begin
        begin += len(block)
        if 0 <= at < len(block):
            yield block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :]
        else:
            yield block


def _first(blocks: Iterator[bytes], count: int) -> Iterator[bytes]:
    for block in blocks:
        if count <= 0:
            return
        yield block[:count]
        count -= len(block)
