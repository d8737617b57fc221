"""What a real server and a real pg_dump say when a source cannot be read, and whether the SQL of the hint mends it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from engine.cancel import CancelToken
from engine.errors import SourceError
from engine.postgres.diagnosis import Diagnosis, diagnose
from engine.postgres.dump import finish_dump
from engine.postgres.rule import Place, Surroundings
from engine.postgres.tools import Toolset, environment
from engine.process import clean_environment, spawn
from tests.fixtures.drill_parts import Source
from tests.fixtures.postgres_server import create_database, run_server

pytest_plugins = ("tests.fixtures.drills",)


@pytest.fixture
def reader(postgres_server: str, origin: Source) -> Iterator[str]:
    """A role that may log in and nothing else; the test's database goes with it."""
    name = f"reader_{uuid4().hex[:8]}"
    with psycopg.connect(postgres_server, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {name} LOGIN".encode())
    yield name
    with psycopg.connect(postgres_server, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {database_of(origin.url)} WITH (FORCE)".encode())
        conn.execute(f"DROP ROLE {name}".encode())


def database_of(url: str) -> str:
    return url.split("/")[3].split("?")[0]


def dump_as(origin: Source, role: str, *flags: str) -> SourceError | None:
    """pg_dump as ``role``, judged as a snapshot judges it; None when it was whole."""
    url = origin.url.replace("postgres@", f"{role}@")
    argv = [str(origin.toolset.bindir / "pg_dump"), "-Fc", "-Z0", *flags, "-d", url]
    env = clean_environment(environment(origin.toolset))
    with spawn(argv, name="pg_dump", cancel=CancelToken(), env=env) as child:
        child.stdout.read()
        try:
            finish_dump(child, Surroundings(role=role, major=origin.toolset.major, dbname="shop"))
        except SourceError as e:
            return e
    return None


def mend(origin: Source, hint: str) -> None:
    """Run the SQL of a hint: the lines that are SQL, or what stands between backticks."""
    statements = [line for line in hint.split("\n")[1:] if not line.endswith(":")]
    text = "\n".join(statements) or ";".join(re.findall(r"`([^`]*)`", hint))
    with psycopg.connect(origin.url, autocommit=True) as conn:
        conn.execute(text.encode())


def failing(error: SourceError | None) -> SourceError:
    assert error is not None
    return error


def test_f2_row_security(origin: Source, reader: str) -> None:
    origin.run(
        'CREATE TABLE "my own" (id int)',
        'ALTER TABLE "my own" ENABLE ROW LEVEL SECURITY',
        f"GRANT pg_read_all_data TO {reader}",
    )
    error = failing(dump_as(origin, reader))
    assert error.code == "pg.permission"
    assert "row level security hides rows of table my own from the role" in error.message
    assert 'row-level security policy for table "my own"' in error.message
    mend(origin, error.hint)
    assert dump_as(origin, reader) is None


def test_f3_a_table_of_a_later_migration(origin: Source, reader: str) -> None:
    origin.run(
        'CREATE SCHEMA "ware house"',
        'CREATE TABLE "ware house"."new table" (id int)',
        f'GRANT USAGE ON SCHEMA "ware house" TO {reader}',
    )
    error = failing(dump_as(origin, reader))
    assert error.code == "pg.permission"
    assert f"the role {reader} may not read table new table; usually one that a later migration made" in error.message
    assert "ALTER DEFAULT PRIVILEGES" in error.hint
    mend(origin, error.hint)
    assert dump_as(origin, reader) is None
    origin.run('CREATE TABLE "ware house".later (id int)')
    assert dump_as(origin, reader) is None


def test_f4_a_schema_of_the_provider_s(origin: Source, reader: str) -> None:
    origin.run("CREATE SCHEMA auth", "CREATE TABLE auth.users (id int)")
    error = failing(dump_as(origin, reader))
    assert "schema auth belongs to the provider" in error.message
    mend(origin, error.hint.split("role: ")[-1])
    assert dump_as(origin, reader) is None


def test_f3_sequences_and_other_schemas(origin: Source, reader: str) -> None:
    origin.run("CREATE SCHEMA mine", "CREATE SEQUENCE mine.numbers")
    error = failing(dump_as(origin, reader))
    assert error.code == "pg.permission"
    mend(origin, error.hint)
    assert dump_as(origin, reader) is None


def test_f5_large_objects(origin: Source, reader: str) -> None:
    origin.run("SELECT lo_from_bytea(0, 'abc')", f"GRANT pg_read_all_data TO {reader}")
    error = failing(dump_as(origin, reader))
    assert error.code == "pg.permission"
    assert "may not read large objects" in error.message
    mend(origin, error.hint)
    assert dump_as(origin, reader) is None


def test_f25_a_lock_that_is_not_to_be_had(origin: Source, reader: str) -> None:
    origin.run("CREATE TABLE held (id int)", f"GRANT pg_read_all_data TO {reader}")
    with psycopg.connect(origin.url) as holder:
        holder.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
        error = failing(dump_as(origin, reader, "--lock-wait-timeout=50"))
        assert (error.code, error.retry) == ("pg.lock-timeout", True)
        query = next(line for line in error.hint.split("\n") if line.startswith("SELECT"))
        with psycopg.connect(origin.url) as conn:
            assert [row[0] for row in conn.execute(query.encode())] == [holder.info.backend_pid]


def test_f1_an_unknown_database_and_a_role_that_is_not_there(origin: Source) -> None:
    nowhere = Source(origin.url.replace(database_of(origin.url), "nowhere"), origin.toolset)
    assert failing(dump_as(nowhere, "postgres")).code == "pg.no-database"
    assert failing(dump_as(origin, "nobody_here")).code == "pg.auth"


def said_by(url: str, *statements: str) -> Diagnosis:
    """What the last statement's refusal means."""
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements[:-1]:
            conn.execute(statement.encode())
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(statements[-1].encode())
    return diagnose(str(caught.value), Place.SESSION, Surroundings(role="reader", major=15))


def test_f8_timeouts_of_the_role(origin: Source) -> None:
    found = said_by(origin.url, "SET statement_timeout = '20ms'", "SELECT pg_sleep(5)")
    assert (found.code, "statement timeout" in found.sentence) == ("pg.timeout", True)
    query = next(line for line in (found.hint or "").split("\n") if line.startswith("SELECT"))
    database = database_of(origin.url)
    origin.run(f"ALTER ROLE postgres IN DATABASE {database} SET statement_timeout = '77s'")
    with psycopg.connect(origin.url) as conn:
        assert conn.execute(query.encode()).fetchall() == [("postgres", database, ["statement_timeout=77s"])]


def test_what_a_session_is_told(origin: Source) -> None:
    assert said_by(origin.url, "SET lock_timeout = '1'", "SELECT 1 / 0").code is None
    assert (
        said_by(origin.url, "SET default_transaction_read_only = on", "CREATE TABLE t (id int)").code
        == "pg.query-failed"
    )
    assert said_by(origin.url, "SELECT pg_get_viewdef(1) FROM nowhere.at_all").code == "pg.dump-failed"


@pytest.mark.slow
def test_damage_is_found_by_the_sql_of_the_hint(toolset: Toolset) -> None:
    """A page, and a toasted value, damaged on a real disk."""
    with run_server(toolset, "shared_buffers=1MB") as server:
        url = create_database(server, "damaged")
        home = server.split("host=")[1]
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute('CREATE TABLE "or ders" (id int, note text)')
            conn.execute("INSERT INTO \"or ders\" SELECT g, repeat('x', 900) FROM generate_series(1, 40) g")
            conn.execute("CREATE TABLE big (id int, note text)")
            conn.execute("ALTER TABLE big ALTER note SET STORAGE EXTERNAL")
            conn.execute("INSERT INTO big SELECT g, repeat('y', 9000) FROM generate_series(1, 3) g")
            row = conn.execute("SELECT pg_relation_filepath('\"or ders\"')").fetchone()
            toast = conn.execute("SELECT reltoastrelid::regclass::text FROM pg_class WHERE relname = 'big'").fetchone()
            assert row is not None
            assert toast is not None
            conn.execute("SET allow_system_table_mods = on")
            kind = f"UPDATE pg_class SET relkind = '%s' WHERE oid = '{toast[0]}'::regclass"
            conn.execute((kind % "r").encode())
            conn.execute(f"DELETE FROM {toast[0]} WHERE chunk_seq = 1".encode())
            conn.execute((kind % "t").encode())
            conn.execute("CHECKPOINT")
        with open(f"{home}/data/{row[0]}", "r+b") as file:  # noqa: PTH123
            file.seek(8192 * 2)
            file.write(b"\xa5" * 64)
        forget_pages(server)
        origin = Source(url, toolset)
        error = failing(dump_as(origin, "postgres", '--table=public."or ders"'))
        assert error.code == "pg.damaged"
        assert "the source itself is damaged: table public.or ders cannot be read whole" in error.message
        assert "invalid page in block 2" in error.message
        assert notices(url, error.hint) == ["page 2"]
        error = failing(dump_as(origin, "postgres", "--table=public.big"))
        assert "missing chunk number" in error.message or "unexpected chunk number" in error.message
        assert notices(url, error.hint) == ["page 0"]


def forget_pages(server: str) -> None:
    """Forget what lies in shared buffers, so that the page is read from disk again."""
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
        conn.execute("CREATE TABLE filler AS SELECT repeat('z', 1000) t FROM generate_series(1, 4000)")
        conn.execute("SELECT pg_prewarm('filler', 'buffer')")


def notices(url: str, hint: str) -> list[str]:
    block = hint[hint.index("DO $do$") : hint.index("END $do$;") + len("END $do$;")]
    said: list[str] = []
    with psycopg.connect(url, autocommit=True) as conn:
        conn.add_notice_handler(lambda d: said.append((d.message_primary or "").split(":")[0]))
        conn.execute(block.encode())
    return said


@pytest.mark.slow
def test_the_lock_table_overflows_and_connections_run_out(toolset: Toolset) -> None:
    settings = ("superuser_reserved_connections=0", "max_wal_senders=0", "max_connections=4")
    with run_server(toolset, "max_locks_per_transaction=10", *settings) as server:
        url = create_database(server, "many")
        with psycopg.connect(url, autocommit=True) as conn:
            for n in range(40):
                conn.execute("".join(f"CREATE TABLE t{n}_{i} (id int);" for i in range(20)).encode())
        error = failing(dump_as(Source(url, toolset), "postgres"))
        assert error.code == "pg.resources"
        assert "max_locks_per_transaction = 1024" in error.hint
        held = [psycopg.connect(url) for _ in range(4)]
        error = failing(dump_as(Source(url, toolset), "postgres"))
        for conn in held:
            conn.close()
        assert (error.code, error.retry) == ("pg.unreachable", True)
        assert "no free connection" in error.message


def test_f9_a_session_that_is_ended_half_way(origin: Source) -> None:
    origin.run("CREATE TABLE t AS SELECT repeat('x', 1000) x FROM generate_series(1, 30000)")
    argv = [str(origin.toolset.bindir / "pg_dump"), "-Fc", "-Z0", "-d", origin.url]
    with (
        spawn(argv, name="pg_dump", cancel=CancelToken(), env=clean_environment(environment(origin.toolset))) as child,
        psycopg.connect(origin.url, autocommit=True) as conn,
    ):
        child.stdout.read(1 << 16)
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump'"
        assert conn.execute(f"{query} AND datname = current_database()".encode()).fetchall()
        reader = threading.Thread(target=child.stdout.read)
        reader.start()
        with pytest.raises(SourceError) as caught:
            finish_dump(child)
        reader.join()
    assert (caught.value.code, caught.value.retry) == ("pg.dump-failed", True)
    assert "was cut before the dump was whole" in caught.value.message


def test_an_unknown_message_is_shown_as_it_is(toolset: Toolset) -> None:
    argv = ["/bin/sh", "-c", "echo 'pg_dump: error: the moon is in the seventh house' >&2; exit 3"]
    with spawn(argv, name="pg_dump", cancel=CancelToken()) as child, pytest.raises(SourceError) as caught:
        finish_dump(child)
    assert caught.value.message == "pg_dump failed (exit status 3): error: the moon is in the seventh house"
