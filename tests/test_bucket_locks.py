"""Versions and Object Lock for real: what is deleted, what only marked, what a lock holds. Needs Ceph."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from engine import catalog as catalogs
from engine.cancel import CancelToken
from engine.errors import StoreError
from engine.model import BucketKey, BucketKeys, BucketSpec, Destination, DestinationKind, JobState
from engine.model.kit import KitState
from engine.model.retention import RetentionPolicy
from engine.service import buckets
from engine.storage.base import Erasure, Held
from engine.storage.s3.backend import BucketStorage
from engine.storage.s3.policy import prune_policy, worker_policy
from tests.fixtures.ceph import Ceph
from tests.fixtures.history import History
from tests.fixtures.installation import wait_until
from tests.fixtures.pruning import new_yard

pytestmark = pytest.mark.slow
KEY = "v1/a/00000001-aa.odb"
FULL = f"p/{KEY}"


@dataclass(frozen=True)
class Shelf:
    """A bucket of the owner's, and what lies in it."""

    ceph: Ceph
    bucket: str

    def storage(self, prune: BucketKey | None = None, worker: BucketKey | None = None) -> BucketStorage:
        return BucketStorage(self.ceph.address(self.bucket), worker or self.ceph.key, prune_key=prune)

    def versions(self) -> list[tuple[str, bool]]:
        """Key and whether it is a delete marker, of everything that lies there."""
        found = self.ceph.client().list_object_versions(Bucket=self.bucket)
        return [(v["Key"], False) for v in found.get("Versions", ())] + [
            (v["Key"], True) for v in found.get("DeleteMarkers", ())
        ]

    def lock(self, key: str, mode: str, until: datetime) -> None:
        retention = {"Mode": mode, "RetainUntilDate": until}
        self.ceph.client().put_object_retention(Bucket=self.bucket, Key=key, Retention=retention)  # type: ignore[arg-type]


@pytest.fixture
def versioned(ceph: Ceph) -> Shelf:
    shelf = Shelf(ceph, ceph.bucket())
    ceph.client().put_bucket_versioning(Bucket=shelf.bucket, VersioningConfiguration={"Status": "Enabled"})
    return shelf


@pytest.fixture
def locking(ceph: Ceph) -> Shelf:
    shelf = Shelf(ceph, f"l-{secrets.token_hex(6)}")
    ceph.client().create_bucket(Bucket=shelf.bucket, ObjectLockEnabledForBucket=True)
    return shelf


@pytest.fixture(scope="module")
def people(ceph: Ceph) -> dict[str, BucketKey]:
    """A worker and a pruner who own nothing."""
    return {name: ceph.user(f"{name}-{secrets.token_hex(3)}") for name in ("worker", "pruner")}


def grant(shelf: Shelf, people: dict[str, BucketKey], *, deny: tuple[str, ...] = ()) -> None:
    """The printed policies, without the rights in ``deny``."""
    statements = []
    address = shelf.ceph.address(shelf.bucket)
    for name, text in (("worker", worker_policy(address)), ("pruner", prune_policy(address))):
        uid = shelf.ceph.admin("user", "info", f"--access-key={people[name].access_key_id}")["user_id"]
        statements += json.loads(text.replace("user/USER", f"user/{uid}"))["Statement"]
    if deny:
        statements += [{**s, "Effect": "Deny", "Action": list(deny), "Condition": {}} for s in statements]
    document = {"Version": "2012-10-17", "Statement": statements}
    shelf.ceph.client().put_bucket_policy(Bucket=shelf.bucket, Policy=json.dumps(document))


def in_seconds(seconds: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)


def test_every_version_goes(versioned: Shelf) -> None:
    storage = versioned.storage()
    for text in (b"one", b"two"):
        storage.put(KEY, text, replace=True)
    storage.put(f"{KEY}2", b"a neighbour")
    versioned.ceph.client().delete_object(Bucket=versioned.bucket, Key=FULL)
    storage.put(KEY, b"three", replace=True)
    assert len(versioned.versions()) == 5
    erased = storage.erase(KEY)
    assert (erased.result, len(erased.versions)) == (Erasure.DELETED, 3)
    assert versioned.versions() == [(f"{FULL}2", False)]
    assert storage.erase(KEY).result is Erasure.MISSING


def test_what_was_only_marked_as_deleted_goes_too(versioned: Shelf) -> None:
    storage = versioned.storage()
    storage.put(KEY, b"one")
    assert storage.delete(KEY)
    assert len(versioned.versions()) == 2
    assert storage.erase(KEY).result is Erasure.DELETED
    assert versioned.versions() == []


def test_the_printed_policy_is_enough_to_prune(versioned: Shelf, people: dict[str, BucketKey]) -> None:
    grant(versioned, people)
    storage = versioned.storage(people["pruner"], people["worker"])
    storage.put(KEY, b"one")
    assert storage.held(KEY) is None
    assert storage.erase(KEY).result is Erasure.DELETED
    assert versioned.versions() == []


@pytest.mark.parametrize("denied", [("s3:DeleteObjectVersion",), ("s3:ListBucketVersions",)])
def test_a_key_that_may_only_mark_says_so(
    versioned: Shelf, people: dict[str, BucketKey], denied: tuple[str, ...]
) -> None:
    grant(versioned, people, deny=denied)
    storage = versioned.storage(people["pruner"], people["worker"])
    storage.put(KEY, b"one")
    erased = storage.erase(KEY)
    assert erased.result is Erasure.MARKED
    assert "the old version stays" in erased.detail
    assert sorted(versioned.versions()) == [(FULL, False), (FULL, True)]


