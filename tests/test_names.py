"""Names in one line of a form: whatever a table is called can be typed, and what is not clear is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screens.names import quoted, read_names

NAME = st.text(min_size=1, max_size=12)


@given(st.lists(st.tuples(NAME, NAME), max_size=4))
def test_every_name_can_be_quoted(names: list[tuple[str, str]]) -> None:
    text = " , ".join(f"{quoted(schema)}.{quoted(table)}" for schema, table in names)
    assert read_names(text) == tuple(dict.fromkeys(f"{schema}.{table}" for schema, table in names))


@given(st.text(alphabet='ab"., ', max_size=20))
def test_anything_is_read_or_refused_in_words(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert all(read_names(text))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        (" , ,", ()),
        ("sales.invoice", ("sales.invoice",)),
        (" a.b ,c.d,a.b", ("a.b", "c.d")),
        ('public."x,y"', ("public.x,y",)),
        ('"s""q" . "t.u", b', ('s"q.t.u', "b")),
        ('public.Wü rd"x', ('public.Wü rd"x',)),
        ("Mixed.Case", ("Mixed.Case",)),
    ],
)
def test_names_are_taken_to_the_letter(text: str, names: tuple[str, ...]) -> None:
    assert read_names(text) == names


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('a."b', "not closed"),
        ('"a"b.c', "comes a dot, a comma or nothing"),
        ("a..b", "empty name"),
        ("a.", "empty name"),
    ],
)
def test_what_is_not_clear_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_names(text)
