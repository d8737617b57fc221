"""Write the vectors: `python -m tests.vectors.generate`. One file each, one fault each.

All is deterministic but the HPKE ciphertexts, which no library lets us fix: they are made once and kept in hpke.json.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.vectors import oracle
from tests.vectors.oracle import b64, canonical, preamble

HERE = Path(__file__).parent
Vector = dict[str, Any]

MASTER = bytes(range(32))
OTHER_MASTER = bytes(range(32, 64))
DEK = bytes(range(64, 96))
CODE = bytes(range(96, 128))
OTHER_CODE = bytes(range(128, 160))
ARTIFACT_ID = "00112233445566778899aabbccddeeff"
CATALOG_ID = "8c7d3f2a9b1e4f60a1b2c3d4e5f60718"
CONNECTION_ID = "5a0e9c1b2d3f4a5b6c7d8e9f0a1b2c3d"
KEY = bytes(32)
AAD = b"vectors"
SEG = 64
PLACE = {"catalog_id": CATALOG_ID, "table": "connections", "column": "conninfo", "row_id": CONNECTION_ID}


def good(about: str, plain: bytes, **inputs: Any) -> Vector:
    return {"about": about, **inputs, "sha256": hashlib.sha256(plain).hexdigest(), "length": len(plain)}


def bad(about: str, error: str, **inputs: Any) -> Vector:
    return {"about": about, **inputs, "error": error}


def flip(data: bytes, at: int, bit: int = 0) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def floe_vectors() -> Iterator[tuple[str, Vector]]:
    def vector(sealed: bytes) -> dict[str, str]:
        return {"key": KEY.hex(), "aad": AAD.hex(), "sealed": sealed.hex()}

    for name, length in (("empty", 0), ("one-byte", 1), ("one-less", 31), ("exactly-one", 32), ("one-more", 33)):
        plain = oracle.fixed("plain", length)
        yield f"good-{name}", good(f"{length} bytes, 32 to a segment", plain, **vector(_stream(plain)))
    plain = oracle.fixed("plain", 100)
    yield "good-several", good("four segments", plain, **vector(_stream(plain)))
    stream = oracle.Floe(KEY, AAD, SEG, "floe")
    s = stream.segments(plain[:96], empty_final=True)
    yield "good-empty-final", good("three full segments, then an empty one", plain[:96], **vector(_join(stream, s)))

    s = stream.segments(plain)
    h = stream.header
    whole = _join(stream, s)
    other = oracle.Floe(KEY, AAD, SEG, "another")
    headers = {
        "aead-id": (b"\x01" + h[1:], "another AEAD"),
        "kdf-id": (h[:1] + b"\x01" + h[2:], "another KDF"),
        "seg-len-edited": (h[:5] + b"\x41" + h[6:], "another segment length than the tag covers"),
        "seg-len-zero": (h[:2] + bytes(4) + h[6:], "segments of 0 bytes"),
        "seg-len-no-room": (h[:2] + (32).to_bytes(4, "big") + h[6:], "segments without room for a byte"),
        "seg-len-huge": (h[:2] + (16 * 1_048_576 + 1).to_bytes(4, "big") + h[6:], "segments above 16 MiB"),
        "seg-len-max": (h[:2] + b"\xff" * 4 + h[6:], "segments of 4 GiB"),
        "iv-len": (h[:9] + b"\x1f" + h[10:], "an IV of 31 bytes"),
        "iv-flip": (flip(h, 10), "one bit of the IV"),
        "tag-flip": (flip(h, 73, 7), "one bit of the header tag"),
    }
    for name, (header, about) in headers.items():
        yield f"header-{name}", bad(about, "format.header", **vector(header + b"".join(s)))
    foreign = other.header + b"".join(s)
    yield "header-of-another-stream", bad("another's header, same key", "format.corrupt-segment", **vector(foreign))
    yield "wrong-key", bad("another key", "format.header", **vector(whole) | {"key": flip(KEY, 0).hex()})
    yield "wrong-aad", bad("other associated data", "format.header", **vector(whole) | {"aad": b"vectorS".hex()})

    as_final = stream.segment(1, plain[32:64], final=True)
    segments: dict[str, tuple[list[bytes], str, str]] = {
        "tag-flip": ([s[0], flip(s[1], 63), *s[2:]], "corrupt-segment", "one bit of a tag"),
        "nonce-flip": ([s[0], flip(s[1], 4), *s[2:]], "corrupt-segment", "one bit of a nonce"),
        "ciphertext-flip": ([s[0], flip(s[1], 20, 3), *s[2:]], "corrupt-segment", "one bit of a ciphertext"),
        "word-flip": ([s[0], flip(s[1], 3), *s[2:]], "corrupt-segment", "one bit of an inner segment's word"),
        "final-shorter": ([*s[:3], flip(s[3], 3, 2)], "corrupt-segment", "a final length of 4 less"),
        "final-longer": ([*s[:3], flip(s[3], 3, 3)], "truncated", "a final length of 8 more"),
        "final-too-short": ([*s[:3], (31).to_bytes(4, "big") + s[3][4:]], "corrupt-segment", "a final length of 31"),
        "final-too-long": ([*s[:3], (65).to_bytes(4, "big") + s[3][4:]], "corrupt-segment", "above ENC_SEG_LEN"),
        "final-flip": ([*s[:3], flip(s[3], 18)], "corrupt-segment", "one bit of the final ciphertext"),
        "swapped": ([s[1], s[0], *s[2:]], "corrupt-segment", "two segments exchanged"),
        "dropped-first": (s[1:], "corrupt-segment", "the first segment missing"),
        "dropped-middle": ([s[0], *s[2:]], "corrupt-segment", "a middle segment missing"),
        "duplicated": ([s[0], s[0], *s[1:]], "corrupt-segment", "a segment twice"),
        "spliced": ([s[0], other.segments(plain)[1], *s[2:]], "corrupt-segment", "of another stream, same key"),
        "final-made-inner": ([*s[:3], oracle.INNER + s[3][4:]], "truncated", "the final segment without its mark"),
        "inner-made-final": (
            [s[0], (64).to_bytes(4, "big") + s[1][4:]],
            "corrupt-segment",
            "an inner one marked final",
        ),
        "second-final": ([s[0], as_final, *s[2:]], "trailing", "a true final segment, then more"),
        "extended-byte": ([*s, b"\0"], "trailing", "one byte after the end"),
        "extended-segment": ([*s, s[3]], "trailing", "the final segment twice"),
        "dropped-final": (s[:3], "truncated", "no final segment"),
    }
    for name, (tampered, code, about) in segments.items():
        yield f"segment-{name}", bad(about, f"format.{code}", **vector(_join(stream, tampered)))
    start = 74 + 64 * 3
    cuts = {"nothing": 0, "in-header": 40, "header-less-one": 73, "after-header": 74, "in-first-word": 76}
    cuts |= {"after-word": 78, "after-nonce": 90, "before-tag": 122, "first-less-one": 137, "after-first": 138}
    cuts |= {"after-third": start, "in-last-word": start + 3, "last-after-word": start + 4, "last-nonce": start + 16}
    cuts |= {"last-before-tag": len(whole) - 16, "last-less-one": len(whole) - 1}
    for name, at in cuts.items():
        yield f"cut-{name}", bad(f"only the first {at} bytes", "format.truncated", **vector(whole[:at]))


def _stream(plain: bytes) -> bytes:
    stream = oracle.Floe(KEY, AAD, SEG, "floe")
    return _join(stream, stream.segments(plain))


def _join(stream: oracle.Floe, segments: list[bytes]) -> bytes:
    return stream.header + b"".join(segments)


def _header(**changes: Any) -> dict[str, Any]:
    recipients = [oracle.wrap(MASTER, DEK, ARTIFACT_ID, CONNECTION_ID, "wrap"), _hpke()["recipient"]]
    plain = {"v": 1, "artifact_id": ARTIFACT_ID, "catalog_id": CATALOG_ID, "connection_id": CONNECTION_ID}
    plain |= {"created_at": "2026-11-23T14:00:11.482913Z", "comp": "gzip", "dump": "pg_dump-Fc", "seg": 1_048_576}
    return plain | {"recipients": recipients} | changes


def preamble_vectors() -> Iterator[tuple[str, Vector]]:
    plain = _header()
    raw = canonical(plain)
    r0, r1 = plain["recipients"]
    yield "good", {"about": "as written", "preamble": preamble(raw).hex(), "header": plain}
    header, version, cut = "format.header", "format.version", "format.truncated"
    cases: dict[str, tuple[str, bytes, str]] = {
        "magic": (header, preamble(raw, magic=b"XDBART01"), "another magic"),
        "magic-version": (version, preamble(raw, magic=b"ODBART02"), "the magic of a second version"),
        "length-zero": (header, preamble(raw, length=0), "a header of no bytes"),
        "length-above-limit": (header, preamble(raw, length=65_537), "a header above 65,536 bytes"),
        "length-max": (header, preamble(raw, length=2**32 - 1), "a header of 4 GiB"),
        "length-one-less": (header, preamble(raw, length=len(raw) - 1), "a length of one less"),
        "length-one-more": (cut, preamble(raw, length=len(raw) + 1), "a length of one more than there is"),
        "cut-nothing": (cut, b"", "no byte at all"),
        "cut-magic": (cut, b"ODBA", "cut in the magic"),
        "cut-length": (cut, preamble(raw)[:10], "cut in the length"),
        "cut-json": (cut, preamble(raw)[:-1], "cut in the JSON"),
        "space": (header, preamble(raw.replace(b",", b", ", 1)), "a space"),
        "newline": (header, preamble(raw + b"\n"), "a newline at the end"),
        "order": (header, preamble(json.dumps(plain, separators=(",", ":")).encode()), "keys not sorted"),
        "duplicate-key": (header, preamble(raw[:-1] + b',"v":1}'), "a key twice"),
        "escape": (header, preamble(raw.replace(b'"gzip"', b'"\\u0067zip"')), "an escape nobody needs"),
        "not-ascii": (header, preamble(raw.replace(b"gzip", "gzíp".encode())), "a byte above 127"),
        "float": (header, preamble(raw.replace(b'"v":1', b'"v":1.0')), "a float"),
        "exponent": (header, preamble(raw.replace(b'"v":1', b'"v":1e0')), "an exponent"),
        "nan": (header, preamble(raw.replace(b'"v":1', b'"v":NaN')), "not a number"),
        "big-number": (header, preamble(raw.replace(b"1048576", b"9" * 6000)), "a number of 6,000 digits"),
        "deep": (header, preamble(b"[" * 30_000 + b"]" * 30_000), "30,000 arrays in one another"),
        "array": (header, preamble(b"[]"), "no object"),
        "not-json": (header, preamble(b"{"), "no JSON"),
    }
    changes: dict[str, tuple[str, dict[str, Any], str]] = {
        "version-2": (version, {"v": 2}, "version 2"),
        "version-2-new-key": (version, {"v": 2, "new": 1}, "version 2 with a key of its own"),
        "version-0": (header, {"v": 0}, "version 0"),
        "version-text": (header, {"v": "1"}, "a version that is a text"),
        "version-true": (header, {"v": True}, "a version that is a truth value"),
        "unknown-key": (header, {"host": "db"}, "a key that v1 does not have"),
        "seg": (header, {"seg": 65_536}, "another segment size"),
        "comp": (header, {"comp": "zstd"}, "another compression"),
        "dump": (header, {"dump": "plain"}, "another dump format"),
        "artifact-id-case": (header, {"artifact_id": ARTIFACT_ID.upper()}, "upper-case digits"),
        "artifact-id-short": (header, {"artifact_id": ARTIFACT_ID[:-1]}, "31 digits"),
        "catalog-id-path": (header, {"catalog_id": "../../etc"}, "an id that is a path"),
        "created-at-zone": (header, {"created_at": "2026-11-23T14:00:11+01:00"}, "an instant that is not UTC"),
        "recipients-none": (header, {"recipients": []}, "no recipient"),
        "recipients-many": (header, {"recipients": [r0 | {"kid": f"{i:016x}"} for i in range(17)]}, "17 recipients"),
        "recipients-twice": (header, {"recipients": [r0, r0]}, "a recipient twice"),
        "recipient-type": (header, {"recipients": [r0 | {"t": "rsa"}, r1]}, "an unknown recipient type"),
        "recipient-kid": (header, {"recipients": [r0 | {"kid": "xyz"}, r1]}, "a key id that is none"),
        "recipient-key": (header, {"recipients": [r0 | {"x": "y"}, r1]}, "a recipient with an unknown key"),
        "ct-padded": (header, {"recipients": [r0 | {"ct": "QQ=="}, r1]}, "padded base64"),
        "ct-spelling": (header, {"recipients": [r0 | {"ct": "QR"}, r1]}, "another spelling of the same bytes"),
        "ct-alphabet": (header, {"recipients": [r0 | {"ct": "+/+/"}, r1]}, "the other base64 alphabet"),
        "ct-empty": (header, {"recipients": [r0 | {"ct": ""}, r1]}, "an empty ciphertext"),
    }
    for key in plain:
        lacking = preamble(canonical({k: v for k, v in plain.items() if k != key}))
        cases[f"missing-{key.replace('_', '-')}"] = (header, lacking, f"no {key}")
    for name, (code, change, about) in changes.items():
        cases[name] = (code, preamble(canonical(plain | change)), about)
    for name, (code, data, about) in cases.items():
        yield name, bad(about, code, preamble=data.hex())


def artifact_vectors() -> Iterator[tuple[str, Vector]]:
    plain = b"what pg_dump wrote, after gzip"
    head = preamble(canonical(_header()))
    sealed = oracle.seal(DEK, oracle.artifact_aad(head), plain, "artifact")
    r0, r1 = _header()["recipients"]
    moved = oracle.wrap(MASTER, DEK, ARTIFACT_ID[::-1], CONNECTION_ID, "moved")

    def vector(data: bytes, master: bytes = MASTER, code: bytes = CODE) -> dict[str, str]:
        return {"artifact": data.hex(), "master": master.hex(), "code": code.hex()}

    def with_header(**changes: Any) -> bytes:
        edited = preamble(canonical(_header(**changes)))
        return edited + oracle.seal(DEK, oracle.artifact_aad(edited), plain, "artifact")

    swapped_ct = b64(oracle.fixed("not a key", 138))
    yield "good", good("a small artifact", plain, **vector(head + sealed))
    yield "wrong-keys", bad("other keys", "format.wrong-key", **vector(head + sealed, OTHER_MASTER, OTHER_CODE))
    edited = preamble(canonical(_header(created_at="2026-11-23T14:00:11.482914Z")))
    yield "header-edited", bad("a valid header that was not sealed", "format.header", **vector(edited + sealed))
    small = oracle.seal(DEK, oracle.artifact_aad(head), plain, "artifact", seg_len=65_536)
    yield "seg-len", bad("a FLOE stream of 64 KiB segments", "format.header", **vector(head + small))
    altered = with_header(recipients=[r0 | {"ct": swapped_ct}, r1 | {"ct": swapped_ct}])
    yield "recipients-altered", bad("recipients that do not open", "format.header", **vector(altered))
    foreign = with_header(recipients=[moved, r1 | {"ct": _hpke()["moved"]["ct"]}])
    yield "recipients-moved", bad("recipients of another artifact", "format.header", **vector(foreign))
    last = head + sealed
    yield "flipped", bad("the last bit", "format.corrupt-segment", **vector(flip(last, len(last) - 1)))
    yield "cut", bad("one byte less", "format.truncated", **vector(last[:-1]))
    yield "extended", bad("one byte more", "format.trailing", **vector(last + b"\0"))


def seal_vectors() -> Iterator[tuple[str, Vector]]:
    value = "postgresql://reader:geheim@db.example:5432/app"
    text = oracle.field(MASTER, PLACE, value, "field")
    head, kid, body = text.split(".")

    def field(text: str, master: bytes = MASTER, moved: str = "") -> dict[str, Any]:
        return {
            "kind": "field",
            "master": master.hex(),
            "place": PLACE | ({moved: "other"} if moved else {}),
            "sealed": text,
        }

    altered = "key.row-altered"
    yield "field-good", good("a connection string", value.encode(), **field(text))
    for part in PLACE:
        yield f"field-moved-{part.replace('_', '-')}", bad(f"another {part}", altered, **field(text, moved=part))
    yield "field-other-master", bad("another master key", "key.wrong", **field(text, OTHER_MASTER))
    yield (
        "field-flip",
        bad("one character", altered, **field(text[:-9] + ("A" if text[-9] != "A" else "B") + text[-8:])),
    )
    yield "field-cut", bad("four characters less", altered, **field(text[:-4]))
    yield "field-prefix", bad("another prefix", altered, **field(f"odb2f.{kid}.{body}"))
    yield "field-clear", bad("a value that is not sealed", altered, **field(value))
    yield "field-padded", bad("padding", altered, **field(f"{head}.{kid}.{body}="))

    blob = oracle.blob(MASTER, "manifest", [ARTIFACT_ID, "7"], b"details", "blob")

    def sealed_blob(data: bytes, master: bytes = MASTER, *parts: str) -> dict[str, Any]:
        place = list(parts) or [ARTIFACT_ID, "7"]
        return {"kind": "blob", "master": master.hex(), "purpose": "manifest", "parts": place, "sealed": data.hex()}

    yield "blob-good", good("a manifest's sealed part", b"details", **sealed_blob(blob))
    yield "blob-other-master", bad("another master key", "format.wrong-key", **sealed_blob(blob, OTHER_MASTER))
    yield "blob-moved", bad("another place", "format.header", **sealed_blob(blob, MASTER, ARTIFACT_ID, "8"))
    yield "blob-magic", bad("another magic", "format.header", **sealed_blob(flip(blob, 0)))
    yield "blob-flip", bad("the last bit", "format.corrupt-segment", **sealed_blob(flip(blob, len(blob) - 1)))
    yield "blob-cut", bad("one byte less", "format.truncated", **sealed_blob(blob[:-1]))

    record = oracle.check_record(MASTER, CATALOG_ID, "check")

    def check(record: str, master: bytes = MASTER, catalog_id: str = CATALOG_ID) -> dict[str, Any]:
        return {"kind": "check", "master": master.hex(), "catalog_id": catalog_id, "sealed": record}

    damaged = "key.check-damaged"
    spoilt = record[:30] + ("A" if record[30] != "A" else "B") + record[31:]
    yield "check-good", good("a key-check record", b"", **check(record))
    yield "check-other-master", bad("another master key", "key.wrong", **check(record, OTHER_MASTER))
    yield "check-other-catalog", bad("another catalog's record", damaged, **check(record, MASTER, "other"))
    yield "check-flip", bad("one character", damaged, **check(spoilt))
    rewritten = oracle.with_checksum(spoilt.rpartition(".")[0])
    yield "check-rewritten", bad("one character, checksum made to fit", damaged, **check(rewritten))
    yield "check-empty", bad("nothing", damaged, **check(""))


def _hpke() -> dict[str, Any]:
    path = HERE / "hpke.json"
    if not path.exists():
        from engine.keys.recovery import RecoveryCode

        public = RecoveryCode(CODE).public
        made = {}
        for name, artifact_id in (("recipient", ARTIFACT_ID), ("moved", ARTIFACT_ID[::-1])):
            info = oracle.bind("odb/v1/dek", public.kid, artifact_id, CONNECTION_ID)
            made[name] = {"t": "hpke-mlkem768x25519", "kid": public.kid, "ct": b64(public.seal(info, DEK))}
        path.write_text(json.dumps(made, indent=1) + "\n")
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


FAMILIES = {
    "floe": floe_vectors,
    "preamble": preamble_vectors,
    "artifact": artifact_vectors,
    "seals": seal_vectors,
}


def main() -> None:
    for family, vectors in FAMILIES.items():
        (HERE / family).mkdir(exist_ok=True)
        for name, vector in vectors():
            (HERE / family / f"{name}.json").write_text(json.dumps(vector, indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
