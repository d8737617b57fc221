"""A drill fetches while its cluster starts: each may fail, and what is said of the snapshot stays true."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NoReturn

import pytest

from engine.errors import CouldNotVerify
from engine.model import Verdict
from engine.postgres import cluster
from tests.fixtures.fire import Field, working


def no_cluster(*_: object, **__: object) -> NoReturn:
    raise CouldNotVerify("drill.scratch", "the scratch server could not be started")


@pytest.mark.parametrize(
    ("damaged", "verdict", "codes"),
    [
        (False, Verdict.COULD_NOT_VERIFY, ["drill.scratch"]),
        (True, Verdict.FAILED, ["format.corrupt-segment"]),
    ],
)
def test_a_damaged_artifact_is_failed_although_the_cluster_failed_too(
    field: Field, monkeypatch: pytest.MonkeyPatch, damaged: bool, verdict: Verdict, codes: list[str]
) -> None:
    field.sql("CREATE TABLE good AS SELECT n FROM generate_series(1, 1000) n")
    field.connect_through()
    with working(field) as engine:
        taken = field.checkpoint()
        assert taken.snapshot is not None
        assert taken.drill is not None
        assert taken.drill.verdict is Verdict.PROVEN
        if damaged:
            where = Path(engine.destinations.list()[0].where)
            (artifact,) = where.rglob("*.odb")
            data = bytearray(artifact.read_bytes())
            data[-20] ^= 1
            artifact.write_bytes(data)
        monkeypatch.setattr(cluster, "scratch_cluster", no_cluster)
        before = set(threading.enumerate())
        job_id = engine.jobs.drill("shop@latest").id
        engine.worker.run(job_id)
        assert not [t for t in set(threading.enumerate()) - before if t.name.startswith("fetch")]
        drilled = engine.ledger.of_job(job_id)
    assert drilled.drill is not None
    assert drilled.drill.verdict is verdict
    assert [f.code for f in drilled.drill.failures] == codes
    field.assert_clean()
