"""The artifact header: what is written can be read, whatever the source; what differs in a byte is another artifact."""

from __future__ import annotations

import io
import json
import string
from dataclasses import replace

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import FormatError
from engine.keys.binding import to_base64url
from engine.model import Recipient
from engine.stream.container import (
    MAX_HEADER_LEN,
    ArtifactHeader,
    artifact_aad,
    encode_preamble,
    open_decryptor,
    open_encryptor,
    parse_preamble,
    read_preamble,
)

HEX = "0123456789abcdef"
ids = st.text(string.ascii_letters + string.digits, min_size=1, max_size=64)
recipients = st.builds(
    Recipient,
    t=st.sampled_from(["master", "hpke-mlkem768x25519"]),
    kid=st.text(HEX, min_size=16, max_size=16),
    ct=st.binary(min_size=1, max_size=1200).map(to_base64url),
)
headers = st.builds(
    ArtifactHeader,
    artifact_id=st.text(HEX, min_size=32, max_size=32),
    catalog_id=ids,
    connection_id=ids,
    created_at=st.datetimes().map(lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")),
    recipients=st.lists(recipients, min_size=1, max_size=4, unique_by=lambda r: (r.t, r.kid)).map(tuple),
)
EXAMPLE = ArtifactHeader(
    artifact_id="0" * 32,
    catalog_id="catalog",
    connection_id="connection",
    created_at="2026-11-23T14:00:11.482913Z",
    recipients=(Recipient("master", "0" * 16, "AAAA"),),
)


class Trickle:
    """A source that gives one byte a time, as a socket may."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._data.read(min(size, 1))


@given(headers, st.binary(max_size=100))
def test_round_trip(header: ArtifactHeader, rest: bytes) -> None:
    preamble = encode_preamble(header)
    source = io.BytesIO(preamble + rest)
    assert read_preamble(source) == (header, preamble)
    assert source.read() == rest
    assert parse_preamble(preamble) == header
    assert read_preamble(Trickle(preamble)) == (header, preamble)


@given(headers, st.data())
def test_a_changed_byte_never_passes_for_the_same_artifact(header: ArtifactHeader, data: st.DataObject) -> None:
    preamble = encode_preamble(header)
    at = data.draw(st.integers(0, len(preamble) - 1))
    changed = preamble[:at] + bytes([preamble[at] ^ data.draw(st.integers(1, 255))]) + preamble[at + 1 :]
    try:
        other, read = read_preamble(io.BytesIO(changed))
    except FormatError:
        return
    assert other != header
    assert artifact_aad(read) != artifact_aad(preamble)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_and_nothing_else_is_raised(junk: bytes) -> None:
    for data in (junk, b"ODBART01" + junk, b"ODBART01" + len(junk).to_bytes(4, "big") + junk):
        with pytest.raises(FormatError):
            read_preamble(io.BytesIO(data))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_arbitrary_values_in_the_header_are_refused(value: object) -> None:
    plain = json.loads(encode_preamble(EXAMPLE)[12:])
    for key in plain:
        if value == plain[key] and type(value) is type(plain[key]):
            continue
        try:
            raw = rfc8785.dumps(plain | {key: value})
        except rfc8785.CanonicalizationError:
            continue
        try:
            header = parse_preamble(b"ODBART01" + len(raw).to_bytes(4, "big") + raw)
        except FormatError:
            continue
        assert key in ("catalog_id", "connection_id")  # any short word will do there
        assert getattr(header, key) == value


def test_a_length_is_refused_before_anything_is_read() -> None:
    asked: list[int] = []

    class Asking:
        def read(self, size: int, /) -> bytes:
            asked.append(size)
            return (b"ODBART01" + (MAX_HEADER_LEN + 1).to_bytes(4, "big"))[:size]

    with pytest.raises(FormatError) as caught:
        read_preamble(Asking())
    assert caught.value.code == "format.header"
    assert asked == [12]


def test_what_a_reader_would_refuse_is_not_written() -> None:
    wrong = [
        replace(EXAMPLE, artifact_id="0"),
        replace(EXAMPLE, catalog_id="a/b"),
        replace(EXAMPLE, created_at="yesterday"),
        replace(EXAMPLE, comp="zstd"),
        replace(EXAMPLE, seg=4096),
        replace(EXAMPLE, v=2),
        replace(EXAMPLE, recipients=()),
        replace(EXAMPLE, recipients=EXAMPLE.recipients * 2),
        replace(EXAMPLE, recipients=tuple(Recipient("master", f"{i:016x}", "A" * 4096) for i in range(17))),
    ]
    for header in wrong:
        with pytest.raises(ValueError, match="not a header"):
            encode_preamble(header)


def test_the_stream_is_bound_to_its_header() -> None:
    dek = bytes(32)
    preamble = encode_preamble(EXAMPLE)
    encryptor = open_encryptor(dek, preamble)
    sealed = encryptor.header + encryptor.final(b"plain")
    source = io.BytesIO(sealed)
    decryptor = open_decryptor(dek, preamble, source)
    assert decryptor.update(source.read()) == b"plain"
    decryptor.finish()
    with pytest.raises(FormatError) as caught:
        open_decryptor(dek, preamble[:-1] + b" ", io.BytesIO(sealed))
    assert caught.value.code == "format.header"
    with pytest.raises(FormatError) as caught:
        open_decryptor(dek, preamble, io.BytesIO(sealed[:73]))
    assert caught.value.code == "format.truncated"
