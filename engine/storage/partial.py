"""Uploads into a folder: a partial file, locked while its process lives, that gets its name when it is whole.

The room never replaces an object that it was not told to replace, and a partial file of a living process is never
taken for rubbish.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import Enum

from engine.cancel import CancelToken
from engine.errors import Internal, StoreError
from engine.storage.base import PARTIAL_PREFIX, Buffer, ObjectInfo, Upload
from engine.storage.tree import (
    CREATE_FLAGS,
    FILE_MODE,
    READ_FLAGS,
    begin_write_back,
    lstat,
    refuse_link,
    translating,
    write_all,
)

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What link(2) says on FAT, exFAT and many network and FUSE filesystems."""


_WRITE_BACK_BYTES = 8 << 20
"""How much is written before the disk is told to begin with it; else all of it waits for the fsync at the end."""

HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
"""Marks the partials of this machine: of a shared folder's other machines no lock may be seen here."""


class LocalUpload(Upload):
    """A partial file on its way to its name. Takes over ``directory_fd``."""

    def __init__(self, key: str, directory_fd: int, name: str, cancel: CancelToken, *, replace: bool) -> None:
        self._key = key
        self._directory_fd = directory_fd
        self._name = name
        self._cancel = cancel
        self._replace = replace
        self._written_bytes = 0
        self._begun_bytes = 0
        self._fd = -1
        self._partial = ""
        try:
            with translating(f"object {key}"):
                self._refuse_existing()
                self._open_partial()
        except BaseException:
            os.close(directory_fd)
            raise

    @property
    def key(self) -> str:
        return self._key

    def write(self, data: Buffer) -> None:
        self._cancel.check()
        self._refuse_over()
        with translating(f"writing {self._key}"):
            self._written_bytes += write_all(self._fd, data)
            if self._written_bytes - self._begun_bytes >= _WRITE_BACK_BYTES:
                begin_write_back(self._fd, self._begun_bytes, self._written_bytes)
                self._begun_bytes = self._written_bytes

    def commit(self) -> ObjectInfo:
        self._cancel.check()
        self._refuse_over()
        with translating(f"finishing {self._key}"):
            os.fsync(self._fd)
            self._publish()
            os.fsync(self._directory_fd)
            found = lstat(self._directory_fd, self._name)
        size_bytes = found.st_size if found is not None else -1
        if found is None or size_bytes != self._written_bytes:
            self._withdraw()
            raise StoreError(
                "store.size-mismatch",
                f"{self._key} has {size_bytes} bytes, but {self._written_bytes} were written",
                context={"key": self._key, "size_bytes": size_bytes, "written_bytes": self._written_bytes},
            )
        self._close()
        return object_info(self._key, found)

    def abort(self) -> None:
        if self._fd < 0:
            return
        try:
            with translating(f"removing the unfinished {self._key}"), suppress(FileNotFoundError):
                os.unlink(self._partial, dir_fd=self._directory_fd)
        finally:
            self._close()

    def _refuse_existing(self) -> None:
        found = lstat(self._directory_fd, self._name)
        if found is None:
            return
        refuse_link(self._directory_fd, self._name, self._key)
        if not self._replace or not stat.S_ISREG(found.st_mode):
            raise _exists(self._key)

    def _open_partial(self) -> None:
        """Make the partial file and lock it. A sweep may win the moment between: then another name is taken."""
        while True:
            name = f"{PARTIAL_PREFIX}{HOST}-{secrets.token_hex(8)}"
            fd = os.open(name, CREATE_FLAGS, FILE_MODE, dir_fd=self._directory_fd)
            try:
                with suppress(OSError):  # no flock on this filesystem: age alone protects the partial from sweeps
                    fcntl.flock(fd, fcntl.LOCK_EX)
                if os.fstat(fd).st_nlink:
                    self._fd, self._partial = fd, name
                    return
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _publish(self) -> None:
        """Give the partial its name, without taking an existing object's place unless told to."""
        here = self._directory_fd
        if self._replace:
            os.rename(self._partial, self._name, src_dir_fd=here, dst_dir_fd=here)
            return
        try:
            os.link(self._partial, self._name, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
        except FileExistsError as e:
            raise _exists(self._key) from e
        except OSError as e:
            if e.errno not in _NO_HARD_LINKS:
                raise
            publish_without_links(here, self._partial, self._name, self._key)
            return
        os.unlink(self._partial, dir_fd=here)

    def _withdraw(self) -> None:
        with suppress(OSError):  # the size mismatch is the error to report
            os.unlink(self._name, dir_fd=self._directory_fd)
        self._close()

    def _refuse_over(self) -> None:
        if self._fd < 0:
            raise Internal("internal.error", f"the upload of {self._key} is over")

    def _close(self) -> None:
        os.close(self._fd)
        os.close(self._directory_fd)
        self._fd = self._directory_fd = -1


def publish_without_links(directory_fd: int, partial: str, name: str, key: str) -> None:
    """Rename ``partial`` to ``name`` where there are no hard links, without replacing: look and rename under one lock.

    The lock on the directory orders all processes of ours; a foreign program that writes the same name in between
    would lose its file. Raises StoreError ``store.exists``, OSError.
    """
    lock = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if lstat(directory_fd, name) is not None:
            raise _exists(key)
        os.rename(partial, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
    finally:
        os.close(lock)


class Life(Enum):
    """What the lock of a partial says about the process that writes it."""

    ALIVE = "alive"
    UNKNOWN = "unknown"
    DEAD = "dead"


@contextmanager
def life_of(directory_fd: int, name: str) -> Iterator[Life]:
    """Look at the lock of the partial ``name``; if it was free it is ours inside the block. Raises OSError.

    Unknown where flock does not work, and for partials of other machines: a free lock may only be an unseen one.
    """
    try:
        fd = os.open(name, READ_FLAGS, dir_fd=directory_fd)
    except FileNotFoundError:
        yield Life.ALIVE  # committed or aborted just now
        return
    try:
        ours = name.startswith(f"{PARTIAL_PREFIX}{HOST}-")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            life = Life.DEAD if ours else Life.UNKNOWN
        except BlockingIOError:
            life = Life.ALIVE
        except OSError:
            life = Life.UNKNOWN
        yield life
    finally:
        os.close(fd)


def object_info(key: str, found: os.stat_result) -> ObjectInfo:
    """The ObjectInfo of a file."""
    return ObjectInfo(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


def _exists(key: str) -> StoreError:
    return StoreError("store.exists", f"there is an object {key} already", context={"key": key})
