"""Operator checks: what holds, what does not, what fails, and what tries to get out of its transaction."""

from __future__ import annotations

import json

import pytest

from engine.errors import ConfigError
from engine.model import CheckResult, Verdict
from engine.model.views import Attempt
from engine.postgres.asking import holds
from engine.service import Engine
from screens.present_proof import checks_line, content_line
from tests.fixtures.fire import Field, settings, working
from tests.fixtures.program import program_of


@pytest.mark.parametrize(
    ("expect", "got", "met"),
    [
        ("12", "12", True),
        ("12", "12.0", False),
        (">=12", "12.0", True),
        (">= 12", "11", False),
        ("<=-1.5", "-2", True),
        (">0", "0", False),
        ("<3", "2", True),
        (">0", "NaN", False),
        (">0", "Infinity", False),
        (">0", "many", False),
        (">x", ">x", True),
        ("", "", True),
    ],
)
def test_an_answer_is_equal_text_or_within_a_bound(expect: str, got: str, met: bool) -> None:
    assert holds(expect, got) is met


def _results(engine: Engine, attempt: Attempt) -> dict[str, CheckResult]:
    assert attempt.drill is not None
    said = json.loads(engine.drills.receipt(attempt.drill.id).text)["receipt"]
    return {c["name"]: CheckResult(**c) for c in said["checks"]}


def _drill(engine: Engine) -> Attempt:
    job_id = engine.jobs.drill("shop@latest").id
    engine.worker.run(job_id)
    return engine.ledger.of_job(job_id)


def test_checks_that_hold_and_checks_that_do_not(field: Field) -> None:
    field.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, paid bool, at timestamptz, note text)",
        "INSERT INTO orders SELECT n, n % 2 = 0, '2026-01-01Z', '5%' FROM generate_series(1, 100) n",
    )
    field.connect_through()
    add = field.engine.checks.add
    with working(field) as engine:
        add("shop", "many", "SELECT count(*) FROM public.orders", ">=100")
        add("shop", "percent", "SELECT note FROM public.orders WHERE note LIKE '%\\%' ORDER BY id", "5%")
        add("shop", "paid", "SELECT paid FROM public.orders WHERE id = 2;", "t")
        add("shop", "path", "SELECT current_setting('search_path') || current_setting('is_superuser')", "off")
        with pytest.raises(ConfigError, match="already"):
            add("shop", "many", "SELECT 1", "1")
        attempt = field.checkpoint()
        assert attempt.drill is not None
        assert attempt.drill.verdict is Verdict.PROVEN, attempt.drill.failures
        results = _results(engine, attempt)
        assert {n: r.got for n, r in results.items()} == {"many": "100", "percent": "5%", "paid": "t", "path": "off"}
        engine.checks.remove("shop", "path")
        with pytest.raises(ConfigError, match="no check"):
            engine.checks.remove("shop", "path")
        assert [c.name for c in engine.checks.list("shop")] == ["many", "paid", "percent"]

        add("shop", "less", "SELECT count(*) FROM public.orders", "<100")
        add("shop", "lost", "SELECT count(*) FROM orders", "100")
        add("shop", "none", "SELECT id FROM public.orders WHERE id < 0", "1")
        add("shop", "writes", "DELETE FROM public.orders RETURNING id", "1")
        add("shop", "escapes", "SELECT 1; COMMIT; DROP TABLE public.orders", "1")
        add("shop", "unties", "SELECT set_config('transaction_read_only', 'off', false)", "off")
        add("shop", "ends", "SELECT pg_terminate_backend(pg_backend_pid())", "f")
        add("shop", "zlast", "SELECT count(*) FROM public.orders", "100")
        attempt = _drill(engine)
        results = _results(engine, attempt)
    assert attempt.drill is not None
    assert attempt.drill.verdict is Verdict.FAILED
    assert {f.code for f in attempt.drill.failures} == {"drill.check"}
    failed = [f.message.split(":")[0].removeprefix("check ") for f in attempt.drill.failures]
    assert failed == ["ends", "escapes", "less", "lost", "none", "unties", "writes"]
    assert (results["less"].got, results["less"].passed) == ("100", False)
    assert results["lost"].error == 'relation "orders" does not exist'
    assert "read-only" in results["writes"].error
    assert "multiple commands" in results["escapes"].error
    assert results["zlast"].passed
    said = next(f.message for f in attempt.drill.failures if "check less" in f.message)
    assert said == "check less: SELECT count(*) FROM public.orders was to answer '<100'; the answer is '100'"
    assert attempt.job.error is not None
    assert (attempt.job.error.code, attempt.job.error.exit_status) == ("drill.check", 70)
    field.assert_clean()


