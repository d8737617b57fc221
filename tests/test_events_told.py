"""Which events each verb of the door leaves. A new verb stands on one of the lists here, or this fails.

Nothing is changed untold: what a verb does not tell of itself comes out as ``catalog.changed``, and none does.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import insert

from engine import catalog as catalogs
from engine.catalog import bound
from engine.catalog.schema import checks, metadata
from engine.errors import AccessDenied
from engine.evidence.rows import CHANGED
from engine.jobs import JobRunner
from engine.model import ChannelKind, JobError, JobState, Role
from engine.model.retention import RetentionPolicy
from engine.service import Engine
from tests.fixtures.edits import PASSWORD
from tests.fixtures.history import NOW, History
from tests.test_access_verbs import ENTRANCE, INNER, MARKED

pytest_plugins = ("tests.fixtures.history",)

NEW = PASSWORD + " anew"
Step = tuple[str, Callable[[History], object], list[str]]


def _incident(h: History) -> str:
    return h.engine.alerts.incidents()[0].id


def _snapshot(h: History) -> str:
    return h.engine.snapshots.resolve("shop@latest")


def _token(h: History) -> str:
    return h.engine.operators.login("anna", PASSWORD, "here")


def _own_password(h: History) -> None:
    token = _token(h)
    with h.open() as engine:
        engine.operators.enter(token)
        engine.operators.change_password(NEW)


def _refused(h: History) -> None:
    with pytest.raises(AccessDenied):
        h.engine.operators.login("anna", "nothing of the kind", "here")


def _pruned(h: History) -> None:
    """A worker that finds no policy, as :func:`tests.test_pruning` has it with one."""
    job = h.engine.retention.apply("shop")
    runner = JobRunner(h.engine.catalog, h.clock, h.engine.work, worker_id="w", lease_s=30.0, labels=frozenset(["lan"]))
    assert runner.run(job.id) is JobState.SUCCEEDED


POLICY = RetentionPolicy(keep_daily=3)
ADDED = ["operator.added"]

# in their order, on one installation: each verb, a call of it, and the events that it leaves
STEPS: list[Step] = [
    ("keys.confirm_recovery", lambda h: h.engine.keys.confirm_recovery(), ["key.recovery-confirmed"]),
    ("keys.master_text", lambda h: h.engine.keys.master_text(), ["key.shown"]),
    (
        "destinations.add_folder",
        lambda h: h.engine.destinations.add_folder("there", h.home / "there"),
        ["destination.added"],
    ),
    ("destinations.test", lambda h: h.engine.destinations.test("there"), ["destination.tested"]),
    ("destinations.remove", lambda h: h.engine.destinations.remove("there"), ["destination.removed"]),
    (
        "connections.set_targets",
        lambda h: h.engine.connections.set_targets("shop", proof_s=60.0, restore_s=None),
        ["connection.targets-set"],
    ),
    (
        "connections.set_fingerprint",
        lambda h: h.engine.connections.set_fingerprint("shop", wanted=True),
        ["connection.fingerprint-set"],
    ),
    (
        "connections.set_worker_label",
        lambda h: h.engine.connections.set_worker_label("shop", "lan"),
        ["connection.worker-label-set"],
    ),
    ("scratch.use", lambda h: h.engine.scratch.use("shop", None), ["connection.scratch-set"]),
    ("checks.add", lambda h: h.engine.checks.add("shop", "some", "SELECT 1", "1"), ["check.added"]),
    ("checks.remove", lambda h: h.engine.checks.remove("shop", "some"), ["check.removed"]),
    (
        "schedules.set",
        lambda h: h.engine.schedules.set("shop", when="hourly", zone="UTC", drills="daily"),
        ["schedule.set", "drills.set"],
    ),
    ("schedules.remove", lambda h: h.engine.schedules.remove("shop"), ["schedule.removed"]),
    ("retention.set", lambda h: h.engine.retention.set("shop", POLICY), ["retention.set"]),
    ("retention.pin", lambda h: h.engine.retention.pin(_snapshot(h), "ours"), ["snapshot.pinned"]),
    ("retention.unpin", lambda h: h.engine.retention.unpin(_snapshot(h)), ["snapshot.unpinned"]),
    ("retention.apply", _pruned, ["job.ended"]),
    ("retention.clear", lambda h: h.engine.retention.clear("shop"), ["retention.set"]),
    ("reconcile.run", lambda h: h.engine.reconcile.run("here"), ["snapshot.missing", "destination.reconciled"]),
    (
        "alerts.set_drift_limit",
        lambda h: h.engine.alerts.set_drift_limit("shop", 0.5),
        ["connection.drift-limit-set"],
    ),
    (
        "alerts.add",
        lambda h: h.engine.alerts.add("hook", ChannelKind.WEBHOOK, "https://hooks.example.org/x"),
        ["channel.added"],
    ),
    ("alerts.remove", lambda h: h.engine.alerts.remove("hook"), ["channel.removed"]),
    ("alerts.check", lambda h: h.engine.alerts.check(), ["incident.opened", "incident.opened"]),
    ("alerts.acknowledge", lambda h: h.engine.alerts.acknowledge(_incident(h)), ["incident.acknowledged"]),
    ("jobs.cancel", lambda h: h.engine.jobs.cancel(h.engine.jobs.checkpoint("shop").id), ["job.cancel-asked"]),
    ("apikeys.create", lambda h: h.engine.apikeys.create("ci"), ["apikey.created"]),
    ("apikeys.rotate", lambda h: h.engine.apikeys.rotate("ci"), ["apikey.rotated"]),
    ("apikeys.revoke", lambda h: h.engine.apikeys.revoke("ci"), ["apikey.revoked", "apikey.revoked"]),
    ("operators.add", lambda h: h.engine.operators.add("anna", Role.ADMIN, PASSWORD), ADDED),
    ("operators.login", lambda h: h.engine.operators.logout(_token(h)), ["operator.logged-in", "operator.logged-out"]),
    ("operators.logout", _refused, ["operator.login-failed"]),
    (
        "operators.change_password",
        _own_password,
        ["operator.logged-in", "operator.password-changed"],
    ),
    ("operators.reset", lambda h: h.engine.operators.reset("anna", PASSWORD), ["operator.reset"]),
    ("operators.add", lambda h: h.engine.operators.add("bert", Role.ADMIN, PASSWORD + " b"), ADDED),
    ("operators.disable", lambda h: h.engine.operators.disable("bert"), ["operator.disabled"]),
    ("operators.enable", lambda h: h.engine.operators.enable("bert"), ["operator.enabled"]),
    ("operators.set_role", lambda h: h.engine.operators.set_role("bert", Role.VIEWER), ["operator.role-set"]),
    ("connections.remove", lambda h: h.engine.connections.remove("shop"), ["connection.removed"]),
]

KIT = {"recovery.kit-written", "recovery.kit-failed"}
"""The kit at each destination follows what changes: an event of its own, beside the verb's."""

