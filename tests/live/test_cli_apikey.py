"""``apikey`` on the command line: a key is printed once, and every verb has its document."""

from __future__ import annotations

from engine.access.apikeys import read_id
from tests.fixtures.program import Program
from tests.fixtures.shapes import check

KEY = {"id": str, "name": str, "state": str, "scopes": [str], "connections": [str], "created_by": str}


def test_from_create_to_revoke(program: Program) -> None:
    empty = program.call("apikey", "list")
    assert "offsitedb apikey create NAME" in empty.out
    people = program.call("apikey", "create", "people", "--scope", "checkpoint:read")
    assert people.status == 0, people.err
    text = people.out.strip()
    assert read_id(text) is not None, "stdout is the key alone, for a pipe"
    assert text not in people.err
    made = program.call("apikey", "create", "ci", "--json").document()
    check(made, {"key": KEY, "text": str})
    assert made["key"]["scopes"] == ["checkpoint:create", "checkpoint:read"]
    listed = program.call("apikey", "list", "--json")
    assert {k["name"] for k in listed.document()} == {"ci", "people"}
    table = program.call("apikey", "list")
    for said in (listed, table):
        assert made["text"] not in said.out
        assert "secret" not in said.out
    rotated = program.call("apikey", "rotate", "ci", "--overlap", "90min", "--json").document()
    assert rotated["key"]["replaces"] == made["key"]["id"]
    assert "ending" in program.call("apikey", "list").out
    ended = program.call("apikey", "revoke", "ci", "--json").document()
    assert {k["id"] for k in ended} == {made["key"]["id"], rotated["key"]["id"]}
    assert {k["state"] for k in ended} == {"revoked"}
    assert "good for nothing" in program.call("apikey", "revoke", "people").out


def test_what_cannot_be(program: Program) -> None:
    for code, *arguments in (
        ("config.invalid", "create", "a b"),
        ("config.invalid", "create", "x", "--scope", "everything"),
        ("config.not-found", "create", "x", "--connection", "nosuch"),
        ("config.not-found", "rotate", "nosuch"),
        ("config.invalid", "rotate", "nosuch", "--overlap", "25h"),
        ("config.invalid", "rotate", "nosuch", "--overlap", "soon"),
        ("config.not-found", "revoke", ""),
        ("config.not-found", "revoke", "\x1b[2J"),
    ):
        said = program.call("apikey", arguments[0], "--json", *arguments[1:])
        assert said.error(2)["code"] == code, arguments
        assert "\x1b" not in said.err
    remote = program.call("checkpoint", "shop", "--key-stdin", "--json")
    assert remote.error(2)["code"] == "config.usage", "those options need a remote server"
