"""Recovering an installation on an empty machine, with a destination and the recovery code alone.

Everything is read and held against something before anything is written: the code opens the bundle, the signer in it
has signed the manifests, its master keys open a real artifact. Then the keyring is written and read back, and at last
the catalog gets its place, whole: a recovery that was cut off is simply run again. What was scheduled stays at rest
until the operator says so, because nobody can know from here that the old machine is really gone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.catalog import Tx
from engine.catalog.building import build
from engine.clock import Clock
from engine.config import BucketSettings
from engine.errors import ConfigError, FormatError, KeyAccessError, StoreError
from engine.evidence import chain, rows
from engine.keys.door import KeyStore
from engine.keys.recovery import RecoveryCode
from engine.kit import holdings, shelf
from engine.kit.holdings import Holdings
from engine.model import BucketKeys, BucketSpec, Destination, DestinationKind
from engine.model.recovery import CatalogThere, Recovered, RecoveredConnection, Remark, RemarkKind
from engine.paths import Paths
from engine.progress import Phase, Progress, ProgressSink, Unit
from engine.rebuilding import (
    Holding,
    Opening,
    Read,
    catalogs_at,
    hold_against_artifacts,
    in_order,
    read_holding,
)
from engine.redact import holding
from engine.service import buckets, rebuilt
from engine.service.installation import actor, is_there, make_places
from engine.service.rebuilt import Placed, Sealer
from engine.service.recoverykit import VERIFIED
from engine.storage.base import Storage
from engine.storage.local import LocalStorage, marked_ids, prepare_folder
from engine.storage.opening import open_destination
from engine.storage.retry import RetryingStorage
from engine.storage.s3.address import Timeouts

_WRITTEN_LATELY = timedelta(hours=25)
"""A daily schedule of a living machine writes more often."""
_OTHERS = Timeouts(connect_s=5.0, read_s=20.0)
"""Of destinations that nobody named: they may be gone, too."""
_NAME = "recovered"


@dataclass(frozen=True, slots=True)
class RecoveryPlace:
    """Where to recover from: a folder, or a bucket with a key that may read it."""

    folder: Path | None = None
    bucket: BucketSpec | None = None
    keys: BucketKeys | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Machine:
    """The empty machine: its places and its keyring. ``choose`` names the keyring, ``store`` opens it."""

    paths: Paths
    where: str
    """Of the catalog: a path or a URL."""
    clock: Clock
    choose: Callable[[], str]
    store: Callable[[str], KeyStore]
    limits: BucketSettings


def recoverable(machine: Machine, place: RecoveryPlace, cancel: CancelToken) -> tuple[CatalogThere, ...]:
    """The catalogs that can be recovered from the place. Raises ConfigError, StoreError; nothing is written.

    ConfigError ``config.already-initialised`` where this machine has an installation.
    """
    _refuse_inhabited(machine)
    _, storage = _opened(place, machine, cancel)
    with holding(*_secrets(place)):
        found = catalogs_at(storage)
    if not found:
        raise StoreError(
            "store.missing",
            f"there is no bundle of keys at {storage.describe()}",
            hint="Name the same folder, or bucket and prefix, that the lost installation used: "
            f"{shelf.FOLDER} lies directly beneath it. A bucket's prefix is part of the place.",
        )
    return found


def recover(
    machine: Machine,
    place: RecoveryPlace,
    code_text: str,
    *,
    catalog_id: str | None,
    cancel: CancelToken,
    said: ProgressSink,
) -> Recovered:
    """Rebuild the installation. ``catalog_id``, or a unique beginning of it, where the place has several.

    Raises ConfigError, StoreError; KeyAccessError ``key.recovery-code`` for a wrong code, ``key.wrong`` where bundle
    and artifacts do not belong together, and the keyring's states; FormatError. Then there is no installation.
    """
    code = RecoveryCode.parse(code_text)
    chosen = _choose(recoverable(machine, place, cancel), catalog_id)
    said(Progress(Phase.PREFLIGHT, 0, None, Unit.STEPS, "opening the bundle of keys"))
    with holding(*_secrets(place)):
        given, storage = _opened(place, machine, cancel)
        held = _held(storage, chosen.catalog_id, code, cancel)
        backend = machine.choose()  # before much is read: without a keyring there is no installation
        here, others = _destinations(given, place.keys, held)
        found = _Found(machine, held, code, cancel, said)
        found.read(here.record, storage)
        for other in others:
            found.try_(other)
        found.refuse_strange()
        return _write(machine, held, code, backend, here, [here, *others], found, place)


class _Found:
    """What the destinations of the installation hold, read one after the other."""

    def __init__(
        self, machine: Machine, held: Holdings, code: RecoveryCode, cancel: CancelToken, said: ProgressSink
    ) -> None:
        self._machine = machine
        self._code = code
        self._cancel = cancel
        self._said = said
        self._opening = Opening(held.catalog_id, held.master_keys(), held.signer_public)
        self.reads: list[Read] = []
        self.remarks: list[Remark] = []
        self.foreign = 0
        self.proven = (0, 0)
        """Destinations that were read, and artifacts that the code has opened there."""

    def read(self, destination: Destination, storage: Storage) -> None:
        """Read a destination, and hold the master keys against its artifacts. Raises StoreError, KeyAccessError."""

        def on_manifest(done: int, total: int) -> None:
            self._said(Progress(Phase.LIST, done, total, Unit.SNAPSHOTS, f"manifests of {destination.name}"))

        found = read_holding(storage, destination.id, self._opening, self._cancel, on_manifest)
        self._said(Progress(Phase.VERIFY, 0, None, Unit.STEPS, "holding the keys against artifacts"))
        opened = hold_against_artifacts(storage, found.reads, self._opening.masters, self._code, self._cancel)
        self.proven = (self.proven[0] + 1, self.proven[1] + opened)
        known = {read.snapshot.id for read in self.reads}  # two destinations can be one place
        self.reads += [read for read in found.reads if read.snapshot.id not in known]
        self.remarks += [*found.remarks, *self._lately(destination, found)]
        self.foreign += found.foreign

    def try_(self, other: Placed) -> None:
        """Read another destination of the installation, if it can be reached from here."""
        try:
            with holding(*(other.keys.secrets() if other.keys is not None else ())):
                storage = open_destination(
                    other.record,
                    keys=other.keys,
                    spool=self._machine.paths.runtime,
                    timeouts=_OTHERS,
                    cancel=self._cancel,
                )
                self.read(other.record, storage)
        except (StoreError, ConfigError, FormatError, KeyAccessError) as e:
            self._cancel.check()
            said = f"snapshots that lie at {other.record.where} are not in the catalog: {e.message}"
            self.remarks.append(Remark(RemarkKind.NOT_REACHED, other.record.name, said))

    def refuse_strange(self) -> None:
        """Raise KeyAccessError ``key.wrong`` where manifests of the installation are there and the bundle opens none.

        A bundle does not say who sealed it, and what it holds would from now on seal everything.
        """
        unreadable = [remark for remark in self.remarks if remark.kind is RemarkKind.UNREADABLE]
        if self.reads or not unreadable:
            return
        raise KeyAccessError(
            "key.wrong",
            f"the bundle of keys opens none of the {len(unreadable)} manifests that are there: {unreadable[0].text}",
            hint="Whoever can write to the destination could have put another bundle there. Ask its provider for an"
            f" older version of {shelf.bundle_key(self._opening.catalog_id)}; the artifacts open with the code alone.",
        )

    def _lately(self, destination: Destination, found: Holding) -> list[Remark]:
        now = self._machine.clock.now()
        if found.written_at is None or now - found.written_at > _WRITTEN_LATELY:
            return []
        said = (
            f"somebody wrote there on {found.written_at:%Y-%m-%d at %H:%M} UTC. If the old machine is alive, stop it"
            " before anything runs here: two installations of one name give numbers twice"
        )
        return [Remark(RemarkKind.STILL_WRITTEN, destination.name, said)]


def _write(
    machine: Machine,
    held: Holdings,
    code: RecoveryCode,
    backend: str,
    here: Placed,
    destinations: Sequence[Placed],
    found: _Found,
    place: RecoveryPlace,
) -> Recovered:
    """The keyring, what the destination and the home need, and at last the catalog."""
    now = machine.clock.now()
    reads, order = in_order(found.reads, rebuilt.names_of(held, found.reads))
    remarks = [*found.remarks, *order, *_unknown(held, reads)]
    sealer = Sealer(held.catalog_id, held.master)
    result = _result(held, backend, here, destinations, reads, remarks, found.foreign)
    ca_folder = machine.paths.home / rebuilt.CA_FOLDER

    def fill(tx: Tx) -> None:
        _tell(tx, machine.clock, held, here, result, found.proven)
        catalogs.installation.put(tx, rebuilt.installation_row(held, code, backend, now))
        rebuilt.put_destinations(tx, destinations, sealer)
        rebuilt.put_scratch_servers(tx, held, sealer)
        rebuilt.put_connections(tx, held, sealer, now, ca_folder)
        rebuilt.put_unknown(tx, [read.snapshot for read in reads], held, now)
        rebuilt.put_snapshots(tx, reads, now)
        rows.adopt(tx, machine.clock, actor=actor(), kind=rows.REBUILT)
        chain.sign_head(tx, held.signer, machine.clock)

    make_places(machine.paths)
    for master in held.master_keys():
        machine.store(backend).store(held.catalog_id, master)  # and reads it back
    if place.folder is not None:
        prepare_folder(_absolute(place.folder), here.record.id)
    rebuilt.write_certificates(held, ca_folder)
    build(machine.where, fill)
    return result


def _tell(tx: Tx, clock: Clock, held: Holdings, here: Placed, result: Recovered, proven: tuple[int, int]) -> None:
    """The first event says what this history is: one that begins anew, and from where.

    Nothing proves a recovery code as a recovery does, so the second says that it was.
    """

    def event(kind: str, subject: str, data: Mapping[str, str | int | bool | None]) -> None:
        chain.append_event(tx, clock, actor=actor(), kind=kind, subject=subject, data=data)

    event(
        "installation.recovered",
        held.catalog_id,
        {
            "destination": here.record.name,
            "where": here.record.where,
            "bundle_of": held.label,
            "bundle_sealed_at": held.sealed_at.isoformat(),
            "kid": result.kid,
            "key_backend": result.backend,
            "snapshots": result.snapshots,
            "lost": result.lost,
            "remarks": len(result.remarks),
        },
    )
    destinations, opened = proven
    event(VERIFIED, held.recovery_kid, {"steps": 1 + opened, "destinations": destinations})
    for one in result.connections:
        resume = "; ".join(one.resume)
        data: dict[str, str | int | bool | None] = {"snapshots": one.snapshots, "lost": one.lost, "resume": resume}
        event("connection.recovered", one.name, data)
    for remark in result.remarks:
        event(f"recovery.{remark.kind.value}", remark.subject, {"text": remark.text})


def _result(
    held: Holdings,
    backend: str,
    here: Placed,
    destinations: Sequence[Placed],
    reads: Sequence[Read],
    remarks: Sequence[Remark],
    foreign: int,
) -> Recovered:
    known = {one.id: one for one in held.connections}
    names = rebuilt.names_of(held, reads)
    connections = []
    for id_, name in sorted(names.items(), key=lambda pair: pair[1]):
        mine = [read for read in reads if read.snapshot.connection_id == id_]
        there = sorted((read.snapshot for read in mine if read.there), key=lambda s: (s.taken_at, s.seq))
        connection = known.get(id_)
        live = connection is not None and connection.removed_at is None
        if not live and not mine:
            continue
        connections.append(
            RecoveredConnection(
                name=name,
                known=live,
                snapshots=len(there),
                lost=len(mine) - len(there),
                oldest_at=there[0].taken_at if there else None,
                newest_at=there[-1].taken_at if there else None,
                newest_id=there[-1].id if there else None,
                resume=rebuilt.resume_commands(connection) if connection is not None and live else (),
            )
        )
    return Recovered(
        catalog_id=held.catalog_id,
        kid=held.master.kid,
        backend=backend,
        destination=here.record.name,
        where=here.record.where,
        destinations=tuple(one.record.name for one in destinations if one.removed_at is None),
        connections=tuple(connections),
        snapshots=sum(one.snapshots for one in connections),
        lost=sum(one.lost for one in connections),
        foreign=foreign,
        remarks=tuple(remarks),
    )


def _unknown(held: Holdings, reads: Sequence[Read]) -> list[Remark]:
    known = {one.id for one in held.connections}
    strange = sorted({read.snapshot.connection_id for read in reads} - known)
    said = "the bundle does not name this connection; its snapshots are in the catalog, its connection string is not"
    return [Remark(RemarkKind.UNKNOWN_CONNECTION, rebuilt.name_of_unknown(one), said) for one in strange]


def _refuse_inhabited(machine: Machine) -> None:
    """Raise ConfigError ``config.already-initialised`` where there is an installation, or what is left of one."""
    home = machine.paths.home
    hint = (
        "Recover into an empty place: set OFFSITEDB_HOME to a new directory (and OFFSITEDB_DATABASE_URL to an empty"
        " database, or to none). If this installation lost its key alone: `offsitedb key restore`."
    )
    if is_there(machine.where):
        raise ConfigError("config.already-initialised", f"there is an installation at {home}", hint=hint)
    left = [one.name for one in home.glob("*.sqlite3*") if not one.name.startswith(".")] if home.is_dir() else []
    if left:
        said = f"{home} is not empty: it holds {', '.join(sorted(left)[:5])}"
        raise ConfigError("config.already-initialised", said, hint=hint)


def _opened(place: RecoveryPlace, machine: Machine, cancel: CancelToken) -> tuple[Destination, Storage]:
    """The place as a destination that nobody knows yet, ready to be read. Raises ConfigError."""
    now = machine.clock.now()
    if place.folder is not None:
        folder = _absolute(place.folder)
        marked_ids(folder)  # says so where it is not there
        record = Destination(secrets.token_hex(16), _NAME, DestinationKind.FOLDER, str(folder), now, None)
        return record, RetryingStorage(LocalStorage(folder, destination_id=None), cancel=cancel)
    if place.bucket is None or place.keys is None:
        raise ConfigError("config.invalid", "no destination was given")
    buckets.check_key(place.keys.worker)
    record = Destination(
        secrets.token_hex(16), _NAME, DestinationKind.S3, None, now, None, buckets.settled(place.bucket)
    )
    timeouts = Timeouts(connect_s=machine.limits.connect_timeout_s, read_s=machine.limits.answer_timeout_s)
    return record, open_destination(record, keys=place.keys, timeouts=timeouts, cancel=cancel)


def _choose(there: Sequence[CatalogThere], catalog_id: str | None) -> CatalogThere:
    fits = [one for one in there if catalog_id is None or one.catalog_id.startswith(catalog_id.strip().lower())]
    if len(fits) == 1:
        return fits[0]
    listed = ", ".join(f"{one.catalog_id} (keys of {one.written_at:%Y-%m-%d %H:%M} UTC)" for one in there)
    if fits:
        raise ConfigError(
            "config.ambiguous",
            f"several installations lie there: {listed}",
            hint=f"Say which: `--catalog {fits[0].catalog_id[:12]}`.",
        )
    raise ConfigError("config.not-found", f"there is no such catalog: {listed}", hint="Say one of these: `--catalog`.")


def _held(storage: Storage, catalog_id: str, code: RecoveryCode, cancel: CancelToken) -> Holdings:
    held = holdings.open(shelf.read_bundle(storage, catalog_id, cancel), code)
    if held.catalog_id != catalog_id:
        raise FormatError("format.swapped", f"{shelf.bundle_key(catalog_id)} is the bundle of another installation")
    return held


def _destinations(given: Destination, keys: BucketKeys | None, held: Holdings) -> tuple[Placed, list[Placed]]:
    """The place that was given, as the bundle knows it, and the other destinations of the installation.

    The key that was given is kept, because it is known to work; the prune credential is the bundle's.
    """
    known = [rebuilt.placed(one) for one in held.destinations]
    marks = marked_ids(Path(given.folder)) if given.folder is not None else ()
    mine = [one for one in known if one.record.id in marks and one.record.kind is DestinationKind.FOLDER]
    mine = mine or [one for one in known if rebuilt.same_place(one.record, given)]
    mine.sort(key=lambda one: (one.removed_at is not None, not rebuilt.same_place(one.record, given)))
    others = [one for one in known if not mine or one.record.id != mine[0].record.id]
    taken = {one.record.name for one in others if one.removed_at is None}
    if not mine:  # a copy of a bucket on a disk, or the other way round
        return Placed(replace(given, name=rebuilt.free_name(_NAME, taken)), keys), others
    name = rebuilt.free_name(mine[0].record.name, taken)
    record = replace(mine[0].record, name=name, folder=given.folder, bucket=given.bucket)
    before = mine[0].keys
    if keys is not None and keys.prune is None and before is not None:
        keys = replace(keys, prune=before.prune)
    return Placed(record, keys), others


def _absolute(folder: Path) -> Path:
    return folder.expanduser().absolute()


def _secrets(place: RecoveryPlace) -> tuple[str, ...]:
    return place.keys.secrets() if place.keys is not None else ()
