"""Receipts and manifests: what was written is read, anything else is refused."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import FormatError
from engine.evidence import canonical
from engine.evidence.manifests import Manifest, read_manifest, write_manifest
from engine.evidence.receipts import Receipt, read_receipt, signed_bytes, write_receipt
from engine.evidence.signer import Signer, allowed_signers
from engine.model import (
    CheckResult,
    Counts,
    Failure,
    FingerprintResult,
    Isolation,
    Normalised,
    NotCaptured,
    Skip,
    StructureCount,
    StructureDifference,
    StructureResult,
    TableResult,
    Timings,
    Verdict,
)
from tests.fixtures.records import NOW, tls, versions

SIGNER = Signer(bytes(range(32)))
OTHER = Signer(bytes(32))
TAMPERINGS = 100

RECEIPT = Receipt(
    drill_id="d" * 32,
    snapshot_id="a" * 32,
    connection_id="c" * 32,
    connection_name="shop — na\u00efve \U0001f9ca",
    provider="Neon",
    destination_name="offsite",
    object_key="v1/c/1-a.odb",
    artifact_sha256="ab" * 32,
    size_bytes=48 * 2**40,
    taken_at=NOW,
    drilled_at=NOW,
    verdict=Verdict.PROVEN_WITH_SKIPS,
    counts=Counts.EXACT,
    versions=versions(),
    tls=tls(),
    role="reader",
    superuser=False,
    timings=Timings(fetch_s=0.1, restore_s=12.345, total_s=13.0),
    scratch_settings={"fsync": "off", "max_wal_size": "4GB"},
    isolation=Isolation("offsitedb-drill", "none", "bubblewrap"),
    tables=(TableResult("public", "orders", 3, 3), TableResult("public", "x\ny", None, 0)),
    tables_captured=2,
    tables_total=3,
    normalised=(Normalised("extension", "pgcrypto", "made beforehand"),),
    skips=(Skip("event trigger", "audit", "needs a superuser"),),
    failures=(Failure("drill.mismatch", "public.x: 0 of 1 rows", "Look."),),
    not_captured=(NotCaptured("table", "secret.t", "no right", None),),
    toc_entries=42,
    previous_receipt_sha256=None,
    structure=StructureResult(
        (StructureCount("index", 3, 2),), (StructureDifference("index", "public.i", "valid", ""),)
    ),
    fingerprints=(FingerprintResult("public", "orders", "12", "12"),),
    checks=(CheckResult("newest", "SELECT 1", "1", "1", passed=True),),
)

MANIFEST = Manifest(
    v=1,
    artifact_id="a" * 32,
    catalog_id="b" * 32,
    connection_id="c" * 32,
    seq=7,
    created_at="2026-11-23T14:00:11.482913Z",
    object_key="pr\u00e9fix/v1/c/7-a.odb",
    artifact_sha256="ab" * 32,
    size_bytes=123_456,
    previous_manifest_sha256="cd" * 32,
    sealed="b2Rm" * 50,
)


def test_a_receipt_is_read_as_it_was_written() -> None:
    text, sha256 = write_receipt(RECEIPT, SIGNER)
    assert read_receipt(text, SIGNER.public_hex) == RECEIPT
    assert hashlib.sha256(text.encode()).hexdigest() == sha256
    assert write_receipt(RECEIPT, SIGNER) == (text, sha256)
    assert set(json.loads(text)) == {"receipt", "signature"}


def test_a_receipt_of_the_first_version_is_still_read() -> None:
    old = replace(RECEIPT, v=1, structure=None, fingerprints=(), checks=())
    text, _ = write_receipt(old, SIGNER)
    assert not {"structure", "fingerprints", "checks"} & json.loads(text)["receipt"].keys()
    assert read_receipt(text, SIGNER.public_hex) == old
    for version in (0, 3):
        with pytest.raises(FormatError):
            read_receipt(write_receipt(replace(RECEIPT, v=version), SIGNER)[0], SIGNER.public_hex)


def test_durations_are_written_in_milliseconds() -> None:
    fine = replace(RECEIPT, timings=Timings(fetch_s=0.12349, total_s=2))
    text, _ = write_receipt(fine, SIGNER)
    assert read_receipt(text, SIGNER.public_hex).timings == Timings(fetch_s=0.123, total_s=2.0)


_seconds = st.floats(0, 1e9).map(lambda s: round(s, 3))


@given(
    st.builds(
        replace,
        st.just(RECEIPT),
        connection_name=st.text(st.characters(exclude_categories=["Cs"])),
        provider=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        size_bytes=st.integers(0, 2**53 - 1),
        taken_at=st.integers(0, 10**15).map(lambda us: NOW + timedelta(microseconds=us)),
        verdict=st.sampled_from(Verdict),
        timings=st.builds(Timings, fetch_s=_seconds, total_s=_seconds),
        tables=st.lists(
            st.builds(TableResult, st.just("s"), st.just("t"), st.none() | st.integers(0, 2**40), st.none())
        ).map(tuple),
        previous_receipt_sha256=st.none() | st.just("ab" * 32),
    )
)
def test_any_receipt_is_read_as_it_was_written(receipt: Receipt) -> None:
    text, _ = write_receipt(receipt, SIGNER)
    assert read_receipt(text, SIGNER.public_hex) == receipt


def test_a_receipt_that_cannot_be_written_is_refused() -> None:
    for bad in (replace(RECEIPT, size_bytes=2**53), replace(RECEIPT, timings=Timings(total_s=float("nan")))):
        with pytest.raises(FormatError) as caught:
            write_receipt(bad, SIGNER)
        assert caught.value.code == "format.receipt"


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen on this machine")
def test_an_auditor_needs_ssh_keygen_only(tmp_path: Path) -> None:
    text, _ = write_receipt(RECEIPT, SIGNER)
    document = json.loads(text)
    (tmp_path / "allowed_signers").write_text(allowed_signers(SIGNER.public_hex))
    (tmp_path / "receipt.sig").write_text(document["signature"])
    inner = json.dumps(document["receipt"], ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    assert inner == signed_bytes(RECEIPT)
    argv = ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", "offsitedb"]
    argv += ["-n", "offsitedb-receipt", "-s", "receipt.sig"]
    assert subprocess.run(argv, input=inner, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_a_manifest_is_read_as_it_was_written() -> None:
    data, sha256 = write_manifest(MANIFEST, SIGNER)
    expected = replace(MANIFEST, signer=SIGNER.public_hex)
    assert read_manifest(data, SIGNER.public_hex) == expected
    assert read_manifest(data, None) == expected
    assert hashlib.sha256(data).hexdigest() == sha256


def test_another_signer_is_refused() -> None:
    data, _ = write_manifest(MANIFEST, OTHER)
    read_manifest(data, None)
    for call in (
        lambda: read_manifest(data, SIGNER.public_hex),
        lambda: read_manifest(data, ""),
        lambda: read_receipt(write_receipt(RECEIPT, OTHER)[0], SIGNER.public_hex),
    ):
        with pytest.raises(FormatError):
            call()


@pytest.mark.parametrize(
    "bad",
    [
        {"v": 2},
        {"artifact_id": "A" * 32},
        {"artifact_id": "a" * 32 + "\n"},
        {"catalog_id": "b" * 31},
        {"connection_id": "../../etc"},
        {"seq": 0},
        {"size_bytes": -1},
        {"created_at": "2026-11-23T14:00:11"},
        {"created_at": "yesterday"},
        {"artifact_sha256": ""},
        {"previous_manifest_sha256": "x"},
    ],
)
def test_a_manifest_out_of_form_is_neither_written_nor_read(bad: dict[str, Any]) -> None:
    with pytest.raises(FormatError) as caught:
        write_manifest(replace(MANIFEST, **bad), SIGNER)
    assert caught.value.code == "format.manifest"
    forged = canonical.encode(replace(MANIFEST, signer=SIGNER.public_hex, **bad))
    signature = SIGNER.sign("offsitedb-manifest", forged)
    data = canonical.encode({"manifest": json.loads(forged), "signature": signature})
    with pytest.raises(FormatError):
        read_manifest(data, SIGNER.public_hex)


@pytest.mark.parametrize(
    "junk", [b"", b"{}", b"null", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"manifest":{},"signature":""}']
)
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(FormatError):
        read_manifest(junk, None)
    with pytest.raises(FormatError):
        read_receipt(junk.decode("latin-1"), SIGNER.public_hex)


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to every value of a document."""
    if path:
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from _places(value, (*path, key))


