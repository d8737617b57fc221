"""The recovery code: 32 bytes on paper that open every artifact and every master key on an empty machine.

The host keeps only the public half, so whoever takes the host cannot make up for a lost code, and nothing here is ever
sealed *by* the code. Sealing to the public half is not a signature: whatever a bundle yields is held against the
catalog's key-check record, or against an artifact, before it is believed.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from engine.errors import FormatError, KeyAccessError
from engine.keys import bech32m
from engine.keys.binding import bind, from_base64url, show_kid, to_base64url
from engine.keys.master import KID_LEN, MasterKey

SECRET_LEN = 32
PUBLIC_LEN = 1_216
"""ML-KEM-768 encapsulation key (1,184 bytes, FIPS 203), then X25519 public key (32 bytes)."""

_HRP = "odbr"
_GROUP = 4
_CONFIRM_GROUPS = 3
_MLKEM_PUBLIC_LEN = 1_184
_MLKEM_SEED_LEN = 64
_X25519_LEN = 32
_SEPARATORS = str.maketrans("", "", " -\t\r\n\u2010\u2011\u2013")  # as printed, pasted, or "improved" by a mail program
_BUNDLE_PREFIX = "odb1r"
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class RecoveryPublic:
    """The half that the host keeps. ``raw`` has 1,216 bytes, ``kid`` is the first 8 bytes of its SHA-256 in hex.

    Raises ValueError for bytes that are no such key.
    """

    raw: bytes = field(repr=False)
    kid: str = field(init=False)

    def __post_init__(self) -> None:
        if len(self.raw) != PUBLIC_LEN:
            raise ValueError(f"a recovery public key has {PUBLIC_LEN} bytes, not {len(self.raw)}")
        object.__setattr__(self, "kid", hashlib.sha256(self.raw).digest()[:KID_LEN].hex())
        self._key()

    def seal(self, info: bytes, data: bytes) -> bytes:
        """``data`` for the holder of the code alone, bound to ``info``: HPKE ``enc ‖ ciphertext``."""
        return _SUITE.encrypt(data, self._key(), info)

    def _key(self) -> hpke.MLKEM768X25519PublicKey:
        return hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(self.raw[:_MLKEM_PUBLIC_LEN]),
            X25519PublicKey.from_public_bytes(self.raw[_MLKEM_PUBLIC_LEN:]),
        )


@dataclass(frozen=True, slots=True)
class RecoveryCode:
    """The secret half. Lives in memory while it is shown or used."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_LEN:
            raise ValueError(f"a recovery code has {SECRET_LEN} bytes")

    @classmethod
    def generate(cls) -> RecoveryCode:
        """A new random code."""
        return cls(secrets.token_bytes(SECRET_LEN))

    @classmethod
    def parse(cls, text: str) -> RecoveryCode:
        """The code in ``text``, in any case and grouping. Raises KeyAccessError ``key.recovery-code``."""
        try:
            return cls(bech32m.decode(_HRP, text.translate(_SEPARATORS).lower()))
        except ValueError as e:
            raise KeyAccessError("key.recovery-code", f"the recovery code cannot be read: {e}") from e

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of four that follow the prefix ``odbr1`` (the last one has two)."""
        body = bech32m.encode(_HRP, self.secret)[len(_HRP) + 1 :]
        return tuple(body[i : i + _GROUP] for i in range(0, len(body), _GROUP))

    @property
    def text(self) -> str:
        """The code as printed: ``odbr1-xxxx-xxxx-…``."""
        return "-".join((f"{_HRP}1", *self.groups))

    def confirm_positions(self, count: int = _CONFIRM_GROUPS) -> tuple[int, ...]:
        """Which groups to ask back, counted from 1 after the prefix: random, ascending, full groups only."""
        full = [i for i, group in enumerate(self.groups, start=1) if len(group) == _GROUP]
        return tuple(sorted(secrets.SystemRandom().sample(full, count)))

    def confirms(self, positions: Sequence[int], typed: Sequence[str]) -> bool:
        """Whether ``typed`` are the groups at ``positions``, in any case."""
        if len(positions) != len(typed) or not positions:
            return False
        groups = self.groups
        given = [text.translate(_SEPARATORS).lower() for text in typed]
        return all(1 <= at <= len(groups) and groups[at - 1] == text for at, text in zip(positions, given, strict=True))

    @property
    def public(self) -> RecoveryPublic:
        """The half that the host keeps."""
        mlkem, x25519 = self._private_keys()
        return RecoveryPublic(mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw())

    def open(self, info: bytes, sealed: bytes) -> bytes:
        """What :meth:`RecoveryPublic.seal` was given. Raises FormatError ``format.header``."""
        try:
            return _SUITE.decrypt(sealed, hpke.MLKEM768X25519PrivateKey(*self._private_keys()), info)
        except (InvalidTag, ValueError) as e:
            raise FormatError("format.header", "what was sealed to the recovery key was altered or moved") from e

    def _private_keys(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        seed = hashlib.shake_256(self.secret).digest(_MLKEM_SEED_LEN + _X25519_LEN)
        return (
            MLKEM768PrivateKey.from_seed_bytes(seed[:_MLKEM_SEED_LEN]),
            X25519PrivateKey.from_private_bytes(seed[_MLKEM_SEED_LEN:]),
        )


@dataclass(frozen=True, slots=True)
class RecoveryBundle:
    """What the code gives back: every master epoch, oldest first, and (name, connection string) pairs."""

    masters: tuple[MasterKey, ...]
    connections: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def seal_bundle(public: RecoveryPublic, catalog_id: str, bundle: RecoveryBundle) -> str:
    """``odb1r.<recovery kid>.<base64url>``: the bundle of one catalog, to be stored there and at the destinations."""
    plain = {
        "v": 1,
        "masters": [{"epoch": master.epoch, "key": master.text} for master in bundle.masters],
        "connections": [list(pair) for pair in bundle.connections],
    }
    data = json.dumps(plain, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    return f"{_BUNDLE_PREFIX}.{public.kid}.{to_base64url(public.seal(_bundle_info(public.kid, catalog_id), data))}"


def open_bundle(code: RecoveryCode, catalog_id: str, text: str) -> RecoveryBundle:
    """The bundle of ``catalog_id``.

    Raises KeyAccessError ``key.recovery-code`` when the code is another catalog's, FormatError ``format.header`` when
    the bundle was damaged or is of another catalog, ``format.version`` when a newer program wrote it.
    """
    parts = text.strip().split(".")
    if len(parts) != 3 or parts[0] != _BUNDLE_PREFIX:
        raise FormatError("format.header", "this is not a recovery bundle")
    kid = code.public.kid
    if parts[1] != kid:
        raise KeyAccessError(
            "key.recovery-code",
            f"the bundle was sealed to recovery key {show_kid(parts[1])}, the code is of {show_kid(kid)}",
        )
    try:
        sealed = from_base64url(parts[2])
    except ValueError as e:
        raise FormatError("format.header", "the recovery bundle was altered") from e
    return _bundle_of(code.open(_bundle_info(kid, catalog_id), sealed))


def _bundle_of(data: bytes) -> RecoveryBundle:
    try:
        plain = json.loads(data)
        if plain["v"] != 1:
            raise FormatError("format.version", "the recovery bundle was written by a newer version")
        masters = (MasterKey.parse(entry["key"], entry["epoch"]) for entry in plain["masters"])
        return RecoveryBundle(
            masters=tuple(sorted(masters, key=lambda master: master.epoch)),
            connections=tuple((str(name), str(conninfo)) for name, conninfo in plain["connections"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise FormatError("format.header", "the recovery bundle holds something else than a bundle") from e


def _bundle_info(kid: str, catalog_id: str) -> bytes:
    return bind("odb/v1/bundle", kid, catalog_id)
