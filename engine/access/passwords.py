"""Passwords: scrypt, written down as a PHC string, and what cannot be one.

A password has at least 15 characters and no rules of composition; what everybody tries first is refused. It is hashed
in the form NFKC, so that every keyboard means the same. A hash takes 128 MiB: at most two are computed at once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import threading
import unicodedata
from dataclasses import dataclass

LEAST_CHARS = 15
MOST_CHARS = 1024
SALT_BYTES = 16
HASH_BYTES = 32
WAIT_S = 20.0
"""How long a hash waits for its turn."""

_slots = threading.BoundedSemaphore(2)
_PHC = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})")
_MOST_LN, _MOST_R, _MOST_P = 20, 16, 4
"""What a string in the catalog may ask for; more would be a way to fill the memory."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters of scrypt: N = 2^ln, r, p. It takes 128 · N · r bytes."""

    ln: int = 17
    r: int = 8
    p: int = 1


class Busy(Exception):
    """Too many hashes wait already."""


class Hasher:
    """Hashes and checks passwords at one cost; strings of another cost are still understood."""

    def __init__(self, cost: Cost | None = None) -> None:
        self.cost = cost or Cost()

    def hash(self, password: str) -> str:
        """The PHC string of ``password`` under a new salt. Raises Busy."""
        salt = secrets.token_bytes(SALT_BYTES)
        return _phc(self.cost, salt, self.derive(password, salt, self.cost))

    def verify(self, phc: str | None, password: str) -> bool:
        """Whether ``password`` is the one of ``phc``. Without one it costs the same, and is not. Raises Busy."""
        cost, salt, expected = _parse(phc) if phc is not None else (self.cost, secrets.token_bytes(SALT_BYTES), b"")
        found = self.derive(password, salt, cost)
        return hmac.compare_digest(found, expected)

    def outdated(self, phc: str) -> bool:
        """Whether the string was made at another cost than today's."""
        return _parse(phc)[0] != self.cost

    def derive(self, password: str, salt: bytes, cost: Cost) -> bytes:
        """One scrypt, when it is its turn. Raises Busy."""
        if not _slots.acquire(timeout=WAIT_S):
            raise Busy
        try:
            return hashlib.scrypt(
                _plain(password),
                salt=salt,
                n=1 << cost.ln,
                r=cost.r,
                p=cost.p,
                maxmem=128 * cost.r * ((1 << cost.ln) + cost.p + 2) + (1 << 20),
                dklen=HASH_BYTES,
            )
        finally:
            _slots.release()


def objection(password: str, name: str) -> str | None:
    """Why this cannot be the password of ``name``; None when it can. Counts characters as people do."""
    text = unicodedata.normalize("NFKC", password)
    if len(text) < LEAST_CHARS:
        return f"it has {len(text)} characters; it needs at least {LEAST_CHARS}"
    if len(password) > MOST_CHARS:
        return f"it has more than {MOST_CHARS} characters"
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        return "it has characters that not every terminal can type"
    if _is_common(text, name):
        return "it is one of those that everybody tries first"
    return None


def _plain(password: str) -> bytes:
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _phc(cost: Cost, salt: bytes, hashed: bytes) -> str:
    return f"$scrypt$ln={cost.ln},r={cost.r},p={cost.p}${_b64(salt)}${_b64(hashed)}"


def _parse(phc: str) -> tuple[Cost, bytes, bytes]:
    found = _PHC.fullmatch(phc)
    if found is None:
        raise ValueError("not a PHC string of scrypt")
    ln, r, p = (int(n) for n in found.groups()[:3])
    if not (1 <= ln <= _MOST_LN and 1 <= r <= _MOST_R and 1 <= p <= _MOST_P):
        raise ValueError("parameters of scrypt beyond what is accepted")
    try:
        return Cost(ln, r, p), _unb64(found[4]), _unb64(found[5])
    except binascii.Error as e:
        raise ValueError("not a PHC string of scrypt") from e


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")


def _unb64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


# what everybody tries first

_FOLD = str.maketrans("013457@$!|", "oieastasil")
"""Digits and signs that stand for letters."""
_STEMS = (
    *("password", "passwort", "passphrase", "passcode", "offsitedb", "offsite", "database", "postgresql", "postgres"),
    *("administrator", "operator", "backup", "restore", "welcome", "willkommen", "letmein", "changeme", "secret"),
    *("iloveyou", "qwerty", "qwertz", "azerty", "asdfgh", "zxcvbn", "default", "master", "login", "access", "admin"),
    *("summer", "winter", "spring", "autumn", "monday", "friday", "monkey", "dragon", "sunshine", "princess"),
    *("football", "baseball", "correcthorsebatterystaple", "thequickbrownfox", "jumps", "overthelazydog", "trustno"),
    *("server", "system", "test", "user", "root", "pass", "hello", "demo", "temp"),
)
_ROWS = ("abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "qwertzuiop", "asdfghjkl", "zxcvbnm", "yxcvbnm", "01234567890")
_LEFT_OVER = 5
"""So many characters must be left when all that is common was taken away."""
_RUN = 4


def _is_common(text: str, name: str) -> bool:
    lower = text.casefold()
    return min(_own(lower, name), _own(lower.translate(_FOLD), name.casefold().translate(_FOLD))) < _LEFT_OVER


def _own(text: str, name: str) -> int:
    """How many characters are the password's own: not a common word, the name, a run of neighbours or a repetition."""
    words = [word for word in re.split(r"[^\w]+", name.casefold()) if len(word) > 2]
    rest = re.sub(r"[\W_]+", "", text)
    for stem in sorted((*words, *_STEMS), key=len, reverse=True):
        rest = rest.replace(stem, "")
    rest = _without_runs(rest)
    rest = re.sub(r"(.{1,8}?)\1+", r"\1", rest)
    return len(set(rest)) if len(rest) >= _LEFT_OVER else len(rest)


def _without_runs(text: str) -> str:
    """Without four or more neighbours of a keyboard row, of the alphabet or of the digits, in either direction."""
    rows = [*_ROWS, *(row[::-1] for row in _ROWS)]
    at, kept = 0, []
    while at < len(text):
        length = next((n for n in range(len(text) - at, _RUN - 1, -1) if any(text[at : at + n] in r for r in rows)), 0)
        if not length:
            kept.append(text[at])
        at += max(length, 1)
    return "".join(kept)
