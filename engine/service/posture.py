"""The security posture at the door: facts gathered from this installation and its host, then stated elsewhere.

Nothing is changed and no server, bucket or channel is reached: what they said last is in the catalog. Whatever could
not be looked at stays unknown, with the reason.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from engine import catalog as catalogs
from engine import posture
from engine.access import limits, passwords
from engine.catalog import Tx
from engine.errors import KeyAccessError, OffsiteError
from engine.evidence.receipts import read_receipt
from engine.keys.seals import field_kid
from engine.model import ConnectionRecord, Destination, Event, Installation, JobState, Role, Snapshot
from engine.model.apikeys import ApiKeyView
from engine.model.posture import Posture
from engine.postgres.address import is_loopback
from engine.postgres.conninfo import parse
from engine.postgres.session import startup_options
from engine.postgres.tools import FLOOR
from engine.posture import ReportPart
from engine.posture.facts import (
    Drilled,
    History,
    Home,
    KeyHistory,
    Link,
    Listing,
    Logins,
    Looked,
    Open,
    Place,
    Sealed,
    Source,
    Taken,
    Unknown,
)
from engine.service import doctor, logins
from engine.service.access import needs
from engine.service.schedules import effective_target
from engine.snapshot import Keys

if TYPE_CHECKING:
    from engine.service import Engine

_MOST_FILES = 10_000
_DELETIONS = 1000
"""How many of the newest deletions say whether a bucket keeps versions."""
_ROTATED, _RESTORED, _VERIFIED = "key.rotated", "key.restored", "recovery.verified"
"""What the history calls it: another master key, the key put back, the recovery code proven to open everything."""


class PostureFacet:
    """``engine.posture``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @needs(Role.VIEWER)
    def look(self, connections: Collection[str] | None = None) -> Posture:
        """The posture as it is now; with ``connections`` of these, their destinations and the API keys that reach them.

        Of people, channels and the host it speaks all the same.

        Takes as long as the doctor does: half a second, or a few where a keyring hangs.
        """
        return posture.state(self.gather(connections))

    @needs(Role.VIEWER)
    def report(self, connections: Collection[str] | None = None) -> tuple[ReportPart, ...]:
        """The same as chapters for a report, which may be about some connections alone."""
        return posture.for_report(self.look(connections))

    def gather(self, connections: Collection[str] | None = None) -> Looked:
        """What :meth:`look` states, before anything is said of it."""
        engine = self._engine
        found = doctor.examine(engine)
        keys = self._keys()
        now = engine.clock.now()
        with engine.catalog.read() as tx:
            installation = catalogs.installation.get(tx)
            assert installation is not None  # the doctor has just read it
            sources = tuple(
                s
                for s in self._sources(tx, keys, installation.signer_public)
                if connections is None or s.name in connections
            )
            places = tuple(
                self._place(tx, d)
                for d in catalogs.destinations.list_all(tx)
                if connections is None or d.id in _used(tx, connections)
            )
            kept = KeyHistory(
                made_at=installation.created_at,
                rotated_at=_newest(tx, _ROTATED),
                restored_at=_newest(tx, _RESTORED),
                code_verified_at=_newest(tx, _VERIFIED),
            )
            hashes = tuple(sorted({_hash_words(o.password) for o in catalogs.operators.list_all(tx)}))
            last, head = catalogs.events.last(tx), catalogs.events.newest_head(tx)
            sealed = _sealed(_cells(tx, installation))
            running = len(catalogs.jobs.list_recent(tx, states=(JobState.RUNNING,), limit=1000))
        where = engine.catalog
        return Looked(
            at=now,
            catalog_id=installation.catalog_id,
            os_user=engine.own.actor.removeprefix("os:"),
            root=os.geteuid() == 0,
            settings=engine.settings,
            doctor=found,
            catalog_where=where.where,
            catalog_sslmode=where.sslmode,
            catalog_local=is_loopback(where.host or "/"),
            sources=sources,
            places=places,
            keys=kept,
            sealed=sealed,
            session_options=startup_options(read_only=True),
            home=look_at_home(engine.paths.home, engine.paths.runtime),
            scratch_entries=_entries(engine.paths.scratch),
            scratch_busy=running,
            operators=engine.operators.list(),
            logins=Logins(
                idle_s=logins.IDLE.total_seconds(),
                absolute_s=logins.ABSOLUTE.total_seconds(),
                shortest=passwords.LEAST_CHARS,
                free=limits.ONE.free,
                longest_wait_s=limits.ONE.longest_s,
                hashes=hashes,
            ),
            api_keys=_within(engine.apikeys.list(), connections),
            channels=engine.alerts.channels(),
            paused=tuple(p for p in engine.retention.paused() if connections is None or p.connection in connections),
            history=History(
                events=last.seq if last is not None else 0,
                signed=head.seq if head is not None else 0,
                signed_at=head.signed_at if head is not None else None,
                signer=installation.signer_public,
            ),
        )

    def _keys(self) -> Keys | Unknown:
        """The keys, for as long as connection strings are looked at."""
        try:
            return self._engine.keys.open()
        except KeyAccessError as e:
            return Unknown(f"the connection string is sealed, and {e.message}")

    def _sources(self, tx: Tx, keys: Keys | Unknown, signer: str) -> tuple[Source, ...]:
        schedules = catalogs.schedules.list_all(tx)
        policies = catalogs.schedules.drill_policy_all(tx)
        return tuple(
            Source(
                name=s.connection.name,
                provider=s.connection.provider,
                link=self._link(s.connection, keys),
                taken=_taken(catalogs.snapshots.newest_there(tx, s.connection.id)),
                drilled=_drilled(tx, s.connection.id, signer),
                proven_at=s.newest_proven_at,
                target_s=effective_target(s.connection, schedules.get(s.connection.id), policies.get(s.connection.id))[
                    0
                ],
                fingerprint=s.connection.fingerprint,
            )
            for s in catalogs.watch.standings(tx)
        )

    def _link(self, record: ConnectionRecord, keys: Keys | Unknown) -> Link | Unknown:
        if isinstance(keys, Unknown):
            return keys
        try:
            text = self._engine.keys.unseal(keys, "connections", "conninfo", record.id, record.conninfo_sealed)
            conninfo = parse(text)
        except OffsiteError as e:
            return Unknown(e.message)
        return Link(
            address=conninfo.describe(),
            local=is_loopback(conninfo.hostaddr or conninfo.host),
            sslmode=conninfo.sslmode,
            ca=conninfo.ca_file,
            own_ca=conninfo.sslrootcert is not None,
        )

    def _place(self, tx: Tx, record: Destination) -> Place:
        using = [c for c in catalogs.connections.list_all(tx) if c.destination_id == record.id]
        policied = {p.connection_id for p in catalogs.retention.list_policied(tx)}
        seen = catalogs.reconciliations.newest(tx, record.id)
        listing = None
        if seen is not None:
            outcome = seen.outcome
            listing = Listing(seen.reconciled_at, outcome.agrees, outcome.snapshots, outcome.lock)
        deleted = [d for d in catalogs.removals.list_deletions(tx, limit=_DELETIONS) if d.destination_id == record.id]
        spec = record.bucket
        endpoint = None if spec is None else spec.endpoint or ""
        host = (urlsplit(endpoint).hostname or "") if endpoint else ""
        return Place(
            name=record.name,
            where=record.where,
            endpoint=endpoint,
            local=bool(host) and is_loopback(host),
            own_ca=spec is not None and spec.ca_pem is not None,
            prunes=record.keys is not None and record.keys.prune_access_key is not None,
            connections=len(using),
            policies=sum(c.id in policied for c in using),
            snapshots=catalogs.watch.sizes(tx).get(record.id, (0, 0))[0],
            listing=listing,
            beside=_beside(record.folder, self._engine.paths.home),
            deleted_at=deleted[0].deleted_at if deleted else None,
            versions=any(d.version not in (None, "null") for d in deleted),
        )


