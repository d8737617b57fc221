"""Last month's report, built by a worker: on time, once among several, made up for, and told where it cannot be."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from engine import catalog as catalogs
from engine.catalog.schema import drills
from engine.errors import CatalogError, FormatError
from engine.evidence.signer import Signer
from engine.model import IncidentKind
from engine.service import Engine
from engine.service import reports as door
from engine.service.access import WORKER, acting_as
from engine.service.posture import PostureFacet
from engine.service.report_renderers import RENDERERS
from tests.fixtures.reported import Month, new_month, utc


@pytest.fixture(autouse=True)
def no_posture(monkeypatch: pytest.MonkeyPatch) -> None:
    """How the host stands takes a second to look at, and is not what is asked here."""
    monkeypatch.setattr(PostureFacet, "report", lambda self, connections=None: ())


@pytest.fixture
def month(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Month]:
    """An installation with a connection; what is drawn for people is drawn elsewhere (tests of bundles draw it all)."""
    monkeypatch.setattr(door, "RENDERERS", {"report.txt": RENDERERS["report.txt"]})
    with new_month(tmp_path / "home") as made:
        c = made.connection("shop", utc(1, month=10))
        made.drilled(c, utc(30, month=10))
        made.drilled(c, utc(2))
        yield made


def another(month: Month) -> Engine:
    """A second worker on the same home."""
    engine = month.history.open()
    engine.settings = month.engine.settings
    return engine


def built(month: Month) -> list[tuple[str, int, str]]:
    return [(line.month, line.revision, line.built_by) for line in month.engine.reports.list()]


def test_a_report_that_somebody_else_has_signed_is_not_ours(month: Month, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole in itself, as any bundle of a stranger may be."""
    engine = month.engine
    line = engine.reports.build("2026-11")
    assert engine.reports.check(line).ok
    other = replace(engine.keys.installation(), signer_public=Signer(b"s" * 32).public_hex)
    monkeypatch.setattr(engine.keys, "installation", lambda: other)
    assert engine.reports.verify(month.folder(line)).ok
    found = engine.reports.check(line)
    assert not found.ok
    assert ["not by SHA256:" in one.detail for one in found.checks if not one.ok] == [True]


def test_it_is_built_after_the_months_end_once_and_told(month: Month) -> None:
    month.at(utc(1, 0, 9, month=12))
    month.engine.reports.look()
    assert built(month) == [("2026-10", 1, "worker")], "the month before: nobody had built it"
    month.at(utc(1, 0, 10, month=12))
    for engine in (month.engine, another(month), month.engine):
        engine.reports.look()
    assert built(month) == [("2026-11", 1, "worker"), ("2026-10", 1, "worker")]
    with month.engine.catalog.read() as tx:
        events = catalogs.events.list_recent(tx, kind="report.built", limit=10)
        head = catalogs.events.newest_head(tx)
    assert [(e.data["month"], e.data["connections"], e.actor) for e in events] == [
        ("2026-11", "all", "worker"),
        ("2026-10", "all", "worker"),
    ]
    assert head is not None
    assert head.seq == events[0].seq, "the end of the history is signed"
    line = month.engine.reports.newest("2026-11")
    assert line.sha256 == events[0].data["sums_sha256"]
    assert month.engine.reports.verify(month.folder(line)).ok


def test_months_in_which_no_worker_ran_are_made_up_for(month: Month) -> None:
    month.at(utc(3))
    month.engine.reports.look()
    month.at(datetime(2027, 2, 3, tzinfo=UTC))
    month.engine.reports.look()
    assert [m for m, _, _ in built(month)] == ["2027-01", "2026-12", "2026-11", "2026-10"]
    month.engine.reports.look()
    assert len(built(month)) == 4


