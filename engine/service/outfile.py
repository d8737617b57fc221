"""A file that appears when it is whole: written beside its place, private, and named only at the end.

The one way in which command line and console write files for people.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from engine.errors import ConfigError, OffsiteError

_refusal: OffsiteError | None = None


def refuse(why: OffsiteError) -> None:
    """From now on this process writes no file for anybody: its account belongs to a service, and files on it could
    do what the program does not let people do."""
    global _refusal
    _refusal = why


def may_write() -> None:
    """Raise what :func:`refuse` was given, if it was."""
    if _refusal is not None:
        raise type(_refusal)(_refusal.code, _refusal.message)


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Write to the file in the block; it is at ``path`` (mode 0600) if the block ended well, else there is nothing.

    What is there is replaced with ``force`` only. Raises ConfigError ``config.file-exists``, ``config.file``, and what
    :func:`refuse` was given.
    """
    may_write()
    if not force and os.path.lexists(path):
        raise _exists(path)
    beside = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}.partial")
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise unwritable(path, e) from e
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if force:
            beside.replace(path)
        else:
            os.link(beside, path)  # unlike a rename it replaces nothing
    except FileExistsError as e:
        raise _exists(path) from e
    except OSError as e:
        raise unwritable(path, e) from e
    finally:
        beside.unlink(missing_ok=True)


def unwritable(path: Path | str, error: OSError) -> ConfigError:
    """``error`` in the product's words."""
    return ConfigError("config.file", f"{path} cannot be written: {error.strerror or error}")


def _exists(path: Path) -> ConfigError:
    return ConfigError("config.file-exists", f"{path} is there already")
