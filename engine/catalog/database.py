"""The catalog opened: where it lies, its connections, its transactions.

One writer at a time on both dialects: ``BEGIN IMMEDIATE`` on SQLite, one advisory lock on PostgreSQL. Rules that span
rows (a chain without gaps, one running checkpoint, numbers never used twice) can therefore be written as plain reads
followed by writes. The room refuses to open a catalog that a newer version wrote, and never makes one unasked.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, select, text, update
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from engine.catalog import migrate
from engine.catalog.failures import translate, unreachable
from engine.catalog.schema import revision as revision_table
from engine.catalog.transaction import Tx
from engine.errors import CatalogError, ConfigError, Internal

BUSY_TIMEOUT_S = 10
"""How long a writer waits for another one. Transactions take milliseconds; ten seconds mean that somebody hangs."""

SILENCE_S = 30
"""A network that swallows everything for this long has lost the connection to PostgreSQL."""

WRITER_LOCK = 0x0FF5_17E0_DB00
"""Key of PostgreSQL's advisory lock that makes writers take turns; any fixed number that nobody else uses will do."""

_IDLE_TRANSACTION_LIMIT = "5s"
"""PostgreSQL ends a writer that died with its network connection open, so that the lock comes free.

Shorter than the others wait for the lock: between two statements of a transaction lie microseconds.
"""

_MODE = "offsitedb_mode"


def revision_of(tx: Tx) -> int:
    """The revision that this transaction sees."""
    row = tx.row(select(revision_table.c.n))
    return int(row.n) if row else 0


class Catalog:
    """The catalog of one installation. Every thread may call every method; transactions do not nest."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._where = url.database or "" if url.drivername == "sqlite" else url.render_as_string(hide_password=True)
        self._engine = _sqlite_engine(url) if url.drivername == "sqlite" else _postgres_engine(url)
        self._writing = threading.Lock()
        self._local = threading.local()
        self.tell_rest: Callable[[Tx], None] | None = None
        """Called at the end of a writing transaction that changed evidence of which no event tells."""

    @classmethod
    def open(cls, url_or_path: str | Path, *, create: bool = False) -> Catalog:
        """Open the catalog at a file path or ``postgresql://`` URL, bringing its tables up to date.

        With ``create`` an absent one is made. Raises ConfigError config.not-initialised (absent), config.invalid (not
        a URL that we know), CatalogError newer-schema, damaged, unreachable or busy.
        """
        url = _parse(url_or_path)
        if url.drivername == "sqlite":
            _prepare_file(Path(url.database or ""), create=create)
        catalog = cls(url)
        try:
            catalog._bring_up_to_date(create=create)
        except BaseException:
            catalog.close()
            raise
        return catalog

    @property
    def where(self) -> str:
        """The file's path or the database's URL, without a password."""
        return self._where

    @property
    def dialect(self) -> str:
        return self._engine.dialect.name

    @property
    def host(self) -> str | None:
        """Where its server is, as libpq reads the URL; None for a file, or the socket that libpq takes by itself."""
        if self._url.drivername == "sqlite":
            return None
        said = self._url.host or self._url.query.get("host") or os.environ.get("PGHOST")
        return str(said) if said else None

    @property
    def sslmode(self) -> str | None:
        """What protects the way to its server, as libpq reads the URL; None for a file."""
        if self._url.drivername == "sqlite":
            return None
        said = self._url.query.get("sslmode")
        return str(said) if said else os.environ.get("PGSSLMODE", "prefer")

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A reading transaction: one consistent view, never blocked by writers. Raises CatalogError."""
        with self._connection("read") as connection:
            yield Tx(connection, writable=False, where=self._where)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A writing transaction, committed when the block ends and rolled back when it raises.

        Raises CatalogError catalog.busy (retry) when another writer does not finish within :data:`BUSY_TIMEOUT_S`.
        """
        with self._turn(), self._connection("write") as connection:
            tx = Tx(connection, writable=True, where=self._where)
            yield tx
            if tx.untold and self.tell_rest is not None:
                self.tell_rest(tx)
            if tx.changes:
                tx.change(update(revision_table).values(n=revision_table.c.n + 1))
            self._commit(connection)

    def revision(self) -> int:
        """A number that differs from an earlier one if, and only if, a transaction changed something since."""
        with self.read() as tx:
            return revision_of(tx)

    def retire(self, suffix: str, revision: int) -> str:
        """Close this catalog for good, because it was moved: nobody opens it any more, and nobody writes to it.

        A file gets ``suffix`` after its name. Where it is kept. Raises CatalogError; ``catalog.busy`` when it was
        changed since ``revision``.
        """
        with self._turn(), self._connection("write") as connection:
            if revision_of(Tx(connection, writable=False, where=self._where)) != revision:
                raise CatalogError(
                    "catalog.busy",
                    "somebody changed the catalog while it was copied",
                    hint="Nothing is lost: it is in use as before. Drop the copy, close every console, and try again.",
                )
            try:
                migrate.retire(connection)
            except SQLAlchemyError as e:
                raise translate(e, self._where) from e
            self._commit(connection)
        self.close()
        if self._url.drivername != "sqlite":
            return self._where
        kept = Path(self._where + suffix)
        try:
            for part in ("", "-wal", "-shm"):
                if Path(self._where + part).exists():
                    Path(self._where + part).rename(f"{kept}{part}")
        except OSError as e:
            raise unreachable(self._where, e.strerror or str(e)) from e
        return str(kept)

    def close(self) -> None:
        """Close every idle connection. The catalog may be used again; it then connects anew."""
        self._engine.dispose()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def check(self) -> list[str]:
        """What the database itself finds wrong with the catalog, in its words. Slow: reads everything on SQLite."""
        with self._connection("read") as connection:
            if connection.dialect.name != "sqlite":
                return []
            try:
                found = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check"))]
                found += [
                    f"foreign key: {row[0]} {row[1]}" for row in connection.execute(text("PRAGMA foreign_key_check"))
                ]
            except SQLAlchemyError as e:
                raise translate(e, self._where) from e
        return [line for line in found if line != "ok"]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Queue the writers of this process on a fair lock: SQLite's own waiting is a lottery under load."""
        if getattr(self._local, "writing", False):
            raise Internal("internal.error", "a writing transaction was opened inside another")
        if not self._writing.acquire(timeout=BUSY_TIMEOUT_S):
            raise CatalogError("catalog.busy", "another thread is writing to the catalog", retry=True)
        self._local.writing = True
        try:
            yield
        finally:
            self._local.writing = False
            self._writing.release()

    @contextmanager
    def _connection(self, mode: str) -> Iterator[Connection]:
        """A connection with its transaction begun in ``mode``; rolled back on the way out unless committed."""
        try:
            connection = self._engine.connect().execution_options(**{_MODE: mode})
        except SQLAlchemyError as e:
            raise translate(e, self._where) from e
        with connection:
            try:
                connection.begin()
            except SQLAlchemyError as e:
                raise translate(e, self._where) from e
            yield connection

    def _commit(self, connection: Connection) -> None:
        try:
            connection.commit()
        except SQLAlchemyError as e:
            # SQLite leaves the transaction open; the next user of the connection would find himself inside it
            connection.invalidate()
            raise translate(e, self._where) from e

    def _bring_up_to_date(self, *, create: bool) -> None:
        """Migrate under the writers' lock, so that of several processes one does it and the others find it done."""
        with self._connection("read") as connection:
            if migrate.is_current(connection, self._where):
                return
        with self._turn(), self._connection("write") as connection:
            migrate.upgrade(connection, self._where, create=create)
            self._commit(connection)


