"""The third step of the catalog with rows in the tables: new columns are filled from the texts, on both dialects."""

from __future__ import annotations

import json

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from engine.catalog import Catalog, database
from engine.codec import to_json
from tests.fixtures.records import NOW, details

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.catalogs")

AT = NOW.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
FAILURE = {"code": "drill.mismatch", "message": "orders: 1 of 2 rows", "hint": "Look."}
SKIPS = [{"kind": "EXTENSION", "name": n, "reason": "absent"} for n in ("a", "b")]
RECEIPTS = {
    "fine": json.dumps({"receipt": {"skips": [], "failures": []}, "signature": "x"}),
    "skips": json.dumps({"receipt": {"skips": SKIPS, "failures": []}, "signature": "x"}),
    "failed": json.dumps({"receipt": {"skips": [], "failures": [FAILURE, {**FAILURE, "message": "second"}]}}),
    "nul": json.dumps({"receipt": {"skips": [], "failures": [{**FAILURE, "message": "a\0b" * 200}]}}),
    "damaged": "{",
    "other": '["x"]',
}


def _old(url: str) -> None:
    """A catalog at the second revision with a snapshot and drills in it."""
    config = Config()
    config.set_main_option("script_location", "engine.catalog:migrations")
    config.set_main_option("path_separator", "os")
    engine = create_engine(database._parse(url))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        run = connection.execute
        run(text("INSERT INTO destinations (id, name, kind, created_at) VALUES ('d', 'd', 'folder', :at)"), {"at": AT})
        run(
            text(
                "INSERT INTO connections (id, name, destination_id, conninfo_sealed, accept_empty, created_at)"
                " VALUES ('c', 'c', 'd', 'x', false, :at)"
            ),
            {"at": AT},
        )
        for seq, told in enumerate((to_json(details()), "{}", "["), 1):
            run(
                text(
                    "INSERT INTO snapshots VALUES (:id, 'c', 'd', 'j', :seq, NULL, :at, 'k', 'm', 1, 'h', 'h', 2, 9,"
                    " 'exact', 'kid', :details)"
                ),
                {"id": f"s{seq}", "seq": seq, "at": AT, "details": told},
            )
        for position, (id_, receipt) in enumerate(RECEIPTS.items(), 1):
            run(
                text("INSERT INTO drills VALUES (:id, 's1', 'j', 'PROVEN', :at, :at, 1.5, :receipt, 'h', :position)"),
                {"id": id_, "at": AT, "receipt": receipt, "position": position},
            )
    engine.dispose()


def test_columns_are_filled_from_the_texts(catalog_url: str) -> None:
    _old(catalog_url)
    Catalog.open(catalog_url).close()
    engine = create_engine(database._parse(catalog_url))
    with engine.connect() as connection:
        totals = connection.execute(text("SELECT id, tables_in_source FROM snapshots ORDER BY id")).all()
        found = {row.id: (row.skips, row.summary) for row in connection.execute(text("SELECT * FROM drills"))}
        targets = connection.execute(text("SELECT proof_target_s, restore_target_s FROM connections")).all()
        live = connection.execute(text("SELECT count(*) FROM job_tables")).scalar_one()
    engine.dispose()
    assert [tuple(row) for row in totals] == [("s1", details().relations_total), ("s2", 0), ("s3", 0)]
    assert found == {
        "fine": (0, ""),
        "skips": (2, ""),
        "failed": (0, FAILURE["message"]),
        "nul": (0, ("ab" * 200)[:300]),
        "damaged": (0, ""),
        "other": (0, ""),
    }
    assert [tuple(row) for row in targets] == [(None, None)]
    assert live == 0
