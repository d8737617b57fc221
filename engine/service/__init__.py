"""The engine's door: one object, its verbs in facets, one small file each.

Screens, CLI and worker go through here and nowhere else. Opening an Engine opens the catalog and nothing more: keys,
databases and destinations are opened by the verb that needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from engine import config
from engine import paths as places
from engine.cancel import CancelToken
from engine.catalog import Catalog, Tx
from engine.checkpoint import Checkpoints, Opener
from engine.clock import Clock, SystemClock
from engine.errors import CatalogError, ConfigError
from engine.evidence import rows
from engine.jobs import Work
from engine.keys.door import KeyStore, OsKeyring
from engine.model import BucketKeys, Destination, JobKind, Principal, Role
from engine.model.recovery import CatalogThere, Recovered
from engine.paths import Paths
from engine.postgres import tools
from engine.postgres.tools import Toolset
from engine.progress import ProgressSink, discard
from engine.service import access, buckets
from engine.service.alerts import AlertsFacet
from engine.service.apikeys import ApiKeysFacet
from engine.service.checks import ChecksFacet
from engine.service.connections import ConnectionsFacet
from engine.service.destinations import DestinationsFacet
from engine.service.drills import DrillsFacet
from engine.service.duties import Duty
from engine.service.installation import Initialised, actor, initialise, make_places
from engine.service.jobs import JobsFacet
from engine.service.keys import KeysFacet
from engine.service.ledger import LedgerFacet
from engine.service.moving import MoveFacet
from engine.service.operators import OperatorsFacet
from engine.service.posture import PostureFacet
from engine.service.reconcile import ReconcileFacet
from engine.service.recovery import Machine, RecoveryPlace, recover, recoverable
from engine.service.recoverykit import RecoveryFacet
from engine.service.reports import ReportsFacet
from engine.service.requests import RequestsFacet
from engine.service.restores import RestoresFacet
from engine.service.retention import RetentionFacet
from engine.service.scheduler import Scheduler
from engine.service.schedules import SchedulesFacet
from engine.service.scratch import ScratchFacet
from engine.service.snapshots import SnapshotsFacet
from engine.service.verify import VerifyFacet
from engine.service.watch import WatchFacet
from engine.service.worker import WorkerFacet
from engine.service.workers import WorkersFacet
from engine.storage.base import Storage
from engine.storage.opening import open_destination
from engine.storage.s3.address import Timeouts

__all__ = ["CancelToken", "Engine", "Initialised", "RecoveryPlace"]


def _nobody(job_id: str) -> None:
    """The wake-up of an engine that nobody gave one: the worker's reconciler finds the job all the same."""
    del job_id


