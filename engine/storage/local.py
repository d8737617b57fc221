"""A folder as a destination: an external disk, a NAS mount, a second filesystem.

A marker at the root (``OFFSITEDB-DESTINATION``) names the destination. Without it nothing is read or written: when a
disk is not mounted its empty mount point must not be filled instead, and when another disk is mounted there it must not
be taken for ours. Only :func:`prepare_folder` makes a root and its marker; ``destination add`` calls it.

Files are 0600 in directories of 0700. An upload is a file ``.partial-…`` beside its later place, locked with flock
while its process lives, so that a sweep takes only what the dead have left. The room cannot interrupt a system call
that hangs in a dead network mount; it looks at the cancel token between blocks.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from engine.cancel import CancelToken
from engine.errors import ConfigError, Internal, StoreError
from engine.storage import trial
from engine.storage.base import (
    CHUNK_BYTES,
    MARKER,
    PARTIAL_PREFIX,
    Erased,
    Erasure,
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
from engine.storage.partial import Life, LocalUpload, life_of, object_info
from engine.storage.tree import (
    DIRECTORY_MODE,
    READ_FLAGS,
    lstat,
    open_directory,
    refuse_link,
    translating,
    walk,
)

ROOT_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MARKER_LIMIT_BYTES = 1 << 20


def prepare_folder(root: Path, destination_id: str) -> None:
    """Make ``root`` (0700) if it is not there, and write ``destination_id`` into its marker.

    A folder can be the destination of several installations, and of one that lost its catalog: the marker keeps every
    id that was ever prepared. Raises ConfigError for a relative path, StoreError.
    """
    _refuse_relative(root)
    try:
        root.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
    except OSError as e:
        raise StoreError(
            "store.io",
            f"the folder {root} cannot be made: {e.strerror or e}",
            hint="Make it yourself, for the OS user that runs the worker and with mode 0700, or choose another place.",
        ) from e
    with translating(f"folder {root}"):
        root_fd = os.open(root, ROOT_FLAGS)
        try:
            with suppress(OSError):  # no flock here: two who prepare one folder at the same moment is all it orders
                fcntl.flock(root_fd, fcntl.LOCK_EX)
            known = _read_marker(root_fd)
            if destination_id in known:
                return
            text = json.dumps({"v": 1, "destinations": [*known, destination_id]}) + "\n"
            with LocalUpload(MARKER, os.dup(root_fd), MARKER, CancelToken(), replace=True) as upload:
                upload.write(text.encode())
                upload.commit()
        finally:
            os.close(root_fd)


class LocalStorage:
    """The folder ``root`` as the destination ``destination_id``. Opens nothing before the first call.

    ``destination_id`` None: whichever it is, marked or a copy that lost its marker; for reading on an empty machine.
    """

    def __init__(self, root: Path, *, destination_id: str | None) -> None:
        _refuse_relative(root)
        self._path = root
        self._destination_id = destination_id

    def describe(self) -> str:
        return f"folder {self._path}"

    def begin_upload(self, key: str, *, expected_bytes: int, cancel: CancelToken) -> Upload:
        del expected_bytes  # a file needs no parts, and a guess is no reason to refuse
        return self._begin(key, cancel, replace=False)

    def put(self, key: str, data: bytes, *, replace: bool = False) -> ObjectInfo:
        with self._begin(key, CancelToken(), replace=replace) as upload:
            upload.write(data)
            return upload.commit()

    def stat(self, key: str) -> ObjectInfo:
        with self._directory_of(key) as (fd, name), translating(f"object {key}"):
            found = lstat(fd, name)
            if found is None or stat.S_ISDIR(found.st_mode):
                raise _missing(key)
            _refuse_irregular(fd, name, key, found)
            return object_info(key, found)

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
        fd = self._open_object(key)
        try:
            with translating(f"reading {key}"):
                left = max(0, os.fstat(fd).st_size - offset)
                left = left if length is None else min(left, length)
                os.lseek(fd, offset, os.SEEK_SET)
                while left:
                    cancel.check()
                    block = os.read(fd, min(left, chunk_bytes))
                    if not block:
                        raise StoreError("store.io", f"reading {key}: the object became shorter meanwhile", retry=True)
                    left -= len(block)
                    yield block
        finally:
            os.close(fd)

    def delete(self, key: str) -> bool:
        try:
            with self._directory_of(key) as (fd, name), translating(f"deleting {key}"):
                return _unlink(fd, name, key)
        except StoreError as e:
            if e.code == "store.missing":
                return False
            raise

    def erase(self, key: str) -> Erased:
        return Erased(Erasure.DELETED if self.delete(key) else Erasure.MISSING)

    def held(self, key: str) -> Held | None:
        validate_key(key)
        return None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for _, _, path, found in self._walk(prefix):
            if path.startswith(prefix) and is_key(path):
                yield object_info(path, found)

    def list_unfinished(self) -> Iterator[Unfinished]:
        for fd, name, path, found in self._walk():
            if not name.startswith(PARTIAL_PREFIX):
                continue
            with life_of(fd, name) as life:
                pass  # the lock is let go before the caller looks at the upload
            if life is not Life.ALIVE:
                info = object_info(path, found)
                yield Unfinished(path, path[: -len(name)], life is Life.DEAD, info.size_bytes, info.modified_at)

    def sweep(self, *, now: datetime | None = None) -> tuple[Unfinished, ...]:
        return sweep_unfinished(self, now=now)

    def abort_unfinished(self, unfinished_id: str) -> bool:
        *above, name = unfinished_id.split("/")
        if not name.startswith(PARTIAL_PREFIX) or name == PARTIAL_PREFIX:
            raise StoreError("store.bad-key", f"{unfinished_id!r} is no unfinished upload")
        if above:
            validate_key("/".join(above))
        with self._root() as root_fd:
            fd = open_directory(root_fd, above, create=False)
            if fd is None:
                return False
            try:
                with translating(f"removing {unfinished_id}"), life_of(fd, name) as life:
                    if life is Life.ALIVE:
                        return False
                    os.unlink(name, dir_fd=fd)
                    os.fsync(fd)
                    return True
            finally:
                os.close(fd)

    def test(self, cancel: CancelToken, said: Callable[[TestStep], None] | None = None) -> StorageTest:
        return trial.round_trip(self, cancel, said=said)

    @contextmanager
    def _root(self) -> Iterator[int]:
        """A descriptor of the root, after the marker said that it is the right folder."""
        with translating(f"folder {self._path}"):
            try:
                fd = os.open(self._path, ROOT_FLAGS)
            except (FileNotFoundError, NotADirectoryError) as e:
                raise _not_there(f"the folder {self._path} is not there") from e
        try:
            with translating(f"folder {self._path}"):
                found = _read_marker(fd) if self._destination_id is not None else ()
            if self._destination_id is None:
                yield fd
                return
            if not found:
                raise _not_there(f"the folder {self._path} does not hold the file {MARKER}")
            if self._destination_id not in found:
                raise _not_there(f"the folder {self._path} is another destination")
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def _directory_of(self, key: str) -> Iterator[tuple[int, str]]:
        """The open directory that holds ``key``, and the name in it. Raises ``store.missing`` if it is not there."""
        *above, name = validate_key(key)
        with self._root() as root_fd:
            fd = open_directory(root_fd, above, create=False)
        if fd is None:
            raise _missing(key)
        try:
            yield fd, name
        finally:
            os.close(fd)

    def _open_object(self, key: str) -> int:
        with self._directory_of(key) as (fd, name), translating(f"object {key}"):
            try:
                opened = os.open(name, READ_FLAGS, dir_fd=fd)
            except OSError as e:
                refuse_link(fd, name, key)
                if isinstance(e, FileNotFoundError):
                    raise _missing(key) from e
                raise
            found = os.fstat(opened)
            if not stat.S_ISREG(found.st_mode):
                os.close(opened)
                if stat.S_ISDIR(found.st_mode):
                    raise _missing(key)
                _refuse_irregular(fd, name, key, found)
            return opened

    def _begin(self, key: str, cancel: CancelToken, *, replace: bool) -> LocalUpload:
        cancel.check()
        *above, name = validate_key(key)
        with self._root() as root_fd:
            fd = open_directory(root_fd, above, create=True)
        assert fd is not None
        return LocalUpload(key, fd, name, cancel, replace=replace)

    def _walk(self, prefix: str = "") -> Iterator[tuple[int, str, str, os.stat_result]]:
        with self._root() as root_fd, translating(f"listing {self._path}"):
            yield from walk(root_fd, prefix)


def marked_ids(root: Path) -> tuple[str, ...]:
    """The destinations that the folder is marked as; none where it is not marked. Raises ConfigError, StoreError."""
    _refuse_relative(root)
    with translating(f"folder {root}"):
        try:
            fd = os.open(root, ROOT_FLAGS)
        except (FileNotFoundError, NotADirectoryError) as e:
            raise _not_there(f"the folder {root} is not there") from e
        try:
            return _read_marker(fd)
        finally:
            os.close(fd)


def _unlink(fd: int, name: str, key: str) -> bool:
    found = lstat(fd, name)
    if found is None or stat.S_ISDIR(found.st_mode):
        return False
    _refuse_irregular(fd, name, key, found)
    os.unlink(name, dir_fd=fd)
    os.fsync(fd)
    if lstat(fd, name) is not None:  # seen on SMB while another client holds the file open
        raise StoreError("store.io", f"{key} is still there after it was deleted", retry=True)
    return True


def _read_marker(root_fd: int) -> tuple[str, ...]:
    """The ids in the marker; none without a marker. Raises StoreError for a damaged one, OSError."""
    refuse_link(root_fd, MARKER, MARKER)
    try:
        fd = os.open(MARKER, READ_FLAGS, dir_fd=root_fd)
    except FileNotFoundError:
        return ()
    try:
        text = os.read(fd, _MARKER_LIMIT_BYTES)
    finally:
        os.close(fd)
    try:
        found = json.loads(text)["destinations"]
    except (ValueError, TypeError, KeyError) as e:
        raise _damaged_marker() from e
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        raise _damaged_marker()
    return tuple(found)


def _damaged_marker() -> StoreError:
    return StoreError(
        "store.unreachable",
        f"the file {MARKER} of the folder is damaged",
        hint=f"Remove the file {MARKER} and add the folder again with `offsitedb destination add NAME --folder PATH`.",
    )


def _not_there(message: str) -> StoreError:
    return StoreError(
        "store.unreachable",
        message,
        hint="Mount the disk that is the destination; a new folder becomes one with "
        "`offsitedb destination add NAME --folder PATH`.",
    )


def _missing(key: str) -> StoreError:
    return StoreError("store.missing", f"there is no object {key}", context={"key": key})


def _refuse_irregular(fd: int, name: str, key: str, found: os.stat_result) -> None:
    """Raise unless ``found`` is a regular file: links, pipes and devices at a destination are not ours."""
    refuse_link(fd, name, key)
    if not stat.S_ISREG(found.st_mode):
        raise StoreError("store.bad-key", f"{key} is not a regular file", context={"key": key})


def _refuse_relative(root: Path) -> None:
    if not root.is_absolute():
        raise ConfigError(
            "config.invalid", f"the folder {root} is relative", hint="Give the whole path, beginning with a slash."
        )
