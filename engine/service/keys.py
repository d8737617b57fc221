"""Keys at the door: where the master key lives, putting it back, and opening what it sealed.

Keys are opened for one piece of work and dropped with it. A catalog that has sealed rows never gets a new master key
by itself: when the key is missing everything that needs it says so and waits.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.catalog import Tx
from engine.errors import ConfigError, Internal, KeyAccessError
from engine.evidence import chain
from engine.evidence.signer import Signer, allowed_signers
from engine.keys import systemd
from engine.keys.door import KeyStore
from engine.keys.epochs import Epochs
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryCode, RecoveryPublic, open_bundle
from engine.keys.seals import field_kid, open_field, seal_field
from engine.model import Installation, Role
from engine.model.views import KeyRotated, KeyStatus, SystemdSetup
from engine.service.access import needs
from engine.service.duties import Duty
from engine.service.rotation import Rotation
from engine.snapshot import Keys

if TYPE_CHECKING:
    from engine.service import Engine

__all__ = ["KeyStore", "KeysFacet"]


class KeysFacet:
    """``engine.keys``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rotation = Rotation(engine)

    def open(self) -> Keys:
        """The master key, checked against the catalog, and what it seals. Raises KeyAccessError, fails closed."""
        found = self.installation()
        store = self._engine.key_store(found.key_backend)
        master = store.load(found.catalog_id, found.key_epoch)
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
            epochs=Epochs(store, found.catalog_id, master),
        )

    def seal(self, keys: Keys, table: str, column: str, row_id: str, value: str) -> str:
        """``value`` for one cell. Raises Internal for a column that no rotation would find."""
        if (table, column) not in catalogs.sealed.places():
            raise Internal("internal.error", f"{table}.{column} is not declared as a sealed column")
        return seal_field(
            keys.master, catalog_id=keys.catalog_id, table=table, column=column, row_id=row_id, value=value
        )

    def unseal(self, keys: Keys, table: str, column: str, row_id: str, value: str) -> str:
        """What a cell holds, whichever epoch it was sealed under.

        Raises KeyAccessError ``key.row-altered``, and ``key.missing`` when this host lacks the epoch.
        """
        master = keys.epochs.demand(field_kid(value))
        return open_field(master, catalog_id=keys.catalog_id, table=table, column=column, row_id=row_id, value=value)

    def signers(self) -> str:
        """The line of the signing key for ``ssh-keygen -Y verify -f``. Needs no key: it is the public half."""
        return allowed_signers(self.installation().signer_public)

    def status(self) -> KeyStatus:
        """Where the key lives, whether it can be had, and its epochs. Never raises for the key's own state."""
        found = self.installation()
        at_hand: tuple[MasterKey, ...] | None = None
        try:
            at_hand = self.open().epochs.at_hand()
            state, detail = "ok", "the key is there and it is the one that sealed this catalog"
        except KeyAccessError as e:
            state, detail = e.code, f"{e.message}. {e.hint}"
        epochs = self._rotation.epochs(found, at_hand)
        if state == "ok" and (lost := [e for e in epochs if e.state == "absent" and e.needed]):
            what = " and ".join(str(e.epoch) for e in reversed(lost))
            detail = f"the key is there, but not its older epoch {what}. `offsitedb key restore` brings it back."
        return KeyStatus(
            backend=found.key_backend,
            state=state,
            detail=detail,
            kid=found.kid,
            epoch=found.key_epoch,
            recovery_kid=found.recovery_kid,
            recovery_confirmed_at=found.recovery_confirmed_at,
            created_at=found.created_at,
            rotated_at=epochs[0].since if found.key_epoch > 1 else None,
            epochs=epochs,
        )

    @needs(Role.ADMIN, dangerous=True)
    def rotate(self) -> KeyRotated:
        """Make a new epoch of the master key and seal everything in the catalog anew; the recovery code stays.

        Jobs may run meanwhile. Raises KeyAccessError when the keyring cannot be had, or lacks an epoch that something
        needs, ConfigError ``config.in-use``; then the old epoch is in use as before.
        """
        return self._rotation.rotate()

    def duty(self) -> Duty:
        """What is left of rotations is put in order by workers."""
        return self._rotation.duty

    @needs(Role.ADMIN, dangerous=True)
    def restore(self, code_text: str) -> KeyStatus:
        """Put the master key back into a keyring of this machine with the recovery code.

        Raises KeyAccessError ``key.recovery-code`` for a wrong code and the states of the keyring.
        """
        found = self.installation()
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
        found = self.installation()
        bundle = open_bundle(RecoveryCode.parse(code_text), found.catalog_id, found.recovery_bundle)
        current = next((m for m in bundle.masters if m.epoch == found.key_epoch), None)
        if current is None:
            raise KeyAccessError("key.wrong", "the recovery bundle does not hold the key's current epoch")
        current.verify_check(found.key_check, found.catalog_id)
        self.confirm_recovery()
        return self.status()

    def systemd_install(self) -> SystemdSetup:
        """The commands and the unit drop-in that make every epoch of the key permanent on a server."""
        found = self.installation()
        retired = self._rotation.retired(found)
        wanted = tuple(epoch for epoch in range(1, found.key_epoch + 1) if epoch not in retired)
        with suppress(KeyAccessError):  # it is told all the same how it is done; the pipe fails until the key is back
            wanted = tuple(master.epoch for master in self.open().epochs.at_hand() if master.epoch in wanted) or wanted
        text = systemd.render_install(found.catalog_id, wanted, retired=sorted(retired))
        return SystemdSetup(text, systemd.UNIT, wanted)

    @needs(Role.ADMIN, dangerous=True)
    def master_text(self, epoch: int | None = None) -> str:
        """One epoch of the master key as text (default: the current one), for the pipe into ``systemd-creds encrypt``.

        Raises KeyAccessError.
        """
        keys = self.open()
        held = (keys.master, *keys.epochs.at_hand())
        master = next((m for m in held if epoch in (None, m.epoch)), None)
        if master is None:
            raise KeyAccessError("key.missing", f"this host's keyring holds no epoch {epoch} of the master key")
        with self._engine.catalog.write() as tx:
            self._event(tx, "key.shown", master.kid)
        return master.text

    def _event(self, tx: Tx, kind: str, subject: str, **data: str) -> None:
        chain.append_event(tx, self._engine.clock, actor=self._engine.actor, kind=kind, subject=subject, data=data)

    def installation(self) -> Installation:
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
