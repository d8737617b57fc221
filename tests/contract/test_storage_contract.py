"""The contract of ``engine.storage.base``, sentence by sentence, on every backend."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.cancel import CancelToken
from engine.errors import Cancelled, Internal, OffsiteError, StoreError
from engine.storage.base import Erasure, Storage, validate_key
from tests.contract.backends import BACKENDS, BUCKETS, Place, content, files_beneath, nowhere, upload
from tests.fixtures.ceph import Ceph

STEPS = ["take back", "upload", "commit", "stat", "read a range", "list", "delete"]


@pytest.fixture(params=[*sorted(BACKENDS), *(pytest.param(name, marks=pytest.mark.slow) for name in BUCKETS)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param in BUCKETS:
        ceph: Ceph = request.getfixturevalue("ceph")
        bucket = ceph.bucket()
        return Place(BUCKETS[request.param](ceph.storage(bucket)), partial(ceph.content, bucket), tree=False)
    root = tmp_path / "destination"
    return Place(BACKENDS[request.param](root), lambda: set(files_beneath(root)))


@pytest.fixture
def storage(place: Place) -> Storage:
    return place.storage


def refused(code: str) -> pytest.RaisesExc[StoreError]:
    return pytest.RaisesExc(StoreError, check=lambda e: e.code == code)


def is_empty(storage: Storage) -> bool:
    return not list(storage.list()) and not list(storage.list_unfinished())


def refusal(call: Callable[[], object]) -> str | None:
    """The code that ``call`` is refused with; None if it was not."""
    try:
        call()
    except StoreError as e:
        return e.code
    return None


def test_nothing_is_seen_before_commit_and_the_whole_object_after(storage: Storage) -> None:
    key = "v1/conn/00000001-aa.odb"
    with storage.begin_upload(key, expected_bytes=10, cancel=CancelToken()) as begun:
        assert begun.key == key
        begun.write(b"hello ")
        begun.write(bytearray(b"wor"))
        begun.write(memoryview(b"ld"))
        with refused("store.missing"):
            storage.stat(key)
        with refused("store.missing"):
            content(storage, key)
        assert list(storage.list()) == []
        info = begun.commit()
    assert info.key == key
    assert info.size_bytes == 11
    assert abs(info.modified_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert storage.stat(key) == info
    assert list(storage.list()) == [info]
    assert content(storage, key) == b"hello world"


def test_a_written_buffer_may_be_reused(storage: Storage) -> None:
    buffer = bytearray(b"first")
    with storage.begin_upload("k", expected_bytes=10, cancel=CancelToken()) as begun:
        begun.write(buffer)
        buffer[:] = b"again"
        begun.write(buffer)
        begun.commit()
    assert content(storage, "k") == b"firstagain"


def test_an_empty_object_is_an_object(storage: Storage) -> None:
    with storage.begin_upload("empty", expected_bytes=0, cancel=CancelToken()) as begun:
        assert begun.commit().size_bytes == 0
    assert content(storage, "empty") == b""


def test_abort_leaves_nothing_and_may_be_repeated(place: Place) -> None:
    begun = place.storage.begin_upload("v1/gone", expected_bytes=3, cancel=CancelToken())
    begun.write(b"abc")
    begun.abort()
    begun.abort()
    assert list(place.storage.list()) == []
    assert list(place.storage.list_unfinished()) == []
    assert place.leftovers() == set()


def test_abort_after_commit_is_a_no_op(storage: Storage) -> None:
    begun = storage.begin_upload("kept", expected_bytes=3, cancel=CancelToken())
    begun.write(b"abc")
    begun.commit()
    begun.abort()
    assert content(storage, "kept") == b"abc"


def test_leaving_the_block_without_commit_aborts(place: Place) -> None:
    def fail() -> None:
        with place.storage.begin_upload("gone", expected_bytes=3, cancel=CancelToken()) as begun:
            begun.write(b"abc")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with place.storage.begin_upload("gone2", expected_bytes=3, cancel=CancelToken()) as begun:
        begun.write(b"abc")
    assert place.leftovers() == set()


def test_an_upload_that_is_over_takes_nothing_more(storage: Storage) -> None:
    begun = storage.begin_upload("over", expected_bytes=3, cancel=CancelToken())
    begun.commit()
    with pytest.raises(Internal):
        begun.write(b"more")
    with pytest.raises(Internal):
        begun.commit()


def test_a_cancelled_upload_stops_and_can_still_be_aborted(place: Place) -> None:
    cancel = CancelToken()
    begun = place.storage.begin_upload("v1/x", expected_bytes=3, cancel=cancel)
    begun.write(b"abc")
    cancel.cancel()
    with pytest.raises(Cancelled):
        begun.write(b"d")
    with pytest.raises(Cancelled):
        begun.commit()
    begun.abort()
    assert is_empty(place.storage)
    with pytest.raises(Cancelled):
        place.storage.begin_upload("v1/y", expected_bytes=3, cancel=cancel)
    upload(place.storage, "z", b"abc")
    with pytest.raises(Cancelled):
        list(place.storage.read("z", cancel=cancel))


def test_an_existing_object_is_never_overwritten_by_an_upload(storage: Storage) -> None:
    late = storage.begin_upload("one", expected_bytes=3, cancel=CancelToken())
    late.write(b"late")
    upload(storage, "one", b"first")
    with refused("store.exists"):
        late.commit()
    late.abort()
    with refused("store.exists"):
        upload(storage, "one", b"second")
    assert content(storage, "one") == b"first"
    assert list(storage.list_unfinished()) == []


def test_put_refuses_an_existing_object_unless_told_to_replace(storage: Storage) -> None:
    assert storage.put("m.json", b"one").size_bytes == 3
    with refused("store.exists"):
        storage.put("m.json", b"two")
    assert content(storage, "m.json") == b"one"
    assert storage.put("m.json", b"three", replace=True).size_bytes == 5
    assert storage.put("n.json", b"new", replace=True).size_bytes == 3
    assert content(storage, "m.json") == b"three"


def test_a_key_is_never_the_directory_of_another_in_a_tree(place: Place) -> None:
    if not place.tree:
        pytest.skip("a bucket is no tree")
    storage = place.storage
    storage.put("a/b", b"1")
    with refused("store.exists"):
        storage.put("a", b"2")
    with refused("store.exists"):
        storage.put("a", b"2", replace=True)
    with refused("store.exists"):
        storage.put("a/b/c", b"3")
    for absent in ("a", "a/b/c"):
        with refused("store.missing"):
            storage.stat(absent)
        with refused("store.missing"):
            content(storage, absent)
        assert storage.delete(absent) is False
    assert content(storage, "a/b") == b"1"


def test_exactly_one_of_many_uploads_to_one_key_wins(storage: Storage) -> None:
    start = threading.Barrier(8)
    outcomes: list[str] = []

    def contend(n: int) -> None:
        with storage.begin_upload("v1/contended", expected_bytes=8, cancel=CancelToken()) as begun:
            begun.write(bytes([n]) * 1000)
            start.wait()
            try:
                begun.commit()
                outcomes.append(f"won {n}")
            except OffsiteError as e:
                outcomes.append(e.code)

    threads = [threading.Thread(target=contend, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[:7] == ["store.exists"] * 7
    winner = int(next(o for o in outcomes if o.startswith("won")).split()[1])
    assert content(storage, "v1/contended") == bytes([winner]) * 1000
    assert list(storage.list_unfinished()) == []


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, None, slice(None)),
        (7, None, slice(7, None)),
        (7, 3, slice(7, 10)),
        (990, 100, slice(990, 1000)),
        (1000, None, slice(1000, None)),
        (5000, 10, slice(1000, None)),
        (3, 0, slice(3, 3)),
    ],
)
def test_ranges_are_cut_at_the_end(storage: Storage, offset: int, length: int | None, expected: slice) -> None:
    data = bytes(range(250)) * 4
    upload(storage, "r", data)
    blocks = list(storage.read("r", offset=offset, length=length, chunk_bytes=64, cancel=CancelToken()))
    assert b"".join(blocks) == data[expected]
    assert all(0 < len(block) <= 64 for block in blocks)


def test_an_absent_object_is_missing(storage: Storage) -> None:
    for key in ("nothing", "no/such/thing"):
        with refused("store.missing"):
            storage.stat(key)
        with refused("store.missing"):
            content(storage, key)
        assert storage.delete(key) is False


def test_delete_says_whether_something_went(storage: Storage) -> None:
    upload(storage, "v1/d", b"x")
    assert storage.delete("v1/d") is True
    assert storage.delete("v1/d") is False
    with refused("store.missing"):
        storage.stat("v1/d")
    upload(storage, "v1/d", b"again")
    assert content(storage, "v1/d") == b"again"


_segment = st.text(st.sampled_from("ab-.0Zé~ "), min_size=1, max_size=4).filter(lambda s: s not in (".", ".."))
_keys = st.lists(_segment, min_size=1, max_size=3).map("/".join)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.sets(_keys, max_size=8), prefix=st.text(st.sampled_from("ab-./0"), max_size=3))
def test_list_is_sorted_by_bytes_and_cut_by_prefix(storage: Storage, keys: set[str], prefix: str) -> None:
    for old in list(storage.list()):
        storage.delete(old.key)
    stored = []
    for key in sorted(keys):
        code = refusal(partial(storage.put, key, key.encode()))
        assert code in (None, "store.exists")  # exists: a directory of another key or an earlier example
        if code is None:
            stored.append(key)
    expected = sorted((key for key in stored if key.startswith(prefix)), key=str.encode)
    assert [info.key for info in storage.list(prefix)] == expected


def test_list_survives_objects_that_go_meanwhile(storage: Storage) -> None:
    keys = [f"v1/{n}/x" for n in range(5)]
    for key in keys:
        storage.put(key, b"1")
    listing = storage.list("v1/")
    assert next(listing).key == keys[0]
    for key in keys[1:4]:
        storage.delete(key)
    rest = [info.key for info in listing]
    assert rest[-1] == keys[4]
    assert rest == sorted(set(rest) & set(keys[1:])), "what went meanwhile may be named or not, nothing else"


def evil_names() -> Iterator[str]:
    """80 keys that would leave the root, confuse a terminal, or clash with the backend's own names."""
    for bad in ("", ".", "..", "\\", "a\\b", "C:\\x", "\ud800"):
        yield bad
        yield f"v1/{bad}/x"
        yield f"v1/{bad}" if bad else "v1/"
        yield f"{bad}/x" if bad else "/x"
    controls = (
        "\0",
        "\n",
        "\r",
        "\t",
        "\x1b[2J",
        "\x07",
        "\x7f",
        "\x9b",
        "\u200b",
        "\u202e",
        "\u2028",
        "\ufeff",
        "\u00ad",
        "\u2029",
        "\u2066",
    )
    for bad in controls:
        yield f"v1/{bad}"
        yield f"v1/a{bad}b/x"
        yield bad
    yield from ("/etc/passwd", "//etc/passwd", "v1//x", "v1/../../x", "../x", "v1/x/..", "v1/./x", "./x")
    yield from ("x" * 256, "é" * 128, "a/" * 512 + "x", "a" * 1025, "v1/" + "y" * 4096)


