"""Removing an object of a bucket for good: every version where that is allowed, and what is true afterwards.

Versions are listed and removed under the prune credential where there is one. A lock is found by being refused and then
looked up: the provider's own clock decides, and no lock is ever lifted or bypassed.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import StoreError
from engine.storage.base import Erased, Erasure, Held
from engine.storage.s3.bucket import Bucket, Lock, Version

_UNVERSIONED = "null"
_STAYS = "a delete marker was set; the old version stays until the bucket's lifecycle expires it"


def erase_object(reader: Bucket, pruner: Bucket, key: str) -> Erased:
    """Remove the object ``key`` (whole, prefix included) as far as that can be. Raises StoreError."""
    found = _versions(reader, pruner, key)
    if found is None:
        return _plainly(reader, pruner, key)
    objects = [v for v in found if not v.marker]
    if not objects:
        return Erased(Erasure.MISSING)
    if all(v.id == _UNVERSIONED for v in objects) and not pruner.delete(key):
        _expect_gone(reader, key)
        return Erased(Erasure.DELETED)
    return _by_version(reader, pruner, key, objects)


def look_up_lock(reader: Bucket, pruner: Bucket, key: str, version: str | None = None) -> Held | None:
    """What holds an object or a version of it. A key that may not see locks sees none. Raises StoreError."""
    for bucket in dict.fromkeys((pruner, reader)):
        try:
            return _held(bucket.lock(key, version))
        except StoreError as e:
            if e.code != "store.denied":
                raise
    return _held(reader.lock_of_head(key))


def _by_version(reader: Bucket, pruner: Bucket, key: str, objects: Sequence[Version]) -> Erased:
    gone: list[str] = []
    for version in objects:
        try:
            pruner.delete_version(key, version.id)
        except StoreError as e:
            if e.code != "store.denied":
                raise
            held = look_up_lock(reader, pruner, key, version.id)
            if held is not None:
                return Erased(Erasure.LOCKED, tuple(gone), "", held)
            pruner.delete(key)
            _expect_gone(reader, key)
            return Erased(Erasure.MARKED, tuple(gone), f"the key may not remove versions: {_STAYS}")
        gone.append(version.id)
    left = _versions(reader, pruner, key) or ()
    if any(not v.marker for v in left):
        raise StoreError("store.io", f"{key} is still there after it was deleted", retry=True)
    for marker in left:  # notes of an earlier deletion that hide nothing any more
        pruner.delete_version(key, marker.id)
    return Erased(Erasure.DELETED, tuple(gone))


def _plainly(reader: Bucket, pruner: Bucket, key: str) -> Erased:
    """Where versions cannot be listed: the object itself, and whether the bucket says that it keeps one."""
    if not _is_there(reader, key):
        return Erased(Erasure.MISSING)
    marked = pruner.delete(key)
    _expect_gone(reader, key)
    return Erased(Erasure.MARKED, (), f"the key may not list versions: {_STAYS}") if marked else Erased(Erasure.DELETED)


def _versions(reader: Bucket, pruner: Bucket, key: str) -> tuple[Version, ...] | None:
    """None where neither key may list them, or the provider has none."""
    for bucket in dict.fromkeys((pruner, reader)):
        try:
            return bucket.versions(key)
        except StoreError as e:
            unknown = e.code == "store.io" and not e.retry and e.context.get("status") in (400, 405, 501)
            if e.code != "store.denied" and not unknown:
                raise
    return None


def _is_there(bucket: Bucket, key: str) -> bool:
    try:
        bucket.head(key)
    except StoreError as e:
        if e.code == "store.missing":
            return False
        raise
    return True


def _expect_gone(bucket: Bucket, key: str) -> None:
    if _is_there(bucket, key):
        raise StoreError("store.io", f"{key} is still there after it was deleted", retry=True)


def _held(lock: Lock) -> Held | None:
    if lock.legal_hold:
        return Held("legal hold", None)
    return Held(lock.mode, lock.until) if lock.until is not None else None
