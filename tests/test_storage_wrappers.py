"""Retries and injected faults."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cancel import CancelToken
from engine.errors import Cancelled, ConfigError, StoreError
from engine.model import Destination, DestinationKind
from engine.storage.base import ObjectInfo, Storage
from engine.storage.faulty import Call, Effect, Fault, FaultyStorage
from engine.storage.opening import open_destination
from engine.storage.retry import RetryingStorage, RetryPolicy
from tests.contract.backends import content, local, upload

PASSING = StoreError("store.io", "it passes", retry=True)
LASTING = StoreError("store.denied", "it lasts")
DATA = bytes(range(256)) * 4


@contextmanager
def refused(code: str) -> Iterator[None]:
    with pytest.raises(StoreError) as caught:
        yield
    assert caught.value.code == code


class Stopwatch:
    """Waits without waiting, and remembers how long it would have been."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def __call__(self, cancel: CancelToken, delay_s: float) -> None:
        self.waits.append(delay_s)


def patient(inner: Storage, stopwatch: Stopwatch, attempts: int = 5) -> RetryingStorage:
    policy = RetryPolicy(attempts=attempts, first_s=1.0, cap_s=4.0)
    return RetryingStorage(inner, cancel=CancelToken(), policy=policy, wait=stopwatch, spread=lambda: 1.0)


@pytest.fixture
def stopwatch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def inner(tmp_path: Path) -> Storage:
    storage = local(tmp_path / "destination")
    upload(storage, "v1/x", DATA)
    return storage


def test_a_passing_error_is_waited_out_with_growing_bounded_waits(inner: Storage, stopwatch: Stopwatch) -> None:
    faults = [Fault(Call.STAT, Effect.FAIL, nth=n, error=PASSING) for n in (1, 2, 3, 4)]
    assert patient(FaultyStorage(inner, faults), stopwatch).stat("v1/x").size_bytes == len(DATA)
    assert stopwatch.waits == [1.0, 2.0, 4.0, 4.0]


def test_patience_ends(inner: Storage, stopwatch: Stopwatch) -> None:
    storage = patient(FaultyStorage(inner, [Fault(Call.STAT, Effect.FAIL, nth=None, error=PASSING)]), stopwatch, 3)
    with refused("store.io"):
        storage.stat("v1/x")
    assert len(stopwatch.waits) == 2


def test_a_lasting_error_is_not_repeated(inner: Storage, stopwatch: Stopwatch) -> None:
    storage = patient(FaultyStorage(inner, [Fault(Call.STAT, Effect.FAIL, error=LASTING)]), stopwatch)
    with refused("store.denied"):
        storage.stat("v1/x")
    assert stopwatch.waits == []


def test_a_broken_read_goes_on_where_it_broke(inner: Storage, stopwatch: Stopwatch) -> None:
    faults = [
        Fault(Call.READ, Effect.FAIL, nth=1, at_bytes=100, error=PASSING),
        Fault(Call.READ, Effect.FAIL, nth=2, at_bytes=333, error=PASSING),
    ]
    storage = patient(FaultyStorage(inner, faults), stopwatch)
    blocks = storage.read("v1/x", offset=10, length=900, chunk_bytes=64, cancel=CancelToken())
    assert b"".join(blocks) == DATA[10:910]
    assert stopwatch.waits == [1.0, 1.0]  # bytes came in between: the count begins anew


def test_a_read_never_joins_two_versions(inner: Storage, stopwatch: Stopwatch) -> None:
    storage = patient(FaultyStorage(inner, [Fault(Call.READ, Effect.FAIL, at_bytes=100, error=PASSING)]), stopwatch)
    blocks = storage.read("v1/x", chunk_bytes=64, cancel=CancelToken())
    next(blocks)
    inner.put("v1/x", b"other", replace=True)
    with refused("store.io"):
        list(blocks)


