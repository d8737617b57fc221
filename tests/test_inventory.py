"""What a role can capture, measured against pg_dump itself."""

from __future__ import annotations

import dataclasses
import re

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cancel import CancelToken
from engine.model import Inventory
from engine.postgres.conninfo import parse
from engine.postgres.inventory import dump_flags, holds_rows, not_captured, pattern, take_inventory
from engine.postgres.probe import probe
from engine.postgres.session import connect
from engine.postgres.tools import Toolset
from offsitedb_tui.demo.source import Admin
from tests.fixtures.awkward import READER, altered, contents, dump, look


@pytest.fixture(scope="module")
def inventory(awkward: str) -> Inventory:
    return look(awkward)


def test_blockers_are_named_with_owner_and_reason(inventory: Inventory) -> None:
    found = {(b.code, b.schema, b.name): b.why for b in inventory.blockers}
    assert found == {
        ("extconfig_unreadable", "public", "settings_closed"): "extension configuration table not readable",
        ("large_object_unreadable", None, "large objects of postgres"): "no SELECT on large object",
        ("rls_blocks_copy", "public", "rls_on"): "row security is active for this role",
        ("sequence_value_unreadable", "closed", "numbers"): "no USAGE on schema",
        ("sequence_value_unreadable", "public", "seq_closed"): "no SELECT on sequence",
        ("table_unreadable", "closed", "salaries"): "no USAGE on schema",
        ("table_unreadable", "public", "column_only"): "only column-level SELECT",
        ("sequence_value_unreadable", "public", "identity_closed_other_seq"): "no SELECT on sequence",
        ("table_unreadable", "public", "identity_closed"): "no SELECT on table",
        ("table_unreadable", "public", "mixedcase"): "no SELECT on table",
        ("table_unreadable", "public", 'new\nline "q"'): "no SELECT on table",
        ("table_unreadable", "public", "parent_closed"): "no SELECT on table",
        ("table_unreadable", "public", "secret*"): "no SELECT on table",
        ("table_unreadable", "public", "secret?|(x)+[0-9]$"): "no SELECT on table",
    }
    assert {b.owner for b in inventory.blockers} == {"postgres"}


def test_tables_to_count(inventory: Inventory) -> None:
    tables = {(t.schema, t.table): t for t in inventory.tables}
    assert set(tables) == {
        ("public", "*"),
        ("public", "MixedCase"),
        ("public", "a.b"),
        ("public", "leaf_open"),
        ("public", "moods_0_0"),
        ("public", "moods_1"),
        ("public", "refers_to_closed"),
        ("public", "refers_to_rls"),
        ("public", "rls_root_leaf"),
        ("public", "secretx"),
        ("public", "settings"),
        ("public", "texts_0"),
        ("public", "typed_by_closed"),
        ('We ird"Schema', "-T"),
    }
    assert tables["public", "settings"].only_rows == "WHERE id < 5"
    assert {n: t.group for (_, n), t in tables.items() if t.group} == {
        "moods_0_0": ("public", "moods"),
        "moods_1": ("public", "moods"),
    }
    assert inventory.relations_total == len(tables) + 9
    assert {("public", "moods"), ("public", "rls_on"), ("public", "rls_root")} < set(inventory.lock)
    assert ("public", "parent_closed") not in inventory.lock
    assert inventory.sequences == (("public", "seq_open"),)


def test_dependants(inventory: Inventory) -> None:
    assert {(d.kind, d.name) for d in inventory.dependants} == {
        ("partition attach", "leaf_open"),
        ("table", "typed_by_closed"),
        ("table constraint", "refers_to_closed_emp_fkey"),
        ("table constraint", "refers_to_rls_id_fkey"),
        ("view", "over_closed"),
    }
    constraint = next(d for d in inventory.dependants if d.name == "refers_to_closed_emp_fkey")
    assert (constraint.schema, constraint.on_table) == ("public", "public.refers_to_closed")


def test_never_captured(inventory: Inventory) -> None:
    found = {(n.kind, n.name) for n in inventory.never_captured}
    assert {("table", "public.member"), ("rows", "public.settings")} <= found
    everything = not_captured(inventory, READER, 15)
    assert len(everything) == len(inventory.blockers) + len(inventory.never_captured)
    assert any(n.name == "closed.salaries" and "no USAGE" in n.reason for n in everything)


