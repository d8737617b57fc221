"""Taking one snapshot: preflight, locks and exported snapshot, dump through the pipeline, manifest, registration.

The order is fixed (docs/ARTIFACT.md §3): bytes uploaded, pg_dump's exit status 0 and counts in, upload committed and
its length looked at, manifest written, and only then one catalog transaction makes it a snapshot. A failure at any
point removes what was written so far; an object without a manifest is not a snapshot.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

from engine import catalog as catalogs
from engine import floe, preflight
from engine.cancel import CancelToken
from engine.catalog import Catalog
from engine.clock import Clock, rfc3339
from engine.codec import to_json
from engine.config import Settings
from engine.errors import FormatError, OffsiteError, SourceError, add_cleanup_note
from engine.evidence import chain
from engine.evidence.manifests import Manifest, read_manifest, write_manifest
from engine.evidence.signer import Signer
from engine.jobs import JobContext
from engine.keys.epochs import Epochs
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryPublic
from engine.keys.seals import seal_blob
from engine.keys.wrap import new_dek, unwrap_dek, wrap_dek
from engine.model import ConnectionRecord, Counts, Destination, Snapshot, SnapshotDetails, TableCount, Versions
from engine.model.structure import Structure
from engine.postgres import dump
from engine.postgres.conninfo import Conninfo
from engine.postgres.exported import Plan, plan_of
from engine.postgres.inventory import not_captured
from engine.postgres.refusals import surroundings
from engine.postgres.tools import Toolset
from engine.preflight import Preflight
from engine.progress import Phase, Progress, Unit
from engine.storage.base import Storage
from engine.stream import container, pipeline
from engine.stream.watchdog import Watchdog
from engine.version import VERSION


@dataclass(frozen=True, slots=True)
class Source:
    """The connection with its string opened; lives only as long as the job."""

    record: ConnectionRecord
    conninfo: Conninfo


@dataclass(frozen=True, slots=True)
class Keys:
    """What seals and signs: the master key, the recovery key's public half, the catalog's signer.

    ``epochs``: the master key's other epochs, for what was sealed before a rotation.
    """

    catalog_id: str
    master: MasterKey
    recovery: RecoveryPublic
    signer: Signer
    epochs: Epochs


@dataclass(frozen=True, slots=True)
class Target:
    destination: Destination
    storage: Storage


@dataclass(frozen=True, slots=True)
class _Sealed:
    result: pipeline.SealResult
    tables: tuple[TableCount, ...]
    counts: Counts
    taken_at: datetime
    plan: Plan
    structure: Structure


class SnapshotTaker:
    """Takes snapshots for one catalog. Holds no secrets: they come with each call."""

    def __init__(self, catalog: Catalog, clock: Clock, settings: Settings, toolsets: Callable[[], tuple[Toolset, ...]]):
        self._catalog = catalog
        self._clock = clock
        self._settings = settings
        self._toolsets = toolsets

    def take(self, context: JobContext, source: Source, target: Target, keys: Keys) -> Snapshot:
        """Take a snapshot of ``source`` into ``target`` and register it under the job's fence.

        Raises PreflightFailed, SourceError, StoreError, Cancelled, CatalogError ``catalog.fenced``; in every case
        nothing of the attempt remains at the destination, as far as the destination lets us remove it.
        """
        started = self._clock.monotonic()
        context.report(Progress(Phase.PREFLIGHT, 0, None, Unit.STEPS, "looking at what can be captured"))
        with Watchdog(context.cancel, self._settings.snapshot.stall_timeout_s):
            found = preflight.run(
                source.conninfo,
                toolsets=self._toolsets(),
                accept_empty=source.record.accept_empty,
                cancel=context.cancel,
                clock=self._clock,
                job=context.job.id[:12],
            )
        preflight.raise_if_blocking(found)
        toolset = self._usable(found)
        with self._catalog.write() as tx:
            seq = catalogs.connections.next_seq(tx, source.record.id)
            previous = catalogs.snapshots.previous_manifest_sha256(tx, source.record.id)
            expected = _expected_bytes(catalogs.snapshots.newest(tx, source.record.id), found)
            artifact_id = secrets.token_hex(16)
            object_key = f"v1/{source.record.id}/{seq:08d}-{artifact_id}.odb"
            # written down first: what a killed worker leaves can be found and removed
            catalogs.jobs.note_object(tx, context.job.id, context.job.fence, object_key)
        try:
            sealed = self._stream(context, source, target, keys, found, toolset, artifact_id, object_key, expected)
            snapshot, manifest = self._describe(
                context, source, target, keys, toolset, sealed, seq, artifact_id, object_key, previous, started
            )
            target.storage.put(snapshot.manifest_key, manifest)
            self._register(context, snapshot, keys)
        except BaseException as e:
            remove_attempt(target.storage, object_key, e)
            raise
        return snapshot

    def _usable(self, found: Preflight) -> Toolset:
        """The programs to dump with. Raises SourceError ``pg.client-floor`` in strict mode."""
        toolset = found.toolset
        assert toolset is not None  # its absence blocks
        if self._settings.postgres.strict_floor and not toolset.meets_floor:
            raise SourceError("pg.client-floor", f"pg_dump {toolset.version} is below the security floor")
        return toolset

    def _stream(
        self,
        context: JobContext,
        source: Source,
        target: Target,
        keys: Keys,
        found: Preflight,
        toolset: Toolset,
        artifact_id: str,
        object_key: str,
        expected: tuple[int, int],
    ) -> _Sealed:
        """Dump, seal and upload; commit only after pg_dump ended well and the counts are in."""
        dek = new_dek()
        created_at = rfc3339(self._clock.now())
        header = container.ArtifactHeader(
            artifact_id=artifact_id,
            catalog_id=keys.catalog_id,
            connection_id=source.record.id,
            created_at=created_at,
            recipients=wrap_dek(
                dek, keys.master, keys.recovery, artifact_id=artifact_id, connection_id=source.record.id
            ),
        )
        preamble = container.encode_preamble(header)
        encryptor = floe.Encryptor(dek, container.artifact_aad(preamble), enc_seg_len=container.SEG)
        application_name = f"offsitedb/{context.job.id[:12]}"
        timeout_s = self._settings.snapshot.lock_timeout_s
        expected_plain, expected_sealed = expected
        with ExitStack() as stack:
            context.report(Progress(Phase.LOCK, 0, None, Unit.STEPS, "locking tables, exporting a snapshot"))
            with Watchdog(context.cancel, timeout_s + self._settings.snapshot.stall_timeout_s) as watchdog:
                exported, child = stack.enter_context(
                    dump.start_dump(
                        source.conninfo,
                        plan_of(found.facts, found.inventory),
                        toolset,
                        application_name=application_name,
                        lock_timeout_s=timeout_s,
                        clock=self._clock,
                        cancel=context.cancel,
                        on_answer=watchdog.touch,
                    )
                )
            upload = stack.enter_context(
                target.storage.begin_upload(object_key, expected_bytes=expected_sealed, cancel=context.cancel)
            )
            counting = stack.enter_context(
                dump.Counting(exported, child, context.cancel, fingerprint=source.record.fingerprint)
            )
            near = surroundings(source.conninfo, role=found.facts.role, major=found.facts.major)
            try:
                result = pipeline.seal(
                    child.read_into,
                    upload.write,
                    preamble=preamble,
                    encryptor=encryptor,
                    cancel=context.cancel,
                    on_progress=lambda plain, _sealed: context.report(
                        Progress(Phase.DUMP, plain, max(expected_plain, plain), Unit.BYTES)
                    ),
                    stall_timeout_s=self._settings.snapshot.stall_timeout_s,
                )
                dump.finish_dump(child, near)
            except SourceError:
                counting.check()
                dump.finish_dump(child, near)  # pg_dump's own words say more than the empty stream that it left
                raise
            tables = counting.result()
            structure = counting.structure()
            context.cancel.check()
            context.report(Progress(Phase.REGISTER, 0, None, Unit.STEPS, "completing the upload"))
            info = upload.commit()
            assert info.size_bytes == result.size_bytes
            return _Sealed(result, tables, exported.counts_kind, exported.taken_at, exported.plan, structure)

    def _describe(
        self,
        context: JobContext,
        source: Source,
        target: Target,
        keys: Keys,
        toolset: Toolset,
        sealed: _Sealed,
        seq: int,
        artifact_id: str,
        object_key: str,
        previous: str | None,
        started: float,
    ) -> tuple[Snapshot, bytes]:
        """The catalog's record and the signed manifest of what lies at the destination now."""
        facts, inventory = sealed.plan.facts, sealed.plan.inventory
        details = SnapshotDetails(
            versions=Versions(facts.version, toolset.version, None, None, VERSION),
            tables=sealed.tables,
            not_captured=not_captured(inventory, facts.role, facts.major),
            dependants=inventory.dependants,
            needs=inventory.needs,
            objects=inventory.objects,
            tls=facts.tls,
            relations_total=inventory.relations_total,
            plaintext_bytes=sealed.result.plaintext_bytes,
            members_sha256=sealed.result.members_sha256,
            dump_bytes=facts.size_bytes,
            dump_flags=sealed.plan.flags,
            role=facts.role,
            superuser=facts.superuser,
            database=facts.database,
            duration_s=round(self._clock.monotonic() - started, 3),
            structure=sealed.structure,
            dump_sandbox=dump.sandbox_for(source.conninfo).facts.sandbox,
            system_identifier=facts.system_identifier,
            tag=context.job.tag,
            counts=sealed.counts,
            tables_captured=len(inventory.tables),
            powers=facts.powers,
        )
        blob = seal_blob(
            keys.master,
            "manifest",
            (keys.catalog_id, artifact_id, source.record.id),
            to_json(details).encode(),
        )
        manifest = Manifest(
            v=1,
            artifact_id=artifact_id,
            catalog_id=keys.catalog_id,
            connection_id=source.record.id,
            seq=seq,
            created_at=rfc3339(sealed.taken_at),
            object_key=object_key,
            artifact_sha256=sealed.result.artifact_sha256,
            size_bytes=sealed.result.size_bytes,
            previous_manifest_sha256=previous,
            sealed=base64.urlsafe_b64encode(blob).decode().rstrip("="),
        )
        text, manifest_sha256 = write_manifest(manifest, keys.signer)
        snapshot = Snapshot(
            id=artifact_id,
            connection_id=source.record.id,
            destination_id=target.destination.id,
            job_id=context.job.id,
            seq=seq,
            tag=context.job.tag,
            taken_at=sealed.taken_at,
            object_key=object_key,
            manifest_key=manifest_key_of(object_key),
            size_bytes=sealed.result.size_bytes,
            artifact_sha256=sealed.result.artifact_sha256,
            manifest_sha256=manifest_sha256,
            tables=len(inventory.tables),
            rows=sum(t.rows for t in sealed.tables),
            counts=sealed.counts,
            kid=keys.master.kid,
            details=details,
        )
        return snapshot, text

    def _register(self, context: JobContext, snapshot: Snapshot, keys: Keys) -> None:
        """One transaction makes it a snapshot: row, job, event, signed head."""
        with self._catalog.write() as tx:
            catalogs.installation.refuse_retired(tx, snapshot.kid)
            catalogs.snapshots.add(tx, snapshot)
            catalogs.jobs.note_snapshot(tx, context.job.id, context.job.fence, snapshot.id)
            catalogs.jobs.note_object(tx, context.job.id, context.job.fence, None)
            chain.append_event(
                tx,
                self._clock,
                actor=f"job:{context.job.id}",
                kind="snapshot.taken",
                subject=snapshot.id,
                data={
                    "connection": snapshot.connection_id,
                    "artifact_sha256": snapshot.artifact_sha256,
                    "manifest_sha256": snapshot.manifest_sha256,
                    "size_bytes": snapshot.size_bytes,
                    "tables": snapshot.tables,
                    "rows": snapshot.rows,
                    "taken_at": rfc3339(snapshot.taken_at),
                },
            )
            chain.sign_head(tx, keys.signer, self._clock)


