"""Sealing: what is read is what can be opened, the first error wins, and no thread is left."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cancel import CancelToken
from engine.errors import Cancelled, FormatError, Internal, SourceError, StoreError
from engine.storage.faulty import Call, Effect, Fault, FaultyStorage
from engine.stream import container, pipeline
from engine.stream.gzip import best_compressor
from tests.contract.backends import content, local
from tests.fixtures.artifacts import make_artifact, open_bytes, reader_of, seal_into

ROWS = b"PGDMP" + random.Random(1).randbytes(5_000_000)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


class Source:
    """Gives ``before``, then waits as a stuck server does, until it is killed; then ends its stream."""

    def __init__(self, before: bytes, cancel: CancelToken) -> None:
        self._read = reader_of(before)
        self._cancel = cancel
        self.waiting = threading.Event()

    def __call__(self, size: int) -> bytes:
        if piece := self._read(size):
            return piece
        self.waiting.set()
        while not self._cancel.wait(60):
            pass
        return b""


@settings(max_examples=25, deadline=None)
@given(
    size=st.sampled_from([0, 1, 4096, (1 << 20) - 6, (1 << 20) - 5, (1 << 20) - 4, 3_000_000]),
    most=st.sampled_from([1009, 65_536, 1 << 18, 1 << 22]),
    fill=st.sampled_from([b"\0", ROWS[5:1_000_000]]),
)
def test_what_was_read_can_be_opened(size: int, most: int, fill: bytes) -> None:
    plaintext = b"PGDMP" + (fill * (size // len(fill) + 1))[:size]
    sealed, dek = bytearray(), b"k" * 32
    result = seal_into(reader_of(plaintext, most), sealed.extend, dek=dek)
    expected = pipeline.Expected(
        "aa" * 16,
        "c1" * 16,
        "c0" * 16,
        result.artifact_sha256,
        result.size_bytes,
        result.plaintext_bytes,
        result.members_sha256,
    )
    out = bytearray()
    open_bytes(bytes(sealed), dek, expected, write=out.extend)
    assert out == plaintext


def test_two_artifacts_of_one_plaintext_share_nothing_but_the_header() -> None:
    one, two = make_artifact(ROWS[:100_000]), make_artifact(ROWS[:100_000])
    head = len(one.sealed) - 100_000
    assert not any(one.sealed[at : at + 8] in two.sealed for at in range(head, len(one.sealed), 997))


def test_progress_counts_both_sides_up_to_the_result() -> None:
    seen: list[tuple[int, int]] = []
    result = seal_into(reader_of(ROWS), lambda data: None, on_progress=lambda *counts: seen.append(counts))
    assert seen == sorted(seen)
    assert len(seen) >= 5
    assert seen[-1] == (result.plaintext_bytes, result.size_bytes)


@pytest.mark.parametrize("output", [b"", b"PGDM", b"-- PostgreSQL database dump", b"pgdmp" * 500_000])
def test_f10_a_dump_that_is_none_writes_nothing(output: bytes) -> None:
    written: list[object] = []
    cancel = CancelToken()
    with pytest.raises(SourceError) as caught:
        seal_into(reader_of(output), written.append, cancel=cancel)
    assert caught.value.code == "pg.dump-failed"
    assert written == []
    assert not cancel.cancelled


@pytest.mark.parametrize("at", [0, -1, -5])
def test_a_block_altered_on_its_way_to_the_compressor_is_noticed_at_once(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = best_compressor()

    def altering(block: bytes | bytearray | memoryview) -> bytes:
        if at >= 0:
            cast("memoryview", block)[at] ^= 1  # what was read into is written to again
            return real(block)
        member = bytearray(real(block))
        member[at] ^= 1
        return bytes(member)

    monkeypatch.setattr(pipeline, "best_compressor", lambda: altering)
    with pytest.raises(Internal, match="altered in memory"):
        seal_into(reader_of(ROWS), lambda data: None)


def test_an_error_of_the_source_comes_out_and_leaves_the_token_alone() -> None:
    read, cancel = reader_of(ROWS), CancelToken()

    def failing(size: int) -> bytes:
        if piece := read(size):
            return piece
        raise OSError("the pipe broke")

    with pytest.raises(OSError, match="the pipe broke"):
        seal_into(failing, lambda data: None, cancel=cancel)
    assert not cancel.cancelled


def failing_write(after: int) -> Callable[[object], None]:
    calls = 0

    def write(data: object) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise StoreError("store.full", "no room left")

    return write


@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_error_of_the_destination_stops_a_source_that_moves(after: int) -> None:
    def endless(size: int) -> bytes:
        return ROWS[:size]

    cancel = CancelToken()
    with pytest.raises(StoreError) as caught:
        seal_into(endless, failing_write(after), cancel=cancel)
    assert caught.value.code == "store.full"
    assert not cancel.cancelled  # the attempt failed, the job may try again


def test_an_error_of_the_destination_cancels_a_source_that_is_stuck() -> None:
    cancel = CancelToken()
    source = Source(ROWS[: (2 << 20) + 10], cancel)
    fail = failing_write(2)

    def write(data: object) -> None:
        source.waiting.wait(30)
        fail(data)

    with pytest.raises(StoreError) as caught:
        seal_into(source, write, cancel=cancel)
    assert caught.value.code == "store.full"
    assert cancel.error is caught.value


def test_f25_a_stalled_source_is_given_up() -> None:
    cancel = CancelToken()
    with pytest.raises(Cancelled) as caught:
        seal_into(Source(ROWS, cancel), lambda data: None, cancel=cancel, stall_timeout_s=0.2)
    assert caught.value.code == "job.stalled"


def test_f25_a_stalled_destination_is_given_up(tmp_path: Path) -> None:
    cancel = CancelToken()
    storage = FaultyStorage(local(tmp_path / "d"), [Fault(Call.WRITE, Effect.HANG, nth=3)])

    def run() -> None:
        with storage.begin_upload("v1/x", expected_bytes=1, cancel=cancel) as upload:
            seal_into(reader_of(ROWS), upload.write, cancel=cancel, stall_timeout_s=0.2)
            upload.commit()

    with pytest.raises(Cancelled) as caught:
        run()
    assert caught.value.code == "job.stalled"
    assert list(storage.list()) == []
    assert list(storage.list_unfinished()) == []


def test_a_source_that_ends_because_it_was_killed_is_no_whole_dump() -> None:
    cancel = CancelToken()
    source = Source(ROWS, cancel)

    def stop() -> None:
        source.waiting.wait(30)
        cancel.cancel()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(Cancelled) as caught:
        seal_into(source, lambda data: None, cancel=cancel)
    stopper.join()
    assert caught.value.code == "job.cancelled"


def test_a_killed_source_may_end_before_the_pipeline_hears_of_the_cancel() -> None:
    cancel, killed, waiting = CancelToken(), threading.Event(), threading.Event()
    read = reader_of(ROWS)
    outcome: list[BaseException | pipeline.SealResult] = []

    def dump(size: int) -> bytes:
        if piece := read(size):
            return piece
        waiting.set()
        killed.wait(30)
        return b""

    def run() -> None:
        try:
            outcome.append(seal_into(dump, lambda data: None, cancel=cancel))
        except Cancelled as e:
            outcome.append(e)

    sealing = threading.Thread(target=run)

    def kill() -> None:
        killed.set()
        sealing.join(30)

    with cancel.on_cancel(kill):
        sealing.start()
        waiting.wait(30)
        cancel.cancel()
    assert [type(o) for o in outcome] == [Cancelled]


def test_the_reason_for_a_cancel_is_told_and_not_the_torn_end() -> None:
    cancel = CancelToken()
    reason = SourceError("pg.snapshot-lost", "the session is gone")
    read = reader_of(ROWS)

    def torn(size: int) -> bytes:
        if piece := read(size):
            return piece
        cancel.cancel(reason)
        raise ValueError("read of closed file")

    with pytest.raises(SourceError) as caught:
        seal_into(torn, lambda data: None, cancel=cancel)
    assert caught.value is reason


def test_a_cancelled_token_starts_nothing() -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        seal_into(reader_of(ROWS), lambda data: None, cancel=cancel)


def test_a_slow_destination_holds_the_source_back() -> None:
    """Bounded memory: while nothing is written only a few blocks are read ahead, of however many there are."""
    cancel = CancelToken()
    read_bytes = 0
    idle = threading.Event()

    def endless(size: int) -> bytes:
        nonlocal read_bytes
        read_bytes += size
        idle.clear()
        return ROWS[:size]

    def stuck(data: object) -> None:
        while not idle.is_set():
            idle.set()
            cancel.wait(0.3)  # quiet for so long: the source is held back
        cancel.cancel()

    with pytest.raises(Cancelled):
        seal_into(endless, stuck, cancel=cancel)
    assert read_bytes <= 12 << 20


def test_a_sealed_upload_is_whole_at_the_destination(tmp_path: Path) -> None:
    storage = local(tmp_path / "d")
    with storage.begin_upload("v1/x.odb", expected_bytes=1, cancel=CancelToken()) as upload:
        result = seal_into(reader_of(ROWS), upload.write)
        assert upload.commit().size_bytes == result.size_bytes
    assert len(content(storage, "v1/x.odb")) == result.size_bytes


def test_an_artifact_never_outgrows_its_format(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bytearray()
    seal_into(reader_of(ROWS), whole.extend)
    monkeypatch.setattr(container, "MAX_BYTES", len(whole) - 1)
    written = bytearray()
    with pytest.raises(FormatError) as caught:
        seal_into(reader_of(ROWS), written.extend)
    assert caught.value.code == "format.too-large"
    assert len(written) < len(whole)