def _parse(url_or_path: str | Path) -> URL:
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        return URL.create("sqlite", database=str(Path(url_or_path).absolute()))
    try:
        url = make_url(url_or_path)
    except ArgumentError as e:
        raise ConfigError("config.invalid", "the database URL of the catalog cannot be read") from e
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername == "sqlite" and url.database and url.database != ":memory:":
        return url
    raise ConfigError(
        "config.invalid",
        f"the catalog cannot be kept in {url.drivername}",
        hint="Set OFFSITEDB_DATABASE_URL to `postgresql://user@host/dbname`, or unset it to use a file.",
    )


def _prepare_file(path: Path, *, create: bool) -> None:
    """Make sure that the file is there, is ours alone and keeps a write-ahead log."""
    try:
        if not path.exists():
            if not create:
                raise ConfigError("config.not-initialised", "there is no catalog yet", context={"catalog": str(path)})
            _publish_empty(path)
        mode = path.stat().st_mode
        if mode & 0o077 and path.stat().st_uid == os.geteuid():
            path.chmod(0o600)
    except OSError as e:
        raise unreachable(str(path), e.strerror or str(e)) from e


def _publish_empty(path: Path) -> None:
    """Put an empty database in WAL mode at ``path`` in one step.

    The switch to WAL needs the file for itself and does not wait its turn, so it is made on a private file, which then
    gets its name without replacing what another process put there meanwhile.
    """
    private = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    os.close(os.open(private, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        engine = _sqlite_engine(URL.create("sqlite", database=str(private)))
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("CREATE TABLE birth (one INTEGER)")
                connection.exec_driver_sql("DROP TABLE birth")
                connection.commit()
        except SQLAlchemyError as e:
            raise translate(e, str(path)) from e
        finally:
            engine.dispose()
        try:
            os.link(private, path)
        except FileExistsError:
            return
    finally:
        private.unlink()


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url, hide_parameters=True, pool_size=5, max_overflow=-1, connect_args={"timeout": BUSY_TIMEOUT_S}
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        del entry
        # the driver must not open transactions by itself: it knows no BEGIN IMMEDIATE
        connection.isolation_level = None
        cursor = connection.cursor()
        try:
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA journal_mode")
            if cursor.fetchone() != ("wal",):
                cursor.execute("PRAGMA journal_mode = WAL")
        finally:
            cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        mode = connection.get_execution_options().get(_MODE)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if mode == "write" else "BEGIN")

    return engine


def _postgres_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=5,
        max_overflow=10,
        pool_timeout=BUSY_TIMEOUT_S,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": BUSY_TIMEOUT_S,
            "keepalives_idle": SILENCE_S // 3,
            "keepalives_interval": SILENCE_S // 6,
            "keepalives_count": 3,
            "tcp_user_timeout": SILENCE_S * 1000,
            "application_name": "offsitedb/catalog",
            "prepare_threshold": None,  # prepared statements do not survive a transaction pooler
        },
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(_MODE) != "write":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_TIMEOUT_S}s'")
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_TRANSACTION_LIMIT}'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")

    return engine
