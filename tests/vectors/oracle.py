"""A second, plain implementation of docs/ARTIFACT.md for making vectors. It shares no line with the engine.

Everything random is an argument, so that the vectors come out the same every time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

INNER = b"\xff\xff\xff\xff"


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand-SHA-384, RFC 5869."""
    out = block = b""
    counter = 1
    while len(out) < length:
        block = hmac.new(key, block + info + bytes([counter]), "sha384").digest()
        out += block
        counter += 1
    return out[:length]


def fixed(label: str, length: int) -> bytes:
    """Bytes that stand in for random ones."""
    return hashlib.shake_128(label.encode()).digest(length)


class Floe:
    """One stream, its parts open to tampering: ``header``, then :meth:`segment` by index."""

    def __init__(self, key: bytes, aad: bytes, seg_len: int, label: str) -> None:
        self.params = b"\x00\x00" + seg_len.to_bytes(4, "big") + (32).to_bytes(4, "big")
        self.iv = fixed(f"{label}/iv", 32)
        self.aad = aad
        self.label = label
        self.plain_len = seg_len - 32
        self.header = self.params + self.iv + self.kdf(key, b"HEADER_TAG:", 32)
        self.message_key = self.kdf(key, b"MESSAGE_KEY:", 48)

    def kdf(self, key: bytes, purpose: bytes, length: int) -> bytes:
        return expand(key, self.params + self.iv + purpose + self.aad, length)

    def segment(self, index: int, plain: bytes, *, final: bool) -> bytes:
        dek = self.kdf(self.message_key, b"DEK:" + (index >> 20 << 20).to_bytes(8, "big"), 32)
        nonce = fixed(f"{self.label}/nonce/{index}", 12)
        aad = index.to_bytes(8, "big") + bytes([final])
        word = (len(plain) + 32).to_bytes(4, "big") if final else INNER
        return word + nonce + AESGCM(dek).encrypt(nonce, plain, aad)

    def segments(self, plain: bytes, *, empty_final: bool = False) -> list[bytes]:
        pieces = [plain[i : i + self.plain_len] for i in range(0, len(plain), self.plain_len)] or [b""]
        if empty_final:
            pieces.append(b"")
        last = len(pieces) - 1
        return [self.segment(i, piece, final=i == last) for i, piece in enumerate(pieces)]


def seal(key: bytes, aad: bytes, plain: bytes, label: str, seg_len: int = 1_048_576) -> bytes:
    stream = Floe(key, aad, seg_len, label)
    return stream.header + b"".join(stream.segments(plain))


def bind(*parts: str) -> bytes:
    return b"".join(len(p.encode()).to_bytes(4, "big") + p.encode() for p in parts)


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def kid(master: bytes) -> str:
    return expand(master, b"odb/v1/kid", 8).hex()


def canonical(value: object) -> bytes:
    """RFC 8785 for what a header may hold: ASCII texts without escapes, whole numbers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def preamble(raw: bytes, *, magic: bytes = b"ODBART01", length: int | None = None) -> bytes:
    return magic + (len(raw) if length is None else length).to_bytes(4, "big") + raw


def artifact_aad(head: bytes) -> bytes:
    return b"odb/v1/artifact\0" + hashlib.sha256(head).digest()


def wrap(master: bytes, dek: bytes, artifact_id: str, connection_id: str, label: str) -> dict[str, str]:
    aad = bind("odb/v1/dek", kid(master), artifact_id, connection_id)
    sealed = seal(expand(master, b"odb/v1/wrap", 32), aad, dek, label)
    return {"t": "master", "kid": kid(master), "ct": b64(sealed)}


def field(master: bytes, place: dict[str, str], value: str, label: str) -> str:
    aad = bind("odb/v1/field", place["catalog_id"], place["table"], place["column"], place["row_id"], kid(master))
    return f"odb1f.{kid(master)}.{b64(seal(expand(master, b'odb/v1/field', 32), aad, value.encode(), label))}"


def blob(master: bytes, purpose: str, parts: list[str], data: bytes, label: str) -> bytes:
    aad = bind("odb/v1/blob", purpose, kid(master), *parts)
    return b"ODBBLOB1" + bytes.fromhex(kid(master)) + seal(expand(master, b"odb/v1/blob", 32), aad, data, label)


def check_record(master: bytes, catalog_id: str, label: str) -> str:
    aad = bind("odb/v1/check", catalog_id, kid(master))
    body = f"odb1c.{kid(master)}.{b64(seal(expand(master, b'odb/v1/check', 32), aad, b'odb/v1/check', label))}"
    return with_checksum(body)


def with_checksum(body: str) -> str:
    return f"{body}.{hashlib.sha256(body.encode()).hexdigest()[:8]}"
