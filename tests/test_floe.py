"""FLOE: round trips, misuse, and the property that no altered stream yields a wrong byte."""

from __future__ import annotations

import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import floe
from engine.errors import FormatError

KEY = bytes(range(32))
SEG = 64
PLAIN_SEG = SEG - floe.OVERHEAD_LEN


def released(key: bytes, aad: bytes, sealed: bytes, cuts: list[int]) -> tuple[bytes, FormatError | None]:
    """What a reader has got when the stream ends or fails, fed in pieces that end at ``cuts``; and the failure."""
    out = bytearray()
    try:
        decryptor = floe.Decryptor(key, aad, sealed[: floe.HEADER_LEN])
        bounds = sorted({min(floe.HEADER_LEN + cut, len(sealed)) for cut in cuts} | {floe.HEADER_LEN, len(sealed)})
        for start, end in pairwise(bounds):
            out += decryptor.update(sealed[start:end])
        decryptor.finish()
    except FormatError as e:
        return bytes(out), e
    return bytes(out), None


plaintexts = st.binary(max_size=5 * PLAIN_SEG)
pieces = st.lists(st.integers(0, 5 * SEG), max_size=8)


@given(plaintexts, st.binary(max_size=40), pieces)
def test_what_was_sealed_opens_in_any_pieces(plain: bytes, aad: bytes, cuts: list[int]) -> None:
    sealed = floe.seal(KEY, aad, plain, enc_seg_len=SEG)
    assert len(sealed) == floe.sealed_length(len(plain), enc_seg_len=SEG)
    assert released(KEY, aad, sealed, cuts) == (plain, None)
    assert floe.open_sealed(KEY, aad, sealed, max_bytes=len(plain)) == plain


@given(plaintexts, pieces, st.data())
def test_any_flipped_bit_is_refused(plain: bytes, cuts: list[int], data: st.DataObject) -> None:
    sealed = bytearray(floe.seal(KEY, b"", plain, enc_seg_len=SEG))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    got, error = released(KEY, b"", bytes(sealed), cuts)
    assert error is not None
    assert plain.startswith(got)


@given(plaintexts, pieces, st.data())
def test_any_truncation_is_refused(plain: bytes, cuts: list[int], data: st.DataObject) -> None:
    sealed = floe.seal(KEY, b"", plain, enc_seg_len=SEG)
    got, error = released(KEY, b"", sealed[: data.draw(st.integers(0, len(sealed) - 1))], cuts)
    assert error is not None
    assert error.code in ("format.truncated", "format.header")
    assert plain.startswith(got)


@given(plaintexts, st.binary(min_size=1, max_size=2 * SEG), pieces)
def test_any_extension_is_refused(plain: bytes, more: bytes, cuts: list[int]) -> None:
    got, error = released(KEY, b"", floe.seal(KEY, b"", plain, enc_seg_len=SEG) + more, cuts)
    assert error is not None
    assert error.code == "format.trailing"
    assert plain.startswith(got)


@given(st.binary(min_size=2 * PLAIN_SEG + 1, max_size=5 * PLAIN_SEG), st.data())
def test_any_other_order_of_segments_is_refused(plain: bytes, data: st.DataObject) -> None:
    sealed = floe.seal(KEY, b"", plain, enc_seg_len=SEG)
    body = sealed[floe.HEADER_LEN :]
    segments = [body[i : i + SEG] for i in range(0, len(body), SEG)]
    order = data.draw(st.lists(st.integers(0, len(segments) - 1), max_size=len(segments) + 2))
    got, error = released(KEY, b"", sealed[: floe.HEADER_LEN] + b"".join(segments[i] for i in order), [])
    assert (error is None) == (order == list(range(len(segments))))
    assert plain.startswith(got)


def test_every_bit_of_a_small_stream() -> None:
    plain = bytes(range(80))
    sealed = floe.seal(KEY, b"aad", plain, enc_seg_len=SEG)
    for bit in range(8 * len(sealed)):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        got, error = released(KEY, b"aad", bytes(altered), [])
        assert error is not None, f"bit {bit} was accepted"
        assert plain.startswith(got)


