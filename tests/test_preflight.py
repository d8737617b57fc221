"""Preflight in front of real servers: what it refuses, what it only says, and that its SQL mends what it names."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from engine.cancel import CancelToken
from engine.clock import SystemClock
from engine.errors import PreflightFailed, SourceError
from engine.model import Check, CheckStatus
from engine.postgres.conninfo import parse
from engine.postgres.tools import Toolset
from engine.preflight import ChecksFailed, Preflight, raise_if_blocking, run
from offsitedb_tui.demo.source import Admin
from tests.fixtures.awkward import altered
from tests.fixtures.source import as_role

HOSTED = """
CREATE ROLE hosted_auth NOLOGIN;
CREATE SCHEMA auth AUTHORIZATION hosted_auth; CREATE SCHEMA storage;
CREATE TABLE auth.users (id int PRIMARY KEY); INSERT INTO auth.users VALUES (1), (2);
ALTER TABLE auth.users OWNER TO hosted_auth;
CREATE TABLE storage.objects (id int); INSERT INTO storage.objects VALUES (1);
CREATE TABLE public.profiles (id int REFERENCES auth.users); INSERT INTO public.profiles VALUES (1);
ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY; ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
CREATE ROLE hosted_reader LOGIN PASSWORD 'reader';
"""
PLAIN_RECIPE = """
GRANT USAGE ON SCHEMA public, auth, storage TO hosted_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public, auth, storage TO hosted_reader;
"""


def look(url: str, toolset: Toolset, *, accept_empty: bool = False) -> Preflight:
    return run(
        parse(url),
        toolsets=[toolset],
        accept_empty=accept_empty,
        cancel=CancelToken(),
        clock=SystemClock(),
        job="preflight-test",
    )


def check(preflight: Preflight, code: str) -> Check:
    return next(c for c in preflight.checks if c.code == code)


@pytest.fixture
def hosted(database: str) -> Iterator[str]:
    """A database shaped like a hosted one, as the administrator. Its reader has no grant yet."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(HOSTED)
        yield database
        conn.execute("DROP OWNED BY hosted_reader, hosted_auth CASCADE")
        conn.execute("DROP ROLE hosted_reader, hosted_auth")


@pytest.mark.parametrize("grants", ["", PLAIN_RECIPE])
def test_f2_a_role_that_sees_no_row_is_refused_and_its_sql_mends_it(hosted: str, toolset: Toolset, grants: str) -> None:
    reader = as_role(hosted, "hosted_reader", "reader")
    with psycopg.connect(hosted, autocommit=True) as conn:
        conn.execute(grants.encode())
        before = look(reader, toolset)
        with pytest.raises(ChecksFailed) as caught:
            raise_if_blocking(before)
        error = caught.value
        assert isinstance(error, PreflightFailed)
        assert (error.code, error.exit_status) == ("preflight.nothing-readable", 60)
        assert error.checks[0].code == "nothing-readable"
        assert pickle.loads(pickle.dumps(error)).checks == error.checks
        finding = check(before, "nothing-readable")
        assert "definitions and no data" in finding.detail
        assert ("row level security" in finding.detail) == bool(grants)
        assert finding.fix_sql is not None
        assert finding.fix_sql in error.hint
        for line in ("BYPASSRLS", "pg_read_all_data", "default_transaction_read_only = on"):
            assert line in finding.fix_sql
        conn.execute(finding.fix_sql.encode())
    after = look(reader, toolset)
    raise_if_blocking(after)
    assert (after.captured.describe(), after.inventory.blockers) == ("3 of 3 tables", ())
    assert after.captured.complete


def test_accept_empty_turns_the_refusal_into_a_warning(hosted: str, toolset: Toolset) -> None:
    reader = as_role(hosted, "hosted_reader", "reader")
    accepted = look(reader, toolset, accept_empty=True)
    assert check(accepted, "nothing-readable").status is CheckStatus.WARN
    raise_if_blocking(accepted)


def test_readable_tables_without_a_row_are_nothing(hosted: str, toolset: Toolset) -> None:
    """Only an empty table can be read, while tables with rows cannot: that is no backup either."""
    with psycopg.connect(hosted, autocommit=True) as conn:
        conn.execute("CREATE TABLE public.empty (id int); GRANT SELECT ON public.empty TO hosted_reader")
    with pytest.raises(ChecksFailed, match="can read no row of 4 tables"):
        raise_if_blocking(look(as_role(hosted, "hosted_reader", "reader"), toolset))


def test_f4_managed_schemas_are_named_apart(hosted: str, toolset: Toolset) -> None:
    with psycopg.connect(hosted, autocommit=True) as conn:
        conn.execute("CREATE TABLE public.notes (id int); INSERT INTO public.notes VALUES (1)")
        conn.execute("GRANT SELECT ON public.notes TO hosted_reader")
    found = look(as_role(hosted, "hosted_reader", "reader"), toolset)
    raise_if_blocking(found)
    assert found.captured.describe() == "1 of 4 tables"
    assert "auth, storage" in check(found, "managed-schemas").detail
    assert "public.profiles" in check(found, "unreadable-tables").detail
    assert check(found, "coverage").status is CheckStatus.WARN


