"""The files of the kit that are the same everywhere: a page for people, the format, and the program that opens it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

README, FORMAT, DECRYPT = "README.txt", "ARTIFACT.md", "decrypt.py"


@cache
def shared() -> dict[str, bytes]:
    """Name in ``RECOVERY/`` to content."""
    here = files("engine.kit")
    packed = here / FORMAT
    page = packed if packed.is_file() else Path(__file__).parents[2] / "docs" / FORMAT  # a checkout has one copy
    return {
        README: (here / README).read_bytes(),
        FORMAT: page.read_bytes(),
        DECRYPT: (here / DECRYPT).read_bytes(),
    }
