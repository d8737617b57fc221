"""FLOE with AES-256-GCM: the one authenticated cipher, used by keys and stream alike.

A plaintext of any length becomes a header and segments of a fixed size, each sealed under a nonce of its own with its
position and "this is the last one" as associated data. The header commits to key and associated data. Plaintext leaves
segment by segment, only after its tag was checked; what is missing, moved, repeated, altered or added is refused.

The room refuses to know what it seals, to hold more than one segment, and to go on after a failure. The construction is
the C2SP specification "FLOE"; docs/ARTIFACT.md has the byte tables.
"""

from __future__ import annotations

import hmac
import os
from typing import TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from engine.errors import FormatError

Buffer: TypeAlias = bytes | bytearray | memoryview

KEY_LEN = 32
HEADER_LEN = 74
DEFAULT_ENC_SEG_LEN = 1_048_576
MAX_ENC_SEG_LEN = 16 * 1_048_576
"""Ours, not the specification's: a reader holds one segment, and must not be told to hold gigabytes."""

_IV_LEN = 32
_NONCE_LEN = 12
_TAG_LEN = 16
_WORD_LEN = 4
OVERHEAD_LEN = _WORD_LEN + _NONCE_LEN + _TAG_LEN
"""What a segment adds to its plaintext, in bytes."""

_BODY_AT = _WORD_LEN + _NONCE_LEN
_PARAMS_LEN = 10
_ALGORITHMS = b"\x00\x00"  # AEAD 0 = AES-256-GCM, KDF 0 = HKDF-Expand-SHA-384
_INNER = b"\xff\xff\xff\xff"
_ROTATION_BITS = 20  # FLOE: a segment key serves 2^20 segments, so random nonces stay far from colliding
_MAX_SEGMENTS = 1 << 40  # FLOE's limit for AES-256-GCM


class _Schedule:
    """The keys of one stream: header tag, and the segment key of the epoch in use."""

    def __init__(self, key: bytes, aad: bytes, params: bytes, iv: bytes, rotation_bits: int) -> None:
        if len(key) != KEY_LEN:
            raise ValueError(f"a FLOE key has {KEY_LEN} bytes, not {len(key)}")
        self._context = params + iv
        self._aad = aad
        self._rotation_bits = rotation_bits
        self._epoch = -1
        self._cipher: AESGCM | None = None
        self.header_tag = self._derive(key, b"HEADER_TAG:", 32)
        self._message_key = self._derive(key, b"MESSAGE_KEY:", 48)

    def _derive(self, key: bytes, purpose: bytes, length: int) -> bytes:
        return HKDFExpand(SHA384(), length, self._context + purpose + self._aad).derive(key)

    def cipher(self, index: int) -> AESGCM:
        epoch = index >> self._rotation_bits
        if self._cipher is None or epoch != self._epoch:
            first = (epoch << self._rotation_bits).to_bytes(8, "big")
            self._cipher = AESGCM(self._derive(self._message_key, b"DEK:" + first, KEY_LEN))
            self._epoch = epoch
        return self._cipher


def _segment_aad(index: int, *, final: bool) -> bytes:
    return index.to_bytes(8, "big") + (b"\x01" if final else b"\x00")


