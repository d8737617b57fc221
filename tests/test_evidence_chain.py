"""The history: append-only by trigger, and tampering behind the triggers' back is named."""

from __future__ import annotations

import hashlib
import sqlite3

import psycopg
import pytest

from engine import catalog as catalogs
from engine.catalog import Catalog
from engine.errors import Internal
from engine.evidence import chain
from engine.evidence.chain import Finding, FindingKind
from engine.evidence.signer import Signer
from engine.model import Event
from tests.fixtures.records import HandClock

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.catalogs")

SIGNER = Signer(bytes(range(32)))
TRIGGERS = {
    "sqlite": ("events_no_update", "events_no_delete", "events_no_gap", "heads_no_update", "heads_no_delete"),
    "postgresql": ("events_no_change ON events", "events_no_gap ON events", "heads_no_change ON heads"),
}


def _raw(url: str, *statements: str) -> None:
    """Change the catalog behind its back."""
    if "://" in url:
        with psycopg.connect(url, autocommit=True) as pg:
            for statement in statements:
                pg.execute(statement.encode())
        return
    lite = sqlite3.connect(url, isolation_level=None)
    try:
        for statement in statements:
            lite.execute(statement)
    finally:
        lite.close()


def _tamper(url: str, *statements: str) -> None:
    dialect = "postgresql" if "://" in url else "sqlite"
    _raw(url, *(f"DROP TRIGGER {trigger}" for trigger in TRIGGERS[dialect]), *statements)


def _findings(catalog: Catalog, public: str = SIGNER.public_hex) -> list[tuple[FindingKind, int]]:
    with catalog.read() as tx:
        return [(finding.kind, finding.seq) for finding in chain.verify_chain(tx, public)]


@pytest.fixture
def history(catalog: Catalog) -> Catalog:
    """Ten events; the end was signed after the fourth and after the eighth."""
    clock = HandClock()
    for n in range(1, 11):
        with catalog.write() as tx:
            data: dict[str, str | int | bool | None] = {"n": n, "text": "na\u00efve", "flag": True, "nothing": None}
            chain.append_event(tx, clock, actor="anna", kind="test.made", subject=f"s{n}", data=data)
            if n in (4, 8):
                chain.sign_head(tx, SIGNER, clock)
    return catalog


def test_an_untouched_history_holds(history: Catalog) -> None:
    assert _findings(history) == []
    with history.read() as tx:
        events = catalogs.events.list_after(tx, 0, limit=100)
        assert [e.seq for e in events] == list(range(1, 11))
        assert events[0].previous == chain.GENESIS
        assert [e.previous for e in events[1:]] == [e.hash for e in events[:-1]]
        assert catalogs.events.last(tx) == events[-1]
        assert catalogs.events.list_recent(tx, limit=2) == [events[9], events[8]]
        assert catalogs.events.list_recent(tx, subject="s3", limit=9) == [events[2]]
        assert catalogs.events.list_recent(tx, kind="test.made", limit=2, before=2) == [events[0]]
        assert catalogs.events.list_recent(tx, kind="other", limit=2) == []


def test_the_hash_is_the_documented_one() -> None:
    clock = HandClock()
    event = Event(seq=1, at=clock.at, actor="a", kind="k", subject="s", data={"n": 1}, previous=chain.GENESIS)
    record = '{"actor":"a","at":"2026-11-23T14:00:11.482913Z","data":{"n":1},"kind":"k","seq":1,"subject":"s"}'
    expected = hashlib.sha256(b"odb/v1/event\0" + bytes(32) + record.encode()).hexdigest()
    assert chain.event_hash(event) == expected


def test_an_empty_history_holds(catalog: Catalog) -> None:
    assert _findings(catalog) == []
    with catalog.write() as tx:
        assert chain.sign_head(tx, SIGNER, HandClock()) is None


def test_a_head_is_signed_once(history: Catalog) -> None:
    with history.write() as tx:
        head = chain.sign_head(tx, SIGNER, HandClock())
        assert head is not None
        assert head.seq == 10
        assert chain.sign_head(tx, SIGNER, HandClock()) == head
        assert catalogs.events.newest_head(tx) == head
    assert _findings(history) == []


def test_secrets_in_data_are_masked(catalog: Catalog) -> None:
    with catalog.write() as tx:
        data = {"url": "postgresql://u:hunter22@h/x"}
        event = chain.append_event(tx, HandClock(), actor="a", kind="k", subject="s", data=data)
    assert "hunter22" not in str(event)
    with catalog.read() as tx:
        assert catalogs.events.last(tx) == event


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET actor = 'x' WHERE seq = 3",
        "DELETE FROM events WHERE seq = 10",
        "UPDATE heads SET hash = 'x'",
        "DELETE FROM heads",
        "INSERT INTO events SELECT 12, at, actor, kind, subject, data, previous, hash FROM events WHERE seq = 10",
        "INSERT INTO heads SELECT * FROM heads",
    ],
)
def test_the_database_refuses(history: Catalog, catalog_url: str, statement: str) -> None:
    with pytest.raises((sqlite3.IntegrityError, psycopg.errors.RaiseException, psycopg.errors.UniqueViolation)):
        _raw(catalog_url, statement)
    assert _findings(history) == []


