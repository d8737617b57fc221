"""Pruning at a real folder: what goes and what stays, killed at every call, locks, denials, and what the door says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine import catalog as catalogs
from engine.errors import AccessDenied, ConfigError, OffsiteError, StoreError
from engine.evidence import chain
from engine.model import JobError, JobKind, JobState, Principal, Role, Snapshot, Verdict
from engine.model.restoring import RestoreOptions
from engine.model.retention import RetentionPolicy
from engine.service.access import acting_as
from engine.storage.base import Erased
from engine.storage.faulty import Call, Effect, Fault, FaultyStorage
from tests.fixtures.history import History
from tests.fixtures.installation import wait_until
from tests.fixtures.pruning import DAILY_3, Deadly, Killed, Locking, Yard, new_yard

DAY = timedelta(days=1)


@pytest.fixture
def yard(history: History) -> Yard:
    return new_yard(history)


def refused(code: str, verb: object, *args: object) -> OffsiteError:
    assert callable(verb)
    with pytest.raises(OffsiteError) as caught:
        verb(*args)
    assert caught.value.code == code
    return caught.value


def test_what_the_policy_does_not_keep_is_removed_and_recorded(yard: Yard) -> None:
    engine = yard.history.engine
    made = yard.days(5)
    engine.retention.set("shop", DAILY_3)
    planned = engine.retention.plan("shop")
    stays, goes = [made[9], made[7], made[5]], [s for n, s in enumerate(made) if n not in (9, 7, 5)]
    assert [line.snapshot_id for line in planned.lines if line.keep] == [s.id for s in stays]
    assert (planned.keeps, planned.removes, planned.freed_bytes) == (3, 7, 7000)
    assert yard.prune() is JobState.SUCCEEDED
    assert yard.lying() == yard.keys_of(*stays)
    assert yard.results() == {s.id: "removed" for s in goes}
    deletions = engine.retention.deletions()
    assert {(d.object_key, d.result, d.rule) for d in deletions} == {
        (key, "deleted", "beyond every rule") for key in yard.keys_of(*goes)
    }
    order = [d.object_key for d in reversed(deletions) if d.snapshot_id == goes[0].id]
    assert set(order) == yard.keys_of(goes[0])
    assert (yard.events("snapshot.removed"), yard.events("retention.applied")) == (7, 1)
    with engine.catalog.read() as tx:
        keys = engine.keys.open()
        assert chain.verify_chain(tx, keys.signer.public_hex) == []
    assert engine.retention.plan("shop").removes == 0
    assert yard.prune() is JobState.SUCCEEDED
    assert len(engine.retention.deletions()) == 14


def test_the_ledger_knows_what_is_gone(yard: Yard) -> None:
    engine = yard.history.engine
    gone, stays = yard.lay(yard.history.clock.now() - 3 * DAY), yard.lay(yard.history.clock.now() - DAY)
    engine.retention.set("shop", RetentionPolicy(keep_last=1))
    assert engine.watch.overview().destinations[0].snapshots == 2
    yard.prune()
    found = engine.watch.overview()
    assert (found.destinations[0].snapshots, found.destinations[0].size_bytes) == (1, 1000)
    assert {id_: r.result.value for id_, r in found.gone.items()} == {gone.id: "removed"}
    assert len(found.lines) == 2
    assert engine.snapshots.resolve("shop@latest") == stays.id
    assert engine.snapshots.show(gone.id)[0].snapshot is not None
    said = "removed by retention on 2026-11-23 (beyond every rule)"
    for error in (
        refused("store.removed", engine.jobs.drill, gone.id),
        refused("store.removed", engine.snapshots.verify, gone.id),
        refused("store.removed", engine.retention.pin, gone.id, "too late"),
        refused("store.removed", engine.restores.plan, gone.id, "postgresql://x@127.0.0.1:9/y", RestoreOptions()),
    ):
        assert said in error.message
    attempt = engine.snapshots.show(gone.id)[0]
    assert attempt.snapshot is not None
    assert attempt.snapshot.removal is not None
    assert attempt.snapshot.removal.words == said
    assert engine.retention.why(gone.id) is None
    why = engine.retention.why(stays.id)
    assert why is not None
    assert why.reasons == ("newest proven", "last 1")


CALLS = 5 * 4
"""Of one removal: stat, two looks for locks, two deletions; there are four removals."""


def assert_healed_after_a_kill(history: History, nth: int, *, after: bool) -> None:
    """No manifest ever lies there without its artifact, and in the end all is as if nobody had been killed."""
    name = f"killed-{nth}-{after}"
    yard, engine = new_yard(history, name), history.engine
    made = [yard.lay(history.clock.now() - n * DAY) for n in (5, 4, 3, 2, 1)]
    engine.retention.set(name, RetentionPolicy(keep_last=1))
    job = engine.retention.apply(name)
    before = yard.events("snapshot.removed")
    with pytest.raises(Killed):
        yard.run(job.id, Deadly(yard.storage, nth, after=after))
    manifests = {key for key in yard.lying() if key.endswith(".manifest.json")}
    assert {key.replace(".manifest.json", ".odb") for key in manifests} <= yard.lying()
    with engine.catalog.write() as tx:  # what the janitor does for a dead worker
        catalogs.jobs.end_leases(tx, "w", engine.clock.now())
        catalogs.jobs.expire(tx, engine.clock.now())
    assert set(yard.results().values()) <= {"removing", "removed"}
    assert yard.run(job.id) is JobState.SUCCEEDED
    assert yard.lying() == yard.keys_of(made[-1])
    assert yard.results() == {s.id: "removed" for s in made[:-1]}
    assert yard.events("snapshot.removed") == before + 4


@pytest.mark.parametrize("nth", [4, 5])
def test_killed_around_the_artifact_the_next_pruning_heals(history: History, nth: int) -> None:
    assert_healed_after_a_kill(history, nth, after=True)


@pytest.mark.slow
def test_killed_at_any_call_the_next_pruning_heals(history: History) -> None:
    for nth in range(1, CALLS + 1):
        for after in (False, True):
            assert_healed_after_a_kill(history, nth, after=after)


def test_what_is_being_removed_counts_as_gone(yard: Yard) -> None:
    engine = yard.history.engine
    first, _ = (yard.lay(yard.history.clock.now() - n * DAY) for n in (3, 2))
    engine.retention.set("shop", RetentionPolicy(keep_last=1))
    with pytest.raises(Killed):
        yard.run(engine.retention.apply("shop").id, Deadly(yard.storage, 4, after=True))
    assert yard.results() == {first.id: "removing"}
    refused("store.removed", engine.jobs.drill, first.id)


def test_a_locked_object_is_left_alone_until_its_date(yard: Yard) -> None:
    engine, clock = yard.history.engine, yard.history.clock
    old, new = yard.lay(clock.now() - 3 * DAY), yard.lay(clock.now() - DAY)
    engine.retention.set("shop", RetentionPolicy(keep_last=1))
    locks = {old.object_key: clock.now() + 2 * DAY}
    assert yard.prune(Locking(yard.storage, dict(locks))) is JobState.SUCCEEDED
    assert yard.results() == {old.id: "locked"}
    assert yard.lying() == yard.keys_of(old, new)
    why = engine.retention.why(old.id)
    assert why is not None
    assert why.reasons == ("locked until 2026-11-25 14:02 UTC",)
    assert engine.jobs.drill(old.id).kind is JobKind.DRILL, "it is there"
    with engine.catalog.write() as tx:
        for job in catalogs.jobs.queued(tx):
            catalogs.jobs.request_cancel(tx, job.id, clock.now())
    assert yard.prune(Locking(yard.storage, dict(locks))) is JobState.SUCCEEDED
    assert [d.result for d in engine.retention.deletions()] == ["locked"], "it is not even tried before its date"
    clock.at += 3 * DAY
    assert yard.prune(Locking(yard.storage, dict(locks))) is JobState.SUCCEEDED
    assert yard.results() == {old.id: "removed"}
    assert yard.lying() == yard.keys_of(new)


def test_a_legal_hold_has_no_date(yard: Yard) -> None:
    old, new = (yard.lay(yard.history.clock.now() - n * DAY) for n in (3, 1))
    yard.history.engine.retention.set("shop", RetentionPolicy(keep_last=1))
    assert yard.prune(Locking(yard.storage, {old.manifest_key: None})) is JobState.SUCCEEDED
    assert yard.results() == {old.id: "locked"}
    assert yard.lying() == yard.keys_of(old, new)


def test_who_may_not_delete_loses_nothing(yard: Yard) -> None:
    engine = yard.history.engine
    made = [yard.lay(yard.history.clock.now() - n * DAY) for n in (3, 2, 1)]
    engine.retention.set("shop", RetentionPolicy(keep_last=1))
    denied = Fault(Call.DELETE, Effect.FAIL, nth=None, error=StoreError("store.denied", "no right to delete"))
    job = engine.retention.apply("shop")
    assert yard.run(job.id, FaultyStorage(yard.storage, [denied])) is JobState.FAILED
    error = engine.jobs.get(job.id).error
    assert isinstance(error, JobError)
    assert error.code == "store.denied"
    assert yard.results() == {}
    assert [(d.result, d.object_key) for d in engine.retention.deletions()] == [("denied", made[0].manifest_key)]
    assert yard.lying() == yard.keys_of(*made)


def test_a_destination_that_fails_in_the_middle_is_finished_next_time(yard: Yard) -> None:
    engine = yard.history.engine
    made = [yard.lay(yard.history.clock.now() - n * DAY) for n in (3, 2, 1)]
    engine.retention.set("shop", RetentionPolicy(keep_last=1))
    broken = Fault(Call.DELETE, Effect.FAIL, nth=2, error=StoreError("store.timeout", "no answer", retry=True))
    assert yard.prune(FaultyStorage(yard.storage, [broken])) is JobState.FAILED
    assert yard.results() == {made[0].id: "removing"}, "the second was not begun"
    engine.retention.look()
    (job,) = [j for j in engine.jobs.recent() if j.state is JobState.QUEUED]
    assert yard.run(job.id) is JobState.SUCCEEDED
    assert yard.results() == {s.id: "removed" for s in made[:2]}


def test_what_somebody_else_removed_is_missing(yard: Yard) -> None:
    old, _ = yard.lay(yard.history.clock.now() - 3 * DAY), yard.lay(yard.history.clock.now() - DAY)
    yard.storage.delete(old.object_key)
    yard.history.engine.retention.set("shop", RetentionPolicy(keep_last=1))
    assert yard.prune() is JobState.SUCCEEDED
    assert yard.results() == {old.id: "missing"}
    assert old.manifest_key not in yard.lying()
    assert refused("store.removed", yard.history.engine.jobs.drill, old.id).message.endswith(
        "its object was found missing on 2026-11-23"
    )


def test_a_snapshot_that_a_job_uses_stays(yard: Yard) -> None:
    engine = yard.history.engine
    old = yard.lay(yard.history.clock.now() - 3 * DAY)
    yard.lay(yard.history.clock.now() - DAY)
    engine.retention.set("shop", RetentionPolicy(keep_last=1))
    drill = engine.jobs.drill(old.id)
    assert yard.prune() is JobState.SUCCEEDED
    assert yard.results() == {}
    engine.jobs.cancel(drill.id)
    assert yard.prune() is JobState.SUCCEEDED
    assert yard.results() == {old.id: "removed"}


def test_pins(yard: Yard) -> None:
    engine = yard.history.engine
    old = yard.lay(yard.history.clock.now() - 3 * DAY)
    yard.lay(yard.history.clock.now() - DAY)
    engine.retention.set("shop", RetentionPolicy(keep_last=1))
    line = engine.retention.pin(old.id, "the auditors want it")
    assert line is not None
    assert line.reasons == ("pinned: the auditors want it",)
    assert [p.snapshot_id for p in engine.retention.show("shop").pins] == [old.id]
    yard.prune()
    assert yard.results() == {}
    line = engine.retention.unpin(old.id)
    assert line is not None
    assert not line.keep
    refused("config.not-found", engine.retention.unpin, old.id)
    refused("config.invalid", engine.retention.pin, old.id, "")


# -- the duty


def queued(yard: Yard) -> list[str]:
    return [j.id for j in yard.history.engine.jobs.recent() if j.kind is JobKind.PRUNE and not j.state.ended]


def test_the_duty_asks_daily_and_only_after_a_proof(yard: Yard) -> None:
    engine, clock = yard.history.engine, yard.history.clock
    engine.retention.look()
    yard.days(5)
    engine.retention.look()
    assert queued(yard) == [], "there is no policy"
    engine.retention.set("shop", DAILY_3)
    engine.retention.look()
    engine.retention.look()
    (first,) = queued(yard)
    assert yard.run(first) is JobState.SUCCEEDED
    assert len(yard.results()) == 7
    clock.at += timedelta(hours=2)
    yard.lay(clock.now())
    engine.retention.look()
    assert queued(yard) == [], "one a day is enough"
    clock.at += DAY
    engine.retention.look()
    (second,) = queued(yard)
    assert yard.run(second) is JobState.SUCCEEDED
    removed = len(yard.results())
    clock.at += 3 * DAY
    engine.retention.set("shop", RetentionPolicy(keep_last=1))
    engine.retention.look()
    assert queued(yard) == [], "nothing was proven since"
    yard.lay(clock.now() - timedelta(minutes=9))
    engine.retention.look()
    (third,) = queued(yard)
    assert yard.run(third) is JobState.SUCCEEDED
    assert len(yard.results()) > removed


def test_a_worker_asks_and_prunes_by_itself(yard: Yard) -> None:
    engine = yard.history.engine
    made = yard.days(4)
    engine.retention.set("shop", RetentionPolicy(keep_last=1))
    engine.worker.start(1)
    try:
        wait_until(lambda: bool(queued(yard)), "the duty to ask for a pruning")
        assert engine.worker.run(queued(yard)[0]) is JobState.SUCCEEDED
    finally:
        engine.worker.stop()
    assert yard.lying() == yard.keys_of(made[-1])
    assert {duty.name for duty in engine.duties} >= {"retention", "reconcile"}


def test_a_worker_that_lost_its_lease_takes_nothing_back(yard: Yard) -> None:
    """What it marked is the next worker's to finish."""
    engine, clock = yard.history.engine, yard.history.clock
    made = [yard.lay(clock.now() - n * DAY) for n in (3, 2, 1)]
    engine.retention.set("shop", RetentionPolicy(keep_last=1))
    job = engine.retention.apply("shop")

    class Losing(FaultyStorage):
        def erase(self, key: str) -> Erased:
            with engine.catalog.write() as tx:
                catalogs.jobs.end_leases(tx, "w", clock.now())
                catalogs.jobs.expire(tx, clock.now())
            raise StoreError("store.denied", "no right to delete")

    assert yard.run(job.id, Losing(yard.storage)) is None
    assert yard.results() == {s.id: "removing" for s in made[:2]}
    assert yard.run(job.id) is JobState.SUCCEEDED
    assert yard.results() == {s.id: "removed" for s in made[:2]}


