"""Connections to a source: read-only by default, without timeouts of the server's, and errors in our own words.

Every session of ours sets ``search_path=''``, ``default_transaction_read_only=on`` and all statement, idle and
transaction timeouts to 0, because a role's own settings kill long dumps otherwise (F8). They go into the startup
packet; behind a pooler that refuses startup options they are SET once connected. The room refuses to let a psycopg
exception or a password leave it.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from engine.cancel import CancelToken
from engine.errors import OffsiteError, SourceError
from engine.model import TlsFacts
from engine.postgres.address import Conninfo
from engine.postgres.passfile import KEEPALIVE, NO_FILE
from engine.postgres.pooling import behind_pooler, shares_backends
from engine.postgres.providers import pooler_advice
from engine.postgres.refusals import translate

__all__ = ["Connection", "connect", "interruptible", "read_tls", "translate"]

Connection = psycopg.Connection[tuple[object, ...]]

_ALWAYS = {
    "search_path": "",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
_LATER = (
    # (first version that knows it, setting, value)
    (140000, "idle_session_timeout", "0"),
    (170000, "transaction_timeout", "0"),
)
_RESTRICTED_KINDS = "view, foreign-table"
"""What pg_dump itself restricts (CVE-2024-7348): a view swapped in for a table must not run code as the reader."""

_OPTION_REFUSED = re.compile(
    r"unsupported startup parameter|startup (?:option|parameter)|unrecognized configuration", re.IGNORECASE
)


def startup_options(*, read_only: bool) -> str:
    """What every session of ours asks for as it starts."""
    settings = _ALWAYS | ({"default_transaction_read_only": "on"} if read_only else {})
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def connect(
    conninfo: Conninfo, *, application_name: str, cancel: CancelToken, read_only: bool = True, autocommit: bool = True
) -> Connection:
    """A session on the source, to be closed by the caller (``with`` does).

    Raises SourceError (``pg.*``; ``pg.pooler`` where the address, or what happens on the wire, is a transaction
    pooler's) and, when the token fired meanwhile, the token's error.
    """
    cancel.check()
    _refuse_by_name(conninfo)
    settings = dict(_ALWAYS)
    if read_only:
        settings["default_transaction_read_only"] = "on"
    options = startup_options(read_only=read_only)

    def open_(with_options: str) -> Connection:
        return _while_waiting(lambda: _open(conninfo, application_name, with_options), cancel)

    try:
        try:
            conn = open_(options)
        except psycopg.Error as e:
            if not _OPTION_REFUSED.search(str(e)):
                raise
            options = ""
            conn = open_("")
        with _closing_on_error(conn), interruptible(conn, cancel):
            if behind_pooler(conn):
                if shares_backends(conn, lambda: open_(options), cancel):
                    raise _transaction_pooler(conninfo)
                _set(conn, settings)  # a pooler may be told to ignore startup options, and says nothing then
            _finish(conn)
            conn.autocommit = autocommit
    except psycopg.Error as e:
        cancel.check()
        raise translate(e, conninfo) from e
    return conn


@contextmanager
def interruptible(conn: Connection, cancel: CancelToken) -> Iterator[None]:
    """Let a cancel end whatever query runs in the block; the block then raises the token's error.

    The socket is shut down rather than a cancel request sent: a callback must not wait for the network.
    """

    def hang_up() -> None:
        with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(conn.fileno())) as s:
            s.shutdown(socket.SHUT_RDWR)

    with cancel.on_cancel(hang_up):
        try:
            yield
        except (OffsiteError, psycopg.Error):
            cancel.check()
            raise


def read_tls(conn: Connection, conninfo: Conninfo) -> TlsFacts:
    """TLS as it is in force on this connection, from libpq and from the server's view of us where it shows one.

    libpq answers for the first hop: behind a pooler the server's own row speaks of another connection.
    """
    in_use = bool(conn.pgconn.ssl_in_use)
    version = cipher = None
    if in_use:
        row = conn.execute(
            "SELECT version, cipher FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid() AND ssl"
        ).fetchone()
        if row is not None:
            version, cipher = (None if v is None else str(v) for v in row)
    transport = "unix" if conninfo.unix_socket else "tcp"
    return TlsFacts(sslmode=conninfo.sslmode, in_use=in_use, version=version, cipher=cipher, transport=transport)


@contextmanager
def _closing_on_error(conn: Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        conn.close()
        raise


def _refuse_by_name(conninfo: Conninfo) -> None:
    advice = pooler_advice(conninfo)
    if advice is not None and advice.unusable and advice.certain:
        raise _transaction_pooler(conninfo)


def _transaction_pooler(conninfo: Conninfo) -> SourceError:
    advice = pooler_advice(conninfo)
    known = advice if advice is not None and advice.unusable else None
    name = known.name if known is not None else "a transaction pooler"
    return SourceError(
        "pg.pooler",
        f"the address {conninfo.host} port {conninfo.port} is {name}, which cannot hold a snapshot",
        hint=known.text if known is not None else None,
    )


def _while_waiting(open_: Callable[[], Connection], cancel: CancelToken) -> Connection:
    """Run ``open_`` in a thread, so that a cancel is heard while a server that is silent is waited for.

    A connection that arrives after the cancel is closed by the thread that made it.
    """
    done = threading.Event()
    arrived: list[Connection] = []
    failed: list[psycopg.Error] = []
    lock = threading.Lock()

    def work() -> None:
        try:
            conn = open_()
        except psycopg.Error as e:
            failed.append(e)
        else:
            with lock:
                if cancel.cancelled:
                    conn.close()
                else:
                    arrived.append(conn)
        finally:
            done.set()

    with cancel.on_cancel(done.set):
        threading.Thread(target=work, name="connect", daemon=True).start()
        done.wait()
    with lock:
        if cancel.cancelled:
            for conn in arrived:
                conn.close()
            cancel.check()
    if failed:
        raise failed[0]
    return arrived[0]


def _open(conninfo: Conninfo, application_name: str, options: str) -> Connection:
    given = {
        "host": conninfo.host,
        "hostaddr": conninfo.hostaddr,
        "port": str(conninfo.port),
        "dbname": conninfo.dbname,
        "user": conninfo.user,
        "password": conninfo.password,
        "passfile": NO_FILE,
        "sslmode": conninfo.sslmode,
        "sslrootcert": conninfo.ca_file,
        "sslcert": "/nonexistent",
        "sslkey": "/nonexistent",
        "channel_binding": conninfo.channel_binding,
        "target_session_attrs": conninfo.target_session_attrs,
        "connect_timeout": str(conninfo.connect_timeout_s),
        "options": " ".join(filter(None, (conninfo.options, options))) or None,
        "application_name": application_name,
        "client_encoding": "UTF8",
        "gssencmode": "disable",
        **KEEPALIVE,
    }
    # prepared statements do not survive a pooler that changes the backend
    return psycopg.connect(make_conninfo("", **given), prepare_threshold=None, autocommit=True)


def _set(conn: Connection, settings: Mapping[str, str]) -> None:
    conn.execute(sql.SQL("; ").join(_setting(name, value) for name, value in settings.items()))


def _setting(name: str, value: str) -> sql.Composed:
    return sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value))


def _finish(conn: Connection) -> None:
    """What cannot stand in the startup packet, in one message: far away each costs its time there and back.

    Newer servers' timeouts, and no views and foreign tables read through non-system relations where the minor release
    knows how: that setting came in minor releases (12.20 … 16.4), so it is looked for rather than derived.
    """
    later = [_setting(name, value) for since, name, value in _LATER if conn.info.server_version >= since]
    restrict = sql.SQL(
        "SELECT pg_catalog.set_config({name}, {kinds}, false)"
        " WHERE pg_catalog.current_setting({name}, true) IS NOT NULL"
    ).format(name=sql.Literal("restrict_nonsystem_relation_kind"), kinds=sql.Literal(_RESTRICTED_KINDS))
    conn.execute(sql.SQL("; ").join([*later, restrict]))
