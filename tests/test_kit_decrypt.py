"""The stand-alone decryptor: it opens what the program sealed, and refuses what the format tells readers to refuse."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import random
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine import floe
from engine.cancel import CancelToken
from engine.codec import to_json
from engine.evidence.manifests import Manifest, write_manifest
from engine.evidence.signer import Signer, allowed_signers
from engine.keys.recovery import RecoveryCode
from engine.keys.seals import seal_blob
from engine.keys.wrap import wrap_dek
from engine.kit import decrypt, holdings
from engine.stream import container, pipeline
from tests.fixtures.artifacts import into, reader_of
from tests.fixtures.bare import run_alone
from tests.test_kit_holdings import CODE, SEED, held
from tests.test_vectors import vectors

CATALOG, CONNECTION = held().catalog_id, "c1" * 16
DECRYPT = Path(decrypt.__file__)


@dataclass(frozen=True)
class Shelf:
    """A destination with one backup and a kit."""

    root: Path
    artifact: Path
    manifest: Path
    plaintext: bytes

    def sealed(self) -> bytes:
        return self.artifact.read_bytes()


def lay_out(
    root: Path, plaintext: bytes, artifact_id: str = "ab" * 16, *, digest: dict[str, str] | None = None
) -> Shelf:
    """A destination as the program leaves it, sealed through the real pipeline."""
    master, dek = held().master, secrets.token_bytes(32)
    header = container.ArtifactHeader(
        artifact_id,
        CATALOG,
        CONNECTION,
        "2026-11-23T14:00:11.482913Z",
        wrap_dek(dek, master, CODE.public, artifact_id=artifact_id, connection_id=CONNECTION),
    )
    preamble = container.encode_preamble(header)
    out = io.BytesIO()
    result = pipeline.seal(
        into(reader_of(plaintext)),
        out.write,
        preamble=preamble,
        encryptor=floe.Encryptor(dek, container.artifact_aad(preamble)),
        cancel=CancelToken(),
        on_progress=lambda plain, sealed: None,
        stall_timeout_s=60.0,
    )
    digest = {"members_sha256": result.members_sha256} if digest is None else digest
    details = {"plaintext_bytes": len(plaintext), "rows": 7, **digest}
    blob = seal_blob(master, "manifest", (CATALOG, artifact_id, CONNECTION), json.dumps(details).encode())
    key = f"v1/{CONNECTION}/00000001-{artifact_id}.odb"
    text, _ = write_manifest(
        Manifest(
            v=1,
            artifact_id=artifact_id,
            catalog_id=CATALOG,
            connection_id=CONNECTION,
            seq=1,
            created_at=header.created_at,
            object_key=key,
            artifact_sha256=result.artifact_sha256,
            size_bytes=result.size_bytes,
            previous_manifest_sha256=None,
            sealed=base64.urlsafe_b64encode(blob).decode().rstrip("="),
        ),
        Signer(SEED),
    )
    kit = root / "RECOVERY"
    kit.mkdir(parents=True, exist_ok=True)
    (kit / "decrypt.py").write_bytes(DECRYPT.read_bytes())
    (kit / f"{CATALOG}.keys").write_bytes(holdings.seal(held(), CODE.public))
    (kit / f"{CATALOG}.allowed_signers").write_text(allowed_signers(Signer(SEED).public_hex))
    artifact = root / key
    artifact.parent.mkdir(parents=True, exist_ok=True)
    artifact.write_bytes(out.getvalue())
    manifest = artifact.with_name(artifact.name.replace(".odb", ".manifest.json"))
    manifest.write_bytes(text)
    return Shelf(root, artifact, manifest, plaintext)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """One backup of three segments: a content that does not compress."""
    return lay_out(tmp_path_factory.mktemp("off"), b"PGDMP" + random.Random(1).randbytes(2_300_000))


def opened(sealed: bytes, manifest: decrypt.Manifest | None = None, code: RecoveryCode = CODE) -> bytes:
    out = io.BytesIO()
    decrypt.decrypt(io.BytesIO(sealed), decrypt.Code(code.text), out.write, manifest)
    return out.getvalue()


def known(shelf: Shelf) -> decrypt.Manifest:
    keys = decrypt.read_keys((shelf.root / f"RECOVERY/{CATALOG}.keys").read_bytes(), decrypt.Code(CODE.text))
    return decrypt.read_manifest(shelf.manifest.read_bytes(), {bytes.fromhex(keys["signer_public"])}, keys)


def run(bare: Path, *arguments: object, code: str = CODE.text) -> subprocess.CompletedProcess[bytes]:
    return run_alone(bare, *arguments, code=code)


# -- the vectors of the format


@pytest.mark.parametrize("vector", vectors("preamble"))
def test_preamble(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["preamble"])
    if "error" not in vector:
        assert decrypt.read_header(io.BytesIO(data + b"what follows")).preamble == data
        return
    with pytest.raises(decrypt.Refused) as caught:
        decrypt.read_header(io.BytesIO(data))
    assert caught.value.code == vector["error"]


@pytest.mark.parametrize("vector", vectors("artifact"))
def test_artifact(vector: dict[str, Any]) -> None:
    def plain() -> bytes:
        source = io.BytesIO(bytes.fromhex(vector["artifact"]))
        header = decrypt.read_header(source)
        dek = decrypt.data_key(header, decrypt.Code(RecoveryCode(bytes.fromhex(vector["code"])).text))
        aad = b"odb/v1/artifact\0" + hashlib.sha256(header.preamble).digest()
        return decrypt.open_floe(dek, aad, source.read())

    if "error" not in vector:
        assert hashlib.sha256(plain()).hexdigest() == vector["sha256"]
        return
    with pytest.raises(decrypt.Refused) as caught:
        plain()
    assert caught.value.code == vector["error"]


# -- damage


def test_what_is_whole_comes_out(shelf: Shelf) -> None:
    assert opened(shelf.sealed()) == shelf.plaintext
    assert opened(shelf.sealed(), known(shelf)) == shelf.plaintext


@pytest.mark.parametrize("with_manifest", [False, True])
def test_flips_and_cuts_are_refused(shelf: Shelf, with_manifest: bool) -> None:
    """100 flips, half of them where the header and the ends of segments lie, and 100 cuts and extensions."""
    sealed, chosen = shelf.sealed(), random.Random(2 + with_manifest)
    manifest = known(shelf) if with_manifest else None
    head = 12 + int.from_bytes(sealed[8:12], "big") + 74
    edges = [*range(head), *(head + n * floe.DEFAULT_ENC_SEG_LEN + d for n in (1, 2) for d in range(-20, 20))]
    for _ in range(100):
        at = chosen.choice((chosen.choice(edges), chosen.randrange(len(sealed))))
        altered = bytearray(sealed)
        altered[at] ^= 1 << chosen.randrange(8)
        with pytest.raises(decrypt.Refused):
            opened(bytes(altered), manifest)
    lengths = [chosen.choice((chosen.choice(edges), chosen.randrange(len(sealed)))) for _ in range(90)]
    for piece in [*(sealed[:n] for n in lengths), *(sealed + secrets.token_bytes(n) for n in range(1, 11))]:
        with pytest.raises(decrypt.Refused):
            opened(piece, manifest)


def test_segments_that_moved_are_refused(shelf: Shelf) -> None:
    sealed, seg = shelf.sealed(), floe.DEFAULT_ENC_SEG_LEN
    head = 12 + int.from_bytes(sealed[8:12], "big") + 74
    first, second, rest = sealed[head : head + seg], sealed[head + seg : head + 2 * seg], sealed[head + 2 * seg :]
    for body in (second + first + rest, first + first + rest, first + rest, rest, first + second + rest + rest):
        with pytest.raises(decrypt.Refused):
            opened(sealed[:head] + body)


def test_another_backup_in_its_place_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    other = lay_out(tmp_path, b"PGDMP other", "cd" * 16)
    with pytest.raises(decrypt.Refused) as caught:
        opened(other.sealed(), known(shelf))
    assert caught.value.code == "format.swapped"


def test_the_recorded_content_is_compared(tmp_path: Path) -> None:
    """By the digest of members, or by the plaintext's own in snapshots from before; one of them must be there."""
    right = hashlib.sha256(b"PGDMP one").hexdigest()
    earlier = lay_out(tmp_path / "earlier", b"PGDMP one", digest={"plaintext_sha256": right})
    assert opened(earlier.sealed(), known(earlier)) == b"PGDMP one"
    for n, digest in enumerate(({"members_sha256": right}, {"plaintext_sha256": "0" * 64}, {})):
        other = lay_out(tmp_path / str(n), b"PGDMP one", digest=digest)
        with pytest.raises(decrypt.Refused) as caught:
            opened(other.sealed(), known(other))
        assert caught.value.code == "format.gzip"