def test_pausing_is_told_once_and_so_is_the_end_of_it(history: History) -> None:
    yard = new_yard(history, proof_target_s=86_400.0)
    engine, clock = history.engine, history.clock
    yard.days(4)
    engine.retention.set("shop", RetentionPolicy(keep_last=1))
    assert engine.retention.paused() == ()
    clock.at += 2 * DAY
    engine.retention.look()
    engine.retention.look()
    assert yard.events("retention.paused") == 1
    assert queued(yard) == []
    (paused,) = engine.retention.paused()
    assert paused.connection == "shop"
    assert engine.retention.show("shop").paused == paused.reason
    assert yard.prune() is JobState.SUCCEEDED
    assert yard.results() == {}, "asked for by hand it is paused all the same"
    yard.lay(clock.now() - timedelta(minutes=9))
    engine.retention.look()
    engine.retention.look()
    assert (yard.events("retention.paused"), yard.events("retention.resumed")) == (1, 1)
    clock.at += timedelta(hours=1)
    engine.retention.look()


def test_a_missing_newest_proof_is_no_proof(history: History) -> None:
    yard = new_yard(history, proof_target_s=86_400.0)
    old, new = (yard.lay(history.clock.now() - n * DAY) for n in (2, 0))
    history.engine.retention.set("shop", RetentionPolicy(keep_last=1))
    yard.storage.delete(new.object_key)
    history.engine.reconcile.run("here")
    headline = history.engine.watch.overview().headlines[0]
    assert (headline.newest_proven_at, headline.overdue) == (old.taken_at, True)
    assert history.engine.retention.plan("shop").paused is not None


