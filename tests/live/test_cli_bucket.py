"""``destination`` with a real bucket, as an operator meets it: keys from the environment, errors with their cure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine import catalog as catalogs
from engine.errors import KeyAccessError
from engine.service.buckets import open_keys
from tests.fixtures.ceph import Ceph
from tests.fixtures.installation import installation
from tests.fixtures.program import Program, program_of, unchanged

pytestmark = pytest.mark.slow
VARIABLES = ("OFFSITEDB_S3_ACCESS_KEY_ID", "OFFSITEDB_S3_SECRET_ACCESS_KEY")


@pytest.fixture(scope="module")
def program(ceph: Ceph) -> Iterator[Program]:
    """One installation, with the owner's keys in the environment."""
    with pytest.MonkeyPatch.context() as patch, installation(patch) as place:
        made = program_of(place)
        keys = dict(zip(VARIABLES, (ceph.key.access_key_id, ceph.key.secret_access_key), strict=True))
        yield Program(made.place, {**made.environment, **keys})


@pytest.fixture(scope="module")
def ca_file(ceph: Ceph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_text(ceph.ca_pem)
    return path


def test_a_bucket_is_added_tried_given_new_keys_and_forgotten(program: Program, ceph: Ceph, ca_file: Path) -> None:
    bucket = ceph.bucket()
    place = ("--bucket", bucket, "--endpoint", ceph.https, "--prefix", "deep/down")  # the provider is told from it
    added = program.run("destination", "add", "off", *place, "--ca-file", str(ca_file), "--json")
    document = added.document()
    assert all(step["ok"] for step in document["steps"])
    assert document["destination"]["where"] == f"s3://{bucket}/deep/down"
    assert ceph.content(bucket) == set()
    ca_file_gone = ca_file.rename(ca_file.with_suffix(".gone"))
    tested = program.run("destination", "test", "off", "--json")
    assert [step["name"] for step in tested.document()] == [step["name"] for step in document["steps"]]
    ca_file_gone.rename(ca_file)
    edited = program.run("destination", "edit", "off", "--json").document()
    assert edited["destination"]["id"] == document["destination"]["id"]
    policy = program.run("destination", "policy", "off")
    assert json.loads(policy.out)["Statement"]
    assert json.loads(program.run("destination", "policy", "off", "--prune").out)["Statement"]
    for said in (added, tested, policy):
        assert ceph.key.secret_access_key not in said.out + said.err
    with program.place.engine() as engine:
        with engine.catalog.read() as tx:
            record = catalogs.destinations.by_name(tx, "off")
        assert open_keys(engine, record).secrets() == ceph.key.secrets()
        assert record.keys is not None
        swapped = replace(record.keys, access_key=record.keys.secret_key, secret_key=record.keys.access_key)
        for wrong in (replace(record, keys=swapped), replace(record, id="0" * 32)):
            with pytest.raises(KeyAccessError) as caught:
                open_keys(engine, wrong)
            assert caught.value.code == "key.row-altered"
    assert program.run("destination", "remove", "off").status == 0


def test_what_can_be_wrong_is_told_apart_and_nothing_is_saved(program: Program, ceph: Ceph) -> None:
    bucket = ceph.bucket()
    stranger = ceph.user("stranger")
    secure = f"--provider ceph --bucket {bucket} --endpoint {ceph.https}"
    plain = f"--provider ceph --bucket {bucket} --endpoint {ceph.http}"
    at_tls = f"https://127.0.0.1:{ceph.http_port}"
    for arguments, keys, code, cure in (
        (secure, {}, "store.tls", "--ca-file"),
        (plain.replace(str(ceph.http_port), str(ceph.https_port)), {}, "store.io", "https://"),
        (plain.replace(ceph.http, at_tls), {}, "store.tls", "port"),
        (plain.replace(bucket, "no-such-bucket"), {}, "store.no-bucket", "bucket"),
        (plain.replace(str(ceph.http_port), "9"), {}, "store.unreachable", "endpoint"),
        (plain, {VARIABLES[0]: "NOBODY"}, "store.credentials", VARIABLES[0]),
        (plain, {VARIABLES[1]: "wrong-secret"}, "store.credentials", VARIABLES[1]),
        (plain, {VARIABLES[0]: "has space"}, "config.invalid", VARIABLES[0]),
        (plain, dict(zip(VARIABLES, reversed(stranger.secrets()), strict=True)), "store.denied", "s3:PutObject"),
    ):
        other = Program(program.place, {**program.environment, **keys})
        with unchanged(program.place):
            said = other.run("destination", "add", "x", *arguments.split(), "--json")
        error = said.error(said.status)
        assert error["code"] == code, (arguments, error)
        assert cure in error["hint"], error
        assert not any(value in said.out + said.err for value in keys.values() if value not in ("NOBODY", "has space"))
    without = {name: value for name, value in program.environment.items() if name not in VARIABLES}
    asked = Program(program.place, without).run("destination", "add", "x", *plain.split(), "--json")
    assert VARIABLES[0] in asked.error(2)["hint"]
    assert ceph.content(bucket) == set()
