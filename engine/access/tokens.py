"""Tokens of sessions: 32 random bytes for whoever logged in, their SHA-256 for the catalog."""

from __future__ import annotations

import hashlib
import secrets

BYTES = 32
CHARS = 43
"""A token as text, URL-safe base64 without padding."""


def new() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(BYTES)


def digest(token: str) -> str:
    """What the catalog keeps. The token is random throughout, so that a plain hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
