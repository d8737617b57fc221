"""What an opened bundle and a destination say, as rows of a new catalog: everything sealed anew, nothing set in motion.

Schedules come back paused, and no retention policy comes back at all: of a rebuilt catalog nothing is proven, and the
machine that was thought lost may still be writing. What they were is told as the commands that set them again.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from engine import catalog as catalogs
from engine.catalog import Tx
from engine.errors import ConfigError
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryBundle, RecoveryCode, seal_bundle
from engine.keys.seals import seal_field
from engine.kit.holdings import HeldConnection, HeldDestination, HeldRetention, Holdings
from engine.model import (
    BucketKeys,
    ConnectionRecord,
    Destination,
    DestinationKind,
    Installation,
    OperatorCheck,
    Schedule,
    ScratchServer,
    SealedKeys,
    Snapshot,
)
from engine.model.retention import Removal, RemovalResult, RetentionPolicy
from engine.postgres.conninfo import parse
from engine.rebuilding import Read
from engine.retention.policy import SLOTS
from engine.service.durations import duration_text
from engine.service.keys import new_signer_seal

RULE = "recovery"
CA_FOLDER = "ca"


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals texts for cells of the new catalog."""

    catalog_id: str
    master: MasterKey

    def seal(self, table: str, column: str, row_id: str, value: str) -> str:
        return seal_field(
            self.master, catalog_id=self.catalog_id, table=table, column=column, row_id=row_id, value=value
        )

    def keys(self, destination_id: str, given: BucketKeys) -> SealedKeys:
        def seal(column: str, value: str) -> str:
            return self.seal("destinations", column, destination_id, value)

        prune = given.prune
        return SealedKeys(
            access_key=seal("access_key", given.worker.access_key_id),
            secret_key=seal("secret_key", given.worker.secret_access_key),
            prune_access_key=seal("prune_access_key", prune.access_key_id) if prune else None,
            prune_secret_key=seal("prune_secret_key", prune.secret_access_key) if prune else None,
        )


@dataclass(frozen=True, slots=True)
class Placed:
    """A destination of the new catalog. ``keys`` in clear; ``removed_at``: it is not in use, snapshots lie there."""

    record: Destination
    keys: BucketKeys | None
    removed_at: datetime | None = None


def installation_row(held: Holdings, code: RecoveryCode, backend: str, now: datetime) -> Installation:
    """The installation as it was, its keys sealed anew. Whoever recovers it has just given the recovery code."""
    masters, master = held.master_keys(), held.master
    return Installation(
        catalog_id=held.catalog_id,
        created_at=held.created_at,
        key_backend=backend,
        key_epoch=master.epoch,
        kid=master.kid,
        key_check=master.check_record(held.catalog_id),
        recovery_kid=code.public.kid,
        recovery_public=code.public.raw.hex(),
        recovery_bundle=seal_bundle(code.public, held.catalog_id, RecoveryBundle(masters)),
        signer_public=held.signer_public,
        signer_sealed=new_signer_seal(master, held.catalog_id, bytes.fromhex(held.signer_seed)),
        recovery_confirmed_at=now,
    )


def placed(held: HeldDestination) -> Placed:
    """A destination as the bundle tells it."""
    bucket = held.bucket
    record = Destination(
        id=held.id,
        name=held.name,
        kind=held.kind,
        folder=held.folder,
        created_at=held.created_at,
        tested_at=None,
        bucket=bucket.spec if bucket is not None else None,
    )
    return Placed(record, bucket.keys if bucket is not None else None, held.removed_at)


def put_destinations(tx: Tx, destinations: Sequence[Placed], sealer: Sealer) -> None:
    """The removed ones first: a name is taken by those in use alone. To be done before connections name them."""
    for one in sorted(destinations, key=lambda d: d.removed_at is None):
        record = one.record
        if one.keys is not None:
            record = replace(record, keys=sealer.keys(record.id, one.keys))
        catalogs.destinations.add(tx, record)
        if one.removed_at is not None:
            catalogs.destinations.remove(tx, record.id, one.removed_at)


