"""Scratch directories: where a drill keeps its cluster and the decrypted archive, and that nothing of it stays behind.

A directory belongs to the process that holds the lock on the file beside it. That lock ends with the process, however
it ends, so a janitor (:func:`sweep`) can tell the living from the dead without guessing at ages or process ids. The
room refuses to remove what a living process holds, and to kill a process that does not work inside the directory.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import select
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.errors import CouldNotVerify, OffsiteError, add_cleanup_note
from engine.process import RunAs

PREFIX = "drill-"
"""Every scratch directory starts with it; nothing else below the scratch root is ever removed."""

SOCKET_PORT = 5432
_SOCKET_PATH_BYTES = 107  # sun_path is 108 bytes with its final NUL (unix(7))
_LOCK_SUFFIX = ".lock"
_DEATH_TIMEOUT_MS = 10_000
_REMOVE_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class ScratchDir:
    """A private directory of one drill. ``passwd`` is a file in it that names the OS user of its programs."""

    path: Path
    run_as: RunAs | None

    @property
    def passwd(self) -> Path:
        return self.path / "passwd"

    @property
    def data(self) -> Path:
        """The data directory of the scratch cluster."""
        return self.path / "data"

    def free_bytes(self) -> int:
        """Bytes that the directory's file system has left for us."""
        return shutil.disk_usage(self.path).free

    def used_bytes(self) -> int:
        """Bytes on disk of all files below the directory; what disappears meanwhile does not count."""
        total = 0
        for directory, _, names in os.walk(self.path):
            for name in names:
                try:
                    total += os.lstat(os.path.join(directory, name)).st_blocks * 512  # noqa: PTH118 - 1,000 files
                except OSError:
                    continue
        return total


@contextmanager
def scratch_directory(root: Path, job_id: str, *, run_as: RunAs | None) -> Iterator[ScratchDir]:
    """A fresh directory below ``root``, 0700 and owned by ``run_as``, gone with everything in it after the block.

    ``root`` must exist; ``run_as`` must be able to enter it. Raises CouldNotVerify ``drill.scratch``.
    """
    path = root / f"{PREFIX}{job_id[:8]}-{secrets.token_hex(4)}"
    _check_socket_path(path)
    lock_path = path.with_name(path.name + _LOCK_SUFFIX)
    try:
        lock = _take_lock(lock_path)
    except OSError as e:
        raise _no_scratch(root, e) from e
    failure: BaseException | None = None
    try:
        try:
            scratch = _make(path, run_as)
        except OSError as e:
            raise _no_scratch(root, e) from e
        yield scratch
    except BaseException as e:
        failure = e
        raise
    finally:
        try:
            _clear(path)
            lock_path.unlink(missing_ok=True)
        except OSError as e:
            if failure is None:
                raise _no_scratch(root, e) from e
            add_cleanup_note(failure, f"removing {path}", e)
        finally:
            os.close(lock)


def sweep(root: Path) -> list[str]:
    """Remove every scratch directory below ``root`` whose process is dead; the names of what was removed.

    Programs that still work inside one are killed first. Raises OffsiteError ``drill.scratch`` when one resists,
    after the others have been tried.
    """
    removed: list[str] = []
    failure: OffsiteError | None = None
    if not root.is_dir():
        return removed
    names = {entry.name.removesuffix(_LOCK_SUFFIX) for entry in root.iterdir() if entry.name.startswith(PREFIX)}
    for name in sorted(names):
        lock_path = root / (name + _LOCK_SUFFIX)
        try:
            lock = _take_lock(lock_path)
            try:
                existed = (root / name).exists()
                _clear(root / name)
                lock_path.unlink(missing_ok=True)
            finally:
                os.close(lock)
        except BlockingIOError:
            continue  # somebody lives there
        except OSError as e:
            failure = _no_scratch(root / name, e)
            continue
        if existed:
            removed.append(name)
    if failure is not None:
        raise failure
    return removed


