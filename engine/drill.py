"""One drill: fetch from the destination, open, restore into a scratch cluster, compare, sign the receipt, destroy.

Everything is read back from the destination; the catalog only says what to expect. A failed artifact, restore or
count is a FAILED receipt; what keeps the drill from running is a COULD NOT VERIFY receipt; only a cancel, a lost
lease or a missing master key leave none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import BinaryIO

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.catalog import Catalog
from engine.clock import Clock
from engine.comparing import compare
from engine.config import DrillSettings, Settings
from engine.errors import CouldNotVerify, DrillFailed, FormatError, OffsiteError, SourceError, StoreError
from engine.found import Drilled, Found, register
from engine.jobs import JobContext
from engine.model import ConnectionRecord, DrillRecord, Failure, Isolation, Snapshot, SnapshotDetails, Verdict
from engine.paths import Paths
from engine.postgres import cluster, extensions, external, isolation, restore, scratch, tools
from engine.postgres.external import ExternalServer, Given
from engine.postgres.tools import Toolset, pick
from engine.progress import Phase, Progress, Unit
from engine.snapshot import Keys, Target, check_manifest, open_object


class Driller:
    """Drills snapshots of one catalog."""

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        settings: Settings,
        paths: Paths,
        toolsets: Callable[[], tuple[Toolset, ...]],
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._settings = settings
        self._paths = paths
        self._toolsets = toolsets

    def run(
        self,
        context: JobContext,
        snapshot: Snapshot,
        connection: ConnectionRecord,
        target: Target,
        keys: Keys,
        given: Given | None = None,
    ) -> tuple[DrillRecord, tuple[Failure, ...]]:
        """Drill ``snapshot`` and register the signed receipt under the job's fence; the record and its failures.

        ``given``: restore into this server, not into a cluster of the drill's own.

        Raises Cancelled, CatalogError and KeyAccessError; every other end is a verdict.
        """
        started_at, began = self._clock.now(), self._clock.monotonic()
        found = Found()
        try:
            with self._limited(context.cancel):
                self._prove(context, snapshot, target, keys, found, given)
        except (CouldNotVerify, DrillFailed, FormatError, StoreError, SourceError) as e:
            _blame(found, context.cancel.error or e)
        found.timings = replace(found.timings, total_s=round(self._clock.monotonic() - began, 3))
        drilled = Drilled(context, snapshot, connection, target, started_at)
        lease_s = self._settings.worker.lease_s
        return register(self._catalog, self._clock, drilled, found, keys, lease_s), found.failures

    def _prove(
        self,
        context: JobContext,
        snapshot: Snapshot,
        target: Target,
        keys: Keys,
        found: Found,
        given: Given | None,
    ) -> None:
        details = snapshot.details
        found.toolset = self._tools(details, given)
        run_as = isolation.drill_user()
        sandbox = isolation.choose(required=self._settings.drill.isolation == "required", drill_user=run_as)
        found.isolation = self._isolation(sandbox, given)
        self._paths.ensure()
        cluster.check_disk(self._paths.scratch, details.dump_bytes + details.plaintext_bytes)
        with scratch.scratch_directory(self._paths.scratch, context.job.id, run_as=run_as) as directory:
            with scratch.open_archive_file(directory) as archive, _beside("fetch") as beside, ExitStack() as stack:
                fetching = beside.submit(self._fetch, context, snapshot, target, keys, archive)
                at = self._clock.monotonic()
                try:
                    server = stack.enter_context(
                        self._server(directory, found, sandbox, context, snapshot, given, keys.catalog_id)
                    )
                except CouldNotVerify:
                    fetching.result()  # what is wrong with the artifact says more than what is wrong with this host
                    raise
                scratch_s = round(self._clock.monotonic() - at, 3)
                fetch_s, open_s = fetching.result()
                found.timings = replace(found.timings, fetch_s=fetch_s, open_s=open_s, scratch_s=scratch_s)
                found.scratch_version = server.server_version
                self._replay(context, snapshot, server, archive, found)

    def _server(
        self,
        directory: scratch.ScratchDir,
        found: Found,
        sandbox: isolation.Sandbox,
        context: JobContext,
        snapshot: Snapshot,
        given: Given | None,
        catalog_id: str,
    ) -> AbstractContextManager[cluster.ScratchCluster | ExternalServer]:
        """A cluster of the drill's own, or the given server."""
        assert found.toolset is not None
        settings = _bounded(self._settings.drill, snapshot.details)
        if given is not None:
            return external.external_server(
                given,
                directory,
                found.toolset,
                database=external.name_for(catalog_id, context.job.id),
                sandbox=sandbox,
                cancel=context.cancel,
                settings=settings,
            )
        return cluster.scratch_cluster(
            directory,
            found.toolset,
            sandbox=sandbox,
            cancel=context.cancel,
            settings=settings,
            templates=self._paths.templates,
            more_settings=_needed_at_start(found, snapshot.details),
        )

    def _isolation(self, sandbox: isolation.Sandbox, given: Given | None) -> Isolation:
        """What is in force. Raises CouldNotVerify when isolation is required and a given server has none."""
        if given is None:
            return sandbox.facts
        if self._settings.drill.isolation == "required":
            raise CouldNotVerify(
                "drill.isolation",
                f'drill.isolation is "required", and scratch server {given.name} isolates nothing',
                hint="Let drills use a cluster of their own (`offsitedb connection edit NAME --scratch none`), or set "
                'drill.isolation = "best-effort" in config.toml.',
            )
        return external.isolation_of(given, sandbox)

    def _fetch(
        self, context: JobContext, snapshot: Snapshot, target: Target, keys: Keys, archive: BinaryIO
    ) -> tuple[float, float]:
        """The artifact, read back whole and opened into the scratch directory's nameless file.

        Runs beside the start of the scratch cluster. Seconds that were spent waiting for the destination, and the rest.
        """
        began = self._clock.monotonic()
        waited = 0.0

        def watched(chunks: Iterator[bytes]) -> Iterator[bytes]:
            nonlocal waited
            while True:
                at = self._clock.monotonic()
                chunk = next(chunks, None)
                waited += self._clock.monotonic() - at
                if chunk is None:
                    return
                yield chunk

        context.report(Progress(Phase.FETCH, 0, snapshot.size_bytes, Unit.BYTES))
        check_manifest(target.storage, snapshot, keys, context.cancel)
        open_object(
            watched(target.storage.read(snapshot.object_key, cancel=context.cancel)),
            snapshot,
            keys,
            write=lambda data: _write_all(archive, data),
            cancel=context.cancel,
            on_progress=lambda sealed, _plain: context.report(
                Progress(Phase.FETCH, sealed, snapshot.size_bytes, Unit.BYTES)
            ),
        )
        archive.flush()
        total = self._clock.monotonic() - began
        context.report(Progress(Phase.SCRATCH, 0, None, Unit.STEPS, "starting a scratch cluster"))
        return round(waited, 3), round(max(total - waited, 0.0), 3)

    def _replay(
        self,
        context: JobContext,
        snapshot: Snapshot,
        server: cluster.ScratchCluster | ExternalServer,
        archive: BinaryIO,
        found: Found,
    ) -> None:
        clock = self._stopwatch(found)
        details, cancel = snapshot.details, context.cancel
        context.report(Progress(Phase.LIST, 0, None, Unit.STEPS, "reading the archive's contents"))
        with clock("list_s"):
            toc = restore.list_archive(server, archive, cancel)
        found.toc_entries = len(toc.entries)
        expected_bytes = details.dump_bytes  # the source's size on disk: the copy comes out about as large

        def on_restore(progress: Progress) -> None:
            context.report(replace(progress, total=max(expected_bytes, progress.done)))

        on_restore(Progress(Phase.RESTORE, 0, None, Unit.BYTES))
        with clock("restore_s"):
            outcome = restore.restore(
                server,
                archive,
                toc,
                captured=details,
                cancel=cancel,
                on_progress=on_restore,
                on_tables=context.report_tables,
            )
        found.normalised, found.skips, found.failures = outcome.normalised, outcome.skips, outcome.failures
        found.settings = outcome.settings | found.preloaded | {"pg_dump": f"sandbox {details.dump_sandbox}"}
        with self._catalog.read() as tx:
            checks = catalogs.checks.list_all(tx, snapshot.connection_id)
        with clock("verify_s"):
            compare(server, outcome, snapshot, checks, found, cancel=cancel, on_progress=context.report)

    def _tools(self, details: SnapshotDetails, given: Given | None) -> Toolset:
        """Programs of the source's own major, the ones that have its extensions first. Raises CouldNotVerify.

        For a given server pg_restore is enough.
        """
        major = int((details.versions.server or "0").split(".")[0])
        needs = details.needs
        icu = needs.locale_provider == "icu" or any(c.provider == "icu" for c in needs.collations)
        try:
            toolset = pick(
                [t for t in self._toolsets() if t.has_server or given is not None],
                major * 10000,
                extensions=[e.name for e in needs.extensions] if given is None else [],
                needs_icu=icu and given is None,
            )
        except SourceError as e:
            raise CouldNotVerify("drill.tool-missing", e.message, hint=e.hint) from e
        if self._settings.postgres.strict_floor and not toolset.meets_floor:
            raise CouldNotVerify(
                "drill.tool-missing",
                f"PostgreSQL {toolset.version} is below the security floor, and strict mode refuses it",
                hint="Update the PostgreSQL packages of this host; `offsitedb doctor` shows the floor.",
            )
        return toolset

    @contextmanager
    def _limited(self, cancel: CancelToken) -> Iterator[None]:
        """End the drill as COULD NOT VERIFY when it takes longer than ``drill.timeout_s``."""
        limit_s = self._settings.drill.timeout_s
        error = CouldNotVerify("drill.timeout", f"the drill took longer than {limit_s:g} s")
        timer = threading.Timer(limit_s, cancel.cancel, (error,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _stopwatch(self, found: Found) -> Callable[[str], AbstractContextManager[None]]:
        @contextmanager
        def watch(name: str) -> Iterator[None]:
            at = self._clock.monotonic()
            try:
                yield
            finally:
                took = round(self._clock.monotonic() - at, 3)
                found.timings = replace(found.timings, **{name: took})

        return watch


def _bounded(settings: DrillSettings, details: SnapshotDetails) -> DrillSettings:
    """The settings with a bound for the scratch directory, from the size of the source where none is set."""
    return replace(settings, max_scratch_bytes=settings.max_scratch_bytes or 4 * details.dump_bytes + (1 << 30))


def _needed_at_start(found: Found, details: SnapshotDetails) -> dict[str, str]:
    """Settings for extensions that must be loaded when the server starts; what this host lacks is said later."""
    assert found.toolset is not None
    names = [e.name for e in details.needs.extensions if tools.has_extension(found.toolset, e.name)]
    found.preloaded = extensions.preload_settings(names)
    return found.preloaded


def _blame(found: Found, error: OffsiteError) -> None:
    """The verdict that ``error`` means, with the error as its first failure. Raises it when it is no verdict."""
    if isinstance(error, DrillFailed | CouldNotVerify):
        code = error.code
        found.verdict = Verdict.FAILED if isinstance(error, DrillFailed) else Verdict.COULD_NOT_VERIFY
    elif isinstance(error, FormatError):
        wrong_key = error.code in ("format.wrong-key", "format.version")
        code = error.code
        found.verdict = Verdict.COULD_NOT_VERIFY if wrong_key else Verdict.FAILED
    elif isinstance(error, StoreError):
        gone = error.code in ("store.missing", "store.size-mismatch")
        code = error.code
        found.verdict = Verdict.FAILED if gone else Verdict.COULD_NOT_VERIFY
    else:
        raise error
    found.failures = (Failure(code, error.message, error.hint), *found.failures)


def _beside(name: str) -> ThreadPoolExecutor:
    """One thread for what runs beside this one; the end of its block waits for it."""
    return ThreadPoolExecutor(1, thread_name_prefix=name)


def _write_all(file: BinaryIO, data: bytes) -> None:
    try:
        file.write(data)
    except OSError as e:
        raise CouldNotVerify("drill.disk", f"the archive does not fit below the scratch directory: {e}") from e
