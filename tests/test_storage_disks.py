"""Disks that refuse: full, limited, read-only, and every system error by its name."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.storage.tree import store_error

REPOSITORY = Path(__file__).parent.parent

ON_A_SMALL_DISK = """
import resource, subprocess, sys
from pathlib import Path
from engine.cancel import CancelToken
from engine.errors import StoreError
from engine.storage.local import LocalStorage, prepare_folder
root, how = Path(sys.argv[1]), sys.argv[2]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", root], check=True)
prepare_folder(root, "d")
storage = LocalStorage(root, destination_id="d")
if how == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
if how == "readonly":
    subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
try:
    with storage.begin_upload("v1/x", expected_bytes=1, cancel=CancelToken()) as upload:
        for _ in range(64):
            upload.write(b"x" * 65536)
        upload.commit()
except StoreError as e:
    print(e.code, sorted(p.name for p in root.rglob("*")))
"""


@pytest.mark.parametrize(
    ("how", "code"), [("full", "store.full"), ("limit", "store.full"), ("readonly", "store.denied")]
)
def test_a_disk_that_refuses_is_named_and_left_clean(tmp_path: Path, how: str, code: str) -> None:
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("no user and mount namespaces here")
    done = subprocess.run(
        [*inside, sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path), how],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    left = ["OFFSITEDB-DESTINATION"] if how == "readonly" else ["OFFSITEDB-DESTINATION", "v1"]
    assert done.stdout == f"{code} {left}\n"


@pytest.mark.parametrize(
    ("number", "code", "retry"),
    [
        (errno.ENOSPC, "store.full", False),
        (errno.EDQUOT, "store.full", False),
        (errno.EFBIG, "store.full", False),
        (errno.EACCES, "store.denied", False),
        (errno.EPERM, "store.denied", False),
        (errno.EROFS, "store.denied", False),
        (errno.ENOENT, "store.missing", False),
        (errno.EHOSTDOWN, "store.unreachable", True),
        (errno.ETIMEDOUT, "store.timeout", True),
        (errno.EIO, "store.io", True),
        (errno.ESTALE, "store.io", True),
        (errno.EMFILE, "store.io", False),
    ],
)
def test_system_errors_have_their_codes(number: int, code: str, retry: bool) -> None:
    error = store_error(OSError(number, os.strerror(number)), "writing v1/x")
    assert (error.code, error.retry) == (code, retry)
    assert error.message.startswith("writing v1/x: ")
    assert error.context["errno"] == errno.errorcode[number]
