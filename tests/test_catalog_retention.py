"""Policies, pins, candidates, removals and reconciliations: what goes in comes out, on both dialects."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from engine import catalog as catalogs
from engine.catalog import Catalog, Tx
from engine.errors import CatalogError, ConfigError, StoreError
from engine.model import JobKind, JobState, Verdict
from engine.model.retention import (
    Deletion,
    LockState,
    Pin,
    Proof,
    Reconciled,
    Reconciliation,
    Removal,
    RemovalResult,
    RetentionPolicy,
)
from tests.fixtures.records import NOW, drill, job, snapshot

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.catalogs")

DAY = timedelta(days=1)
A, B, C = (letter * 32 for letter in "abc")


def removal(snapshot_id: str, result: RemovalResult = RemovalResult.REMOVING) -> Removal:
    return Removal(snapshot_id, "c1", "j1", "beyond every rule", result, "", NOW)


def taken(tx: Tx, *ids: str) -> None:
    for seq, id_ in enumerate(ids, 1):
        catalogs.snapshots.add(tx, replace(snapshot(id_, seq=seq), taken_at=NOW + seq * DAY))


def drilled(tx: Tx, id_: str, snapshot_id: str, verdict: Verdict) -> None:
    catalogs.drills.add(tx, replace(drill(id_, snapshot_id, verdict), finished_at=NOW + 9 * DAY))


def test_a_policy_is_set_changed_and_cleared(filled: Catalog) -> None:
    with filled.write() as tx:
        assert catalogs.retention.get(tx, "c1").policy is None
        assert catalogs.retention.list_policied(tx) == []
        for policy in (RetentionPolicy(keep_daily=7), RetentionPolicy(keep_last=2, keep_tags=("a*", "ü"))):
            catalogs.retention.set_policy(tx, "c1", policy, NOW)
            known = catalogs.retention.get(tx, "c1")
            assert (known.policy, known.changed_at, known.time_zone) == (policy, NOW, "UTC")
        assert [k.connection_id for k in catalogs.retention.list_policied(tx)] == ["c1"]
        assert catalogs.retention.clear_policy(tx, "c1")
        assert not catalogs.retention.clear_policy(tx, "c1")
        with pytest.raises(ConfigError):
            catalogs.retention.get(tx, "nobody")


@pytest.mark.parametrize(
    ("verdicts", "proof"),
    [
        ((), Proof.UNPROVEN),
        ((Verdict.PROVEN,), Proof.PROVEN),
        ((Verdict.PROVEN_WITH_SKIPS,), Proof.PROVEN),
        ((Verdict.PROVEN, Verdict.FAILED), Proof.UNPROVEN),
        ((Verdict.FAILED, Verdict.PROVEN), Proof.PROVEN),
        ((Verdict.COULD_NOT_VERIFY,), Proof.UNPROVEN),
        ((Verdict.PROVEN, Verdict.COULD_NOT_VERIFY), Proof.DOUBTFUL),
        ((Verdict.PROVEN, Verdict.COULD_NOT_VERIFY, Verdict.COULD_NOT_VERIFY), Proof.DOUBTFUL),
        ((Verdict.PROVEN, Verdict.FAILED, Verdict.COULD_NOT_VERIFY), Proof.UNPROVEN),
    ],
)
def test_what_drills_say(filled: Catalog, verdicts: tuple[Verdict, ...], proof: Proof) -> None:
    with filled.write() as tx:
        taken(tx, A)
        for n, verdict in enumerate(verdicts):
            drilled(tx, str(n), A, verdict)
        (found,) = catalogs.retention.candidates(tx, "c1")
    assert (found.proof, found.verdict) == (proof, verdicts[-1] if verdicts else None)
    assert found.settled_at == (NOW + 9 * DAY if verdicts else found.taken_at)


def test_candidates_are_what_is_there(filled: Catalog) -> None:
    with filled.write() as tx:
        taken(tx, A, B, C)
        catalogs.retention.pin(tx, Pin(A, "first", "os:root", NOW))
        catalogs.retention.pin(tx, Pin(A, "audit", "os:root", NOW))
        catalogs.jobs.create(tx, replace(job("d", kind=JobKind.DRILL), snapshot_id=B))
        catalogs.jobs.create(tx, replace(job("e", kind=JobKind.DRILL), snapshot_id=C, state=JobState.FAILED))
        found = {c.id: c for c in catalogs.retention.candidates(tx, "c1")}
        assert [(found[i].pinned, found[i].busy) for i in (A, B, C)] == [("audit", False), (None, True), (None, False)]
        assert [p.reason for p in catalogs.retention.list_pins(tx, "c1")] == ["audit"]
        catalogs.removals.begin(tx, removal(A))
        catalogs.removals.begin(tx, removal(B))
        catalogs.removals.settle(tx, B, RemovalResult.LOCKED, NOW, kept_until=NOW + DAY)
        found = {c.id: c for c in catalogs.retention.candidates(tx, "c1")}
        assert found.keys() == {B, C}
        assert found[B].locked_until == NOW + DAY
        assert catalogs.retention.candidates(tx, "c2") == []


def test_a_removal_from_beginning_to_end(filled: Catalog) -> None:
    with filled.write() as tx:
        taken(tx, A, B)
        assert catalogs.watch.sizes(tx)["d1"][0] == 2
        before = catalogs.watch.gone(tx)
        assert catalogs.watch.gone(tx, before) is before
        catalogs.removals.begin(tx, removal(B))
        with pytest.raises(StoreError) as caught:
            catalogs.removals.refuse_gone(tx, B)
        assert caught.value.code == "store.removed"
        newest = catalogs.snapshots.newest_there(tx, "c1")
        assert newest is not None
        assert newest.id == A
        marks = [catalogs.watch.gone(tx, before)]
        assert catalogs.removals.settle(tx, B, RemovalResult.REMOVED, NOW + DAY, detail="marked")
        assert not catalogs.removals.settle(tx, B, RemovalResult.MISSING, NOW + DAY)
        marks.append(catalogs.watch.gone(tx, marks[0]))
        assert marks[0].removals[B].result is RemovalResult.REMOVING
        assert marks[1].removals[B].words == "removed by retention on 2026-11-24 (beyond every rule)"
        n, size_bytes = catalogs.watch.sizes(tx)["d1"]
        assert (n, size_bytes) == (1, snapshot(A).size_bytes)
        assert catalogs.removals.count(tx, "c1") == 1
        assert catalogs.removals.at_destination(tx, "d1") == {B: RemovalResult.REMOVED}
        assert not catalogs.removals.take_back(tx, B, RemovalResult.MISSING)
        assert catalogs.removals.take_back(tx, B, RemovalResult.REMOVED)
        assert catalogs.watch.gone(tx, marks[1]).removals == {}
        catalogs.removals.refuse_gone(tx, B)


def test_a_gone_snapshot_is_no_proof(filled: Catalog) -> None:
    with filled.write() as tx:
        taken(tx, A, B)
        drilled(tx, "1", A, Verdict.PROVEN)
        drilled(tx, "2", B, Verdict.PROVEN)
        assert catalogs.watch.standings(tx)[0].newest_proven_at == NOW + 2 * DAY
        catalogs.removals.begin(tx, removal(B))
        catalogs.removals.settle(tx, B, RemovalResult.LOCKED, NOW)
        assert catalogs.watch.standings(tx)[0].newest_proven_at == NOW + 2 * DAY, "it is there"
        catalogs.removals.begin(tx, removal(B))
        catalogs.removals.settle(tx, B, RemovalResult.MISSING, NOW)
        assert catalogs.watch.standings(tx)[0].newest_proven_at == NOW + DAY


def test_deletions_are_listed_by_time(filled: Catalog) -> None:
    made = [
        Deletion(str(n), "d1", A, f"v1/{n}", "v7" if n else None, "rule", "deleted", "", NOW + n * DAY)
        for n in range(4)
    ]
    with filled.write() as tx:
        for one in made:
            catalogs.removals.note_deletion(tx, one)
        found = catalogs.removals.list_deletions(tx, since=NOW + DAY, until=NOW + 3 * DAY, limit=9)
        assert found == [made[2], made[1]]
        assert catalogs.removals.list_deletions(tx, snapshot_id=B, limit=9) == []


def test_a_reconciliation_comes_back_as_it_was(filled: Catalog) -> None:
    outcome = Reconciled(3, ("a",), ("b",), (), (), ("c",), 7, 1, 99, LockState("compliance", NOW))
    record = Reconciliation("r1", "d1", NOW, 10, 2**45, "ab" * 32, outcome)
    with filled.write() as tx:
        assert catalogs.reconciliations.newest(tx, "d1") is None
        catalogs.reconciliations.add(tx, record)
        catalogs.reconciliations.add(tx, replace(record, id="r2", reconciled_at=NOW + DAY))
        assert catalogs.reconciliations.newest(tx, "d1") == replace(record, id="r2", reconciled_at=NOW + DAY)
        assert [r.id for r in catalogs.reconciliations.list_recent(tx, limit=9)] == ["r2", "r1"]
        taken(tx, A)
        assert [e.snapshot_id for e in catalogs.reconciliations.expected(tx, "d1")] == [A]
        found = snapshot(A, seq=1)
        assert catalogs.reconciliations.known_keys(tx) == {found.object_key, found.manifest_key}


def test_prunings_of_a_connection(filled: Catalog) -> None:
    with filled.write() as tx:
        assert catalogs.retention.last_asked_at(tx, "c1") is None
        done = replace(job("p1", kind=JobKind.PRUNE), state=JobState.SUCCEEDED, finished_at=NOW + DAY)
        catalogs.jobs.create(tx, done)
        assert catalogs.jobs.open_of(tx, JobKind.PRUNE, "c1") is None
        catalogs.jobs.create(tx, job("p2", kind=JobKind.PRUNE, at=NOW + 2 * DAY))
        assert catalogs.retention.last_asked_at(tx, "c1") == NOW + 2 * DAY
        assert catalogs.retention.last_pruned_at(tx, "c1") == NOW + DAY
        opened = catalogs.jobs.open_of(tx, JobKind.PRUNE, "c1")
        assert opened is not None
        assert opened.id == "p2"
        with pytest.raises(CatalogError) as caught:
            catalogs.jobs.expect_held(tx, "p2", 0)
        assert caught.value.code == "catalog.fenced"
        claimed = catalogs.jobs.claim(tx, "p2", "w", NOW, 9.0)
        assert claimed is not None
        catalogs.jobs.expect_held(tx, "p2", claimed.fence)
