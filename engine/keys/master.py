"""The master key: one epoch of it, its text form, and the record by which a catalog knows it again.

A master key seals nothing itself: every use has a key of its own, derived under a label. It shows neither in ``repr``
nor in an error. Where it is kept is the business of ``engine.keys.door``.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from engine import floe
from engine.errors import FormatError, KeyAccessError
from engine.keys import bech32m
from engine.keys.binding import bind, from_base64url, show_kid, to_base64url

KEY_LEN = 32
KID_LEN = 8
_HRP = "odbm"
_CHECK_PREFIX = "odb1c"
_CHECK_TEXT = b"odb/v1/check"
_CHECKSUM_DIGITS = 8


@dataclass(frozen=True, slots=True)
class MasterKey:
    """32 secret bytes and their epoch (1, 2, …; grows with every rotation). Raises ValueError when made wrongly."""

    epoch: int
    key: bytes = field(repr=False)
    kid: str = field(init=False)
    """The key id, 16 hex digits; says nothing of the key."""

    def __post_init__(self) -> None:
        if self.epoch < 1:
            raise ValueError("an epoch is 1 or more")
        if len(self.key) != KEY_LEN:
            raise ValueError(f"a master key has {KEY_LEN} bytes")
        object.__setattr__(self, "kid", self.derive("odb/v1/kid", KID_LEN).hex())

    @classmethod
    def generate(cls, epoch: int) -> MasterKey:
        """A new random key. The caller makes sure that nothing is sealed under an old one that is merely missing."""
        return cls(epoch, secrets.token_bytes(KEY_LEN))

    @classmethod
    def parse(cls, text: str, epoch: int) -> MasterKey:
        """The key that :attr:`text` spells. Raises ValueError that never quotes ``text``."""
        return cls(epoch, bech32m.decode(_HRP, text.strip()))

    @property
    def text(self) -> str:
        """The secret itself, in Bech32m with prefix ``odbm``: what the keyring holds."""
        return bech32m.encode(_HRP, self.key)

    def derive(self, label: str, length: int = KEY_LEN) -> bytes:
        """``length`` bytes for one use: HKDF-Expand-SHA-384 of the key under ``label``."""
        return HKDFExpand(SHA384(), length, label.encode("ascii")).derive(self.key)

    def check_record(self, catalog_id: str) -> str:
        """The key-check record of this key for the catalog, to be stored there in clear."""
        sealed = floe.seal(self.derive("odb/v1/check"), _check_aad(catalog_id, self.kid), _CHECK_TEXT)
        body = f"{_CHECK_PREFIX}.{self.kid}.{to_base64url(sealed)}"
        return f"{body}.{_checksum(body)}"

    def verify_check(self, record: str, catalog_id: str) -> None:
        """Say that this is the key of the catalog whose key-check record is ``record``.

        The record has a checksum of its own, so that damage is told from a wrong key. Raises KeyAccessError:
        ``key.wrong`` for another key, ``key.check-damaged`` for a record that cannot be believed.
        """
        body, _, checksum = record.rpartition(".")
        parts = body.split(".")
        if len(parts) != 3 or parts[0] != _CHECK_PREFIX or checksum != _checksum(body):
            raise KeyAccessError("key.check-damaged", "the key-check record of the catalog is damaged")
        if parts[1] != self.kid:
            raise KeyAccessError(
                "key.wrong",
                f"the catalog was sealed under {show_kid(parts[1])}, the keyring holds {show_kid(self.kid)}",
            )
        try:
            text = floe.open_sealed(
                self.derive("odb/v1/check"),
                _check_aad(catalog_id, self.kid),
                from_base64url(parts[2]),
                max_bytes=len(_CHECK_TEXT),
            )
        except (FormatError, ValueError) as e:
            raise KeyAccessError("key.check-damaged", "the key-check record does not belong to this catalog") from e
        if text != _CHECK_TEXT:
            raise KeyAccessError("key.check-damaged", "the key-check record holds something else")


def _check_aad(catalog_id: str, kid: str) -> bytes:
    return bind("odb/v1/check", catalog_id, kid)


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()[:_CHECKSUM_DIGITS]
