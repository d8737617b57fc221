"""What ``verify`` says besides: a row made good by the program's own change, catalogs from before, moved ones, the
daily duty, its alert, and a master key that cannot be had."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import catalog as catalogs
from engine.evidence import canonical, chain, rows
from engine.model import CHECKED, Event, IncidentKind, JobError, Part
from engine.service import Engine
from offsitedb_tui.demo.held import HeldKey
from tests.fixtures.edits import Lite
from tests.fixtures.history import NOW, History

pytest_plugins = ("tests.fixtures.history",)


def _edit(engine: Engine, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(engine.catalog.where, isolation_level=None)) as db:
        Lite(db).run(statement, *values)


def _wrong(engine: Engine) -> list[str]:
    return [f"{f.subject}: {f.text}" for f in engine.verify.check().findings]


def test_the_programs_own_change_does_not_hide_an_edit(history: History) -> None:
    shop, engine = history.connection("shop"), history.engine
    _edit(engine, "UPDATE connections SET accept_empty = 1 WHERE id = ?", shop.id)
    engine.connections.set_targets("shop", proof_s=60.0, restore_s=None)
    (said,) = _wrong(engine)
    assert said.startswith(f"connection {shop.id}: it was changed after event")
    assert "connection.targets-set by os:" in said


def test_a_row_taken_away_and_one_put_back(history: History) -> None:
    shop, engine = history.connection("shop"), history.engine
    engine.checks.add("shop", "some", "SELECT 1", "1")
    with closing(sqlite3.connect(engine.catalog.where)) as db:
        (row,) = db.execute("SELECT * FROM checks")
    engine.checks.remove("shop", "some")
    _edit(engine, "INSERT INTO checks VALUES (?, ?, ?, ?, ?)", *row)
    (said,) = _wrong(engine)
    assert said.startswith(f"check {shop.id}/some: event")
    assert "says that it went, and it is there" in said


def test_a_forged_end_of_the_history_is_named_as_not_signed(history: History) -> None:
    """The known limit: whoever writes to the database may append an event, until the end is signed."""
    shop, engine = history.connection("shop"), history.engine
    engine.verify.sign()
    _edit(engine, "UPDATE connections SET accept_empty = 1 WHERE id = ?", shop.id)
    with engine.catalog.write() as tx:
        rows.adopt(tx, engine.clock, actor="mallory")
    found = engine.verify.check()
    assert found.unsigned > 0
    assert [f.subject for f in found.findings] == [f"connection {shop.id}"]  # that it was another before


def test_a_catalog_from_before_is_bound_once(history: History) -> None:
    history.drilled(history.connection("shop"), NOW - timedelta(hours=2))
    engine, where = history.engine, history.engine.catalog.where
    with closing(sqlite3.connect(where, isolation_level=None)) as db:
        store, previous = Lite(db), chain.GENESIS
        every = store.rows("SELECT seq FROM events ORDER BY seq")
        store.run("DELETE FROM heads")
        with engine.catalog.read() as tx:
            events = catalogs.events.list_after(tx, 0, limit=1000)
        for event in events:  # as a program wrote them that bound nothing
            bare = Event(event.seq, event.at, event.actor, event.kind, event.subject, event.told, previous)
            previous = chain.event_hash(bare)
            data = canonical.encode(event.told).decode()
            store.run(
                "UPDATE events SET data = ?, previous = ?, hash = ? WHERE seq = ?",
                *(data, bare.previous, previous, event.seq),
            )
    with history.open() as later:
        later.verify.sign()
        found = later.verify.check()
        with later.catalog.read() as tx:
            adopted = catalogs.events.list_recent(tx, kind=rows.ADOPTED, limit=10)
    assert found.findings == ()
    (note,) = [part.note for part in found.checked if part.part is Part.ROWS]
    assert "were bound as they were found (event" in note
    assert "catalog.adopted by upgrade" in note
    assert [(e.seq, e.actor) for e in adopted] == [(len(every) + 1, "upgrade")]
    with history.open() as again, again.catalog.read() as tx:
        assert len(catalogs.events.list_recent(tx, kind=rows.ADOPTED, limit=10)) == 1


def test_without_the_master_key_the_rest_is_looked_at(history: History) -> None:
    history.connection("shop")
    with Engine.open(home=history.home, key_store=HeldKey(), clock=history.clock) as other:
        found = other.verify.check()
    keys = next(part for part in found.checked if part.part is Part.KEYS)
    assert found.findings == ()
    assert keys.count == 0
    assert keys.note.startswith("not looked at: ")


def test_a_worker_looks_daily_signs_and_rings(history: History) -> None:
    engine = history.engine
    shop = history.connection("shop")
    history.failed(shop, NOW - timedelta(hours=1), JobError("pg.unreachable", "no answer", "Look.", 20))
    with engine.catalog.read() as tx:
        history.clock.at = catalogs.events.list_after(tx, 0, limit=1)[0].at + timedelta(hours=22)
    engine.verify.look()
    assert _checked(engine) == []
    history.clock.at += timedelta(hours=2)
    engine.verify.look()
    engine.verify.look()
    assert _checked(engine) == [0]
    assert engine.verify.check().unsigned == 0
    engine.alerts.check()
    assert IncidentKind.LEDGER not in {i.kind for i in engine.alerts.incidents()}
    _edit(engine, "DELETE FROM jobs WHERE state = 'failed'")
    history.clock.at += timedelta(hours=24)
    engine.verify.look()
    assert _checked(engine) == [1, 0]
    assert engine.verify.standing().wrong == 1
    engine.alerts.check()
    rung = [i for i in engine.alerts.incidents() if i.kind is IncidentKind.LEDGER]
    assert [i.name for i in rung] == ["ledger"]
    assert "1 found wrong: ended job" in rung[0].summary


def _checked(engine: Engine) -> list[int]:
    with engine.catalog.read() as tx:
        return [int(e.data["wrong"] or 0) for e in catalogs.events.list_recent(tx, kind=CHECKED, limit=10)]


_texts = st.text(st.characters(exclude_categories=["Cs"]))
_data = st.dictionaries(
    st.text("abcdefghijklmnopqrstuvwxyz_:/-", min_size=1),
    st.one_of(_texts, st.integers(-(2**53) + 1, 2**53 - 1), st.booleans(), st.none()),
)


@given(seq=st.integers(1, 2**53 - 1), actor=_texts, subject=_texts, data=_data)
def test_the_quick_hash_is_the_documented_one(
    seq: int, actor: str, subject: str, data: dict[str, str | int | bool | None]
) -> None:
    event = Event(seq, NOW, actor, "k", subject, data, chain.GENESIS)
    line = catalogs.events.Line(seq, "2026-11-23T14:02:10.000000Z", actor, "k", subject, "", chain.GENESIS, "")
    assert chain._line_hash(line, dict(data)) == chain.event_hash(event)


@pytest.mark.parametrize("text", ["x", "", ">", "-", "zz>zz"])
def test_what_an_event_says_of_a_row_and_cannot_be_read_fits_none(text: str) -> None:
    known = rows.Known()
    assert list(known.hear(1, "k", {"row:connections/x": f"{text}>{text}"})) or text == "-"
