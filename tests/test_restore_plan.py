"""What a drill replays: every captured object replayed, skipped by name, or normalised; nothing falls in silence."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.model import Dependant
from engine.postgres.replayplan import Ground, plan_restore, tokens
from engine.postgres.toc import TocEntry


def entry(dump_id: int, desc: str, tag: str, *needs: int, schema: str | None = "public", sql: str = "") -> TocEntry:
    return TocEntry(dump_id, desc, schema, tag, "owner", sql, needs)


def kept(*entries: TocEntry, dependants: tuple[Dependant, ...] = (), ground: Ground | None = None) -> set[int]:
    return {e.dump_id for e in plan_restore(entries, dependants, ground or Ground()).kept}


KINDS = [
    "TABLE",
    "TABLE DATA",
    "INDEX",
    "FUNCTION",
    "EVENT TRIGGER",
    "PUBLICATION",
    "ACL",
    "EXTENSION",
    "ACCESS METHOD",
    "COMMENT",
    "SCHEMA",
]


@st.composite
def archives(draw: st.DrawFn) -> list[TocEntry]:
    count = draw(st.integers(0, 12))
    entries = []
    for n in range(1, count + 1):
        needs = draw(st.lists(st.integers(1, max(1, n - 1)), max_size=3)) if n > 1 else []
        language = draw(st.sampled_from(["sql", "c", "internal"]))
        sql = f"CREATE x\n    LANGUAGE {language} AS 'x';"
        entries.append(entry(n, draw(st.sampled_from(KINDS)), f"t{n}", *needs, sql=sql))
    return entries


@given(archives())
def test_every_entry_ends_in_one_place(entries: list[TocEntry]) -> None:
    plan = plan_restore(entries, (), Ground())
    kept_ids = {e.dump_id for e in plan.kept}
    named = {(s.kind, s.name) for s in plan.skips}
    assert kept_ids.isdisjoint(plan.skipped_ids)
    for e in entries:
        if e.dump_id in plan.skipped_ids:
            assert (e.desc, e.name) in named
        elif e.dump_id not in kept_ids:
            assert e.desc in ("ACL", "EXTENSION", "COMMENT")  # normalised
    for e in plan.kept:
        assert not {d for d in e.depends_on if d in plan.skipped_ids}
    assert plan.list_text == "".join(f"{e.dump_id};\n" for e in plan.kept)
    lost = {("public", e.tag) for e in entries if e.desc == "TABLE DATA" and e.dump_id in plan.skipped_ids}
    assert set(plan.lost_tables) == lost


def test_a_table_of_an_own_access_method_stands() -> None:
    method = entry(1, "ACCESS METHOD", "heap2", schema=None, sql="CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER h;\n")
    table = entry(2, "TABLE", "t", 1)
    plan = plan_restore([method, table], (), Ground())
    assert [e.dump_id for e in plan.kept] == [2]
    assert [s.kind for s in plan.skips] == ["ACCESS METHOD"]
    index = entry(1, "ACCESS METHOD", "ix", schema=None, sql="CREATE ACCESS METHOD ix TYPE INDEX HANDLER h;\n")
    assert kept(index, entry(2, "INDEX", "i", 1)) == set()


def test_rows_that_fall_are_named_loudly() -> None:
    function = entry(
        1, "FUNCTION", "f()", sql="CREATE FUNCTION public.f() RETURNS int\n    LANGUAGE c\n    AS 'lib', 'f';\n"
    )
    plan = plan_restore([function, entry(2, "TABLE", "t", 1), entry(3, "TABLE DATA", "t", 2)], (), Ground())
    assert plan.kept == ()
    assert plan.lost_tables == (("public", "t"),)
    assert "rows of this table were not replayed" in plan.skips[2].reason
    assert "function public.f()" in plan.skips[1].reason


def test_untrusted_and_superuser_functions_are_skipped() -> None:
    def skipped(tail: str, languages: frozenset[str] = frozenset({"c", "plpython3u"})) -> bool:
        one = entry(
            1, "FUNCTION", "f()", sql=f"CREATE FUNCTION public.f() RETURNS int\n    LANGUAGE {tail}\n    AS 'x';\n"
        )
        return not kept(one, ground=Ground(untrusted_languages=languages))

    assert skipped("plpython3u")
    assert skipped("sql LEAKPROOF")
    assert skipped("sql IMMUTABLE SUPPORT public.s")
    assert not skipped("sql NOT LEAKPROOF")
    assert not skipped("plpgsql")
    assert skipped('"My Lang"', frozenset({"My Lang"}))


def test_f29_schemas_that_are_there_are_normalised() -> None:
    plan = plan_restore([entry(1, "SCHEMA", "public", schema=None), entry(2, "TABLE", "t", 1)], (), Ground())
    assert [e.dump_id for e in plan.kept] == [2]
    assert plan.skips == ()
    assert ("SCHEMA", "public") in {(n.kind, n.name) for n in plan.normalised}


def test_file_fdw_tables_are_skipped_and_others_stand() -> None:
    files = entry(1, "SERVER", "fs", schema=None, sql="CREATE SERVER fs FOREIGN DATA WRAPPER file_fdw;\n")
    other = entry(2, "SERVER", "ps", schema=None, sql="CREATE SERVER ps FOREIGN DATA WRAPPER postgres_fdw;\n")
    tables = [entry(3, "FOREIGN TABLE", "a", 1), entry(4, "FOREIGN TABLE", "b", 2)]
    assert kept(files, other, *tables) == {1, 2, 4}


def test_dependants_are_found_whatever_their_names() -> None:
    entries = [
        entry(1, "FK CONSTRAINT", "my table my fkey"),
        entry(2, "POLICY", "t p", schema='we"ird'),
        entry(3, "FUNCTION", "f(integer, public.comp)"),
        entry(4, "VIEW", "a.b"),
        entry(5, "TABLE ATTACH", "leaf"),
        entry(6, "TABLE", "leaf"),
        entry(7, "VIEW", "b", schema="a"),
        entry(8, "FK CONSTRAINT", "my table my other"),
    ]
    dependants = (
        Dependant("table constraint", "public", "", '"my fkey" on public."my table"', '"my table"'),
        Dependant("policy", None, "", 'p on "we""ird".t'),
        Dependant("function", "public", "", "public.f(integer,public.comp)"),
        Dependant("view", "public", "a.b", 'public."a.b"'),
        Dependant("partition attach", "public", "leaf", "leaf -> root"),
        Dependant("table", "public", "absent", "public.absent"),
    )
    assert kept(*entries, dependants=dependants) == {6, 7, 8}


def test_an_index_of_a_detached_leaf_is_not_attached() -> None:
    entries = [
        entry(1, "TABLE", "leaf"),
        entry(2, "TABLE ATTACH", "leaf", 1),
        entry(3, "INDEX", "leaf_ix", 1),
        entry(4, "INDEX ATTACH", "leaf_ix", 3, 1),
    ]
    attach = Dependant("partition attach", "public", "leaf", "leaf -> root")
    assert kept(*entries, dependants=(attach,)) == {1, 3}
    assert kept(*entries) == {1, 2, 3, 4}


def test_identities_are_read_as_names() -> None:
    assert tokens('"a ""b""" on public.t') == ('a "b"', "on", "public", "t")
    assert tokens("pg_catalog.int4, x") == ("int4", "x")
    assert tokens('f("a.b", integer)') == ("f", "a.b", "integer")
