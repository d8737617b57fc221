"""The manifest beside every artifact: what it is in the clear, what was captured in a sealed part, and a signature.

The sealed part is opaque here. A manifest names the one before it, so a missing snapshot of a connection shows.
Reading is strict: bytes that :func:`write_manifest` would not have made are refused, whatever they say.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

from engine.clock import from_rfc3339
from engine.errors import FormatError
from engine.evidence import canonical, sshsig
from engine.evidence.signer import Signer, public_bytes, verify

VERSION = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """The clear part. Ids are 32 and hashes 64 hex digits, ``created_at`` RFC 3339, ``sealed`` opaque text.

    ``signer`` is the public key in hex that signed; :func:`write_manifest` sets it.
    """

    v: int
    artifact_id: str
    catalog_id: str
    connection_id: str
    seq: int
    created_at: str
    object_key: str
    artifact_sha256: str
    size_bytes: int
    previous_manifest_sha256: str | None
    sealed: str
    signer: str = ""


@dataclass(frozen=True, slots=True)
class _Envelope:
    manifest: Manifest
    signature: str


def write_manifest(manifest: Manifest, signer: Signer) -> tuple[bytes, str]:
    """The manifest's bytes and their SHA-256 in hex. Raises FormatError format.manifest for values out of form."""
    named = replace(manifest, signer=signer.public_hex)
    try:
        _check(named)
        signature = signer.sign(sshsig.MANIFEST, canonical.encode(named))
        data = canonical.encode(_Envelope(named, signature))
    except ValueError as e:
        raise FormatError("format.manifest", f"the manifest cannot be written: {e}") from e
    return data, hashlib.sha256(data).hexdigest()


def read_manifest(data: bytes, signer_public: str | None) -> Manifest:
    """The manifest in ``data``, with its signature checked.

    ``signer_public`` is the catalog's key in hex; None trusts the key that the manifest names, which is enough to see
    damage but not to see forgery. Raises FormatError format.manifest.
    """
    try:
        envelope = canonical.restore(_Envelope, canonical.decode(data))
        manifest = envelope.manifest
        _check(manifest)
        verify(
            manifest.signer if signer_public is None else signer_public,
            sshsig.MANIFEST,
            canonical.encode(manifest),
            envelope.signature,
        )
    except ValueError as e:
        raise FormatError("format.manifest", f"the manifest is not what was written: {e}") from e
    return manifest


def _check(manifest: Manifest) -> None:
    if manifest.v != VERSION:
        raise ValueError(f"version {manifest.v} is not known")
    for name in ("artifact_id", "catalog_id", "connection_id"):
        _hex(name, getattr(manifest, name), 32)
    _hex("artifact_sha256", manifest.artifact_sha256, 64)
    if manifest.previous_manifest_sha256 is not None:
        _hex("previous_manifest_sha256", manifest.previous_manifest_sha256, 64)
    if manifest.seq < 1 or manifest.size_bytes < 0:
        raise ValueError("a number is out of its range")
    from_rfc3339(manifest.created_at)
    public_bytes(manifest.signer)


def _hex(name: str, value: str, digits: int) -> None:
    if not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value):
        raise ValueError(f"{name} is not {digits} hex digits")
