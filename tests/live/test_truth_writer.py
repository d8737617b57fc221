"""A source that never stands still: ten checkpoints while somebody writes, truncates, alters, creates and drops."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from engine.model import Verdict
from tests.fixtures.fire import Field, working

CHECKPOINTS = 10
_ROUNDS = (
    "INSERT INTO orders (note) SELECT repeat('x', 50) FROM generate_series(1, 200)",
    "DELETE FROM orders WHERE id % 7 = 3",
    "TRUNCATE events",
    "INSERT INTO events SELECT n, 'e' FROM generate_series(1, 500) n",
    "ALTER TABLE orders ADD COLUMN extra int DEFAULT 7",
    "ALTER TABLE orders DROP COLUMN extra",
    "CREATE TABLE IF NOT EXISTS churn (id int, t text)",
    "INSERT INTO churn SELECT n, 'c' FROM generate_series(1, 50) n",
    "DROP TABLE IF EXISTS churn",
    "TRUNCATE orders RESTART IDENTITY",
    "ALTER TABLE events ALTER COLUMN id TYPE bigint",
    "ALTER TABLE events ALTER COLUMN id TYPE int",
)


@contextmanager
def hammering(url: str) -> Iterator[list[int]]:
    """A thread that runs the rounds without a pause, in any order; the list holds how many it has done."""
    done, over, failed = [0], threading.Event(), list[psycopg.Error]()

    def hammer() -> None:
        dice = random.Random(7)
        with psycopg.connect(url, autocommit=True) as conn:
            while not over.is_set():
                try:
                    conn.execute(dice.choice(_ROUNDS).encode())
                    done[0] += 1
                except psycopg.errors.UndefinedTable:
                    continue  # churn is not there at the moment
                except psycopg.errors.DuplicateColumn:
                    conn.execute(b"ALTER TABLE orders DROP COLUMN extra")
                except psycopg.errors.UndefinedColumn:
                    continue
                except psycopg.Error as e:
                    failed.append(e)
                    return

    thread = threading.Thread(target=hammer, name="writer")
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()
    assert not failed, failed


@pytest.mark.slow
def test_ten_checkpoints_under_a_writer_are_all_proven(field: Field) -> None:
    field.sql(
        "CREATE TABLE orders (id serial PRIMARY KEY, note text)",
        "CREATE TABLE events (id int, what text)",
        "CREATE TABLE still AS SELECT n FROM generate_series(1, 20000) n",
        _ROUNDS[0],
        _ROUNDS[3],
    )
    field.connect_through()
    rows = set()
    with working(field), hammering(field.url) as done:
        for n in range(CHECKPOINTS):
            before = done[0]
            attempt = field.checkpoint()
            assert attempt.job.error is None, (n, attempt.job.error)
            assert attempt.drill is not None
            assert attempt.drill.verdict is Verdict.PROVEN, attempt.drill
            assert all(t.equal for t in attempt.drill.tables)
            assert {t.table for t in attempt.drill.tables} >= {"orders", "events", "still"}
            assert done[0] > before, "the writer stood still: nothing was tested"
            assert attempt.snapshot is not None
            rows.add(attempt.snapshot.rows)
    assert len(rows) > 1, "ten equal snapshots: the writer changed nothing"
    field.assert_clean()