class Encryptor:
    """Seals one stream: :meth:`segment` for every full segment, then :meth:`final` once.

    ``enc_seg_len`` is the size of a sealed segment in bytes (33 .. 16 MiB). ``rotation_bits`` is for known-answer
    vectors only: anything but the default is not FLOE. Raises ValueError for a wrong key length or segment size.
    """

    def __init__(
        self,
        key: bytes,
        aad: bytes,
        *,
        enc_seg_len: int = DEFAULT_ENC_SEG_LEN,
        rotation_bits: int = _ROTATION_BITS,
    ) -> None:
        if not OVERHEAD_LEN < enc_seg_len <= MAX_ENC_SEG_LEN:
            raise ValueError(f"a sealed segment has {OVERHEAD_LEN + 1} to {MAX_ENC_SEG_LEN} bytes, not {enc_seg_len}")
        params = _ALGORITHMS + enc_seg_len.to_bytes(4, "big") + _IV_LEN.to_bytes(4, "big")
        iv = os.urandom(_IV_LEN)
        self._schedule = _Schedule(key, aad, params, iv, rotation_bits)
        self._index = 0
        self._scratch = bytearray()
        self._finished = False
        self.enc_seg_len = enc_seg_len
        self.plain_seg_len = enc_seg_len - OVERHEAD_LEN
        self.header = params + iv + self._schedule.header_tag

    def segment(self, plaintext: Buffer) -> memoryview:
        """Seal ``plaintext``, exactly ``plain_seg_len`` bytes, as the next inner segment. Raises ValueError.

        The sealed bytes lie where those of the next call will lie: whoever keeps them copies them.
        """
        length = memoryview(plaintext).nbytes
        if length != self.plain_seg_len:
            raise ValueError(f"an inner segment holds exactly {self.plain_seg_len} bytes, not {length}")
        return self._seal(_INNER, plaintext, final=False)

    def final(self, plaintext: Buffer) -> memoryview:
        """As :meth:`segment`: ``plaintext``, 0 to ``plain_seg_len`` bytes, as the last segment."""
        length = memoryview(plaintext).nbytes
        if length > self.plain_seg_len:
            raise ValueError(f"the final segment holds at most {self.plain_seg_len} bytes, not {length}")
        sealed = self._seal((length + OVERHEAD_LEN).to_bytes(4, "big"), plaintext, final=True)
        self._finished = True
        return sealed

    def _seal(self, word: bytes, plaintext: Buffer, *, final: bool) -> memoryview:
        if self._finished:
            raise ValueError("the stream was finished")
        if self._index >= _MAX_SEGMENTS:
            raise ValueError(f"a stream has at most {_MAX_SEGMENTS} segments")
        # one buffer per stream: a fresh one per segment costs five times as much as the encryption (page faults)
        length = memoryview(plaintext).nbytes + OVERHEAD_LEN
        if len(self._scratch) != length:
            self._scratch = bytearray(length)
        with memoryview(self._scratch) as out:
            out[:_WORD_LEN] = word
            out[_WORD_LEN:_BODY_AT] = nonce = os.urandom(_NONCE_LEN)
            cipher = self._schedule.cipher(self._index)
            cipher.encrypt_into(nonce, plaintext, _segment_aad(self._index, final=final), out[_BODY_AT:])
        self._index += 1
        return memoryview(self._scratch).toreadonly()


class Decryptor:
    """Opens one stream from pieces of any size; holds at most one segment.

    Raises FormatError ``format.header`` when ``header`` is not FLOE as we write it, or when key, ``aad`` and header do
    not belong together; nothing was decrypted then. After any failure every further call fails the same way.
    """

    def __init__(self, key: bytes, aad: bytes, header: bytes, *, rotation_bits: int = _ROTATION_BITS) -> None:
        self.enc_seg_len = _check_params(header)
        params, iv, tag = header[:_PARAMS_LEN], header[_PARAMS_LEN:-32], header[-32:]
        self._schedule = _Schedule(key, aad, params, iv, rotation_bits)
        if not hmac.compare_digest(tag, self._schedule.header_tag):
            raise FormatError("format.header", "key, associated data and header do not belong together")
        self.finished = False
        self._index = 0
        self._held = bytearray()  # allocated once, when a segment first arrives in pieces
        self._filled = 0
        self._failure: FormatError | None = None

    def update(self, data: Buffer) -> bytes:
        """The plaintext of every segment that ``data`` completes and whose tag holds; the rest is kept.

        Raises FormatError: ``format.corrupt-segment``, or ``format.trailing`` for a byte after the final segment.
        """
        self._check_usable()
        rest = memoryview(data).cast("B")
        opened: list[bytes] = []
        while rest:
            rest = self._take(rest, opened)
        return opened[0] if len(opened) == 1 else b"".join(opened)

    def finish(self) -> None:
        """Say that no byte follows. Raises FormatError ``format.truncated`` unless the final segment was opened."""
        self._check_usable()
        if not self.finished:
            raise self._fail("format.truncated", f"the stream ends inside segment {self._index}")

    def _take(self, rest: memoryview, opened: list[bytes]) -> memoryview:
        """Take one step through ``rest``. The one place that decides where a segment, and the stream, ends.

        Inner word        exactly ENC_SEG_LEN bytes, and another segment must follow
        length 32..SEG    exactly that many bytes, and nothing may follow
        any other word    no segment begins like this
        """
        if self.finished:
            raise self._fail("format.trailing", f"{len(rest)} or more bytes follow the final segment")
        if self._filled < _WORD_LEN and self._filled + len(rest) < _WORD_LEN:
            return self._hold(rest, len(rest))
        word = bytes(self._held[: min(self._filled, _WORD_LEN)])
        word += bytes(rest[: _WORD_LEN - len(word)])
        final = word != _INNER
        length = int.from_bytes(word, "big") if final else self.enc_seg_len
        if not OVERHEAD_LEN <= length <= self.enc_seg_len:
            raise self._fail("format.corrupt-segment", f"segment {self._index} has no valid length")
        missing = length - self._filled
        if len(rest) < missing:
            return self._hold(rest, len(rest))
        if self._filled:
            after = self._hold(rest, missing)
            opened.append(self._open(memoryview(self._held)[:length], final=final))
            self._filled = 0
        else:
            after = rest[length:]
            opened.append(self._open(rest[:length], final=final))
        self.finished = final
        return after

    def _hold(self, rest: memoryview, size: int) -> memoryview:
        """Keep ``size`` bytes of ``rest`` for a segment that is not complete; returns what follows them."""
        if not self._held:
            self._held = bytearray(self.enc_seg_len)
        self._held[self._filled : self._filled + size] = rest[:size]
        self._filled += size
        return rest[size:]

    def _open(self, sealed: memoryview, *, final: bool) -> bytes:
        if self._index >= _MAX_SEGMENTS:
            raise self._fail("format.corrupt-segment", f"the stream has more than {_MAX_SEGMENTS} segments")
        cipher, aad = self._schedule.cipher(self._index), _segment_aad(self._index, final=final)
        try:
            plaintext = cipher.decrypt(sealed[_WORD_LEN:_BODY_AT], sealed[_BODY_AT:], aad)
        except InvalidTag as e:
            raise self._fail("format.corrupt-segment", f"segment {self._index} was altered or moved") from e
        self._index += 1
        return plaintext

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, code: str, message: str) -> FormatError:
        self._failure = FormatError(code, message)
        self._held = bytearray()
        return self._failure


