"""gzip at level 1, in members: written block by block, and read back within a bound.

Level 1 of ISA-L is as fast as the dump; zlib at level 1 stands in where ISA-L does not exist. The output is a sequence
of gzip members, one a block, so that blocks can be compressed side by side; any gunzip reads it. The reader refuses
what a lenient gunzip lets pass: padding or garbage between members, a member that does not end, and more plaintext than
was announced.

What was compressed is what was read: of every block a CRC-32 is taken before it goes to a compressor, and compared with
the one that the finished member states. One hash over all of them, in order, stands for the plaintext
(:class:`MemberDigest`); a SHA-256 of the plaintext itself would take a quarter of a snapshot's own processor time and
find nothing more, since segments are authenticated and the object has a SHA-256.
"""

from __future__ import annotations

import hashlib
import importlib
import zlib
from collections.abc import Iterator
from types import ModuleType
from typing import Protocol, TypeAlias, cast

from engine.errors import FormatError, Internal

Buffer: TypeAlias = bytes | bytearray | memoryview

LEVEL = 1
"""ISA-L level 1: 713 MB/s at ratio 4.05; level 0 compresses badly, zlib 6 is twelve times slower for 2 % less."""
BLOCK_BYTES = 1 << 20
"""What a decompression step gives at most."""
_WBITS = 31  # a window of 32 KiB, gzip framing
_SLICE_BYTES = 1 << 16
"""Input of one step: what follows a member's end is copied by the library, so many tiny members stay cheap."""


def _load_isal() -> ModuleType | None:
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:  # there is no build for this processor
        return None


_isal = _load_isal()


def crc32(data: Buffer, before: int = 0) -> int:
    """CRC-32 as gzip states it, of ``data`` behind what had ``before``."""
    return cast("int", (zlib if _isal is None else _isal).crc32(data, before))


def check_member(member: bytes, crc: int, size: int) -> None:
    """Refuse a member that does not state ``crc`` and ``size`` of the block that it was made of.

    Raises Internal ``internal.error``: the block, or the member, was altered in memory on the way.
    """
    if member[-8:] != _trailer(crc, size):
        raise Internal("internal.error", "a block of the dump was altered in memory while it was compressed")


class MemberDigest:
    """What stands for a plaintext: SHA-256 over CRC-32 and length of every member's, 4 bytes each as in its trailer."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, crc: int, size: int) -> None:
        """The next member's plaintext."""
        self._sha256.update(_trailer(crc, size))

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def _trailer(crc: int, size: int) -> bytes:
    return crc.to_bytes(4, "little") + (size & 0xFFFF_FFFF).to_bytes(4, "little")


class Compressor(Protocol):
    """Makes one whole member of a block. Called from several threads at once."""

    def __call__(self, block: Buffer) -> bytes: ...


def isal_member(block: Buffer) -> bytes:
    """``block`` as one gzip member, by ISA-L."""
    assert _isal is not None
    return cast("bytes", _isal.compress(block, level=LEVEL, wbits=_WBITS))


def zlib_member(block: Buffer) -> bytes:
    """``block`` as one gzip member, by zlib."""
    return zlib.compress(block, level=LEVEL, wbits=_WBITS)


def best_compressor() -> Compressor:
    """ISA-L's where it exists, else zlib's."""
    return zlib_member if _isal is None else isal_member


class _Member(Protocol):
    """The part of a decompression object that both libraries share."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: Buffer, max_length: int, /) -> bytes: ...


class Gunzip:
    """Opens a sequence of members, at most ``max_bytes`` of plaintext in all (None: no bound).

    ``library`` is for tests: "isal", "zlib", or the best there is.
    """

    def __init__(self, max_bytes: int | None, *, library: str | None = None) -> None:
        self._library = zlib if library == "zlib" or _isal is None else _isal
        self._max_bytes = max_bytes
        self._member: _Member | None = None
        self._members = 0
        self._crc = 0
        self._size = 0
        self.plaintext_bytes = 0
        self.digest = MemberDigest()
        """Of the members that have ended."""

    @property
    def at_member_end(self) -> bool:
        """Whether at least one member was read and nothing of another one."""
        return self._member is None and self._members > 0

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """The plaintext of ``data``, in blocks of at most 1 MiB. Run it to its end before the next call.

        Raises FormatError ``format.gzip`` for anything but members, and as soon as there is more than ``max_bytes``.
        """
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _SLICE_BYTES):
            rest: Buffer = view[start : start + _SLICE_BYTES]
            full = False
            while rest or full:
                plaintext, rest = self._step(rest)
                # a full block may leave more inside the library although all input was taken
                full = len(plaintext) == BLOCK_BYTES and self._member is not None
                if plaintext:
                    yield plaintext

    def finish(self) -> None:
        """Say that nothing follows. Raises FormatError ``format.gzip`` unless a member ended with the last byte.

        A decompression object alone would not notice: it takes a cut stream without a word.
        """
        if not self.at_member_end:
            where = f"inside member {self._members + 1}" if self._member is not None else "before its first member"
            raise FormatError("format.gzip", f"the compressed stream ends {where}")

    def _step(self, data: Buffer) -> tuple[bytes, bytes]:
        """Plaintext of the beginning of ``data``, and the part of ``data`` that was not used yet."""
        member = self._member or self._new_member()
        self._member = member
        try:
            plaintext = member.decompress(data, BLOCK_BYTES)
        except cast("type[Exception]", self._library.error) as e:
            raise FormatError("format.gzip", f"member {self._members + 1} is damaged: {e}") from e
        self.plaintext_bytes += len(plaintext)
        self._crc, self._size = crc32(plaintext, self._crc), self._size + len(plaintext)
        if self._max_bytes is not None and self.plaintext_bytes > self._max_bytes:
            raise FormatError("format.gzip", f"there is more plaintext than the {self._max_bytes} bytes recorded")
        if not member.eof:
            return plaintext, member.unconsumed_tail
        self._member = None
        self._members += 1
        self.digest.add(self._crc, self._size)
        self._crc = self._size = 0
        return plaintext, member.unused_data

    def _new_member(self) -> _Member:
        return cast("_Member", self._library.decompressobj(wbits=_WBITS))
