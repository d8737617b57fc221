"""What stands in the clear header of an artifact."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipient:
    """One way to the data key. ``t`` is the kind, ``kid`` 16 hex digits, ``ct`` base64url without padding."""

    t: str
    kid: str
    ct: str