def manifest_key_of(object_key: str) -> str:
    """The manifest's key beside an artifact's."""
    return object_key.removesuffix(".odb") + ".manifest.json"


def remove_attempt(storage: Storage, object_key: str, error: BaseException | None = None) -> bool:
    """Remove artifact and manifest of an attempt that was not registered; True when nothing is left.

    A failure to remove becomes a note on ``error`` and the janitor tries again.
    """
    try:
        storage.delete(manifest_key_of(object_key))
        storage.delete(object_key)
    except OffsiteError as e:
        if error is not None:
            add_cleanup_note(error, f"removing {object_key}", e)
        return False
    return True


def take_back_uploads(storage: Storage, object_key: str) -> None:
    """Abort what a dead attempt was uploading: only its job knows that it is dead. Raises StoreError."""
    for left in tuple(storage.list_unfinished()):
        if left.beneath == object_key:
            storage.abort_unfinished(left.id)


def _expected_bytes(newest: Snapshot | None, found: Preflight) -> tuple[int, int]:
    """Expected plaintext and artifact size in bytes: the last snapshot's, grown as the database has grown since.

    Without one both are the database's size. Parts are cut from it, so it must follow a database that grows.
    """
    now_bytes = found.facts.size_bytes
    if newest is None:
        return now_bytes, now_bytes
    growth = max(1.0, now_bytes / max(1, newest.details.dump_bytes))
    return int(newest.details.plaintext_bytes * growth), int(newest.size_bytes * growth)


