"""What ``snapshot download`` says while it reads."""

from __future__ import annotations

import pytest

from offsitedb_tui import counting


def test_a_line_says_how_far_it_is() -> None:
    assert counting.describe(61_000_000, 100_000_000, 2.0) == "61 %  61.0 MB of 100.0 MB  30.5 MB/s  ETA 1.3 s"
    assert counting.describe(100, 100, 1.0) == "100 B of 100 B  100 B/s"
    assert counting.describe(0, 100, 0.0) == "0 %  0 B of 100 B"


def test_it_goes_to_stderr_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with counting.Counting("downloading") as count:
        count(1, 10)
        monkeypatch.setattr(counting, "PLAIN_EVERY_S", 0.0)
        count(5, 10)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("● downloading  50 %  5 B of 10 B")
    assert said.err.count("\n") == 1
