"""The backends that the storage contract is tried on, and small tools to look beneath them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.cancel import CancelToken
from engine.model import BucketKey
from engine.storage.base import Storage
from engine.storage.faulty import FaultyStorage
from engine.storage.local import LocalStorage, prepare_folder
from engine.storage.retry import RetryingStorage
from engine.storage.s3.address import bucket_address
from engine.storage.s3.backend import BucketStorage

DESTINATION_ID = "5d" * 16


def local(root: Path) -> Storage:
    prepare_folder(root, DESTINATION_ID)
    return LocalStorage(root, destination_id=DESTINATION_ID)


def retrying(root: Path) -> Storage:
    return RetryingStorage(local(root), cancel=CancelToken())


def faultless(root: Path) -> Storage:
    return FaultyStorage(local(root))


BACKENDS: dict[str, Callable[[Path], Storage]] = {"local": local, "retry": retrying, "faulty": faultless}


BUCKETS: dict[str, Callable[[Storage], Storage]] = {
    "bucket": lambda storage: storage,
    "retry bucket": lambda storage: RetryingStorage(storage, cancel=CancelToken()),
}
"""The same on a real S3 server."""


def nowhere(root: Path) -> Storage:
    """A bucket at a port where nobody listens: for what must be refused before anything is sent."""
    del root
    address = bucket_address(provider="ceph", bucket="nowhere", endpoint="http://127.0.0.1:9")
    return BucketStorage(address, BucketKey("nobody", "nothing"))


@dataclass(frozen=True, slots=True)
class Place:
    """A backend, and what lies beneath it: files of a folder, or objects and uploads of a bucket."""

    storage: Storage
    beneath: Callable[[], set[str]]
    tree: bool = True

    def leftovers(self) -> set[str]:
        """What lies there that is neither a marker nor an empty directory of keys."""
        return self.beneath() - {"OFFSITEDB-DESTINATION", "v1"}


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
