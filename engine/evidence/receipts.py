"""The receipt of one drill: everything that was seen, signed, and chained to the receipt before it.

A receipt is text that anybody can check with the public key. Reading is strict: text that :func:`write_receipt` would
not have made is refused. The room writes down what it is told and judges nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.codec import from_plain, to_plain
from engine.errors import FormatError
from engine.evidence import canonical, sshsig
from engine.evidence.signer import Signer, verify
from engine.model import (
    CheckResult,
    Counts,
    Failure,
    FingerprintResult,
    Isolation,
    Normalised,
    NotCaptured,
    Skip,
    StructureResult,
    TableResult,
    Timings,
    TlsFacts,
    Verdict,
    Versions,
)

VERSION = 2
_SINCE_2 = ("structure", "fingerprints", "checks")
"""Fields that a receipt of version 1 does not have."""


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
    structure: StructureResult | None = None
    fingerprints: tuple[FingerprintResult, ...] = ()
    checks: tuple[CheckResult, ...] = ()
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
        signature = signer.sign(sshsig.RECEIPT, signed_bytes(rounded))
        data = canonical.encode(_written(_Envelope(rounded, signature)))
    except ValueError as e:
        raise FormatError("format.receipt", f"the receipt cannot be written: {e}") from e
    return data.decode("utf-8"), hashlib.sha256(data).hexdigest()


def read_receipt(text: str, signer_public: str) -> Receipt:
    """The receipt in ``text``, with its signature checked against the key in hex. Raises FormatError format.receipt."""
    try:
        plain = canonical.decode(text.encode("utf-8"))
        envelope = from_plain(_Envelope, plain)
        _check_form(envelope, plain)
        verify(signer_public, sshsig.RECEIPT, signed_bytes(envelope.receipt), envelope.signature)
    except ValueError as e:
        raise FormatError("format.receipt", f"the receipt is not what was written: {e}") from e
    return envelope.receipt


def signed_bytes(receipt: Receipt) -> bytes:
    """What the signature covers: for ``ssh-keygen -Y verify -n offsitedb-receipt``."""
    return canonical.encode(_fields(receipt))


def _written(envelope: _Envelope) -> dict[str, Any]:
    return {"receipt": _fields(envelope.receipt), "signature": envelope.signature}


def _fields(receipt: Receipt) -> dict[str, Any]:
    """The fields that a receipt of this version has."""
    plain: dict[str, Any] = to_plain(receipt)
    return plain if receipt.v > 1 else {name: value for name, value in plain.items() if name not in _SINCE_2}


def _check_form(envelope: _Envelope, plain: object) -> None:
    """Raise ValueError for a version that is not known, and for what writing it again would not give."""
    if envelope.receipt.v not in (1, VERSION):
        raise ValueError(f"version {envelope.receipt.v} is not known")
    if canonical.encode(_written(envelope)) != canonical.encode(plain):
        raise ValueError("a field is missing or has another form")
