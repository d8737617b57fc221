"""Memory stays flat whatever the size: measured from outside, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

PROGRAM = """
import random, sys
from engine.cancel import CancelToken
from engine.stream import pipeline
from tests.fixtures.artifacts import open_bytes, pieces, seal_into
size, path = int(sys.argv[1]), sys.argv[2]
row = b"PGDMP" + random.Random(1).randbytes(1 << 19) + b"row\\\\t" * (1 << 17)
left = size
def read(wanted):
    global left
    piece = row[: min(wanted, left, len(row))]
    left -= len(piece)
    return piece
with open(path, "wb") as out:
    result = seal_into(read, out.write, dek=b"k" * 32)
assert result.plaintext_bytes == size
def chunks():
    with open(path, "rb") as sealed:
        while chunk := sealed.read(1 << 20):
            yield chunk
expected = pipeline.Expected("aa" * 16, "c1" * 16, "c0" * 16, result.artifact_sha256, result.size_bytes, size)
pipeline.open_artifact(chunks(), open_dek=lambda h: b"k" * 32, write=len, expected=expected,
                       cancel=CancelToken(), on_progress=lambda a, b: None)
# not ru_maxrss: that begins with what the forked parent had before it became this program
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


def peak_kib(size_bytes: int, path: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(size_bytes), str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    path.unlink(missing_ok=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_f14_memory_is_flat_whatever_the_size(tmp_path: Path) -> None:
    small = peak_kib(64 << 20, tmp_path / "small")
    large = peak_kib(2 << 30, tmp_path / "large")
    assert large <= small + 16 * 1024
    assert large <= 96 * 1024
