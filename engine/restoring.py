"""One restore into a server of the user's: plan it, fetch, open, pg_restore, count, write down.

The plan is made from the head of the archive, which says all that it holds, and from a look at the target; the job
makes it again from the whole archive and refuses what the operator would have been refused. A restore is never
repeated by itself: a job whose worker died or that waited too long ends without touching the target.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import BinaryIO

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.catalog import Catalog
from engine.clock import Clock
from engine.config import Settings
from engine.errors import Cancelled, ConfigError, CouldNotVerify, DrillFailed, Internal, OffsiteError, PreflightFailed
from engine.evidence import chain
from engine.jobs import JobContext, Outcome
from engine.model import Destination, Failure, Snapshot, TableResult
from engine.model.restoring import (
    Parts,
    RestoreOptions,
    RestoreOutcome,
    RestoreRecord,
    RestoreRequest,
    TargetPlan,
)
from engine.paths import Paths
from engine.postgres import cluster, scratch, toserver
from engine.postgres.conninfo import Conninfo, parse
from engine.postgres.selection import Selection, select
from engine.postgres.target import Look, look, same_server
from engine.postgres.targetplan import expected, make_plan
from engine.postgres.toc import Toc, read_toc
from engine.postgres.tools import Toolset
from engine.progress import Phase, Progress, Unit
from engine.redact import holding
from engine.snapshot import Keys, check_manifest, open_object
from engine.storage.base import Storage

TOO_LATE_S = 3600.0
"""A restore that waited longer for a worker is not what anybody waits for any more."""
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Openers:
    """How sealed things are opened; each call may raise KeyAccessError. ``source``: None where it is forgotten."""

    keys: Callable[[], Keys]
    request: Callable[[str, str, Keys], RestoreRequest]
    storage: Callable[[Destination], Storage]
    source: Callable[[str], Conninfo | None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan and what it was made from."""

    plan: TargetPlan
    selection: Selection
    toc: Toc
    toolset: Toolset


