"""One receipt of a bundle as plain JSON, reduced to what is counted anew. Part of :mod:`engine.report.recount`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Plain = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure that does not follow from the receipts and events."""

    figure: str
    said: str
    recounted: str


@dataclass(frozen=True, slots=True)
class Reduced:
    """One receipt of the bundle, without its tables. Durations as text with three decimals, as they are signed."""

    drill_id: str
    snapshot_id: str
    connection_id: str
    sha256: str
    verdict: str
    taken_at: str
    drilled_at: str
    facts: Mapping[str, Any]


def reduce(receipt: Plain, sha256: str) -> Reduced:
    """What is needed of a receipt (the part that is signed); a bundle may hold thousands."""
    tables = receipt["tables"]
    equal = sum(1 for t in tables if t["expected"] is not None and t["expected"] == t["restored"])
    facts = {
        "tables_compared": len(tables),
        "tables_equal": equal,
        "rows_restored": sum(t["restored"] or 0 for t in tables),
        "skips": len(receipt["skips"]),
        "sandbox": receipt["isolation"]["sandbox"],
        "network": receipt["isolation"]["network"],
        "artifact_sha256": receipt["artifact_sha256"],
        "size_bytes": receipt["size_bytes"],
        "object_key": receipt["object_key"],
        "tables_captured": receipt["tables_captured"],
        "tables_total": receipt["tables_total"],
        "not_captured": receipt["not_captured"],
        "timings": receipt["timings"],
        "tls": receipt["tls"],
        "versions": receipt["versions"],
        "previous": receipt["previous_receipt_sha256"],
    }
    return Reduced(
        receipt["drill_id"],
        receipt["snapshot_id"],
        receipt["connection_id"],
        sha256,
        receipt["verdict"],
        receipt["taken_at"],
        receipt["drilled_at"],
        facts,
    )
