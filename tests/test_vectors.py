"""The known-answer vectors below tests/vectors, made by a second implementation, read by the engine."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import floe
from engine.errors import OffsiteError
from engine.keys import bech32m
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryCode
from engine.keys.seals import open_blob, open_field
from engine.keys.wrap import unwrap_dek, unwrap_dek_with_recovery
from engine.stream.container import open_decryptor, read_preamble
from tests.vectors.generate import FAMILIES

VECTORS = Path(__file__).parent / "vectors"
Vector = dict[str, Any]


def vectors(family: str) -> list[Any]:
    paths = sorted((VECTORS / family).glob("*.json"))
    return [pytest.param(json.loads(path.read_text()), id=path.stem) for path in paths]


def check(vector: Vector, opened: Callable[[], bytes]) -> None:
    """The plaintext is the expected one, or exactly the expected error is raised."""
    if "error" not in vector:
        plain = opened()
        assert (hashlib.sha256(plain).hexdigest(), len(plain)) == (vector["sha256"], vector["length"])
        return
    with pytest.raises(OffsiteError) as caught:
        opened()
    assert caught.value.code == vector["error"]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_files_are_what_the_generator_makes(family: str) -> None:
    on_disk = {path.stem: json.loads(path.read_text()) for path in (VECTORS / family).glob("*.json")}
    assert on_disk == dict(FAMILIES[family]())


@pytest.mark.parametrize("vector", vectors("floe"))
def test_floe(vector: Vector) -> None:
    key, aad, sealed = (bytes.fromhex(vector[name]) for name in ("key", "aad", "sealed"))
    check(vector, lambda: floe.open_sealed(key, aad, sealed, max_bytes=1000))


@pytest.mark.parametrize("step", [1, 7, 64, 65])
@pytest.mark.parametrize("vector", [v for v in vectors("floe") if len(v.values[0]["sealed"]) >= 2 * floe.HEADER_LEN])
def test_floe_in_pieces(vector: Vector, step: int) -> None:
    key, aad, sealed = (bytes.fromhex(vector[name]) for name in ("key", "aad", "sealed"))

    def opened() -> bytes:
        decryptor = floe.Decryptor(key, aad, sealed[: floe.HEADER_LEN])
        body = sealed[floe.HEADER_LEN :]
        plain = b"".join(decryptor.update(body[i : i + step]) for i in range(0, len(body), step))
        decryptor.finish()
        return plain

    check(vector, opened)


@pytest.mark.parametrize("vector", vectors("preamble"))
def test_preamble(vector: Vector) -> None:
    data = bytes.fromhex(vector["preamble"])
    if "error" in vector:
        with pytest.raises(OffsiteError) as caught:
            read_preamble(io.BytesIO(data))
        assert caught.value.code == vector["error"]
        return
    header, preamble = read_preamble(io.BytesIO(data + b"what follows"))
    assert preamble == data
    shown = {name: getattr(header, name) for name in vector["header"] if name != "recipients"}
    assert shown | {"recipients": [{"t": r.t, "kid": r.kid, "ct": r.ct} for r in header.recipients]} == vector["header"]


@pytest.mark.parametrize("by", ["master", "code"])
@pytest.mark.parametrize("vector", vectors("artifact"))
def test_artifact(vector: Vector, by: str) -> None:
    def opened() -> bytes:
        source = io.BytesIO(bytes.fromhex(vector["artifact"]))
        header, preamble = read_preamble(source)
        place = {"artifact_id": header.artifact_id, "connection_id": header.connection_id}
        if by == "master":
            dek = unwrap_dek(header.recipients, [MasterKey(1, bytes.fromhex(vector["master"]))], **place)
        else:
            dek = unwrap_dek_with_recovery(header.recipients, RecoveryCode(bytes.fromhex(vector["code"])), **place)
        decryptor = open_decryptor(dek, preamble, source)
        plain = decryptor.update(source.read())
        decryptor.finish()
        return plain

    check(vector, opened)


@pytest.mark.parametrize("vector", vectors("seals"))
def test_seals(vector: Vector) -> None:
    master, sealed = MasterKey(1, bytes.fromhex(vector["master"])), vector["sealed"]

    def opened() -> bytes:
        match vector["kind"]:
            case "field":
                return open_field(master, **vector["place"], value=sealed).encode()
            case "blob":
                return open_blob(master, vector["purpose"], tuple(vector["parts"]), bytes.fromhex(sealed))
            case _:
                master.verify_check(sealed, vector["catalog_id"])
                return b""

    check(vector, opened)


LONG = "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber"


# BIP-350, test vectors for Bech32m, those whose data are whole bytes
@pytest.mark.parametrize(
    ("hrp", "text", "data"),
    [
        ("a", "A1LQFN3A", ""),
        ("a", "a1lqfn3a", ""),
        (f"{LONG}1", f"{LONG}11sg7hg6", ""),
        ("abcdef", "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx", "ffbbcdeb38bdab49ca307b9ac5a928398a418820"),
        ("?", "?1v759aa", ""),
    ],
)
def test_bech32m(hrp: str, text: str, data: str) -> None:
    assert bech32m.decode(hrp, text) == bytes.fromhex(data)
    assert bech32m.encode(hrp, bytes.fromhex(data)) == text.lower()


@pytest.mark.parametrize(
    ("hrp", "text"),
    [
        ("a", "A12UEL5L"),  # Bech32, not Bech32m
        ("qyrz8wqd2c9m", "qyrz8wqd2c9m"),  # no separator
        ("y", "y1b0jsk6g"),  # a character outside of the set
        ("in", "in1muywd"),  # too short a checksum
        ("mm", "mm1crxm3i"),  # a character outside of the set in the checksum
        ("M", "M1VUXWEZ"),  # checksum over the upper-case prefix
        ("a", "a1Lqfn3a"),  # mixed case
        ("b", "a1lqfn3a"),  # another prefix
    ],
)
def test_bech32m_refuses(hrp: str, text: str) -> None:
    with pytest.raises(ValueError):
        bech32m.decode(hrp, text)


# the construction's own known answers, of two independent implementations; not part of this repository
FOREIGN = Path(__file__).parents[2] / "shared" / "vectors" / "floe"


@pytest.mark.skipif(not FOREIGN.is_dir(), reason="the public FLOE vectors are not beside the repository")
@pytest.mark.parametrize("path", sorted(FOREIGN.glob("*_ct.txt")), ids=lambda path: path.stem)
def test_public_floe_vectors(path: Path) -> None:
    sealed = bytes.fromhex(path.read_text().strip())
    plain = bytes.fromhex(path.with_name(path.name.replace("_ct", "_pt")).read_text().strip())
    bits = {"rotation_bits": 2} if "rotation" in path.name else {}
    for step in (1, 41, len(sealed)):
        decryptor = floe.Decryptor(bytes(32), b"This is AAD", sealed[: floe.HEADER_LEN], **bits)
        body = sealed[floe.HEADER_LEN :]
        assert b"".join(decryptor.update(body[i : i + step]) for i in range(0, len(body), step)) == plain
        decryptor.finish()
