"""The epochs of one catalog's master key that can be had on this host.

The current one seals; every other one only opens what was sealed before. They are looked for when a value names them
and not before: a keyring of another program takes a third of a second for each.
"""

from __future__ import annotations

from engine.errors import KeyAccessError
from engine.keys.binding import show_kid
from engine.keys.door import KeyStore
from engine.keys.master import MasterKey

_NOT_THERE = ("key.missing", "key.wrong")


class Epochs:
    """Epochs around ``current``, which was held against the catalog. Lives as long as the keys it was opened with."""

    def __init__(self, store: KeyStore, catalog_id: str, current: MasterKey) -> None:
        self._store = store
        self._catalog_id = catalog_id
        self.current = current
        self._known: dict[int, MasterKey | None] = {current.epoch: current}

    def by_kid(self, kid: str) -> MasterKey | None:
        """The epoch whose key id this is; None when it is not here.

        Newer ones are looked for, too: a job goes on with the keys that it began with. Raises KeyAccessError when the
        keyring cannot be asked.
        """
        for master in tuple(self._known.values()):
            if master is not None and master.kid == kid:
                return master
        for epoch in range(self.current.epoch - 1, 0, -1):
            if (master := self._load(epoch)) is not None and master.kid == kid:
                return master
        epoch = self.current.epoch + 1
        while (master := self._load(epoch)) is not None:
            if master.kid == kid:
                return master
            epoch += 1
        return None

    def demand(self, kid: str) -> MasterKey:
        """As :meth:`by_kid`. Raises KeyAccessError ``key.missing`` where it gives None."""
        master = self.by_kid(kid)
        if master is None:
            raise KeyAccessError(
                "key.missing",
                f"this was sealed under {show_kid(kid)}, an epoch of the master key that this host's keyring lacks",
                context={"kid": kid},
            )
        return master

    def at_hand(self) -> tuple[MasterKey, ...]:
        """The current epoch and every older one that is here, oldest first. Raises KeyAccessError as :meth:`by_kid`."""
        found = (self._load(epoch) for epoch in range(1, self.current.epoch + 1))
        return tuple(master for master in found if master is not None)

    def _load(self, epoch: int) -> MasterKey | None:
        if epoch not in self._known:
            try:
                found: MasterKey | None = self._store.load(self._catalog_id, epoch)
            except KeyAccessError as e:
                if e.code not in _NOT_THERE:
                    raise
                found = None
            if epoch > self.current.epoch and found is None:
                return None  # it may come at any moment
            self._known[epoch] = found
        return self._known[epoch]
