"""Restores into servers of the user's, at the door: planned first, started only with the database's name typed back."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.catalog import Tx
from engine.codec import from_json, to_json
from engine.errors import ConfigError, KeyAccessError, OffsiteError
from engine.model import Job, JobKind, JobState, Role, Snapshot
from engine.model.restoring import NewDatabase, RestoreLine, RestoreOptions, RestoreRecord, RestoreRequest, TargetPlan
from engine.model.views import JobView
from engine.model.watch import AddressView
from engine.postgres import newdatabase
from engine.postgres.conninfo import Conninfo, parse
from engine.redact import holding
from engine.restoring import Openers, Restorer, raise_if_refused
from engine.service.access import needs
from engine.snapshot import Keys

if TYPE_CHECKING:
    from engine.service import Engine

_TABLE, _COLUMN = "jobs", "request"
_MOST = 10_000


class RestoresFacet:
    """``engine.restores``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @needs(Role.OPERATOR)
    def plan(
        self, snapshot: str, url: str, options: RestoreOptions, *, cancel: CancelToken | None = None
    ) -> TargetPlan:
        """What a restore would do at the target; nothing is changed there. What refuses it is in the plan.

        Raises ConfigError, SourceError, StoreError, FormatError, KeyAccessError when it cannot look.
        """
        snapshot_id = self._engine.snapshots.resolve(snapshot)
        conninfo = parse(url)
        with self._engine.catalog.read() as tx:
            catalogs.removals.refuse_gone(tx, snapshot_id)
            record = catalogs.snapshots.get(tx, snapshot_id)
        return self.restorer().plan(record, conninfo, options, cancel or CancelToken())

    @needs(Role.OPERATOR, dangerous=True)
    def start(self, plan: TargetPlan, url: str, *, typed: str) -> JobView:
        """Ask for the restore that was planned. ``typed``: the database's name, typed back by the operator.

        The job plans again before it touches anything. Raises ConfigError ``config.consent``, PreflightFailed.
        """
        raise_if_refused(plan)
        if typed != plan.target.database:
            raise ConfigError(
                "config.consent",
                f"{typed!r} is not the name of the target's database; nothing was changed",
                hint=f"Type {plan.target.database} to agree, or give it with --yes-target.",
            )
        engine, keys = self._engine, self._engine.keys.open()
        job_id = secrets.token_hex(16)
        request = RestoreRequest(parse(url).to_url(), plan.options, typed, plan.drops)
        with engine.catalog.write() as tx:
            catalogs.installation.refuse_retired(tx, keys.master.kid)
            found = catalogs.snapshots.get(tx, plan.snapshot_id)
            catalogs.removals.refuse_gone(tx, found.id)
            job = Job(
                id=job_id,
                kind=JobKind.RESTORE,
                connection_id=found.connection_id,
                snapshot_id=found.id,
                drill_id=None,
                tag=found.tag,
                state=JobState.QUEUED,
                attempt=0,
                fence=0,
                worker_id=None,
                lease_until=None,
                cancel_requested_at=None,
                created_at=engine.clock.now(),
                started_at=None,
                finished_at=None,
                error=None,
                requested_by=engine.actor,
                request_sealed=engine.keys.seal(keys, _TABLE, _COLUMN, job_id, to_json(request)),
            )
            catalogs.jobs.create(tx, job)
        engine.wake(job_id)
        return engine.jobs.get(job_id)

    def candidates(self, *, every: bool = False, connection: str | None = None) -> tuple[NewDatabase, ...]:
        """What a restore of everything would make: a new database for the newest snapshot of each connection that is
        there, or (``every``) for each snapshot; by connection, newest first. Raises ConfigError ``config.not-found``.
        """
        with self._engine.catalog.read() as tx:
            if connection is not None:
                wanted = [catalogs.connections.by_name(tx, connection)]
            else:
                ever = catalogs.connections.list_ever(tx)  # of one that was removed snapshots may still be there
                wanted = [one for one, _ in sorted(ever, key=lambda pair: (pair[0].name, pair[1] is not None))]
            found = [(one.name, snapshot) for one in wanted for snapshot in _there(tx, one.id, every=every)]
        taken: set[str] = set()
        chosen = []
        for name, snapshot in found:
            database = newdatabase.name_for(name, snapshot.seq)
            if database in taken:  # names that differ in signs alone, or one that was given twice
                database = f"{database[:56]}_{snapshot.id[:6]}"
            taken.add(database)
            chosen.append(NewDatabase(snapshot.id, name, snapshot.taken_at, database, snapshot.rows))
        return tuple(chosen)

    @needs(Role.OPERATOR, dangerous=True)
    def make_database(
        self, wanted: NewDatabase, server_url: str, *, cancel: CancelToken | None = None
    ) -> tuple[str, str | None]:
        """Make the new database on the server; its connection string, and a remark on what the server has not got.

        Raises ConfigError ``config.name-taken``, SourceError.
        """
        conninfo = parse(server_url)
        with self._engine.catalog.read() as tx:
            needs_ = catalogs.snapshots.get(tx, wanted.snapshot_id).details.needs
        with holding(*conninfo.secrets()):
            made, remark = newdatabase.make(conninfo, wanted.database, needs_, cancel or CancelToken())
        return made.to_url(), remark

    @needs(Role.OPERATOR, dangerous=True)
    def unmake_database(self, wanted: NewDatabase, server_url: str, *, cancel: CancelToken | None = None) -> bool:
        """Take away the database that ``make_database`` has made, if it is empty and nobody is connected to it; whether
        it is gone. Raises SourceError."""
        conninfo = parse(server_url)
        with holding(*conninfo.secrets()):
            return newdatabase.unmake(conninfo, wanted.database, cancel or CancelToken())

    def recent(self, limit: int = 50) -> tuple[RestoreLine, ...]:
        """Past restores that touched a target, newest first."""
        with self._engine.catalog.read() as tx:
            return tuple(catalogs.restores.list_recent(tx, limit=limit))

    def of_job(self, job: str) -> RestoreRecord | None:
        """What a job came to at its target; None where it has touched none."""
        with self._engine.catalog.read() as tx:
            return catalogs.restores.of_job(tx, self._engine.jobs.find(tx, job).id)

    def read(self, url: str) -> AddressView:
        """What a connection string says, without its password. Raises ConfigError."""
        return self._engine.connections.read(url)

    def restorer(self) -> Restorer:
        """The work behind it, for plans and for a worker."""
        engine = self._engine
        openers = Openers(
            keys=engine.keys.open, request=self._request, storage=engine.open_storage, source=self._source
        )
        return Restorer(engine.catalog, engine.clock, engine.settings, engine.paths, openers, engine.toolsets)

    def _request(self, job_id: str, sealed: str, keys: Keys) -> RestoreRequest:
        text = self._engine.keys.unseal(keys, _TABLE, _COLUMN, job_id, sealed)
        try:
            return from_json(RestoreRequest, text)
        except ValueError as e:
            raise KeyAccessError("key.row-altered", "the restore's request is not one of this version") from e

    def _source(self, connection_id: str) -> Conninfo | None:
        with self._engine.catalog.read() as tx:
            record = catalogs.connections.get(tx, connection_id)
        try:
            return self._engine.connections.conninfo(record)
        except OffsiteError:
            return None  # it was removed, and its string with it


def _there(tx: Tx, connection_id: str, *, every: bool) -> list[Snapshot]:
    """The newest snapshot of a connection that is there, or every one, newest first."""
    if not every:
        newest = catalogs.snapshots.newest_there(tx, connection_id)
        return [newest] if newest is not None else []
    gone = {one.snapshot_id for one in catalogs.removals.every(tx) if one.result.gone}
    found = catalogs.snapshots.list_recent(tx, connection_id=connection_id, limit=_MOST)
    return sorted((one for one in found if one.id not in gone), key=lambda one: -one.seq)
