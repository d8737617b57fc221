"""``offsitedb report``: its documents, what it says to people, and its exit statuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from offsitedb_tui.verbs import report as verbs
from tests.fixtures.installation import Place
from tests.fixtures.program import Program
from tests.fixtures.reported import Month, new_month, utc


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    with new_month(tmp_path_factory.mktemp("cli") / "home") as made:
        c = made.connection("shop", utc(1, month=10))
        made.drilled(c, utc(2))
        made.at(utc(1, 0, 10, month=12))
        yield made


@pytest.fixture
def program(month: Month, place: Place, monkeypatch: pytest.MonkeyPatch) -> Program:
    def opened() -> object:
        engine = month.history.open()
        engine.settings = month.engine.settings
        return engine

    monkeypatch.setattr(verbs, "open_engine", opened)
    return Program(place, {})


def test_build_list_show_export_verify(program: Program, tmp_path: Path) -> None:
    assert program.call("report", "show", "--json").error(2)["code"] == "config.not-found"
    assert "report build --month" in program.call("report", "list").out
    built = program.call("report", "build", "--month", "2026-11", "--json").document()
    assert (built["month"], built["scope"]["everything"], built["drills"]) == ("2026-11", True, 1)
    assert program.call("report", "list", "--json").document() == [built]
    listed = program.call("report", "list").out.splitlines()
    assert listed[1].split()[:8] == ["2026-11", "1", "all", "1", "1", "1", "0", "0"]
    text = program.call("report", "show")
    assert text.out.startswith("RESTORE DRILL REPORT")
    assert program.call("report", "show", "2026-11", "--json").document()["revision"] == 1
    place = tmp_path / "report.tar"
    done = program.call("report", "export", "2026-11", str(place), "--json").document()
    assert (done["path"], done["size_bytes"]) == (str(place), place.stat().st_size)
    again = program.call("report", "export", "2026-11", str(place), "--json").error(2)
    assert again["code"] == "config.file-exists"
    good = program.call("report", "verify", str(place))
    assert (good.status, good.out.count("✓"), good.out.count("✗")) == (0, 6, 0)
    found = program.call("report", "verify", str(place), "--json").document()
    assert found["ok"]
    other = program.call("report", "verify", str(place), "--signed-by", "SHA256:other", "--json").document(40)
    assert not other["ok"]
    place.write_bytes(place.read_bytes().replace(b"shop", b"SHOP"))
    bad = program.call("report", "verify", str(place))
    assert bad.status == 40
    assert "✗ files: not what was signed" in bad.out
    assert "format.bundle" in bad.err


def test_what_cannot_be_is_said(program: Program, tmp_path: Path) -> None:
    assert program.call("report", "build", "--month", "November", "--json").error(2)["code"] == "config.month"
    assert program.call("report", "build", "--month", "2027-01", "--json").error(2)["code"] == "config.month"
    unknown = program.call("report", "build", "--month", "2026-11", "--connection", "rival", "--json").error(2)
    assert unknown["code"] == "config.not-found"
    assert program.call("report", "verify", str(tmp_path / "none"), "--json").error(40)["code"] == "format.bundle"
