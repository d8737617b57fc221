"""API keys as text: ``odb_live_<id>_<secret><checksum>``.

The prefix is for scanners that look for leaked secrets, the checksum tells a mistyped or cut key without asking the
catalog, and the secret's 256 bits are what makes a plain SHA-256 enough to keep. The room keeps and reads nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field

PREFIX = "odb_live_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_CHARS = 12
_SECRET_CHARS = 43
"""62^43 > 2^256."""
_CHECKSUM_CHARS = 6
"""62^6 > 2^32."""
_FORM = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{_ID_CHARS}}})_[0-9A-Za-z]{{{_SECRET_CHARS + _CHECKSUM_CHARS}}}", re.ASCII)
_NOBODY = hashlib.sha256(b"no key has this text").hexdigest()


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. ``text`` is shown once and kept nowhere."""

    id: str
    text: str = field(repr=False)


def make() -> NewKey:
    """A new key from the system's randomness."""
    key_id, secret = _random(_ID_CHARS), _random(_SECRET_CHARS)
    body = f"{PREFIX}{key_id}_{secret}"
    return NewKey(key_id, body + _checksum(body))


def read_id(text: str) -> str | None:
    """The id in ``text``; None when it is no key at all: another form, or a checksum that does not fit."""
    found = _FORM.fullmatch(text)
    if found is None or not hmac.compare_digest(_checksum(text[:-_CHECKSUM_CHARS]), text[-_CHECKSUM_CHARS:]):
        return None
    return found[1]


def digest(text: str) -> str:
    """What is kept of a key, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_key(text: str, secret_sha256: str | None) -> bool:
    """Whether ``text`` is the key whose digest is kept; an unknown key (None) costs the same time as a wrong one."""
    equal = hmac.compare_digest(digest(text), secret_sha256 or _NOBODY)
    return equal and secret_sha256 is not None


def _random(chars: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(chars))


def _checksum(body: str) -> str:
    """CRC-32 of what stands before it, in base 62, most significant digit first."""
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM_CHARS):
        value, digit = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
