"""Texts of a restore, as PostgreSQL writes them: in a drill, and in a server of the user's."""

from __future__ import annotations

import pytest

from engine.postgres.diagnosis import diagnose
from engine.postgres.rule import Place, Surroundings

RESTORE = [
    (
        "F27",
        'extension "pg_cron" is not available',
        "drill.extension-missing",
        "not on the drill host",
        "apt install postgresql-17-pg-cron",
    ),
    (
        "F27",
        'could not access file "$libdir/postgis-3": No such file or directory',
        "drill.extension-missing",
        "library of an extension",
        "scratch add",
    ),
    ("F28", 'role "app owner" does not exist', "drill.restore", "role app owner", 'CREATE ROLE "app owner" NOLOGIN;'),
    ("F29", 'schema "public" already exists', "drill.restore", "was there before", "DROP SCHEMA public;"),
    ("F30", "unsupported version (1.16) in file header", "drill.tool-missing", "format 1.16", "postgres install 17"),
    (
        "F30",
        'unrecognized configuration parameter "transaction_timeout"',
        "drill.tool-missing",
        "does not know transaction_timeout",
        "source's major",
    ),
    (
        "F33",
        'could not extend file "base/1/2": No space left on device',
        "drill.disk",
        "disk of the drill",
        "OFFSITEDB_RUNTIME",
    ),
    ("oom", "server closed the connection unexpectedly", "drill.scratch", "ended or cut", "killed process"),
    ("sem", "FATAL:  could not create semaphores: No space left on device", "drill.scratch", "semaphores", "sysctl"),
    ("oom", "out of memory", "drill.scratch", "memory ran out", "drill.jobs = 1"),
    ("locks", "out of shared memory", "drill.scratch", "lock table", "max_locks_per_transaction"),
    (
        "shm",
        'could not resize shared memory segment "/PostgreSQL.1": No space left on device',
        "drill.scratch",
        "/dev/shm",
        "--shm-size",
    ),
    ("locale", 'collation "pg_catalog.de_DE" for encoding "UTF8" does not exist', "drill.locale-missing", "locale", ""),
    ("language", 'language "plv8" does not exist', "drill.restore", "language plv8", "CREATE EXTENSION plv8;"),
    (
        "timeout",
        "canceling statement due to user request",
        "drill.restore",
        "longer than a drill",
        "statement_timeout_s",
    ),
    ("excluded", 'type "secret.mood" does not exist', "drill.restore", "does not hold", "connection preflight NAME"),
    ("rights", "must be superuser to do this", "drill.restore", "wants rights", "superuser"),
    ("cut", "could not read from input file: end of file", "drill.restore", "cut or damaged", "Take a new checkpoint"),
    (
        "setting",
        'unrecognized configuration parameter "app.tenant"',
        "drill.restore",
        "setting app.tenant",
        "current_setting('app.tenant', true)",
    ),
]


@pytest.mark.parametrize(("number", "text", "code", "says", "hint"), RESTORE)
def test_f27_f28_f29_f30_f33_what_does_not_restore(number: str, text: str, code: str, says: str, hint: str) -> None:
    near = Surroundings(major=17)
    found = diagnose(text, Place.RESTORE, near)
    assert (found.code, says in found.sentence, hint in (found.hint or "")) == (code, True, True), found


TARGET = [
    ("lock", "deadlock detected", "holds what the restore needs", "pg_blocking_pids"),
    ("locks", "out of shared memory", "more locks here than the target has", "--jobs 2"),
    ("memory", "out of memory", "the target ran out of memory", "ALTER ROLE app SET maintenance_work_mem"),
    ("locale", 'could not create locale "xx_XX.utf8": No such file', "does not have a locale", "localedef"),
    ("excluded", 'type "secret.mood" does not exist', "neither in what is restored nor at the target", "--table"),
    (
        "disk",
        'could not extend file "base/1/2": No space left on device',
        "the target's disk is full",
        "pg_database_size",
    ),
]


@pytest.mark.parametrize(("number", "text", "says", "hint"), TARGET)
def test_what_a_target_says_is_not_said_of_the_drill_host(number: str, text: str, says: str, hint: str) -> None:
    found = diagnose(text, Place.TARGET, Surroundings(role="app", dbname="copy", major=17))
    assert (found.code, says in found.sentence, hint in (found.hint or "")) == ("restore.failed", True, True), found
    assert not found.host
    assert "drill" not in found.message + (found.hint or "")