ELSEWHERE = {
    **dict.fromkeys(("connections.add", "connections.edit", "connections.test"), "tests.live.test_verify_real"),
    **dict.fromkeys(("scratch.add", "scratch.test", "scratch.remove"), "tests.live.test_external_scratch"),
    **dict.fromkeys(("destinations.add_bucket", "destinations.change_keys"), "tests.live.test_cli_bucket"),
    **dict.fromkeys(("snapshots.download", "keys.restore"), "tests.live.test_verify_real"),
    "keys.rotate": "tests.test_rotation",
    **dict.fromkeys(("recovery.kit", "recovery.verify"), "tests.live.test_kit_checkpoint"),
    "reports.build": "tests.test_report_duty",
    "reports.stamp": "tests.test_report_stamps",
    "operators.recover": "tests.test_operators",
    "operators.confirm": "its failures are events; what it was given for is one",
    "keys.confirm_with": "it looks at the code, and is keys.confirm_recovery then",
    "move.to": "tests.test_catalog_moving",
    **dict.fromkeys(("recovery.kit", "recovery.verify"), "tests.test_kit_shelf"),
    "restores.start": "a worker tells what came of it: tests.live.test_restore_verb",
}
"""They need servers, a bucket or a worker."""

SILENT = {
    **dict.fromkeys(
        ("restores.make_database", "restores.unmake_database"), "they change a server of the user's and nothing here"
    ),
    **dict.fromkeys(
        ("jobs.checkpoint", "jobs.drill", "jobs.drill_all"), "they queue a job; who asked is bound when it has ended"
    ),
    **dict.fromkeys(("connections.preflight", "connections.try_out", "restores.plan"), "they look and keep nothing"),
    **dict.fromkeys(("snapshots.verify", "verify.check_all", "posture.look", "posture.report"), "they read"),
    "alerts.test": "a delivery, which is no evidence",
}
"""They change nothing that is evidence."""