# -- who may


def test_roles(yard: Yard) -> None:
    engine = yard.history.engine
    snapshot = yard.lay(yard.history.clock.now() - DAY)
    with acting_as(Principal("operator:olga", Role.OPERATOR)):
        for verb, args in (
            (engine.retention.set, ("shop", DAILY_3)),
            (engine.retention.clear, ("shop",)),
            (engine.retention.apply, ("shop",)),
            (engine.reconcile.run, ("here",)),
        ):
            with pytest.raises(AccessDenied):
                verb(*args)
        engine.retention.pin(snapshot.id, "kept by olga")
        assert engine.retention.plan("shop", DAILY_3).keeps == 1
    with acting_as(Principal("operator:vic", Role.VIEWER)), pytest.raises(AccessDenied):
        engine.retention.unpin(snapshot.id)
    assert engine.retention.show("shop").pins[0].actor == "operator:olga"


def test_without_a_policy_everything_is_kept(yard: Yard) -> None:
    engine = yard.history.engine
    snapshot = yard.lay(yard.history.clock.now() - 900 * DAY, Verdict.FAILED)
    assert isinstance(snapshot, Snapshot)
    planned = engine.retention.plan("shop")
    assert (planned.keeps, planned.removes, planned.words) == (1, 0, "everything is kept")
    with pytest.raises(ConfigError):
        engine.retention.apply("shop")
    engine.retention.set("shop", DAILY_3)
    engine.retention.clear("shop")
    assert engine.retention.show("shop").policy is None
    assert yard.events("retention.set") == 2