def _taken(snapshot: Snapshot | None) -> Taken | None:
    if snapshot is None:
        return None
    details = snapshot.details
    return Taken(
        id=snapshot.id,
        at=snapshot.taken_at,
        tables=snapshot.tables,
        tables_in_source=details.relations_total,
        exact=snapshot.counts.value == "exact",
        role=details.role,
        superuser=details.superuser,
        powers=details.powers,
        tls=details.tls,
        not_captured=details.not_captured,
        kid=snapshot.kid,
        sha256=snapshot.artifact_sha256,
        pg_dump=details.versions.pg_dump,
        below_floor=below_floor(details.versions.pg_dump),
        sandbox=details.dump_sandbox,
    )


def below_floor(version: str | None) -> str | None:
    """The security floor of the version's major when it is below it; None: it is not, or nobody knows."""
    parts = (version or "").split(".")
    if len(parts) != 2 or not all(p.isdigit() for p in parts):
        return None
    floor = FLOOR.get(int(parts[0]))
    if floor is None or int(parts[0]) * 10000 + int(parts[1]) >= floor:
        return None
    return f"{floor // 10000}.{floor % 10000}"


def _drilled(tx: Tx, connection_id: str, signer: str) -> Drilled | Unknown | None:
    lines = catalogs.drills.lines(tx, connection_id=connection_id, limit=1)
    if not lines:
        return None
    record = catalogs.drills.get(tx, lines[0].id)
    try:
        return Drilled(record, read_receipt(record.receipt, signer).isolation)
    except OffsiteError as e:
        return Unknown(e.message)


