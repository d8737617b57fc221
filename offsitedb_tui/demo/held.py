"""A throw-away master key, held in the demo's process tree for machines without a usable keyring.

The key reaches the demo's worker through an inherited descriptor of a memory file, never through a file with a name, a
command line or the environment. Nothing outside the demo imports this module.
"""

from __future__ import annotations

import fcntl
import os
import sys

from engine.errors import KeyAccessError
from engine.keys.master import MasterKey


class HeldKey:
    """A key store that lives as long as its process, and as the processes that were given its memory file."""

    name = "held by the demo"

    def __init__(self, shared: int | None = None) -> None:
        self._keys: dict[tuple[str, int], MasterKey] = {}
        self._shared = shared

    def load(self, catalog_id: str, epoch: int) -> MasterKey:
        if (catalog_id, epoch) not in self._keys and self._shared is not None:
            self._read(self._shared)  # another process may have rotated
        try:
            return self._keys[catalog_id, epoch]
        except KeyError:
            raise KeyAccessError("key.missing", "the demo's key is gone", hint="Run the demo again.") from None

    def store(self, catalog_id: str, master: MasterKey) -> None:
        self._keys[catalog_id, master.epoch] = master
        if self._shared is not None:
            os.write(self._shared, _line(catalog_id, master))

    def delete(self, catalog_id: str, epoch: int) -> None:
        self._keys.pop((catalog_id, epoch), None)

    def to_memory_file(self) -> int:
        """A descriptor from which a child reads the keys, those of later rotations, too; the caller closes it."""
        if self._shared is None:
            self._shared = os.memfd_create("offsitedb-demo-key", os.MFD_CLOEXEC)
            fcntl.fcntl(self._shared, fcntl.F_SETFL, os.O_APPEND)
            for (catalog_id, _), master in self._keys.items():
                os.write(self._shared, _line(catalog_id, master))
        return os.dup(self._shared)

    @classmethod
    def from_memory_file(cls, fd: int) -> HeldKey:
        held = cls(fd)
        held._read(fd)
        return held

    def _read(self, fd: int) -> None:
        """The last line about an epoch counts."""
        for line in os.pread(fd, os.fstat(fd).st_size, 0).decode("ascii").splitlines():
            catalog_id, epoch, text = line.split()
            self._keys[catalog_id, int(epoch)] = MasterKey.parse(text, int(epoch))


def _line(catalog_id: str, master: MasterKey) -> bytes:
    return f"{catalog_id} {master.epoch} {master.text}\n".encode("ascii")


def main() -> None:
    """The demo's worker: the ordinary consumer with the held key. argv: the descriptor's number."""
    import huey_config

    huey_config.key_store = HeldKey.from_memory_file(int(sys.argv[1]))
    huey_config.huey.create_consumer(workers=1, graceful_signal="TERM").run()


if __name__ == "__main__":
    main()
