"""What the bundle ``<catalog id>.keys`` holds: all that a rebuilt catalog wants and no destination tells.

These records are a format and no mirror of the catalog: they change by new fields with defaults only, and a reader
passes over fields that it does not know, so that an older program still reads what a newer one left. What cannot be
read that way gets another ``v``. docs/ARTIFACT.md, section 7.

Sealing to the recovery key is no signature: whoever knows its public half can seal a bundle of their own. A reader
holds the master keys against an artifact before anything is sealed under them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn

from engine.codec import from_plain_leniently, to_json
from engine.errors import FormatError, KeyAccessError
from engine.evidence.signer import Signer
from engine.keys.binding import bind, from_base64url, show_kid, to_base64url
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryCode, RecoveryPublic
from engine.model import BucketKey, BucketKeys, BucketSpec, DestinationKind

VERSION = 1
MAX_BYTES = 64 * 1024 * 1024
"""Of a sealed bundle: 10,000 connections have about 10 MB."""

_PREFIX = "odb1k"
_CATALOG_ID = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z-]{0,62}[0-9A-Za-z])?")
_FORM = re.compile(rf"{_PREFIX}\.({_CATALOG_ID.pattern})\.([0-9a-f]{{16}})\.([0-9A-Za-z_-]+)\s*".encode())


@dataclass(frozen=True, slots=True)
class HeldMaster:
    """One epoch of the master key, as Bech32m text."""

    epoch: int
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeldKey:
    """An access key of a bucket, in clear."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeldBucket:
    """Which bucket, and the keys to it. ``ca_pem`` is a certificate, no path."""

    bucket: str
    provider: str
    endpoint: str | None
    region: str | None
    prefix: str
    ca_pem: str | None
    allow_http: bool
    worker_key: HeldKey
    prune_key: HeldKey | None = None

    @property
    def spec(self) -> BucketSpec:
        return BucketSpec(
            bucket=self.bucket,
            provider=self.provider,
            endpoint=self.endpoint,
            region=self.region,
            prefix=self.prefix,
            ca_pem=self.ca_pem,
            allow_http=self.allow_http,
        )

    @property
    def keys(self) -> BucketKeys:
        prune = self.prune_key
        return BucketKeys(
            BucketKey(self.worker_key.access_key_id, self.worker_key.secret_access_key),
            None if prune is None else BucketKey(prune.access_key_id, prune.secret_access_key),
        )


@dataclass(frozen=True, slots=True)
class HeldDestination:
    """A destination: a ``folder`` or a ``bucket``. A removed one is held for the snapshots that still lie there."""

    id: str
    name: str
    kind: DestinationKind
    created_at: datetime
    folder: str | None = None
    bucket: HeldBucket | None = None
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HeldCheck:
    """A question that every restored copy of a connection is asked."""

    name: str
    query: str
    expect: str


@dataclass(frozen=True, slots=True)
class HeldSchedule:
    """When checkpoints are due; ``cron`` as the catalog writes it."""

    cron: str
    time_zone: str
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class HeldRetention:
    """What is kept; 0 and None: no such rule. Spans in seconds."""

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within_s: float | None = None
    keep_tags: tuple[str, ...] = ()
    keep_unproven_s: float = 7 * 86_400.0
    keep_newest_proven: int = 1


