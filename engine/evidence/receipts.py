"""The receipt of one drill: everything that was seen, signed, and chained to the receipt before it.

A receipt is text that anybody can check with the public key. Reading is strict: text that :func:`write_receipt` would
not have made is refused. The room writes down what it is told and judges nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from engine.errors import FormatError
from engine.evidence import canonical, sshsig
from engine.evidence.signer import Signer, verify
from engine.model import (
    Counts,
    Failure,
    Isolation,
    Normalised,
    NotCaptured,
    Skip,
    TableResult,
    Timings,
    TlsFacts,
    Verdict,
    Versions,
)

VERSION = 1


@dataclass(frozen=True, slots=True)
class Receipt:
    """One drill. Durations are seconds, written with three decimals.

    ``tables_captured`` of ``tables_total`` is the coverage: tables in the snapshot, tables at the source.
    """

    drill_id: str
    snapshot_id: str
    connection_id: str
    connection_name: str
    provider: str | None
    destination_name: str
    object_key: str
    artifact_sha256: str
    size_bytes: int
    taken_at: datetime
    drilled_at: datetime
    verdict: Verdict
    counts: Counts
    versions: Versions
    tls: TlsFacts
    role: str
    superuser: bool
    timings: Timings
    scratch_settings: dict[str, str]
    isolation: Isolation
    tables: tuple[TableResult, ...]
    tables_captured: int
    tables_total: int
    normalised: tuple[Normalised, ...]
    skips: tuple[Skip, ...]
    failures: tuple[Failure, ...]
    not_captured: tuple[NotCaptured, ...]
    toc_entries: int
    previous_receipt_sha256: str | None
    v: int = VERSION


@dataclass(frozen=True, slots=True)
class _Envelope:
    receipt: Receipt
    signature: str


def write_receipt(receipt: Receipt, signer: Signer) -> tuple[str, str]:
    """The receipt's text and its SHA-256 in hex. Durations are rounded to milliseconds.

    Raises FormatError format.receipt for a value that cannot be written.
    """
    try:
        rounded = canonical.normalise(Receipt, receipt)
        signature = signer.sign(sshsig.RECEIPT, canonical.encode(rounded))
        data = canonical.encode(_Envelope(rounded, signature))
    except ValueError as e:
        raise FormatError("format.receipt", f"the receipt cannot be written: {e}") from e
    return data.decode("utf-8"), hashlib.sha256(data).hexdigest()


def read_receipt(text: str, signer_public: str) -> Receipt:
    """The receipt in ``text``, with its signature checked against the key in hex. Raises FormatError format.receipt."""
    try:
        envelope = canonical.restore(_Envelope, canonical.decode(text.encode("utf-8")))
        _check_version(envelope.receipt)
        verify(signer_public, sshsig.RECEIPT, canonical.encode(envelope.receipt), envelope.signature)
    except ValueError as e:
        raise FormatError("format.receipt", f"the receipt is not what was written: {e}") from e
    return envelope.receipt


def signed_bytes(receipt: Receipt) -> bytes:
    """What the signature covers: for ``ssh-keygen -Y verify -n offsitedb-receipt``."""
    return canonical.encode(receipt)


def _check_version(receipt: Receipt) -> None:
    if receipt.v != VERSION:
        raise ValueError(f"version {receipt.v} is not known")
