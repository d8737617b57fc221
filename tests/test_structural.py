"""The pure comparison: equal is equal, one change anywhere is named, and only what was skipped is excused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.definition import essence
from engine.model import Normalised, SequenceState, Skip, Structure, StructureObject
from engine.structural import BEFORE, SEQUENCE_VALUE, compare, failures, not_compared, skips


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_raw = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6) | st.sampled_from(
    [' ON "', "a.b", 'x" ON y', "f(x"]
)
_names = _raw.map(_quoted) | st.sampled_from(["t", "public", "x_1"])
_relations = st.builds(lambda s, n: f"{s}.{n}", _names, _names)
_facts = st.sampled_from(["", "integer NOT NULL", "CHECK ((a)::text = 'x'::text)", "text DEFAULT 'a  b'"])
_on = st.builds(
    lambda k, n, t, f: StructureObject(k, f"{n} ON {t}", f),
    st.sampled_from(["index", "constraint", "trigger", "policy", "rule", "not null"]),
    _names,
    _relations,
    _facts,
)
_alone = st.builds(
    StructureObject, st.sampled_from(["table", "view", "type", "sequence", "schema"]), _relations, _facts
)
_columns = st.builds(
    lambda t, c: StructureObject("column", t, json.dumps(c)),
    _relations,
    st.lists(st.tuples(_names, _facts), min_size=1, max_size=3, unique_by=lambda c: c[0]),
)
_objects = st.lists(_on | _alone | _columns, max_size=8, unique_by=lambda o: (o.kind, o.name)).map(tuple)


@given(_objects, st.randoms())
def test_the_same_in_another_order_is_equal(objects: tuple[StructureObject, ...], random: st.DataObject) -> None:
    mixed = list(objects)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    result = compare(Structure(objects), Structure(tuple(mixed)), (), ())
    assert result.differences == ()
    assert all(c.equal == c.expected and not c.excused for c in result.counts)
    assert failures(result) == ()


@given(_objects.filter(bool), st.data())
def test_one_change_is_named_and_nothing_else(objects: tuple[StructureObject, ...], data: st.DataObject) -> None:
    hit = data.draw(st.sampled_from(objects))
    left = [o for o in objects if o is not hit]
    if hit.kind != "column" and data.draw(st.booleans()):
        left.append(replace(hit, facts=hit.facts + " other"))
    result = compare(Structure(objects), Structure(tuple(left)), (), ())
    assert result.differences
    assert {d.kind for d in result.differences} == {hit.kind}
    assert all(d.name == hit.name or d.name.startswith(hit.name + ".") for d in result.differences)
    assert len(failures(result)) == len(result.differences)
    assert sum(c.expected - c.equal for c in result.counts) >= len(result.differences)


@given(_names, _names, _names, _names)
def test_a_skipped_table_takes_along_what_hangs_on_it(schema: str, table: str, other: str, part: str) -> None:
    def raw(name: str) -> str:
        return name[1:-1].replace('""', '"') if name.startswith('"') else name

    name = f"{schema}.{table}"
    objects = (
        StructureObject("table", name),
        StructureObject("column", name, json.dumps([(part, "text")])),
        *(StructureObject(kind, f"{part} ON {name}", "x") for kind in ("index", "constraint", "trigger", "policy")),
    )
    skips = (Skip("TABLE", f"{raw(schema)}.{raw(table)}", "why"),)
    result = compare(Structure(objects), Structure(()), skips, ())
    assert result.differences == ()
    assert all(c.excused == c.expected for c in result.counts)
    if other != table:
        elsewhere = tuple(replace(o, name=o.name.replace(name, f"{schema}.{other}")) for o in objects[:1])
        assert raw(other) == raw(table) or compare(Structure(elsewhere), Structure(()), skips, ()).differences


@pytest.mark.parametrize(
    ("kind", "name", "skip"),
    [
        ("function", 's."Odd f"(integer, s."My type")', Skip("FUNCTION", 's.Odd f(integer, s."My type")', "")),
        ("aggregate", "s.every_row(*)", Skip("AGGREGATE", "s.every_row(*)", "")),
        ("operator", "s.+ (integer, integer)", Skip("OPERATOR", "s.+", "")),
        ("cast", "CAST (s.a AS text)", Skip("CAST", "CAST (s.a AS text)", "")),
        ("type", "s.d", Skip("DOMAIN", "s.d", "")),
        ("index", 'i ON s."T b"', Skip("INDEX", "s.i", "")),
        ("index", 'i ON s."T b"', Skip("CONSTRAINT", "s.T b i", "")),
        ("constraint", 'k ON s."T b"', Skip("FK CONSTRAINT", "s.T b k", "")),
        ("policy", "p ON s.t", Skip("POLICY", "s.t p", "")),
        ("partition", "s.leaf", Skip("TABLE ATTACH", "s.leaf", "")),
        ("event trigger", "audit", Skip("EVENT TRIGGER", "audit", "")),
        ("foreign server", "far", Skip("SERVER", "far", "")),
        ("text search configuration", "s.c", Skip("TEXT SEARCH CONFIGURATION", "s.c", "")),
    ],
)
def test_an_entry_of_the_archive_is_the_object_that_it_makes(kind: str, name: str, skip: Skip) -> None:
    captured = Structure((StructureObject(kind, name, "x"),))
    assert compare(captured, Structure(()), (skip,), ()).differences == ()
    assert compare(captured, Structure(()), (replace(skip, name=skip.name + "x"),), ()).differences
    assert compare(captured, Structure(()), (replace(skip, kind="SCHEMA"),), ()).differences


def test_a_missing_table_is_named_once() -> None:
    objects = (
        StructureObject("index", "i ON s.t", "x"),
        StructureObject("column", "s.t", json.dumps([("a", "text")])),
        StructureObject("table", "s.t"),
    )
    result = compare(Structure(objects), Structure(()), (), ())
    assert [(d.kind, d.name) for d in result.differences] == [("table", "s.t")]
    assert all(c.equal == 0 for c in result.counts)


def test_another_version_of_an_extension_is_no_difference() -> None:
    captured = Structure((StructureObject("extension", '"uuid-ossp"', "1.0"),))
    other = Structure((StructureObject("extension", '"uuid-ossp"', "1.1"),))
    assert compare(captured, other, (), (Normalised("EXTENSION VERSION", "uuid-ossp", ""),)).differences == ()
    assert compare(captured, other, (), ()).differences


@given(st.integers(-99, 99), st.integers(-99, 99), st.integers(-150, 150))
def test_a_sequence_may_stand_between_the_two_looks(least: int, last: int, restored: int) -> None:
    captured = Structure((), (SequenceState("s.q", last, "s.t.id", least),))
    result = compare(captured, Structure((), (SequenceState("s.q", restored),)), (), ())
    inside = min(least, last) <= restored <= max(least, last)
    assert bool(result.differences) is not inside
    if not inside:
        (difference,) = result.differences
        assert (difference.kind, difference.name) == (SEQUENCE_VALUE, "s.q")
        assert difference.restored == str(restored)


@pytest.mark.parametrize(("captured", "restored"), [(None, 5), (5, None)])
def test_a_used_sequence_is_not_a_fresh_one(captured: int | None, restored: int | None) -> None:
    state = SequenceState("s.q", captured, None, captured)
    assert compare(Structure((), (state,)), Structure((), (SequenceState("s.q", restored),)), (), ()).differences


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "CHECK (((v)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))",
            "CHECK (((v)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))",
        ),
        ("('x'::text || a)::timestamp(3) with time zone", "'x' || (a)"),
        ('((a)::s."my type"[] = b)', "a = b"),
        ("(n)::numeric(8,3)", "n"),
    ],
)
def test_two_writings_of_one_definition_are_one(one: str, other: str) -> None:
    assert essence(one) == essence(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a = 'x y'", "a = 'xy'"),
        ("a = '(x)'", "a = 'x'"),
        ("a > 1", "a > 2"),
        ('"a b"', '"ab"'),
        ("a = '::text'", "a = ''"),
    ],
)
def test_what_differs_stays_different(one: str, other: str) -> None:
    assert essence(one) != essence(other)


def test_what_was_not_compared_is_a_skip_but_for_older_snapshots() -> None:
    (skip,) = skips(not_compared("it could not be read at the source: why"))
    assert (skip.kind, skip.reason) == ("structure", "it could not be read at the source: why")
    assert skips(not_compared(BEFORE)) == ()
    assert skips(compare(Structure(()), Structure(()), (), ())) == ()
    assert failures(not_compared(BEFORE)) == ()
