"""Verdicts: what differs on either side is FAILED by name and number, and nothing leads around it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from engine import catalog as catalogs
from engine.catalog.schema import snapshots as snapshots_table
from engine.codec import to_json
from engine.model import Counts, Failure, Skip, TableCount, Verdict
from engine.proof import UNCOUNTED, decide
from tests.fixtures.fire import Field, working


def test_a_copy_with_another_number_of_rows_is_failed_with_table_and_numbers(field: Field) -> None:
    """The recorded counts are moved by one: to the drill it looks as if the archive restored one row less, one more."""
    field.sql(
        "CREATE TABLE good AS SELECT n FROM generate_series(1, 1000) n",
        "CREATE TABLE less AS SELECT n FROM generate_series(1, 2000) n",
        'CREATE TABLE "More ""x""" AS SELECT n FROM generate_series(1, 3000) n',
    )
    field.connect_through()
    with working(field) as engine:
        taken = field.checkpoint()
        assert taken.drill is not None
        assert taken.drill.verdict is Verdict.PROVEN
        assert taken.snapshot is not None
        moved = {"less": 2001, 'More "x"': 2999}
        with engine.catalog.write() as tx:
            details = catalogs.snapshots.get(tx, taken.snapshot.id).details
            tables = tuple(replace(t, rows=moved.get(t.table, t.rows)) for t in details.tables)
            changed = update(snapshots_table).where(snapshots_table.c.id == taken.snapshot.id)
            tx.change(changed.values(details=to_json(replace(details, tables=tables))))
        job_id = engine.jobs.drill("shop@latest").id
        engine.worker.run(job_id)
        drilled = engine.ledger.of_job(job_id)
    assert drilled.drill is not None
    assert drilled.drill.verdict is Verdict.FAILED
    messages = sorted(f.message for f in drilled.drill.failures)
    assert messages == ['public.More "x": 3,000 of 2,999 rows', "public.less: 2,000 of 2,001 rows"]
    assert drilled.job.error is not None
    assert (drilled.job.error.code, drilled.job.error.exit_status) == ("drill.mismatch", 70)
    field.assert_clean()


_names = st.tuples(st.sampled_from(["public", "s"]), st.text(min_size=1, max_size=4))
_rows = st.integers(0, 2**40)
_expected = st.lists(
    st.builds(lambda n, r: TableCount(n[0], n[1], r), _names, _rows), unique_by=lambda t: (t.schema, t.table)
)
_skips = st.lists(st.builds(Skip, st.just("EVENT TRIGGER"), st.text(max_size=3), st.just("why")), max_size=2)
_failure = st.builds(Failure, st.just("drill.restore"), st.text(max_size=3), st.just(""))
_failures = st.lists(_failure, max_size=2)


def _name(table: TableCount) -> tuple[str, str]:
    return table.schema, table.table


@given(_expected, _skips)
def test_what_is_equal_is_proven(expected: list[TableCount], skips: list[Skip]) -> None:
    proof = decide(expected, Counts.EXACT, {_name(t): t.rows for t in expected}, skips, [])
    assert proof.verdict is (Verdict.PROVEN_WITH_SKIPS if skips else Verdict.PROVEN)
    assert proof.failures == ()
    assert all(t.equal for t in proof.tables)


@given(_expected.filter(bool), _skips, _failures, st.data())
def test_one_difference_anywhere_is_failed_and_named(
    expected: list[TableCount], skips: list[Skip], failures: list[Failure], data: st.DataObject
) -> None:
    restored: dict[tuple[str, str], int | None] = {_name(t): t.rows for t in expected}
    hit = data.draw(st.sampled_from(expected))
    other = data.draw(st.one_of(st.none(), _rows.filter(lambda n: n != hit.rows)))
    if other is None and data.draw(st.booleans()):
        del restored[_name(hit)]  # not even looked for
    else:
        restored[_name(hit)] = other
    proof = decide(expected, Counts.EXACT, restored, skips, failures)
    assert proof.verdict is Verdict.FAILED
    assert list(proof.failures[: len(failures)]) == failures
    assert [f.message.split(":")[0] for f in proof.failures[len(failures) :]] == [
        f"{hit.schema}.{hit.table}"[:999].split(":")[0]
    ]


@given(_expected, st.lists(_failure, min_size=1, max_size=2), _skips)
def test_a_failure_of_the_restore_is_failed_whatever_the_counts(
    expected: list[TableCount], failures: list[Failure], skips: list[Skip]
) -> None:
    proof = decide(expected, Counts.EXACT, {_name(t): t.rows for t in expected}, skips, failures)
    assert proof.verdict is Verdict.FAILED


@given(_expected, st.dictionaries(_names, _rows))
def test_without_counts_the_best_is_proven_with_skips(
    expected: list[TableCount], restored: dict[tuple[str, str], int]
) -> None:
    proof = decide(expected, Counts.NONE, restored, [], [])
    complete = all(_name(t) in restored for t in expected)
    assert proof.verdict is (Verdict.PROVEN_WITH_SKIPS if complete else Verdict.FAILED)
    assert UNCOUNTED in proof.skips
    assert all(t.expected is None for t in proof.tables), "a number nobody counted"


@given(_expected.filter(bool), st.data())
def test_a_lost_table_is_excused_by_its_skip_alone(expected: list[TableCount], data: st.DataObject) -> None:
    lost = data.draw(st.lists(st.sampled_from(expected).map(_name), unique=True, min_size=1))
    restored = {_name(t): t.rows for t in expected if _name(t) not in lost}
    skips = [Skip("TABLE DATA", table, "it depends on what was not captured") for _, table in lost]
    assert decide(expected, Counts.EXACT, restored, skips, [], lost).verdict is Verdict.PROVEN_WITH_SKIPS
    assert decide(expected, Counts.EXACT, restored, skips, []).verdict is Verdict.FAILED
    assert decide(expected, Counts.EXACT, restored, [], [], lost).verdict is Verdict.FAILED