class BreakingList(FaultyStorage):
    """Its first list breaks off behind the third object."""

    broken = False

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for n, info in enumerate(super().list(prefix)):
            if n == 3 and not self.broken:
                self.broken = True
                raise PASSING
            yield info


def test_a_broken_list_goes_on_without_repeating(inner: Storage, stopwatch: Stopwatch) -> None:
    for n in range(5):
        inner.put(f"v1/{n}", b"")
    storage = patient(BreakingList(inner), stopwatch)
    assert [info.key for info in storage.list("v1/")] == ["v1/0", "v1/1", "v1/2", "v1/3", "v1/4", "v1/x"]


@pytest.mark.parametrize("call", [Call.WRITE, Call.COMMIT])
def test_writes_and_commits_are_never_repeated(inner: Storage, stopwatch: Stopwatch, call: Call) -> None:
    storage = patient(FaultyStorage(inner, [Fault(call, Effect.FAIL, error=PASSING)]), stopwatch)
    with refused("store.io"):
        upload(storage, "v1/new", b"x")
    assert stopwatch.waits == []
    with refused("store.missing"):
        inner.stat("v1/new")


def test_put_is_repeated_only_when_it_may_replace(inner: Storage, stopwatch: Stopwatch) -> None:
    storage = patient(
        FaultyStorage(inner, [Fault(Call.PUT, Effect.FAIL, nth=n, error=PASSING) for n in (1, 2)]), stopwatch
    )
    with refused("store.io"):
        storage.put("m", b"x")
    assert stopwatch.waits == []
    storage.put("m", b"y", replace=True)
    assert stopwatch.waits == [1.0]


def test_a_delete_whose_answer_was_lost_counts(inner: Storage, stopwatch: Stopwatch) -> None:
    storage = patient(FaultyStorage(inner, [Fault(Call.DELETE, Effect.FAIL, error=PASSING)]), stopwatch)
    inner.delete("v1/x")
    assert storage.delete("v1/x") is True
    assert storage.delete("v1/x") is False


def test_a_failed_abort_is_repeated(inner: Storage, stopwatch: Stopwatch) -> None:
    storage = patient(FaultyStorage(inner, [Fault(Call.ABORT, Effect.FAIL, error=PASSING)]), stopwatch)
    with storage.begin_upload("v1/new", expected_bytes=1, cancel=CancelToken()) as begun:
        begun.write(b"x")
    assert list(inner.list_unfinished()) == []
    assert stopwatch.waits == [1.0]


def test_an_abort_that_fails_for_good_is_a_note_on_the_first_error(inner: Storage) -> None:
    faults = [Fault(Call.COMMIT, Effect.FAIL, error=LASTING), Fault(Call.ABORT, Effect.FAIL)]
    with pytest.raises(StoreError) as caught:
        upload(FaultyStorage(inner, faults), "v1/new", b"x")
    assert caught.value.code == "store.denied"
    assert "injected fault: abort" in caught.value.__notes__[0]


def test_cancel_ends_the_waiting(inner: Storage) -> None:
    cancel = CancelToken()
    faulty = FaultyStorage(inner, [Fault(Call.STAT, Effect.FAIL, nth=None, error=PASSING)])

    def wait(token: CancelToken, delay_s: float) -> None:
        token.cancel()
        assert token.wait(delay_s)

    storage = RetryingStorage(faulty, cancel=cancel, policy=RetryPolicy(first_s=3600, cap_s=3600), wait=wait)
    with refused("store.io"):
        storage.stat("v1/x")


@given(st.integers(1, 60), st.floats(0, 1, exclude_max=True))
def test_waits_are_bounded(failures: int, spread: float) -> None:
    policy = RetryPolicy()
    assert 0.25 <= policy.delay_s(failures, spread) <= policy.cap_s


# -- faults


