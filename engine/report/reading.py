"""A bundle read from a folder, a zip or a tar file that came from anywhere: no name of it is trusted, no size.

Nothing is unpacked. Only regular files with names that our own bundles have are read, one at a time.
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.errors import FormatError
from engine.evidence.canonical import LONGEST_BYTES
from engine.report import bundle

LONGEST_EVENTS = 1024 * 1024 * 1024
FILES_AT_MOST = 500_000
_NAMES = {bundle.SUMS, bundle.SIGNATURE, bundle.REPORT_JSON, bundle.EVENTS, bundle.HEAD, bundle.SIGNERS}
_NAMES |= {bundle.STAMP, bundle.VERIFY_TXT, *bundle.RENDERED}
_RECEIPT = re.compile(r"receipts/[0-9a-f]{32}\.json")


@dataclass(frozen=True, slots=True)
class Bundle:
    """``names``: every file, relative to the bundle. ``strange``: names that no bundle of ours has, and links."""

    names: frozenset[str]
    strange: tuple[str, ...]
    _read: Callable[[str, int], bytes]

    def read(self, name: str) -> bytes:
        """The file. Raises FormatError ``format.bundle`` where it is missing or too long to be one of ours."""
        if name not in self.names:
            raise FormatError("format.bundle", f"{name} is missing")
        longest = LONGEST_EVENTS if name == bundle.EVENTS else LONGEST_BYTES
        try:
            data = self._read(name, longest + 1)
        except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError, NotImplementedError) as e:
            raise FormatError("format.bundle", f"{name} cannot be read: {e}") from e
        if len(data) > longest:
            raise FormatError("format.bundle", f"{name} is longer than any that we write")
        return data


@contextmanager
def opened(path: Path) -> Iterator[Bundle]:
    """The bundle at ``path``. Raises FormatError ``format.bundle``."""
    with ExitStack() as stack:
        try:
            found = _open(path, stack)
        except OSError as e:
            raise FormatError("format.bundle", f"{path} cannot be read: {(e.strerror or str(e)).lower()}") from e
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError) as e:
            raise FormatError("format.bundle", f"{path.name} is no bundle: {e}") from e
        yield found


def _open(path: Path, stack: ExitStack) -> Bundle:
    if path.is_dir():
        return _folder(path)
    if zipfile.is_zipfile(path):
        return _zip(stack.enter_context(zipfile.ZipFile(path)))
    return _tar(stack.enter_context(tarfile.open(path, "r:")))


def _folder(root: Path) -> Bundle:
    names, strange = set[str](), list[str]()
    for folder, folders, files in os.walk(root):
        for entry in (*files, *folders):
            place = Path(folder) / entry
            name = place.relative_to(root).as_posix()
            mode = place.lstat().st_mode
            if stat.S_ISDIR(mode):
                if name != bundle.RECEIPTS:
                    strange.append(name)
            elif stat.S_ISREG(mode) and _ours(name):
                names.add(name)
            else:
                strange.append(name)
        if len(names) + len(strange) > FILES_AT_MOST:
            raise ValueError("more files than any that we write")

    def read(name: str, limit: int) -> bytes:
        with (root / name).open("rb") as file:
            return file.read(limit)

    return Bundle(frozenset(names), tuple(sorted(strange)), read)


def _zip(archive: zipfile.ZipFile) -> Bundle:
    infos = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    if len(infos) != sum(not info.is_dir() for info in archive.infolist()):
        raise ValueError("a name is in it twice")
    prefix = _prefix(list(infos))
    names, strange = _sorted_out([name[len(prefix) :] for name in infos])

    def read(name: str, limit: int) -> bytes:
        with archive.open(infos[prefix + name]) as file:
            return file.read(limit)

    return Bundle(names, strange, read)


def _tar(archive: tarfile.TarFile) -> Bundle:
    members = [m for m in archive if not m.isdir()]
    if len({m.name for m in members}) != len(members):
        raise ValueError("a name is in it twice")
    if len(members) > FILES_AT_MOST:
        raise ValueError("more files than any that we write")
    prefix = _prefix([m.name for m in members])
    regular = {m.name[len(prefix) :]: m for m in members if m.isreg()}
    names, strange = _sorted_out([m.name[len(prefix) :] for m in members])
    links = sorted(m.name for m in members if not m.isreg())

    def read(name: str, limit: int) -> bytes:
        file = archive.extractfile(regular[name])
        return b"" if file is None else file.read(limit)

    return Bundle(frozenset(names & regular.keys()), (*strange, *links), read)


def _prefix(names: list[str]) -> str:
    """The folder that everything lies in, if there is one."""
    sums = [name for name in names if name.rpartition("/")[2] == bundle.SUMS]
    if not sums:
        raise ValueError(f"there is no {bundle.SUMS} in it")
    prefix = sums[0][: -len(bundle.SUMS)]
    return prefix if all(name.startswith(prefix) for name in names) else ""


def _sorted_out(names: list[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    if len(names) > FILES_AT_MOST:
        raise ValueError("more files than any that we write")
    ours = frozenset(name for name in names if _ours(name))
    return ours, tuple(sorted(set(names) - ours))


def _ours(name: str) -> bool:
    return name in _NAMES or _RECEIPT.fullmatch(name) is not None
