"""A restored copy held against what was captured: counts, structure, content, and what the operator asks of it.

Whatever has been learnt when the copy cannot be asked any further stays found. The room restores nothing and signs
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine import proof, structural
from engine.cancel import CancelToken
from engine.found import Found
from engine.model import OperatorCheck, Snapshot, Structure, StructureResult
from engine.postgres import asking, content, recount, restoredcopy
from engine.postgres.cluster import ScratchCluster
from engine.postgres.external import ExternalServer
from engine.postgres.restore import RestoreOutcome
from engine.progress import ProgressSink


def compare(
    server: ScratchCluster | ExternalServer,
    outcome: RestoreOutcome,
    snapshot: Snapshot,
    checks: Sequence[OperatorCheck],
    found: Found,
    *,
    cancel: CancelToken,
    on_progress: ProgressSink,
) -> None:
    """Complete ``found`` with every comparison and the verdict that they mean.

    Raises CouldNotVerify ``drill.scratch`` when the server is gone, and the token's error when cancelled.
    """
    dbname, tables = outcome.dbname, snapshot.details.tables
    restored = recount.count_rows(server, dbname, tables, cancel, on_progress)
    found.structure = _structure(server, outcome, snapshot.details.structure, cancel)
    found.fingerprints = content.read_back(server, dbname, tables, restored, cancel, on_progress)
    found.checks = asking.ask(server, dbname, checks, cancel)
    decided = proof.decide(
        tables,
        snapshot.counts,
        restored,
        outcome.skips,
        outcome.failures,
        outcome.lost_tables,
        beyond=structural.failures(found.structure),
        unread=structural.skips(found.structure),
    )
    decided = proof.weigh(decided, found.fingerprints, found.checks)
    found.verdict, found.tables = decided.verdict, decided.tables
    found.skips, found.failures = decided.skips, decided.failures


def _structure(
    server: ScratchCluster | ExternalServer, outcome: RestoreOutcome, captured: Structure | None, cancel: CancelToken
) -> StructureResult:
    if captured is None:
        return structural.not_compared(structural.BEFORE)
    if captured.unread:
        return structural.not_compared(captured.unread)
    there = restoredcopy.read_structure(server, outcome.dbname, cancel)
    if there.unread:
        return structural.not_compared(there.unread)
    return structural.compare(captured, there, outcome.skips, outcome.normalised)
