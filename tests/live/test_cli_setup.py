"""The command line, before there is a database: init, destinations, keys, doctor, and what cannot be understood."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import KeyAccessError
from engine.keys.door import OsKeyring
from tests.fixtures.installation import installation, keyring_usable
from tests.fixtures.program import Program, Said, program_of, unchanged
from tests.fixtures.shapes import check


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    """One installation for all tests here: each leaves it as it was."""
    with pytest.MonkeyPatch.context() as patch, installation(patch) as place:
        yield program_of(place)


def test_init_twice(program: Program, tmp_path: Path) -> None:
    if not keyring_usable():
        pytest.skip("no keyring of this machine may hold a key")
    elsewhere = Program(
        program.place,
        {**program.environment, "OFFSITEDB_HOME": str(tmp_path / "new"), "OFFSITEDB_RUNTIME": str(tmp_path)},
    )
    made = elsewhere.run("init", "--json")
    document = made.document()
    check(document, {"catalog_id": str, "kid": str, "backend": str, "recovery_code": str})
    try:
        code = document["recovery_code"]
        assert code.startswith("odbr1-")
        assert code not in made.err
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
        again = elsewhere.run("init", "--json")
        assert again.error(2)["code"] == "config.already-initialised"
        assert elsewhere.run("key", "status", "--json").document()["state"] == "ok"
        for path in (tmp_path / "new").rglob("*"):
            assert not path.is_file() or code.encode() not in path.read_bytes(), f"the recovery code lies in {path}"
    finally:
        OsKeyring().delete(document["backend"], document["catalog_id"], 1)
    assert elsewhere.run("key", "status", "--json").document(12)["state"] == "key.missing"
    restored = elsewhere.run("key", "restore", "--json", stdin=code + "\n")
    try:
        assert restored.document()["state"] == "ok"
    finally:
        OsKeyring().delete(document["backend"], document["catalog_id"], 1)
    with pytest.raises(KeyAccessError):
        OsKeyring().load(document["backend"], document["catalog_id"], 1)


def test_every_reading_verb_before_init(program: Program, tmp_path: Path) -> None:
    empty = Program(program.place, {**program.environment, "OFFSITEDB_HOME": str(tmp_path / "none")})
    for verb in (
        "ledger", "destination list", "destination test x", "connection list", "connection show x", "connection test x",
        "connection preflight x", "checkpoint x", "drill x", "snapshot show x", "snapshot verify x", "jobs",
        "jobs list",
        "jobs show x", "jobs cancel x", "key status", "key restore",
    ):  # fmt: skip
        error = empty.call(*verb.split(), "--json").error(2)
        assert error["code"] == "config.not-initialised", verb
        assert "offsitedb init" in error["hint"]
    assert not (tmp_path / "none" / "catalog.sqlite3").exists()


def test_destination_verbs(program: Program, tmp_path: Path) -> None:
    added = program.run("destination", "add", "disk", "--folder", str(tmp_path / "disk"), "--json").document()
    check(added, {"destination": {"name": str, "where": str}, "steps": [{"name": str, "ok": bool, "detail": str}]})
    assert added["steps"]
    assert all(step["ok"] for step in added["steps"])
    assert [d["name"] for d in program.call("destination", "list", "--json").document()] == ["disk", "here"]
    again = program.call("destination", "test", "disk", "--json").document()
    assert [step["name"] for step in again] == [step["name"] for step in added["steps"]]
    taken = program.call("destination", "add", "disk", "--folder", str(tmp_path / "other"), "--json").error(2)
    assert taken["code"] == "config.name-taken"
    assert not (tmp_path / "other").exists()
    assert program.call("destination", "remove", "disk").status == 0
    assert program.call("destination", "test", "disk", "--json").error(2)["code"] == "config.not-found"
    assert (tmp_path / "disk" / "OFFSITEDB-DESTINATION").exists(), "what lies at a destination is not touched"
    listed = program.call("destination", "list").out.splitlines()
    assert listed[0].split() == ["NAME", "KIND", "WHERE", "CONNECTIONS"]
    assert listed[1].split() == ["here", "folder", str(program.place.destination), "0"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("--bucket b --provider nosuch", "config.invalid"),
        ("--bucket b --endpoint ftp://x", "config.invalid"),
        ("--bucket b", "config.invalid"),
        ("--bucket backups", "config.invalid"),
        ("--bucket backups --provider ceph", "config.invalid"),
        ("--bucket backups --provider b2", "config.invalid"),
        ("--bucket backups --endpoint http://s3.example.com", "config.invalid"),
        ("--bucket backups --endpoint https://u:p@s3.example.com", "config.invalid"),
        ("--bucket backups --endpoint https://s3.example.com/path", "config.invalid"),
        ("--bucket backups --prefix ../x", "config.invalid"),
        ("--bucket backups --ca-file /dev/null", "config.invalid"),
        ("--bucket backups --ca-file /nonexistent", "config.invalid"),
        ("--folder /srv/x --allow-http", "config.invalid"),
        ("", "config.invalid"),
        ("--bucket b --folder /srv/x", "config.invalid"),
        ("--folder /srv/x --region eu", "config.invalid"),
        ("--folder", "config.usage"),
    ],
)
def test_destination_arguments(program: Program, arguments: str, code: str) -> None:
    with unchanged(program.place):
        assert program.call("destination", "add", "--json", "d", *arguments.split()).error(2)["code"] == code


def test_doctor(program: Program) -> None:
    found = program.run("doctor", "--json").document()
    check(
        found,
        {
            "version": str,
            "initialised": bool,
            "keyrings": [{"name": str, "usable": bool, "state": str, "detail": str}],
            "key": {"backend": str, "state": str},
            "postgres": [{"major": int, "version": str, "floor": str, "meets_floor": bool, "server": bool}],
            "workers": [dict],
            "isolation": {"user": str, "network": str, "sandbox": str},
            "problems": [str],
        },
    )
    assert found["initialised"]
    assert any("no worker is running" in problem for problem in found["problems"])
    people = program.call("doctor")
    assert people.status == 0
    for word in ("Keyrings:", "PostgreSQL:", "Workers:", "Isolation of drills:"):
        assert word in people.out


def test_key_verbs(program: Program) -> None:
    status = program.call("key", "status", "--json").document()
    check(status, {"backend": str, "state": str, "kid": str, "epoch": int, "recovery_kid": str})
    assert (status["state"], status["kid"]) == ("ok", program.place.made.kid)
    wrong = program.call("key", "restore", "--json", stdin="odbr1-aaaa-bbbb\n").error(12)
    assert wrong["code"] == "key.recovery-code"
    text = program.call("key", "install-systemd").out
    assert "systemd-creds encrypt" in text
    assert f"offsitedb-{program.place.made.catalog_id}-master-1" in text


def test_rotating_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with installation(monkeypatch) as place:
        program = Program(place, place.environment)
        if place.held is not None:
            pytest.skip("the key has to outlive its process")
        document = program.call("key", "rotate", "--json").document()
        kinds = {"from_kid": str, "to_kid": str, "epoch": int, "backend": str, "fields": int, "older_snapshots": int}
        check(document, {**kinds, "next": list})
        assert (document["from_kid"], document["epoch"], document["fields"]) == (place.made.kid, 2, 1)
        said = program.call("key", "rotate")
        assert "✓ rotated: master key " in said.out
        assert "1 sealed value in the catalog sealed anew; the recovery code is the same" in said.out
        status = program.call("key", "status", "--json").document()
        assert [(e["epoch"], e["state"]) for e in status["epochs"]] == [(3, "current"), (2, "older"), (1, "older")]
        assert "kept until" in program.call("key", "status").out
        setup = program.call("key", "install-systemd", "--json").document()
        check(setup, {"text": str, "unit": str, "epochs": list})
        assert setup["epochs"] == [1, 2, 3]
        assert setup["text"] + "\n" == program.call("key", "install-systemd").out
        for epoch in setup["epochs"]:
            printed = program.call("key", "install-systemd", "--print-key", "--epoch", str(epoch)).out.strip()
            assert printed == place.engine().key_store(place.made.backend).load(place.made.catalog_id, epoch).text
        assert program.call("key", "install-systemd", "--print-key", "--epoch", "4").status == 12
        assert program.call("key", "install-systemd", "--print-key", "--json").status == 2


def test_grants_are_ready_to_paste(program: Program) -> None:
    plain = program.run("connection", "grants")
    assert plain.status == 0
    assert 'CREATE ROLE "offsitedb_reader" LOGIN' in plain.out
    assert "current_database()" in plain.out
    assert "pg_read_all_data" in plain.out
    named = program.call("connection", "grants", "--schema", "a", "--schema", 'b"c', "--role", "r", "--database", "d")
    assert 'GRANT CONNECT ON DATABASE "d" TO "r";' in named.out
    assert 'GRANT USAGE ON SCHEMA "b""c" TO "r";' in named.out
    assert "pg_read_all_data" not in named.out
    assert program.call("connection", "grants", "--role", "r" * 64).status == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("nosuch",),
        ("checkpoint",),
        ("checkpoint", "a", "b"),
        ("ledger", "--limit", "0"),
        ("ledger", "--limti", "5"),
        ("checkpoint", "a", "--timeout", "soon"),
        ("checkpoint", "a", "--timeout", "-1"),
        ("worker", "--workers", "0"),
        ("postgres", "install", "fifteen"),
    ],
)
def test_what_is_not_understood(program: Program, arguments: tuple[str, ...]) -> None:
    error = program.call(*arguments, "--json").error(2)
    assert error["code"] == "config.usage"
    assert "--help" in error["hint"]
    people = program.call(*arguments)
    assert (people.status, people.out) == (2, "")
    assert "[config.usage]" in people.err


@pytest.mark.parametrize("shown_as", ["argument", "--url", "--url-stdin="])
def test_a_connection_string_has_no_place_on_the_command_line(program: Program, shown_as: str) -> None:
    url = "postgresql://reader:s3cr3t-Pa55@db.example.com/app"
    given = {"argument": [url], "--url": ["--url", url], "--url-stdin=": [f"--url-stdin={url}"]}[shown_as]
    with unchanged(program.place):
        said: Said = program.call("connection", "add", "c", "--destination", "here", *given, "--json")
    assert said.error(2)["code"] == "config.usage"
    assert "s3cr3t-Pa55" not in said.out + said.err
    if shown_as == "argument":
        assert "change it now" in said.error(2)["hint"]
    without = program.call("connection", "add", "c", "--destination", "here", "--json")
    assert "--url-stdin" in without.error(2)["hint"]


def test_help_is_an_answer(program: Program) -> None:
    helped = program.run("--help")
    assert helped.status == 0
    verbs = ("init", "destination", "connection", "checkpoint", "ledger", "snapshot", "drill", "jobs", "worker")
    for verb in (*verbs, "doctor", "postgres", "key", "demo"):
        assert f"\n  {verb} " in helped.out, verb
    assert program.call("destination").status == 2
    assert "Commands:" in program.call("destination").err


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("this is not = [toml", "config.invalid"),
        ("[worker]\nthreads = 'many'\n", "config.invalid"),
        ("[worker]\nthreads = 0\n", "config.invalid"),
        ("[worker]\nthread = 2\n", "config.unknown-key"),
        ("[nosuch]\nx = 1\n", "config.unknown-key"),
        ("worker = 3\n", "config.invalid"),
        ("[keyring]\ntimeout_s = nan\n", "config.invalid"),
    ],
)
def test_garbage_in_config_toml(program: Program, text: str, code: str) -> None:
    path = program.place.home / "config.toml"
    path.write_text(text)
    try:
        error = program.call("ledger", "--json").error(2)
    finally:
        path.unlink()
    assert error["code"] == code, error
    assert "config.toml" in error["message"]


def test_config_toml_that_is_no_text(program: Program) -> None:
    path = program.place.home / "config.toml"
    path.write_bytes(b"\xff\xfe[worker]")
    assert program.call("ledger", "--json").error(2)["code"] == "config.invalid"
    path.unlink()
    path.mkdir()
    assert program.call("ledger", "--json").error(2)["code"] == "config.invalid"
    assert program.call("doctor", "--json").error(2)["code"] == "config.invalid"
    path.rmdir()


def test_names_that_cannot_be(program: Program, tmp_path: Path) -> None:
    names = ["", ".", "..", "../x", "a/b", "a b", "-x", "a" * 64, "ä", "a\n", "a\tb", "\x1b[31m", "@latest", "a@latest"]
    with unchanged(program.place):
        for name in names:
            said = program.call("destination", "add", "--folder", str(tmp_path / "d"), "--json", "--", name)
            assert said.error(2)["code"] == "config.invalid", name
            assert "\x1b" not in said.err
            added = program.call(
                "connection",
                "add",
                "--destination",
                "here",
                "--url-stdin",
                "--json",
                "--",
                name,
                stdin="postgresql://h/d",
            )
            assert added.error(2)["code"] == "config.invalid", name
    assert not (tmp_path / "d").exists()
