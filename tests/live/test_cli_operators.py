"""Operators on the command line: from nobody to several, what each may do, and the file that holds the token."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from engine.access import passwords
from engine.errors import ConfigError
from offsitedb_tui import token_file
from tests.fixtures.people import CHEAP, password_of
from tests.fixtures.program import Program


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setattr(passwords.Cost.__init__, "__defaults__", (CHEAP.ln, CHEAP.r, CHEAP.p))
    return folder


def test_from_nobody_to_several(program: Program) -> None:
    call, home = program.call, program.place.home
    assert call("operator", "list", "--json").document() == []
    assert call("login", "alice", "--json", stdin="x").error(2)["code"] == "config.invalid"
    assert call("operator", "add", "bob", "--json", stdin=password_of("bob")).error(2)["code"] == "config.invalid"
    first = call("operator", "add", "alice", "--role", "admin", "--json", stdin=password_of("alice") + "\n")
    assert first.document()["role"] == "admin"
    for verb in (("ledger",), ("operator", "list"), ("connection", "list"), ("doctor",), ("jobs",)):
        assert call(*verb, "--json").error(80)["code"] == "access.login-required", verb
    assert call("login", "alice", "--json", stdin="wrong").error(80)["code"] == "access.login"
    assert call("login", "alice", "--json", stdin=password_of("alice")).document() == {
        "operator": "alice",
        "role": "admin",
    }
    token = token_file.read(home)
    assert token is not None
    path = token_file.place(home)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert call("operator", "add", "vera", "--role", "viewer", "--json", stdin="too short").error(2)["code"] == (
        "config.password"
    )
    assert call("operator", "add", "vera", "--role", "viewer", "--json", stdin=password_of("vera")).document()
    assert call("ledger", "--json").document() == []
    said = call("operator", "list")
    assert re.search(r"^alice +admin +enabled", said.out, re.MULTILINE), said.out
    call("login", "vera", "--json", stdin=password_of("vera")).document()
    assert token_file.read(home) != token
    assert call("checkpoint", "x", "--json").error(80)["code"] == "access.role"
    assert call("destination", "remove", "here").status == 80
    assert call("operator", "disable", "alice", "--json").error(80)["code"] == "access.role"
    assert call("operator", "password", "--json", stdin=password_of("new")).document()["name"] == "vera"
    assert call("ledger", "--json").error(80)["code"] == "access.login-required"
    call("login", "alice", "--json", stdin=password_of("alice")).document()
    assert call("operator", "role", "vera", "operator", "--json").document()["role"] == "operator"
    assert call("operator", "disable", "vera", "--json").document()["disabled_at"]
    assert call("login", "vera", "--json", stdin=password_of("new")).error(80)["code"] == "access.disabled"
    assert call("operator", "enable", "vera", "--json").document()["disabled_at"] is None
    assert call("operator", "reset", "vera", "--json", stdin=password_of("vera")).document()["name"] == "vera"
    assert call("operator", "disable", "alice", "--json").error(80)["code"] == "access.last-admin"
    assert call("logout", "--json").document() == {"logged_out": True}
    assert call("logout", "--json").document() == {"logged_out": False}
    code = program.place.made.code.text
    lines = f"{code}\n{password_of('again')}\n"
    assert call("operator", "recover", "vera", "--json", stdin=lines).document()["role"] == "admin"
    call("operator", "login", "vera", "--json", stdin=password_of("again")).document()
    told = call("operator", "list")
    assert code not in told.out


def test_a_file_that_others_could_have_written_is_not_believed(tmp_path: Path, runtime: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    path = token_file.write(home, "t" * 43)
    assert path.parent == runtime / "offsitedb"
    assert token_file.read(home) == "t" * 43
    path.chmod(0o640)
    assert token_file.read(home) is None
    token_file.write(home, "u" * 43)
    assert token_file.read(home) == "u" * 43
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("v" * 43)
    elsewhere.chmod(0o600)
    path.unlink()
    path.symlink_to(elsewhere)
    assert token_file.read(home) is None
    token_file.write(home, "w" * 43)
    assert elsewhere.read_text() == "v" * 43, "a link is replaced and not followed"
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name]
    token_file.remove(home)
    token_file.remove(home)
    path.parent.chmod(0o777)
    with pytest.raises(ConfigError):
        token_file.write(home, "x" * 43)


def test_without_a_runtime_directory_it_lies_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("relative", str(tmp_path / "absent")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", wrong)
        expected = Path(f"/run/user/{os.geteuid()}")
        place = token_file.place(tmp_path)
        assert place.parent == (expected / "offsitedb" if expected.is_dir() else tmp_path / "session")
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(open_to_all))
    assert open_to_all not in token_file.place(tmp_path).parents