def test_the_sql_beside_what_is_missing_lets_the_role_read_it(
    awkward: str, server: Admin, inventory: Inventory, toolset: Toolset
) -> None:
    assert all(n.fix_sql for n in not_captured(inventory, READER, toolset.major)[: len(inventory.blockers)])
    with connect(parse(awkward), application_name="offsitedb/look", cancel=CancelToken()) as reader:
        facts = probe(reader, parse(awkward))
    with psycopg.connect(server.url("awkward")) as conn:  # one transaction, rolled back: the database stays awkward
        found = inventory
        for _ in range(2):  # a sequence that a table owns shows when the table can be read
            for what in not_captured(found, READER, toolset.major)[: len(found.blockers)]:
                conn.execute(str(what.fix_sql).encode())
            conn.execute(f"SET LOCAL ROLE {READER}")
            found = take_inventory(conn, facts)
            conn.execute("RESET ROLE")
        assert found.blockers == ()
        conn.rollback()


def test_with_the_flags_pg_dump_succeeds_and_holds_what_was_promised(
    awkward: str, inventory: Inventory, toolset: Toolset
) -> None:
    done = dump(parse(awkward), toolset, dump_flags(inventory, toolset.major))
    assert done.returncode == 0, done.stderr.decode()
    data = {line.split(" TABLE DATA ", 1)[1] for line in contents(toolset, done.stdout) if " TABLE DATA " in line}
    assert data == {f"{t.schema} {t.table} postgres" for t in inventory.tables}


def test_without_any_one_flag_pg_dump_fails(awkward: str, inventory: Inventory, toolset: Toolset) -> None:
    flags = dump_flags(inventory, toolset.major)
    assert len(flags) == len(inventory.blockers) == 14
    for left_out in flags:
        done = dump(parse(awkward), toolset, [f for f in flags if f != left_out])
        assert done.returncode != 0, f"{left_out} is not needed"
        told = (b"permission denied", b"row-level security", b"may lack SELECT privilege")  # the last one since 18
        assert any(words in done.stderr for words in told), done.stderr


def test_two_looks_are_equal_until_the_schema_changes(server: Admin, awkward: str, inventory: Inventory) -> None:
    assert look(awkward) == inventory
    admin = server.url("awkward")
    grant = "GRANT SELECT ON public.added TO awkward_reader"
    with altered(admin, f"CREATE TABLE public.added (); {grant}", "DROP TABLE public.added"):
        assert look(awkward) != inventory
    with altered(admin, "SELECT lo_from_bytea(4712, 'y')", "SELECT lo_unlink(4712)"):
        assert look(awkward) == inventory, "large objects come and go without a change of plan"
    with altered(admin, "INSERT INTO public.rls_on VALUES (7)", "DELETE FROM public.rls_on WHERE id = 7"):
        assert look(awkward) == inventory
    assert look(awkward) == inventory


def test_it_runs_inside_a_transaction_and_leaves_it_open(awkward: str, inventory: Inventory) -> None:
    conninfo = parse(awkward)
    with connect(conninfo, application_name="offsitedb/look", cancel=CancelToken()) as conn:
        facts = probe(conn, conninfo)
        conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        assert take_inventory(conn, facts) == inventory
        assert conn.info.transaction_status.name == "INTRANS"
        conn.execute("ROLLBACK")
        assert take_inventory(conn, facts) == inventory
        assert conn.info.transaction_status.name == "IDLE"


def test_holds_rows(awkward: str, inventory: Inventory) -> None:
    conninfo = parse(awkward)
    with connect(conninfo, application_name="offsitedb/look", cancel=CancelToken()) as conn:
        assert holds_rows(conn, inventory)
        empty = tuple(t for t in inventory.tables if t.table in ("texts_0", "refers_to_closed"))
        assert not holds_rows(conn, dataclasses.replace(inventory, tables=empty))


def test_a_superuser_reads_everything(server: Admin) -> None:
    inventory = look(server.url("awkward"))
    assert (inventory.blockers, inventory.dependants) == ((), ())
    assert len(inventory.tables) == inventory.relations_total
    assert dump_flags(inventory, 17) == ()


@pytest.mark.parametrize(
    ("major", "flag"), [(15, "--no-blobs"), (16, "--no-large-objects"), (18, "--no-large-objects")]
)
def test_f5_the_flag_for_large_objects_by_major(inventory: Inventory, major: int, flag: str) -> None:
    assert flag in dump_flags(inventory, major)


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


@given(names, names)
def test_a_pattern_is_two_quoted_parts(schema: str, name: str) -> None:
    parts = re.findall(r'"((?:[^"]|"")+)"(?:\.|$)', pattern(schema, name))
    assert [p.replace('""', '"') for p in parts] == [schema, name]
