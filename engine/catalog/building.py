"""A catalog that is made whole or not at all: under a name of its own until it is finished.

For a catalog that is rebuilt, where a half of one would look like an installation. A file gets its place in one step,
and never the place of another. A database is filled in the one transaction that makes it an installation.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from engine.catalog import installation
from engine.catalog.database import Catalog
from engine.catalog.failures import unreachable
from engine.catalog.transaction import Tx
from engine.errors import ConfigError

BUILDING = ".building"
"""After the name of a file that is not finished. What a run that was cut off left is made anew."""


def build(where: str, fill: Callable[[Tx], None]) -> None:
    """Make the catalog at ``where`` with what ``fill`` writes, in one transaction.

    Raises ConfigError ``config.already-initialised`` where there is one, CatalogError, and what ``fill`` raises.
    """
    if "://" in where:
        with Catalog.open(where, create=True) as catalog:
            _fill(catalog, fill)
        return
    place = Path(where).absolute()
    private = place.with_name(f".{place.name}{BUILDING}")
    try:
        _remove(private)
        with Catalog.open(private, create=True) as catalog:
            _fill(catalog, fill)
        os.link(private, place)
    except FileExistsError as e:
        raise ConfigError("config.already-initialised", f"there is a catalog at {place}") from e
    except OSError as e:
        raise unreachable(where, e.strerror or str(e)) from e
    finally:
        _remove(private)


def _fill(catalog: Catalog, fill: Callable[[Tx], None]) -> None:
    with catalog.write() as tx:
        if installation.get(tx) is not None:
            raise ConfigError("config.already-initialised", "somebody else has just initialised this catalog")
        fill(tx)


def _remove(private: Path) -> None:
    for part in ("", "-wal", "-shm"):
        Path(f"{private}{part}").unlink(missing_ok=True)
