"""Handing the password to a child program so that nobody else on the machine can read it.

On Linux the password file is a sealed memfd: it has no name, and its descriptor is inherited by exactly one child.
Elsewhere it is a 0600 file in a private directory that is removed afterwards. The room refuses to put a password on a
command line or into an environment variable.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.postgres.address import Conninfo
from engine.process import RunAs

NO_FILE = "/dev/null/none"
"""In place of the user's own ~/.pgpass: a file that cannot exist. libpq warns on stderr about one that is no file."""

KEEPALIVE = {"keepalives": "1", "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "6"}
"""A dead network is noticed after 30 + 6 × 10 s; idle NAT entries live 5 minutes and more (F9)."""


@dataclass(frozen=True, slots=True)
class PasswordFile:
    """What a child must be given: ``path`` as PGPASSFILE, ``pass_fds`` to inherit. Both empty without a password."""

    fd: int | None
    path: str

    @property
    def pass_fds(self) -> tuple[int, ...]:
        return () if self.fd is None else (self.fd,)


@contextmanager
def password_file(conninfo: Conninfo, *, run_as: RunAs | None = None) -> Iterator[PasswordFile]:
    """A password file for one child, gone when the block ends. ``run_as``: the user that the child runs as."""
    if conninfo.password is None:
        yield PasswordFile(None, NO_FILE)
        return
    line = pgpass_line(conninfo).encode()
    if hasattr(os, "memfd_create"):
        with _memfd(line, run_as) as fd:
            yield PasswordFile(fd, f"/proc/self/fd/{fd}")
        return
    with _private_file(line, run_as) as path:
        yield PasswordFile(None, str(path))


def pgpass_line(conninfo: Conninfo) -> str:
    """``*:*:*:*:password``: the file is for one child with one connection, so only the password needs to be right."""
    assert conninfo.password is not None
    return "*:*:*:*:" + conninfo.password.replace("\\", "\\\\").replace(":", "\\:") + "\n"


@contextmanager
def _memfd(line: bytes, run_as: RunAs | None) -> Iterator[int]:
    fd = os.memfd_create("offsitedb-pass", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.fchmod(fd, 0o600)  # libpq ignores a password file that others may read, and a memfd starts as 0777
        os.write(fd, line)
        if run_as is not None and os.geteuid() == 0:
            os.fchown(fd, run_as.uid, run_as.gid)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _private_file(line: bytes, run_as: RunAs | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="offsitedb-pass-") as directory:
        path = Path(directory) / "pgpass"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as f:
            f.write(line)
        if run_as is not None and os.geteuid() == 0:
            os.chown(path, run_as.uid, run_as.gid)
            os.chown(directory, run_as.uid, run_as.gid)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def libpq_environment(
    conninfo: Conninfo, *, passfile_path: str, application_name: str, options: str = ""
) -> dict[str, str]:
    """The PG* variables for a child that speaks libpq, pg_dump above all.

    Host, user and database go through the environment, never through argv: a database named ``a=b`` would be read as
    a connection string there. ``options`` are startup options of ours, put behind the connection's own.
    """
    given = {
        "PGHOST": conninfo.host,
        "PGHOSTADDR": conninfo.hostaddr,
        "PGPORT": str(conninfo.port),
        "PGDATABASE": conninfo.dbname,
        "PGUSER": conninfo.user,
        "PGPASSFILE": passfile_path,
        "PGSSLMODE": conninfo.sslmode,
        "PGSSLROOTCERT": conninfo.ca_file,
        "PGSSLCERT": "/nonexistent",  # no client certificate from a home directory
        "PGSSLKEY": "/nonexistent",
        "PGOPTIONS": " ".join(filter(None, (conninfo.options, options))) or None,
        "PGCONNECT_TIMEOUT": str(conninfo.connect_timeout_s),
        "PGCHANNELBINDING": conninfo.channel_binding,
        "PGTARGETSESSIONATTRS": conninfo.target_session_attrs,
        "PGAPPNAME": application_name,
        "PGGSSENCMODE": "disable",  # poolers answer the request with an error (F6)
        "PGCLIENTENCODING": None,
    }
    return {k: v for k, v in given.items() if v is not None}