def put_scratch_servers(tx: Tx, held: Holdings, sealer: Sealer) -> None:
    for server in held.scratch_servers:
        sealed = sealer.seal("scratch_servers", "conninfo", server.id, parse(server.conninfo).to_url())
        catalogs.scratch_servers.add(tx, ScratchServer(server.id, server.name, sealed, server.created_at, None))


def put_connections(tx: Tx, held: Holdings, sealer: Sealer, now: datetime, ca_folder: Path) -> None:
    """The connections that the bundle names, with all that was set for them, at rest."""
    servers = {server.id for server in held.scratch_servers}
    for one in sorted(held.connections, key=lambda c: c.removed_at is None):
        sealed = ""
        if one.conninfo is not None and one.removed_at is None:
            sealed = sealer.seal("connections", "conninfo", one.id, _conninfo(one, ca_folder))
        record = ConnectionRecord(
            id=one.id,
            name=one.name,
            destination_id=one.destination_id,
            conninfo_sealed=sealed,
            provider=one.provider,
            accept_empty=one.accept_empty,
            created_at=one.created_at,
            tested_at=None,
            proof_target_s=one.proof_target_s,
            restore_target_s=one.restore_target_s,
            fingerprint=one.fingerprint,
            scratch_server_id=one.scratch_server_id if one.scratch_server_id in servers else None,
            worker_label=one.worker_label,
        )
        catalogs.connections.add(tx, record)
        if one.removed_at is not None:
            catalogs.connections.remove(tx, one.id, one.removed_at)
            continue
        _put_settings(tx, one, now)


def put_unknown(tx: Tx, snapshots: Sequence[Snapshot], held: Holdings, now: datetime) -> dict[str, str]:
    """Connections that snapshots name and the bundle does not, as removed ones: their names by id."""
    known = {one.id for one in held.connections}
    names: dict[str, str] = {}
    for snapshot in snapshots:
        if snapshot.connection_id in known or snapshot.connection_id in names:
            continue
        names[snapshot.connection_id] = name_of_unknown(snapshot.connection_id)
        record = ConnectionRecord(
            id=snapshot.connection_id,
            name=names[snapshot.connection_id],
            destination_id=snapshot.destination_id,
            conninfo_sealed="",
            provider=None,
            accept_empty=False,
            created_at=snapshot.taken_at,
            tested_at=None,
        )
        catalogs.connections.add(tx, record)
        catalogs.connections.remove(tx, record.id, now)
    return names


def name_of_unknown(connection_id: str) -> str:
    """What a connection is called that no bundle names."""
    return f"unknown-{connection_id[:8]}"


def put_snapshots(tx: Tx, reads: Sequence[Read], now: datetime) -> None:
    for read in reads:
        snapshot = read.snapshot
        catalogs.snapshots.add(tx, snapshot)
        if not read.there:
            detail = "its manifest lies at the destination, its artifact does not"
            gone = Removal(
                snapshot_id=snapshot.id,
                connection_id=snapshot.connection_id,
                job_id=None,
                rule=RULE,
                result=RemovalResult.MISSING,
                detail=detail,
                removed_at=now,
            )
            catalogs.removals.begin(tx, gone)


def resume_commands(held: HeldConnection) -> tuple[str, ...]:
    """The commands that set a connection's schedule and retention in motion again, as they were."""
    name = shlex.quote(held.name)
    commands = []
    if held.schedule is not None and held.schedule.enabled:
        commands.append(f"offsitedb schedule set {name} --on")
    if held.retention is not None:
        options = policy_options(policy_of(held.retention))
        commands.append(f"offsitedb retention set {name} {shlex.join(options)}")
    return tuple(commands)


