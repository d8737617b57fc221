"""Buckets at the door: their keys sealed and opened, what a record says made an address, and the policies to paste."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from engine.errors import ConfigError
from engine.model import BucketKey, BucketKeys, BucketSpec, Destination, SealedKeys
from engine.model.views import PolicyView, ProviderView
from engine.snapshot import Keys
from engine.storage.opening import address_of
from engine.storage.s3.policy import prune_policy, worker_policy
from engine.storage.s3.profiles import PROFILES, provider_at

if TYPE_CHECKING:
    from engine.service import Engine

__all__ = ["bucket_policy", "check_key", "open_keys", "provider_of", "providers", "seal_keys", "settled"]

_TABLE = "destinations"
_MAX_KEY_CHARS = 1024


def bucket_policy(spec: BucketSpec) -> PolicyView:
    """The least that the keys of a bucket need. Needs no installation. Raises ConfigError ``config.invalid``."""
    address = address_of(spec)
    return PolicyView(str(address), worker_policy(address), prune_policy(address), address.profile.rights)


def provider_of(endpoint: str | None) -> str:
    """The provider that an endpoint belongs to, for who does not say it. An endpoint that is none is refused later."""
    try:
        host = None if endpoint is None else urlsplit(endpoint.strip()).hostname or ""
    except ValueError:
        host = ""
    return provider_at(host)


def providers() -> tuple[ProviderView, ...]:
    """The providers that are known by name, and last the way to use any other."""
    return tuple(
        ProviderView(
            name=profile.name,
            title=profile.title,
            needs_endpoint=profile.endpoint is None,
            endpoint_example=profile.example if profile.example != "URL" else "https://s3.example.com",
            region=profile.region,
        )
        for profile in PROFILES.values()
    )


def settled(spec: BucketSpec) -> BucketSpec:
    """``spec`` checked and with every default written out. Raises ConfigError ``config.invalid``."""
    address = address_of(spec)
    return replace(spec, endpoint=address.endpoint, region=address.region, prefix=address.prefix)


def check_key(key: BucketKey) -> None:
    """Raise ConfigError unless ``key`` can be an access key at all."""
    for what, text in (("access key id", key.access_key_id), ("secret access key", key.secret_access_key)):
        if not text or len(text) > _MAX_KEY_CHARS or not text.isascii() or not text.isprintable() or " " in text:
            raise ConfigError(
                "config.invalid",
                f"the {what} is empty or has characters that no key has",
                hint="Set OFFSITEDB_S3_ACCESS_KEY_ID and OFFSITEDB_S3_SECRET_ACCESS_KEY, or type them when asked.",
            )


def seal_keys(engine: Engine, keys: Keys, destination_id: str, bucket_keys: BucketKeys) -> SealedKeys:
    """The keys for the row ``destination_id``, each bound to its cell."""

    def seal(column: str, value: str) -> str:
        return engine.keys.seal(keys, _TABLE, column, destination_id, value)

    prune = bucket_keys.prune
    return SealedKeys(
        access_key=seal("access_key", bucket_keys.worker.access_key_id),
        secret_key=seal("secret_key", bucket_keys.worker.secret_access_key),
        prune_access_key=seal("prune_access_key", prune.access_key_id) if prune else None,
        prune_secret_key=seal("prune_secret_key", prune.secret_access_key) if prune else None,
    )


def open_keys(engine: Engine, record: Destination) -> BucketKeys:
    """The keys of a bucket's record. Raises KeyAccessError."""
    sealed = record.keys
    if sealed is None:
        raise ConfigError("config.invalid", f"the destination {record.name} has no keys")
    keys = engine.keys.open()

    def open_(column: str, value: str) -> str:
        return engine.keys.unseal(keys, _TABLE, column, record.id, value)

    prune = None
    if sealed.prune_access_key is not None and sealed.prune_secret_key is not None:
        prune = BucketKey(
            open_("prune_access_key", sealed.prune_access_key), open_("prune_secret_key", sealed.prune_secret_key)
        )
    worker = BucketKey(open_("access_key", sealed.access_key), open_("secret_key", sealed.secret_key))
    return BucketKeys(worker, prune)
