"""A destination that takes no kit: its checkpoints go on, and it is said."""

from __future__ import annotations

import shutil

import pytest

from engine.model import Verdict
from engine.model.kit import KitState
from tests.fixtures.fire import Field, working
from tests.fixtures.installation import wait_until

pytestmark = pytest.mark.slow


def test_a_kit_that_cannot_be_written_costs_no_checkpoint(field: Field) -> None:
    field.sql("CREATE TABLE one AS SELECT 1 AS n")
    kit = field.place.destination / "RECOVERY"
    shutil.rmtree(kit)
    kit.write_text("in the way")
    field.connect_through()
    with working(field):
        attempt = field.checkpoint()
        assert attempt.drill is not None, attempt.job.error
        assert attempt.drill.verdict is Verdict.PROVEN
        (view,) = field.engine.recovery.show().kits
        assert view.state is KitState.FAILING
        assert view.error
    kit.unlink()
    (view,) = field.engine.recovery.kit()
    assert view.state is KitState.CURRENT
    proof = field.engine.recovery.verify(field.place.made.code.text)
    assert proof.verified, proof.steps
    assert len(proof.steps) == 3


def test_a_worker_mends_it_by_itself(field: Field) -> None:
    field.sql("CREATE TABLE one AS SELECT 1 AS n")
    field.connect_through()
    assert field.engine.recovery.show().kits[0].state is KitState.STALE
    with working(field):
        wait_until(lambda: field.engine.recovery.show().kits[0].state is KitState.CURRENT, "the kit to be written")
