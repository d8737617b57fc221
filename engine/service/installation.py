"""Making an installation: keyring first, then the key, then the catalog; what fails leaves no half of it."""

from __future__ import annotations

import os
import pwd
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from engine import catalog as catalogs
from engine.catalog import Catalog
from engine.clock import Clock
from engine.errors import ConfigError
from engine.evidence import chain
from engine.evidence.signer import Signer
from engine.keys.door import KeyStore
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryBundle, RecoveryCode, seal_bundle
from engine.model import Installation
from engine.paths import Paths
from engine.service.keys import new_signer_seal


@dataclass(frozen=True, slots=True)
class Initialised:
    """A new installation. The code is shown once and kept nowhere."""

    catalog_id: str
    kid: str
    backend: str
    code: RecoveryCode


def actor() -> str:
    """Who acts, for events: the OS user."""
    try:
        return f"os:{pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"os:{os.geteuid()}"


def make_places(paths: Paths) -> None:
    """Make the installation's directories. Raises ConfigError ``config.home`` where that cannot be done."""
    try:
        paths.ensure()
    except OSError as e:
        raise ConfigError(
            "config.home", f"the directories of the installation cannot be made: {e.strerror}: {e.filename}"
        ) from e


def initialise(
    paths: Paths, where: str, clock: Clock, choose: Callable[[], str], store: Callable[[str], KeyStore]
) -> Initialised:
    """Make catalog, master key and recovery code.

    Raises ConfigError ``config.already-initialised`` and KeyAccessError when no keyring may hold the key; then there
    is no catalog either.
    """
    make_places(paths)
    if is_there(where):
        raise ConfigError("config.already-initialised", f"there is an installation at {paths.home}")
    backend = choose()
    catalog_id = secrets.token_hex(16)
    master = MasterKey.generate(1)
    code = RecoveryCode.generate()
    seed = secrets.token_bytes(32)
    signer = Signer(seed)
    store(backend).store(catalog_id, master)
    now = clock.now()
    record = Installation(
        catalog_id=catalog_id,
        created_at=now,
        key_backend=backend,
        key_epoch=master.epoch,
        kid=master.kid,
        key_check=master.check_record(catalog_id),
        recovery_kid=code.public.kid,
        recovery_public=code.public.raw.hex(),
        recovery_bundle=seal_bundle(code.public, catalog_id, RecoveryBundle((master,))),
        signer_public=signer.public_hex,
        signer_sealed=new_signer_seal(master, catalog_id, seed),
    )
    with Catalog.open(where, create=True) as catalog:
        with catalog.write() as tx:
            if catalogs.installation.get(tx) is not None:
                raise ConfigError("config.already-initialised", "somebody else has just initialised this catalog")
            catalogs.installation.put(tx, record)
            chain.append_event(
                tx,
                clock,
                actor=actor(),
                kind="installation.created",
                subject=catalog_id,
                data={"key_backend": backend, "kid": master.kid, "recovery_kid": code.public.kid},
            )
            chain.sign_head(tx, signer, clock)
    return Initialised(catalog_id, master.kid, backend, code)


def is_there(where: str) -> bool:
    """Whether there is an installation in the catalog at ``where``. Raises CatalogError."""
    try:
        with Catalog.open(where) as catalog, catalog.read() as tx:
            return catalogs.installation.get(tx) is not None
    except ConfigError as e:
        if e.code == "config.not-initialised":
            return False
        raise
