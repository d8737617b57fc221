"""A throw-away master key, held in the demo's process tree for machines without a usable keyring.

The key reaches the demo's worker through an inherited descriptor of a memory file, never through a file with a name, a
command line or the environment. Nothing outside the demo imports this module.
"""

from __future__ import annotations

import os
import sys

from engine.errors import KeyAccessError
from engine.keys.master import MasterKey


class HeldKey:
    """A key store that lives as long as its process."""

    name = "held by the demo"

    def __init__(self) -> None:
        self._keys: dict[tuple[str, int], MasterKey] = {}

    def load(self, catalog_id: str, epoch: int) -> MasterKey:
        try:
            return self._keys[catalog_id, epoch]
        except KeyError:
            raise KeyAccessError("key.missing", "the demo's key is gone", hint="Run the demo again.") from None

    def store(self, catalog_id: str, master: MasterKey) -> None:
        self._keys[catalog_id, master.epoch] = master

    def delete(self, catalog_id: str, epoch: int) -> None:
        self._keys.pop((catalog_id, epoch), None)

    def to_memory_file(self) -> int:
        """A descriptor from which a child reads the keys; the caller closes it."""
        fd = os.memfd_create("offsitedb-demo-key", os.MFD_CLOEXEC)
        for (catalog_id, epoch), master in self._keys.items():
            os.write(fd, f"{catalog_id} {epoch} {master.text}\n".encode())
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    @classmethod
    def from_memory_file(cls, fd: int) -> HeldKey:
        held = cls()
        with os.fdopen(fd) as lines:
            for line in lines:
                catalog_id, epoch, text = line.split()
                held.store(catalog_id, MasterKey.parse(text, int(epoch)))
        return held


def main() -> None:
    """The demo's worker: the ordinary consumer with the held key. argv: the descriptor's number."""
    import huey_config

    huey_config.key_store = HeldKey.from_memory_file(int(sys.argv[1]))
    huey_config.huey.create_consumer(workers=1, graceful_signal="TERM").run()


if __name__ == "__main__":
    main()
