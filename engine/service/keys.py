"""Keys at the door: where the master key lives, putting it back, and opening what it sealed.

Keys are opened for one piece of work and dropped with it. A catalog that has sealed rows never gets a new master key
by itself: when the key is missing everything that needs it says so and waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.catalog import Tx
from engine.errors import ConfigError, KeyAccessError
from engine.evidence import chain
from engine.evidence.signer import Signer, allowed_signers
from engine.keys import systemd
from engine.keys.door import KeyStore
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryCode, RecoveryPublic, open_bundle
from engine.keys.seals import open_field, seal_field
from engine.model import Installation, Role
from engine.model.views import KeyStatus
from engine.service.access import needs
from engine.snapshot import Keys

if TYPE_CHECKING:
    from engine.service import Engine

__all__ = ["KeyStore", "KeysFacet"]


class KeysFacet:
    """``engine.keys``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self) -> Keys:
        """The master key, checked against the catalog, and what it seals. Raises KeyAccessError, fails closed."""
        found = self._installation()
        master = self._engine.key_store(found.key_backend).load(found.catalog_id, found.key_epoch)
        master.verify_check(found.key_check, found.catalog_id)
        seed = open_field(
            master,
            catalog_id=found.catalog_id,
            table="installation",
            column="signer",
            row_id=found.catalog_id,
            value=found.signer_sealed,
        )
        return Keys(
            catalog_id=found.catalog_id,
            master=master,
            recovery=RecoveryPublic(bytes.fromhex(found.recovery_public)),
            signer=Signer(bytes.fromhex(seed)),
        )

    def seal(self, keys: Keys, table: str, column: str, row_id: str, value: str) -> str:
        return seal_field(
            keys.master, catalog_id=keys.catalog_id, table=table, column=column, row_id=row_id, value=value
        )

    def unseal(self, keys: Keys, table: str, column: str, row_id: str, value: str) -> str:
        """Raises KeyAccessError ``key.row-altered``, ``key.wrong``."""
        return open_field(
            keys.master, catalog_id=keys.catalog_id, table=table, column=column, row_id=row_id, value=value
        )

    def signers(self) -> str:
        """The line of the signing key for ``ssh-keygen -Y verify -f``. Needs no key: it is the public half."""
        return allowed_signers(self._installation().signer_public)

    def status(self) -> KeyStatus:
        """Where the key lives and whether it can be had. Never raises for the key's own state."""
        found = self._installation()
        try:
            self.open()
            state, detail = "ok", "the key is there and it is the one that sealed this catalog"
        except KeyAccessError as e:
            state, detail = e.code, f"{e.message}. {e.hint}"
        return KeyStatus(
            backend=found.key_backend,
            state=state,
            detail=detail,
            kid=found.kid,
            epoch=found.key_epoch,
            recovery_kid=found.recovery_kid,
            recovery_confirmed_at=found.recovery_confirmed_at,
        )

    @needs(Role.ADMIN, dangerous=True)
    def restore(self, code_text: str) -> KeyStatus:
        """Put the master key back into a keyring of this machine with the recovery code.

        Raises KeyAccessError ``key.recovery-code`` for a wrong code and the states of the keyring.
        """
        found = self._installation()
        bundle = open_bundle(RecoveryCode.parse(code_text), found.catalog_id, found.recovery_bundle)
        current = next((m for m in bundle.masters if m.epoch == found.key_epoch), None)
        if current is None:
            raise KeyAccessError("key.wrong", "the recovery bundle does not hold the key's current epoch")
        current.verify_check(found.key_check, found.catalog_id)
        backend = self._engine.choose_backend()
        for master in bundle.masters:
            self._engine.key_store(backend).store(found.catalog_id, master)
        with self._engine.catalog.write() as tx:
            catalogs.installation.set_key_backend(tx, backend)
            self._event(tx, "key.restored", current.kid, backend=backend)
        keys = self.open()
        with self._engine.catalog.write() as tx:
            chain.sign_head(tx, keys.signer, self._engine.clock)
        return self.status()

    @needs(Role.ADMIN)
    def confirm_recovery(self) -> None:
        """Note that the operator typed parts of the recovery code back."""
        with self._engine.catalog.write() as tx:
            confirmed = catalogs.installation.confirm_recovery(tx, self._engine.clock.now())
            self._event(tx, "key.recovery-confirmed", confirmed.recovery_kid)

    @needs(Role.ADMIN)
    def confirm_with(self, code_text: str) -> KeyStatus:
        """Note that the operator has the recovery code: it opens the bundle, whole. Nothing else changes.

        Raises KeyAccessError ``key.recovery-code`` for a wrong code.
        """
        found = self._installation()
        bundle = open_bundle(RecoveryCode.parse(code_text), found.catalog_id, found.recovery_bundle)
        current = next((m for m in bundle.masters if m.epoch == found.key_epoch), None)
        if current is None:
            raise KeyAccessError("key.wrong", "the recovery bundle does not hold the key's current epoch")
        current.verify_check(found.key_check, found.catalog_id)
        self.confirm_recovery()
        return self.status()

    def systemd_install(self) -> str:
        """The commands and the unit drop-in that make the key permanent on a server. Holds no secret."""
        found = self._installation()
        return systemd.render_install(found.catalog_id, found.key_epoch)

    @needs(Role.ADMIN, dangerous=True)
    def master_text(self) -> str:
        """The master key as text, for the pipe into ``systemd-creds encrypt`` and nothing else."""
        master = self.open().master
        with self._engine.catalog.write() as tx:
            self._event(tx, "key.shown", master.kid)
        return master.text

    def _event(self, tx: Tx, kind: str, subject: str, **data: str) -> None:
        chain.append_event(tx, self._engine.clock, actor=self._engine.actor, kind=kind, subject=subject, data=data)

    def _installation(self) -> Installation:
        with self._engine.catalog.read() as tx:
            found = catalogs.installation.get(tx)
        if found is None:
            raise ConfigError("config.not-initialised", "this catalog was never initialised")
        return found


def new_signer_seal(master: MasterKey, catalog_id: str, signer_seed: bytes) -> str:
    """The signer's seed, sealed for the installation row."""
    return seal_field(
        master,
        catalog_id=catalog_id,
        table="installation",
        column="signer",
        row_id=catalog_id,
        value=signer_seed.hex(),
    )
