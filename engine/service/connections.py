"""Connections at the door: tested before they are saved, sealed when they are, opened only to be used."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine import preflight
from engine.cancel import CancelToken
from engine.catalog import Tx
from engine.catalog.watch import Standing
from engine.errors import ConfigError
from engine.evidence import chain
from engine.model import CheckStatus, ConnectionRecord, Role
from engine.model.views import Captured, ConnectionDetail, ConnectionView, PreflightView
from engine.model.watch import AddressView
from engine.postgres.conninfo import Conninfo, parse
from engine.postgres.providers import recognise
from engine.preflight import Preflight
from engine.redact import holding
from engine.service.access import needs
from engine.service.durations import duration_text
from engine.service.labels import check_label

if TYPE_CHECKING:
    from engine.service import Engine

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class ConnectionsFacet:
    """``engine.connections``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @needs(Role.OPERATOR)
    def add(
        self, name: str, destination: str, text: str, *, accept_empty: bool = False, cancel: CancelToken | None = None
    ) -> tuple[ConnectionView, PreflightView]:
        """Parse, test and preflight ``text``, and only then seal and save it.

        Raises ConfigError (name, destination, connection string), SourceError (cannot be reached or read) and
        PreflightFailed; in each case nothing is saved.
        """
        check_name(name)
        with self._engine.catalog.read() as tx:
            target = catalogs.destinations.by_name(tx, destination)
            if any(c.name == name for c in catalogs.connections.list_all(tx)):
                raise ConfigError("config.name-taken", f"there is a connection {name!r} already")
        keys = self._engine.keys.open()
        conninfo = parse(text)
        found = self._preflight(conninfo, accept_empty=accept_empty, cancel=cancel)
        preflight.raise_if_blocking(found)
        now = self._engine.clock.now()
        connection_id = secrets.token_hex(16)
        record = ConnectionRecord(
            id=connection_id,
            name=name,
            destination_id=target.id,
            conninfo_sealed=self._engine.keys.seal(keys, "connections", "conninfo", connection_id, conninfo.to_url()),
            provider=recognise(conninfo.host),
            accept_empty=accept_empty,
            created_at=now,
            tested_at=now,
        )
        with self._engine.catalog.write() as tx:
            catalogs.installation.refuse_retired(tx, keys.master.kid)
            catalogs.connections.add(tx, record)
            self._event(tx, "connection.added", record.id, name)
            chain.sign_head(tx, keys.signer, self._engine.clock)
            return self.view(tx, record), _view(found)

    @needs(Role.OPERATOR)
    def edit(
        self,
        name: str,
        *,
        text: str | None = None,
        destination: str | None = None,
        accept_empty: bool | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[ConnectionView, PreflightView]:
        """Change what is given; the result is tested as a whole before it is saved."""
        keys = self._engine.keys.open()
        record = self._by_name(name)
        with self._engine.catalog.read() as tx:
            target = catalogs.destinations.by_name(tx, destination).id if destination else record.destination_id
        conninfo = parse(text) if text is not None else self.conninfo(record)
        empty = record.accept_empty if accept_empty is None else accept_empty
        found = self._preflight(conninfo, accept_empty=empty, cancel=cancel)
        preflight.raise_if_blocking(found)
        changed = replace(
            record,
            destination_id=target,
            conninfo_sealed=self._engine.keys.seal(keys, "connections", "conninfo", record.id, conninfo.to_url()),
            provider=recognise(conninfo.host),
            accept_empty=empty,
            tested_at=self._engine.clock.now(),
        )
        with self._engine.catalog.write() as tx:
            catalogs.installation.refuse_retired(tx, keys.master.kid)
            catalogs.connections.update(tx, changed)
            self._event(tx, "connection.changed", record.id, name)
            chain.sign_head(tx, keys.signer, self._engine.clock)
            return self.view(tx, changed), _view(found)

    def read(self, text: str) -> AddressView:
        """What a connection string says, without its password; nothing is reached. Raises ConfigError."""
        return _address(parse(text))

    @needs(Role.OPERATOR)
    def try_out(
        self, text: str, *, accept_empty: bool = False, cancel: CancelToken | None = None
    ) -> tuple[AddressView, PreflightView]:
        """Parse, connect and look at ``text``, and save nothing.

        Blocking findings are in the view. Raises ConfigError, and SourceError when it cannot look at all.
        """
        conninfo = parse(text)
        return _address(conninfo), _view(self._preflight(conninfo, accept_empty=accept_empty, cancel=cancel))

    @needs(Role.OPERATOR)
    def set_targets(self, name: str, *, proof_s: float | None, restore_s: float | None) -> ConnectionView:
        """How old the newest proof may be and how long a restore may take, in seconds; None: no target.

        Raises ConfigError ``config.not-found``, ``config.invalid``.
        """
        for seconds in (proof_s, restore_s):
            if seconds is not None and not 0 < seconds < math.inf:
                raise ConfigError("config.invalid", f"{seconds:g} s is no target")
        with self._engine.catalog.write() as tx:
            record = catalogs.connections.by_name(tx, name)
            catalogs.connections.set_targets(tx, record.id, proof_s=proof_s, restore_s=restore_s)
            told = {"proof": duration_text(proof_s), "restore": duration_text(restore_s)}
            self._event(tx, "connection.targets-set", record.id, name, told)
            return self.view(tx, catalogs.connections.get(tx, record.id))

    @needs(Role.OPERATOR)
    def set_fingerprint(self, name: str, *, wanted: bool) -> ConnectionView:
        """Whether snapshots from now on hold a fingerprint of each table's content, for their drills to compare.

        Raises ConfigError ``config.not-found``.
        """
        with self._engine.catalog.write() as tx:
            record = catalogs.connections.by_name(tx, name)
            catalogs.connections.set_fingerprint(tx, record.id, wanted=wanted)
            self._event(tx, "connection.fingerprint-set", record.id, name, {"wanted": "yes" if wanted else "no"})
            return self.view(tx, catalogs.connections.get(tx, record.id))

    @needs(Role.OPERATOR)
    def set_worker_label(self, name: str, label: str | None) -> ConnectionView:
        """Only workers that bear ``label`` run the connection's jobs; None: any worker.

        Raises ConfigError ``config.not-found``, ``config.invalid``.
        """
        if label is not None:
            check_label(label)
        with self._engine.catalog.write() as tx:
            record = catalogs.connections.by_name(tx, name)
            catalogs.connections.set_worker_label(tx, record.id, label)
            self._event(tx, "connection.worker-label-set", record.id, name, {"label": label or "any"})
            return self.view(tx, catalogs.connections.get(tx, record.id))

    def newest_size(self, name: str) -> int | None:
        """Bytes of the database when its newest snapshot was taken; None: there is none."""
        with self._engine.catalog.read() as tx:
            newest = catalogs.snapshots.newest(tx, catalogs.connections.by_name(tx, name).id)
        return None if newest is None else newest.details.dump_bytes

    def get(self, name: str) -> ConnectionView:
        """The connection under this name; no key is needed. Raises ConfigError ``config.not-found``."""
        with self._engine.catalog.read() as tx:
            return self.view(tx, catalogs.connections.by_name(tx, name))

    def list(self) -> tuple[ConnectionView, ...]:
        with self._engine.catalog.read() as tx:
            where = {d.id: d.name for d in catalogs.destinations.list_all(tx)}
            scratch = {s.id: s.name for s in catalogs.scratch_servers.list_all(tx)}
            found = catalogs.watch.standings(tx)
        return tuple(
            _connection(s, where[s.connection.destination_id], scratch.get(s.connection.scratch_server_id or ""))
            for s in found
        )

    def show(self, name: str) -> ConnectionDetail:
        """With the string opened in memory and described without its password."""
        record = self._by_name(name)
        conninfo = self.conninfo(record)
        with self._engine.catalog.read() as tx:
            return ConnectionDetail(self.view(tx, record), conninfo.describe(), conninfo.sslmode, conninfo.notes)

    @needs(Role.OPERATOR)
    def preflight(self, name: str, cancel: CancelToken | None = None) -> PreflightView:
        """What a snapshot taken now would hold, what not and why. Raises only when it cannot look at all."""
        record = self._by_name(name)
        return _view(self._preflight(self.conninfo(record), accept_empty=record.accept_empty, cancel=cancel))

    @needs(Role.OPERATOR)
    def test(self, name: str, cancel: CancelToken | None = None) -> PreflightView:
        """Connect and look, note the time; raises SourceError when it cannot, PreflightFailed when it would not do."""
        record = self._by_name(name)
        found = self._preflight(self.conninfo(record), accept_empty=record.accept_empty, cancel=cancel)
        preflight.raise_if_blocking(found)
        with self._engine.catalog.write() as tx:
            catalogs.connections.mark_tested(tx, record.id, self._engine.clock.now())
            self._event(tx, "connection.tested", record.id, name)
        return _view(found)

    @needs(Role.OPERATOR, dangerous=True)
    def remove(self, name: str) -> None:
        """Forget the connection string. Snapshots, receipts and history stay."""
        with self._engine.catalog.write() as tx:
            record = catalogs.connections.by_name(tx, name)
            catalogs.connections.remove(tx, record.id, self._engine.clock.now())
            self._event(tx, "connection.removed", record.id, name)

    def conninfo(self, record: ConnectionRecord) -> Conninfo:
        """Open the sealed connection string. Raises KeyAccessError."""
        keys = self._engine.keys.open()
        return parse(self._engine.keys.unseal(keys, "connections", "conninfo", record.id, record.conninfo_sealed))

    def view(self, tx: Tx, record: ConnectionRecord) -> ConnectionView:
        (standing,) = catalogs.watch.standings(tx, connection_id=record.id)
        server = standing.connection.scratch_server_id
        scratch = catalogs.scratch_servers.get(tx, server).name if server is not None else None
        return _connection(standing, catalogs.destinations.get(tx, record.destination_id).name, scratch)

    def _preflight(self, conninfo: Conninfo, *, accept_empty: bool, cancel: CancelToken | None) -> Preflight:
        with holding(*conninfo.secrets()):
            return preflight.run(
                conninfo,
                toolsets=self._engine.toolsets(),
                accept_empty=accept_empty,
                cancel=cancel or CancelToken(),
                clock=self._engine.clock,
                job="console",
            )

    def _by_name(self, name: str) -> ConnectionRecord:
        with self._engine.catalog.read() as tx:
            return catalogs.connections.by_name(tx, name)

    def _event(self, tx: Tx, kind: str, subject: str, name: str, told: Mapping[str, str] | None = None) -> None:
        data = {"name": name, **(told or {})}
        chain.append_event(tx, self._engine.clock, actor=self._engine.actor, kind=kind, subject=subject, data=data)


def check_name(name: str) -> None:
    """Names of connections and destinations: they stand in commands, keys and reports."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            "config.invalid",
            f"{name[:80]!r} cannot be a name",
            hint="Use 1 to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit.",
        )


def _connection(standing: Standing, destination: str, scratch: str | None) -> ConnectionView:
    record = standing.connection
    return ConnectionView(
        id=record.id,
        name=record.name,
        destination=destination,
        provider=record.provider,
        created_at=record.created_at,
        tested_at=record.tested_at,
        accept_empty=record.accept_empty,
        newest_proven_at=standing.newest_proven_at,
        last_verdict=standing.last_verdict,
        proof_target_s=record.proof_target_s,
        restore_target_s=record.restore_target_s,
        scratch=scratch,
        fingerprint=record.fingerprint,
        worker_label=record.worker_label,
    )


def _address(conninfo: Conninfo) -> AddressView:
    return AddressView(conninfo.describe(), recognise(conninfo.host), conninfo.sslmode, conninfo.notes)


def _view(found: Preflight) -> PreflightView:
    inventory, facts = found.inventory, found.facts
    return PreflightView(
        checks=found.checks,
        captured=Captured(
            tables=len(inventory.tables),
            tables_in_source=inventory.relations_total,
            objects=inventory.objects,
            database_bytes=facts.size_bytes,
            extensions=tuple(e.name for e in inventory.needs.extensions),
        ),
        not_captured=found.not_captured,
        blocking=any(c.status is CheckStatus.FAIL for c in found.checks),
    )
