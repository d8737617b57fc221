"""What the recovery code is tried on, one step each: opened for real, and held against the catalog."""

from __future__ import annotations

from collections.abc import Sequence

from engine.cancel import CancelToken
from engine.errors import FormatError, KeyAccessError
from engine.keys.binding import show_kid
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryCode
from engine.kit import holdings, shelf
from engine.kit.gathering import Contents
from engine.model import Destination, Installation, Snapshot
from engine.model.kit import RecoveryStep
from engine.rebuilding import open_both_ways
from engine.storage.base import Storage


def bundle_step(found: Installation, masters: Sequence[MasterKey]) -> RecoveryStep:
    """The bundle in the catalog, whose current key must be the catalog's. Raises KeyAccessError."""
    current = next((m for m in masters if m.epoch == found.key_epoch), None)
    if current is None:
        raise KeyAccessError("key.wrong", "the recovery bundle does not hold the key's current epoch")
    current.verify_check(found.key_check, found.catalog_id)
    epochs = "1 epoch" if len(masters) == 1 else f"{len(masters)} epochs"
    return RecoveryStep("catalog", True, f"its bundle holds the master key {show_kid(current.kid)} ({epochs})")


def kit_step(
    storage: Storage,
    record: Destination,
    code: RecoveryCode,
    contents: Contents,
    masters: Sequence[MasterKey],
    cancel: CancelToken,
) -> RecoveryStep:
    """The bundle at a destination: it opens, and holds what the catalog holds. Raises StoreError."""
    name, found = f"kit at {record.name}", contents.installation
    gone = shelf.missing(storage, found.catalog_id)
    if gone:
        return RecoveryStep(name, False, f"{', '.join(gone)} is not there: write it with `offsitedb recovery kit`")
    try:
        held = holdings.open(shelf.read_bundle(storage, found.catalog_id, cancel), code)
    except (FormatError, KeyAccessError) as e:
        return RecoveryStep(name, False, f"{e.message}: write it anew with `offsitedb recovery kit`")
    at = f"{held.sealed_at:%Y-%m-%d %H:%M} UTC"
    if held.stamp != contents.stamp:
        return RecoveryStep(name, False, f"it is of {at}, before a change: write it anew with `offsitedb recovery kit`")
    if held.catalog_id != found.catalog_id or held.signer_public != found.signer_public:
        return RecoveryStep(name, False, "it holds another installation: write it anew with `offsitedb recovery kit`")
    if held.key_epoch != found.key_epoch or not {*masters} <= {*held.master_keys()}:
        return RecoveryStep(name, False, "it holds other master keys: write it anew with `offsitedb recovery kit`")
    live = sum(c.removed_at is None for c in held.connections)
    return RecoveryStep(name, True, f"it holds {live} connection{'' if live == 1 else 's'} and is of {at}")


def artifact_step(
    storage: Storage,
    record: Destination,
    snapshot: Snapshot,
    code: RecoveryCode,
    masters: Sequence[MasterKey],
    cancel: CancelToken,
) -> RecoveryStep:
    """The newest artifact at a destination: the code yields the data key, as the master key does. Raises StoreError."""
    name = f"newest snapshot at {record.name}"
    try:
        open_both_ways(storage, snapshot, masters, code, cancel)
    except (FormatError, KeyAccessError) as e:
        return RecoveryStep(name, False, f"{snapshot.id[:12]}: {e.message}")
    return RecoveryStep(name, True, f"{snapshot.id[:12]} of {snapshot.taken_at:%Y-%m-%d %H:%M} UTC opens with the code")
