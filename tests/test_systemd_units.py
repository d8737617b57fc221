"""The units in docs/systemd, read by systemd itself where this machine has it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parent.parent / "docs" / "systemd").glob("*.*"))
PROGRAM = "/opt/offsitedb/.venv/bin/offsitedb"


def test_there_are_units() -> None:
    assert {"offsitedb-worker.service", "offsitedb-api.service"} <= {unit.name for unit in UNITS}


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    here = Path(sys.executable).parent / "offsitedb"
    copies = []
    for unit in UNITS:
        text = unit.read_text()
        assert PROGRAM in text or unit.suffix != ".service"
        copies.append(tmp_path / unit.name)
        copies[-1].write_text(text.replace(PROGRAM, str(here)))  # it looks whether the program is there
    done = subprocess.run(["systemd-analyze", "verify", *map(str, copies)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_no_unit_gives_away_a_secret_or_forbids_the_drills_sandbox(unit: Path) -> None:
    text = unit.read_text()
    assert "postgresql://" not in text.replace("postgresql://…", "")
    if "worker" in unit.name:
        assert "RestrictNamespaces" not in text
