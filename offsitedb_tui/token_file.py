"""The token of whoever is logged in on this OS account: one private file per installation.

It lies in the runtime directory of the OS user, which is gone when they have logged out of the machine; where there is
none, in the installation's own home. A file that somebody else could have written or can read is not believed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from engine.access import tokens
from engine.errors import ConfigError
from engine.service.outfile import unwritable

_FOLDER = "offsitedb"


def read(home: Path) -> str | None:
    """The token for the installation at ``home``; None where there is none that may be believed."""
    try:
        fd = os.open(place(home), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            return None
        token = file.read(2 * tokens.CHARS).decode("ascii", "replace").strip()
    return token if len(token) == tokens.CHARS else None


def write(home: Path, token: str) -> Path:
    """Keep ``token`` for the installation at ``home``; what was there is replaced whole. Raises ConfigError."""
    path = place(home)
    beside = path.with_name(f".{secrets.token_hex(8)}")
    try:
        _make_folder(path.parent)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "w") as file:
                file.write(token + "\n")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as e:
        raise unwritable(path, e) from e
    return path


def remove(home: Path) -> None:
    """Forget the token."""
    with suppress(OSError):
        place(home).unlink(missing_ok=True)


def place(home: Path) -> Path:
    """Where the token of the installation at ``home`` lies."""
    name = hashlib.sha256(str(home.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    runtime = _runtime()
    return (runtime / _FOLDER if runtime is not None else home / "session") / f"session-{name}"


def _runtime() -> Path | None:
    """The OS user's runtime directory, if it is there and theirs alone."""
    for text in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.geteuid()}"):
        if not text or not text.startswith("/"):
            continue
        try:
            found = os.lstat(text)
        except OSError:
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
            return Path(text)
    return None


def _make_folder(folder: Path) -> None:
    """Make it, private. Raises ConfigError when somebody else could write there."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ConfigError(
            "config.file",
            f"{folder} is not a directory of this OS user alone",
            hint=f"Look who made it; `rm -r {folder}` makes room for a private one.",
        )
