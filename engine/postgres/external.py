"""A server that somebody gave to drills, for what this host cannot offer: extensions above all.

A drill gets a fresh database and a fresh role there, both named so that nobody else has such names, and takes away with
it whatever it made. The room refuses a server that could be one of the protected ones, by address or by PostgreSQL's
own system identifier: what a drill replays must never land where it came from. It isolates nothing, and says so.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from psycopg import sql

from engine.cancel import CancelToken
from engine.config import DrillSettings
from engine.errors import CouldNotVerify, OffsiteError, SourceError, add_cleanup_note
from engine.model import Isolation, ServerFacts
from engine.postgres import passfile
from engine.postgres.conninfo import Conninfo
from engine.postgres.isolation import Sandbox
from engine.postgres.probe import probe
from engine.postgres.refusals import translate
from engine.postgres.scratch import ScratchDir
from engine.postgres.session import connect
from engine.postgres.tools import Toolset
from engine.process import clean_environment
from engine.redact import holding

PREFIX = "offsitedb_drill_"
_APPLICATION = "offsitedb/drill"


@dataclass(frozen=True, slots=True)
class Given:
    """A server given to drills, and what it must not be: addresses and system identifiers of protected databases."""

    name: str
    conninfo: Conninfo
    protected: frozenset[tuple[str, int, str]] = frozenset()
    identifiers: frozenset[str] = frozenset()


@dataclass(slots=True)
class ExternalServer:
    """A database and a role of one drill on a given server; the same face as a scratch cluster."""

    given: Given
    scratch: ScratchDir
    toolset: Toolset
    sandbox: Sandbox
    settings: DrillSettings
    server_version: str
    system_identifier: str
    database: str
    bypass: bool
    """Whether the owner may get BYPASSRLS here."""
    cancel: CancelToken
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    passfile_path: str = ""
    pass_fds: tuple[int, ...] = ()

    @property
    def owner(self) -> str:
        return self.database

    def connect(
        self, dbname: str | None = None, *, user: str | None = None, path: str = ""
    ) -> psycopg.Connection[tuple[object, ...]]:
        """An autocommit session with this search_path. Raises psycopg.Error."""
        conninfo = self.given.conninfo
        if dbname is not None and dbname != "postgres":
            conninfo = replace(conninfo, dbname=dbname)
        if user is not None:
            conninfo = replace(conninfo, user=user, password=self.password)
        try:
            conn = connect(conninfo, application_name=_APPLICATION, cancel=self.cancel, read_only=False)
        except SourceError as e:
            raise psycopg.OperationalError(e.message) from e
        if path:
            conn.execute("SELECT pg_catalog.set_config('search_path', %s, false)", [path])
        if self.bypass or user is None:
            conn.execute("SET row_security = off")
        return conn

    def program(self, name: str, *arguments: str | Path, merged: bool = False) -> list[str]:
        """argv of one of the toolset's programs, in the host's sandbox but with its network."""
        merge = ("/bin/sh", "-c", 'exec "$@" 2>&1', "sh") if merged else ()  # a fixed text: the program is an argument
        argv: Sequence[str | Path] = (*merge, self.toolset.bindir / name, *arguments)
        readable = {self.toolset.bindir.parent, *([self.toolset.libdir] if self.toolset.libdir is not None else [])}
        conninfo = self.given.conninfo
        if conninfo.ca_file is not None and Path(conninfo.ca_file).is_file():
            readable.add(Path(conninfo.ca_file))
        if conninfo.unix_socket:
            readable.add(Path(conninfo.host or "/"))
        return self.sandbox.wrap(
            argv,
            writable=(self.scratch.path,),
            readable=tuple(sorted(readable)),
            network=True,
            passwd=self.scratch.passwd,
        )

    def environment(self) -> dict[str, str]:
        """Environment for programs that connect here as the owner."""
        conninfo = replace(self.given.conninfo, user=self.owner, password=self.password, dbname=self.database)
        extra = {"HOME": str(self.scratch.path), "TMPDIR": str(self.scratch.path)}
        if self.toolset.libdir is not None:
            extra["LD_LIBRARY_PATH"] = str(self.toolset.libdir)
        return clean_environment(extra) | passfile.libpq_environment(
            conninfo, passfile_path=self.passfile_path, application_name=_APPLICATION
        )

    def create_owner(self, conn: psycopg.Connection[tuple[object, ...]]) -> None:
        """The role that owns the copy. The connecting role becomes its member, or it could not hand over a database."""
        owner = sql.Identifier(self.owner)
        rights = sql.SQL("LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB {}").format(
            sql.SQL("BYPASSRLS" if self.bypass else "")
        )
        conn.execute(sql.SQL("CREATE ROLE {} {} PASSWORD {}").format(owner, rights, sql.Literal(self.password)))
        self.mark(conn, self.owner)
        conn.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(owner))

    def mark(self, conn: psycopg.Connection[tuple[object, ...]], role: str) -> None:
        """Write on a role that it belongs to this drill, so that it is found whatever happens to us."""
        conn.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), sql.Literal(self.database)))


def name_for(catalog_id: str, job_id: str) -> str:
    """A name for the database and the role of a drill that nothing else has: whose catalog, which job."""
    return f"{PREFIX}{catalog_id[:8]}_{job_id[:8]}_{secrets.token_hex(3)}"


def examine(given: Given, cancel: CancelToken) -> ServerFacts:
    """What the server is, if drills may use it.

    Raises SourceError when it cannot be reached, CouldNotVerify ``drill.external`` when it must not or cannot be used.
    """
    conninfo = given.conninfo
    if (conninfo.host or "", conninfo.port, conninfo.dbname) in given.protected:
        raise _refused(given, "its address is that of a database that is backed up")
    with connect(conninfo, application_name=_APPLICATION, cancel=cancel, read_only=False) as conn:
        facts = probe(conn, conninfo)
        row = conn.execute(
            "SELECT rolsuper OR rolcreatedb, rolsuper OR rolcreaterole FROM pg_catalog.pg_roles"
            " WHERE rolname = current_user"
        ).fetchone()
    if facts.system_identifier is None:
        raise _refused(given, "it does not tell its system identifier, so it could be one that is backed up")
    if facts.system_identifier in given.identifiers:
        raise _refused(given, "it is the server of a database that is backed up (the same system identifier)")
    if facts.in_recovery:
        raise _refused(given, "it is a standby, which takes no new database")
    lacking = [word for word, has in zip(("CREATEDB", "CREATEROLE"), row or (), strict=False) if not has]
    if lacking:
        role = sql.Identifier(facts.role).as_string(None)
        raise CouldNotVerify(
            "drill.external",
            f"role {facts.role} may not make a database and a role on scratch server {given.name}",
            hint=f"Allow it there: `ALTER ROLE {role} {' '.join(lacking)};`.",
        )
    return facts


@contextmanager
def external_server(
    given: Given,
    directory: ScratchDir,
    toolset: Toolset,
    *,
    database: str,
    sandbox: Sandbox,
    cancel: CancelToken,
    settings: DrillSettings,
) -> Iterator[ExternalServer]:
    """The given server for one drill; what was made there is gone after the block.

    Raises CouldNotVerify ``drill.external``.
    """
    try:
        facts = examine(given, cancel)
    except SourceError as e:
        raise CouldNotVerify("drill.external", f"scratch server {given.name}: {e.message}", hint=e.hint) from e
    if facts.major != toolset.major:
        raise _refused(given, f"it is PostgreSQL {facts.major}, and the source is {toolset.major}")
    server = ExternalServer(
        given=given,
        scratch=directory,
        toolset=toolset,
        sandbox=sandbox,
        settings=settings,
        server_version=facts.version,
        system_identifier=facts.system_identifier or "",
        database=database,
        bypass=facts.superuser or (facts.bypassrls and facts.major >= 16),
        cancel=cancel,
    )
    secret = replace(given.conninfo, password=server.password)
    with holding(server.password), passfile.password_file(secret, run_as=sandbox.run_as) as handed:
        server.passfile_path, server.pass_fds = handed.path, handed.pass_fds
        failure: BaseException | None = None
        try:
            yield server
        except BaseException as e:
            failure = e
            raise
        finally:
            try:
                remove(given, lambda name: name == database)
            except OffsiteError as e:
                if failure is None:
                    raise CouldNotVerify("drill.external", f"could not clean up on {given.name}: {e.message}") from e
                add_cleanup_note(failure, f"cleaning up on {given.name}", e)


def isolation_of(given: Given, sandbox: Sandbox) -> Isolation:
    """What stands between such a drill and the world: nothing but the server itself."""
    return Isolation(sandbox.facts.user, "host", f"external server {given.name}")


def remove(given: Given, mine: Callable[[str], bool]) -> list[str]:
    """Drop the databases with our prefix for which ``mine(name)`` holds, and the roles marked with such a name.

    Runs to its end whatever was cancelled. Returns what was removed. Raises SourceError.
    """
    removed: list[str] = []
    with connect(given.conninfo, application_name=_APPLICATION, cancel=CancelToken(), read_only=False) as conn:
        try:
            found = conn.execute(
                "SELECT datname FROM pg_catalog.pg_database WHERE pg_catalog.starts_with(datname::text, %s)", [PREFIX]
            ).fetchall()
            for name in sorted(str(row[0]) for row in found):
                if mine(name):
                    conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
                    removed.append(name)
            marked = conn.execute(
                "SELECT rolname, pg_catalog.shobj_description(oid, 'pg_authid') FROM pg_catalog.pg_roles"
                " WHERE pg_catalog.starts_with(pg_catalog.shobj_description(oid, 'pg_authid'), %s)",
                [PREFIX],
            ).fetchall()
            for role, mark in marked:
                if mine(str(mark)):
                    conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(str(role))))
                    removed.append(f"role {role}")
        except psycopg.Error as e:
            raise translate(e, given.conninfo) from e
    return removed


def _refused(given: Given, why: str) -> CouldNotVerify:
    return CouldNotVerify("drill.external", f"scratch server {given.name} is refused: {why}")