def open_archive_file(scratch: ScratchDir) -> BinaryIO:
    """A file without a name inside ``scratch``, readable by its OS user alone, open for reading and writing.

    Programs of the drill read it as ``/proc/self/fd/N`` (give N in ``pass_fds``): each opening is one of its own, so
    that parallel pg_restore may seek in it. Raises OSError.
    """
    path = scratch.path / secrets.token_hex(8)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        path.unlink()
        if scratch.run_as is not None:
            os.fchown(fd, scratch.run_as.uid, scratch.run_as.gid)
        return os.fdopen(fd, "w+b")
    except BaseException:
        os.close(fd)
        raise


def end_survivors(directory: Path) -> int:
    """Kill every process whose working directory lies in ``directory``; how many there were. Waits until they are gone.

    A postmaster and each of its backends work in the data directory, so this finds what outlived its parent whatever
    its pid file says. Where there is no ``/proc`` nothing is found.
    """
    ended = 0
    for entry in Path("/proc").glob("[0-9]*"):
        if not _works_in(entry, directory):
            continue
        try:
            pidfd = os.pidfd_open(int(entry.name))
        except OSError:
            continue  # gone meanwhile
        try:
            if _works_in(entry, directory):  # still the same process, now that its number cannot be reused
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                poller = select.poll()
                poller.register(pidfd, select.POLLIN)
                poller.poll(_DEATH_TIMEOUT_MS)
                ended += 1
        except (ProcessLookupError, PermissionError):
            continue
        finally:
            os.close(pidfd)
    return ended


def _works_in(entry: Path, directory: Path) -> bool:
    try:
        return (entry / "cwd").readlink().is_relative_to(directory)
    except OSError:
        return False  # gone, or not ours to look at


def _make(path: Path, run_as: RunAs | None) -> ScratchDir:
    path.mkdir(mode=0o700)
    scratch = ScratchDir(path, run_as)
    uid, gid = (run_as.uid, run_as.gid) if run_as is not None else (os.geteuid(), os.getegid())
    name = run_as.name if run_as is not None else "offsitedb"
    scratch.passwd.write_text(f"{name}:x:{uid}:{gid}::{path}:/bin/false\n", encoding="utf-8")
    scratch.passwd.chmod(0o444)
    if run_as is not None:
        os.chown(path, run_as.uid, run_as.gid)
    return scratch


def _take_lock(path: Path) -> int:
    """A descriptor that holds the lock on ``path``. Raises BlockingIOError when somebody else holds it."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = path.lstat().st_ino
        except FileNotFoundError:
            there = -1  # a janitor removed the file between our opening and locking it
        except BaseException:
            os.close(fd)
            raise
        if there == os.fstat(fd).st_ino:
            return fd
        os.close(fd)


def _clear(path: Path) -> None:
    """Remove ``path`` and all below it; what is still being written into it is killed and removed again."""
    for attempt in range(_REMOVE_ATTEMPTS):
        end_survivors(path)
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            if not path.exists():
                return
        except OSError as e:
            if e.errno != errno.ENOTEMPTY or attempt == _REMOVE_ATTEMPTS - 1:
                raise
        else:
            return


def _check_socket_path(path: Path) -> None:
    longest = os.fsencode(path / f".s.PGSQL.{SOCKET_PORT}.lock")
    if len(longest) > _SOCKET_PATH_BYTES:
        raise CouldNotVerify(
            "drill.scratch",
            f"the scratch cluster's socket path has {len(longest)} bytes; the system allows {_SOCKET_PATH_BYTES}",
            hint="Set OFFSITEDB_RUNTIME to a directory with a shorter path.",
        )


def _no_scratch(where: Path, error: OSError) -> CouldNotVerify:
    return CouldNotVerify(
        "drill.scratch",
        f"the scratch directory {where} cannot be used: {error.strerror or error}",
        context={"errno": error.errno},
    )