def test_f3_tables_of_later_migrations_get_their_owners_line(hosted: str, toolset: Toolset) -> None:
    """Default privileges that another role set do not cover them; the printed SQL does, also for the next one."""
    reader = as_role(hosted, "hosted_reader", "reader")
    with psycopg.connect(hosted, autocommit=True) as conn:
        conn.execute("ALTER ROLE hosted_reader BYPASSRLS")
        conn.execute(PLAIN_RECIPE.encode())
        conn.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO hosted_reader")
        conn.execute("GRANT CREATE ON SCHEMA public TO hosted_auth; SET ROLE hosted_auth")
        conn.execute("CREATE TABLE public.migrated (id int); RESET ROLE")
        found = check(look(reader, toolset), "unreadable-tables")
        assert "public.migrated" in found.detail
        assert "hosted_auth" in found.detail
        assert found.fix_sql is not None
        assert 'ALTER DEFAULT PRIVILEGES FOR ROLE "hosted_auth" IN SCHEMA "public"' in found.fix_sql
        conn.execute(found.fix_sql.encode())
        conn.execute("SET ROLE hosted_auth; CREATE TABLE public.migrated_next (id int); RESET ROLE")
    assert look(reader, toolset).captured.describe() == "5 of 5 tables"


def test_an_awkward_source_passes_with_everything_named(awkward: str, toolset: Toolset) -> None:
    found = look(awkward, toolset)
    raise_if_blocking(found)
    codes = {c.code for c in found.checks}
    assert {
        "row-security",
        "unreadable-tables",
        "sequences",
        "large-objects",
        "extension-settings",
        "dependants",
        "never-captured",
    } <= codes
    assert "column_only" in check(found, "unreadable-tables").detail
    assert "public.typed_by_closed" in check(found, "dependants").detail
    assert (found.captured.large_objects, found.captured.complete) == (False, False)
    assert len(found.not_captured) == len(found.inventory.blockers) + len(found.inventory.never_captured)


def test_the_sql_of_each_check_mends_it(server: Admin, awkward: str, toolset: Toolset) -> None:
    """All printed SQL run as the administrator: afterwards nothing is left out."""
    before = look(awkward, toolset)
    fixes = [c.fix_sql for c in before.checks if c.fix_sql and c.fix_sql.lstrip().startswith(("--", "GRANT"))]
    undo = (
        "ALTER ROLE awkward_reader NOBYPASSRLS; REVOKE pg_read_all_data FROM awkward_reader;"
        " ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public REVOKE SELECT ON TABLES FROM awkward_reader;"
        " REVOKE SELECT ON LARGE OBJECT 4711 FROM awkward_reader"
    )
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute("CREATE DATABASE awkward_copy TEMPLATE awkward")
    try:
        with altered(server.url("awkward_copy"), "\n".join(fixes), undo):
            after = look(as_role(server.url("awkward_copy"), "awkward_reader", "reader"), toolset)
        assert after.inventory.blockers == ()
        assert after.inventory.dependants == ()
        assert after.captured.complete
    finally:
        with psycopg.connect(server.url(), autocommit=True) as conn:
            conn.execute("DROP DATABASE awkward_copy WITH (FORCE)")


def test_an_empty_database_is_fine(database: str, toolset: Toolset) -> None:
    found = look(database, toolset)
    raise_if_blocking(found)
    assert check(found, "coverage").status is CheckStatus.OK
    assert check(found, "role").status is CheckStatus.WARN, "a superuser is more than a backup needs"


def test_f1_without_the_servers_own_programs(database: str, toolset: Toolset) -> None:
    found = run(
        parse(database),
        toolsets=[],
        accept_empty=False,
        cancel=CancelToken(),
        clock=SystemClock(),
        job="preflight-test",
    )
    assert check(found, "tools").fix_sql == f"offsitedb postgres install {toolset.major}"
    with pytest.raises(SourceError) as caught:
        raise_if_blocking(found)
    assert caught.value.code == "pg.tool-missing"
    with pytest.raises(SourceError):
        found.tools()


def test_f8_the_roles_timeouts_are_named(hosted: str, toolset: Toolset) -> None:
    with psycopg.connect(hosted, autocommit=True) as conn:
        conn.execute("ALTER ROLE hosted_reader SET statement_timeout = '2min'")
    found = look(as_role(hosted, "hosted_reader", "reader"), toolset, accept_empty=True)
    assert check(found, "timeouts").status is CheckStatus.INFO
    assert "statement_timeout = 2min" in check(found, "timeouts").detail


def test_f27_extensions_that_this_host_cannot_make(database: str, toolset: Toolset, tmp_path: Path) -> None:
    """A host whose share directory lacks the control files of what the source uses."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE EXTENSION hstore; CREATE EXTENSION citext")
    (tmp_path / "extension").mkdir()
    (tmp_path / "extension" / "hstore.control").write_text("comment = 'x'\n")
    found = look(database, dataclasses.replace(toolset, sharedir=tmp_path))
    finding = check(found, "drill-extensions")
    assert "citext" in finding.detail
    assert "hstore" not in finding.detail
    assert finding.fix_sql == f"apt install postgresql-{toolset.major}-citext"
    raise_if_blocking(found)


def test_the_session_names_its_job(server: Admin, database: str, toolset: Toolset) -> None:
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET log_connections = on")
        look(database, toolset)
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'offsitedb/%'"
        row = conn.execute(query).fetchone()
        conn.execute("ALTER SYSTEM RESET log_connections")
    assert row == (0,), "no session is left behind"
