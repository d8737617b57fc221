"""kill -9 at every step of a rotation of the master key, on a real keyring; and rotations while a worker works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.keys.kernel import check_usable
from engine.model import Verdict
from tests.fixtures.fire import Field, fill, throttled
from tests.fixtures.installation import running_worker
from tests.fixtures.postgres_server import create_database
from tests.fixtures.rotations import AFTER, IN_CATALOG, POINTS

ROOT = Path(__file__).parents[2]


def kernel_unusable() -> str:
    try:
        check_usable()
    except RuntimeError as e:
        return str(e)
    return ""


needs_kernel = pytest.mark.skipif(bool(kernel_unusable()), reason=kernel_unusable() or "usable")


def killed(root: Path, rounds: int, points: Sequence[str], **environment: str) -> None:
    """Every point, ``rounds`` times; the program asserts after each that everything still opens."""
    which = "all" if points is POINTS else "catalog"
    done = subprocess.run(
        [sys.executable, "-m", "tests.fixtures.rotations", str(root / "home"), str(rounds), which],
        cwd=ROOT,
        env={**os.environ, "OFFSITEDB_RUNTIME": str(root / "runtime"), **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["deaths"] == dict.fromkeys(points, rounds)
    assert found["epoch"] == 1 + rounds * len(AFTER)
    assert found["artifacts"] == 1 + rounds


@needs_kernel
@pytest.mark.slow
def test_ten_rotations_each_killed_at_every_step(tmp_path: Path) -> None:
    killed(tmp_path, 10, POINTS)


@needs_kernel
@pytest.mark.slow
def test_a_rotation_of_a_catalog_in_postgresql_killed_at_every_step(tmp_path: Path, postgres_server: str) -> None:
    killed(tmp_path, 1, IN_CATALOG, OFFSITEDB_DATABASE_URL=create_database(postgres_server))


@pytest.mark.slow
def test_a_rotation_in_the_middle_of_a_dump(field: Field) -> None:
    """The snapshot that is under way is wrapped under the old epoch, and proven all the same."""
    fill(field)
    with throttled(field, 1_000_000.0) as proxy, running_worker(field.place):
        job_id = field.ask()
        field.wait_phase(job_id, "dump")
        done = field.engine.keys.rotate()
        proxy.slow(None)
        early = field.wait_end(job_id)
        assert early.drill is not None, early.job.error
        assert early.drill.verdict is Verdict.PROVEN
        late = field.wait_end(field.ask())
        assert late.drill is not None, late.job.error
        assert late.drill.verdict is Verdict.PROVEN
        assert early.snapshot is not None
        assert late.snapshot is not None
        again = field.wait_end(field.engine.jobs.drill(early.snapshot.id).id)
        assert again.drill is not None, again.job.error
        assert again.drill.verdict is Verdict.PROVEN
    epochs = {e.kid: e.snapshots for e in field.engine.keys.status().epochs}
    assert epochs == {done.to_kid: 1, done.from_kid: 1}
    field.assert_clean()