@pytest.mark.slow
def test_a_question_without_an_end_is_ended(field: Field) -> None:
    field.sql("CREATE TABLE one AS SELECT 1 AS n")
    field.connect_through()
    settings(field.place, "[drill]\nstatement_timeout_s = 2\n")
    with field.place.engine() as engine:
        engine.checks.add("shop", "endless", "SELECT pg_sleep(100000)", "")
        engine.checks.add("shop", "huge", "SELECT generate_series(7, 10000000000)", "7")
        engine.worker.start(1)
        try:
            job_id = engine.jobs.checkpoint("shop").id
            engine.worker.run(job_id)
            attempt = engine.ledger.of_job(job_id)
            results = _results(engine, attempt)
        finally:
            engine.worker.stop()
    assert "statement timeout" in results["endless"].error
    assert results["huge"].passed, results["huge"].error
    assert attempt.drill is not None
    assert [f.code for f in attempt.drill.failures] == ["drill.check"]
    field.assert_clean()


def test_a_receipt_says_it_in_one_line_each() -> None:
    held, failed = {"name": "a", "passed": True}, {"name": "b", "passed": False}
    assert checks_line({"checks": [held]}) == ("1 of 1 check holds", True)
    assert checks_line({"checks": [held, failed, held]}) == ("2 of 3 checks hold; not b", False)
    assert checks_line({}) is content_line({"fingerprints": []}) is None
    equal = {"schema": "s", "table": "t", "expected": "1", "restored": "1"}
    unread = {"schema": "s", "table": "u", "expected": None, "restored": None}
    assert content_line({"fingerprints": [equal]}) == ("content equal in 1 of 1 table", True)
    assert content_line({"fingerprints": [equal, unread]}) == ("content equal in 1 of 2 tables; not in s.u", False)


@pytest.mark.slow
def test_the_command_line(field: Field) -> None:
    field.sql("CREATE TABLE one AS SELECT 1 AS n")
    field.connect_through()
    program = program_of(field.place)
    add = ("check", "add", "shop", "number", "--sql", "SELECT count(*) FROM public.one", "--expect", ">=1", "--json")
    assert program.run("check", "list", "shop", "--json").document() == []
    asked = {"name": "number", "query": "SELECT count(*) FROM public.one", "expect": ">=1"}
    assert program.run(*add).document() == asked
    assert program.run(*add).error(2)["code"] == "config.name-taken"
    assert program.run("check", "list", "shop", "--json").document() == [asked]
    for bad in (("check", "add", "nobody", "x", "--sql", "x", "--expect", ""), ("check", "remove", "shop", "x")):
        assert program.run(*bad, "--json").error(2)["code"] == "config.not-found"
    assert program.run("check", "add", "shop", "x", "--sql", " ", "--expect", "", "--json").error(2)
    helped = program.run("check", "add", "--help")
    assert "schema-qualified" in helped.out
    assert "only the restored" in helped.out
    said = program.run("connection", "edit", "shop", "--fingerprint")
    assert "5.5 CPU seconds per GB" in said.err
    assert program.run("connection", "show", "shop", "--json").document()["connection"]["fingerprint"] is True
    with working(field):
        attempt = field.checkpoint()
    assert attempt.drill is not None
    receipt = program.run("receipt", "shop@latest").out
    assert "content    content equal in 1 of 1 table" in receipt
    assert "checks     1 of 1 check holds" in receipt
    assert "on each side" in program.run("connection", "edit", "shop", "--fingerprint").err
    assert program.run("connection", "edit", "shop", "--no-fingerprint", "--json").document()
    assert program.run("check", "remove", "shop", "number", "--json").document()["removed"] == "number"
    assert program.run("check", "list", "shop", "--json").document() == []