class Restorer:
    """Restores snapshots of one catalog."""

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        settings: Settings,
        paths: Paths,
        openers: Openers,
        toolsets: Callable[[], tuple[Toolset, ...]],
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._settings = settings
        self._paths = paths
        self._openers = openers
        self._toolsets = toolsets

    def plan(self, snapshot: Snapshot, conninfo: Conninfo, options: RestoreOptions, cancel: CancelToken) -> TargetPlan:
        """What the restore would do; touches nothing. Raises ConfigError, SourceError, StoreError, FormatError."""
        with holding(*conninfo.secrets()):
            keys, storage = self._openers.keys(), self._storage(snapshot)
            check_manifest(storage, snapshot, keys, cancel)
            toc = self._head(snapshot, storage, keys, cancel)
            return self._prepare(snapshot, conninfo, options, toc, cancel).plan

    def work(self, context: JobContext) -> Outcome:
        """The work of a job of kind ``restore``."""
        job = context.job
        if job.snapshot_id is None or job.request_sealed is None:
            raise Internal("internal.error", "a restore without a snapshot or a target")
        waited_s = (self._clock.now() - job.created_at).total_seconds()
        if job.attempt > 1 or waited_s > TOO_LATE_S:
            why = "its worker ended" if job.attempt > 1 else f"it waited {waited_s / 60:.0f} minutes for a worker"
            raise PreflightFailed("restore.interrupted", f"the restore was not repeated: {why}")
        keys = self._openers.keys()
        context.signer = keys.signer
        request = self._openers.request(job.id, job.request_sealed, keys)
        conninfo = parse(request.url)
        with self._catalog.read() as tx:
            snapshot = catalogs.snapshots.get(tx, job.snapshot_id)
        with holding(*conninfo.secrets()):
            return self._restore(context, snapshot, conninfo, request, keys)

    def _restore(
        self, context: JobContext, snapshot: Snapshot, conninfo: Conninfo, request: RestoreRequest, keys: Keys
    ) -> Outcome:
        cancel, details, storage = context.cancel, snapshot.details, self._storage(snapshot)
        began = self._clock.monotonic()
        context.report(Progress(Phase.FETCH, 0, snapshot.size_bytes, Unit.BYTES))
        look(conninfo, application_name="offsitedb: restore", cancel=cancel)  # before much is fetched in vain
        self._paths.ensure()
        cluster.check_disk(self._paths.scratch, details.plaintext_bytes)
        with scratch.scratch_directory(self._paths.scratch, context.job.id, run_as=None) as directory:
            with scratch.open_archive_file(directory) as archive:
                self._fetch(context, snapshot, storage, keys, archive)
                fetch_s = round(self._clock.monotonic() - began, 3)
                context.report(Progress(Phase.LIST, 0, None, Unit.STEPS, "looking at archive and target"))
                ready = self._prepare(snapshot, conninfo, request.options, read_toc(archive.fileno()), cancel)
                raise_if_refused(ready.plan)
                check_consent(request, ready.plan)
                into = toserver.Into(conninfo, ready.toolset, f"offsitedb: restore {context.job.id[:12]}", directory)
                return self._into(context, snapshot, ready, into, archive, keys, fetch_s)

    def _into(
        self,
        context: JobContext,
        snapshot: Snapshot,
        ready: Prepared,
        into: toserver.Into,
        archive: BinaryIO,
        keys: Keys,
        fetch_s: float,
    ) -> Outcome:
        """From here on the target is touched: whatever ends it, it is written down."""
        started_at, began = self._clock.now(), self._clock.monotonic()
        plan, options = ready.plan, ready.plan.options
        context.report(Progress(Phase.RESTORE, 0, len(plan.loads), Unit.TABLES))
        tables: tuple[TableResult, ...] = ()
        failures: tuple[Failure, ...] = ()
        restore_s = verify_s = 0.0
        error: OffsiteError | None = None
        try:
            failures = toserver.restore(
                into, archive, ready.toc, ready.selection, options,
                cancel=context.cancel, on_progress=context.report, on_tables=context.report_tables,
            )  # fmt: skip
            restore_s = round(self._clock.monotonic() - began, 3)
            if not failures or not plan.all_or_nothing:
                at = self._clock.monotonic()
                wanted = expected(snapshot, ready.selection, options)
                tables = toserver.count(into, wanted, cancel=context.cancel, on_progress=context.report)
                verify_s = round(self._clock.monotonic() - at, 3)
        except OffsiteError as e:
            if context.cancel.error is not None and context.cancel.error.code.startswith("catalog."):
                raise
            error = context.cancel.error or e
        remains = self._remains(plan, into, ended=error is None, failed=bool(failures), restored=restore_s > 0)
        error, state = judge(error, failures, tables, remains)
        outcome = RestoreOutcome(
            state, plan.target, options, plan.pg_restore, tables, plan.left_out, failures, remains,
            fetch_s, restore_s, verify_s,
        )  # fmt: skip
        self._register(context, snapshot, outcome, keys, started_at)
        return Outcome(error=error)

    def _remains(self, plan: TargetPlan, into: toserver.Into, *, ended: bool, failed: bool, restored: bool) -> str:
        """What is at the target now, in words."""
        if ended and not failed:
            return "everything that was restored"
        if restored and not failed:
            return "everything that was restored, not counted"
        there = self._there(plan, into)
        if plan.all_or_nothing:
            made = plan.options.parts is not Parts.DATA and not plan.drops
            if made and there:  # none of them was there before
                return "all of it: the server had it before the connection ended; nobody has counted it"
            before = ", and what was there before is untouched" if plan.there.tables or plan.there.others else ""
            return f"nothing of it{before}: it was one transaction"
        if there is None:
            return "a part of it, which could not be looked at"
        return f"a part of it: {there} of {len(plan.loads)} tables exist, their rows and indexes may be missing"

    def _there(self, plan: TargetPlan, into: toserver.Into) -> int | None:
        """How many of the tables exist at the target now; None when nobody can say."""
        quick = replace(into.conninfo, connect_timeout_s=2)
        try:
            now = look(quick, application_name="offsitedb: restore", cancel=CancelToken()).existing.relations
        except OffsiteError:
            return None
        return sum((t.schema, t.table) in now for t in plan.loads)

    def _prepare(
        self, snapshot: Snapshot, conninfo: Conninfo, options: RestoreOptions, toc: Toc, cancel: CancelToken
    ) -> Prepared:
        check_options(options)
        seen = look(conninfo, application_name="offsitedb: restore", cancel=cancel)
        selection = select(toc.entries, options, seen.existing)
        filled = selection.loads if options.parts is Parts.DATA else ()
        large = selection.large_objects if seen.existing.large_objects else ()
        if filled or large:
            seen = look(conninfo, application_name="offsitedb: restore", cancel=cancel, filled=filled, large=large)
        source_major = int((snapshot.details.versions.server or "0").split(".")[0])
        toolset: Toolset | None = None
        refused: OffsiteError | None = None
        try:
            toolset = toserver.choose_tools(self._toolsets(), source_major, max(source_major, seen.facts.major))
        except OffsiteError as e:
            if seen.facts.major >= source_major:
                refused = e
        with self._catalog.read() as tx:
            connection = catalogs.connections.get(tx, snapshot.connection_id).name
            drill = catalogs.drills.newest_for(tx, [snapshot.id]).get(snapshot.id)
        is_source = self._is_source(snapshot, conninfo, seen, cancel)
        plan = make_plan(snapshot, connection, drill, conninfo, seen, selection, options, toolset, is_source)
        if refused is not None:
            raise refused
        if toolset is None:
            raise_if_refused(plan)
            raise Internal("internal.error", "no pg_restore was chosen")
        return Prepared(plan, selection, toc, toolset)

    def _is_source(self, snapshot: Snapshot, conninfo: Conninfo, seen: Look, cancel: CancelToken) -> bool | None:
        source = self._openers.source(snapshot.connection_id)
        if source is None:
            return None
        if (source.host.lower(), source.port, source.dbname) == (conninfo.host.lower(), conninfo.port, conninfo.dbname):
            return True
        if seen.facts.database != source.dbname:
            return False
        return same_server(source, seen.facts, cancel=cancel)

    def _storage(self, snapshot: Snapshot) -> Storage:
        with self._catalog.read() as tx:
            destination = catalogs.destinations.get(tx, snapshot.destination_id)
        return self._openers.storage(destination)

    def _fetch(self, context: JobContext, snapshot: Snapshot, storage: Storage, keys: Keys, archive: BinaryIO) -> None:
        """The artifact, read back whole and opened into the nameless file."""
        check_manifest(storage, snapshot, keys, context.cancel)

        def write(data: bytes) -> None:
            try:
                archive.write(data)
            except OSError as e:
                raise CouldNotVerify("drill.disk", f"the archive does not fit below the scratch directory: {e}") from e

        open_object(
            storage.read(snapshot.object_key, cancel=context.cancel),
            snapshot,
            keys,
            write=write,
            cancel=context.cancel,
            on_progress=lambda sealed, _plain: context.report(
                Progress(Phase.FETCH, sealed, snapshot.size_bytes, Unit.BYTES)
            ),
        )
        archive.flush()

    def _head(self, snapshot: Snapshot, storage: Storage, keys: Keys, cancel: CancelToken) -> Toc:
        """The table of contents, which stands first: no more is fetched than it takes. Every segment is authentic."""
        self._paths.ensure()
        enough = CancelToken()
        found: list[Toc] = []
        with scratch.scratch_directory(self._paths.scratch, snapshot.id, run_as=None) as directory:
            with scratch.open_archive_file(directory) as file:
                size, next_try = 0, _HEAD_BYTES

                def write(data: bytes) -> None:
                    nonlocal size, next_try
                    if found:
                        return
                    file.write(data)
                    size += len(data)
                    if size >= next_try:
                        file.flush()
                        next_try = size * 2
                        try:
                            found.append(read_toc(file.fileno()))
                        except DrillFailed:
                            return  # not all of it yet
                        enough.cancel(Cancelled("job.cancelled", "the head is enough"))

                with cancel.on_cancel(lambda: enough.cancel(cancel.error)):
                    try:
                        open_object(
                            storage.read(snapshot.object_key, cancel=enough), snapshot, keys,
                            write=write, cancel=enough, on_progress=lambda _sealed, _plain: None,
                        )  # fmt: skip
                    except OffsiteError:
                        cancel.check()
                        if not found:
                            raise
                file.flush()
                return found[0] if found else read_toc(file.fileno())

    def _register(
        self, context: JobContext, snapshot: Snapshot, outcome: RestoreOutcome, keys: Keys, started_at: datetime
    ) -> None:
        """Row, event and signed head in one transaction."""
        now = self._clock.now()
        equal = outcome.state == "restored"
        record = RestoreRecord(
            secrets.token_hex(16), context.job.id, snapshot.id, outcome.target.address, started_at, now, equal, outcome
        )
        with self._catalog.write() as tx:
            catalogs.restores.add(tx, record)
            catalogs.jobs.renew(tx, context.job.id, context.job.fence, now, self._settings.worker.lease_s)
            chain.append_event(
                tx,
                self._clock,
                actor=f"job:{context.job.id}",
                kind="restore.ended",
                subject=record.id,
                data={
                    "snapshot": snapshot.id,
                    "target": outcome.target.address,
                    "state": outcome.state,
                    "tables": len(outcome.tables),
                    "rows": outcome.rows,
                    "equal": equal,
                },
            )
            chain.sign_head(tx, keys.signer, self._clock)


