"""A folder as a destination: links, modes, the marker, killed writers, full and read-only disks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.errors import ConfigError, StoreError
from engine.storage.base import sweep_unfinished
from engine.storage.local import LocalStorage, prepare_folder
from engine.storage.partial import HOST, publish_without_links
from tests.contract.backends import DESTINATION_ID, content, files_beneath, local, upload

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "destination"


@contextmanager
def refused(code: str) -> Iterator[pytest.ExceptionInfo[StoreError]]:
    with pytest.raises(StoreError) as caught:
        yield caught
    assert caught.value.code == code, caught.value


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# -- links, pipes and modes


def test_a_planted_directory_link_is_never_followed(root: Path, tmp_path: Path) -> None:
    storage = local(root)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("untouched")
    (root / "v1").symlink_to(outside)
    before = files_beneath(outside)
    with refused("store.bad-key") as caught:
        upload(storage, "v1/victim2", b"x")
    assert "symbolic link" in caught.value.message
    with refused("store.bad-key"):
        storage.put("v1/victim", b"x", replace=True)
    with refused("store.bad-key"):
        storage.stat("v1/victim")
    with refused("store.bad-key"):
        content(storage, "v1/victim")
    with refused("store.bad-key"):
        storage.delete("v1/victim")
    with refused("store.bad-key"):
        storage.abort_unfinished("v1/.partial-0123")
    assert list(storage.list()) == []
    assert list(storage.list_unfinished()) == []
    assert files_beneath(outside) == before


@pytest.mark.parametrize("target", ["victim", "absent"])
def test_a_planted_object_link_is_never_followed(root: Path, tmp_path: Path, target: str) -> None:
    storage = local(root)
    (tmp_path / "victim").write_text("untouched")
    (root / "object").symlink_to(tmp_path / target)
    before = files_beneath(tmp_path)
    for replace in (False, True):
        with refused("store.bad-key"):
            storage.put("object", b"x", replace=replace)
    with refused("store.bad-key"):
        storage.stat("object")
    with refused("store.bad-key"):
        content(storage, "object")
    with refused("store.bad-key"):
        storage.delete("object")
    assert list(storage.list()) == []
    assert files_beneath(tmp_path) == before
    assert (tmp_path / "victim").read_text() == "untouched"


def test_a_link_planted_during_the_upload_is_not_followed(root: Path, tmp_path: Path) -> None:
    storage = local(root)
    (tmp_path / "victim").write_text("untouched")
    with storage.begin_upload("v1/x", expected_bytes=1, cancel=CancelToken()) as begun:
        begun.write(b"evil")
        (root / "v1" / "x").symlink_to(tmp_path / "victim")
        with refused("store.exists"):
            begun.commit()
    assert (tmp_path / "victim").read_text() == "untouched"


def test_a_moved_directory_cannot_lead_an_upload_outside(root: Path, tmp_path: Path) -> None:
    storage = local(root)
    outside = tmp_path / "outside"
    outside.mkdir()
    with storage.begin_upload("v1/x", expected_bytes=1, cancel=CancelToken()) as begun:
        begun.write(b"data")
        (root / "v1").rename(root / "v1-moved")
        (root / "v1").symlink_to(outside)
        begun.commit()
    assert files_beneath(outside) == {}
    assert (root / "v1-moved" / "x").read_bytes() == b"data"


def test_a_planted_pipe_does_not_hang(root: Path) -> None:
    storage = local(root)
    os.mkfifo(root / "pipe")
    with refused("store.bad-key"):
        content(storage, "pipe")
    with refused("store.bad-key"):
        storage.stat("pipe")
    with refused("store.exists"):
        storage.put("pipe", b"x", replace=True)
    assert list(storage.list()) == []


def test_foreign_files_are_not_listed(root: Path) -> None:
    storage = local(root)
    (root / os.fsdecode(b"not-utf8-\xff")).touch()
    (root / "line\nbreak").touch()
    storage.put("ours", b"")
    assert [info.key for info in storage.list()] == ["ours"]


def test_everything_is_private_whatever_the_umask(root: Path) -> None:
    old = os.umask(0)
    try:
        storage = local(root)
        upload(storage, "v1/conn/x.odb", b"x")
        with storage.begin_upload("v1/conn/y.odb", expected_bytes=1, cancel=CancelToken()) as begun:
            begun.write(b"y")
            modes = {p: p.stat().st_mode & 0o777 for p in [root, *root.rglob("*")]}
    finally:
        os.umask(old)
    assert len(modes) == 6
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items())


def test_no_descriptor_is_left_open(root: Path) -> None:
    storage = local(root)
    upload(storage, "v1/x", b"x" * 100)
    before = open_descriptors()
    for _ in range(3):
        with refused("store.exists"):
            upload(storage, "v1/x", b"y")
        with refused("store.missing"):
            content(storage, "v1/none")
        with refused("store.missing"):
            storage.stat("v2/none")
        reading = storage.read("v1/x", chunk_bytes=10, cancel=CancelToken())
        next(reading)
        del reading
        listing = storage.list()
        next(listing)
        del listing
        assert storage.test(CancelToken()).ok
    assert open_descriptors() == before


# -- the root and its marker


def test_a_missing_root_is_unreachable_and_is_not_made(tmp_path: Path) -> None:
    root = tmp_path / "not" / "mounted"
    storage = LocalStorage(root, destination_id=DESTINATION_ID)
    with refused("store.unreachable") as caught:
        upload(storage, "v1/x", b"x")
    assert "Mount the disk" in caught.value.hint
    assert caught.value.retry is False
    assert not root.exists()
    tested = storage.test(CancelToken())
    assert [step.ok for step in tested.steps] == [False, *[None] * 6]
    assert tested.steps[0].error is not None
    assert tested.steps[0].error.code == "store.unreachable"


def test_an_empty_mount_point_is_not_filled(root: Path) -> None:
    local(root)
    shutil.rmtree(root)
    root.mkdir()
    storage = LocalStorage(root, destination_id=DESTINATION_ID)
    for call in (lambda: storage.put("x", b"x"), lambda: storage.stat("x"), lambda: list(storage.list())):
        with refused("store.unreachable") as caught:
            call()
        assert "does not hold the file OFFSITEDB-DESTINATION" in caught.value.message
    assert list(root.iterdir()) == []


def test_another_disk_at_the_same_place_is_not_taken_for_ours(root: Path) -> None:
    prepare_folder(root, "another")
    with refused("store.unreachable") as caught:
        LocalStorage(root, destination_id=DESTINATION_ID).put("x", b"x")
    assert "another destination" in caught.value.message


def test_a_folder_can_be_prepared_again_and_by_others(root: Path) -> None:
    upload(local(root), "v1/x", b"x")
    prepare_folder(root, "second")
    prepare_folder(root, DESTINATION_ID)
    assert json.loads((root / "OFFSITEDB-DESTINATION").read_text())["destinations"] == [DESTINATION_ID, "second"]
    assert content(LocalStorage(root, destination_id="second"), "v1/x") == b"x"
    assert [info.key for info in local(root).list()] == ["v1/x"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"destinations": []}', '{"destinations": "x"}', "\xff"])
def test_a_damaged_marker_stops_everything(root: Path, text: str) -> None:
    storage = local(root)
    (root / "OFFSITEDB-DESTINATION").write_text(text)
    with refused("store.unreachable"):
        storage.put("x", b"x")
    with refused("store.unreachable"):
        prepare_folder(root, "new")


def test_a_relative_folder_is_refused() -> None:
    with pytest.raises(ConfigError):
        LocalStorage(Path("relative"), destination_id=DESTINATION_ID)
    with pytest.raises(ConfigError):
        prepare_folder(Path("relative"), DESTINATION_ID)


# -- publishing


def test_a_partial_that_became_shorter_is_not_kept(root: Path) -> None:
    storage = local(root)
    with storage.begin_upload("v1/x", expected_bytes=1, cancel=CancelToken()) as begun:
        begun.write(b"0123456789")
        (partial,) = (root / "v1").glob(".partial-*")
        os.truncate(partial, 5)
        with refused("store.size-mismatch"):
            begun.commit()
    assert set(files_beneath(root)) == {"OFFSITEDB-DESTINATION", "v1"}


def test_without_hard_links_nothing_is_replaced_either(root: Path) -> None:
    local(root)
    (root / "partial").write_bytes(b"new")
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        publish_without_links(fd, "partial", "object", "object")
        assert (root / "object").read_bytes() == b"new"
        (root / "partial").write_bytes(b"newer")
        with refused("store.exists"):
            publish_without_links(fd, "partial", "object", "object")
    finally:
        os.close(fd)
    assert (root / "object").read_bytes() == b"new"


def test_a_read_of_an_object_that_shrinks_says_so(root: Path) -> None:
    storage = local(root)
    upload(storage, "x", b"0" * 100)
    reading = storage.read("x", chunk_bytes=10, cancel=CancelToken())
    next(reading)
    os.truncate(root / "x", 50)
    with refused("store.io") as caught:
        list(reading)
    assert caught.value.retry


# -- what killed processes leave

WRITER = """
import sys
from pathlib import Path
from engine.cancel import CancelToken
from engine.storage.local import LocalStorage
storage = LocalStorage(Path(sys.argv[1]), destination_id=sys.argv[2])
upload = storage.begin_upload("v1/conn/killed.odb", expected_bytes=1, cancel=CancelToken())
upload.write(b"x" * 1000)
print("written", flush=True)
sys.stdin.read()
"""


def test_f19_a_killed_writer_leaves_only_what_a_sweep_takes(root: Path) -> None:
    storage = local(root)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), DESTINATION_ID],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        assert list(storage.list_unfinished()) == []
        assert storage.sweep() == ()
        (partial,) = (root / "v1" / "conn").glob(".partial-*")
        assert storage.abort_unfinished(f"v1/conn/{partial.name}") is False
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    finally:
        writer.kill()
        writer.communicate()
    assert list(storage.list()) == []
    with refused("store.missing"):
        storage.stat("v1/conn/killed.odb")
    (left,) = storage.list_unfinished()
    assert (left.beneath, left.size_bytes, left.dead) == ("v1/conn/", 1000, True)
    assert sweep_unfinished(storage, keep=lambda u: u.beneath == "v1/conn/") == ()
    assert [swept.id for swept in storage.sweep()] == [left.id]
    assert list(storage.list_unfinished()) == []
    assert storage.abort_unfinished(left.id) is False
    upload(storage, "v1/conn/killed.odb", b"again")


def test_a_partial_of_another_machine_is_swept_by_age_alone(root: Path) -> None:
    storage = local(root)
    foreign = root / f".partial-{HOST[::-1]}-0123456789abcdef"
    foreign.write_bytes(b"x")
    (left,) = storage.list_unfinished()
    assert left.dead is False
    assert storage.sweep() == ()
    assert sweep_unfinished(storage, older_than_s=60, now=datetime.now(UTC) + timedelta(seconds=30)) == ()
    assert len(storage.sweep(now=datetime.now(UTC) + timedelta(days=2))) == 1
    assert not foreign.exists()


@pytest.mark.parametrize("bad", ["OFFSITEDB-DESTINATION", "v1/x", "../.partial-x", ".partial-", "v1/../.partial-x"])
def test_only_partials_can_be_aborted_by_id(root: Path, bad: str) -> None:
    storage = local(root)
    storage.put("v1/x", b"x")
    with refused("store.bad-key"):
        storage.abort_unfinished(bad)
    assert content(storage, "v1/x") == b"x"