def _tamper(document: Any, choose: random.Random) -> Any:
    """The document with one value changed, removed, added or doubled."""
    changed = json.loads(json.dumps(document))
    path = choose.choice(list(_places(changed)))
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    old, key = parent[path[-1]], path[-1]
    way = choose.choice(("change", "remove", "add"))
    if way == "remove":
        del parent[key]
    elif way == "add" and isinstance(parent, dict):
        parent["extra"] = old
    else:
        match old:
            case bool():
                parent[key] = not old
            case int():
                parent[key] = old + choose.choice((1, -1, 1000))
            case str() if old:
                at = choose.randrange(len(old))
                parent[key] = old[:at] + chr((ord(old[at]) + 1) % 128) + old[at + 1 :]
            case None:
                parent[key] = choose.choice(("", 0, "ab" * 32))
            case _:
                parent[key] = None
    return changed


def test_a_hundred_edits_of_a_receipt_are_refused() -> None:
    document = json.loads(write_receipt(RECEIPT, SIGNER)[0])
    for seed in range(TAMPERINGS):
        edited = _tamper(document, random.Random(seed))
        assert edited != document
        with pytest.raises(FormatError) as caught:
            read_receipt(canonical.encode(edited).decode(), SIGNER.public_hex)
        assert caught.value.code == "format.receipt"


def test_a_hundred_edits_of_a_manifest_are_refused() -> None:
    document = json.loads(write_manifest(MANIFEST, SIGNER)[0])
    for seed in range(TAMPERINGS):
        edited = canonical.encode(_tamper(document, random.Random(seed)))
        for public in (SIGNER.public_hex, None):
            with pytest.raises(FormatError) as caught:
                read_manifest(edited, public)
            assert caught.value.code == "format.manifest"


def test_every_changed_byte_is_refused() -> None:
    """Also those that leave the meaning of the JSON as it was: case of an escape, a blank, another digit."""
    data, _ = write_manifest(MANIFEST, SIGNER)
    for at in range(len(data)):
        for bit in (0x01, 0x20):
            bad = bytearray(data)
            bad[at] ^= bit
            with pytest.raises(FormatError):
                read_manifest(bytes(bad), SIGNER.public_hex)
    for cut in range(len(data)):
        with pytest.raises(FormatError):
            read_manifest(data[:cut], SIGNER.public_hex)


def test_a_receipt_never_passes_for_a_manifest() -> None:
    data, _ = write_manifest(MANIFEST, SIGNER)
    with pytest.raises(FormatError):
        read_receipt(data.decode(), SIGNER.public_hex)
