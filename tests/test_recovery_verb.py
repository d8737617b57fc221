"""``recover`` as an operator meets it: what it asks, what it says, and what it refuses."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import KeyAccessError
from engine.keys.door import OsKeyring
from engine.keys.recovery import RecoveryCode
from engine.model.recovery import Recovered, RecoveredConnection
from screens import present_recovery as words
from tests.fixtures.installation import Place, keyring_usable
from tests.fixtures.lost import Lost, moved, new_lost, shop_and_billing
from tests.fixtures.program import Program


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Lost:
    made = new_lost(tmp_path_factory.mktemp("first"))
    shop_and_billing(made)
    return made


@pytest.fixture
def lost(first: Lost, tmp_path: Path) -> Lost:
    return moved(first, tmp_path)


@pytest.fixture
def program(lost: Lost, tmp_path: Path) -> Iterator[Program]:
    """The program on an empty machine, whose keyring is empty, too, and is so again afterwards."""
    home = tmp_path / "home"
    yield Program(Place(tmp_path, lost.made, None), {"OFFSITEDB_HOME": str(home), "OFFSITEDB_RUNTIME": str(home / "r")})
    if keyring_usable():
        keyring = OsKeyring()
        keyring.delete(keyring.choose(), lost.made.catalog_id, 1)


needs_keyring = pytest.mark.skipif(not keyring_usable(), reason="no keyring of this machine may hold a key")


@needs_keyring
def test_it_says_what_it_found_and_what_to_do_next(program: Program, lost: Lost) -> None:
    said = program.call("recover", "--destination", str(lost.folder), "--code-stdin", stdin=f" {lost.code.upper()}\n")
    assert said.status == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == f"recovered installation {lost.made.catalog_id} from {lost.folder}"
    assert [line.split()[:3] for line in lines if line.startswith(("billing", "shop"))] == [
        ["billing", "2", "0"],
        ["shop", "3", "0"],
    ]
    assert "5 snapshots are there, 0 are lost." in lines
    assert "! off: somebody wrote there on 20" in said.out
    for expected in (
        "UNPROVEN, all of them",
        "offsitedb drill --all --wait",
        "offsitedb restore --all",
        "offsitedb schedule set shop --on",
        "offsitedb retention set shop --keep-daily 7",
        "API keys",
    ):
        assert expected in said.err
    assert lost.code not in said.out + said.err
    assert program.call("key", "status", "--json").document()["state"] == "ok"
    ledger = program.call("ledger", "--json").document()
    assert [(one["snapshot"]["connection"], one["drill"]) for one in ledger][:2] == [("billing", None)] * 2
    assert len(ledger) == 5
    assert program.call("ledger").out.count("unproven") == 5
    shown = program.call("snapshot", "show", "shop@latest", "--json").document()
    assert shown
    schedule = program.call("schedule", "show", "shop", "--json").document()
    assert (schedule["enabled"], schedule["cron"]) == (False, "0 3 * * *")
    again = program.call("recover", "--destination", str(lost.folder), "--code-stdin", "--json", stdin=lost.code)
    assert again.error(2)["code"] == "config.already-initialised"


@needs_keyring
def test_the_commands_that_it_prints_set_everything_in_motion_again(program: Program, lost: Lost) -> None:
    said = program.call("recover", "--destination", str(lost.folder), "--code-stdin", "--json", stdin=lost.code)
    document = said.document()
    resume = [line for one in document["connections"] for line in one["resume"]]
    assert len(resume) == 2
    for command in resume:
        words = shlex.split(command)
        assert words[0] == "offsitedb"
        assert program.call(*words[1:]).status == 0
    assert program.call("schedule", "show", "shop", "--json").document()["enabled"] is True
    policy = program.call("retention", "show", "shop", "--json").document()["policy"]
    assert (policy["keep_daily"], policy["keep_weekly"], policy["keep_tags"]) == (7, 4, ["release-*"])


def test_what_cannot_be_is_refused_and_nothing_is_written(program: Program, lost: Lost, tmp_path: Path) -> None:
    folder, bucket = str(lost.folder), ("--destination", "s3://bucket/p", "--endpoint", "https://s3.example.com")
    other = RecoveryCode.generate().text
    for arguments, stdin, status, code in (
        (("--destination", folder), lost.code, 2, "config.invalid"),  # nobody to ask
        (("--destination", folder, "--code-stdin"), other, 12, "key.recovery-code"),
        (("--destination", folder, "--code-stdin"), lost.code[:-1], 12, "key.recovery-code"),
        (("--destination", folder, "--code-stdin", "--catalog", "ff"), lost.code, 2, "config.not-found"),
        (("--destination", f"{folder}/absent", "--code-stdin"), lost.code, 30, "store.unreachable"),
        (("--destination", str(tmp_path), "--code-stdin"), lost.code, 30, "store.missing"),
        (("--destination", folder, "--region", "x", "--code-stdin"), lost.code, 2, "config.invalid"),
        (("--destination", "https://s3.example.com/b", "--code-stdin"), lost.code, 2, "config.invalid"),
        ((*bucket, "--key-id", "A", "--code-stdin"), lost.code, 2, "config.invalid"),  # no secret
        (("--code-stdin",), lost.code, 2, "config.usage"),
    ):
        error = program.call("recover", *arguments, "--json", stdin=stdin).error(status)
        assert error["code"] == code, (arguments, error)
        assert lost.code not in str(error)
    assert not (tmp_path / "home").exists()


def test_several_installations_are_listed_before_the_code_is_asked_for(
    program: Program, lost: Lost, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    second = new_lost(tmp_path / "second", lost.folder)
    said = program.call("recover", "--destination", str(lost.folder))
    assert said.status == 2
    assert "config.ambiguous" in said.err
    assert lost.made.catalog_id in said.err
    assert second.made.catalog_id in said.err
    assert "--catalog" in said.err


def test_a_machine_without_a_keyring_is_told_so_before_anything_is_written(
    program: Program, lost: Lost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: OsKeyring) -> str:
        raise KeyAccessError("key.no-backend", "no keyring on this machine can hold the master key")

    monkeypatch.setattr(OsKeyring, "choose", none)
    said = program.call("recover", "--destination", str(lost.folder), "--code-stdin", "--json", stdin=lost.code)
    assert said.error(12)["code"] == "key.no-backend"
    assert not (tmp_path / "home").exists()
    monkeypatch.undo()


def test_one_is_one() -> None:
    one = RecoveredConnection("shop", True, 1, 1, None, None, None)
    found = Recovered("c" * 32, "k", "kernel", "off", "/x", ("off",), (one,), 1, 1, 0, ())
    assert words.totals(found) == "1 snapshot is there, 1 is lost."
    assert words.text(found).startswith("shop: 1 snapshot, newest")


@needs_keyring
def test_manifests_that_cannot_be_read_are_not_said_to_hold(program: Program, lost: Lost) -> None:
    recover = ("recover", "--destination", str(lost.folder), "--code-stdin", "--json")
    assert program.call(*recover, stdin=lost.code).status == 0
    assert program.call("verify", "--manifests").status == 0
    lost.folder.rename(lost.folder.with_name("away"))
    said = program.call("verify", "--manifests")
    assert said.status == 3, said.out
    assert "!         0 manifests" in said.out
    assert "5 could not be read" in said.out
    assert "the catalog holds" not in said.out
    assert program.call("verify").status == 0


@pytest.mark.parametrize(
    "place", ["s3://AKIDX:hunter22@bucket/x", "s3://bucket/x?secret=hunter22", "s3://b/x#hunter22"]
)
def test_a_secret_in_the_place_is_refused_and_not_repeated(program: Program, place: str) -> None:
    said = program.call("recover", "--destination", place, "--json")
    assert said.error(2)["code"] == "config.invalid"
    assert "OFFSITEDB_S3_SECRET_ACCESS_KEY" in said.error(2)["hint"]
    assert "hunter22" not in said.out + said.err
