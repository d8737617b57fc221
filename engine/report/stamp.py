"""Time stamps of others (RFC 3161): asked for over a bundle's ``SHA256SUMS``, read back, held against an authority.

Nothing here reaches out. Bytes and certificates come from anywhere; every error is a ValueError in plain words. The
libraries are loaded where they are needed: a worker carries what it loads for good, and stamps once a month.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from engine.errors import ConfigError

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse

LONGEST_BYTES = 128 * 1024
"""An answer with a whole chain of certificates has a tenth of it."""
QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"
_SHA256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_LONGEST_CA = 1024 * 1024
_SHOWN = 200

Roots = tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A request as it is sent. ``nonce``: what the answer to it repeats."""

    body: bytes
    nonce: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a time stamp says: these sums existed at ``at``, give or take ``accuracy``; ``authority``: who signed it."""

    at: datetime
    accuracy: timedelta | None
    authority: str


def question(sums: bytes) -> Question:
    """Ask for a stamp over the SHA-256 of ``sums``, with the authority's certificate in it."""
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    asked = TimestampRequestBuilder(sums, HashAlgorithm.SHA256, nonce=True, cert_req=True).build()
    assert asked.nonce is not None
    return Question(asked.as_bytes(), asked.nonce)


def read(data: bytes, sums: bytes, *, nonce: int | None = None, roots: Roots = ()) -> Stamp:
    """What the stamp ``data`` over ``sums`` says. Raises ValueError.

    Without ``roots`` structure and digest alone are looked at: anybody could have made it. With them the signature has
    to be that of a certificate for time stamping which, when it was made, led to one of them. ``nonce``: of the
    question.
    """
    try:
        return _read(_decoded(data), sums, nonce, roots)
    except _Refused:
        raise
    except Exception as e:  # what parsers raise for what is none is of many kinds
        raise _Refused(f"it is no time stamp that can be read ({str(e)[:_SHOWN]})") from e


def _read(answer: TimeStampResponse, sums: bytes, nonce: int | None, roots: Roots) -> Stamp:
    said = answer.tst_info
    imprint = said.message_imprint
    if imprint.hash_algorithm != _SHA256 or imprint.message != hashlib.sha256(sums).digest():
        raise _Refused("it is a stamp over something else")
    if nonce is not None and said.nonce != nonce:
        raise _Refused("it answers another question (the nonce is not ours)")
    signer = _signer(answer)
    if roots:
        _held_against(answer, sums, roots)
    accuracy = None
    if (a := said.accuracy) is not None:
        accuracy = timedelta(seconds=a.seconds or 0, milliseconds=a.millis or 0, microseconds=a.micros or 0)
    at = said.gen_time
    return Stamp(at if at.tzinfo is not None else at.replace(tzinfo=UTC), accuracy, signer)


def load_roots(path: Path) -> Roots:
    """The certificates of an authority, and of whoever vouches for it, in a PEM file.

    Raises ConfigError ``config.timestamp-ca``.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_CA)
        return tuple(dict.fromkeys(x509.load_pem_x509_certificates(data)))
    except OSError as e:
        raise ConfigError("config.timestamp-ca", f"{path} cannot be read: {e.strerror}") from e
    except ValueError as e:
        raise ConfigError("config.timestamp-ca", f"{path} holds no certificate in PEM form: {e}") from e


class _Refused(ValueError):
    """In words of our own."""


def _decoded(data: bytes) -> TimeStampResponse:
    from rfc3161_client import decode_timestamp_response
    from rfc3161_client.tsp import PKIStatus

    if len(data) > LONGEST_BYTES:
        raise _Refused("it is longer than any time stamp")
    try:
        answer = decode_timestamp_response(data)
    except ValueError as e:
        if "InvalidSetOrdering" not in str(e):
            raise
        answer = decode_timestamp_response(_in_order(data))
    if answer.status != PKIStatus.GRANTED:
        told = _printable(" ".join(" ".join(answer.status_string).split()))
        raise _Refused(f"the authority granted none (status {answer.status}){': ' if told else ''}{told}")
    return answer


def _in_order(data: bytes) -> bytes:
    """The answer with its certificates in the order that DER wants of a set; no signature covers it.

    Many authorities send their own certificate first. What is kept in the bundle is what they sent.
    """
    from asn1crypto import cms, tsp

    answer = tsp.TimeStampResp.load(data, strict=True)
    signed = answer["time_stamp_token"]["content"]
    signed["certificates"] = cms.CertificateSet(sorted(signed["certificates"], key=lambda one: one.dump()))
    ordered: bytes = answer.dump()
    return ordered


def _signer(answer: TimeStampResponse) -> str:
    """The name of whoever signed it, of the certificate that has to be in there."""
    signers = answer.signed_data.signer_infos
    if len(signers) != 1:
        raise _Refused(f"it has {len(signers)} signatures instead of one")
    signer = signers.pop()
    for der in answer.signed_data.certificates:
        certificate = x509.load_der_x509_certificate(der)
        if (certificate.issuer, certificate.serial_number) == (signer.issuer, signer.serial_number):
            return _printable(certificate.subject.rfc4514_string()) or certificate.fingerprint(SHA256()).hex()
    raise _Refused("the certificate of its authority is not in it")


def _held_against(answer: TimeStampResponse, sums: bytes, roots: Roots) -> None:
    from rfc3161_client import VerificationError, VerifierBuilder

    try:
        VerifierBuilder(roots=list(roots)).build().verify_message(answer, sums)
    except VerificationError as e:
        raise _Refused(_plain(str(e))) from e


def _plain(said: str) -> str:
    """What the verification said, without the stack of its library."""
    if "has expired" in said or "not yet valid" in said:
        return "the authority's certificate was not good when the stamp was made"
    if "certificate verify error" in said:
        return "it is not of an authority that the given CA vouches for"
    if "signature failure" in said or "digest failure" in said or "bad signature" in said:
        return "the authority's signature does not fit: it was altered"
    return f"it does not hold against the given CA: {said[:_SHOWN]}"


def _printable(text: str) -> str:
    """What a stranger wrote, short and without what a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:_SHOWN])