def test_every_verb_that_changes_something_tells_of_it(history: History) -> None:
    engine, read = history.engine, _read_to(history.engine)
    shop = history.connection("shop")
    history.failed(shop, NOW - timedelta(hours=1), JobError("pg.unreachable", "no answer", "Look.", 20))
    history.drilled(shop, NOW - timedelta(hours=2))
    for verb, call, expected in STEPS:
        read = _read_to(engine)
        call(history)
        told = [kind for kind in _kinds(engine, read) if kind not in KIT]
        assert told == expected, verb
    found = engine.verify.check()
    assert found.findings == ()


def test_no_verb_is_forgotten() -> None:
    known = {verb for verb, _, _ in STEPS} | ELSEWHERE.keys() | SILENT.keys()
    assert sorted(MARKED.keys() - known) == [], "say here which events it leaves, or why none"
    assert known <= MARKED.keys() | ENTRANCE | INNER


def test_every_table_is_evidence_or_is_said_not_to_be() -> None:
    assert bound.KINDS.keys() | bound.UNBOUND == metadata.tables.keys()
    assert not bound.KINDS.keys() & bound.UNBOUND


def test_what_nobody_tells_is_told_all_the_same(history: History) -> None:
    """The net below: whatever writes through an engine, and tells nothing."""
    shop = history.connection("shop")
    read = _read_to(history.engine)
    with history.engine.catalog.write() as tx:
        catalogs.connections.set_fingerprint(tx, shop.id, wanted=True)
    assert _kinds(history.engine, read) == [CHANGED]
    assert history.engine.verify.check().findings == ()


def test_a_change_that_changes_nothing_is_no_event(history: History) -> None:
    shop = history.connection("shop")
    read = _read_to(history.engine)
    with history.engine.catalog.write() as tx:
        catalogs.connections.set_fingerprint(tx, shop.id, wanted=True)
        catalogs.connections.set_fingerprint(tx, shop.id, wanted=False)
        catalogs.connections.next_seq(tx, shop.id)
    assert _kinds(history.engine, read) == []


def test_people_are_not_shown_hashes(history: History) -> None:
    with history.engine.catalog.read() as tx:
        added = catalogs.events.list_recent(tx, kind="destination.added", limit=1)[0]
    assert added.told == {"name": "here"}
    assert len(added.data) > 1


def _read_to(engine: Engine) -> int:
    with engine.catalog.read() as tx:
        return catalogs.events.last_seq(tx)


def _kinds(engine: Engine, after: int) -> list[str]:
    with engine.catalog.read() as tx:
        return [event.kind for event in catalogs.events.list_after(tx, after, limit=100)]


def test_rows_that_come_many_at_once_are_bound(history: History) -> None:
    shop = history.connection("shop")
    given = {"connection_id": shop.id, "query": "SELECT 1", "expect": "1", "created_at": NOW}
    with history.engine.catalog.write() as tx:
        tx.change(insert(checks).values([{**given, "name": f"c{n}"} for n in range(3)]))
        told = tx.take_untold()
    assert sorted(told) == [f"checks/{shop.id}/c{n}" for n in range(3)]
