"""The catalog's tables brought to the version that this program knows, under the writers' lock.

Alembic does the steps; it is loaded only when there is a step to do, because every command opens the catalog. A
catalog at a revision that is not in :data:`KNOWN` was written by a newer program and is left alone.
"""

from __future__ import annotations

from sqlalchemy import Connection, Text, column, inspect, select, table, update
from sqlalchemy.exc import SQLAlchemyError

from engine.catalog.failures import MOVED_SAID, MOVED_STATE, damaged, moved, translate
from engine.errors import CatalogError, ConfigError

KNOWN = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
"""Revisions of ``migrations/versions``, oldest first; the last one is what this program works with."""

VERSION_TABLE = "catalog_version"
MOVED = "moved"
"""What stands for the version of a catalog that is in use elsewhere."""


def is_current(connection: Connection, where: str) -> bool:
    """Whether the catalog is at the newest revision. Raises CatalogError newer-schema, damaged, unreachable."""
    return _stored(connection, where) == KNOWN[-1]


def upgrade(connection: Connection, where: str, *, create: bool) -> None:
    """Do every step that is missing. The caller holds the writers' lock and commits.

    Raises ConfigError config.not-initialised when there are no tables and ``create`` is not given, and CatalogError.
    """
    stored = _stored(connection, where)
    if stored == KNOWN[-1]:
        return
    if stored is None and not create:
        raise ConfigError("config.not-initialised", "there is no catalog yet", context={"catalog": where})
    # imported here: see the module's docstring
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "engine.catalog:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, KNOWN[-1])
    except SQLAlchemyError as e:
        raise translate(e, where) from e
    except CommandError as e:
        raise damaged(where, str(e)) from e


def retire(connection: Connection) -> None:
    """Mark the catalog as moved: it opens no more, and whoever has it open still can change nothing."""
    connection.execute(update(table(VERSION_TABLE, column("version_num"))).values(version_num=MOVED))
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            f"CREATE TRIGGER moved BEFORE UPDATE ON revision BEGIN SELECT RAISE(ABORT, '{MOVED_SAID}'); END"
        )
    else:
        connection.exec_driver_sql(
            "CREATE FUNCTION refuse_moved() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION '{MOVED_SAID}' USING ERRCODE = '{MOVED_STATE}'; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER moved BEFORE UPDATE ON revision FOR EACH ROW EXECUTE FUNCTION refuse_moved()"
        )


def _stored(connection: Connection, where: str) -> str | None:
    """The revision of the catalog; None where there are no tables yet."""
    try:
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        found = connection.scalars(select(column("version_num", Text())).select_from(table(VERSION_TABLE))).all()
    except SQLAlchemyError as e:
        raise translate(e, where) from e
    if len(found) != 1:
        raise damaged(where, f"it names {len(found)} versions of itself")
    if found[0] == MOVED:
        raise moved(where)
    if found[0] not in KNOWN:
        raise CatalogError(
            "catalog.newer-schema",
            f"the catalog is at revision {found[0]}, this program knows revisions up to {KNOWN[-1]}",
            context={"catalog": where, "revision": found[0]},
        )
    return found[0]
