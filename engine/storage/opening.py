"""From a destination's record to a storage that is ready to use: backend, then patience."""

from __future__ import annotations

from pathlib import Path

from engine.cancel import CancelToken
from engine.errors import ConfigError
from engine.model import Destination, DestinationKind
from engine.storage.base import Storage
from engine.storage.local import LocalStorage, prepare_folder
from engine.storage.retry import RetryingStorage


def open_destination(destination: Destination, *, create: bool = False, cancel: CancelToken | None = None) -> Storage:
    """The storage of ``destination``. With ``create`` a folder is made and marked as this destination's.

    Nothing is looked at before the first call. Raises ConfigError ``config.not-built`` for a bucket, StoreError when a
    folder cannot be made.
    """
    if destination.kind is not DestinationKind.FOLDER or destination.folder is None:
        raise ConfigError("config.not-built", "bucket destinations come with the next version")
    root = Path(destination.folder)
    if create:
        prepare_folder(root, destination.id)
    return RetryingStorage(LocalStorage(root, destination_id=destination.id), cancel=cancel or CancelToken())
