"""From a destination's record to a storage that is ready to use: backend, then patience."""

from __future__ import annotations

from pathlib import Path

from engine.cancel import CancelToken
from engine.errors import ConfigError
from engine.model import BucketKeys, BucketSpec, Destination, DestinationKind
from engine.storage.base import Storage
from engine.storage.local import LocalStorage, prepare_folder
from engine.storage.retry import RetryingStorage
from engine.storage.s3.address import BucketAddress, Timeouts, bucket_address
from engine.storage.s3.backend import BucketStorage


def open_destination(
    destination: Destination,
    *,
    create: bool = False,
    keys: BucketKeys | None = None,
    spool: Path | None = None,
    timeouts: Timeouts | None = None,
    cancel: CancelToken | None = None,
) -> Storage:
    """The storage of ``destination``. With ``create`` a folder is made and marked as this destination's.

    A bucket needs its ``keys``, opened; parts of very large objects wait in the directory ``spool`` (default: the
    system's for temporary files); ``timeouts`` are of its requests. Nothing is looked at before the first call, but the
    client of a bucket is made ready beside. Raises ConfigError ``config.invalid`` for a record without place or keys,
    StoreError when a folder cannot be made.
    """
    inner: Storage
    if destination.kind is DestinationKind.FOLDER and destination.folder is not None:
        root = Path(destination.folder)
        if create:
            prepare_folder(root, destination.id)
        inner = LocalStorage(root, destination_id=destination.id)
    elif destination.kind is DestinationKind.S3 and destination.bucket is not None and keys is not None:
        bucket = BucketStorage(
            address_of(destination.bucket), keys.worker, prune_key=keys.prune, timeouts=timeouts, spool=spool
        )
        bucket.make_ready()
        inner = bucket
    else:
        raise ConfigError("config.invalid", f"the destination {destination.name} does not say where it is")
    return RetryingStorage(inner, cancel=cancel or CancelToken())


def address_of(spec: BucketSpec) -> BucketAddress:
    """``spec`` checked, with what the provider's profile knows filled in. Raises ConfigError ``config.invalid``."""
    return bucket_address(
        provider=spec.provider,
        bucket=spec.bucket,
        endpoint=spec.endpoint,
        region=spec.region,
        prefix=spec.prefix,
        ca_pem=spec.ca_pem,
        allow_http=spec.allow_http,
    )