@pytest.mark.parametrize("table", ["events", "heads"])
def test_the_database_refuses_to_empty_or_replace(history: Catalog, catalog_url: str, table: str) -> None:
    if "://" in catalog_url:
        with pytest.raises(psycopg.errors.RaiseException):
            _raw(catalog_url, f"TRUNCATE {table}")
    else:
        with pytest.raises(sqlite3.IntegrityError):
            _raw(catalog_url, f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
    assert _findings(history) == []


def test_an_event_out_of_turn_is_refused(history: Catalog) -> None:
    with history.read() as tx:
        last = catalogs.events.last(tx)
    assert last is not None
    with history.write() as tx, pytest.raises(Internal):
        catalogs.events.append(tx, last)


ALTERED, GAP, LINK = FindingKind.ALTERED, FindingKind.GAP, FindingKind.BROKEN_LINK
CUT, SIGNATURE, HEAD = FindingKind.CUT, FindingKind.BAD_SIGNATURE, FindingKind.MISSING_HEAD


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE events SET actor = 'mallory' WHERE seq = 3", [(ALTERED, 3)]),
        ("UPDATE events SET at = '2020-01-01T00:00:00.000000Z' WHERE seq = 3", [(ALTERED, 3)]),
        ("UPDATE events SET data = '{}' WHERE seq = 3", [(ALTERED, 3)]),
        ("UPDATE events SET data = '{\"n\":9007199254740993}' WHERE seq = 3", [(ALTERED, 3)]),
        ("UPDATE events SET previous = 'zz' WHERE seq = 3", [(LINK, 3), (ALTERED, 3)]),
        ("UPDATE events SET hash = 'ff' WHERE seq = 3", [(ALTERED, 3), (LINK, 4)]),
        ("DELETE FROM events WHERE seq = 3", [(GAP, 4)]),
        ("DELETE FROM events WHERE seq IN (2, 3)", [(GAP, 4)]),
        ("DELETE FROM events WHERE seq = 1", [(GAP, 2)]),
        ("DELETE FROM events WHERE seq = 4", [(CUT, 4), (GAP, 5)]),
        ("DELETE FROM events WHERE seq >= 8", [(CUT, 8)]),
        ("DELETE FROM events WHERE seq > 1", [(CUT, 4), (CUT, 8)]),
        ("DELETE FROM events", [(CUT, 4), (CUT, 8)]),
        ("UPDATE heads SET signature = 'x' WHERE seq = 8", [(SIGNATURE, 8)]),
        ("UPDATE heads SET signed_at = '2020-01-01T00:00:00.000000Z' WHERE seq = 8", [(SIGNATURE, 8)]),
        ("UPDATE heads SET hash = 'ff' WHERE seq = 8", [(ALTERED, 8), (SIGNATURE, 8)]),
        ("DELETE FROM heads", [(HEAD, 10)]),
    ],
)
def test_tampering_is_named(
    history: Catalog, catalog_url: str, statement: str, expected: list[tuple[FindingKind, int]]
) -> None:
    _tamper(catalog_url, statement)
    assert _findings(history) == expected


def test_a_history_rewritten_without_the_key_is_seen(history: Catalog, catalog_url: str) -> None:
    """Hashes can be made by anybody: what holds is the signature."""
    with history.read() as tx:
        events = catalogs.events.list_after(tx, 0, limit=100)
    previous, statements = events[1].hash, []
    for event in events[2:]:
        forged = Event(event.seq, event.at, "mallory", event.kind, event.subject, event.data, previous)
        previous = chain.event_hash(forged)
        values = f"actor = 'mallory', previous = '{forged.previous}', hash = '{previous}'"
        statements.append(f"UPDATE events SET {values} WHERE seq = {event.seq}")
    _tamper(catalog_url, *statements)
    assert _findings(history) == [(ALTERED, 4), (ALTERED, 8)]


def test_heads_of_another_key_are_seen(history: Catalog) -> None:
    assert _findings(history, Signer(bytes(32)).public_hex) == [(SIGNATURE, 4), (SIGNATURE, 8)]


def test_a_cut_behind_the_newest_head_is_not_seen(history: Catalog, catalog_url: str) -> None:
    """The known limit, said in the module: only a head that left the host shows it."""
    _tamper(catalog_url, "DELETE FROM events WHERE seq > 8")
    assert _findings(history) == []


def test_findings_read_as_sentences(history: Catalog, catalog_url: str) -> None:
    _tamper(catalog_url, "DELETE FROM events WHERE seq IN (2, 3)")
    with history.read() as tx:
        assert chain.verify_chain(tx, SIGNER.public_hex) == [Finding(GAP, 4, "events 2 to 3 missing")]


def test_a_long_history_is_read_page_by_page(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "_PAGE", 7)
    clock = HandClock()
    with catalog.write() as tx:
        for n in range(50):
            chain.append_event(tx, clock, actor="a", kind="k", subject=str(n))
            chain.sign_head(tx, SIGNER, clock)
    assert _findings(catalog) == []
    with catalog.read() as tx:
        assert len(catalogs.events.heads_after(tx, 0, limit=100)) == 50
