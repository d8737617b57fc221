"""pg_restore's messages: each one counts, names its object, and says what to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import CouldNotVerify
from engine.postgres.mishaps import judge, raise_host_problem, read_mishaps
from engine.postgres.toc import TocEntry

FUNCTION = TocEntry(1, "FUNCTION", "public", "imm(text)", "o", "")
TABLE = TocEntry(2, "TABLE", "public", "p generated", "o", "", (1,))
DATA = TocEntry(3, "TABLE DATA", "public", "p generated", "o", "", (2,))
CHECKED = TocEntry(4, "TABLE DATA", "public", "checked", "o", "")
INDEX = TocEntry(5, "INDEX", "public", "ix", "o", "", (2,))
ENTRIES = (FUNCTION, TABLE, DATA, CHECKED, INDEX)

SAID = """\
pg_restore: connecting to database for restore
pg_restore: creating TABLE "public.p generated"
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 2; 1259 16384 TABLE p generated o
pg_restore: error: could not execute query: ERROR:  function helper(text) does not exist
LINE 1: select helper($1)
QUERY:  select helper($1)
CONTEXT:  SQL function "imm" during inlining
Command was: CREATE TABLE public."p generated" (
    t text DEFAULT 'No space left on device'
);

pg_restore: processing data for table "public.p generated"
pg_restore: from TOC entry 3; 0 16384 TABLE DATA p generated o
pg_restore: error: could not execute query: ERROR:  relation "public.p generated" does not exist
Command was: COPY public."p generated" (t) FROM stdin;
pg_restore: from TOC entry 4; 0 16385 TABLE DATA checked o
pg_restore: error: COPY failed for table "checked": ERROR:  new row for relation "checked" violates check constraint "c"
DETAIL:  Failing row contains (secret).
CONTEXT:  COPY checked, line 1: "secret"
pg_restore: from TOC entry 5; 1259 16390 INDEX ix o
pg_restore: error: could not execute query: ERROR:  relation "public.p generated" does not exist
Command was: CREATE INDEX ix;
pg_restore: warning: errors ignored on restore: 4
"""


def test_f32_every_loss_is_named_once_with_its_cause() -> None:
    judgement = judge(read_mishaps(SAID.splitlines(), ENTRIES), ENTRIES, 1)
    messages = [f.message for f in judgement.failures]
    assert messages == [
        "table public.p generated is lost with all its rows: the function public.imm(text) uses a name without its"
        " schema (helper), and a restore runs with an empty search_path (function helper(text) does not exist)",
        "the rows of table public.checked are lost: rows of table public.checked do not meet the CHECK c when they are"
        " loaded: it gives another answer during a restore, or was broken before it was added"
        ' (new row for relation "checked" violates check constraint "c")',
        "index public.ix was not restored: it depends on table public.p generated, which was not restored either",
    ]
    assert "ALTER FUNCTION public.imm(text) SET search_path" in judgement.failures[0].hint
    assert "foreign key or a trigger" in judgement.failures[1].hint
    assert judgement.skips == ()
    assert not any("secret" in f.message + f.hint for f in judgement.failures)


def test_the_statement_is_no_evidence_against_the_host() -> None:
    raise_host_problem(read_mishaps(SAID.splitlines(), ENTRIES))


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('could not extend file "base/1/2": No space left on device', "drill.disk"),
        ('collation "pg_catalog.de_DE" for encoding "UTF8" does not exist', "drill.locale-missing"),
        ('could not access file "$libdir/pg_cron": No such file or directory', "drill.extension-missing"),
        ("server closed the connection unexpectedly", "drill.scratch"),
    ],
)
def test_what_the_host_lacks_says_nothing_about_the_archive(said: str, code: str) -> None:
    lines = ["pg_restore: from TOC entry 2; 1 2 TABLE x", f"pg_restore: error: could not execute query: ERROR:  {said}"]
    with pytest.raises(CouldNotVerify) as caught:
        raise_host_problem(read_mishaps(lines, ENTRIES))
    assert caught.value.code == code


def test_missing_rights_skip_a_definition_but_never_rows() -> None:
    refused = "pg_restore: error: could not execute query: ERROR:  must be superuser to do this"
    lines = [
        "pg_restore: from TOC entry 1; 1 2 FUNCTION imm",
        refused,
        "pg_restore: from TOC entry 4; 0 1 TABLE DATA c",
        refused,
    ]
    judgement = judge(read_mishaps(lines, ENTRIES), ENTRIES, 1)
    assert [(s.kind, s.name) for s in judgement.skips] == [("FUNCTION", "public.imm(text)")]
    assert [f.message.split(":")[0] for f in judgement.failures] == ["the rows of table public.checked are lost"]
    assert judgement.lost_tables == ()


def test_what_falls_with_a_skip_is_a_skip() -> None:
    lines = [
        "pg_restore: from TOC entry 1; 1 2 FUNCTION imm",
        "pg_restore: error: could not execute query: ERROR:  must be superuser to do this",
        "pg_restore: from TOC entry 2; 1 2 TABLE p",
        "pg_restore: error: could not execute query: ERROR:  function public.imm(text) does not exist",
        "pg_restore: from TOC entry 3; 1 2 TABLE DATA p",
        'pg_restore: error: could not execute query: ERROR:  relation "p" does not exist',
    ]
    judgement = judge(read_mishaps(lines, ENTRIES), ENTRIES, 1)
    assert judgement.failures == ()
    assert [s.kind for s in judgement.skips] == ["FUNCTION", "TABLE", "TABLE DATA"]
    assert judgement.lost_tables == (("public", "p generated"),)


@given(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])))
def test_f31_no_error_is_ignored(said: str) -> None:
    judgement = judge(read_mishaps([f"pg_restore: error: {said}"], ENTRIES), ENTRIES, 0)
    assert len(judgement.failures) == 1
    assert judgement.failures[0].hint.endswith(".")


@pytest.mark.parametrize("status", [1, -9])
def test_f31_a_silent_exit_status_is_a_failure(status: int) -> None:
    assert len(judge([], ENTRIES, status).failures) == 1
    assert judge([], ENTRIES, 0).failures == ()


def test_messages_do_not_grow_without_bound() -> None:
    lines = ["pg_restore: error: could not execute query: ERROR:  x", *["y" * 10_000] * 500]
    (mishap,) = read_mishaps(lines, ENTRIES)
    assert len(mishap.text) < 100_000
