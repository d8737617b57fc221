"""The backends that the storage contract is tried on, and small tools to look beneath them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.cancel import CancelToken
from engine.storage.base import Storage
from engine.storage.faulty import FaultyStorage
from engine.storage.local import LocalStorage, prepare_folder
from engine.storage.retry import RetryingStorage

DESTINATION_ID = "5d" * 16


def local(root: Path) -> Storage:
    prepare_folder(root, DESTINATION_ID)
    return LocalStorage(root, destination_id=DESTINATION_ID)


def retrying(root: Path) -> Storage:
    return RetryingStorage(local(root), cancel=CancelToken())


def faultless(root: Path) -> Storage:
    return FaultyStorage(local(root))


BACKENDS: dict[str, Callable[[Path], Storage]] = {"local": local, "retry": retrying, "faulty": faultless}


@dataclass(frozen=True, slots=True)
class Place:
    """A backend and the folder beneath it."""

    storage: Storage
    root: Path


def upload(storage: Storage, key: str, data: bytes, cancel: CancelToken | None = None) -> None:
    """Upload ``data`` in one write and commit it."""
    with storage.begin_upload(key, expected_bytes=len(data), cancel=cancel or CancelToken()) as begun:
        begun.write(data)
        begun.commit()


def content(storage: Storage, key: str) -> bytes:
    return b"".join(storage.read(key, cancel=CancelToken()))


def files_beneath(folder: Path) -> dict[str, int]:
    """Every name below ``folder`` with its inode's size, links as themselves."""
    found = {}
    for above, directories, names in os.walk(folder):
        for name in directories + names:
            path = Path(above) / name
            found[str(path.relative_to(folder))] = path.lstat().st_size
    return found
