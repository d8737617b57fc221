"""Destinations behind one contract: what a backend promises, in prose, and the protocols that say it in types.

The room moves bytes and knows nothing of artifacts, keys or schedules. It refuses keys that leave the destination, it
never overwrites an object unless it is told to, and it never shows an object that is not whole.

Keys. Relative, ``/``-separated, UTF-8: see :func:`validate_key`. Nobody gives a key that is the directory part of
another key: a folder refuses it (``store.exists``), a bucket could hold both. Segments that
begin with ``.partial-`` and the root name ``OFFSITEDB-DESTINATION`` belong to the backends.

Objects. An object is written once and does not change; only ``put(replace=True)`` exchanges one, whole and at once.
``modified_at`` is the destination's clock, good for people and ages, not for order.

Uploads. ``begin_upload`` → ``write`` … → ``commit`` or ``abort``, all from one thread.
  * Before ``commit`` returns nothing is seen at the key: ``stat``, ``read`` and ``list`` do not know of it.
  * When ``commit`` returns the object is whole, durable and as long as what was written (``store.size-mismatch``
    otherwise, and then the object is taken away again, where that is allowed). Of several uploads to one key exactly
    one commits, the others get ``store.exists``; ``begin_upload`` may say so early. At the very same moment that holds
    only where the destination has conditional writes: a folder has, providers of buckets differ.
  * ``commit`` that raised leaves nothing at the key, or, where the answer was lost, a whole object: ask ``stat``.
  * ``abort`` leaves nothing, is idempotent, is a no-op after ``commit``, and works when the token has been cancelled.
  * Leaving the ``with`` block without ``commit`` aborts; a failing abort becomes a note on the error that led to it.
  * ``expected_bytes`` is a guess that a backend may use to choose its (equal) parts. More may come.
  * ``write`` copies what it keeps: the caller may reuse the buffer.
  * What a killed process leaves is invisible, listed by ``list_unfinished`` and removed by ``abort_unfinished`` or by
    ``sweep``. A backend never lists what it knows to be alive, and says of the rest whether it knows it to be dead;
    where it cannot tell, a day of age must (``SWEEP_AGE_S``).

Reads. ``read`` gives the bytes of one version of the object, in order, in blocks of at most ``chunk_bytes``. A range is
cut at the object's end; an offset at or behind the end gives nothing. Errors come when the iterator is advanced. An
iterator that ends has given the whole range, else it raises ``store.io``.

Idempotent, so that a retry is safe: ``begin_upload``, ``stat``, ``read``, ``list``, ``delete``, ``erase``, ``held``,
``put(replace=True)``, ``abort``, ``list_unfinished``, ``abort_unfinished``, ``sweep``. Not: ``write``, ``commit``,
``put(replace=False)``, ``test``.

Visibility. After ``commit``, ``put`` and ``delete`` this process sees the effect in ``stat``, ``read`` and ``list``.
``list`` gives committed objects only, sorted by the UTF-8 bytes of the key, and survives objects that come and go
meanwhile. ``delete`` answers True only when the object was there and is gone now.

Erasing. ``erase`` is for what shall be gone for good: it removes every version that the destination lets it remove and
says what is true afterwards, looked at anew. It never lifts a lock. Of a destination that keeps versions and does not
let them be removed the newest is marked as deleted, and that is said. ``held`` tells of a lock beforehand.

Errors are :class:`~engine.errors.StoreError` (``store.*``) and the token's own error. ``retry`` on an error says that
the same call may succeed by itself.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from engine.cancel import CancelToken
from engine.errors import OffsiteError, StoreError, add_cleanup_note

Buffer: TypeAlias = bytes | bytearray | memoryview

CHUNK_BYTES = 1 << 20
SWEEP_AGE_S = 24 * 3600.0
"""No upload takes a day: what is older and not known to be alive is rubbish."""
MAX_KEY_BYTES = 1024
"""The limit of S3 (UTF-8 bytes)."""
MAX_SEGMENT_BYTES = 255
"""NAME_MAX of every common filesystem."""
PARTIAL_PREFIX = ".partial-"
MARKER = "OFFSITEDB-DESTINATION"

_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, invisible format characters (bidi, zero width), lone surrogates, line and paragraph separators."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A committed object."""

    key: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that keeps an object: ``governance`` or ``compliance`` until a date, or a ``legal hold`` without one."""

    mode: str
    until: datetime | None


class Erasure(StrEnum):
    """What is true of an object after :meth:`Storage.erase`."""

    DELETED = "deleted"
    MARKED = "marked"
    """Nobody sees it any more, and the destination still keeps an old version."""
    LOCKED = "locked"
    """It is there as before."""
    MISSING = "missing"
    """There was none."""


@dataclass(frozen=True, slots=True)
class Erased:
    """``versions`` that were removed; ``held`` by what, where it is locked."""

    result: Erasure
    versions: tuple[str, ...] = ()
    detail: str = ""
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What an upload left that nobody finished. ``beneath`` is the key, or the part of its beginning that is known;
    ``dead`` whether the destination knows that its process is gone, rather than not knowing that it lives."""

    id: str
    beneath: str
    dead: bool
    size_bytes: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class TestStep:
    """One step of :meth:`Storage.test`; ``ok`` is None for a step that was not reached."""

    __test__ = False

    name: str
    ok: bool | None
    detail: str
    error: OffsiteError | None = None
    info: bool = False
    """The step says something that is worth knowing and that nothing depends on."""


