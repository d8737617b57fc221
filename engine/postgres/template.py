"""An initialised data directory, kept per PostgreSQL installation, so that a drill copies instead of running initdb.

A template is what initdb made and nobody ever started: it holds no data and no secret. It belongs to the worker's own
user and cannot be entered by the drill's; what a drill gets is a copy. The room refuses to keep a half-made template:
the copy grows inside the drill's own directory, which goes with the drill, and is renamed when it is whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from engine.process import RunAs

_LOCALES = (Path("/usr/lib/locale"), Path("/usr/lib/locale/locale-archive"))
"""What changes when a locale is installed or removed: initdb takes every collation of the system into its catalog."""


def template_of(templates: Path, bindir: Path, version: str) -> Path:
    """Where below ``templates`` that of these very programs and locales lies: others make another initdb."""
    marks = [str(bindir), *(_mark(path) for path in (bindir / "initdb", *_LOCALES))]
    return templates / f"{version}-{hashlib.sha256(chr(0).join(marks).encode()).hexdigest()[:12]}"


def _mark(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return "absent"
    return f"{stat.st_ino} {stat.st_mtime_ns} {stat.st_size}"


def keep(data: Path, template: Path, beside: Path) -> None:
    """Keep a copy of a fresh data directory as ``template``; a no-op when there is one. Raises OSError.

    ``beside``: a directory on the same file system whose end takes a half-made copy along.
    """
    template.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = beside / "template"
    shutil.copytree(data, half, symlinks=True)
    half.chmod(0o700)
    try:
        half.rename(template)
    except OSError:
        if not template.exists():  # else another drill was faster
            raise


def copy(template: Path, data: Path, run_as: RunAs | None) -> None:
    """A data directory from ``template``, owned by ``run_as``. Raises OSError."""
    shutil.copytree(template, data, symlinks=True)
    data.chmod(0o700)
    if run_as is None:
        return
    for directory, names, files in os.walk(data):
        os.chown(directory, run_as.uid, run_as.gid)
        for name in (*names, *files):
            os.chown(os.path.join(directory, name), run_as.uid, run_as.gid, follow_symlinks=False)  # noqa: PTH118 - 1,000 files
