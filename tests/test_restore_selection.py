"""Which entries of an archive a restore takes: every one ends in one place, and nothing is taken without its ground."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.model.restoring import Parts, RestoreOptions
from engine.postgres.selection import Selection, select
from engine.postgres.target import Existing, Leaning
from engine.postgres.targetplan import spans
from engine.postgres.toc import TocEntry

EMPTY = Existing()
WHOLE = RestoreOptions()


def entry(dump_id: int, desc: str, tag: str, *needs: int, schema: str | None = "public", sql: str = "") -> TocEntry:
    return TocEntry(dump_id, desc, schema, tag, "owner", sql, needs, has_data=desc == "TABLE DATA")


def ids(found: Selection) -> list[int]:
    return [e.dump_id for e in found.kept]


def left(found: Selection) -> dict[str, str]:
    return {x.name: x.reason for x in found.left_out}


SHOP = [
    entry(1, "SCHEMA", "sales", schema=None),
    entry(2, "TYPE", "mood", schema="sales"),
    entry(3, "TABLE", "customer"),
    entry(4, "TABLE", "invoice", 1, 2, schema="sales"),
    entry(5, "SEQUENCE", "invoice_id_seq", 4, schema="sales"),
    entry(6, "SEQUENCE OWNED BY", "invoice_id_seq", 4, 5, schema="sales"),
    entry(7, "DEFAULT", "invoice id", 4, 5, schema="sales"),
    entry(8, "VIEW", "per_customer", 3, 4),
    entry(9, "TABLE DATA", "invoice", 4, schema="sales"),
    entry(10, "TABLE DATA", "customer", 3),
    entry(11, "SEQUENCE SET", "invoice_id_seq", 5, schema="sales"),
    entry(12, "CONSTRAINT", "customer customer_pkey", 3),
    entry(13, "CONSTRAINT", "invoice invoice_pkey", 4, schema="sales"),
    entry(14, "INDEX", "invoice_cents", 4, schema="sales"),
    entry(15, "FK CONSTRAINT", "invoice invoice_customer_fkey", 4, 3, 12, schema="sales",
          sql="ALTER TABLE ONLY sales.invoice ADD CONSTRAINT f FOREIGN KEY (c) REFERENCES public.customer(id);\n"),
    entry(16, "ACL", "TABLE invoice", 4, schema="sales"),
    entry(17, "COMMENT", "DATABASE shop", schema=None),
]  # fmt: skip


def test_everything_but_grants_and_comments_on_the_database() -> None:
    assert ids(select(SHOP, WHOLE, EMPTY)) == list(range(1, 16))


def test_a_table_takes_what_is_its_own_and_what_it_needs() -> None:
    found = select(SHOP, RestoreOptions(tables=("sales.invoice",)), EMPTY)
    assert ids(found) == [1, 2, 4, 5, 6, 7, 9, 11, 13, 14]
    assert left(found) == {"sales.invoice invoice_customer_fkey": "table public.customer is not restored"}
    assert found.drops_with_table == {13, 14}
    there = Existing(schemas=frozenset({"public", "sales"}), types=frozenset({("sales", "mood")}))
    found = select(SHOP, RestoreOptions(tables=("sales.invoice",)), there)
    assert ids(found) == [4, 5, 6, 7, 9, 11, 13, 14]
    assert found.uses == ("type sales.mood",)
    both = select(SHOP, RestoreOptions(tables=("sales.invoice", "public.customer")), EMPTY)
    assert {12, 15} <= set(ids(both))
    assert both.left_out == ()


def test_what_only_reads_the_table_does_not_come_with_it() -> None:
    archive = [
        entry(1, "TABLE", "sale"),
        entry(2, "TABLE", "region"),
        entry(3, "VIEW", "per_region"),
        entry(4, "RULE", "per_region _RETURN", 1, 2, 3),
        entry(5, "POLICY", "region p", 1, 2),
        entry(6, "POLICY", "sale p", 1, 2),
        entry(7, "TRIGGER", "sale t", 1),
    ]
    there = Existing(relations=frozenset({("public", "region"), ("public", "per_region")}))
    found = select(archive, RestoreOptions(tables=("public.sale",)), there)
    assert ids(found) == [1, 6, 7]
    assert found.left_out == ()


def test_a_schema_leaves_out_what_leans_on_another() -> None:
    found = select(SHOP, RestoreOptions(schemas=("public",)), EMPTY)
    assert ids(found) == [3, 10, 12]
    assert left(found) == {"public.per_customer": "table sales.invoice is neither restored nor there"}
    there = Existing(relations=frozenset({("sales", "invoice")}))
    assert ids(select(SHOP, RestoreOptions(schemas=("public",)), there)) == [3, 8, 10, 12]


@pytest.mark.parametrize(
    ("options", "near"),
    [
        (RestoreOptions(tables=("sales.invoise",)), "sales.invoice"),
        (RestoreOptions(tables=("public.invoice",)), "sales.invoice"),
        (RestoreOptions(schemas=("sale",)), "sales"),
    ],
)
def test_what_the_archive_does_not_hold_is_named_with_what_is_near(options: RestoreOptions, near: str) -> None:
    with pytest.raises(ConfigError) as caught:
        select(SHOP, options, EMPTY)
    assert caught.value.code == "config.not-found"
    assert near in caught.value.hint


def test_parts() -> None:
    schema = ids(select(SHOP, replace(WHOLE, parts=Parts.SCHEMA), EMPTY))
    data = select(SHOP, replace(WHOLE, parts=Parts.DATA), EMPTY)
    assert set(schema) & set(ids(data)) == set()
    assert ids(data) == [10, 9, 11], "the rows that a foreign key names come first"
    assert data.missing == ("public.customer", "sales.invoice", "sales.invoice_id_seq")
    assert data.conflicts == ()


def test_a_circle_of_foreign_keys_ends() -> None:
    def refers(dump_id: int, table: str, other: str) -> TocEntry:
        return entry(
            dump_id, "FK CONSTRAINT", f"{table} f", 1, 2, sql=f"ADD FOREIGN KEY (x) REFERENCES public.{other}(x);"
        )

    tables = [
        entry(1, "TABLE", "a"),
        entry(2, "TABLE", "b"),
        entry(3, "TABLE DATA", "a", 1),
        entry(4, "TABLE DATA", "b", 2),
    ]
    circle = [*tables, refers(5, "a", "b"), refers(6, "b", "a")]
    assert ids(select(circle, replace(WHOLE, parts=Parts.DATA), EMPTY)) == [3, 4]


def test_partitions_come_with_their_root_and_go_without_it() -> None:
    archive = [
        entry(1, "TABLE", "sale"),
        entry(2, "TABLE", "sale_old"),
        entry(3, "TABLE ATTACH", "sale_old", 1, 2),
        entry(4, "TABLE DATA", "sale_old", 2),
        entry(5, "CONSTRAINT", "sale sale_pkey", 1),
        entry(6, "CONSTRAINT", "sale_old sale_old_pkey", 2, 5),
        entry(7, "INDEX ATTACH", "sale_old_pkey", 6, 2, 5, 1),
    ]
    root = select(archive, RestoreOptions(tables=("public.sale",), clean=True), EMPTY)
    assert ids(root) == [1, 2, 3, 4, 5, 6, 7]
    assert root.drops_with_table == {5, 6}
    alone = select(archive, RestoreOptions(tables=("public.sale_old",)), EMPTY)
    assert set(ids(alone)) == {2, 4, 6}
    assert "table public.sale is not restored" in left(alone).values()


def test_what_only_a_superuser_may_create_falls_with_all_that_needs_it() -> None:
    archive = [
        entry(1, "FUNCTION", "root(double precision)", sql="CREATE FUNCTION f\n    LANGUAGE internal\n    AS 'dsqrt';"),
        entry(2, "TABLE", "roots", 1),
        entry(3, "TABLE DATA", "roots", 2),
        entry(4, "TABLE", "plain"),
    ]
    found = select(archive, WHOLE, EMPTY)
    assert ids(found) == [4]
    assert "--superuser-objects" in left(found)["public.root(double precision)"]
    assert ids(select(archive, replace(WHOLE, superuser_objects=True), EMPTY)) == [1, 2, 3, 4]


def test_extensions_by_what_the_target_offers() -> None:
    archive = [entry(1, "EXTENSION", "vector", schema=None), entry(2, "TABLE", "embedded", 1)]
    assert select(archive, WHOLE, EMPTY).extensions_lacking == (("vector", False),)
    assert ids(select(archive, WHOLE, EMPTY)) == []
    untrusted = Existing(available={"vector": False})
    assert select(archive, WHOLE, untrusted).extensions_lacking == (("vector", True),)
    assert ids(select(archive, WHOLE, replace(untrusted, superuser=True))) == [1, 2]
    assert ids(select(archive, WHOLE, Existing(available={"vector": True}))) == [1, 2]
    assert ids(select(archive, WHOLE, Existing(installed=frozenset({"vector"})))) == [2]


def test_roles_that_policies_name() -> None:
    policy = entry(2, "POLICY", "t p", 1, sql='CREATE POLICY p ON public.t TO app, "O dd" USING (true);\n')
    found = select([entry(1, "TABLE", "t"), policy], WHOLE, Existing(roles=frozenset({"app"})))
    assert found.roles_lacking == ("O dd",)


def test_large_objects_of_both_kinds_of_archive() -> None:
    old = [entry(n, "BLOB", str(700 + n), schema=None) for n in (1, 2)]
    new = entry(3, "BLOB METADATA", "800..802", schema=None, sql="800\n802\n")
    found = select([*old, new, entry(4, "BLOBS", "BLOBS", schema=None)], WHOLE, EMPTY)
    assert found.large_objects == (701, 702, 800, 802)
    assert found.creates == {"large object": 4}
    assert select([*SHOP, *old], RestoreOptions(tables=("public.customer",)), EMPTY).large_objects == ()


@given(st.sets(st.integers(1, 60)))
def test_runs_of_numbers_say_each_number_once(numbers: set[int]) -> None:
    told: list[int] = []
    for span in spans(numbers):
        first, _, last = span.partition("..")
        told += range(int(first), int(last or first) + 1)
    assert told == sorted(numbers)


KINDS = [
    *("TABLE", "TABLE DATA", "VIEW", "INDEX", "CONSTRAINT", "FK CONSTRAINT", "TABLE ATTACH", "FUNCTION", "TYPE"),
    *(
        "SEQUENCE",
        "SEQUENCE OWNED BY",
        "EVENT TRIGGER",
        "PUBLICATION",
        "ACL",
        "EXTENSION",
        "COMMENT",
        "BLOB",
        "TRIGGER",
    ),
]


@st.composite
def archives(draw: st.DrawFn) -> list[TocEntry]:
    """Entries that need some of those before them, in two schemas."""
    made = []
    for n in range(1, draw(st.integers(0, 14)) + 1):
        needs = draw(st.lists(st.integers(1, n - 1), max_size=3, unique=True)) if n > 1 else []
        desc, language = draw(st.sampled_from(KINDS)), draw(st.sampled_from(["sql", "c"]))
        sql = f"CREATE x\n    LANGUAGE {language} AS 'x';"
        tag = str(9000 + n) if desc == "BLOB" else f"t{n}"
        made.append(entry(n, desc, tag, *needs, schema=draw(st.sampled_from(["public", "other"])), sql=sql))
    return made


@st.composite
def targets(draw: st.DrawFn) -> Existing:
    names = st.frozensets(st.tuples(st.sampled_from(["public", "other"]), st.integers(1, 14).map(lambda n: f"t{n}")))
    there = frozenset(name for _, name in draw(names))
    leaning = (Leaning(("public", "t1"), ("x", "y"), "view"),)
    return Existing(relations=draw(names), types=draw(names), routines=draw(names), installed=there, leaning=leaning)


@given(archives(), targets(), st.sampled_from(list(Parts)), st.booleans(), st.data())
def test_nothing_is_taken_twice_or_without_its_ground(
    archive: list[TocEntry], existing: Existing, parts: Parts, above: bool, data: st.DataObject
) -> None:
    tables = [e.name for e in archive if e.desc == "TABLE"]
    chosen = tuple(data.draw(st.lists(st.sampled_from(tables), unique=True))) if tables else ()
    found = select(archive, RestoreOptions(tables=chosen, parts=parts, superuser_objects=above), existing)
    by_id = {e.dump_id: e for e in archive}
    assert all(count == 1 for count in Counter(ids(found)).values())
    assert {e.desc for e in found.kept}.isdisjoint({"ACL", "PUBLICATION"})
    assert set(found.drops_with_table) <= set(ids(found))
    for name in chosen:
        falls = name in left(found) or any(name == e.name for e in found.kept if e.desc == "TABLE")
        assert falls or parts is Parts.DATA
    dropped = {(x.kind, x.name) for x in found.left_out}
    for e in found.kept:
        assert (e.desc.lower(), e.name) not in dropped
        assert all((by_id[d].desc.lower(), by_id[d].name) not in dropped for d in e.depends_on)
    if parts is Parts.ALL:
        assert ids(found) == sorted(ids(found)), "in the archive's order"
        if not chosen:  # each is taken, named, there already, or never restored
            other = [e for e in archive if e.dump_id not in ids(found) and (e.desc.lower(), e.name) not in dropped]
            quiet = {"ACL", "EXTENSION", "COMMENT"}
            assert {e.desc for e in other} <= quiet
    assert found.list_text == "".join(f"{e.dump_id};\n" for e in found.kept)