@dataclass(frozen=True, slots=True)
class StorageTest:
    """A real round trip at the destination, step by step."""

    steps: tuple[TestStep, ...]

    @property
    def ok(self) -> bool:
        return all(step.ok for step in self.steps)


class Upload(Protocol):
    """One object on its way. Backends inherit from it for the ``with`` block."""

    @property
    def key(self) -> str: ...

    def write(self, data: Buffer) -> None:
        """Append ``data``. Raises StoreError, or the token's error."""
        ...

    def commit(self) -> ObjectInfo:
        """Make the object visible and durable. Raises StoreError (``store.exists``, ``store.size-mismatch``, …)."""
        ...

    def abort(self) -> None:
        """Leave nothing. Idempotent; a no-op after commit."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.abort()
        except OffsiteError as failure:
            if error is None:
                raise
            add_cleanup_note(error, f"upload of {self.key}", failure)


class Storage(Protocol):
    """A destination. The module's docstring is the contract; every backend passes ``tests/contract``."""

    def begin_upload(self, key: str, *, expected_bytes: int, cancel: CancelToken) -> Upload:
        """Begin an object of about ``expected_bytes``. Raises StoreError."""
        ...

    def put(self, key: str, data: bytes, *, replace: bool = False) -> ObjectInfo:
        """Write a small object whole and at once. Raises StoreError (``store.exists`` unless ``replace``)."""
        ...

    def stat(self, key: str) -> ObjectInfo:
        """Raises StoreError (``store.missing``)."""
        ...

    def read(
        self,
        key: str,
        *,
        cancel: CancelToken,
        offset: int = 0,
        length: int | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> Iterator[bytes]:
        """``length`` bytes from ``offset`` on (default: to the end). Raises StoreError while it is advanced."""
        ...

    def delete(self, key: str) -> bool:
        """Remove the object; False if there was none. Raises StoreError."""
        ...

    def erase(self, key: str) -> Erased:
        """Remove the object for good, as far as that can be. Raises StoreError (``store.denied``, …)."""
        ...

    def held(self, key: str) -> Held | None:
        """What keeps the object from being deleted, as far as the destination tells; None also for no object.

        A lock that has run out may still be told. Raises StoreError.
        """
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects whose key begins with ``prefix`` (any text, also half a segment), sorted. Raises StoreError."""
        ...

    def list_unfinished(self) -> Iterator[Unfinished]:
        """Uploads that somebody began and nobody will finish, as far as the backend can tell. Raises StoreError."""
        ...

    def abort_unfinished(self, unfinished_id: str) -> bool:
        """Remove what such an upload left; False if it is gone or alive after all. Raises StoreError."""
        ...

    def sweep(self, *, now: datetime | None = None) -> tuple[Unfinished, ...]:
        """:func:`sweep_unfinished` with its defaults; what was removed. Raises StoreError."""
        ...

    def test(self, cancel: CancelToken, said: Callable[[TestStep], None] | None = None) -> StorageTest:
        """Upload, commit, stat, read a range, list and delete for real. Raises only the token's error.

        ``said`` hears of every step as soon as it is done.
        """
        ...

    def describe(self) -> str:
        """One line for people, without secrets."""
        ...


def sweep_unfinished(
    storage: Storage,
    *,
    now: datetime | None = None,
    older_than_s: float = SWEEP_AGE_S,
    keep: Callable[[Unfinished], bool] = lambda _: False,
) -> tuple[Unfinished, ...]:
    """Remove what unfinished uploads left: of the dead all, of the doubtful what is over ``older_than_s`` seconds old.

    What ``keep`` says yes to stays. Returns what was removed. Raises StoreError.
    """
    at = now or datetime.now(UTC)
    removed = []
    for found in tuple(storage.list_unfinished()):
        due = found.dead or (at - found.started_at).total_seconds() >= older_than_s
        if due and not keep(found) and storage.abort_unfinished(found.id):
            removed.append(found)
    return tuple(removed)


def validate_key(key: str) -> tuple[str, ...]:
    """The segments of ``key``. Raises StoreError ``store.bad-key`` for everything that is not a key of the contract."""
    try:
        encoded = key.encode()
    except UnicodeEncodeError as e:
        raise _bad_key(key, "it is not valid Unicode") from e
    if not key:
        raise _bad_key(key, "it is empty")
    if len(encoded) > MAX_KEY_BYTES:
        raise _bad_key(key, f"it is longer than {MAX_KEY_BYTES} bytes")
    segments = tuple(key.split("/"))
    for segment in segments:
        if segment in ("", ".", ".."):
            raise _bad_key(key, "it has an empty, '.' or '..' segment")
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            raise _bad_key(key, f"a segment is longer than {MAX_SEGMENT_BYTES} bytes")
        if segment.startswith(PARTIAL_PREFIX):
            raise _bad_key(key, f"segments that begin with {PARTIAL_PREFIX} are reserved")
    if segments[0] == MARKER:
        raise _bad_key(key, f"{MARKER} is reserved")
    if "\\" in key:
        raise _bad_key(key, "it has a backslash")
    if any(unicodedata.category(c) in _REFUSED_CATEGORIES for c in key):
        raise _bad_key(key, "it has a control or invisible character")
    return segments


def is_key(key: str) -> bool:
    """Whether :func:`validate_key` lets ``key`` pass: what is not a key is not ours and is not listed."""
    try:
        validate_key(key)
    except StoreError:
        return False
    return True


def _bad_key(key: str, why: str) -> StoreError:
    shown = ascii(key if len(key) <= 80 else key[:80] + "…")
    return StoreError("store.bad-key", f"the object key {shown} cannot be used: {why}", context={"key": shown})
