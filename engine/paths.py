"""Where state lies on disk: one frozen value that names every file and directory of an installation.

The room only names and makes directories. It never reads, writes or deletes what lies in them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

SYSTEM_ROOT = Path("/var/lib/offsitedb")
"""Binaries and scratch clusters of a root installation: another OS user cannot enter root's 0700 home."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Every place of one installation. ``home`` is private (0700); ``runtime`` may be entered by the drill user."""

    home: Path
    runtime: Path

    @property
    def catalog(self) -> Path:
        return self.home / "catalog.sqlite3"

    @property
    def queue(self) -> Path:
        return self.home / "queue.sqlite3"

    @property
    def config(self) -> Path:
        return self.home / "config.toml"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def reports(self) -> Path:
        """Monthly reports that were built on this host, one folder each."""
        return self.home / "reports"

    @property
    def postgres(self) -> Path:
        """Installed PostgreSQL binaries, one directory per major."""
        return self.runtime / "postgres"

    @property
    def scratch(self) -> Path:
        """Scratch clusters, one directory per drill, each gone with it."""
        return self.runtime / "scratch"

    @property
    def templates(self) -> Path:
        """Initialised data directories that drills copy, one per PostgreSQL installation."""
        return self.runtime / "templates"

    def ensure(self) -> None:
        """Make the directories of the installation, private where they must be."""
        make_private(self.home)
        self.runtime.mkdir(parents=True, exist_ok=True, mode=0o755)
        self.postgres.mkdir(exist_ok=True, mode=0o755)
        self.scratch.mkdir(exist_ok=True, mode=0o711)


def default_home() -> Path:
    """``OFFSITEDB_HOME``, or the platform's data directory for the user."""
    given = os.environ.get("OFFSITEDB_HOME")
    return Path(given).expanduser().absolute() if given else Path(platformdirs.user_data_dir("offsitedb"))


def locate(home: Path | None = None, runtime: Path | None = None) -> Paths:
    """Name the places below ``home`` (default: :func:`default_home`).

    Root keeps binaries and scratch clusters under ``/var/lib/offsitedb``, everybody else below the home itself;
    ``OFFSITEDB_RUNTIME`` moves them.
    """
    home = home or default_home()
    if runtime is None:
        given = os.environ.get("OFFSITEDB_RUNTIME")
        if given:
            runtime = Path(given).expanduser().absolute()
        else:
            runtime = SYSTEM_ROOT if os.geteuid() == 0 else home / "runtime"
    return Paths(home=home, runtime=runtime)


def make_private_file(path: Path) -> None:
    """Make a database file at ``path`` if absent, and give it and SQLite's files beside it mode 0600."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    for part in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if part.exists() and part.stat().st_uid == os.geteuid() and part.stat().st_mode & 0o077:
            part.chmod(0o600)


def make_private(path: Path) -> None:
    """Make ``path`` (and its parents) if absent, and give the directory itself mode 0700."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)