def policy_of(held: HeldRetention) -> RetentionPolicy:
    """The policy as it was."""
    return RetentionPolicy(
        keep_last=held.keep_last,
        keep_hourly=held.keep_hourly,
        keep_daily=held.keep_daily,
        keep_weekly=held.keep_weekly,
        keep_monthly=held.keep_monthly,
        keep_yearly=held.keep_yearly,
        keep_within_s=held.keep_within_s,
        keep_tags=held.keep_tags,
        keep_unproven_s=held.keep_unproven_s,
        keep_newest_proven=held.keep_newest_proven,
    )


def policy_options(policy: RetentionPolicy) -> list[str]:
    """The policy as the options of ``retention set``."""
    options = ["--keep-last", str(policy.keep_last)] if policy.keep_last else []
    for slot in SLOTS:
        if n := int(getattr(policy, f"keep_{slot}")):
            options += [f"--keep-{slot}", str(n)]
    if policy.keep_within_s is not None:
        options += ["--keep-within", duration_text(policy.keep_within_s)]
    for tag in policy.keep_tags:
        options += ["--keep-tag", tag]
    options += ["--keep-unproven", duration_text(policy.keep_unproven_s)]
    return [*options, "--keep-newest-proven", str(policy.keep_newest_proven)]


def write_certificates(held: Holdings, ca_folder: Path) -> None:
    """The CA files of connections, where this machine has no file of that name. Raises ConfigError ``config.home``."""
    for one in held.connections:
        pem = _needed_pem(one)
        if pem is None:
            continue
        try:
            ca_folder.mkdir(mode=0o700, exist_ok=True)
            (ca_folder / f"{one.id}.pem").write_text(pem, encoding="ascii")
        except OSError as e:
            raise ConfigError("config.home", f"a CA file cannot be written: {e.strerror}: {e.filename}") from e


def free_name(name: str, taken: Collection[str]) -> str:
    """``name``, or with a number after it where it is taken."""
    numbered = (f"{name}-{n}" for n in range(2, len(taken) + 3))
    return name if name not in taken else next(one for one in numbered if one not in taken)


def names_of(held: Holdings, reads: Sequence[Read]) -> Mapping[str, str]:
    """Names of all connections that the bundle or a snapshot names, by id."""
    unknown = {read.snapshot.connection_id: name_of_unknown(read.snapshot.connection_id) for read in reads}
    return {**unknown, **{one.id: one.name for one in held.connections}}


def same_place(one: Destination, other: Destination) -> bool:
    """Whether both are the same folder, or the same part of the same bucket."""
    if one.kind is DestinationKind.FOLDER or one.bucket is None or other.bucket is None:
        return one.kind is other.kind and one.folder == other.folder
    return (one.bucket.bucket, one.bucket.prefix) == (other.bucket.bucket, other.bucket.prefix)


def _put_settings(tx: Tx, one: HeldConnection, now: datetime) -> None:
    if one.schedule is not None:
        at_rest = Schedule(one.id, one.schedule.cron, one.schedule.time_zone, False, None, now)
        catalogs.schedules.put(tx, at_rest)
    if one.drill_policy is not None:
        catalogs.schedules.set_drill_policy(tx, one.id, one.drill_policy, now)
    if one.drift_limit is not None:
        catalogs.drift_limits.put(tx, one.id, one.drift_limit, now)
    for check in one.checks:
        catalogs.checks.add(tx, one.id, OperatorCheck(check.name, check.query, check.expect), now)


def _conninfo(one: HeldConnection, ca_folder: Path) -> str:
    """The connection string, with the CA file where it lies here."""
    conninfo = parse(one.conninfo or "")
    if _needed_pem(one) is not None:
        conninfo = replace(conninfo, sslrootcert=str(ca_folder / f"{one.id}.pem"))
    return conninfo.to_url()


def _needed_pem(one: HeldConnection) -> str | None:
    if one.ca_pem is None or one.conninfo is None or one.removed_at is not None:
        return None
    named = parse(one.conninfo).sslrootcert
    return None if named is None or Path(named).is_file() else one.ca_pem
