"""gzip members: what is written is read back, and what is not whole members is refused."""

from __future__ import annotations

import gzip as stdlib_gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import FormatError
from engine.stream.gzip import BLOCK_BYTES, Compressor, Gunzip, best_compressor, isal_member, zlib_member

LIBRARIES = st.sampled_from(["isal", "zlib"])
COMPRESSORS = st.sampled_from([isal_member, zlib_member])
SIZES = st.sampled_from([0, 1, 5, 1000, 65_535, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES + 7])
PATTERNS = st.sampled_from([b"\0", b"row\t12345\t\\N\n", bytes(range(256))])
CUTS = st.lists(st.integers(1, 70_000), min_size=1, max_size=6)


def text(pattern: bytes, size: int) -> bytes:
    return (pattern * (size // len(pattern) + 1))[:size]


def gunzip(
    stream: bytes, *, max_bytes: int | None = None, library: str = "isal", cuts: list[int] | None = None
) -> bytes:
    reader = Gunzip(max_bytes, library=library)
    out = []
    at = step = 0
    while at < len(stream):
        size = cuts[step % len(cuts)] if cuts else len(stream)
        for block in reader.feed(stream[at : at + size]):
            assert 0 < len(block) <= BLOCK_BYTES
            out.append(block)
        at, step = at + size, step + 1
    reader.finish()
    return b"".join(out)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(PATTERNS, SIZES), min_size=1, max_size=4), CUTS, COMPRESSORS, LIBRARIES)
def test_members_come_back_whatever_the_pieces(
    parts: list[tuple[bytes, int]], cuts: list[int], compress: Compressor, library: str
) -> None:
    blocks = [text(pattern, size) for pattern, size in parts]
    stream = b"".join(compress(block) for block in blocks)
    whole = b"".join(blocks)
    assert gunzip(stream, max_bytes=len(whole), library=library, cuts=cuts) == whole
    assert stdlib_gzip.decompress(stream) == whole


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300), COMPRESSORS, LIBRARIES, st.data())
def test_a_cut_stream_is_refused(
    first: bytes, second: bytes, compress: Compressor, library: str, data: st.DataObject
) -> None:
    member, other = compress(first), compress(second)
    cut = data.draw(st.integers(0, len(member + other) - 1).filter(lambda n: n != len(member)))
    with pytest.raises(FormatError) as caught:
        gunzip((member + other)[:cut], library=library)
    assert caught.value.code == "format.gzip"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100), st.binary(min_size=1, max_size=100), LIBRARIES)
def test_garbage_behind_a_member_is_refused(first: bytes, garbage: bytes, library: str) -> None:
    with pytest.raises(FormatError):
        gunzip(zlib_member(first) + b"\0" + garbage, library=library)


@pytest.mark.parametrize("library", ["isal", "zlib"])
def test_zero_padding_is_refused(library: str) -> None:
    with pytest.raises(FormatError):
        gunzip(zlib_member(b"x") + b"\0" * 512, library=library)


@pytest.mark.parametrize("library", ["isal", "zlib"])
@pytest.mark.parametrize("at", [-1, -5])
def test_a_wrong_checksum_or_length_is_refused(library: str, at: int) -> None:
    damaged = bytearray(isal_member(b"some rows"))
    damaged[at] ^= 1
    with pytest.raises(FormatError) as caught:
        gunzip(bytes(damaged), library=library)
    assert caught.value.code == "format.gzip"


def test_a_bomb_stops_at_the_bound() -> None:
    bomb = best_compressor()(b"\0" * (8 << 20)) * 16
    reader = Gunzip(10 << 20)
    got = 0

    def run() -> None:
        nonlocal got
        for block in reader.feed(bomb):
            got += len(block)

    with pytest.raises(FormatError):
        run()
    assert got <= 10 << 20


def test_many_tiny_members_are_read() -> None:
    assert gunzip(isal_member(b"") * 20_000 + isal_member(b"end")) == b"end"


def test_the_end_of_a_member_is_known_to_the_byte() -> None:
    member = isal_member(b"rows")
    reader = Gunzip(None)
    ends = [reader.at_member_end]
    for byte in member + member[:1]:
        list(reader.feed(bytes([byte])))
        ends.append(reader.at_member_end)
    assert ends == [False] * len(member) + [True, False]


def test_nothing_is_no_gzip_stream() -> None:
    with pytest.raises(FormatError):
        Gunzip(None).finish()
