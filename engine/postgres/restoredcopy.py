"""What a restored database consists of.

Looked at like the counts, as the role that owns the copy and rules nothing, in a transaction that changes nothing: what
was replayed belongs to strangers. The room compares nothing.
"""

from __future__ import annotations

from contextlib import closing

import psycopg
from psycopg import sql

from engine.cancel import CancelToken
from engine.errors import CouldNotVerify
from engine.model import Structure
from engine.postgres.cluster import ScratchCluster
from engine.postgres.external import ExternalServer
from engine.postgres.recount import owner_of
from engine.postgres.session import Connection, interruptible
from engine.postgres.structure import read_whole, why_unread


def read_structure(cluster: ScratchCluster | ExternalServer, dbname: str, cancel: CancelToken) -> Structure:
    """The copy's structure; where it cannot be read, it says why.

    Raises CouldNotVerify ``drill.scratch`` when the server is gone, and the token's error when cancelled.
    """
    try:
        with closing(cluster.connect(dbname, user=owner_of(cluster, dbname))) as conn, interruptible(conn, cancel):
            return _read(conn, cluster.settings.statement_timeout_s)
    except psycopg.Error as e:
        cancel.check()
        raise CouldNotVerify("drill.scratch", f"the restored database could not be looked at: {str(e).strip()}") from e
    raise AssertionError


def _read(conn: Connection, timeout_s: float) -> Structure:
    conn.execute(sql.SQL("SET statement_timeout = {}").format(sql.Literal(int(timeout_s * 1000))))
    conn.execute("SET default_transaction_read_only = on")
    conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        return read_whole(conn)
    except (psycopg.Error, UnicodeDecodeError) as e:
        if conn.broken or conn.closed:
            raise
        return Structure((), unread=why_unread("in the restored copy", e))
