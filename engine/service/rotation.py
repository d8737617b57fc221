"""Rotating the master key, and letting go of epochs that nothing needs any more.

A rotation is one writing transaction: the new key lies in the keyring and was read back before it begins, and whatever
is sealed (wherever the catalog declares a sealed column), the key-check record, the epoch and the recovery bundle
change together in it. Killed before its commit, the old epoch is in use and a key that nothing needs lies in the
keyring; killed after it, the new one is. Snapshots are not touched: each opens with the epoch it was taken under.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.catalog import Tx
from engine.errors import ConfigError, KeyAccessError
from engine.evidence import chain
from engine.keys.backends import kind_of
from engine.keys.binding import show_kid
from engine.keys.door import KeyStore
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryBundle, RecoveryPublic, seal_bundle
from engine.keys.seals import field_kid, open_field, seal_field
from engine.model import Installation, JobState
from engine.model.recovery import RemarkKind
from engine.model.views import KeyEpoch, KeyRotated
from engine.service.duties import Duty
from engine.snapshot import Keys

if TYPE_CHECKING:
    from engine.service import Engine

ROTATED, RETIRED, RESEALED = "key.rotated", "key.retired", "key.resealed"
_UNSEEN = tuple(f"recovery.{kind.value}" for kind in (RemarkKind.NOT_REACHED, RemarkKind.UNREADABLE))
"""A recovery could not read all that there is: what it left out may need an epoch, and this catalog cannot know."""
KEEP = timedelta(days=7)
"""How long an epoch is kept at least after it was replaced: whatever began under it has ended by then."""
EVERY_S = 3600.0
_PAGE = 1000


@dataclass(slots=True)
class Past:
    """What the history of events says of the epochs."""

    kid: dict[int, str] = field(default_factory=dict)
    since: dict[int, datetime] = field(default_factory=dict)
    retired: set[int] = field(default_factory=set)
    held_to: int = 0
    """Epochs up to this one came with a recovery that could not read everything: they are never retired."""


class Rotation:
    """Changes of the master key of one installation."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def duty(self) -> Duty:
        return Duty("master key", EVERY_S, self.tidy)

    # rotating

    def rotate(self) -> KeyRotated:
        """Make a new epoch the current one.

        Raises KeyAccessError, ConfigError ``config.in-use``, CatalogError; then nothing has changed.
        """
        engine = self._engine
        with self._alone():
            found = engine.keys.installation()
            _refuse_read_only(found.key_backend)
            keys = engine.keys.open()
            masters = keys.epochs.at_hand()
            with engine.catalog.read() as tx:
                _refuse_without(tx, masters)
            store = engine.key_store(found.key_backend)
            new = _next_key(store, found.catalog_id, masters)
            store.store(found.catalog_id, new)  # read back before it counts
            with engine.catalog.write() as tx:
                fields = self._activate(tx, found, keys, masters, new)
        return self._after_rotation(found, new, fields)

    def _activate(self, tx: Tx, found: Installation, keys: Keys, masters: Sequence[MasterKey], new: MasterKey) -> int:
        """Everything that a rotation changes in the catalog; how many fields were sealed anew."""
        now = catalogs.installation.get(tx)
        if now is None or (now.kid, now.key_epoch, now.key_backend) != (found.kid, found.key_epoch, found.key_backend):
            raise ConfigError(
                "config.in-use",
                "somebody else has changed the master key meanwhile",
                hint="Look at it with `offsitedb key status`, and rotate again if it is still wanted.",
            )
        _refuse_without(tx, masters)
        fields = _reseal(tx, found.catalog_id, new, masters)
        catalogs.installation.replace_key(
            tx,
            key_backend=found.key_backend,
            key_epoch=new.epoch,
            kid=new.kid,
            key_check=new.check_record(found.catalog_id),
            recovery_bundle=_bundle(found, (*masters, new)),
        )
        data: dict[str, str | int | bool | None] = {
            "from": found.kid,
            "to": new.kid,
            "epoch": new.epoch,
            "fields": fields,
            "key_backend": found.key_backend,
        }
        self._event(tx, keys, ROTATED, new.kid, data)
        return fields

    def _after_rotation(self, found: Installation, new: MasterKey, fields: int) -> KeyRotated:
        """What a rotation leaves to others: copies of the bundle and of the key that were made before it are old."""
        with self._engine.catalog.read() as tx:
            older = sum(n for kid, n in catalogs.snapshots.kids(tx).items() if kid != new.kid)
        left = []
        if found.key_backend == "kernel":
            left.append("This keyring is emptied at every restart: `offsitedb key install-systemd` makes the key last.")
        if self._engine.catalog.dialect != "sqlite":
            left.append("Other hosts on this catalog need the new key: run `offsitedb key restore` on each of them.")
        return KeyRotated(found.kid, new.kid, new.epoch, found.key_backend, fields, older, tuple(left))

    # letting go

    def tidy(self) -> None:
        """Seal anew what somebody who began before a rotation has sealed since; retire what nothing needs.

        A worker's duty. What is retired leaves the bundle and the history says so before it leaves the keyring, on
        each host by its own worker. Raises KeyAccessError.
        """
        engine = self._engine
        if engine.keys.installation().key_epoch == 1:
            return
        with self._alone():
            found, keys = engine.keys.installation(), engine.keys.open()
            masters = keys.epochs.at_hand()
            with engine.catalog.read() as tx:
                late = _needs(tx).fields.keys() - {keys.master.kid}
                idle = self._idle(tx, found, masters)
            if late or idle:
                with engine.catalog.write() as tx:
                    self._tidy(tx, found, keys, masters)
            self._forget(engine.key_store(found.key_backend), found, masters)

    def _tidy(self, tx: Tx, found: Installation, keys: Keys, masters: Sequence[MasterKey]) -> None:
        if catalogs.installation.get(tx) != found:
            return  # rotated on another host: the next turn looks again
        if fields := _reseal(tx, found.catalog_id, keys.master, masters):
            self._event(tx, keys, RESEALED, keys.master.kid, {"fields": fields})
        idle = self._idle(tx, found, masters)
        if not idle or _lacking(tx, masters):
            return  # of a bundle that this host makes anew, what it lacks would be missing
        catalogs.installation.set_bundle(tx, _bundle(found, [m for m in masters if m not in idle]))
        for master in idle:
            self._event(tx, keys, RETIRED, master.kid, {"epoch": master.epoch})

    def _idle(self, tx: Tx, found: Installation, masters: Sequence[MasterKey]) -> list[MasterKey]:
        """Older epochs that are here, needed by nothing, and not retired yet."""
        past, needs = _past(tx, found), _needs(tx)
        running = catalogs.jobs.list_recent(tx, states=(JobState.RUNNING,), limit=10_000)
        begun = min((job.started_at for job in running if job.started_at is not None), default=None)
        idle = []
        for master in masters:
            if master.epoch == found.key_epoch or master.epoch in past.retired or needs.of(master.kid):
                continue
            if master.epoch <= past.held_to:
                continue
            replaced = past.since.get(master.epoch + 1)
            if replaced is None or self._engine.clock.now() < replaced + KEEP:
                continue
            if begun is None or begun > replaced:  # whoever runs since before it has the old key in memory
                idle.append(master)
        return idle

    def _forget(self, store: KeyStore, found: Installation, masters: Sequence[MasterKey]) -> None:
        """Remove what was retired from this host's keyring; never on the history's word alone."""
        with self._engine.catalog.read() as tx:
            retired, needs = _past(tx, found).retired, _needs(tx)
        for master in masters:
            if master.epoch in retired and master.epoch != found.key_epoch and not needs.of(master.kid):
                store.delete(found.catalog_id, master.epoch)

    # looking

    def epochs(self, found: Installation, at_hand: Sequence[MasterKey] | None) -> tuple[KeyEpoch, ...]:
        """Every epoch, newest first. ``at_hand``: what this host holds; None: the keyring could not be asked."""
        here = {master.epoch: master for master in at_hand or ()}
        with self._engine.catalog.read() as tx:
            past, needs = _past(tx, found), _needs(tx)
        past.kid[found.key_epoch] = found.kid
        told = []
        for epoch in range(found.key_epoch, 0, -1):
            kid = here[epoch].kid if epoch in here else past.kid.get(epoch)
            snapshots, fields = (needs.snapshots[kid], needs.fields[kid]) if kid is not None else (0, 0)
            if epoch == found.key_epoch:
                state = "current"
            elif epoch in past.retired:
                state = "retired"
            else:
                state = "older" if epoch in here else "unknown" if at_hand is None else "absent"
            until = past.since.get(epoch + 1)
            why = _why(state, snapshots, fields, None if until is None or epoch <= past.held_to else until + KEEP)
            if epoch <= past.held_to and state == "older" and not (snapshots or fields):
                why = "kept: the recovery could not read everything, and what it left out may need it"
            told.append(KeyEpoch(epoch, kid, state, past.since.get(epoch), snapshots, fields, why))
        return tuple(told)

    def retired(self, found: Installation) -> frozenset[int]:
        """Epochs that nothing needs any more."""
        with self._engine.catalog.read() as tx:
            return frozenset(_past(tx, found).retired)

    # what both need

    def _event(self, tx: Tx, keys: Keys, kind: str, subject: str, data: dict[str, str | int | bool | None]) -> None:
        engine = self._engine
        chain.append_event(tx, engine.clock, actor=engine.actor, kind=kind, subject=subject, data=data)
        chain.sign_head(tx, keys.signer, engine.clock)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process of this host at a time. Raises ConfigError ``config.in-use``."""
        fd = os.open(self._engine.paths.home / "rotation.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                raise ConfigError(
                    "config.in-use",
                    "another process is at the master key just now",
                    hint="Look at it with `offsitedb key status`, and try again in a moment.",
                ) from e
            yield
        finally:
            os.close(fd)


@dataclass(frozen=True, slots=True)
class _Needs:
    """What is sealed under each key id."""

    snapshots: Counter[str]
    fields: Counter[str]

    def of(self, kid: str) -> bool:
        return bool(self.snapshots[kid] or self.fields[kid])


def _needs(tx: Tx) -> _Needs:
    fields: Counter[str] = Counter()
    for cell in catalogs.sealed.every(tx):
        with suppress(KeyAccessError):  # what is damaged opens with no key
            fields[field_kid(cell.value)] += 1
    return _Needs(Counter(catalogs.snapshots.kids(tx)), fields)


def _lacking(tx: Tx, masters: Sequence[MasterKey]) -> list[str]:
    """Key ids that something needs and that are not among ``masters``."""
    needs = _needs(tx)
    return sorted((needs.snapshots + needs.fields).keys() - {master.kid for master in masters})


def _past(tx: Tx, found: Installation) -> Past:
    past = Past(since={1: found.created_at})
    after = 0
    while page := catalogs.events.list_of_kinds(tx, (ROTATED, RETIRED, *_UNSEEN), after=after, limit=_PAGE):
        for event in page:
            if event.kind in _UNSEEN:
                past.held_to = found.key_epoch
                continue
            epoch = event.data.get("epoch")
            if not isinstance(epoch, int):
                continue
            if event.kind == RETIRED:
                past.retired.add(epoch)
                continue
            past.held_to = min(past.held_to, epoch - 1)  # those that a rotation has made since are known
            past.kid[epoch], past.since[epoch] = event.subject, event.at
            past.kid.setdefault(epoch - 1, str(event.data.get("from")))
        after = page[-1].seq
    return past


def _refuse_without(tx: Tx, masters: Sequence[MasterKey]) -> None:
    """An epoch that is needed and not here would be missing from the new bundle. Raises KeyAccessError."""
    lacking = _lacking(tx, masters)
    if lacking:
        raise KeyAccessError(
            "key.missing",
            f"snapshots or sealed values need {' and '.join(map(show_kid, lacking))}, which this host's keyring lacks;"
            " nothing was changed",
            hint="Run `offsitedb key restore` with the recovery code: it brings every epoch back. Then rotate.",
        )


def _refuse_read_only(backend: str) -> None:
    kind = kind_of(backend)
    if kind is not None and not kind.writable:
        raise KeyAccessError(
            "key.write-failed",
            f"the keyring {backend} is read-only and cannot be given a new key; nothing was changed",
            hint="Run `offsitedb key restore` with the recovery code: it puts the key where it can be written. Then"
            " rotate, and run `offsitedb key install-systemd` again.",
        )


def _next_key(store: KeyStore, catalog_id: str, masters: Sequence[MasterKey]) -> MasterKey:
    """The key of the next epoch: the one that a rotation which came to no end has left there, or a new one.

    What lies there is kept where it can be: a catalog that was put back from a copy has sealed snapshots under it.
    """
    epoch = masters[-1].epoch + 1
    try:
        left = store.load(catalog_id, epoch)
    except KeyAccessError as e:
        if e.code not in ("key.missing", "key.wrong"):
            raise
        return MasterKey.generate(epoch)
    return MasterKey.generate(epoch) if left.kid in {master.kid for master in masters} else left


def _reseal(tx: Tx, catalog_id: str, new: MasterKey, masters: Sequence[MasterKey]) -> int:
    """Seal every cell under ``new`` that is under another epoch; how many. Raises KeyAccessError for a damaged one."""
    by_kid = {master.kid: master for master in masters}
    fields = 0
    for cell in catalogs.sealed.every(tx):
        kid = field_kid(cell.value)
        if kid == new.kid:
            continue
        if kid not in by_kid:
            raise KeyAccessError("key.missing", f"{cell.table}.{cell.column} needs {show_kid(kid)}, which is not here")
        place = {"catalog_id": catalog_id, "table": cell.table, "column": cell.column, "row_id": cell.row_id}
        value = open_field(by_kid[kid], **place, value=cell.value)
        catalogs.sealed.replace(tx, cell, seal_field(new, **place, value=value))
        fields += 1
    return fields


def _bundle(found: Installation, masters: Sequence[MasterKey]) -> str:
    """Sealed to the recovery key's public half: nobody needs the code for it."""
    public = RecoveryPublic(bytes.fromhex(found.recovery_public))
    return seal_bundle(public, found.catalog_id, RecoveryBundle(tuple(masters)))


def _why(state: str, snapshots: int, fields: int, until: datetime | None) -> str:
    if state == "current":
        return "seals whatever is written from now on"
    if state == "retired":
        return "needed by nothing, and removed"
    counted = [f"{n:,} {what}{'' if n == 1 else 's'}" for n, what in ((snapshots, "snapshot"), (fields, "field")) if n]
    if counted:
        return f"opens {' and '.join(counted)}"
    if state in ("absent", "unknown"):
        return "nothing in this catalog needs it"
    return "needed by nothing" + ("" if until is None else f", kept until {until:%Y-%m-%d}")
