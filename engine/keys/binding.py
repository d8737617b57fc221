"""How a sealed value is bound to its place, and how it is spelled as text.

Parts are joined with their lengths, so that no two lists of parts give the same bytes; text is base64url without
padding, and only the one spelling of some bytes is read.
"""

from __future__ import annotations

import base64
import binascii


def bind(*parts: str) -> bytes:
    """``parts`` in UTF-8, each after its length as an unsigned 32-bit big-endian number."""
    encoded = [part.encode("utf-8") for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def to_base64url(raw: bytes) -> str:
    """Base64url (RFC 4648 section 5) without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """The bytes of :func:`to_base64url`. Raises ValueError for any other spelling of them."""
    if "=" in text:
        raise ValueError("padding in base64url")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as e:
        raise ValueError("not base64url") from e
    if to_base64url(raw) != text:
        raise ValueError("not the canonical base64url of its bytes")
    return raw


def show_kid(kid: str) -> str:
    """A key id as people read it: ``k-`` and the 16 hex digits."""
    return f"k-{kid}"
