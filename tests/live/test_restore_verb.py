"""``offsitedb restore`` into a real second database: what arrives, what is refused, what a restore that ends leaves."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql

from engine import catalog as catalogs
from offsitedb_tui.demo.source import Admin
from tests.fixtures.fire import at_port, files_with
from tests.fixtures.installation import running_worker, wait_until
from tests.fixtures.program import Said
from tests.fixtures.proxy import Proxy
from tests.fixtures.shop import ROWS, Shop
from tests.live.test_cli_secrets import watching

COUNT = "SELECT count(*) FROM"


@pytest.fixture(scope="module")
def snapshot(shop: Shop) -> str:
    """Id of a snapshot of the shop, which has a view beside its tables."""
    with psycopg.connect(shop.url, autocommit=True) as conn:
        conn.execute("CREATE VIEW sales.total AS SELECT customer_id, sum(cents) AS cents FROM sales.invoice GROUP BY 1")
    return str(shop.program.run("checkpoint", "shop", "--wait", "--json").document()["snapshot"]["id"])


def restore(shop: Shop, snapshot: str, url: str, *options: str, agree: bool = True) -> Said:
    """One run of the verb, which runs the job itself where there is no worker."""
    yes = ("--yes-target", name_of(url)) if agree else ()
    return shop.program.run("restore", snapshot, "--to-url-stdin", *yes, *options, stdin=url + "\n")


def refused(shop: Shop, snapshot: str, url: str, *options: str) -> dict[str, str]:
    """The error of a restore that touches nothing: the target is as it was."""
    before = everything(url)
    said = restore(shop, snapshot, url, "--json", *options)
    document = json.loads(said.out)
    assert said.status in (2, 60), said.err
    assert everything(url) == before
    return dict(document["error"])


def name_of(url: str) -> str:
    return urlsplit(url).path.lstrip("/")


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as conn:
        return conn.execute(query.encode()).fetchall()


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def counts(url: str) -> dict[tuple[str, str], int]:
    """Exact rows of every table of the database."""
    names = rows(url, "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'sales') ORDER BY 1")
    return {(s, t): rows(url, f'{COUNT} "{s}"."{t}"')[0][0] for s, t in names}


def everything(url: str) -> list[tuple[Any, ...]]:
    """Every relation, routine and schema of the database, with the rows of its tables."""
    return [
        *rows(url, "SELECT oid, relname, relkind::text FROM pg_class WHERE oid >= 16384 ORDER BY 1"),
        *rows(url, "SELECT oid, nspname FROM pg_namespace WHERE oid >= 16384 AND nspname NOT LIKE 'pg\\_%' ORDER BY 1"),
        *rows(url, "SELECT oid, proname FROM pg_proc WHERE oid >= 16384 ORDER BY 1"),
        *counts(url).items(),
    ]


def last(shop: Shop) -> dict[str, Any]:
    """The newest line of ``restores``."""
    found = shop.program.call("restores", "--json").document()
    return dict(found[0]["record"])


def test_everything_arrives_and_is_counted(shop: Shop, snapshot: str, database: str) -> None:
    said = restore(shop, snapshot, database, "--json")
    document = said.document()
    assert document["equal"] is True
    assert document["outcome"]["state"] == "restored"
    assert counts(database) == ROWS
    assert rows(database, f"{COUNT} sales.total")[0][0] == 40
    assert rows(database, "SELECT conname FROM pg_constraint WHERE contype = 'f'") == [("invoice_customer_id_fkey",)]
    assert rows(database, "SELECT nextval('sales.invoice_id_seq')") == [(1201,)]
    for shown in ("there now", "nothing that anybody made", "one transaction", "no worker is running"):
        assert shown in said.err
    record = last(shop)
    assert (record["id"], record["equal"]) == (document["id"], True)
    with shop.program.place.engine() as engine, engine.catalog.read() as tx:
        (event,) = catalogs.events.list_recent(tx, kind="restore.ended", limit=1)
    assert (event.subject, event.data["equal"], event.data["rows"]) == (document["id"], True, 1240)


def test_a_table_comes_alone(shop: Shop, snapshot: str, database: str) -> None:
    said = restore(shop, snapshot, database, "--table", "sales.invoice")
    assert said.status == 0, said.err
    assert counts(database) == {("sales", "invoice"): 1200}
    assert rows(database, "SELECT nextval('sales.invoice_id_seq')") == [(1201,)]
    assert "table public.customer is not restored" in said.err, "the foreign key is named"
    assert "✓ RESTORED" in said.out
    assert "1 of 1 tables equal" in said.out


@pytest.mark.slow
def test_what_is_wrong_with_a_request_is_said_before_anything(shop: Shop, snapshot: str, database: str) -> None:
    near = refused(shop, snapshot, database, "--table", "sales.invoise")
    assert near["code"] == "config.not-found"
    assert "sales.invoice" in near["hint"]
    for host in ("127.0.0.1", "localhost"):
        source = shop.url.replace("127.0.0.1", host)
        assert refused(shop, snapshot, source, "--clean")["code"] == "restore.target-is-source"
    wrong = shop.program.call(
        "restore", snapshot, "--to-url-stdin", "--yes-target", "another", "--json", stdin=database
    ).error(2)
    assert wrong["code"] == "config.consent"
    assert everything(database) == []


@pytest.mark.slow
def test_a_dry_run_changes_nothing(shop: Shop, snapshot: str, database: str) -> None:
    run(database, "CREATE TABLE customer (id int)")
    before = everything(database)
    with shop.program.place.engine() as engine:
        newest = [job.id for job in engine.jobs.recent(1)]
    said = restore(shop, snapshot, database, "--dry-run", "--clean", "--json", agree=False)
    document = said.document()
    assert "table public.customer" in document["drops"]
    assert {(t["schema"], t["table"]): t["rows"] for t in document["loads"]} == ROWS
    shown = restore(shop, snapshot, database, "--dry-run", "--clean", agree=False)
    assert shown.status == 0
    assert "DROPS FIRST" in shown.out
    assert everything(database) == before
    with shop.program.place.engine() as engine:
        assert [job.id for job in engine.jobs.recent(1)] == newest


@pytest.mark.slow
def test_a_schema_comes_alone_and_by_parts(shop: Shop, snapshot: str, database: str) -> None:
    assert restore(shop, snapshot, database, "--schema", "sales", "--schema-only").status == 0
    assert counts(database) == {("sales", "invoice"): 0, ("sales", "empty"): 0}
    said = restore(shop, snapshot, database, "--schema", "sales", "--data-only", "--json")
    assert said.document()["equal"] is True
    assert counts(database) == {("sales", "invoice"): 1200, ("sales", "empty"): 0}
    again = refused(shop, snapshot, database, "--schema", "sales", "--data-only")
    assert again["code"] == "restore.target-not-empty"
    assert "TRUNCATE" in again["hint"]
    lacking = refused(shop, snapshot, database, "--table", "public.customer", "--data-only")
    assert (lacking["code"], "public.customer" in lacking["message"]) == ("restore.refused", True)


@pytest.mark.slow
def test_a_full_target_is_refused_and_clean_replaces(shop: Shop, snapshot: str, database: str) -> None:
    run(database, "CREATE TABLE customer (id int PRIMARY KEY)", "CREATE TABLE other AS SELECT 1 AS one")
    error = refused(shop, snapshot, database)
    assert error["code"] == "restore.target-not-empty"
    assert "--clean" in error["hint"]
    said = restore(shop, snapshot, database, "--clean")
    assert said.status == 0, said.err
    assert counts(database) == {**ROWS, ("public", "other"): 1}, "what the snapshot does not hold stays"
    run(database, "CREATE VIEW leans AS SELECT name FROM customer")
    leaning = refused(shop, snapshot, database, "--clean")
    assert "view public.leans" in leaning["message"]


@pytest.mark.slow
def test_what_fails_is_named_and_nothing_is_left(shop: Shop, snapshot: str, database: str) -> None:
    assert restore(shop, snapshot, database, "--schema-only").status == 0
    run(database, "ALTER TABLE sales.invoice ADD CONSTRAINT few_cents CHECK (cents < 700)")
    before = everything(database)
    said = restore(shop, snapshot, database, "--data-only")
    assert said.status == 70, said.err
    assert "few_cents" in said.out
    assert "table data sales.invoice" in said.out
    assert "nothing of it" in said.out
    assert everything(database) == before
    record = last(shop)
    assert (record["equal"], record["outcome"]["state"]) == (False, "failed")


@pytest.mark.slow
def test_rows_that_do_not_fit_are_a_mismatch(shop: Shop, snapshot: str, database: str) -> None:
    assert restore(shop, snapshot, database, "--schema-only").status == 0
    run(
        database,
        "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER skip BEFORE INSERT ON sales.invoice FOR EACH ROW WHEN (NEW.id = 7) EXECUTE FUNCTION skip()",
    )
    said = restore(shop, snapshot, database, "--data-only", "--json")
    document = said.document(70)
    assert document["error"]["code"] == "restore.mismatch"
    assert "sales.invoice (1,199 of 1,200 rows)" in document["error"]["message"]


@pytest.mark.slow
def test_a_plain_owner_restores_with_jobs_and_a_worker(
    shop: Shop, snapshot: str, owned: str, database: str, server: Admin
) -> None:
    with running_worker(shop.program.place):
        said = restore(shop, snapshot, owned, "--jobs", "2")
    assert said.status == 0, said.err
    assert "no worker is running" not in said.err
    assert "LEAVES A PARTIAL COPY" in said.err
    assert "SUPERUSER" not in said.err
    assert counts(owned) == ROWS


@pytest.fixture
def owned(database: str) -> Iterator[str]:
    """The URL of an empty database that a plain role owns; its password needs quoting."""
    role, password = f"owner_{name_of(database)}", f"pw:{name_of(database)}\\@%/'\" canary"
    with psycopg.connect(database, autocommit=True) as conn:
        who = sql.Identifier(role)
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(who, sql.Literal(password)))
        conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name_of(database)), who))
        conn.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(who))
    parts = urlsplit(database)
    yield f"postgresql://{role}:{quote(password, safe='')}@127.0.0.1:{parts.port}{parts.path}"
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(who))
        conn.execute(sql.SQL("DROP OWNED BY {}").format(who))
        conn.execute(sql.SQL("DROP ROLE {}").format(who))


@pytest.mark.slow
def test_the_password_is_nowhere(shop: Shop, snapshot: str, owned: str) -> None:
    parts = urlsplit(owned)
    assert parts.port is not None
    assert parts.password is not None
    plain = name_of(owned) + "\\@%/'\" canary"
    needles = (plain.encode(), parts.password.encode(), owned.encode())
    with Proxy("127.0.0.1", parts.port) as proxy:
        proxy.slow_up(100_000)
        url = owned.replace(f":{parts.port}/", f":{proxy.port}/")
        with watching(shop.program.place.root, needles) as watch:
            said = restore(shop, snapshot, url)
    assert said.status == 0, said.err
    assert "pg_restore" in watch.seen
    assert watch.found == []
    for needle in needles:
        assert needle.decode() not in said.out + said.err
        assert files_with(shop.program.place.root, needle) == []


@contextmanager
def held_up(url: str) -> Iterator[str]:
    """Another session holds a lock that the restore into the schema at ``url`` waits for: its query, once it waits."""
    with psycopg.connect(url) as conn:
        conn.execute("LOCK TABLE sales.invoice IN ACCESS SHARE MODE")
        yield "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name ~ '^offsitedb'"


@pytest.mark.slow
@pytest.mark.parametrize("worker", [False, True])
def test_a_cancelled_restore_leaves_the_target_as_it_was(
    shop: Shop, snapshot: str, database: str, worker: bool, tmp_path: Path
) -> None:
    assert restore(shop, snapshot, database).status == 0
    run(database, "INSERT INTO customer VALUES (77, 'newer than the snapshot')")
    before = everything(database)
    (tmp_path / "url").write_text(database)
    arguments = ("restore", snapshot, "--to-url-stdin", "--clean", "--yes-target", name_of(database))
    with _worker(shop, wanted=worker), held_up(database) as waiting, (tmp_path / "url").open() as url:
        with shop.program.start(*arguments, stdin=url) as process:
            wait_until(lambda: bool(rows(database, waiting)), "the restore to wait for the lock")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
            assert process.returncode == 130, err
        wait_until(lambda: not rows(database, waiting), "the server's session to end")
    assert "cancelled" in out
    assert "nothing of it, and what was there before is untouched: it was one transaction" in out
    assert everything(database) == before
    assert last(shop)["outcome"]["state"] == "cancelled"


@contextmanager
def _worker(shop: Shop, *, wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    with running_worker(shop.program.place):
        yield


@pytest.mark.slow
def test_a_target_that_goes_away_is_named(shop: Shop, snapshot: str, database: str, tmp_path: Path) -> None:
    assert restore(shop, snapshot, database).status == 0
    before = everything(database)
    port = urlsplit(database).port
    assert port is not None
    with Proxy("127.0.0.1", port) as proxy:
        (tmp_path / "url").write_text(at_port(database, proxy.port))
        arguments = ("restore", snapshot, "--to-url-stdin", "--clean", "--yes-target", name_of(database))
        with held_up(database) as waiting, (tmp_path / "url").open() as url:
            with shop.program.start(*arguments, stdin=url) as process:
                wait_until(lambda: bool(rows(database, waiting)), "the restore to wait for the lock")
                proxy.stop()
                proxy.reset()
                out, err = process.communicate(timeout=60)
                assert process.returncode == 70, err
    assert "at the network" in out + err
    wait_until(lambda: everything(database) == before, "the target to be as it was")
    assert last(shop)["outcome"]["state"] == "failed"
