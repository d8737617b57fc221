"""Finding PostgreSQL's programs and choosing among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import SourceError
from engine.paths import Paths
from engine.postgres.tools import FLOOR, Toolset, discover, environment, examine, has_extension, pick


def _toolset(
    version_num: int, *, libdir: Path | None = None, source: str = "system", icu: bool | None = True
) -> Toolset:
    major, minor = divmod(version_num, 10000)
    return Toolset(major, version_num, f"{major}.{minor}", Path("/nowhere/bin"), libdir, source, True, icu)


def test_this_machines_programs_are_found(toolset: Toolset, tmp_path: Path) -> None:
    found = discover(Paths(tmp_path, tmp_path), (toolset.bindir,))
    same = next(t for t in found if t.bindir == toolset.bindir)
    assert (same.version_num, same.has_server) == (toolset.version_num, True)
    assert found == discover(Paths(tmp_path, tmp_path), (toolset.bindir,))
    assert has_extension(toolset, "plpgsql") is True
    assert has_extension(toolset, "no_such_extension") is False


def test_programs_that_do_not_answer_are_left_out(tmp_path: Path) -> None:
    for text in ("#!/bin/sh\nexit 1\n", "#!/bin/sh\necho hello\n", "not a program"):
        bindir = tmp_path / str(len(text)) / "bin"
        bindir.mkdir(parents=True)
        for name in ("pg_dump", "pg_restore"):
            (bindir / name).write_text(text)
            (bindir / name).chmod(0o755)
        assert examine(bindir, "system") is None
    assert examine(tmp_path / "absent", "system") is None


def test_an_updated_program_is_asked_again(tmp_path: Path) -> None:
    program = tmp_path / "pg_dump"

    def write(version: str) -> None:
        program.unlink(missing_ok=True)
        program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version} (Debian)'\n")
        program.chmod(0o755)

    write("16.3")
    first = examine(tmp_path, "system")
    write("16.16")
    second = examine(tmp_path, "system")
    assert first is not None
    assert second is not None
    assert (first.version_num, second.version_num) == (160003, 160016)
    assert (first.meets_floor, second.meets_floor) == (False, True)
    assert second.has_server is False


@pytest.mark.parametrize(("major", "floor"), FLOOR.items())
def test_floor(major: int, floor: int) -> None:
    assert _toolset(floor).meets_floor
    assert not _toolset(floor - 1).meets_floor
    assert _toolset(floor).major == major


def test_pick_takes_the_newest_of_the_same_major() -> None:
    tools = [_toolset(n) for n in (140025, 150010, 150020, 180007)]
    assert pick(tools, 150002).version_num == 150020
    assert pick(tools, 180000).version_num == 180007


def test_pick_prefers_a_server_that_can_drill() -> None:
    newer = _toolset(150020, icu=False, source="installed")
    older = _toolset(150018)
    assert pick([newer, older], 150000) is newer
    assert pick([newer, older], 150000, needs_icu=True) is older


def test_f1_server_newer_than_everything_here() -> None:
    with pytest.raises(SourceError) as caught:
        pick([_toolset(170012)], 180001)
    assert caught.value.code == "pg.version"
    assert caught.value.message == "server 18, newest pg_dump here 17"
    assert "offsitedb postgres install 18" in caught.value.hint
    assert "postgresql-18" in caught.value.hint


@pytest.mark.parametrize("have", [[], [_toolset(170012)]])
def test_f30_an_older_server_takes_no_other_major(have: list[Toolset]) -> None:
    with pytest.raises(SourceError) as caught:
        pick(have, 150001)
    assert caught.value.code == "pg.tool-missing"
    assert "offsitedb postgres install 15" in caught.value.hint


def test_an_unsupported_major_is_named() -> None:
    with pytest.raises(SourceError) as caught:
        pick([_toolset(170012)], 130004)
    assert "14 to 18" in caught.value.hint


def test_only_installed_programs_need_a_library_path() -> None:
    assert environment(_toolset(150020)) == {}
    assert list(environment(_toolset(150020, libdir=Path("/x/lib"))).values()) == ["/x/lib"]