def test_a_code_of_another_installation_is_told(shelf: Shelf) -> None:
    with pytest.raises(decrypt.Refused) as caught:
        opened(shelf.sealed(), code=RecoveryCode.generate())
    assert caught.value.code == "format.wrong-key"


def _to_the_end(gunzip: decrypt.Gunzip, data: bytes) -> None:
    list(gunzip.feed(data))
    gunzip.finish()


@pytest.mark.parametrize("tail", [b"\0" * 512, b"garbage", b"\x1f\x8b"])
def test_padding_behind_the_last_member_is_refused(tail: bytes) -> None:
    gunzip = decrypt.Gunzip(None)
    whole = b"".join(gunzip.feed(gzip.compress(b"x" * 3_000_000)))
    assert whole == b"x" * 3_000_000
    with pytest.raises(decrypt.Refused):
        _to_the_end(gunzip, tail)


def test_a_content_without_end_stops_at_the_recorded_size() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    given: list[int] = []
    pieces = map(len, decrypt.Gunzip(2_000_000).feed(bomb))
    with pytest.raises(decrypt.Refused):
        given.extend(pieces)
    assert sum(given) <= 2_000_000


def test_a_manifest_that_was_touched_is_refused(shelf: Shelf) -> None:
    raw, chosen = shelf.manifest.read_bytes(), random.Random(3)
    for _ in range(100):
        altered = bytearray(raw)
        altered[chosen.randrange(len(raw))] ^= 1 << chosen.randrange(8)
        with pytest.raises(decrypt.Refused):
            decrypt.read_manifest(bytes(altered), set(), None)
    with pytest.raises(decrypt.Refused):
        decrypt.read_manifest(raw, {secrets.token_bytes(32)}, None)


