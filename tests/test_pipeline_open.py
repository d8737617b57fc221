"""Opening artifacts: every reader rule of the format, and nothing released that was not authenticated."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cancel import CancelToken
from engine.errors import Cancelled, FormatError, KeyAccessError, StoreError
from engine.stream import pipeline
from engine.stream.gzip import zlib_member
from tests.fixtures.artifacts import CATALOG_ID, CONNECTION_ID, Artifact, make_artifact, open_bytes, pieces, seal_raw

PLAINTEXT = b"PGDMP" + random.Random(3).randbytes(900)  # sealed, that is more than 10,000 bits
SMALL = make_artifact(PLAINTEXT)
LARGE = make_artifact(b"PGDMP" + random.Random(7).randbytes(3_300_000))  # four segments


def digest_of(*members: bytes) -> str:
    """By zlib, from the definition; one member a block of 1 MiB where only one piece is given."""
    if len(members) == 1:
        members = tuple(members[0][at : at + (1 << 20)] for at in range(0, len(members[0]), 1 << 20))
    return hashlib.sha256(b"".join(struct.pack("<II", zlib.crc32(m), len(m)) for m in members)).hexdigest()


def refusal(data: bytes, expected: pipeline.Expected = SMALL.expected, dek: bytes = SMALL.dek) -> FormatError:
    """The error that ``data`` is refused with; what had been released by then was a true beginning."""
    released = bytearray()
    with pytest.raises(FormatError) as caught:
        open_bytes(data, dek, expected, write=released.extend, chunk_bytes=50_000)
    truth = SMALL.plaintext if dek is SMALL.dek else LARGE.plaintext
    assert truth.startswith(released)
    return caught.value


def unknown(expected: pipeline.Expected) -> pipeline.Expected:
    """The same artifact when only its ids are known: then the seal alone must find what is wrong."""
    return pipeline.Expected(expected.artifact_id, expected.connection_id, expected.catalog_id)


@pytest.mark.parametrize("artifact", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("chunk_bytes", [1 << 20, 99_991, 7919])
def test_a_whole_artifact_opens(artifact: Artifact, chunk_bytes: int) -> None:
    out = bytearray()
    result = open_bytes(artifact.sealed, artifact.dek, artifact.expected, write=out.extend, chunk_bytes=chunk_bytes)
    assert out == artifact.plaintext
    assert result.artifact_sha256 == hashlib.sha256(artifact.sealed).hexdigest()
    assert result.members_sha256 == digest_of(artifact.plaintext)
    assert (result.size_bytes, result.plaintext_bytes) == (len(artifact.sealed), len(artifact.plaintext))
    assert result.header.artifact_id == artifact.expected.artifact_id
    assert open_bytes(artifact.sealed, artifact.dek, unknown(artifact.expected)) == result


def test_every_bit_of_a_small_artifact_counts() -> None:
    bits = len(SMALL.sealed) * 8
    assert bits > 10_000
    for bit in range(bits):
        damaged = bytearray(SMALL.sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        refusal(bytes(damaged), unknown(SMALL.expected))


def test_every_cut_of_a_small_artifact_is_refused() -> None:
    codes = {refusal(SMALL.sealed[:size], unknown(SMALL.expected)).code for size in range(len(SMALL.sealed))}
    assert codes == {"format.truncated"}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(LARGE.sealed) * 8 - 1))
def test_flips_in_a_large_artifact_are_refused(bit: int) -> None:
    damaged = bytearray(LARGE.sealed)
    damaged[bit // 8] ^= 1 << bit % 8
    error = refusal(bytes(damaged), LARGE.expected, LARGE.dek)
    assert error.code not in ("format.hash", "format.gzip")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3), st.integers(-40, 40))
def test_cuts_around_every_boundary_are_refused(segment: int, near: int) -> None:
    first = len(LARGE.sealed) % (1 << 20)
    cut = min(len(LARGE.sealed) - 1, max(0, segment * (1 << 20) + first + near))
    assert refusal(LARGE.sealed[:cut], LARGE.expected, LARGE.dek).code == "format.truncated"


@given(st.binary(min_size=1, max_size=50))
def test_extensions_are_refused(extra: bytes) -> None:
    assert refusal(SMALL.sealed + extra, SMALL.expected).code == "format.trailing"
    assert refusal(SMALL.sealed + extra, unknown(SMALL.expected)).code == "format.trailing"


def test_an_endless_object_is_not_read_to_its_end() -> None:
    def endless() -> Iterator[bytes]:
        yield LARGE.sealed[:1000]
        for _ in range(1000):
            yield b"\0" * (1 << 20)
        raise AssertionError("read far beyond the recorded size")

    with pytest.raises(FormatError):
        pipeline.open_artifact(
            endless(),
            open_dek=lambda header: LARGE.dek,
            write=None,
            expected=LARGE.expected,
            cancel=CancelToken(),
            on_progress=lambda sealed, plain: None,
        )


def test_segments_that_changed_places_or_came_twice_are_refused() -> None:
    sealed, size = LARGE.sealed, 1 << 20
    head = sealed.index(b"\xff\xff\xff\xff")
    one, two, rest = sealed[head : head + size], sealed[head + size : head + 2 * size], sealed[head + 2 * size :]
    for forged in (two + one + rest, one + one + rest, one + one + two + rest, two + rest, one + rest):
        error = refusal(sealed[:head] + forged, unknown(LARGE.expected), LARGE.dek)
        assert error.code == "format.corrupt-segment"


@pytest.mark.parametrize(
    "expected",
    [
        replace(unknown(SMALL.expected), artifact_id="0" * 32),
        replace(unknown(SMALL.expected), connection_id="0" * 32),
        replace(unknown(SMALL.expected), catalog_id="0" * 32),
    ],
)
def test_another_artifact_in_its_place_is_refused_before_any_plaintext(expected: pipeline.Expected) -> None:
    out: list[bytes] = []
    with pytest.raises(FormatError) as caught:
        open_bytes(SMALL.sealed, SMALL.dek, expected, write=out.append)
    assert caught.value.code == "format.swapped"
    assert out == []


def test_a_wrong_key_is_refused_before_any_plaintext() -> None:
    out: list[bytes] = []
    with pytest.raises(FormatError):
        open_bytes(SMALL.sealed, b"\1" * 32, SMALL.expected, write=out.append)
    assert out == []


def test_what_open_dek_raises_comes_out_as_it_is() -> None:
    def locked(header: object) -> bytes:
        raise KeyAccessError("key.locked", "the keyring is locked")

    with pytest.raises(KeyAccessError):
        pipeline.open_artifact(
            pieces(SMALL.sealed, 100),
            open_dek=locked,
            write=None,
            expected=SMALL.expected,
            cancel=CancelToken(),
            on_progress=lambda sealed, plain: None,
        )


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"PGDMP not compressed",
        zlib_member(PLAINTEXT)[:-1],
        zlib_member(PLAINTEXT)[:-8],
        zlib_member(PLAINTEXT) + b"\0",
        zlib_member(PLAINTEXT) + zlib_member(b"")[:10],
    ],
)
def test_a_bad_gzip_stream_under_a_good_seal_is_refused(stream: bytes) -> None:
    sealed, dek, artifact_id = seal_raw(stream)
    with pytest.raises(FormatError) as caught:
        open_bytes(sealed, dek, pipeline.Expected(artifact_id, CONNECTION_ID, CATALOG_ID))
    assert caught.value.code == "format.gzip"


def test_a_bomb_under_a_good_seal_stops_at_the_recorded_size() -> None:
    sealed, dek, artifact_id = seal_raw(zlib_member(b"\0" * (30 << 20)))
    out = bytearray()
    expected = pipeline.Expected(artifact_id, CONNECTION_ID, CATALOG_ID, plaintext_bytes=5_000_000)
    with pytest.raises(FormatError):
        open_bytes(sealed, dek, expected, write=out.extend)
    assert len(out) <= 5_000_000


@pytest.mark.parametrize(
    "expected",
    [
        replace(SMALL.expected, artifact_sha256="0" * 64),
        replace(SMALL.expected, members_sha256="0" * 64),
        replace(SMALL.expected, plaintext_sha256="0" * 64),
        replace(SMALL.expected, size_bytes=len(SMALL.sealed) + 1),
        replace(SMALL.expected, plaintext_bytes=len(PLAINTEXT) + 1),
    ],
)
def test_every_recorded_number_is_compared(expected: pipeline.Expected) -> None:
    assert refusal(SMALL.sealed, expected).code == "format.hash"


def test_the_plaintext_hash_of_an_earlier_snapshot_is_still_compared() -> None:
    earlier = replace(SMALL.expected, members_sha256=None, plaintext_sha256=hashlib.sha256(PLAINTEXT).hexdigest())
    assert open_bytes(SMALL.sealed, SMALL.dek, earlier).plaintext_bytes == len(PLAINTEXT)


def test_members_in_another_order_are_seen_by_the_digest_alone() -> None:
    one, two = PLAINTEXT[:450], PLAINTEXT[450:900]
    sealed, dek, artifact_id = seal_raw(zlib_member(two) + zlib_member(one))
    expected = pipeline.Expected(
        artifact_id, CONNECTION_ID, CATALOG_ID, plaintext_bytes=900, members_sha256=digest_of(one, two)
    )
    with pytest.raises(FormatError) as caught:
        open_bytes(sealed, dek, expected)
    assert (caught.value.code, "members" in caught.value.message) == ("format.hash", True)


def test_an_error_says_whether_the_object_was_altered() -> None:
    damaged = bytearray(LARGE.sealed)
    damaged[600_000] ^= 1
    error = refusal(bytes(damaged), LARGE.expected, LARGE.dek)
    assert (error.code, error.context["altered"]) == ("format.corrupt-segment", True)
    assert "altered after it was written" in error.__notes__[0]
    sealed, dek, artifact_id = seal_raw(zlib_member(PLAINTEXT) + b"\0")
    recorded = hashlib.sha256(sealed).hexdigest()
    with pytest.raises(FormatError) as caught:
        open_bytes(sealed, dek, pipeline.Expected(artifact_id, CONNECTION_ID, CATALOG_ID, recorded))
    assert caught.value.context["altered"] is False


def test_a_destination_that_fails_meanwhile_hides_no_finding() -> None:
    damaged = bytearray(LARGE.sealed)
    damaged[600_000] ^= 1

    def failing() -> Iterator[bytes]:
        yield bytes(damaged[:1_500_000])
        raise StoreError("store.timeout", "the destination went away")

    with pytest.raises(FormatError) as caught:
        pipeline.open_artifact(
            failing(),
            open_dek=lambda header: LARGE.dek,
            write=None,
            expected=LARGE.expected,
            cancel=CancelToken(),
            on_progress=lambda sealed, plain: None,
        )
    assert caught.value.code == "format.corrupt-segment"
    assert "the destination went away" in caught.value.__notes__[0]


def test_opening_can_be_cancelled() -> None:
    cancel = CancelToken()
    with pytest.raises(Cancelled):
        pipeline.open_artifact(
            pieces(LARGE.sealed, 1000),
            open_dek=lambda header: LARGE.dek,
            write=lambda block: cancel.cancel(),
            expected=LARGE.expected,
            cancel=cancel,
            on_progress=lambda sealed, plain: None,
        )
