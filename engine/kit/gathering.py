"""What the kit of an installation has to hold, read out of the catalog, and a stamp of it that needs no key.

The stamp covers whatever the bundle is made of, sealed values as they are sealed: a rotation, a new connection or
another retention policy changes it without anybody saying so. What only tells when something was tried is left out.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from engine import catalog as catalogs
from engine.catalog import Tx
from engine.codec import to_json
from engine.errors import ConfigError
from engine.keys.master import MasterKey
from engine.kit import texts
from engine.kit.holdings import (
    HeldBucket,
    HeldCheck,
    HeldConnection,
    HeldDestination,
    HeldKey,
    HeldMaster,
    HeldRetention,
    HeldSchedule,
    HeldScratchServer,
    Holdings,
)
from engine.model import ConnectionRecord, Destination, Installation, OperatorCheck, ScratchServer
from engine.model.retention import RetentionPolicy
from engine.model.schedules import Schedule
from engine.postgres.conninfo import parse
from engine.version import VERSION

MAX_CA_BYTES = 1_048_576

Unseal = Callable[[str, str, str, str], str]
"""Table, column, row id and sealed value to clear text. May raise KeyAccessError."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A connection with what was set for it."""

    record: ConnectionRecord
    removed_at: datetime | None
    schedule: Schedule | None
    drill_policy: str | None
    drift_limit: float | None
    retention: RetentionPolicy | None
    checks: tuple[OperatorCheck, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a bundle is made of, as the catalog has it: still sealed."""

    installation: Installation
    destinations: tuple[tuple[Destination, datetime | None], ...]
    connections: tuple[Kept, ...]
    scratch_servers: tuple[ScratchServer, ...]

    @property
    def stamp(self) -> str:
        """64 hex digits; another one means that a kit has to be laid down anew."""
        known = replace(self.installation, key_backend="", recovery_confirmed_at=None)
        hashed = hashlib.sha256(to_json(replace(self, installation=known)).encode())
        for name, text in sorted(texts.shared().items()):
            hashed.update(name.encode() + hashlib.sha256(text).digest())
        return hashed.hexdigest()


def read(tx: Tx) -> Contents:
    """The state of the catalog. Raises ConfigError ``config.not-initialised``."""
    installation = catalogs.installation.get(tx)
    if installation is None:
        raise ConfigError("config.not-initialised", "this catalog was never initialised")
    schedules, retention = catalogs.schedules.list_all(tx), catalogs.retention.policies(tx)
    drills, drift = catalogs.schedules.drill_policy_all(tx), catalogs.drift_limits.all_of(tx)
    checks = catalogs.checks.list_ever(tx)
    return Contents(
        installation=installation,
        destinations=tuple((replace(d, tested_at=None), at) for d, at in catalogs.destinations.list_ever(tx)),
        connections=tuple(
            Kept(
                record=replace(c, tested_at=None),
                removed_at=at,
                schedule=_timeless(schedules.get(c.id)),
                drill_policy=drills.get(c.id),
                drift_limit=drift.get(c.id),
                retention=retention.get(c.id),
                checks=tuple(checks.get(c.id, ())),
            )
            for c, at in catalogs.connections.list_ever(tx)
        ),
        scratch_servers=tuple(replace(s, tested_at=None) for s in catalogs.scratch_servers.list_all(tx)),
    )


def gather(
    contents: Contents, unseal: Unseal, masters: Sequence[MasterKey], signer_seed: str, now: datetime
) -> Holdings:
    """``contents`` opened: what is sealed to the recovery key. Raises KeyAccessError."""
    found = contents.installation
    return Holdings(
        catalog_id=found.catalog_id,
        created_at=found.created_at,
        label=platform.node(),
        sealed_at=now,
        program=VERSION,
        key_epoch=found.key_epoch,
        masters=tuple(HeldMaster(m.epoch, m.text) for m in masters),
        signer_seed=signer_seed,
        signer_public=found.signer_public,
        recovery_kid=found.recovery_kid,
        destinations=tuple(_destination(d, at, unseal) for d, at in contents.destinations),
        connections=tuple(_connection(c, unseal) for c in contents.connections),
        scratch_servers=tuple(
            HeldScratchServer(
                s.id, s.name, s.created_at, unseal("scratch_servers", "conninfo", s.id, s.conninfo_sealed)
            )
            for s in contents.scratch_servers
        ),
        recovery_confirmed_at=found.recovery_confirmed_at,
        stamp=contents.stamp,
    )


def _destination(record: Destination, removed_at: datetime | None, unseal: Unseal) -> HeldDestination:
    bucket, spec, sealed = None, record.bucket, record.keys
    if spec is not None and sealed is not None:

        def key(prefix: str, access: str, secret: str) -> HeldKey:
            columns = ((f"{prefix}access_key", access), (f"{prefix}secret_key", secret))
            return HeldKey(*(unseal("destinations", column, record.id, value) for column, value in columns))

        prune = None
        if sealed.prune_access_key is not None and sealed.prune_secret_key is not None:
            prune = key("prune_", sealed.prune_access_key, sealed.prune_secret_key)
        bucket = HeldBucket(
            bucket=spec.bucket,
            provider=spec.provider,
            endpoint=spec.endpoint,
            region=spec.region,
            prefix=spec.prefix,
            ca_pem=spec.ca_pem,
            allow_http=spec.allow_http,
            worker_key=key("", sealed.access_key, sealed.secret_key),
            prune_key=prune,
        )
    return HeldDestination(
        record.id, record.name, record.kind, record.created_at, record.folder, bucket, removed_at=removed_at
    )


def _connection(kept: Kept, unseal: Unseal) -> HeldConnection:
    record, schedule = kept.record, kept.schedule
    sealed = record.conninfo_sealed
    conninfo = unseal("connections", "conninfo", record.id, sealed) if sealed else None
    return HeldConnection(
        id=record.id,
        name=record.name,
        destination_id=record.destination_id,
        created_at=record.created_at,
        conninfo=conninfo,
        ca_pem=None if conninfo is None else _certificates(conninfo),
        provider=record.provider,
        accept_empty=record.accept_empty,
        removed_at=kept.removed_at,
        proof_target_s=record.proof_target_s,
        restore_target_s=record.restore_target_s,
        fingerprint=record.fingerprint,
        scratch_server_id=record.scratch_server_id,
        worker_label=record.worker_label,
        drill_policy=kept.drill_policy,
        drift_limit=kept.drift_limit,
        schedule=None if schedule is None else HeldSchedule(schedule.cron, schedule.time_zone, schedule.enabled),
        retention=None if kept.retention is None else _retention(kept.retention),
        checks=tuple(HeldCheck(c.name, c.query, c.expect) for c in kept.checks),
    )


def _retention(policy: RetentionPolicy) -> HeldRetention:
    return HeldRetention(
        keep_last=policy.keep_last,
        keep_hourly=policy.keep_hourly,
        keep_daily=policy.keep_daily,
        keep_weekly=policy.keep_weekly,
        keep_monthly=policy.keep_monthly,
        keep_yearly=policy.keep_yearly,
        keep_within_s=policy.keep_within_s,
        keep_tags=policy.keep_tags,
        keep_unproven_s=policy.keep_unproven_s,
        keep_newest_proven=policy.keep_newest_proven,
    )


def _certificates(conninfo: str) -> str | None:
    """The CA file that a connection string names, if it is there and holds certificates."""
    try:
        path = parse(conninfo).sslrootcert
        if path is None or Path(path).stat().st_size > MAX_CA_BYTES:
            return None
        text = Path(path).read_text(encoding="ascii")
    except (ConfigError, OSError, ValueError):  # of a string that an older program took; of a file that is gone
        return None
    return text if "-----BEGIN CERTIFICATE-----" in text and "PRIVATE KEY" not in text else None


def _timeless(schedule: Schedule | None) -> Schedule | None:
    """Without the next slot, which moves by itself."""
    return None if schedule is None else replace(schedule, next_at=None, changed_at=_EPOCH)


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
