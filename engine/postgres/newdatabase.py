"""A new, empty database on a server of the user's, for a snapshot to be restored into.

Made with the source's encoding and, where the server has it, its locale. The room never touches a database that is
there: a name that is taken is an error, and only what was made here, and is still empty, is taken away again.
"""

from __future__ import annotations

import re
from dataclasses import replace

import psycopg
from psycopg import sql

from engine.cancel import CancelToken
from engine.errors import ConfigError
from engine.model import RestoreNeeds
from engine.postgres.conninfo import Conninfo
from engine.postgres.prepare import create_database
from engine.postgres.session import connect, translate
from engine.postgres.target import look

_APPLICATION = "offsitedb: restore"
_LONGEST = 50
"""Bytes of a name before the number: PostgreSQL cuts names after 63."""


def name_for(connection: str, seq: int) -> str:
    """What the database of a connection's snapshot is called: ``prod_20``. Lower case, so that nobody has to quote."""
    plain = re.sub(r"[^a-z0-9]+", "_", connection.lower()).strip("_") or "snapshot"
    plain = plain if plain[0].isalpha() else f"db_{plain}"
    return f"{plain[:_LONGEST]}_{seq}"


def make(conninfo: Conninfo, name: str, needs: RestoreNeeds, cancel: CancelToken) -> tuple[Conninfo, str | None]:
    """Make the database; where it is, and a remark on what the server could not give it.

    ``conninfo`` is of a database of that server, in which nothing is done. Raises SourceError, ConfigError
    ``config.name-taken``.
    """
    with connect(conninfo, application_name=_APPLICATION, cancel=cancel, read_only=False) as conn:
        try:
            if conn.execute("SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s", [name]).fetchone():
                raise ConfigError(
                    "config.name-taken",
                    f"there is a database {name} on the server already; nothing was changed in it",
                    hint=f"Look at it and drop or rename it: `DROP DATABASE {sql.Identifier(name).as_string(None)};`.",
                )
            row = conn.execute("SELECT current_user").fetchone()
            owner = str(row[0]) if row is not None else ""
            skips = create_database(conn, name, owner, needs, conn.info.server_version // 10000)
        except psycopg.Error as e:
            raise translate(e, conninfo) from e
    remark = None
    if skips:
        remark = f"the server has not got the locale {skips[0].name}: texts may be sorted in another order"
    return replace(conninfo, dbname=name), remark


def unmake(conninfo: Conninfo, name: str, cancel: CancelToken) -> bool:
    """Take away a database that ``make`` has made and nothing came into; whether it is gone.

    One that holds anything, or that somebody is connected to, stays. Raises SourceError.
    """
    there = look(replace(conninfo, dbname=name), application_name=_APPLICATION, cancel=cancel).existing
    if there.made or there.large_objects:
        return False
    with connect(conninfo, application_name=_APPLICATION, cancel=cancel, read_only=False) as conn:
        try:
            conn.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
        except psycopg.errors.ObjectInUse:
            return False
        except psycopg.Error as e:
            raise translate(e, conninfo) from e
    return True
