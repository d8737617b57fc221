"""The folder beneath a local destination, walked one directory at a time with open descriptors.

No step follows a symbolic link: whoever plants one inside the destination gets an error, never a file of ours outside
of it. The destination's root itself may be a link; it is the operator's choice. Operating system errors become
StoreErrors here and nowhere else.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from engine.errors import StoreError

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""O_NONBLOCK: a planted FIFO must not hang the open."""
CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_UNREACHABLE = frozenset({errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENODEV, errno.ENXIO})
_PASSING = frozenset({errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.ENOLCK, errno.ESTALE})


@contextmanager
def translating(what: str) -> Iterator[None]:
    """Turn an OSError of the block into the StoreError that fits; ``what`` says what was being done."""
    try:
        yield
    except OSError as e:
        raise store_error(e, what) from e


def store_error(e: OSError, what: str) -> StoreError:
    """The StoreError for ``e``; ``retry`` is True for conditions that pass by themselves."""
    number = e.errno or 0
    message = f"{what}: {os.strerror(number).lower() if number else e}"
    context = {"errno": errno.errorcode.get(number, str(number))}
    if number in _FULL:
        return StoreError("store.full", message, context=context)
    if number == errno.EFBIG:
        hint = "The filesystem or the process limit allows no file of this size; use another filesystem."
        return StoreError("store.full", message, hint=hint, context=context)
    if number in _DENIED:
        return StoreError("store.denied", message, context=context)
    if number == errno.ENOENT:
        return StoreError("store.missing", message, context=context)
    if number == errno.ENAMETOOLONG:
        return StoreError("store.bad-key", message, context=context)
    if number in _UNREACHABLE:
        return StoreError("store.unreachable", message, context=context, retry=True)
    if number == errno.ETIMEDOUT:
        return StoreError("store.timeout", message, context=context, retry=True)
    return StoreError("store.io", message, context=context, retry=number in _PASSING)


def open_directory(root_fd: int, segments: Sequence[str], *, create: bool) -> int | None:
    """A descriptor of the directory ``segments`` below ``root_fd``; None where it is not there and not to be made.

    Raises StoreError: ``store.bad-key`` at a symbolic link, ``store.exists`` where an object stands in the way of a
    directory to make.
    """
    fd = os.dup(root_fd)
    try:
        for depth, name in enumerate(segments):
            shown = "/".join(segments[: depth + 1])
            below = _step(fd, name, shown, create=create)
            os.close(fd)
            if below is None:
                fd = -1
                return None
            fd = below
        done, fd = fd, -1
        return done
    finally:
        if fd >= 0:
            os.close(fd)


def _step(fd: int, name: str, shown: str, *, create: bool) -> int | None:
    with translating(f"directory {shown}"):
        try:
            return os.open(name, DIRECTORY_FLAGS, dir_fd=fd)
        except FileNotFoundError:
            if not create:
                return None
        except OSError as e:
            if e.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            refuse_link(fd, name, shown)
            if not create:
                return None
            raise StoreError("store.exists", f"an object stands where the directory {shown} must be") from e
        try:
            os.mkdir(name, DIRECTORY_MODE, dir_fd=fd)
            os.fsync(fd)
        except FileExistsError:
            pass  # another upload made it at the same moment
        return os.open(name, DIRECTORY_FLAGS, dir_fd=fd)


def refuse_link(fd: int, name: str, shown: str) -> None:
    """Raise ``store.bad-key`` if ``name`` in ``fd`` is a symbolic link."""
    found = lstat(fd, name)
    if found is not None and stat.S_ISLNK(found.st_mode):
        raise StoreError(
            "store.bad-key",
            f"a symbolic link stands in the destination at {shown}",
            hint="Remove the link: nothing at a destination is ever read or written through one.",
            context={"key": shown},
        )


def lstat(fd: int, name: str) -> os.stat_result | None:
    """``name`` in ``fd`` itself, never what it points to; None if it is not there."""
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def walk(fd: int, prefix: str = "", above: str = "") -> Iterator[tuple[int, str, str, os.stat_result]]:
    """The regular files below ``fd`` as (directory descriptor, name, path, stat), sorted by the bytes of the path.

    Directories that cannot hold a path beginning with ``prefix`` are not entered. The descriptor is good until the
    next step. Files that vanish meanwhile are left out; links are not followed.
    """
    entries: list[tuple[bytes, str, bool]] = []
    with os.scandir(fd) as found:
        for entry in found:
            is_directory = entry.is_dir(follow_symlinks=False)
            # a directory sorts as its keys do, with the slash: a-b < a/x < a0
            entries.append((os.fsencode(entry.name) + (b"/" if is_directory else b""), entry.name, is_directory))
    for _, name, is_directory in sorted(entries):
        if not is_directory:
            info = lstat(fd, name)
            if info is not None and stat.S_ISREG(info.st_mode):
                yield fd, name, above + name, info
            continue
        path = f"{above}{name}/"
        if not (path.startswith(prefix) or prefix.startswith(path)):
            continue
        try:
            below = os.open(name, DIRECTORY_FLAGS, dir_fd=fd)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            yield from walk(below, prefix, path)
        finally:
            os.close(below)


def write_all(fd: int, data: bytes | bytearray | memoryview) -> int:
    """Write all of ``data``; its length in bytes. Raises OSError."""
    with memoryview(data) as view, view.cast("B") as rest:
        done = 0
        while done < len(rest):
            done += os.write(fd, rest[done:])
        return done


def begin_write_back(fd: int, start: int, end: int) -> None:
    """Have the system begin to write out what lies between ``start`` and ``end``, without waiting for it.

    "Not needed any more" makes Linux write dirty pages out; only clean ones would be dropped, and these are not.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # advice: what is not written now is written by the fsync at the end
            os.posix_fadvise(fd, start, end - start, os.POSIX_FADV_DONTNEED)
