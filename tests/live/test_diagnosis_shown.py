"""What somebody sees when a backup cannot be taken, or does not restore: the sentence, PostgreSQL's words, the SQL."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import psycopg
import pytest

from engine.model import Failure, JobError, Verdict
from engine.postgres import rule as rules
from engine.postgres.diagnosis import diagnose
from screens.receipt import ReceiptSheet
from screens.widgets.facts import Facts
from tests.fixtures.drill_parts import Source
from tests.fixtures.history import NOW, History
from tests.fixtures.installation import Place
from tests.fixtures.pilot import app_of, console, screen_text, until, until_shown
from tests.fixtures.program import Program

pytest_plugins = (
    "tests.fixtures.drills",
    "tests.fixtures.installation",
    "tests.fixtures.program",
    "tests.fixtures.history",
)

LOST = (
    "CREATE SCHEMA ware",
    "CREATE TABLE ware.stock (n int)",
    "CREATE FUNCTION total() RETURNS bigint LANGUAGE plpgsql AS 'begin return 1; end'",
    "CREATE MATERIALIZED VIEW totals AS SELECT total() AS n",
    "CREATE OR REPLACE FUNCTION total() RETURNS bigint LANGUAGE plpgsql AS"
    " 'begin return (select sum(n) from stock); end'",
    "CREATE TABLE people (mail text)",
    "CREATE UNIQUE INDEX people_mail ON people (lower(mail))",
    "UPDATE pg_index SET indisready = false WHERE indexrelid = 'people_mail'::regclass",
    "INSERT INTO people VALUES ('a@b.c'), ('A@b.c')",
    "UPDATE pg_index SET indisready = true WHERE indexrelid = 'people_mail'::regclass",
)
DOUBLE = "SELECT lower(mail), count(*), array_agg(ctid) FROM public.people GROUP BY lower(mail) HAVING count(*) > 1;"


@pytest.fixture
def source(origin: Source) -> Source:
    with psycopg.connect(origin.url, autocommit=True) as conn:
        for statement in LOST:
            conn.execute(statement.encode())
    return origin


@pytest.mark.slow
def test_f32_a_failed_drill_is_explained_wherever_it_is_shown(source: Source, program: Program, place: Place) -> None:
    assert program.add("shop", source.url).status == 0
    said = program.run("checkpoint", "shop", "--wait")
    assert said.status == 70, said.out + said.err
    receipt = program.run("receipt", "shop@latest")
    for text in (said.out, receipt.out):
        lines = text.splitlines()
        assert f"      {DOUBLE}" in lines, text
        assert "      REINDEX INDEX public.people_mail;" in lines
        assert "that index is damaged at the source (could not create unique index" in text
        assert "uses a name without its schema (stock)" in text
        assert "`ALTER FUNCTION public.total() SET search_path = ware, pg_temp;`" in text
    failures = program.run("receipt", "shop@latest", "--json").document()["attempt"]["drill"]["failures"]
    assert {f["code"] for f in failures} == {"drill.restore", "drill.structure"}
    assert any(DOUBLE in f["hint"] for f in failures)


@pytest.mark.slow
def test_a_dump_that_fails_is_explained_in_its_job(origin: Source, program: Program) -> None:
    """A cause that no preflight can see: the library of an extension is gone."""
    assert program.add("shop", origin.url).status == 0
    origin.run("CREATE EXTENSION hstore", "CREATE TABLE h AS SELECT 'a=>1'::hstore AS h")
    origin.run("UPDATE pg_proc SET probin = '$libdir/gone' WHERE probin = '$libdir/hstore'")
    said = program.run("checkpoint", "shop", "--wait")
    assert said.status != 0
    sentence = "the library $libdir/gone of an extension is gone from the database server"
    assert f"error: {sentence}" in said.err
    assert "could not access file" in said.err  # PostgreSQL's own words stand behind it
    query = "SELECT DISTINCT e.extname, e.extversion FROM pg_proc p"
    assert any(line.startswith(f"    {query}") for line in said.err.splitlines()), said.err
    with program.place.engine() as engine:
        job = engine.jobs.recent(1)[0]
    shown = program.run("jobs", "show", job.id).out
    assert sentence in shown
    assert any(line.strip().startswith(query) for line in shown.splitlines()), shown
    assert "no snapshot: pg.dump-failed" in program.run("ledger").out


def test_an_unknown_error_shows_its_own_words_and_no_secret(history: History) -> None:
    found = diagnose("ERROR:  the moon postgresql://u:hunter22@h/d is in the seventh house", rules.Place.DUMP)
    assert (found.rule, found.code, found.hint) == (None, None, None)
    error = JobError("pg.dump-failed", f"pg_dump failed (exit status 1): {found.message}", "Read it.\nSELECT 1;", 20)
    history.failed(history.connection("shop"), NOW - timedelta(minutes=5), error)

    async def run() -> None:
        async with console(history, (140, 40)) as pilot:
            await until_shown(pilot, "no snapshot")
            await pilot.press("4")
            await until_shown(pilot, "the moon postgresql://u:***@h/d is in the seventh house  [pg.dump-failed]")
            lines = [line.strip() for line in screen_text(pilot).splitlines()]
            assert "→ Read it." in lines
            assert "SELECT 1;" in lines  # no arrow before what is pasted
            assert "hunter22" not in screen_text(pilot)

    asyncio.run(run())


def test_a_refused_connection_says_what_to_run(source: Source, program: Program) -> None:
    nowhere = source.url.replace("/test_", "/tist_")
    found = program.add("gone", nowhere)
    assert found.status == 20
    assert "there is no database tist_" in found.err
    assert "→ Check the database name; see which there are: `SELECT datname FROM pg_database" in found.err


def test_the_sheet_copies_a_hint_whole(history: History) -> None:
    hint = f"Find them at the source:\n{DOUBLE}\nRemove what is double, then:\nREINDEX INDEX public.people_mail;"
    connection = history.connection("shop")
    failure = Failure("drill.restore", "index public.people_mail was not restored", hint)
    _, drill = history.drilled(connection, NOW - timedelta(minutes=5), Verdict.FAILED, failures=[failure])

    async def run() -> None:
        async with console(history, (100, 40)) as pilot:
            app_of(pilot).push_screen(ReceiptSheet(drill.id))
            await until(pilot, lambda: isinstance(pilot.app.screen, ReceiptSheet), "the sheet")
            await until(pilot, lambda: bool(pilot.app.screen.query("#receipt")), "its body")
            facts = pilot.app.screen.query_one("#receipt", Facts)
            await until(pilot, lambda: "REINDEX" in facts.text, "the receipt")
            copied = [facts.copyable]
            for _ in range(8):
                await pilot.press("down")
                copied.append(facts.copyable)
            assert ("what to do next", hint) in copied

    asyncio.run(run())
