"""The kit at a destination: laid down beneath ``RECOVERY/``, read back, looked for.

Only what differs is written, whole and at once, and the bundle of keys last: a kit that was cut off half-way still
opens with what lay there before. Nothing is ever deleted: several installations may share the place, and where a
destination keeps versions the old ones stay, sealed as they are. The right to write is enough; the prune credential has
no business here.
"""

from __future__ import annotations

from engine.cancel import CancelToken
from engine.errors import StoreError
from engine.evidence.signer import allowed_signers
from engine.kit import holdings, texts
from engine.storage.base import Storage

FOLDER = "RECOVERY/"


def bundle_key(catalog_id: str) -> str:
    """Where the bundle of an installation lies."""
    return f"{FOLDER}{catalog_id}.keys"


def signers_key(catalog_id: str) -> str:
    return f"{FOLDER}{catalog_id}.allowed_signers"


def lay(storage: Storage, catalog_id: str, signer_public: str, bundle: bytes, cancel: CancelToken) -> tuple[str, ...]:
    """Write the kit; the keys of what had to be written. Raises StoreError, the token's error."""
    files = {FOLDER + name: text for name, text in texts.shared().items()}
    files[signers_key(catalog_id)] = allowed_signers(signer_public).encode()
    written = []
    for key, content in files.items():
        cancel.check()
        if fetch(storage, key, len(content), cancel) != content:
            storage.put(key, content, replace=True)
            written.append(key)
    cancel.check()
    key = bundle_key(catalog_id)
    storage.put(key, bundle, replace=True)
    if fetch(storage, key, len(bundle), cancel) != bundle:
        raise StoreError("store.size-mismatch", f"what was written to {key} is not what comes back")
    return (*written, key)


def missing(storage: Storage, catalog_id: str) -> tuple[str, ...]:
    """The keys of the kit that nothing lies at. Raises StoreError."""
    there = {info.key for info in storage.list(FOLDER)}
    wanted = (*(FOLDER + name for name in texts.shared()), signers_key(catalog_id), bundle_key(catalog_id))
    return tuple(key for key in wanted if key not in there)


def read_bundle(storage: Storage, catalog_id: str, cancel: CancelToken) -> bytes:
    """The sealed bundle that lies there. Raises StoreError ``store.missing``."""
    key = bundle_key(catalog_id)
    storage.stat(key)
    return b"".join(storage.read(key, cancel=cancel, length=holdings.MAX_BYTES + 1))


def fetch(storage: Storage, key: str, size_bytes: int, cancel: CancelToken) -> bytes | None:
    """What lies at ``key`` if it is as long as that; None: nothing, or something else."""
    try:
        if storage.stat(key).size_bytes != size_bytes:
            return None
        return b"".join(storage.read(key, cancel=cancel))
    except StoreError as e:
        if e.code == "store.missing":
            return None
        raise
