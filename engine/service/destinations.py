"""Destinations at the door: tried with a real round trip before they are saved; keys of buckets only sealed."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.catalog import Tx
from engine.errors import ConfigError
from engine.evidence import chain
from engine.model import BucketKeys, BucketSpec, Destination, DestinationKind, Role
from engine.model.views import DestinationView, PolicyView, StepView
from engine.redact import holding
from engine.service import buckets
from engine.service.access import needs
from engine.service.connections import check_name
from engine.storage.base import Storage, TestStep
from engine.storage.opening import open_destination

if TYPE_CHECKING:
    from engine.service import Engine

Said = Callable[[StepView], None]
Tried = tuple[DestinationView, tuple[StepView, ...]]


class DestinationsFacet:
    """``engine.destinations``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @needs(Role.ADMIN)
    def add_folder(
        self, name: str, folder: Path, *, cancel: CancelToken | None = None, said: Said | None = None
    ) -> Tried:
        """Make ``folder`` a destination: created if absent, tried with a real round trip, then saved.

        ``said`` hears of every step of the round trip as it is done. Raises ConfigError for the name, StoreError for
        what the round trip ran into; then nothing is saved.
        """
        self._refuse_name(name)
        now = self._engine.clock.now()
        record = Destination(
            secrets.token_hex(16), name, DestinationKind.FOLDER, str(folder.expanduser().absolute()), now, now
        )
        steps = _try(open_destination(record, create=True, cancel=cancel), cancel, said)
        with self._engine.catalog.write() as tx:
            catalogs.destinations.add(tx, record)
            self._event(tx, "destination.added", record)
            view = self._view(tx, record)
        self._engine.recovery.after_change(record.id, cancel)
        return view, steps

    @needs(Role.ADMIN)
    def add_bucket(
        self,
        name: str,
        spec: BucketSpec,
        bucket_keys: BucketKeys,
        *,
        cancel: CancelToken | None = None,
        said: Said | None = None,
    ) -> Tried:
        """Make a place in a bucket a destination: tried with a real round trip, then saved with its keys sealed.

        Raises ConfigError for the name, the address or the form of a key, KeyAccessError, and StoreError for what the
        round trip ran into, with the statement that allows it; then nothing is saved.
        """
        self._refuse_name(name)
        now = self._engine.clock.now()
        record = Destination(secrets.token_hex(16), name, DestinationKind.S3, None, now, now, buckets.settled(spec))
        record, steps = self._try_keys(record, bucket_keys, cancel, said)
        keys = self._engine.keys.open()
        with self._engine.catalog.write() as tx:
            catalogs.installation.refuse_retired(tx, keys.master.kid)
            catalogs.destinations.add(tx, record)
            self._event(tx, "destination.added", record)
            chain.sign_head(tx, keys.signer, self._engine.clock)
            view = self._view(tx, record)
        self._engine.recovery.after_change(record.id, cancel)
        return view, steps

    @needs(Role.ADMIN)
    def change_keys(
        self,
        name: str,
        bucket_keys: BucketKeys,
        *,
        ca_pem: str | None = None,
        cancel: CancelToken | None = None,
        said: Said | None = None,
    ) -> Tried:
        """Give a bucket new keys, and a new CA if one is given. A prune credential that is not given is kept.

        Tried before it is saved. Raises as :meth:`add_bucket`.
        """
        with self._engine.catalog.read() as tx:
            record = catalogs.destinations.by_name(tx, name)
        if record.bucket is None:
            raise ConfigError("config.invalid", f"the destination {name} is a folder and has no keys")
        if bucket_keys.prune is None:
            bucket_keys = replace(bucket_keys, prune=buckets.open_keys(self._engine, record).prune)
        spec = record.bucket if ca_pem is None else buckets.settled(replace(record.bucket, ca_pem=ca_pem))
        tried = replace(record, bucket=spec, tested_at=self._engine.clock.now())
        changed, steps = self._try_keys(tried, bucket_keys, cancel, said)
        keys = self._engine.keys.open()
        with self._engine.catalog.write() as tx:
            catalogs.installation.refuse_retired(tx, keys.master.kid)
            catalogs.destinations.change_keys(tx, changed)
            self._event(tx, "destination.changed", changed)
            chain.sign_head(tx, keys.signer, self._engine.clock)
            view = self._view(tx, changed)
        self._engine.recovery.after_change(record.id, cancel)
        return view, steps

    @needs(Role.OPERATOR)
    def test(self, name: str, *, cancel: CancelToken | None = None, said: Said | None = None) -> tuple[StepView, ...]:
        """The same round trip again. Raises the StoreError of the first step that failed."""
        with self._engine.catalog.read() as tx:
            record = catalogs.destinations.by_name(tx, name)
        steps = _try(self._engine.open_storage(record), cancel, said)
        with self._engine.catalog.write() as tx:
            catalogs.destinations.mark_tested(tx, record.id, self._engine.clock.now())
            self._event(tx, "destination.tested", record)
        return steps

    def policy(self, name: str) -> PolicyView:
        """What the keys of a bucket must be allowed to do. Raises ConfigError for a folder."""
        with self._engine.catalog.read() as tx:
            record = catalogs.destinations.by_name(tx, name)
        if record.bucket is None:
            raise ConfigError(
                "config.invalid",
                f"the destination {name} is a folder: it needs no policy",
                hint="Its directory belongs to the OS user that runs the worker, mode 0700.",
            )
        return buckets.bucket_policy(record.bucket)

    def list(self) -> tuple[DestinationView, ...]:
        with self._engine.catalog.read() as tx:
            return tuple(self._view(tx, record) for record in catalogs.destinations.list_all(tx))

    @needs(Role.ADMIN, dangerous=True)
    def remove(self, name: str) -> None:
        """Forget the destination. Nothing at the destination is touched. Refused while a connection uses it."""
        with self._engine.catalog.write() as tx:
            record = catalogs.destinations.by_name(tx, name)
            catalogs.destinations.remove(tx, record.id, self._engine.clock.now())
            self._event(tx, "destination.removed", record)

    def _refuse_name(self, name: str) -> None:
        check_name(name)
        with self._engine.catalog.read() as tx:
            taken = catalogs.destinations.list_all(tx)
        if any(d.name == name for d in taken):
            raise ConfigError("config.name-taken", f"there is a destination {name!r} already")

    def _try_keys(
        self, record: Destination, bucket_keys: BucketKeys, cancel: CancelToken | None, said: Said | None
    ) -> tuple[Destination, tuple[StepView, ...]]:
        """Try the bucket under these keys; the record with the keys sealed."""
        for key in (bucket_keys.worker, *((bucket_keys.prune,) if bucket_keys.prune else ())):
            buckets.check_key(key)
        keys = self._engine.keys.open()  # before the round trip: what cannot be sealed need not be tried
        with holding(*bucket_keys.secrets()):
            steps = _try(self._engine.open_with(record, bucket_keys), cancel, said)
        return replace(record, keys=buckets.seal_keys(self._engine, keys, record.id, bucket_keys)), steps

    def _view(self, tx: Tx, record: Destination) -> DestinationView:
        users = [c for c in catalogs.connections.list_all(tx) if c.destination_id == record.id]
        spec, sealed = record.bucket, record.keys
        return DestinationView(
            id=record.id,
            name=record.name,
            kind=record.kind,
            where=record.where,
            created_at=record.created_at,
            tested_at=record.tested_at,
            connections=len(users),
            endpoint=spec.endpoint if spec else None,
            provider=spec.provider if spec else None,
            region=spec.region if spec else None,
            prunes=sealed is not None and sealed.prune_access_key is not None,
        )

    def _event(self, tx: Tx, kind: str, record: Destination) -> None:
        chain.append_event(
            tx, self._engine.clock, actor=self._engine.actor, kind=kind, subject=record.id, data={"name": record.name}
        )


def _try(storage: Storage, cancel: CancelToken | None, said: Said | None) -> tuple[StepView, ...]:
    """The steps of a round trip. Raises the error of the first that failed."""

    def hear(step: TestStep) -> None:
        if said is not None and step.ok is not None:
            said(StepView(step.name, step.ok, step.detail, step.info))

    tested = storage.test(cancel or CancelToken(), hear)
    for step in tested.steps:
        if step.error is not None:
            raise step.error
    return tuple(StepView(step.name, True, step.detail, step.info) for step in tested.steps)
