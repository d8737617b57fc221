"""Destinations. ``base`` is the contract, ``local`` a folder, ``retry`` and ``faulty`` wrap any of them."""

from __future__ import annotations

from pathlib import Path

from engine.cancel import CancelToken
from engine.errors import ConfigError
from engine.model import Destination, DestinationKind
from engine.storage.base import Storage
from engine.storage.local import LocalStorage, prepare_folder
from engine.storage.retry import RetryingStorage


def open_destination(destination: Destination, *, create: bool = False, cancel: CancelToken | None = None) -> Storage:
    """The destination, with retries. ``create`` makes a folder a destination: only for adding one.

    ``cancel`` ends the waits between retries of calls that take no token. Raises ConfigError for a kind that this
    version lacks, and with ``create`` StoreError.
    """
    if destination.kind is not DestinationKind.FOLDER or destination.folder is None:
        raise ConfigError("config.not-built", f"destinations of the kind {destination.kind} are not in this version")
    root = Path(destination.folder)
    if create:
        prepare_folder(root, destination.id)
    return RetryingStorage(LocalStorage(root, destination_id=destination.id), cancel=cancel or CancelToken())
