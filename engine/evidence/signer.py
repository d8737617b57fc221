"""The catalog's signing key while it is open, and the public half in the forms that others need.

The seed comes in from whoever unsealed it and is never given out again.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.errors import FormatError
from engine.evidence import sshsig

SEED_BYTES = 32
PRINCIPAL = "offsitedb"
"""The name under which the key stands in an ``allowed_signers`` file."""


class Signer:
    """Signs with one Ed25519 key. ``public_hex`` is its public half, 64 hex digits."""

    __slots__ = ("_key", "public_hex")

    def __init__(self, seed: bytes) -> None:
        """``seed``: the 32 random bytes of the key. Raises ValueError for another length."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a signing seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_hex = self._key.public_key().public_bytes_raw().hex()

    def __repr__(self) -> str:
        return f"Signer({self.public_hex})"

    def sign(self, namespace: str, message: bytes) -> str:
        """The armored SSH signature of ``message``."""
        return sshsig.sign(self._key, namespace, message)


def verify(public: str, namespace: str, message: bytes, armored: str) -> None:
    """Check a signature against the public key in hex. Raises ValueError."""
    sshsig.verify(public_bytes(public), namespace, message, armored)


def public_bytes(public: str) -> bytes:
    """The 32 raw bytes of a public key in hex. Raises ValueError."""
    raw = bytes.fromhex(public)
    if len(raw) != SEED_BYTES or raw.hex() != public:
        raise ValueError("a public signing key has 64 lower-case hex digits")
    return raw


def openssh_public(public: str) -> str:
    """``ssh-ed25519 AAAA…``: the public key as OpenSSH writes it. Raises FormatError for what is no key."""
    try:
        wire = sshsig.wire_key(public_bytes(public))
    except ValueError as e:
        raise FormatError("format.signature", f"not a signing key: {e}") from e
    return f"{sshsig.KEY_TYPE.decode()} {base64.b64encode(wire).decode('ascii')}"


def fingerprint(public: str) -> str:
    """``SHA256:…``: the public key's fingerprint as ``ssh-keygen -l`` shows it. Raises ValueError."""
    digest = hashlib.sha256(sshsig.wire_key(public_bytes(public))).digest()
    return f"SHA256:{base64.b64encode(digest).decode('ascii').rstrip('=')}"


def allowed_signers(public: str) -> str:
    """The line for ``ssh-keygen -Y verify -f``, limited to our namespaces. Raises FormatError."""
    namespaces = ",".join((sshsig.RECEIPT, sshsig.MANIFEST, sshsig.HEAD, sshsig.REPORT))
    return f'{PRINCIPAL} namespaces="{namespaces}" {openssh_public(public)}\n'
