"""Snapshots as a catalog would have them, read back from a destination: manifests verified, opened, put in order.

Nothing is written here and nothing is believed: a manifest counts when the installation's signer has signed it, when
it says that it lies where it was found, and when its sealed part opens under one of the master keys at hand. Those keys
are held against a real artifact first: a bundle does not say who sealed it. What is missing is named, never guessed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

from engine.cancel import CancelToken
from engine.clock import from_rfc3339
from engine.codec import from_json
from engine.errors import FormatError, KeyAccessError, StoreError
from engine.evidence.canonical import LONGEST_BYTES
from engine.evidence.manifests import Manifest, read_manifest
from engine.keys.binding import from_base64url, show_kid
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryCode
from engine.keys.seals import blob_kid, open_blob
from engine.keys.wrap import unwrap_dek, unwrap_dek_with_recovery
from engine.kit.shelf import FOLDER
from engine.model import Counts, Snapshot, SnapshotDetails
from engine.model.recovery import CatalogThere, Remark, RemarkKind
from engine.postgres.exported import NO_SNAPSHOT
from engine.snapshot import manifest_key_of
from engine.storage.base import ObjectInfo, Storage
from engine.stream import container

_BUNDLE = ".keys"
OBJECTS = "v1/"
MADE_ELSEWHERE = "recovered"
"""What stands for the job of a rebuilt snapshot: jobs do not travel."""
_AT_ONCE = 8
"""Manifests that are read at a time: of a bucket each is a round trip."""
_NAMED = 20
_TRIED = 20
"""Artifacts of a master key that are tried until one opens."""
_MANIFEST = ".manifest.json"
_ARTIFACT = ".odb"

OnManifest = Callable[[int, int], None]
"""How many of how many manifests are read."""


@dataclass(frozen=True, slots=True)
class Read:
    """A snapshot, the manifest that it names as the one before it, and whether its artifact is there."""

    snapshot: Snapshot
    previous: str | None
    there: bool = True


@dataclass(frozen=True, slots=True)
class Holding:
    """What a destination holds of one catalog. ``foreign``: objects of other catalogs; ``written_at``: the newest."""

    reads: tuple[Read, ...]
    remarks: tuple[Remark, ...]
    foreign: int
    written_at: datetime | None


@dataclass(frozen=True, slots=True)
class Opening:
    """Whose manifests are read, and with what they are opened. ``signer_public``: the key in hex."""

    catalog_id: str
    masters: tuple[MasterKey, ...]
    signer_public: str


def catalogs_at(storage: Storage) -> tuple[CatalogThere, ...]:
    """The catalogs that have left their sealed keys there, by id. Raises StoreError."""
    return tuple(
        CatalogThere(info.key.removeprefix(FOLDER).removesuffix(_BUNDLE), info.modified_at)
        for info in storage.list(FOLDER)
        if info.key.endswith(_BUNDLE) and "/" not in info.key.removeprefix(FOLDER)
    )


def read_holding(
    storage: Storage, destination_id: str, opening: Opening, cancel: CancelToken, on_manifest: OnManifest
) -> Holding:
    """Read every manifest at the destination. Raises StoreError when it cannot be listed or read."""
    there = {info.key: info for info in storage.list(OBJECTS)}
    manifests = [info for key, info in there.items() if key.endswith(_MANIFEST)]
    reads: list[Read] = []
    remarks: list[Remark] = []
    foreign = 0
    for done, (key, outcome) in enumerate(_outcomes(storage, manifests, destination_id, opening, cancel), start=1):
        match outcome:
            case Read():
                read, remark = _beside(outcome, there)
                reads.append(read)
                remarks += [remark] if remark is not None else []
            case Remark():
                remarks.append(outcome)
            case None:
                foreign += 1 + (_object_of(key) in there)
        on_manifest(done, len(manifests))
    remarks += _without_manifest(there)
    newest = max((info.modified_at for info in there.values()), default=None)
    return Holding(tuple(reads), tuple(remarks), foreign, newest)


def hold_against_artifacts(
    storage: Storage, reads: Sequence[Read], masters: Sequence[MasterKey], code: RecoveryCode, cancel: CancelToken
) -> int:
    """See that each master key opens an artifact that was sealed under it, as the recovery code does; newest first.

    How many were held against one; none where no artifact is there. Raises KeyAccessError ``key.wrong`` when a master
    key and the code give different data keys; FormatError or StoreError when no artifact of a key can be opened.
    """
    by_kid: dict[str, list[Snapshot]] = {}
    for read in sorted(reads, key=lambda r: r.snapshot.taken_at, reverse=True):
        if read.there:
            by_kid.setdefault(read.snapshot.kid, []).append(read.snapshot)
    for master in masters:
        failed: FormatError | StoreError | None = None
        for snapshot in by_kid.get(master.kid, ())[:_TRIED]:
            try:
                open_both_ways(storage, snapshot, (master,), code, cancel)
            except (FormatError, StoreError) as e:  # a damaged one says nothing of the key
                failed = failed or e
            else:
                failed = None
                break
        if failed is not None:
            raise failed
    return len(by_kid)


def in_order(reads: Sequence[Read], names: Mapping[str, str]) -> tuple[list[Read], list[Remark]]:
    """Snapshots by connection and number, as they are to be registered, and what is wrong with their order.

    ``names``: of connections, by id. A number that was given twice, by two installations, is given once: the later
    snapshot gets the next number that is free.
    """
    found: list[Read] = []
    remarks: list[Remark] = []
    for connection_id in sorted({read.snapshot.connection_id for read in reads}):
        mine = [read for read in reads if read.snapshot.connection_id == connection_id]
        mine.sort(key=lambda read: (read.snapshot.seq, read.snapshot.taken_at, read.snapshot.id))
        name = names.get(connection_id, connection_id[:12])
        remarks += _gaps(mine, name)
        numbered, twice = _numbered(mine, name)
        found += numbered
        remarks += twice
    return found, remarks


def _outcomes(
    storage: Storage,
    manifests: Sequence[ObjectInfo],
    destination_id: str,
    opening: Opening,
    cancel: CancelToken,
) -> Iterator[tuple[str, Read | Remark | None]]:
    """What each manifest says; None: it is of another catalog."""

    def read(info: ObjectInfo) -> tuple[str, Read | Remark | None]:
        cancel.check()
        try:
            return info.key, _read(storage, info, destination_id, opening, cancel)
        except FormatError as e:
            return info.key, Remark(RemarkKind.UNREADABLE, info.key, e.message)
        except StoreError as e:
            if e.code != "store.missing":  # removed meanwhile: it is not there
                raise
            return info.key, Remark(RemarkKind.UNREADABLE, info.key, e.message)

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="manifests") as pool:
        try:
            yield from pool.map(read, manifests)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _read(
    storage: Storage, info: ObjectInfo, destination_id: str, opening: Opening, cancel: CancelToken
) -> Read | None:
    if info.size_bytes > LONGEST_BYTES:
        raise FormatError("format.manifest", f"the manifest has {info.size_bytes} bytes: none is as long")
    data = b"".join(storage.read(info.key, cancel=cancel))
    claimed = read_manifest(data, None)  # whose it is, before it is refused for another's signature
    if claimed.catalog_id != opening.catalog_id:
        return None
    manifest = read_manifest(data, opening.signer_public)
    if manifest_key_of(manifest.object_key) != info.key or not info.key.startswith(f"v1/{manifest.connection_id}/"):
        raise FormatError("format.manifest", "the manifest was written for another place")
    kid, details = _open(manifest, opening.masters)
    snapshot = _snapshot(manifest, details, destination_id, kid, hashlib.sha256(data).hexdigest())
    return Read(snapshot, manifest.previous_manifest_sha256)


def _open(manifest: Manifest, masters: Sequence[MasterKey]) -> tuple[str, SnapshotDetails]:
    """The sealed part, and the id of the key that it was sealed under. Raises FormatError."""
    try:
        blob = from_base64url(manifest.sealed)
    except ValueError as e:
        raise FormatError("format.manifest", "the sealed part of the manifest was altered") from e
    kid = blob_kid(blob)
    master = next((one for one in masters if one.kid == kid), None)
    if master is None:
        raise FormatError("format.wrong-key", f"the bundle does not hold the master key {show_kid(kid)}")
    place = (manifest.catalog_id, manifest.artifact_id, manifest.connection_id)
    try:
        return kid, from_json(SnapshotDetails, open_blob(master, "manifest", place, blob))
    except ValueError as e:
        raise FormatError("format.version", f"the manifest was written by another version: {e}") from e


def _snapshot(
    manifest: Manifest, details: SnapshotDetails, destination_id: str, kid: str, manifest_sha256: str
) -> Snapshot:
    captured = details.tables_captured
    return Snapshot(
        id=manifest.artifact_id,
        connection_id=manifest.connection_id,
        destination_id=destination_id,
        job_id=MADE_ELSEWHERE,
        seq=manifest.seq,
        tag=details.tag,
        taken_at=from_rfc3339(manifest.created_at),
        object_key=manifest.object_key,
        manifest_key=manifest_key_of(manifest.object_key),
        size_bytes=manifest.size_bytes,
        artifact_sha256=manifest.artifact_sha256,
        manifest_sha256=manifest_sha256,
        tables=len(details.tables) if captured is None else captured,
        rows=sum(t.rows for t in details.tables),
        counts=_counts(details),
        kid=kid,
        details=details,
    )


def _counts(details: SnapshotDetails) -> Counts:
    """How the rows were counted. An older manifest says it by the structure, which needs the same snapshot."""
    if details.counts is not None:
        return details.counts
    uncounted = details.structure is not None and details.structure.unread == NO_SNAPSHOT
    return Counts.NONE if uncounted else Counts.EXACT


def _beside(read: Read, there: Mapping[str, ObjectInfo]) -> tuple[Read, Remark | None]:
    """Whether the artifact lies beside its manifest, and is as long as it says."""
    snapshot = read.snapshot
    info = there.get(snapshot.object_key)
    if info is None:
        said = "the artifact of this snapshot is not there any more; its manifest is"
        return replace(read, there=False), Remark(RemarkKind.NO_ARTIFACT, snapshot.object_key, said)
    if info.size_bytes != snapshot.size_bytes:
        said = f"the artifact has {info.size_bytes:,} bytes, and {snapshot.size_bytes:,} were written"
        return read, Remark(RemarkKind.WRONG_SIZE, snapshot.object_key, said)
    return read, None


def _without_manifest(there: Mapping[str, ObjectInfo]) -> list[Remark]:
    said = "an artifact without a manifest is no snapshot: an attempt that was cut off, or a removal that was"
    return [
        Remark(RemarkKind.NO_MANIFEST, key, said)
        for key in there
        if key.endswith(_ARTIFACT) and manifest_key_of(key) not in there
    ]


def _gaps(mine: Sequence[Read], name: str) -> list[Remark]:
    """Whether manifests name others before them that were not found."""
    found = {read.snapshot.manifest_sha256 for read in mine}
    at = [str(read.snapshot.seq) for read in mine if read.previous is not None and read.previous not in found]
    if not at:
        return []
    more = f" and {len(at) - _NAMED} more" if len(at) > _NAMED else ""
    before = f"before number {', '.join(at[:_NAMED])}{more}"
    said = f"{before} at least one snapshot is not there: retention removed it, or it is lost"
    return [Remark(RemarkKind.GAP, name, said)]


def _numbered(mine: Sequence[Read], name: str) -> tuple[list[Read], list[Remark]]:
    taken: set[int] = set()
    once: list[Read] = []
    again: list[Read] = []
    for read in mine:
        (again if read.snapshot.seq in taken else once).append(read)
        taken.add(read.snapshot.seq)
    remarks = []
    for number, read in enumerate(again, start=max(taken, default=0) + 1):
        said = (
            f"two installations have given number {read.snapshot.seq}:"
            f" {read.snapshot.object_key} is number {number} here"
        )
        remarks.append(Remark(RemarkKind.NUMBER_TWICE, name, said))
        once.append(replace(read, snapshot=replace(read.snapshot, seq=number)))
    return once, remarks


def open_both_ways(
    storage: Storage, snapshot: Snapshot, masters: Sequence[MasterKey], code: RecoveryCode, cancel: CancelToken
) -> None:
    """See that code and master keys give the same data key of an artifact, and that it is this artifact's.

    Raises KeyAccessError ``key.wrong`` when they do not; FormatError, StoreError.
    """
    source = _Source(storage.read(snapshot.object_key, cancel=cancel, length=container.PREFIX_LEN + _HEAD_BYTES))
    header, preamble = container.read_preamble(source)
    place = {"artifact_id": header.artifact_id, "connection_id": header.connection_id}
    if (header.artifact_id, header.connection_id) != (snapshot.id, snapshot.connection_id):
        raise FormatError("format.swapped", f"the object {snapshot.object_key} is another artifact")
    by_code = unwrap_dek_with_recovery(header.recipients, code, **place)
    by_master = unwrap_dek(header.recipients, masters, **place)
    if by_code != by_master:
        raise KeyAccessError(
            "key.wrong",
            f"the master key {show_kid(snapshot.kid)} of the bundle and the recovery code open"
            f" {snapshot.object_key} differently: the bundle is not the one of this installation",
        )
    container.open_decryptor(by_master, preamble, source)  # its tag holds under no other key


_HEAD_BYTES = container.MAX_HEADER_LEN + 128
"""Enough for the longest header and what FLOE has before the first segment."""


class _Source:
    """The bytes of a reading, as many as are asked for."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._left = b""

    def read(self, size: int, /) -> bytes:
        while len(self._left) < size:
            block = next(self._blocks, b"")
            if not block:
                break
            self._left += block
        taken, self._left = self._left[:size], self._left[size:]
        return taken


def _object_of(manifest_key: str) -> str:
    return manifest_key.removesuffix(_MANIFEST) + _ARTIFACT
