"""The receipts of the ledger, each against its signature, the one before it, and the rows that lists are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from engine.catalog import Tx, drills
from engine.catalog.drills import ProofLine
from engine.evidence import sshsig
from engine.evidence.signer import verify

_AT_ONCE = 50
_HEAD, _MIDDLE = '{"receipt":', ',"signature":'


def judge_all(tx: Tx, signer_public: str) -> Iterator[tuple[str, list[str]]]:
    """Each drill's id, in the order in which they were written, and what is wrong with its receipt, in words.

    Raises CatalogError.
    """
    position, previous = 0, None
    while page := drills.proofs_after(tx, position, limit=_AT_ONCE):
        for line in page:
            yield line.id, list(_judge(line, previous, signer_public))
            previous = line.receipt_sha256
        position = page[-1].position


def _judge(line: ProofLine, previous: str | None, signer_public: str) -> Iterator[str]:
    try:
        if hashlib.sha256(line.receipt.encode()).hexdigest() != line.receipt_sha256:
            yield "its text is not the one whose hash the ledger holds"
        receipt = _signed(line.receipt, signer_public)
    except (TypeError, ValueError, AttributeError, KeyError) as e:
        yield f"its signature does not hold: {e}"
        return
    if receipt.get("previous_receipt_sha256") != previous:
        yield "it does not name the receipt that the ledger holds before it"
    for name, said, held in _pairs(line, receipt):
        if said != held:
            yield f"it says {name} {_short(said)}, and the ledger {_short(held)}"


def _signed(text: str, signer_public: str) -> dict[str, Any]:
    """What was signed, without making records of it: for thousands of receipts. Raises ValueError."""
    middle = text.rfind(_MIDDLE)
    if not text.startswith(_HEAD) or middle < 0 or not text.endswith("}"):
        raise ValueError("it has another form")
    body, signature = text[len(_HEAD) : middle], json.loads(text[middle + len(_MIDDLE) : -1])
    verify(signer_public, sshsig.RECEIPT, body.encode(), signature)
    receipt = json.loads(body)
    if not isinstance(receipt, dict):
        raise TypeError("it is no record")
    return receipt


def _pairs(line: ProofLine, receipt: dict[str, Any]) -> Iterator[tuple[str, object, object]]:
    """A name for people, what the receipt says, and what the rows say."""
    yield "drill", receipt["drill_id"], line.id
    yield "snapshot", receipt["snapshot_id"], line.snapshot_id
    yield "verdict", receipt["verdict"], line.verdict
    yield "drilled at", receipt["drilled_at"], line.finished_at
    yield "restore time", receipt["timings"]["total_s"], f"{line.restore_s + 0.0:.3f}"
    yield "skips", len(receipt["skips"]), line.skips
    if line.connection_id is None:
        return
    yield "connection", receipt["connection_id"], line.connection_id
    yield "object", receipt["object_key"], line.object_key
    yield "SHA-256", receipt["artifact_sha256"], line.artifact_sha256
    yield "size", receipt["size_bytes"], line.size_bytes
    yield "taken at", receipt["taken_at"], line.taken_at
    yield "counts", receipt["counts"], line.counts
    yield "tables", receipt["tables_captured"], line.tables
    yield "tables at the source", receipt["tables_total"], line.tables_in_source


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
