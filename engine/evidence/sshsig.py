"""SSHSIG: signatures that ``ssh-keygen -Y verify`` checks, Ed25519 only (OpenSSH's PROTOCOL.sshsig).

The armor is written as ssh-keygen writes it, byte for byte, and only that form is accepted: a document that holds a
signature has then one form as well. Other key types, hash algorithms and versions are refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

RECEIPT = "offsitedb-receipt"
MANIFEST = "offsitedb-manifest"
HEAD = "offsitedb-head"
REPORT = "offsitedb-report"
"""Namespaces: a signature over one kind of document never passes for another."""

KEY_TYPE = b"ssh-ed25519"
_MAGIC = b"SSHSIG"
_VERSION = 1
_HASH = b"sha512"  # ssh-keygen's default
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n"
_WRAP = 70  # line length of ssh-keygen's armor


def sign(key: Ed25519PrivateKey, namespace: str, message: bytes) -> str:
    """The armored signature of ``message`` in ``namespace``."""
    public = key.public_key().public_bytes_raw()
    signature = key.sign(_to_be_signed(namespace, message))
    return _armor(_blob(public, namespace, signature))


def verify(public: bytes, namespace: str, message: bytes, armored: str) -> None:
    """Check that the key ``public`` (32 raw bytes) signed ``message`` in ``namespace``.

    Raises ValueError: another key, another namespace, another message, or an armor that is not in the written form.
    """
    signature = _signature_in(armored)
    if _armor(_blob(public, namespace, signature)) != armored:
        raise ValueError("the signature was made with another key, for another kind of document, or is not in its form")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _to_be_signed(namespace, message))
    except InvalidSignature as e:
        raise ValueError("the signature does not fit") from e


def wire_key(public: bytes) -> bytes:
    """A raw Ed25519 public key in SSH's wire form."""
    return _string(KEY_TYPE) + _string(public)


def _blob(public: bytes, namespace: str, signature: bytes) -> bytes:
    return (
        _MAGIC
        + struct.pack(">I", _VERSION)
        + _string(wire_key(public))
        + _string(namespace.encode())
        + _string(b"")  # reserved
        + _string(_HASH)
        + _string(_string(KEY_TYPE) + _string(signature))
    )


def _to_be_signed(namespace: str, message: bytes) -> bytes:
    digest = hashlib.sha512(message).digest()
    return _MAGIC + _string(namespace.encode()) + _string(b"") + _string(_HASH) + _string(digest)


def _signature_in(armored: str) -> bytes:
    """The last 64 bytes of the blob; whether everything before them is right is seen by writing the blob again."""
    if not armored.startswith(_BEGIN) or not armored.endswith(_END):
        raise ValueError("not an SSH signature")
    try:
        blob = base64.b64decode(armored[len(_BEGIN) : -len(_END)].replace("\n", ""), validate=True)
    except (binascii.Error, ValueError) as e:
        raise ValueError("not an SSH signature") from e
    return blob[-64:]


def _armor(blob: bytes) -> str:
    text = base64.b64encode(blob).decode("ascii")
    lines = [text[i : i + _WRAP] + "\n" for i in range(0, len(text), _WRAP)]
    return _BEGIN + "".join(lines) + _END


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
