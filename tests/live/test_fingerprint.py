"""Content fingerprints: equal over many types, and one altered value of an equal count is FAILED by name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from engine import catalog as catalogs
from engine.catalog.schema import snapshots as snapshots_table
from engine.codec import to_json
from engine.model import FingerprintResult, Skip, Verdict
from engine.model.views import Attempt
from engine.proof import Proof, weigh
from engine.service import Engine
from screens.present_proof import content_line
from tests.fixtures.fire import Field, working

TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE TYPE pair AS (a int, b regclass)",
    "CREATE DOMAIN rel AS regclass",
    "CREATE TABLE many (id int PRIMARY KEY, f4 float4, f8 float8, n numeric, m money, b bytea, t text, c char(5),"
    " d date, ts timestamp, tz timestamptz, i interval, j json, jb jsonb, u uuid, x xml, a text[], r int4range,"
    " mr nummultirange, ip inet, bit varbit, p point, v tsvector, e mood, o oid, cls regclass, cs regclass[], rl rel,"
    " pr pair, g int GENERATED ALWAYS AS (id * 2) STORED, gone int)",
    "INSERT INTO many (id, f4, f8, n, m, b, t, c, d, ts, tz, i, j, jb, u, x, a, r, mr, ip, bit, p, v, e, o, cls, cs,"
    " rl, pr) SELECT k, k / 3.0, 'NaN', k / 7.0, k * 1.5, decode(md5(k::text), 'hex'), E'ä\\n\\\\\"' || k, 'x',"
    " '2026-01-01'::date + k, 'infinity', '2026-03-29 01:30Z', '1 year -3 days 04:05:06.7', '{\"a\":  1}',"
    " '{\"b\": [1, null]}', md5(k::text)::uuid, '<a>b</a>', ARRAY['a,b', NULL], int4range(1, k + 2),"
    " '{[1,2],[3,4)}', '10.0.0.1/8', B'101', point(k, 0.1), to_tsvector('simple', 'a b'), 'ok', 12345,"
    " 'many'::regclass, ARRAY['many'::regclass], 'many'::regclass, ROW(1, 'many'::regclass)::pair"
    " FROM generate_series(1, 200) k",
    "ALTER TABLE many DROP COLUMN gone",
    "ALTER TABLE many ADD COLUMN \"Order\" text DEFAULT 'late'",
    "CREATE TABLE parts (id int, v text) PARTITION BY HASH (id)",
    "CREATE TABLE parts_0 (v text, id int)",
    "ALTER TABLE parts ATTACH PARTITION parts_0 FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    "INSERT INTO parts SELECT n, n::text FROM generate_series(1, 100) n",
    "CREATE TABLE moods (e mood, n int) PARTITION BY HASH (e)",
    "CREATE TABLE moods_0 (n int, e mood)",
    "ALTER TABLE moods ATTACH PARTITION moods_0 FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
    "INSERT INTO moods VALUES ('sad', 1), ('ok', 2)",
    "CREATE TABLE parent (id int)",
    "CREATE TABLE child (more text) INHERITS (parent)",
    "INSERT INTO child VALUES (1, 'x')",
    "CREATE TABLE indexed (id int, name text, g int GENERATED ALWAYS AS (id + 1) STORED)",
    "INSERT INTO indexed SELECT n, 'a' || chr(10) || n FROM generate_series(1, 50) n",
    "CREATE INDEX ON indexed (lower(name))",
    "CREATE TABLE empty ()",
    "INSERT INTO empty DEFAULT VALUES",
    'CREATE TABLE "More ""x""" AS SELECT 1 AS n',
)


def _said(engine: Engine, attempt: Attempt) -> dict[str, Any]:
    assert attempt.drill is not None
    said = json.loads(engine.drills.receipt(attempt.drill.id).text)["receipt"]
    assert isinstance(said, dict)
    return said


def _again(engine: Engine) -> Attempt:
    job_id = engine.jobs.drill("shop@latest").id
    engine.worker.run(job_id)
    return engine.ledger.of_job(job_id)


