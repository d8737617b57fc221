"""``hostile.sql`` of the shared data, as its reader, its owner and a superuser: the verdict on every table, every skip.

Skipped where the data is not.
"""

from __future__ import annotations

import psycopg
import pytest

from engine.model.views import Attempt, DrillView
from tests.fixtures.fire import Field, working
from tests.fixtures.installation import Place
from tests.fixtures.source import as_role
from tests.live import test_shared_data
from tests.live.test_shared_data import Source

pytestmark = test_shared_data.pytestmark
source = test_shared_data.source

OF_EVERYBODY = {
    ("SECURITY LABEL", "public.TABLE gen"),
    ("ACCESS METHOD", "heap2"),
    ("USER MAPPING", "USER MAPPING hostile_mapped SERVER ps"),
    ("USER MAPPING", "USER MAPPING public SERVER ps"),
    ("FOREIGN TABLE", "public.ft_file"),
    ("PUBLICATION", "pub_all"),
    ("PUBLICATION", "pub_schema"),
    ("PUBLICATION", "pub_some"),
    ("EVENT TRIGGER", "evt_block"),
    ("EVENT TRIGGER", "evt_ddl"),
}
LOST_TO_THE_READER = {"check_over_hr", "child_of_unreadable", "col_of_unreadable_type", "default_over_hr"}
SKIPS = {
    "superuser": OF_EVERYBODY | {("SUBSCRIPTION", "sub_x")},
    "owner": OF_EVERYBODY | {("TABLE ATTACH", "public.fpart_f")},
    "reader": OF_EVERYBODY
    | {(kind, f"public.{name}") for kind in ("TABLE", "TABLE DATA") for name in LOST_TO_THE_READER}
    | {
        ("FUNCTION", "public.atomic_over_hr()"),
        ("FUNCTION", "public.rowtype_of_unreadable()"),
        ("MATERIALIZED VIEW", "public.mv_over_hr"),
        ("VIEW", "public.v_over_hr"),
        ("VIEW", "public.v_over_unreadable"),
        ("VIEW", "public.v_over_v"),
        ("TABLE ATTACH", "public.readable_leaf"),
        ("FK CONSTRAINT", "public.refs_hr refs_hr_emp_fkey"),
        ("FK CONSTRAINT", "public.refs_unreadable refs_unreadable_u_fkey"),
        ("POLICY", "public.rls_policy_ref p_sub"),
    },
}
HIDDEN = {
    # tables that this role's dump cannot hold, or only without their rows
    "superuser": set[str](),
    "owner": {"t", "fpart", "fpart_l", "owned_other", "rls_partial"},
    "reader": {"salaries", "rls_empty", "rls_nopolicy", "rls_on", "rls_partial"}
    | {f"unreadable_{n}" for n in ("added_later", "colpriv", "inh_parent", "leaf", "parent", "plain")},
}
OF_NOBODY = {"ext_member"}
"""pg_dump leaves it to its extension, whoever asks."""


@pytest.mark.parametrize("who", ["reader", "owner", "superuser"])
def test_every_table_has_its_verdict_and_every_skip_its_name(source: Source, place: Place, who: str) -> None:
    if not source.icu:
        pytest.skip("hostile.sql needs a server with ICU")
    url = source.load("hostile_roles.sql", "hostile.sql", "hostile_grants.sql")
    rows = _rows(url)
    attempt = _attempt(place, _as(url, who))
    drill = attempt.drill
    assert drill is not None, attempt.job.error
    assert drill.verdict == "PROVEN WITH SKIPS", drill.failures
    assert {(s.kind, s.name) for s in drill.skips} == SKIPS[who]
    lost = LOST_TO_THE_READER if who == "reader" else set()
    assert {t.table for t in drill.tables if not t.equal} == lost
    assert all(t.restored is None for t in drill.tables if t.table in lost)
    counted = {(t.schema, t.table): t.expected for t in drill.tables}
    assert counted == {key: rows[key] for key in counted}, "counts other than the source's own"
    _whole(attempt, drill, rows, HIDDEN[who])


def _whole(attempt: Attempt, drill: DrillView, rows: dict[tuple[str, str], int], hidden: set[str]) -> None:
    """Every table that holds rows is counted, or stands among what was not captured."""
    assert attempt.snapshot is not None
    named = {n.name for n in attempt.snapshot.not_captured if n.kind in ("table", "rows")}
    assert {n.rpartition(".")[2] for n in named} == hidden | OF_NOBODY
    counted = {(t.schema, t.table) for t in drill.tables}
    assert {f"{schema}.{table}" for schema, table in rows.keys() - counted} <= named


def _rows(url: str) -> dict[tuple[str, str], int]:
    """Rows of each table by itself; leaves of the hash on an enum are counted at their root, as rows move there."""
    with psycopg.connect(url, autocommit=True) as conn:
        tables = conn.execute(
            "SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname) FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname !~ '^pg_'"
            " AND n.nspname <> 'information_schema'"
        ).fetchall()
        rows = {}
        for schema, table, name in tables:
            row = conn.execute(f"SELECT count(*) FROM ONLY {name}".encode()).fetchone()
            assert row is not None
            rows[str(schema), str(table)] = int(row[0])
    leaves = [key for key in rows if key[1].startswith("penum")]
    rows["public", "penum"] = sum(rows.pop(key) for key in leaves)
    return rows


def _as(url: str, who: str) -> str:
    if who == "reader":
        return as_role(url, "offsitedb_reader", "reader")
    if who == "owner":
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("ALTER ROLE hostile_owner LOGIN PASSWORD 'pw'")
        return as_role(url, "hostile_owner", "pw")
    return url


def _attempt(place: Place, url: str) -> Attempt:
    with place.engine() as engine:
        field = Field(place, engine, url, "no-such-text-anywhere")
        field.connect_through()
        with working(field):
            attempt = field.checkpoint()
        field.assert_clean()
    return attempt