def check_options(options: RestoreOptions) -> None:
    """Raise ConfigError for options that contradict each other."""
    if options.clean and options.parts is Parts.DATA:
        raise ConfigError(
            "config.invalid",
            "--clean drops objects and --data-only makes none",
            hint="Empty the tables at the target yourself (TRUNCATE), or restore them whole with --clean.",
        )
    if not 1 <= options.jobs <= 64:
        raise ConfigError("config.invalid", f"{options.jobs} jobs cannot be run", hint="Say --jobs 1 to 64.")


def check_consent(request: RestoreRequest, plan: TargetPlan) -> None:
    """Raise ConfigError when the target is not the one, or not as, it was when somebody agreed."""
    if request.database != plan.target.database:
        text = f"{request.database!r} was agreed to, and the target is {plan.target.database!r}"
        raise ConfigError("config.consent", text)
    more = sorted(set(plan.drops) - set(request.drops))
    if more:
        text = f"since the plan was shown the target has got {', '.join(more[:5])}, which nobody agreed to drop"
        raise ConfigError("config.consent", text, hint="Start the restore again and read its plan.")


def raise_if_refused(plan: TargetPlan) -> None:
    """Raise PreflightFailed for the first finding that refuses the plan."""
    for found in plan.refusals:
        raise PreflightFailed(found.code, found.detail, hint=found.fix_sql)


def judge(
    error: OffsiteError | None, failures: Sequence[Failure], tables: Sequence[TableResult], remains: str
) -> tuple[OffsiteError | None, str]:
    """The job's error, and the restore's state in a word."""
    if error is not None:
        if error.code == "job.cancelled":
            hint = f"At the target is {remains}. Start it again when you want."
            return Cancelled(
                "job.cancelled", f"the restore was cancelled; at the target is {remains}", hint=hint
            ), "cancelled"
        if error.code == "job.worker-stopped":
            text = f"the worker stopped while it restored; at the target is {remains}"
            return PreflightFailed("restore.interrupted", text), "failed"
        return error, "failed"
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        text = f"{failures[0].message}{more}; at the target is {remains}"
        return DrillFailed("restore.failed", text, hint=failures[0].hint), "failed"
    wrong = [t for t in tables if not t.equal]
    if wrong:
        names = ", ".join(f"{t.schema}.{t.table} ({_n(t.restored)} of {_n(t.expected)} rows)" for t in wrong[:5])
        return DrillFailed("restore.mismatch", f"{len(wrong)} of {len(tables)} tables differ: {names}"), "differs"
    return None, "restored"


def _n(rows: int | None) -> str:
    return "uncounted" if rows is None else f"{rows:,}"