class Engine:
    """One installation, opened. Use :meth:`open`; every method may be called from any thread."""

    def __init__(
        self,
        paths: Paths,
        settings: config.Settings,
        catalog: Catalog,
        *,
        clock: Clock,
        wake: Callable[[str], None],
        held_keys: KeyStore | None,
    ) -> None:
        self.paths = paths
        self.settings = settings
        self.catalog = catalog
        self.catalog.tell_rest = self._tell_rest
        self.clock = clock
        self.wake = wake
        self.own = Principal(actor(), Role.ADMIN)
        """The OS user who opened the engine."""
        self._held_keys = held_keys
        self.keys = KeysFacet(self)
        self.destinations = DestinationsFacet(self)
        self.connections = ConnectionsFacet(self)
        self.jobs = JobsFacet(self)
        self.ledger = LedgerFacet(self)
        self.snapshots = SnapshotsFacet(self)
        self.drills = DrillsFacet(self)
        self.restores = RestoresFacet(self)
        self.scratch = ScratchFacet(self)
        self.checks = ChecksFacet(self)
        self.alerts = AlertsFacet(self)
        self.schedules = SchedulesFacet(self)
        self.retention = RetentionFacet(self)
        self.reconcile = ReconcileFacet(self)
        self.recovery = RecoveryFacet(self)
        self.apikeys = ApiKeysFacet(self)
        self.reports = ReportsFacet(self)
        self.requests = RequestsFacet(self)
        self.worker = WorkerFacet(self)
        self.workers = WorkersFacet(self)
        self.move = MoveFacet(self)
        self.verify = VerifyFacet(self)
        self.watch = WatchFacet(self)
        self.operators = OperatorsFacet(self)
        self.posture = PostureFacet(self)

    @classmethod
    def open(
        cls,
        *,
        home: Path | None = None,
        wake: Callable[[str], None] | None = None,
        key_store: KeyStore | None = None,
        clock: Clock | None = None,
    ) -> Engine:
        """Open the installation at ``home`` (default: ``OFFSITEDB_HOME`` or the platform's place).

        ``wake`` hands a job id to the queue; ``key_store`` holds the master key instead of the OS keyring (the demo).
        Raises ConfigError ``config.not-initialised``, ``config.home``, CatalogError.
        """
        paths = places.locate(home)
        settings = config.load(paths.config)
        catalog = Catalog.open(_where(paths))
        try:
            make_places(paths)
        except ConfigError:
            catalog.close()
            raise
        engine = cls(paths, settings, catalog, clock=clock or SystemClock(), wake=wake or _nobody, held_keys=key_store)
        engine._adopt()
        return engine

    @classmethod
    def initialise(cls, *, home: Path | None = None, key_store: KeyStore | None = None) -> Initialised:
        """Make a new installation. Raises ConfigError ``config.already-initialised``, KeyAccessError."""
        machine = _machine(home, key_store, None)
        return initialise(machine.paths, machine.where, machine.clock, machine.choose, machine.store)

    @classmethod
    def recoverable(
        cls, place: RecoveryPlace, *, home: Path | None = None, cancel: CancelToken | None = None
    ) -> tuple[CatalogThere, ...]:
        """The installations that can be recovered from there; nothing is written. Raises ConfigError, StoreError."""
        return recoverable(_machine(home, None, None), place, cancel or CancelToken())

    @classmethod
    def recover(
        cls,
        place: RecoveryPlace,
        code: str,
        *,
        catalog_id: str | None = None,
        home: Path | None = None,
        key_store: KeyStore | None = None,
        clock: Clock | None = None,
        cancel: CancelToken | None = None,
        said: ProgressSink = discard,
    ) -> Recovered:
        """Rebuild an installation on this empty machine, from a destination and its recovery code alone.

        Raises ConfigError, StoreError, KeyAccessError, FormatError; then nothing is installed.
        """
        machine = _machine(home, key_store, clock)
        return recover(machine, place, code, catalog_id=catalog_id, cancel=cancel or CancelToken(), said=said)

    @staticmethod
    def choose_keyring(*, home: Path | None = None) -> str:
        """Which keyring of this machine a new master key would be kept in. Raises KeyAccessError."""
        settings = config.load(places.locate(home).config)
        return OsKeyring(timeout_s=settings.keyring.timeout_s).choose()

    def close(self) -> None:
        self.catalog.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def principal(self) -> Principal:
        """Who acts here and now: who that was said to be, whoever is logged in, or the OS user who opened the engine.

        Raises AccessDenied ``access.login-required``, ``access.session-ended``.
        """
        return access.acting() or self.operators.whoever()

    @property
    def actor(self) -> str:
        """Who acts here and now, as events name it."""
        return self.principal.actor

    @property
    def duties(self) -> tuple[Duty, ...]:
        """What a worker does by itself, beside the jobs."""
        by_facets = (self.retention, self.reconcile, self.keys, self.recovery, self.reports, self.verify)
        return (Scheduler(self).duty, *(facet.duty() for facet in by_facets), *self.alerts.duties())

    @property
    def work(self) -> Mapping[JobKind, Work]:
        """What jobs do, for a worker."""
        opener = Opener(
            keys=self.keys.open,
            conninfo=lambda record, _keys: self.connections.conninfo(record),
            storage=self.open_storage,
            scratch=self.scratch.given,
            kit=self.recovery.after_checkpoint,
        )
        work = Checkpoints(self.catalog, self.clock, self.settings, self.paths, opener, self.toolsets).work()
        work[JobKind.PRUNE] = self.retention.pruner().work
        return {**work, JobKind.RESTORE: self.restores.restorer().work}

    def toolsets(self) -> tuple[Toolset, ...]:
        """PostgreSQL programs on this machine."""
        return tools.discover(self.paths, tuple(Path(d) for d in self.settings.postgres.bin_dirs))

    def key_store(self, backend: str) -> KeyStore:
        if self._held_keys is not None:
            return self._held_keys
        return OsKeyring(timeout_s=self.settings.keyring.timeout_s).at(backend)

    def choose_backend(self) -> str:
        if self._held_keys is not None:
            return self._held_keys.name
        return OsKeyring(timeout_s=self.settings.keyring.timeout_s).choose()

    def open_storage(self, destination: Destination) -> Storage:
        """The destination, ready to use. Raises KeyAccessError: the keys of a bucket are sealed."""
        keys = None if destination.keys is None else buckets.open_keys(self, destination)
        return self.open_with(destination, keys)

    def open_with(self, destination: Destination, keys: BucketKeys | None) -> Storage:
        """The destination under these keys, which need not be the ones that are kept."""
        limits = self.settings.bucket
        return open_destination(
            destination,
            keys=keys,
            spool=self.paths.runtime,
            timeouts=Timeouts(connect_s=limits.connect_timeout_s, read_s=limits.answer_timeout_s),
        )

    def _adopt(self) -> None:
        """Bind the rows of a catalog from before rows were bound, once."""
        try:
            with self.catalog.read() as tx:
                if not rows.to_adopt(tx):
                    return
            with self.catalog.write() as tx:
                if rows.to_adopt(tx):
                    rows.adopt(tx, self.clock, actor="upgrade")
        except CatalogError:  # whoever needs it says so; the next one who opens it tries again
            return

    def _tell_rest(self, tx: Tx) -> None:
        rows.tell_rest(tx, self.clock, (access.acting() or self.own).actor)


def _machine(home: Path | None, held: KeyStore | None, clock: Clock | None) -> Machine:
    """This machine, for making an installation: its places, and the keyring or who holds the key instead."""
    paths = places.locate(home)
    settings = config.load(paths.config)
    keyring = OsKeyring(timeout_s=settings.keyring.timeout_s)
    return Machine(
        paths=paths,
        where=_where(paths),
        clock=clock or SystemClock(),
        choose=(lambda: held.name) if held is not None else keyring.choose,
        store=lambda name: held if held is not None else keyring.at(name),
        limits=settings.bucket,
    )


def _where(paths: Paths) -> str:
    return config.database_url() or str(paths.catalog)