def test_two_streams_of_the_same_plaintext_share_nothing() -> None:
    one, two = (floe.seal(KEY, b"", bytes(100), enc_seg_len=SEG) for _ in range(2))
    assert one[:10] == two[:10]
    assert not {one[i : i + 8] for i in range(10, len(one) - 8)} & {two[i : i + 8] for i in range(10, len(two) - 8)}


def test_segment_keys_rotate() -> None:
    encryptor = floe.Encryptor(KEY, b"", enc_seg_len=SEG, rotation_bits=2)
    plain = bytes(PLAIN_SEG)
    sealed = encryptor.header + b"".join(bytes(encryptor.segment(plain)) for _ in range(9)) + encryptor.final(b"end")
    rotating = floe.Decryptor(KEY, b"", sealed[: floe.HEADER_LEN], rotation_bits=2)
    assert rotating.update(sealed[floe.HEADER_LEN :]) == 9 * plain + b"end"
    got, error = released(KEY, b"", sealed, list(range(0, 10 * SEG, SEG)))
    assert error is not None
    assert got == 4 * plain  # segments of the first key only


def test_a_reader_that_failed_stays_failed() -> None:
    sealed = bytearray(floe.seal(KEY, b"", bytes(100), enc_seg_len=SEG))
    sealed[floe.HEADER_LEN + 20] ^= 1
    decryptor = floe.Decryptor(KEY, b"", bytes(sealed[: floe.HEADER_LEN]))
    with pytest.raises(FormatError):
        decryptor.update(sealed[floe.HEADER_LEN :])
    for more in (b"x", b""):
        with pytest.raises(FormatError, match="segment 0"):
            decryptor.update(more)
    with pytest.raises(FormatError, match="segment 0"):
        decryptor.finish()


def test_finished_is_known_before_the_end_is_said() -> None:
    sealed = floe.seal(KEY, b"", bytes(PLAIN_SEG), enc_seg_len=SEG)
    decryptor = floe.Decryptor(KEY, b"", sealed[: floe.HEADER_LEN])
    assert decryptor.enc_seg_len == SEG
    seen = [(decryptor.update(part), decryptor.finished) for part in (sealed[floe.HEADER_LEN : -1], sealed[-1:])]
    assert seen == [(b"", False), (bytes(PLAIN_SEG), True)]
    decryptor.finish()


def test_buffers_of_any_kind() -> None:
    encryptor = floe.Encryptor(KEY, b"", enc_seg_len=SEG)
    first = bytes(encryptor.segment(bytearray(PLAIN_SEG)))
    second = bytes(encryptor.segment(memoryview(bytes(PLAIN_SEG))))
    last = encryptor.final(memoryview(b"end"))
    decryptor = floe.Decryptor(KEY, b"", encryptor.header)
    opened = b"".join(decryptor.update(part) for part in (bytearray(first), memoryview(second), last))
    assert opened == bytes(2 * PLAIN_SEG) + b"end"


def test_wrong_use_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        floe.Encryptor(b"short", b"")
    for seg_len in (0, 32, floe.MAX_ENC_SEG_LEN + 1):
        with pytest.raises(ValueError, match="sealed segment"):
            floe.Encryptor(KEY, b"", enc_seg_len=seg_len)
    encryptor = floe.Encryptor(KEY, b"", enc_seg_len=SEG)
    for wrong in (b"", bytes(PLAIN_SEG - 1), bytes(PLAIN_SEG + 1)):
        with pytest.raises(ValueError, match="exactly"):
            encryptor.segment(wrong)
    with pytest.raises(ValueError, match="at most"):
        encryptor.final(bytes(PLAIN_SEG + 1))
    encryptor.final(b"")
    with pytest.raises(ValueError, match="finished"):
        encryptor.segment(bytes(PLAIN_SEG))
    with pytest.raises(ValueError, match="finished"):
        encryptor.final(b"")


def test_a_value_above_its_limit_is_refused() -> None:
    for length in (11, 10_000):
        with pytest.raises(FormatError) as caught:
            floe.open_sealed(KEY, b"", floe.seal(KEY, b"", bytes(length), enc_seg_len=SEG), max_bytes=10)
        assert caught.value.code == "format.header"


def test_failures_cross_processes() -> None:
    with pytest.raises(FormatError) as caught:
        floe.Decryptor(KEY, b"", bytes(floe.HEADER_LEN))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.code, copy.message) == (caught.value.code, caught.value.message)