def test_a_worker_without_a_prune_credential_is_denied(versioned: Shelf, people: dict[str, BucketKey]) -> None:
    grant(versioned, people)
    storage = versioned.storage(None, people["worker"])
    storage.put(KEY, b"one")
    with pytest.raises(StoreError) as caught:
        storage.erase(KEY)
    assert caught.value.code == "store.denied"
    assert versioned.versions() == [(FULL, False)]


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_a_lock_holds_until_its_date_and_is_told(locking: Shelf, people: dict[str, BucketKey], mode: str) -> None:
    grant(locking, people)
    storage = locking.storage(people["pruner"], people["worker"])
    locking.storage().put(KEY, b"one")  # on Ceph only an object's owner may lock it
    until = in_seconds(4)
    locking.lock(FULL, mode, until)
    assert storage.held(KEY) == Held(mode.lower(), until)
    erased = storage.erase(KEY)
    assert (erased.result, erased.held) == (Erasure.LOCKED, Held(mode.lower(), until))
    assert locking.versions() == [(FULL, False)], "not even a delete marker was set"
    wait_until(lambda: datetime.now(UTC) > until + timedelta(seconds=1), "the lock to end")
    assert storage.erase(KEY).result is Erasure.DELETED
    assert locking.versions() == []


def test_a_legal_hold(locking: Shelf) -> None:
    storage = locking.storage()
    storage.put(KEY, b"one")
    client = locking.ceph.client()
    client.put_object_legal_hold(Bucket=locking.bucket, Key=FULL, LegalHold={"Status": "ON"})
    assert storage.held(KEY) == Held("legal hold", None)
    assert storage.erase(KEY).result is Erasure.LOCKED
    client.put_object_legal_hold(Bucket=locking.bucket, Key=FULL, LegalHold={"Status": "OFF"})
    assert storage.held(KEY) is None
    assert storage.erase(KEY).result is Erasure.DELETED


def test_pruning_a_bucket_with_a_default_lock(locking: Shelf, history: History) -> None:
    """The bucket's own default locks every snapshot; pruning leaves it alone, says until when, and removes it then."""
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    locking.ceph.client().put_object_lock_configuration(
        Bucket=locking.bucket,
        ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},  # type: ignore[typeddict-item]
    )
    yard = new_yard(history, storage=locking.storage())
    history.clock.at = datetime.now(UTC)
    old = yard.lay(history.clock.now() - timedelta(days=2))
    yard.lay(history.clock.now() - timedelta(minutes=5))
    history.engine.retention.set("shop", RetentionPolicy(keep_last=1))
    assert yard.prune(yard.storage) is JobState.SUCCEEDED
    assert yard.results() == {old.id: "locked"}
    why = history.engine.retention.why(old.id)
    assert why is not None
    assert why.keep
    assert why.reasons[0].startswith("locked until ")
    (removal,) = history.engine.retention.removals("shop")
    assert removal.kept_until is not None
    assert timedelta(hours=23) < removal.kept_until - datetime.now(UTC) <= timedelta(days=1, minutes=1)
    soon = in_seconds(2)
    for key in (old.object_key, old.manifest_key):
        locking.ceph.client().put_object_retention(
            Bucket=locking.bucket,
            Key=f"p/{key}",
            Retention={"Mode": "GOVERNANCE", "RetainUntilDate": soon},
            BypassGovernanceRetention=True,
        )
    wait_until(lambda: datetime.now(UTC) > soon + timedelta(seconds=1), "the locks to end")
    history.clock.at += timedelta(days=2)
    assert yard.prune(yard.storage) is JobState.SUCCEEDED
    assert yard.results() == {old.id: "removed"}
    assert not {key for key, _ in locking.versions() if old.id in key}


def test_the_recovery_kit_where_every_version_is_locked(
    locking: Shelf, people: dict[str, BucketKey], history: History
) -> None:
    """The worker's printed rights are enough; a new kit is a new version, and the locked old ones stay."""
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    locking.ceph.client().put_object_lock_configuration(
        Bucket=locking.bucket,
        ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},  # type: ignore[typeddict-item]
    )
    grant(locking, people)
    engine, name = history.engine, f"p/RECOVERY/{history.keys.catalog_id}"
    spec = BucketSpec(
        bucket=locking.bucket, provider="ceph", endpoint=locking.ceph.https, prefix="p", ca_pem=locking.ceph.ca_pem
    )
    keys = BucketKeys(people["worker"], people["pruner"])
    with engine.catalog.write() as tx:  # the round trip of `destination add` would leave its own locked object
        record = Destination("d" * 32, "off", DestinationKind.S3, None, history.clock.now(), None, spec)
        sealed = buckets.seal_keys(engine, history.keys, record.id, keys)
        catalogs.destinations.add(tx, replace(record, keys=sealed))
    for kits in (1, 2):
        engine.recovery.kit("off")
        assert {v.state for v in engine.recovery.show().kits if v.destination == "off"} == {KitState.CURRENT}
        lying = sorted(locking.versions())
        assert lying.count((f"{name}.keys", False)) == kits
        assert len(lying) == 4 + kits, lying
        assert not any(marker for _, marker in lying)
    storage = locking.storage(worker=people["worker"])
    for info in storage.list("RECOVERY/"):
        body = b"".join(storage.read(info.key, cancel=CancelToken()))
        found = [needle for needle in (*keys.secrets(), history.keys.master.text) if needle.encode() in body]
        assert found == [], info.key
    grant(locking, people, deny=("s3:PutObject",))
    with pytest.raises(StoreError) as caught:
        engine.recovery.kit("off")
    assert caught.value.code == "store.denied"
    assert {v.state for v in engine.recovery.show().kits if v.destination == "off"} == {KitState.FAILING}
    assert len(locking.versions()) == 6
