"""Scratch servers at the door: servers given to drills, tried before they are saved, never one that is backed up.

What must not be used is known from two sides: the addresses of every connection, and the system identifiers that their
newest snapshots were taken from. A server that does not tell its identifier is refused, too.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.errors import OffsiteError
from engine.evidence import chain
from engine.model import ConnectionRecord, JobState, Role, ScratchServer
from engine.model.views import ConnectionView, ScratchServerView
from engine.postgres import external
from engine.postgres.conninfo import Conninfo, parse
from engine.postgres.external import Given
from engine.redact import holding
from engine.service.access import needs
from engine.service.connections import check_name

if TYPE_CHECKING:
    from engine.service import Engine


class ScratchFacet:
    """``engine.scratch``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @needs(Role.ADMIN)
    def add(self, name: str, text: str, cancel: CancelToken | None = None) -> ScratchServerView:
        """Parse and try the server, and only then seal and save its string.

        Raises ConfigError, SourceError, CouldNotVerify ``drill.external``; then nothing is saved.
        """
        check_name(name)
        keys = self._engine.keys.open()
        conninfo = parse(text)
        version = self._try(self._given(name, conninfo), cancel)
        now, server_id = self._engine.clock.now(), secrets.token_hex(16)
        sealed = self._engine.keys.seal(keys, "scratch_servers", "conninfo", server_id, conninfo.to_url())
        record = ScratchServer(server_id, name, sealed, now, now)
        with self._engine.catalog.write() as tx:
            catalogs.installation.refuse_retired(tx, keys.master.kid)
            catalogs.scratch_servers.add(tx, record)
            self._event(tx, "scratch.added", server_id, name)
            chain.sign_head(tx, keys.signer, self._engine.clock)
        return self._view(record, conninfo, version)

    def list(self) -> tuple[ScratchServerView, ...]:
        """The servers in use, without their passwords. Raises KeyAccessError."""
        with self._engine.catalog.read() as tx:
            records = catalogs.scratch_servers.list_all(tx)
        return tuple(self._view(r, self._conninfo(r)) for r in records)

    def names(self) -> dict[str, str]:
        """Names by id; no key is needed."""
        with self._engine.catalog.read() as tx:
            return {r.id: r.name for r in catalogs.scratch_servers.list_all(tx)}

    @needs(Role.OPERATOR)
    def test(self, name: str, cancel: CancelToken | None = None) -> ScratchServerView:
        """Whether a drill could use it now. Raises as :meth:`add`."""
        with self._engine.catalog.read() as tx:
            record = catalogs.scratch_servers.by_name(tx, name)
        conninfo = self._conninfo(record)
        version = self._try(self._given(name, conninfo), cancel)
        with self._engine.catalog.write() as tx:
            catalogs.scratch_servers.mark_tested(tx, record.id, self._engine.clock.now())
            self._event(tx, "scratch.tested", record.id, name)
            return self._view(catalogs.scratch_servers.get(tx, record.id), conninfo, version)

    @needs(Role.ADMIN)
    def remove(self, name: str) -> None:
        """Forget the server's string. Raises ConfigError ``config.in-use``."""
        with self._engine.catalog.write() as tx:
            record = catalogs.scratch_servers.by_name(tx, name)
            catalogs.scratch_servers.remove(tx, record.id, self._engine.clock.now())
            self._event(tx, "scratch.removed", record.id, name)

    @needs(Role.OPERATOR)
    def use(self, connection: str, name: str | None) -> ConnectionView:
        """Have the drills of ``connection`` restore into server ``name``; None: into a cluster of their own."""
        with self._engine.catalog.write() as tx:
            record = catalogs.connections.by_name(tx, connection)
            server = None if name is None else catalogs.scratch_servers.by_name(tx, name).id
            catalogs.scratch_servers.use(tx, record.id, server)
            self._event(tx, "connection.scratch-set", record.id, connection, name or "none")
            return self._engine.connections.view(tx, catalogs.connections.get(tx, record.id))

    def given(self, connection: ConnectionRecord) -> Given | None:
        """The server for a drill of ``connection``, opened in memory. Raises KeyAccessError, ConfigError."""
        if connection.scratch_server_id is None:
            return None
        with self._engine.catalog.read() as tx:
            record = catalogs.scratch_servers.get(tx, connection.scratch_server_id)
        return self._given(record.name, self._conninfo(record))

    def sweep(self) -> None:
        """Remove what dead drills of this catalog left on given servers, where those can be reached."""
        with self._engine.catalog.read() as tx:
            records = catalogs.scratch_servers.list_all(tx)
            running = catalogs.jobs.list_recent(tx, states=(JobState.RUNNING,), limit=10_000)
            installation = catalogs.installation.get(tx)
        if not records or installation is None:
            return
        ours = f"{external.PREFIX}{installation.catalog_id[:8]}_"
        living = tuple(ours + job.id[:8] for job in running)
        for record in records:
            try:
                conninfo = self._conninfo(record)
                with holding(*conninfo.secrets()):
                    removed = external.remove(
                        Given(record.name, conninfo), lambda n: n.startswith(ours) and not n.startswith(living)
                    )
            except OffsiteError:  # cannot be reached now: the next sweep, or the next drill, tells
                continue
            if removed:
                with self._engine.catalog.write() as tx:
                    self._event(tx, "scratch.swept", record.id, record.name, ", ".join(removed)[:500])

    def _given(self, name: str, conninfo: Conninfo) -> Given:
        protected: set[tuple[str, int, str]] = set()
        identifiers: set[str] = set()
        with self._engine.catalog.read() as tx:
            connections = catalogs.connections.list_all(tx)
            newest = [catalogs.snapshots.newest(tx, c.id) for c in connections]
        for connection in connections:
            source = self._engine.connections.conninfo(connection)
            protected.add((source.host or "", source.port, source.dbname))
        identifiers |= {s.details.system_identifier for s in newest if s is not None and s.details.system_identifier}
        return Given(name, conninfo, frozenset(protected), frozenset(identifiers))

    def _try(self, given: Given, cancel: CancelToken | None) -> str:
        with holding(*given.conninfo.secrets()):
            return external.examine(given, cancel or CancelToken()).version

    def _conninfo(self, record: ScratchServer) -> Conninfo:
        keys = self._engine.keys.open()
        text = self._engine.keys.unseal(keys, "scratch_servers", "conninfo", record.id, record.conninfo_sealed)
        return parse(text)

    def _view(self, record: ScratchServer, conninfo: Conninfo, version: str | None = None) -> ScratchServerView:
        with self._engine.catalog.read() as tx:
            users = [c.name for c in catalogs.connections.list_all(tx) if c.scratch_server_id == record.id]
        return ScratchServerView(record.name, conninfo.describe(), record.tested_at, tuple(users), version)

    def _event(self, tx: catalogs.Tx, kind: str, subject: str, name: str, told: str | None = None) -> None:
        data: dict[str, str | int | bool | None] = {"name": name}
        if told is not None:
            data["told"] = told
        chain.append_event(tx, self._engine.clock, actor=self._engine.actor, kind=kind, subject=subject, data=data)
