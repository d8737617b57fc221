"""The archive's table of contents: every name exactly as it was written, nothing believed beyond the file's end."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import CouldNotVerify, DrillFailed
from engine.postgres.toc import TocEntry, forget_drops, forget_versions, listed_ids, read_toc
from tests.fixtures.drill_parts import Source

pytest_plugins = ("tests.fixtures.drills",)


def write_int(value: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(4, "little")


def write_text(text: str | None) -> bytes:
    if text is None:
        return write_int(-1)
    raw = text.encode("utf-8", "surrogateescape")
    return write_int(len(raw)) + raw


def archive(minor: int, entries: list[TocEntry], major: int = 1) -> bytes:
    """A header as pg_dump writes it for format ``major.minor``, with nothing behind."""
    out = b"PGDMP" + bytes([major, minor, 0, 4, 8, 1])
    out += b"\x00" if minor >= 15 else write_int(-1)
    out += b"".join(write_int(n) for n in (1, 2, 3, 4, 5, 126, 0))
    out += write_text("db") + write_text("15.18") + write_text("15.18") + write_int(len(entries))
    for e in entries:
        out += write_int(e.dump_id) + write_int(int(e.has_data)) + write_text("1259") + write_text("16384")
        out += write_text(e.tag) + write_text(e.desc) + write_int(2) + write_text(e.definition)
        out += write_text("DROP") + write_text(None) + write_text(e.schema) + write_text(None) + write_text(e.tableam)
        if minor >= 16:
            out += write_int(ord("r"))
        out += write_text(e.owner) + write_text("false")
        out += b"".join(write_text(str(d)) for d in e.depends_on) + write_text(None)
        out += b"\x02" + bytes(8)
    return out


def read(raw: bytes) -> tuple[TocEntry, ...]:
    with tempfile.TemporaryFile() as file:
        file.write(raw)
        file.flush()
        return read_toc(file.fileno()).entries


NAME = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)
ENTRY = st.builds(
    TocEntry,
    dump_id=st.integers(1, 2**31 - 1),
    desc=st.sampled_from(["TABLE", "TABLE DATA", "FK CONSTRAINT"]),
    schema=st.none() | NAME,
    tag=NAME,
    owner=st.just("") | NAME,
    definition=NAME,
    depends_on=st.lists(st.integers(1, 2**31 - 1), max_size=4).map(tuple),
    has_data=st.booleans(),
    tableam=st.none() | NAME,
)
TABLE = TocEntry(7, "TABLE", "a b", 'new\nline "q"', "some owner", "CREATE TABLE x ();\n", (3, 4), True, "heap")


@given(st.sampled_from([14, 15, 16]), st.lists(ENTRY, max_size=5))
@settings(deadline=None)
def test_every_name_survives(minor: int, entries: list[TocEntry]) -> None:
    assert read(archive(minor, entries)) == tuple(entries)


def test_bytes_that_are_not_utf8_survive() -> None:
    latin = replace(TABLE, tag=b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert read(archive(14, [latin])) == (latin,)


def test_every_truncation_is_seen() -> None:
    whole = archive(16, [TABLE, TABLE])
    for size in range(len(whole)):
        with pytest.raises(DrillFailed) as caught:
            read(whole[:size])
        assert caught.value.code == "drill.restore"
    assert read(whole) == (TABLE, TABLE)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_garbage_never_raises_anything_but_a_failed_drill(tail: bytes) -> None:
    raw = archive(14, [])[:11] + tail
    with contextlib.suppress(DrillFailed):  # anything else would end the test
        read(raw)


@pytest.mark.parametrize("raw", [b"", b"-- a plain dump\n", b"PGDMP\x01\x0c\x00\x04\x08\x01" + bytes(99)])
def test_what_is_no_archive_is_refused(raw: bytes) -> None:
    with pytest.raises(DrillFailed):
        read(raw)


def test_a_huge_count_takes_no_memory() -> None:
    raw = archive(14, [])[:-5] + write_int(2**31 - 1)
    with pytest.raises(DrillFailed):
        read(raw)


@given(st.sampled_from([14, 15, 16]), st.lists(ENTRY, min_size=1, max_size=5, unique_by=lambda e: e.dump_id), st.data())
@settings(deadline=None)
def test_a_forgotten_drop_is_empty_and_no_byte_moves(minor: int, entries: list[TocEntry], data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.sampled_from([e.dump_id for e in entries])))
    raw = archive(minor, entries) + b"data behind"
    with tempfile.TemporaryFile() as file:
        file.write(raw)
        file.flush()
        forget_drops(file.fileno(), read_toc(file.fileno()), chosen)
        again = read_toc(file.fileno())
        file.seek(0)
        left = file.read()
    forgotten = sum(e.dump_id in chosen and not e.has_data for e in entries)
    assert again.entries == tuple(entries)
    assert len(left) == len(raw)
    assert left.endswith(b"data behind")
    assert left.count(write_text("") + write_text("    ")) == forgotten


@pytest.mark.parametrize(
    ("written", "left", "columns"),
    [
        ("ALTER TABLE ONLY public.t ALTER COLUMN x SET (pg_attver=41677480);", "", 1),
        ("ALTER FOREIGN TABLE ONLY public.t ALTER COLUMN x SET (pg_attver=1);", "", 1),
        (
            'ALTER TABLE ONLY "a\nb"."c;d" ALTER COLUMN "é SET (" SET (n_distinct=5, pg_attver=12);',
            'ALTER TABLE ONLY "a\nb"."c;d" ALTER COLUMN "é SET (" SET (n_distinct=5);',
            1,
        ),
        (
            "ALTER TABLE ONLY t ALTER COLUMN x SET (pg_attver=1, n_distinct=-0.5);",
            "ALTER TABLE ONLY t ALTER COLUMN x SET (n_distinct=-0.5);",
            1,
        ),
        ("ALTER TABLE ONLY t ALTER COLUMN x SET (n_distinct=5);", None, 0),
        ("ALTER TABLE ONLY t ALTER COLUMN x SET DEFAULT 'pg_attver=1';", None, 0),
        ("COMMENT ON COLUMN t.x IS 'SET (pg_attver=1);';", None, 0),
    ],
)
def test_a_column_version_is_blanked_and_nothing_else(written: str, left: str | None, columns: int) -> None:
    before = "CREATE TABLE public.t (\n    x text\n);\n"
    behind = "\nALTER TABLE ONLY public.t ALTER COLUMN x SET STATISTICS 5;\n"
    entries = [
        TocEntry(1, "TABLE", "public", "t", "o", before + written + behind),
        TocEntry(2, "TABLE", "public", "u", "o", before),
    ]
    with tempfile.TemporaryFile() as file:
        file.write(archive(14, entries) + b"data behind")
        file.flush()
        toc = read_toc(file.fileno())
        forget_versions(file.fileno(), toc)
        again = read_toc(file.fileno())
        file.seek(0)
        assert file.read().endswith(b"data behind")
    wanted = written if left is None else left
    padding = " " * (len(written.encode()) - len(wanted.encode()))
    assert [e.definition for e in again.entries] == [before + wanted + padding + behind, before]
    assert [e.versions for e in toc.entries] == [columns, 0]
    assert sum(e.versions for e in again.entries) == 0


def test_f30_a_newer_format_is_not_called_damaged() -> None:
    with pytest.raises(CouldNotVerify) as caught:
        read(archive(17, []))
    assert "1.17" in caught.value.message


def test_pg_restore_lists_the_same_entries(origin: Source) -> None:
    origin.run(
        'CREATE SCHEMA "we ird"',
        'CREATE TABLE "we ird"."two words" (id int PRIMARY KEY, "a b" text)',
        'CREATE TABLE public."new\nline; 99; 1 2 TABLE x" (id int)',
        'COMMENT ON TABLE "we ird"."two words" IS $$1234; 1 2 TABLE fake\n1235; 3 4 TABLE fake$$',
    )
    with tempfile.NamedTemporaryFile() as file:
        file.write(origin.dump())
        file.flush()
        toc = read_toc(file.fileno())
        argv = [str(origin.toolset.bindir / "pg_restore"), "--list", "--verbose", file.name]
        listing = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert listed_ids(listing) == {e.dump_id for e in toc.entries}
    tables = {(e.schema, e.tag) for e in toc.entries if e.desc == "TABLE"}
    assert tables == {("we ird", "two words"), ("public", "new\nline; 99; 1 2 TABLE x")}
    assert toc.dump_version.startswith(f"{origin.toolset.major}.")
