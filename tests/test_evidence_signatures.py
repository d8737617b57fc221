"""Canonical bytes and SSH signatures, checked against ssh-keygen itself."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import FormatError
from engine.evidence import canonical, sshsig
from engine.evidence.signer import Signer, allowed_signers, openssh_public, verify

SEED = bytes(range(32))
SIGNER = Signer(SEED)
MESSAGE = b"every byte of it\n"
NAMESPACES = (sshsig.RECEIPT, sshsig.MANIFEST, sshsig.HEAD)

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen on this machine")


def _ssh_verify(tmp_path: Path, namespace: str, message: bytes, armored: str) -> bool:
    (tmp_path / "allowed").write_text(allowed_signers(SIGNER.public_hex))
    (tmp_path / "sig").write_text(armored)
    argv = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "offsitedb", "-n", namespace, "-s", "sig"]
    return subprocess.run(argv, input=message, cwd=tmp_path, capture_output=True, check=False).returncode == 0


@needs_ssh_keygen
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_ssh_keygen_accepts_what_we_sign(tmp_path: Path, namespace: str) -> None:
    armored = SIGNER.sign(namespace, MESSAGE)
    assert _ssh_verify(tmp_path, namespace, MESSAGE, armored)
    assert not _ssh_verify(tmp_path, namespace, MESSAGE + b".", armored)
    assert not _ssh_verify(tmp_path, "file", MESSAGE, armored)


@needs_ssh_keygen
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_ssh_keygen_signs_the_very_same_bytes(tmp_path: Path, namespace: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    (tmp_path / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    (tmp_path / "key").chmod(0o600)
    argv = ["ssh-keygen", "-Y", "sign", "-f", "key", "-n", namespace]
    made = subprocess.run(argv, input=MESSAGE, cwd=tmp_path, capture_output=True, check=True).stdout.decode()
    verify(SIGNER.public_hex, namespace, MESSAGE, made)
    assert made == SIGNER.sign(namespace, MESSAGE)
    shown = subprocess.run(["ssh-keygen", "-y", "-f", "key"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert shown.decode().split()[:2] == openssh_public(SIGNER.public_hex).split()


def test_a_signature_holds_for_one_message_key_and_namespace() -> None:
    armored = SIGNER.sign(sshsig.RECEIPT, MESSAGE)
    verify(SIGNER.public_hex, sshsig.RECEIPT, MESSAGE, armored)
    wrong = [
        (Signer(bytes(32)).public_hex, sshsig.RECEIPT, MESSAGE),
        (SIGNER.public_hex, sshsig.HEAD, MESSAGE),
        (SIGNER.public_hex, sshsig.RECEIPT, MESSAGE + b"\n"),
        ("00" * 31, sshsig.RECEIPT, MESSAGE),
        (SIGNER.public_hex.upper(), sshsig.RECEIPT, MESSAGE),
        ("xy" * 32, sshsig.RECEIPT, MESSAGE),
    ]
    for public, namespace, message in wrong:
        with pytest.raises(ValueError):
            verify(public, namespace, message, armored)


def test_every_flipped_bit_of_a_signature_is_refused() -> None:
    armored = SIGNER.sign(sshsig.HEAD, MESSAGE)
    lines = armored.splitlines()
    blob = base64.b64decode("".join(lines[1:-1]))
    for bit in range(len(blob) * 8):
        bad = bytearray(blob)
        bad[bit // 8] ^= 1 << bit % 8
        text = base64.b64encode(bad).decode()
        body = "".join(text[i : i + 70] + "\n" for i in range(0, len(text), 70))
        with pytest.raises(ValueError):
            verify(SIGNER.public_hex, sshsig.HEAD, MESSAGE, f"{lines[0]}\n{body}{lines[-1]}\n")


def test_another_armor_of_the_same_signature_is_refused() -> None:
    armored = SIGNER.sign(sshsig.HEAD, MESSAGE)
    for other in (armored + "\n", armored.replace("\n", "\r\n"), armored.rstrip("\n"), armored.replace("\n", ""), ""):
        with pytest.raises(ValueError):
            verify(SIGNER.public_hex, sshsig.HEAD, MESSAGE, other)


def test_the_signer_shows_its_public_half_only() -> None:
    assert SEED.hex() not in repr(SIGNER)
    assert SIGNER.public_hex == "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
    with pytest.raises(ValueError):
        Signer(b"short")
    with pytest.raises(FormatError):
        openssh_public("00")


_plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=12,
)


@given(_plain)
def test_canonical_bytes_lead_back(value: object) -> None:
    data = canonical.encode(value)
    assert canonical.decode(data) == value
    assert canonical.encode(json.loads(data)) == data


@given(_plain)
def test_only_canonical_bytes_are_read(value: object) -> None:
    data = canonical.encode([value])
    for other in (data + b"\n", b" " + data, json.dumps([value], indent=1).encode(), data + data):
        if other != data:
            with pytest.raises(ValueError):
                canonical.decode(other)


@pytest.mark.parametrize(
    "text",
    [
        "9007199254740992",
        '{"a":1,"a":1}',
        '{"b":1,"a":1}',
        "1.0",
        "1e3",
        "NaN",
        "Infinity",
        "-0",
        '"\\u0041"',
        '"\ud800"',
        "[" * 100_000,
        "",
        "\ufeff1",
    ],
)
def test_forms_that_are_never_read(text: str) -> None:
    with pytest.raises(ValueError):
        canonical.decode(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800", {"a": [float("-inf")]}])
def test_values_that_are_never_written(value: object) -> None:
    with pytest.raises(ValueError):
        canonical.encode(value)


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1.000"), (0.0004, "0.000"), (-0.0, "0.000"), (-0.0001, "0.000"), (12.3456, "12.346")]
)
def test_floats_become_decimals(value: float, text: str) -> None:
    assert canonical.encode([value]) == f'["{text}"]'.encode()


def test_the_example_of_rfc_8785() -> None:
    """Section 3.2.3: keys are sorted by UTF-16 code units."""
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    data = canonical.encode(dict.fromkeys(keys, 0))
    assert list(json.loads(data)) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert hashlib.sha256(data).digest() == hashlib.sha256(canonical.encode(dict.fromkeys(sorted(keys), 0))).digest()