def test_of_many_workers_one_builds_it(month: Month) -> None:
    month.at(utc(1, 1, month=12))
    engines = [month.engine, *(another(month) for _ in range(3))]
    together, failed = threading.Barrier(len(engines)), list[BaseException]()

    def look(engine: Engine) -> None:
        try:
            together.wait()
            engine.reports.look()
        except BaseException as e:  # noqa: BLE001 - told in the test's thread
            failed.append(e)

    threads = [threading.Thread(target=look, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [m for m, _, _ in built(month)] == ["2026-11"]
    assert [p.name for p in month.engine.paths.reports.iterdir()] == ["2026-11"]


def test_a_worker_that_took_too_long_settles_nothing(month: Month) -> None:
    month.at(utc(1, 1, month=12))
    fence = month.engine.reports._take("2026-11")
    assert fence == 1
    other = another(month)
    other.reports.look()
    assert built(month) == [], "somebody has it"
    month.at(utc(1, 4, month=12))
    other.reports.look()
    assert len(built(month)) == 1
    with acting_as(WORKER), pytest.raises(CatalogError) as refused:
        month.engine.reports._build("2026-11", (), fence)
    assert refused.value.code == "catalog.fenced"
    assert len(built(month)) == 1
    assert [p.name for p in month.engine.paths.reports.iterdir()] == ["2026-11"]


def test_what_was_built_by_hand_after_the_month_is_not_built_again(month: Month) -> None:
    month.build(at=utc(1, 0, 1, month=12))
    month.at(utc(1, 1, month=12))
    month.engine.reports.look()
    assert [(m, n) for m, n, _ in built(month)] == [("2026-11", 1)]


def test_one_before_the_months_end_or_about_a_part_is_not_the_months_report(month: Month) -> None:
    month.build("2026-11", "shop", at=utc(20))
    month.build("2026-11", at=utc(21))
    month.at(utc(1, 1, month=12))
    month.engine.reports.look()
    assert [(m, n, by == "worker") for m, n, by in built(month)] == [
        ("2026-11", 2, True),
        ("2026-11", 1, False),
        ("2026-11", 1, False),
    ]


def test_one_that_cannot_be_built_is_an_incident_until_it_is(month: Month) -> None:
    engine = month.engine
    with engine.catalog.read() as tx:
        newest = catalogs.drills.list_recent(tx, limit=1)[0]

    def put(receipt: str) -> None:
        with engine.catalog.write() as tx:
            tx.change(update(drills).where(drills.c.id == newest.id).values(receipt=receipt))

    put(newest.receipt.replace("PROVEN", "FAILED", 1))
    month.at(utc(1, 1, month=12))
    with pytest.raises(FormatError):
        engine.reports.look()
    assert list(engine.paths.reports.iterdir()) == []
    engine.alerts.check()
    (incident,) = [i for i in engine.alerts.incidents() if i.kind is IncidentKind.REPORT]
    assert incident.summary.startswith("the report of 2026-11 could not be built: the receipt is not what was written")
    engine.reports.look()  # not yet again
    put(newest.receipt)
    month.at(utc(1, 1, 15, month=12))
    engine.reports.look()
    assert [(m, n) for m, n, _ in built(month)] == [("2026-11", 1)]
    engine.alerts.check()
    assert [i for i in engine.alerts.incidents() if i.kind is IncidentKind.REPORT] == []


def test_what_a_killed_build_left_goes_with_a_later_one(month: Month) -> None:
    reports = month.engine.paths.reports
    reports.mkdir()
    for name, age in (("old", 2 * 86400), ("young", 60)):
        left = reports / f".{name}.building"
        left.mkdir()
        (left / "report.json").write_text("{}")
        os.utime(left, (time.time() - age,) * 2)
    month.build()
    assert sorted(p.name for p in reports.iterdir()) == [".young.building", "2026-11"]


def test_where_nothing_is_protected_nothing_is_built(tmp_path: Path) -> None:
    with new_month(tmp_path / "home") as month:
        month.at(utc(1, 1, month=12))
        month.engine.reports.look()
        assert built(month) == []


def test_the_zone_says_when_a_month_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "RENDERERS", {})
    with new_month(tmp_path / "home", zone="America/Los_Angeles") as month:
        month.connection("shop", utc(1, month=10))
        month.at(utc(1, 1, month=11))
        month.engine.reports.look()
        month.at(utc(1, 8, 9, month=12))
        month.engine.reports.look()
        assert [m for m, _, _ in built(month)] == ["2026-10"]
        month.at(month.clock.at + timedelta(minutes=1))
        month.engine.reports.look()
        assert [m for m, _, _ in built(month)] == ["2026-11", "2026-10"]