def check_manifest(storage: Storage, snapshot: Snapshot, keys: Keys, cancel: CancelToken) -> None:
    """Hold the manifest at the destination against the catalog: hash, signature, ids, sealed part.

    Raises StoreError (``store.missing`` above all) and FormatError ``format.manifest``.
    """
    data = b"".join(storage.read(snapshot.manifest_key, cancel=cancel))
    if hashlib.sha256(data).hexdigest() != snapshot.manifest_sha256:
        raise FormatError("format.manifest", "the manifest at the destination is not the one that was written")
    manifest = read_manifest(data, keys.signer.public_hex)
    if (manifest.artifact_id, manifest.artifact_sha256) != (snapshot.id, snapshot.artifact_sha256):
        raise FormatError("format.manifest", "the manifest is of another artifact")


def open_object(
    chunks: Iterator[bytes],
    snapshot: Snapshot,
    keys: Keys,
    *,
    write: Callable[[bytes], object] | None,
    cancel: CancelToken,
    on_progress: Callable[[int, int], None],
) -> pipeline.OpenResult:
    """Open the artifact of ``snapshot`` with every check of docs/ARTIFACT.md §2; plaintext goes to ``write``.

    ``on_progress(sealed_bytes, plain_bytes)``. Raises FormatError, StoreError, and KeyAccessError ``key.missing`` when
    this host lacks the epoch that it was sealed under.
    """
    masters = (keys.epochs.demand(snapshot.kid), keys.master)
    return pipeline.open_artifact(
        chunks,
        open_dek=lambda header: unwrap_dek(
            header.recipients, masters, artifact_id=header.artifact_id, connection_id=header.connection_id
        ),
        write=write,
        expected=pipeline.Expected(
            artifact_id=snapshot.id,
            connection_id=snapshot.connection_id,
            catalog_id=keys.catalog_id,
            artifact_sha256=snapshot.artifact_sha256,
            size_bytes=snapshot.size_bytes,
            plaintext_bytes=snapshot.details.plaintext_bytes,
            members_sha256=snapshot.details.members_sha256,
            plaintext_sha256=snapshot.details.plaintext_sha256,
        ),
        cancel=cancel,
        on_progress=on_progress,
    )
