"""The one place where secrets are taken out of text.

Every error, log line, stderr tail and receipt passes through :func:`redact`. Two nets hang under each other: the
secrets that this process holds right now (:func:`holding`), removed to the letter, and patterns of things that look
like credentials. The room refuses to guess: what is neither held nor of a known shape stays as it is.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

MASK = "***"
_SHORTEST_HELD = 4  # shorter values would mask half of ordinary prose

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # userinfo of a URL: scheme://user:password@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):([^\s/]*)@", re.IGNORECASE), rf"\1:{MASK}@"),
    # key=value and key: value, quoted or not
    (
        re.compile(
            r"(?i)\b(password|passwd|pwd|secret|secret_access_key|aws_secret_access_key|passphrase|token)"
            r"(['\"]?\s*[=:]\s*)('(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|[^\s,;&]+)"
        ),
        rf"\1\2{MASK}",
    ),
    # our own codes: recovery code, master key, API key
    (re.compile(r"\bodb[rm]1[02-9ac-hj-np-z -]{40,}", re.IGNORECASE), MASK),
    (re.compile(r"\bodb_live_[A-Za-z0-9_-]+"), MASK),
)

_held: dict[str, int] = {}
_lock = threading.Lock()


def redact(text: str) -> str:
    """Return ``text`` with held secrets and credential-shaped parts replaced by ``***``."""
    with _lock:
        held = sorted(_held, key=len, reverse=True)
    for secret in held:
        text = text.replace(secret, MASK)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


@contextmanager
def holding(*secrets: str) -> Iterator[None]:
    """Mask ``secrets`` (and their percent-encoded forms) in every redaction while the block runs.

    Values shorter than four characters are left to the patterns: removing them would garble prose.
    """
    forms = {form for s in secrets for form in (s, quote(s, safe="")) if len(form) >= _SHORTEST_HELD}
    with _lock:
        for form in forms:
            _held[form] = _held.get(form, 0) + 1
    try:
        yield
    finally:
        with _lock:
            for form in forms:
                _held[form] -= 1
                if not _held[form]:
                    del _held[form]