def test_codes_are_read_as_people_write_them() -> None:
    for text in (CODE.text, CODE.text.upper(), CODE.text.replace("-", " "), CODE.text.replace("-", "\u2013") + "\n"):
        assert decrypt.Code(text).kid == CODE.public.kid
    for at in range(6, len(CODE.text)):
        typo = CODE.text[:at] + ("q" if CODE.text[at] != "q" else "p") + CODE.text[at + 1 :]
        with pytest.raises(decrypt.Refused) as caught:
            decrypt.Code(typo)
        assert typo[8:20] not in str(caught.value)


# -- the file on its own


def test_it_runs_where_nothing_else_is(shelf: Shelf, bare: Path, tmp_path: Path) -> None:
    program, out = shelf.root / "RECOVERY/decrypt.py", tmp_path / "restored.dump"
    listed = run(bare, program, "--list", shelf.root)
    assert listed.returncode == 0, listed.stderr
    assert shelf.artifact.name in listed.stdout.decode()
    assert "damaged" not in listed.stdout.decode()
    done = run(bare, program, shelf.artifact, "-o", out)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == shelf.plaintext
    assert out.stat().st_mode & 0o777 == 0o600
    assert "the hash of the content" in done.stderr.decode()
    assert "note:" not in done.stderr.decode()
    assert run(bare, program, shelf.artifact, "-o", "-").stdout == shelf.plaintext
    again = run(bare, program, shelf.artifact, "-o", out)
    assert again.returncode == 1
    assert b"not overwritten" in again.stderr
    shown = json.loads(run(bare, program, "--manifest", shelf.manifest).stdout)
    assert shown["sealed"]["rows"] == 7
    keys = json.loads(run(bare, program, "--keys", shelf.root / f"RECOVERY/{CATALOG}.keys").stdout)
    assert keys == json.loads(to_json(held()))


def test_it_opens_a_backup_with_the_code_alone(shelf: Shelf, bare: Path, tmp_path: Path) -> None:
    alone = tmp_path / "x.odb"
    alone.write_bytes(shelf.sealed())
    done = run(bare, DECRYPT, alone, "-o", tmp_path / "x.dump")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.dump").read_bytes() == shelf.plaintext
    assert b"no manifest beside it" in done.stderr


def test_a_refusal_leaves_nothing_and_says_why(shelf: Shelf, bare: Path, tmp_path: Path) -> None:
    damaged, out = tmp_path / "x.odb", tmp_path / "x.dump"
    damaged.write_bytes(shelf.sealed()[:-1])
    for code in (CODE.text, RecoveryCode.generate().text, "odbr1-nonsense"):
        done = run(bare, DECRYPT, damaged, "-o", out, code=code)
        assert done.returncode == 1
        assert done.stderr.startswith(b"note:") or done.stderr.startswith(b"decrypt.py: refused:"), done.stderr
        assert b"Traceback" not in done.stderr
        assert code.encode() not in done.stderr
        assert list(tmp_path.iterdir()) == [damaged]