@dataclass(frozen=True, slots=True)
class HeldConnection:
    """A connection. ``conninfo`` is the URL with its password; None of a removed one, whose name snapshots still need.

    ``ca_pem``: the certificates in the file that the string names as ``sslrootcert``, where it could be read.
    """

    id: str
    name: str
    destination_id: str
    created_at: datetime
    conninfo: str | None = field(default=None, repr=False)
    ca_pem: str | None = None
    provider: str | None = None
    accept_empty: bool = False
    removed_at: datetime | None = None
    proof_target_s: float | None = None
    restore_target_s: float | None = None
    fingerprint: bool = False
    scratch_server_id: str | None = None
    worker_label: str | None = None
    drill_policy: str | None = None
    """Which snapshots are drilled, as the catalog writes it; None: every one."""
    drift_limit: float | None = None
    schedule: HeldSchedule | None = None
    retention: HeldRetention | None = None
    """None: everything is kept."""
    checks: tuple[HeldCheck, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldScratchServer:
    """A server that drills restore into instead of a cluster of their own."""

    id: str
    name: str
    created_at: datetime
    conninfo: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Holdings:
    """An installation in one record. ``label`` is the host that sealed it, for people.

    ``stamp`` says which state of the catalog it is (``gathering.stamp``): equal stamps, nothing new to hold.
    """

    catalog_id: str
    created_at: datetime
    label: str
    sealed_at: datetime
    program: str
    key_epoch: int
    """The epoch that seals; the others only open."""
    masters: tuple[HeldMaster, ...]
    signer_seed: str = field(repr=False)
    """64 hex digits."""
    signer_public: str
    recovery_kid: str
    destinations: tuple[HeldDestination, ...] = ()
    connections: tuple[HeldConnection, ...] = ()
    scratch_servers: tuple[HeldScratchServer, ...] = ()
    recovery_confirmed_at: datetime | None = None
    stamp: str = ""
    v: int = VERSION

    def master_keys(self) -> tuple[MasterKey, ...]:
        """Every epoch, oldest first."""
        return tuple(sorted((MasterKey.parse(m.key, m.epoch) for m in self.masters), key=lambda m: m.epoch))

    @property
    def master(self) -> MasterKey:
        """The epoch that seals."""
        return next(m for m in self.master_keys() if m.epoch == self.key_epoch)

    @property
    def signer(self) -> Signer:
        return Signer(bytes.fromhex(self.signer_seed))


def seal(held: Holdings, recovery_public: RecoveryPublic) -> bytes:
    """``odb1k.<catalog id>.<recovery kid>.<base64url>`` and a line's end: what lies at a destination.

    Raises ValueError for holdings that :func:`open` would refuse.
    """
    _check(held)
    if held.v != VERSION or held.recovery_kid != recovery_public.kid:
        raise ValueError("the holdings are of another version or another recovery key")
    data = to_json(held).encode()
    sealed = recovery_public.seal(_info(recovery_public.kid, held.catalog_id), data)
    text = f"{_PREFIX}.{held.catalog_id}.{recovery_public.kid}.{to_base64url(sealed)}\n".encode("ascii")
    if len(text) > MAX_BYTES:
        raise ValueError(f"the bundle has {len(text)} bytes, more than {MAX_BYTES}")
    return text


def open(data: bytes, recovery_secret: RecoveryCode) -> Holdings:
    """What :func:`seal` was given.

    Raises KeyAccessError ``key.recovery-code`` when the code is another installation's; FormatError ``format.header``
    when the bundle was damaged or is none, ``format.version`` when a newer program wrote it.
    """
    catalog_id, kid, sealed = _parts(data)
    code_kid = recovery_secret.public.kid
    if kid != code_kid:
        raise KeyAccessError(
            "key.recovery-code",
            f"the bundle was sealed to recovery key {show_kid(kid)}, the code is of {show_kid(code_kid)}",
        )
    held = _read(recovery_secret.open(_info(kid, catalog_id), sealed))
    if held.catalog_id != catalog_id or held.recovery_kid != kid:
        raise FormatError("format.header", "the bundle holds another installation than it says")
    return held


def _parts(data: bytes) -> tuple[str, str, bytes]:
    if len(data) > MAX_BYTES:
        raise FormatError("format.header", f"the bundle is longer than {MAX_BYTES} bytes")
    found = _FORM.fullmatch(data)
    try:
        if found is not None:
            catalog_id, kid, sealed = (part.decode("ascii") for part in found.groups())
            return catalog_id, kid, from_base64url(sealed)
    except ValueError:
        pass
    raise FormatError("format.header", "this is not a bundle of keys, or it was altered")


def _read(data: bytes) -> Holdings:
    try:
        plain = json.loads(data)
        version = plain["v"]
        if type(version) is int and version > VERSION:
            raise FormatError("format.version", "the bundle of keys was written by a newer version")
        if type(version) is not int or version != VERSION:
            _refuse()
        held = from_plain_leniently(Holdings, plain)
        _check(held)
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise FormatError("format.header", "the bundle holds something else than keys") from e
    return held


def _refuse() -> NoReturn:
    raise FormatError("format.header", "the bundle holds something else than keys")


def _check(held: Holdings) -> None:
    """Raises ValueError where the parts do not fit together."""
    epochs = [m.epoch for m in held.master_keys()]
    if held.key_epoch not in epochs or len(set(epochs)) != len(epochs):
        raise ValueError("an epoch of the master key is missing or there twice")
    if held.signer.public_hex != held.signer_public:
        raise ValueError("the signing key is not the one that is named")
    if not _CATALOG_ID.fullmatch(held.catalog_id):
        raise ValueError("the catalog id has another form")
    places = {d.id for d in held.destinations}
    if len(places) != len(held.destinations) or len({c.id for c in held.connections}) != len(held.connections):
        raise ValueError("an id is there twice")
    for destination in held.destinations:
        if (destination.kind is DestinationKind.S3) != (destination.bucket is not None):
            raise ValueError("a destination does not say where it is")
    if any(c.destination_id not in places for c in held.connections):
        raise ValueError("a connection names a destination that is not held")


def _info(kid: str, catalog_id: str) -> bytes:
    return bind("odb/v1/keys", kid, catalog_id)