EVIL = sorted(set(evil_names()), key=repr)


def test_there_are_at_least_eighty_evil_names() -> None:
    assert len(EVIL) >= 80


@pytest.mark.parametrize("key", [*EVIL, ".partial-00000000-x", "v1/.partial-x/y", "OFFSITEDB-DESTINATION"], ids=ascii)
def test_evil_names_are_refused_by_every_call(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    above = tmp_path_factory.mktemp("evil")
    for name, make in {**BACKENDS, "nowhere": nowhere}.items():
        storage = make(above / name)
        before = files_beneath(above)
        with refused("store.bad-key"):
            storage.begin_upload(key, expected_bytes=1, cancel=CancelToken())
        with refused("store.bad-key"):
            storage.put(key, b"x", replace=True)
        with refused("store.bad-key"):
            storage.stat(key)
        with refused("store.bad-key"):
            content(storage, key)
        with refused("store.bad-key"):
            storage.delete(key)
        assert files_beneath(above) == before


@given(st.text(max_size=40))
def test_what_is_accepted_is_harmless(key: str) -> None:
    code = refusal(partial(validate_key, key))
    assert code in (None, "store.bad-key")
    if code is not None:
        return
    segments = validate_key(key)
    assert "/".join(segments) == key
    assert not any(s in ("", ".", "..") or "\0" in s or "\x1b" in s for s in segments)


def test_a_round_trip_names_its_steps_and_leaves_nothing(place: Place) -> None:
    tested = place.storage.test(CancelToken())
    assert tested.ok
    assert [step.name for step in tested.steps] == STEPS
    assert is_empty(place.storage)


def test_a_cancelled_round_trip_raises_and_leaves_nothing(place: Place) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        place.storage.test(cancel)
    assert is_empty(place.storage)


def test_an_upload_in_progress_is_never_swept(storage: Storage) -> None:
    with storage.begin_upload("v1/alive", expected_bytes=3, cancel=CancelToken()) as begun:
        begun.write(b"abc")
        assert list(storage.list_unfinished()) == []
        assert storage.sweep(now=datetime.now(UTC) + timedelta(days=365)) == ()
        begun.commit()
    assert content(storage, "v1/alive") == b"abc"


# -- erasing


def test_what_is_erased_is_gone_and_said_to_be(place: Place) -> None:
    upload(place.storage, "v1/a/gone.odb", b"data")
    upload(place.storage, "v1/a/gone.odb2", b"a neighbour whose key begins alike")
    assert place.storage.held("v1/a/gone.odb") is None
    assert place.storage.erase("v1/a/gone.odb").result is Erasure.DELETED
    with pytest.raises(StoreError):
        place.storage.stat("v1/a/gone.odb")
    assert place.storage.erase("v1/a/gone.odb").result is Erasure.MISSING
    assert place.storage.held("v1/a/gone.odb") is None
    assert [info.key for info in place.storage.list()] == ["v1/a/gone.odb2"]


@pytest.mark.parametrize("key", ["", "../x", "v1//x", "/x"])
def test_keys_that_are_none_are_not_erased(place: Place, key: str) -> None:
    for verb in (place.storage.erase, place.storage.held):
        with pytest.raises(StoreError) as caught:
            verb(key)
        assert caught.value.code == "store.bad-key"
