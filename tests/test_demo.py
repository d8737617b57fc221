"""What the demo says of what it leaves behind."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from offsitedb_tui.demo import story


@pytest.mark.parametrize("where", ["beside", "within", "gone"])
def test_the_command_that_is_printed_removes_everything(tmp_path: Path, where: str) -> None:
    home = tmp_path / "the demo"
    source = {"beside": tmp_path / "runtime" / "demo-source-1", "within": home / "runtime" / "demo-source-1"}.get(where)
    for place in (home, source or home):
        place.mkdir(parents=True, exist_ok=True)
        (place / "file").touch()
    argv = shlex.split(story.removal(home, source))
    assert argv[:2] == ["rm", "-r"]
    subprocess.run(argv, check=True)
    assert [path for path in (home, source) if path is not None and path.exists()] == []