def _cells(tx: Tx, installation: Installation) -> Iterator[tuple[str, str | None]]:
    """Every cell of the catalog that holds a secret, by what it is of."""
    yield "the signing key", installation.signer_sealed
    for connection in catalogs.connections.list_all(tx):
        yield f"connection {connection.name}", connection.conninfo_sealed
    for server in catalogs.scratch_servers.list_all(tx):
        yield f"scratch server {server.name}", server.conninfo_sealed
    for channel in catalogs.alert_channels.list_all(tx):
        yield f"alert channel {channel.name}", channel.url_sealed
        yield f"alert channel {channel.name}", channel.secret_sealed
    for destination in catalogs.destinations.list_all(tx):
        keys = destination.keys
        if keys is not None:
            for cell in (keys.access_key, keys.secret_key, keys.prune_access_key, keys.prune_secret_key):
                yield f"destination {destination.name}", cell


def _sealed(cells: Iterator[tuple[str, str | None]]) -> Sealed:
    """Whether each of them is sealed, and under which key; none is opened."""
    kids: set[str] = set()
    opened: list[str] = []
    n = 0
    for what, value in cells:
        if value is None:
            continue
        n += 1
        try:
            kids.add(field_kid(value))
        except OffsiteError:
            opened.append(what)
    return Sealed(n, tuple(sorted(kids)), tuple(opened))


def _used(tx: Tx, connections: Collection[str]) -> set[str]:
    """The destinations of these connections."""
    return {c.destination_id for c in catalogs.connections.list_all(tx) if c.name in connections}


def _within(keys: tuple[ApiKeyView, ...], connections: Collection[str] | None) -> tuple[ApiKeyView, ...]:
    """Keys that reach one of these connections, without the names of others."""
    if connections is None:
        return keys
    cut = (replace(k, connections=tuple(c for c in k.connections if c in connections)) for k in keys)
    return tuple(after for before, after in zip(keys, cut, strict=True) if after.connections or not before.connections)


def _hash_words(password: str) -> str:
    """How a password is kept: the head of its PHC string."""
    parts = password.split("$")
    return " ".join(parts[1:3]) if len(parts) == 5 and parts[1] == "scrypt" else "in another form"


def _newest(tx: Tx, kind: str) -> datetime | None:
    found: list[Event] = catalogs.events.list_recent(tx, kind=kind, limit=1)
    return found[0].at if found else None


def _entries(scratch: Path) -> int | Unknown:
    try:
        return sum(1 for entry in scratch.iterdir() if entry.is_dir())
    except FileNotFoundError:
        return 0
    except OSError as e:
        return Unknown(f"{scratch} cannot be read ({e.strerror})")


def _beside(folder: str | None, home: Path) -> bool | Unknown:
    """Whether a folder lies on the file system of the home."""
    if folder is None:
        return False
    try:
        return Path(folder).stat().st_dev == home.stat().st_dev
    except OSError as e:
        return Unknown(f"the folder cannot be looked at ({e.strerror})")


def look_at_home(home: Path, runtime: Path) -> Home | Unknown:
    """Mode and owner of the home, and of every file in it; what lies below ``runtime`` others have to enter."""
    try:
        top = home.stat()
        looked_at, opened = 0, []
        waiting = [home]
        while waiting and looked_at < _MOST_FILES:
            for entry in os.scandir(waiting.pop()):
                path = Path(entry.path)
                if path == runtime or entry.is_symlink():
                    continue
                looked_at += 1
                mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
                if mode & 0o077:
                    opened.append(Open(str(path.relative_to(home)), mode))
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
    except OSError as e:
        return Unknown(f"{e.filename or home} cannot be looked at ({e.strerror})")
    return Home(
        path=str(home),
        mode=stat.S_IMODE(top.st_mode),
        owner=_owner(top.st_uid),
        ours=top.st_uid == os.geteuid(),
        looked_at=looked_at,
        open=tuple(sorted(opened, key=lambda o: o.path)),
    )


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
