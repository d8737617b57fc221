"""Snapshots at the door: find one, show it, hold it against the one before, read its artifact at the destination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.errors import ConfigError, StoreError
from engine.evidence import chain
from engine.model import Role, Snapshot
from engine.model.views import Attempt
from engine.model.watch import Drift, RowDelta
from engine.service.access import needs
from engine.snapshot import check_manifest, open_object

if TYPE_CHECKING:
    from engine.service import Engine


@dataclass(frozen=True, slots=True)
class Verified:
    """An artifact that was read whole and opened: every byte authentic, hash and manifest as recorded."""

    snapshot: str
    artifact_sha256: str
    size_bytes: int
    plaintext_bytes: int
    manifest_sha256: str


class SnapshotsFacet:
    """``engine.snapshots``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def resolve(self, text: str) -> str:
        """The snapshot's id for an id, a unique prefix of one, or ``NAME@latest``. Raises ConfigError."""
        with self._engine.catalog.read() as tx:
            if text.endswith("@latest"):
                name = text.removesuffix("@latest")
                connection_id = catalogs.connections.by_name(tx, name).id
                newest = catalogs.snapshots.newest_there(tx, connection_id)
                if newest is None and catalogs.snapshots.newest(tx, connection_id) is not None:
                    raise StoreError("store.removed", f"no snapshot of {name} is there any more")
                if newest is None:
                    raise ConfigError(
                        "config.not-found",
                        f"{name} has no snapshot yet",
                        hint=f"Take one: `offsitedb checkpoint {name} --wait`.",
                    )
                return newest.id
            found = catalogs.snapshots.find(tx, text) if text else []  # an unset shell variable names no snapshot
        if not found:
            raise ConfigError(
                "config.not-found", f"there is no snapshot {text!r}", hint="List them: `offsitedb ledger`."
            )
        if len(found) > 1:
            raise ConfigError("config.ambiguous", f"{len(found)} snapshots begin with {text!r}")
        return found[0].id

    def show(self, text: str) -> tuple[Attempt, Snapshot]:
        """The snapshot with its newest drill, and the record with everything that was captured."""
        snapshot_id = self.resolve(text)
        with self._engine.catalog.read() as tx:
            snapshot = catalogs.snapshots.get(tx, snapshot_id)
            return self._engine.ledger.of_snapshot(tx, snapshot), snapshot

    @needs(Role.OPERATOR)
    def verify(
        self, text: str, *, cancel: CancelToken | None = None, on_bytes: Callable[[int, int], None] | None = None
    ) -> Verified:
        """Read the whole object: SHA-256, authenticated decryption, gunzip, hashes, manifest and signature.

        ``on_bytes(done, total)`` as it goes. Raises StoreError or FormatError naming what is wrong.
        """
        return self._open(text, None, cancel, on_bytes)

    @needs(Role.OPERATOR)
    def download(
        self,
        text: str,
        write: Callable[[bytes], object],
        *,
        cancel: CancelToken | None = None,
        on_bytes: Callable[[int, int], None] | None = None,
    ) -> Verified:
        """Hand the archive (pg_dump's custom format) to ``write``, block by block, with every check of :meth:`verify`.

        What ``write`` got is whole and as it was captured only if this returns. Raises what ``write`` raises, too.
        """
        opened = self._open(text, write, cancel, on_bytes)
        engine = self._engine
        with engine.catalog.write() as tx:
            data: dict[str, str | int | bool | None] = {"plaintext_bytes": opened.plaintext_bytes}
            chain.append_event(
                tx,
                engine.clock,
                actor=engine.actor,
                kind="snapshot.downloaded",
                subject=opened.snapshot,
                data=data,
            )
        return opened

    def drift(self, text: str) -> Drift:
        """What changed since the previous proven snapshot of the connection: tables, and rows of each."""
        snapshot_id = self.resolve(text)
        with self._engine.catalog.read() as tx:
            snapshot = catalogs.snapshots.get(tx, snapshot_id)
            previous_id = catalogs.watch.previous_proven(tx, snapshot)
            previous = catalogs.snapshots.get(tx, previous_id) if previous_id is not None else None
        return Drift(None, None) if previous is None else drift_between(previous, snapshot)

    def restore_command(self, text: str) -> str:
        """The shell line that restores the snapshot into the server that ``$TARGET_URL`` names."""
        return f'printf %s "$TARGET_URL" | offsitedb restore {self.resolve(text)[:16]} --to-url-stdin'

    def _open(
        self,
        text: str,
        write: Callable[[bytes], object] | None,
        cancel: CancelToken | None,
        on_bytes: Callable[[int, int], None] | None,
    ) -> Verified:
        token = cancel or CancelToken()
        snapshot_id = self.resolve(text)
        with self._engine.catalog.read() as tx:
            catalogs.removals.refuse_gone(tx, snapshot_id)
            snapshot = catalogs.snapshots.get(tx, snapshot_id)
            destination = catalogs.destinations.get(tx, snapshot.destination_id)
        keys = self._engine.keys.open()
        storage = self._engine.open_storage(destination)
        check_manifest(storage, snapshot, keys, token)
        result = open_object(
            storage.read(snapshot.object_key, cancel=token),
            snapshot,
            keys,
            write=write,
            cancel=token,
            on_progress=(lambda sealed, _plain: on_bytes(sealed, snapshot.size_bytes)) if on_bytes else _quiet,
        )
        return Verified(
            snapshot.id, result.artifact_sha256, result.size_bytes, result.plaintext_bytes, snapshot.manifest_sha256
        )


def drift_between(before: Snapshot, after: Snapshot) -> Drift:
    """``after`` held against ``before``: tables that came and went, and rows of those that stayed."""
    old = {(t.schema, t.table): t.rows for t in before.details.tables}
    new = {(t.schema, t.table): t.rows for t in after.details.tables}
    changed = [RowDelta(*name, old[name], new[name]) for name in old.keys() & new.keys() if old[name] != new[name]]
    return Drift(
        previous_id=before.id,
        previous_at=before.taken_at,
        appeared=tuple(f"{schema}.{table}" for schema, table in sorted(new.keys() - old.keys())),
        gone=tuple(f"{schema}.{table}" for schema, table in sorted(old.keys() - new.keys())),
        rows=tuple(sorted(changed, key=lambda d: (-abs(d.after - d.before), d.schema, d.table))),
    )


def _quiet(sealed: int, plain: int) -> None:
    del sealed, plain
