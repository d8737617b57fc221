"""``retention``, ``reconcile``, ``snapshot pin``: the preview, the question before anything goes, and the documents."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.model import JobKind, JobState
from offsitedb_tui import opening
from offsitedb_tui.verbs import retention, snapshot
from tests.fixtures.history import History
from tests.fixtures.installation import Place
from tests.fixtures.program import Program
from tests.fixtures.pruning import Yard, new_yard

DAY = timedelta(days=1)


@pytest.fixture
def yard(history: History, monkeypatch: pytest.MonkeyPatch) -> Yard:
    """Snapshots of five days. The verbs open the history's engine: its clock stands, its key is held in memory."""
    for module in (retention, snapshot):
        assert module.open_engine is opening.open_engine
        monkeypatch.setattr(module, "open_engine", history.open)
    made = new_yard(history)
    for n in (5, 4, 3, 2, 1):
        made.lay(history.clock.now() - n * DAY, tag="release-7" if n == 5 else None)
    return made


@pytest.fixture
def program(yard: Yard, place: Place) -> Program:
    return Program(place, {})


def test_set_plan_apply(yard: Yard, program: Program) -> None:
    engine = yard.history.engine
    made = program.call("retention", "set", "shop", "--keep-daily", "2", "--keep-tag", "release-*", "--json").document()
    assert made["policy"] == {
        "keep_last": 0,
        "keep_hourly": 0,
        "keep_daily": 2,
        "keep_weekly": 0,
        "keep_monthly": 0,
        "keep_yearly": 0,
        "keep_within_s": None,
        "keep_tags": ["release-*"],
        "keep_unproven_s": 604800.0,
        "keep_newest_proven": 1,
    }
    planned = program.call("retention", "plan", "shop")
    assert planned.status == 0
    lines = planned.out.splitlines()
    assert lines[0] == "2 daily, tags release-*; always the newest proven one; unproven ones 7 days (days of UTC)"
    assert lines[1].split() == ["SNAPSHOT", "TAKEN", "VERDICT", "KEPT", "BY", "/", "REMOVED", "BECAUSE"]
    assert "keep    newest proven, daily 2026-11-22" in lines[2]
    assert "remove  beyond every rule: others hold its slots" in lines[4]
    assert "release-7  keep    tag release-*" in lines[6]
    assert lines[7] == "3 are kept, 2 go (2.0 kB)"
    what_if = program.call("retention", "plan", "shop", "--keep-last", "1", "--json").document()
    assert (what_if["keeps"], what_if["removes"]) == (1, 4)
    assert engine.retention.plan("shop").removes == 2, "only asked"
    assert program.call("retention", "apply", "shop", "--json").error(2)["code"] == "config.consent"
    assert engine.jobs.recent()[0].kind is not JobKind.PRUNE
    job = program.call("retention", "apply", "shop", "--yes", "--json").document()
    assert (job["kind"], job["state"]) == ("prune", "queued")
    assert yard.run(job["id"]) is JobState.SUCCEEDED
    ledger = program.call("snapshot", "show", yard.snapshots[1].id).out
    assert "retention: removed by retention on 2026-11-23 (beyond every rule)" in ledger
    assert "retention: kept: newest proven, daily 2026-11-22" in program.call("snapshot", "show", "shop@latest").out
    shown = program.call("retention", "show", "shop").out
    assert "removed      2 snapshots so far" in shown
    kept = program.call("retention", "set", "shop", "--keep-everything", "--json").document()
    assert (kept["policy"], kept["words"]) == (None, "everything is kept")


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--keep-unproven", "3d"],
        ["--keep-within", "soon"],
        ["--keep-everything", "--keep-last", "1"],
        ["--keep-last", "1", "--keep-tag", ""],
    ],
)
def test_policies_that_are_none(program: Program, options: list[str]) -> None:
    assert program.call("retention", "set", "shop", *options, "--json").error(2)["code"] == "config.invalid"


def test_pins(yard: Yard, program: Program) -> None:
    old = yard.snapshots[1].id
    program.call("retention", "set", "shop", "--keep-last", "1")
    said = program.call("snapshot", "pin", old[:12], "--reason", "for the auditors")
    assert said.out == "kept: pinned: for the auditors\n"
    assert "by os:" in program.call("retention", "show", "shop").out
    assert program.call("snapshot", "unpin", old[:12]).out.startswith("goes: beyond every rule")
    assert program.call("snapshot", "unpin", old[:12], "--json").error(2)["code"] == "config.not-found"


def test_reconcile(yard: Yard, program: Program) -> None:
    (found,) = program.call("reconcile", "--json").document()
    assert (found["destination"], found["agrees"], found["objects"]) == ("here", True, 10)
    key = yard.snapshots[2].object_key
    yard.storage.delete(key)
    said = program.call("reconcile", "here")
    assert said.status == 30
    assert "✗ here does not agree with the ledger: 5 snapshots, 9 objects" in said.out
    assert f"! missing: {key}" in said.out
    assert "[store.disagrees]" in said.err
    assert yard.results() == {yard.snapshots[2].id: "missing"}
