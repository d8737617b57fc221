"""How an upload is cut: equal parts, chosen before the start and never growing, and where a part waits to be sent.

Some providers refuse parts of unequal size (all but the last), and every one has a limit of parts; so the size is
chosen from what is expected, with room for half as much again, and an upload that outgrows even that is ended.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import BinaryIO

from engine.errors import StoreError
from engine.storage.s3.profiles import MIB, Profile

LEAST_PART_BYTES = 5 * MIB
"""No provider takes less. Three of them lie in memory, and a worker should have 150 MiB in all."""
SPOOLED_OVER_BYTES = 64 * MIB
"""Parts that are larger wait in an unlinked file (ciphertext), so that memory stays flat."""
_MARGIN = 1.5
"""How much larger than expected an object may become."""
_USED_PARTS = 0.95
"""Of the allowed parts: 9,500 of 10,000, 950 of 1,000."""


def part_bytes_for(expected_bytes: int, profile: Profile) -> int:
    """The size of every part but the last of an object of about ``expected_bytes``.

    Raises StoreError ``store.part-limit`` when what is expected cannot be one object of this provider.
    """
    if expected_bytes > profile.max_object_bytes:
        raise StoreError(
            "store.part-limit",
            f"{expected_bytes} bytes are expected, {profile.title} takes objects of {profile.max_object_bytes} at most",
            hint="Use a destination whose objects may be larger, or connect parts of the database one by one.",
        )
    usable = int(profile.max_parts * _USED_PARTS)
    wanted = _ceil_mib(int(expected_bytes * _MARGIN) // usable + 1)
    return min(max(LEAST_PART_BYTES, profile.min_part_bytes, wanted), profile.max_part_bytes)


def part_limit(max_parts: int, part_bytes: int) -> StoreError:
    """The error of an upload that has used every part."""
    return StoreError(
        "store.part-limit",
        f"the upload has outgrown {max_parts} parts of {part_bytes // MIB} MiB, more than was to be expected",
        context={"max_parts": max_parts, "part_bytes": part_bytes},
    )


class Part:
    """Room for one part, in memory or in an unlinked file; used again and again. One thread at a time."""

    def __init__(self, size_bytes: int, spool: Path | None) -> None:
        self._size_bytes = size_bytes
        self._file: BinaryIO | None = None
        self._bytes = bytearray()
        if size_bytes > SPOOLED_OVER_BYTES:
            self._file = tempfile.TemporaryFile(dir=spool)  # noqa: SIM115 - lives as long as the upload
        self._filled = 0
        self.begin()

    @property
    def filled_bytes(self) -> int:
        return self._filled

    @property
    def full(self) -> bool:
        return self._filled == self._size_bytes

    def begin(self) -> None:
        """Empty, for a new part."""
        self._filled = 0
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
        elif len(self._bytes) != self._size_bytes:
            self._bytes = bytearray(self._size_bytes)

    def add(self, data: memoryview) -> int:
        """Copy as much of ``data`` as there is room for; how much that was. Raises OSError for a spooled part."""
        taken = min(len(data), self._size_bytes - self._filled)
        if self._file is not None:
            self._file.write(data[:taken])
        else:
            self._bytes[self._filled : self._filled + taken] = data[:taken]
        self._filled += taken
        return taken

    def body(self) -> bytes | bytearray | BinaryIO:
        """What is in it, to be sent; from its beginning, each time that it is asked for."""
        if self._file is not None:
            self._file.seek(0)
            return self._file
        if self._filled < len(self._bytes):
            # boto3 takes no view of a buffer; and it may still hold one that it could not send: no resizing in place
            self._bytes = self._bytes[: self._filled]
        return self._bytes

    def md5(self) -> bytes:
        """The MD5 of what is in it, for a bucket that asks for it: a check of the line, not of trust."""
        body = self.body()
        if isinstance(body, bytes | bytearray):
            return md5_of(body)
        digest = hashlib.md5(usedforsecurity=False)
        while piece := body.read(MIB):
            digest.update(piece)
        return digest.digest()

    def close(self) -> None:
        """Give memory and file back."""
        if self._file is not None:
            self._file.close()
        self._bytes = bytearray()


def _ceil_mib(size_bytes: int) -> int:
    return -(-size_bytes // MIB) * MIB


def md5_of(data: bytes | bytearray) -> bytes:
    """As :meth:`Part.md5`."""
    return hashlib.md5(data, usedforsecurity=False).digest()
