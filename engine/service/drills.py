"""Drills at the door: their history from the catalog's columns, and one receipt, checked before it is handed out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.catalog import Tx
from engine.errors import ConfigError, FormatError
from engine.evidence.receipts import read_receipt
from engine.model import DrillRecord
from engine.model.watch import DrillLine, ReceiptView

if TYPE_CHECKING:
    from engine.service import Engine


class DrillsFacet:
    """``engine.drills``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def recent(self, connection: str | None = None, limit: int = 1000) -> tuple[DrillLine, ...]:
        """The newest drills, newest first; of one connection where it is named. Raises ConfigError."""
        with self._engine.catalog.read() as tx:
            only = catalogs.connections.by_name(tx, connection).id if connection is not None else None
            return tuple(catalogs.drills.lines(tx, connection_id=only, limit=limit))

    def receipt(self, text: str) -> ReceiptView:
        """The receipt of a drill, or of the newest drill of a snapshot: an id, a unique prefix, or ``NAME@latest``.

        Raises ConfigError when there is none, FormatError ``format.receipt`` when it is not what was signed.
        """
        snapshot_id = self._engine.snapshots.resolve(text) if text.endswith("@latest") else None
        with self._engine.catalog.read() as tx:
            drill = _newest(tx, snapshot_id) if snapshot_id is not None else _find(tx, text)
            installation = catalogs.installation.get(tx)
            assert installation is not None
            receipt = read_receipt(drill.receipt, installation.signer_public)
            sha256 = hashlib.sha256(drill.receipt.encode()).hexdigest()
            if (receipt.drill_id, receipt.snapshot_id, sha256) != (drill.id, drill.snapshot_id, drill.receipt_sha256):
                raise FormatError("format.receipt", "the receipt is signed, and it is that of another drill")
            before = catalogs.drills.previous_receipt_sha256(tx, drill.id)
            return ReceiptView(
                drill_id=drill.id,
                text=drill.receipt,
                sha256=sha256,
                chained=receipt.previous_receipt_sha256 == before,
                attempt=self._engine.ledger.of_drill(tx, drill),
            )


def _find(tx: Tx, text: str) -> DrillRecord:
    drills = catalogs.drills.find(tx, text) if text else []  # an unset shell variable names no drill
    snapshots = catalogs.snapshots.find(tx, text) if text else []
    if len(drills) + len(snapshots) > 1:
        raise ConfigError(
            "config.ambiguous", f"{len(drills) + len(snapshots)} drills and snapshots begin with {text!r}"
        )
    if drills:
        return drills[0]
    if snapshots:
        return _newest(tx, snapshots[0].id)
    raise ConfigError(
        "config.not-found", f"there is no drill or snapshot {text!r}", hint="List them: `offsitedb drills`."
    )


def _newest(tx: Tx, snapshot_id: str) -> DrillRecord:
    drills = catalogs.drills.for_snapshot(tx, snapshot_id)
    if not drills:
        raise ConfigError(
            "config.not-found",
            f"snapshot {snapshot_id[:12]} has not been drilled",
            hint=f"Drill it: `offsitedb drill {snapshot_id[:12]} --wait`.",
        )
    return drills[0]