def _record(engine: Engine, snapshot_id: str, changed: dict[str, str]) -> None:
    """Put other fingerprints into the record of a snapshot."""
    with engine.catalog.write() as tx:
        details = catalogs.snapshots.get(tx, snapshot_id).details
        tables = tuple(replace(t, fingerprint=changed.get(t.table, t.fingerprint)) for t in details.tables)
        row = update(snapshots_table).where(snapshots_table.c.id == snapshot_id)
        tx.change(row.values(details=to_json(replace(details, tables=tables))))


def _fingerprints(engine: Engine, snapshot_id: str) -> dict[str, str | None]:
    with engine.catalog.read() as tx:
        return {t.table: t.fingerprint for t in catalogs.snapshots.get(tx, snapshot_id).details.tables}


@pytest.mark.slow
def test_content_is_equal_over_many_types_and_an_altered_value_is_failed_by_name(field: Field) -> None:
    """Capture, alter one value at the source without changing a count, capture again: the first copy held against the
    second record differs in that table alone."""
    field.sql(
        "ALTER DATABASE " + field.url.rsplit("/", 1)[1].split("?")[0] + " SET DateStyle = 'German'",
        *TYPES,
    )
    field.connect_through()
    with working(field) as engine:
        assert not engine.connections.get("shop").fingerprint
        assert engine.connections.set_fingerprint("shop", wanted=True).fingerprint
        first = field.checkpoint()
        assert first.drill is not None
        assert first.drill.verdict is Verdict.PROVEN, (first.drill.failures, first.drill.skips)
        line = content_line(_said(engine, first))
        assert line == ("content equal in 9 of 9 tables", True), _said(engine, first)["fingerprints"]

        field.sql("UPDATE many SET f8 = 1 WHERE id = 77", "UPDATE indexed SET name = 'b' WHERE id = 7")
        second = field.checkpoint()
        assert first.snapshot is not None
        assert second.snapshot is not None
        assert second.drill is not None
        assert second.drill.verdict is Verdict.PROVEN
        before, now = _fingerprints(engine, first.snapshot.id), _fingerprints(engine, second.snapshot.id)
        assert sorted(t for t in now if now[t] != before[t]) == ["indexed", "many"]
        assert {t for t, f in now.items() if str(f).startswith("copy:")} == {"indexed"}
        assert "moods" in now, "a group is read at its root"
        _record(engine, second.snapshot.id, {"many": str(before["many"]), "indexed": str(before["indexed"])})
        attempt = _again(engine)
        assert attempt.drill is not None
        assert attempt.drill.verdict is Verdict.FAILED
        assert sorted((f.code, f.message.split(":")[0]) for f in attempt.drill.failures) == [
            ("drill.content", "public.indexed"),
            ("drill.content", "public.many"),
        ]
        line = content_line(_said(engine, attempt))
        assert line == ("content equal in 7 of 9 tables; not in public.indexed, public.many", False)
    field.assert_clean()


@pytest.mark.slow
def test_content_that_could_not_be_read_is_a_skip_and_without_the_wish_there_is_none(field: Field) -> None:
    field.sql("CREATE TABLE one AS SELECT 1 AS n")
    field.connect_through()
    with working(field) as engine:
        plain = field.checkpoint()
        assert _said(engine, plain)["fingerprints"] == []
        engine.connections.set_fingerprint("shop", wanted=True)
        taken = field.checkpoint()
        assert taken.snapshot is not None
        _record(engine, taken.snapshot.id, {"one": ""})
        attempt = _again(engine)
    assert attempt.drill is not None
    assert attempt.drill.verdict is Verdict.PROVEN_WITH_SKIPS
    assert [(s.kind, s.name) for s in attempt.drill.skips] == [("content", "public.one")]


def test_unread_content_is_a_skip_on_either_side() -> None:
    proven = Proof(Verdict.PROVEN, (), (), ())
    for found in (FingerprintResult("s", "t", None, "1"), FingerprintResult("s", "t", "1", None)):
        weighed = weigh(proven, [found], [])
        assert (weighed.verdict, weighed.failures) == (Verdict.PROVEN_WITH_SKIPS, ())
        assert isinstance(weighed.skips[0], Skip)
