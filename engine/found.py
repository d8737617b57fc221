"""What one drill has found, and how it is written down: the receipt, the drill's row, the event, the signed head.

Whatever ends a drill, this much goes into its receipt. The room judges nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime

from engine import catalog as catalogs
from engine import proof
from engine.catalog import Catalog
from engine.clock import Clock, rfc3339
from engine.evidence import chain
from engine.evidence.receipts import Receipt, write_receipt
from engine.jobs import JobContext
from engine.model import (
    CheckResult,
    ConnectionRecord,
    DrillRecord,
    Failure,
    FingerprintResult,
    Isolation,
    Normalised,
    Skip,
    Snapshot,
    StructureResult,
    TableResult,
    Timings,
    Verdict,
    Versions,
)
from engine.postgres.tools import Toolset
from engine.snapshot import Keys, Target
from engine.version import VERSION


@dataclass(slots=True)
class Found:
    """What has been learnt so far."""

    timings: Timings = field(default_factory=Timings)
    isolation: Isolation = field(default_factory=lambda: Isolation("", "host", "none"))
    toolset: Toolset | None = None
    scratch_version: str | None = None
    settings: dict[str, str] | None = None
    preloaded: dict[str, str] = field(default_factory=dict)
    toc_entries: int = 0
    tables: tuple[TableResult, ...] = ()
    normalised: tuple[Normalised, ...] = ()
    skips: tuple[Skip, ...] = ()
    failures: tuple[Failure, ...] = ()
    structure: StructureResult | None = None
    fingerprints: tuple[FingerprintResult, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    verdict: Verdict = Verdict.COULD_NOT_VERIFY


@dataclass(frozen=True, slots=True)
class Drilled:
    """Whose drill it was, and of what."""

    context: JobContext
    snapshot: Snapshot
    connection: ConnectionRecord
    target: Target
    started_at: datetime


def register(catalog: Catalog, clock: Clock, drilled: Drilled, found: Found, keys: Keys, lease_s: float) -> DrillRecord:
    """Receipt, event and signed head in one transaction, under the job's fence. Raises CatalogError."""
    job, finished_at = drilled.context.job, clock.now()
    with catalog.write() as tx:
        receipt = _receipt(drilled, found, finished_at, catalogs.drills.last_receipt_sha256(tx))
        text, sha256 = write_receipt(receipt, keys.signer)
        record = DrillRecord(
            receipt.drill_id,
            drilled.snapshot.id,
            job.id,
            found.verdict,
            drilled.started_at,
            finished_at,
            found.timings.total_s,
            text,
            sha256,
            skips=len(found.skips),
            summary=proof.summary(found.failures),
        )
        catalogs.drills.add(tx, record)
        catalogs.jobs.renew(tx, job.id, job.fence, finished_at, lease_s)
        chain.append_event(
            tx,
            clock,
            actor=f"job:{job.id}",
            kind="drill.ended",
            subject=record.id,
            data={
                "snapshot": drilled.snapshot.id,
                "verdict": str(found.verdict),
                "receipt_sha256": sha256,
                "connection": drilled.connection.id,
                "drilled_at": rfc3339(receipt.drilled_at),
            },
        )
        chain.sign_head(tx, keys.signer, clock)
    return record


def _receipt(drilled: Drilled, found: Found, drilled_at: datetime, previous: str | None) -> Receipt:
    snapshot, connection = drilled.snapshot, drilled.connection
    details = snapshot.details
    restored_by = found.toolset.version if found.toolset is not None else None
    return Receipt(
        drill_id=secrets.token_hex(16),
        snapshot_id=snapshot.id,
        connection_id=connection.id,
        connection_name=connection.name,
        provider=connection.provider,
        destination_name=drilled.target.destination.name,
        object_key=snapshot.object_key,
        artifact_sha256=snapshot.artifact_sha256,
        size_bytes=snapshot.size_bytes,
        taken_at=snapshot.taken_at,
        drilled_at=drilled_at,
        verdict=found.verdict,
        counts=snapshot.counts,
        versions=Versions(
            details.versions.server, details.versions.pg_dump, restored_by, found.scratch_version, VERSION
        ),
        tls=details.tls,
        role=details.role,
        superuser=details.superuser,
        timings=found.timings,
        scratch_settings=found.settings or {},
        isolation=found.isolation,
        tables=found.tables,
        tables_captured=snapshot.tables,
        tables_total=details.relations_total,
        normalised=found.normalised,
        skips=found.skips,
        failures=found.failures,
        not_captured=details.not_captured,
        toc_entries=found.toc_entries,
        previous_receipt_sha256=previous,
        structure=found.structure,
        fingerprints=found.fingerprints,
        checks=found.checks,
    )
