"""Writing what must be written exactly once over a line that loses answers.

A request whose answer was lost may have been carried out. So before a write is repeated, and when a repetition is told
that the object is there already, the object is looked at: if it is ours the write has succeeded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from engine.cancel import CancelToken
from engine.errors import StoreError
from engine.storage.retry import Patience, RetryPolicy, insist
from engine.storage.s3.bucket import Body, Bucket, Head

T = TypeVar("T")

SENDING = RetryPolicy(attempts=4, first_s=0.5, cap_s=8.0)
"""For a part or a small object: what a provider that is slowing us down needs, and no more than a minute or two."""


@dataclass(slots=True)
class Habits:
    """What was learned about the bucket while it was used, and the uploads of this process that are alive."""

    declare_md5: bool = False
    conditional: bool = True
    alive: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


def put_object(
    bucket: Bucket,
    full: str,
    body: Callable[[], Body],
    *,
    md5: bytes,
    size_bytes: int,
    habits: Habits,
    replace: bool,
    cancel: CancelToken,
) -> Head:
    """Write an object in one call and look at it. Raises StoreError ``store.exists`` unless ``replace``."""

    def write(*, conditional: bool) -> None:
        def put(declare_md5: bool) -> None:
            bucket.put(full, body(), md5=md5, absent=conditional, declare_md5=declare_md5)

        declaring_md5(habits, put)

    return write_once(
        bucket,
        full,
        write,
        lambda found: found.size_bytes == size_bytes and found.etag in (md5.hex(), ""),
        habits=habits,
        conditional=bucket.address.profile.conditional_put and not replace,
        replace=replace,
        cancel=cancel,
    )


def write_once(
    bucket: Bucket,
    full: str,
    write: Callable[..., None],
    is_ours: Callable[[Head], bool],
    *,
    habits: Habits,
    conditional: bool,
    replace: bool,
    cancel: CancelToken,
) -> Head:
    """Run ``write(conditional=…)`` until it is known to have happened once; what lies there then. Raises StoreError."""
    patience = Patience(SENDING, cancel)
    doubtful = False
    while True:
        cancel.check()
        try:
            if not (replace or (conditional and habits.conditional) or doubtful):
                _refuse_existing(bucket, full)
            write(conditional=conditional and habits.conditional)
        except StoreError as error:
            if conditional and habits.conditional and error.context.get("s3_code") == "NotImplemented":
                habits.conditional = False
                continue
            found = _look(bucket, full) if doubtful or error.retry else None
            if found is not None and is_ours(found):
                return found
            if not error.retry and doubtful and found is not None:
                raise _exists(full) from error
            patience.bear(error)
            doubtful = True
        else:
            return insist(lambda: bucket.head(full), SENDING, cancel)


def declaring_md5(habits: Habits, send: Callable[[bool], T]) -> T:
    """``send(declare_md5)``: with Content-MD5 from the first time on that the bucket asks for it (Object Lock)."""
    declared = habits.declare_md5
    try:
        return send(declared)
    except StoreError as e:
        wanted = e.context.get("s3_code") == "MissingContentMD5" or "Content-MD5" in e.message
        if declared or not wanted:
            raise
    habits.declare_md5 = True
    return send(True)


def _look(bucket: Bucket, full: str) -> Head | None:
    """What lies there; None when nothing does, or when that cannot be seen now."""
    try:
        return bucket.head(full)
    except StoreError:
        return None


def _refuse_existing(bucket: Bucket, full: str) -> None:
    try:
        bucket.head(full)
    except StoreError as e:
        if e.code == "store.missing":
            return
        raise
    raise _exists(full)


def _exists(full: str) -> StoreError:
    return StoreError("store.exists", f"an object {full} is there already", context={"key": full})
