"""Destinations at the door: tried with a real round trip before they are saved."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.catalog import Tx
from engine.errors import ConfigError
from engine.evidence import chain
from engine.model import Destination, DestinationKind
from engine.model.views import DestinationView, StepView
from engine.service.connections import check_name
from engine.storage.base import StorageTest

if TYPE_CHECKING:
    from engine.service import Engine


class DestinationsFacet:
    """``engine.destinations``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add_folder(self, name: str, folder: Path) -> tuple[DestinationView, tuple[StepView, ...]]:
        """Make ``folder`` a destination: created if absent, tried with a real round trip, then saved.

        Raises ConfigError for the name, StoreError for what the round trip ran into; then nothing is saved.
        """
        check_name(name)
        with self._engine.catalog.read() as tx:
            taken = catalogs.destinations.list_all(tx)
        if any(d.name == name for d in taken):
            raise ConfigError("config.name-taken", f"there is a destination {name!r} already")
        now = self._engine.clock.now()
        record = Destination(
            secrets.token_hex(16), name, DestinationKind.FOLDER, str(folder.expanduser().absolute()), now, now
        )
        steps = self._try(record, create=True)
        with self._engine.catalog.write() as tx:
            catalogs.destinations.add(tx, record)
            self._event(tx, "destination.added", record)
            return self._view(tx, record), steps

    def test(self, name: str) -> tuple[StepView, ...]:
        """The same round trip again. Raises the StoreError of the first step that failed."""
        with self._engine.catalog.read() as tx:
            record = catalogs.destinations.by_name(tx, name)
        steps = self._try(record, create=False)
        with self._engine.catalog.write() as tx:
            catalogs.destinations.mark_tested(tx, record.id, self._engine.clock.now())
        return steps

    def list(self) -> tuple[DestinationView, ...]:
        with self._engine.catalog.read() as tx:
            return tuple(self._view(tx, record) for record in catalogs.destinations.list_all(tx))

    def remove(self, name: str) -> None:
        """Forget the destination. Nothing at the destination is touched. Refused while a connection uses it."""
        with self._engine.catalog.write() as tx:
            record = catalogs.destinations.by_name(tx, name)
            catalogs.destinations.remove(tx, record.id, self._engine.clock.now())
            self._event(tx, "destination.removed", record)

    def _try(self, record: Destination, *, create: bool) -> tuple[StepView, ...]:
        tested: StorageTest = self._engine.open_storage(record, create=create).test(CancelToken())
        for step in tested.steps:
            if step.error is not None:
                raise step.error
        return tuple(StepView(step.name, True, step.detail) for step in tested.steps)

    def _view(self, tx: Tx, record: Destination) -> DestinationView:
        users = [c for c in catalogs.connections.list_all(tx) if c.destination_id == record.id]
        return DestinationView(
            record.id, record.name, record.kind, record.folder or "", record.created_at, record.tested_at, len(users)
        )

    def _event(self, tx: Tx, kind: str, record: Destination) -> None:
        chain.append_event(
            tx, self._engine.clock, actor=self._engine.actor, kind=kind, subject=record.id, data={"name": record.name}
        )