def _check_params(header: bytes) -> int:
    """The sealed segment size that ``header`` declares, in bytes. Raises FormatError ``format.header``."""
    if len(header) != HEADER_LEN:
        raise FormatError("format.header", f"a FLOE header has {HEADER_LEN} bytes, not {len(header)}")
    if header[:2] != _ALGORITHMS:
        raise FormatError("format.header", "the FLOE header names an algorithm that is not AES-256-GCM")
    if int.from_bytes(header[6:_PARAMS_LEN], "big") != _IV_LEN:
        raise FormatError("format.header", "the FLOE header declares an unusual IV length")
    enc_seg_len = int.from_bytes(header[2:6], "big")
    if not OVERHEAD_LEN < enc_seg_len <= MAX_ENC_SEG_LEN:
        raise FormatError("format.header", f"the FLOE header declares segments of {enc_seg_len} bytes")
    return enc_seg_len


def sealed_length(plain_bytes: int, *, enc_seg_len: int = DEFAULT_ENC_SEG_LEN) -> int:
    """The length in bytes, header included, that :func:`seal` makes of ``plain_bytes`` bytes."""
    segments = max(1, -(-plain_bytes // (enc_seg_len - OVERHEAD_LEN)))
    return HEADER_LEN + plain_bytes + segments * OVERHEAD_LEN


def seal(key: bytes, aad: bytes, plaintext: Buffer, *, enc_seg_len: int = DEFAULT_ENC_SEG_LEN) -> bytes:
    """Header and segments over ``plaintext``, for values that fit into memory. Raises ValueError."""
    encryptor = Encryptor(key, aad, enc_seg_len=enc_seg_len)
    view = memoryview(plaintext).cast("B")
    parts: list[Buffer] = [encryptor.header]
    while len(view) > encryptor.plain_seg_len:
        parts.append(bytes(encryptor.segment(view[: encryptor.plain_seg_len])))
        view = view[encryptor.plain_seg_len :]
    parts.append(encryptor.final(view))
    return b"".join(parts)


def open_sealed(key: bytes, aad: bytes, sealed: Buffer, *, max_bytes: int) -> bytes:
    """The plaintext of :func:`seal`, all of it or none.

    Raises FormatError as :class:`Decryptor` does, and ``format.header`` when the plaintext would exceed ``max_bytes``.
    """
    view = memoryview(sealed).cast("B")
    if len(view) < HEADER_LEN:
        raise FormatError("format.truncated", "the sealed value ends inside its header")
    decryptor = Decryptor(key, aad, bytes(view[:HEADER_LEN]))
    if len(view) > sealed_length(max_bytes, enc_seg_len=decryptor.enc_seg_len) + OVERHEAD_LEN:
        raise FormatError("format.header", f"the sealed value is larger than {max_bytes} bytes")
    plaintext = decryptor.update(view[HEADER_LEN:])
    decryptor.finish()
    if len(plaintext) > max_bytes:
        raise FormatError("format.header", f"the sealed value is larger than {max_bytes} bytes")
    return plaintext
