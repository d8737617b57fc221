"""A real run (checkpoints, drills, a pruning, a download) leaves a catalog that verifies; `verify` says what was
edited, also at the destination, and its exit status is 50."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from engine import catalog as catalogs
from engine.evidence.rows import CHANGED
from engine.model import JobState, Part, Verdict
from engine.model.retention import RetentionPolicy
from tests.fixtures.edits import Lite
from tests.fixtures.fire import CONNECTION, Field, working
from tests.fixtures.program import program_of

pytest_plugins = ("tests.fixtures.fire", "tests.fixtures.installation", "tests.fixtures.source")


def _kinds(field: Field) -> list[str]:
    with field.engine.catalog.read() as tx:
        return [event.kind for event in catalogs.events.list_after(tx, 0, limit=1000)]


@pytest.mark.slow
def test_a_real_run_verifies_and_edits_show(field: Field) -> None:
    engine = field.engine
    field.sql("CREATE TABLE orders (id int)", "INSERT INTO orders SELECT generate_series(1, 20)")
    field.connect_through()
    engine.connections.test(CONNECTION)
    engine.connections.edit(CONNECTION, accept_empty=True)
    engine.schedules.set(CONNECTION, when="daily at 03:00", zone="UTC")
    engine.retention.set(CONNECTION, RetentionPolicy(keep_last=1, keep_newest_proven=1))
    with working(field):
        first, second = field.checkpoint(), field.checkpoint()
        for attempt in (first, second):
            assert attempt.drill is not None
            assert attempt.drill.verdict is Verdict.PROVEN
        job = engine.retention.apply(CONNECTION)
        engine.worker.run(job.id)
        assert field.job(job.id).state is JobState.SUCCEEDED
    assert second.snapshot is not None
    blocks: list[bytes] = []
    engine.snapshots.download(second.snapshot.id, blocks.append)
    kinds = _kinds(field)
    assert CHANGED not in kinds
    told = {"connection.added", "connection.changed", "connection.tested", "snapshot.taken", "drill.ended", "job.ended"}
    assert told | {"retention.begun", "snapshot.removed", "retention.applied", "snapshot.downloaded"} <= set(kinds)

    found = engine.verify.check_all()
    assert found.findings == ()
    looked = {part.part: part.count for part in found.checked}
    assert (looked[Part.RECEIPTS], looked[Part.MANIFESTS]) == (2, 1)
    assert looked[Part.KEYS] > 1
    assert not any(part.note for part in found.checked)
    engine.verify.sign()
    assert engine.verify.check().unsigned == 0

    program = program_of(field.place)
    assert program.run("verify", "--json").document()["wrong"] == 0
    manifest = field.place.destination / second.snapshot.object_key.replace(".odb", ".manifest.json")
    manifest.write_bytes(manifest.read_bytes().replace(b'"seq":2', b'"seq":3'))
    with closing(sqlite3.connect(engine.catalog.where, isolation_level=None)) as db:
        Lite(db).run("UPDATE drills SET verdict = 'PROVEN WITH SKIPS' WHERE snapshot_id = ?", second.snapshot.id)
    said = program.run("verify", "--manifests")
    assert said.status == 50
    assert f"drill {second.drill.id}: it is not what event" in said.out  # type: ignore[union-attr]
    assert "it says verdict PROVEN, and the ledger PROVEN WITH SKIPS" in said.out
    assert "the manifest at the destination is not the one whose hash the ledger holds" in said.out
    assert "2 wrong" in said.out
    assert "[catalog.altered]" in said.err