def test_damage_flips_one_bit_and_nothing_else(inner: Storage) -> None:
    storage = FaultyStorage(inner, [Fault(Call.READ, Effect.DAMAGE, nth=2, at_bytes=700)])
    assert content(storage, "v1/x") == DATA
    damaged = content(storage, "v1/x")
    assert [i for i in range(len(DATA)) if damaged[i] != DATA[i]] == [700]
    assert content(storage, "v1/x") == DATA


def test_a_cut_read_ends_early_without_a_word(inner: Storage) -> None:
    assert content(FaultyStorage(inner, [Fault(Call.READ, Effect.CUT, at_bytes=300)]), "v1/x") == DATA[:300]


def test_a_lost_object_was_committed_and_is_gone(inner: Storage) -> None:
    storage = FaultyStorage(inner, [Fault(Call.COMMIT, Effect.LOSE, key_suffix=".odb")])
    upload(storage, "v1/a", b"kept")
    upload(storage, "v1/a.odb", b"lost")
    assert [info.key for info in storage.list()] == ["v1/a", "v1/x"]


@pytest.mark.parametrize("call", [Call.BEGIN, Call.WRITE, Call.COMMIT])
def test_a_hanging_upload_hangs_until_cancelled(inner: Storage, call: Call) -> None:
    cancel = CancelToken()
    storage = FaultyStorage(inner, [Fault(call, Effect.HANG)])
    errors: list[Cancelled] = []

    def run() -> None:
        try:
            upload(storage, "v1/new", b"x", cancel)
        except Cancelled as e:
            errors.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    cancel.cancel()
    thread.join(10)
    assert not thread.is_alive()
    assert [e.code for e in errors] == ["job.cancelled"]
    assert list(inner.list_unfinished()) == []


def test_a_fault_must_make_sense() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Fault(Call.WRITE, Effect.CUT)
    with pytest.raises(ValueError, match="no token"):
        Fault(Call.STAT, Effect.HANG)


def test_a_round_trip_names_the_step_that_failed(inner: Storage, tmp_path: Path) -> None:
    root = tmp_path / "destination"
    (root / "v1" / "x").unlink()
    (root / "v1").rmdir()
    (root / "v1").write_text("in the way")
    tested = inner.test(CancelToken())
    assert not tested.ok
    assert [step.ok for step in tested.steps] == [False, *[None] * 6]
    assert tested.steps[0].error is not None
    assert tested.steps[0].error.code == "store.exists"


# -- opening a destination of the catalog


def destination(folder: Path | None, kind: DestinationKind = DestinationKind.FOLDER) -> Destination:
    return Destination("d1", "disk", kind, None if folder is None else str(folder), datetime.now(UTC), None)


def test_a_destination_is_made_once_and_opened_ever_after(tmp_path: Path) -> None:
    record = destination(tmp_path / "new" / "disk")
    with refused("store.unreachable"):
        open_destination(record).put("x", b"x")
    assert open_destination(record, create=True).test(CancelToken()).ok
    open_destination(record).put("x", b"x")
    assert content(open_destination(record), "x") == b"x"


@pytest.mark.parametrize("kind", DestinationKind)
def test_a_record_that_does_not_say_where_it_is_is_refused(kind: DestinationKind) -> None:
    with pytest.raises(ConfigError) as caught:
        open_destination(destination(None, kind))
    assert caught.value.code == "config.invalid"


def test_whoever_cleans_up_after_a_destination_that_is_gone_does_not_wait_again(
    inner: Storage, stopwatch: Stopwatch
) -> None:
    faults = [Fault(Call.STAT, Effect.FAIL, nth=n, error=PASSING) for n in (1, 2, 3, 4)]
    storage = patient(FaultyStorage(inner, faults), stopwatch, attempts=3)
    with refused("store.io"):
        storage.stat("v1/x")
    assert len(stopwatch.waits) == 2
    with refused("store.io"):
        storage.stat("v1/x")
    assert len(stopwatch.waits) == 2, "a second call is made once"
    assert storage.stat("v1/x").size_bytes == len(DATA)
