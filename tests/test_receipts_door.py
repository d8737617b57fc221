"""Drills and receipts at the door: a history from columns, and a receipt that is handed out only if it holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from engine import catalog as catalogs
from engine import paths as places
from engine.catalog import Catalog, schema
from engine.config import Settings
from engine.errors import ConfigError, FormatError
from engine.evidence.receipts import Receipt, write_receipt
from engine.evidence.signer import Signer
from engine.model import Counts, DrillRecord, Failure, Isolation, Skip, TableResult, Timings, Verdict
from engine.service import Engine
from tests.fixtures.records import NOW, HandClock, installation, job, snapshot, tls, versions

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.catalogs")

SIGNER, OTHER = Signer(bytes(range(32))), Signer(bytes(32))
A, B = "a" * 32, "b" * 32
FAILURE = Failure("drill.mismatch", "public.orders: 1 of 2 rows", "Look.")


def signed(
    drill_id: str, snapshot_id: str, previous: str | None, verdict: Verdict, signer: Signer = SIGNER
) -> DrillRecord:
    """A drill with its receipt, as a drill writes it."""
    failed = verdict is Verdict.FAILED
    receipt = Receipt(
        drill_id=drill_id,
        snapshot_id=snapshot_id,
        connection_id="c1",
        connection_name="name-c1",
        provider="Neon",
        destination_name="name-d1",
        object_key="v1/c1/1.odb",
        artifact_sha256="ab" * 32,
        size_bytes=2**40,
        taken_at=NOW,
        drilled_at=NOW,
        verdict=verdict,
        counts=Counts.EXACT,
        versions=versions(),
        tls=tls(),
        role="reader",
        superuser=False,
        timings=Timings(total_s=8.125),
        scratch_settings={},
        isolation=Isolation("offsitedb-drill", "none", "bubblewrap"),
        tables=(TableResult("public", "orders", 2, 1 if failed else 2),),
        tables_captured=2,
        tables_total=3,
        normalised=(),
        skips=(Skip("event trigger", "audit", "needs a superuser"),),
        failures=(FAILURE,) if failed else (),
        not_captured=(),
        toc_entries=9,
        previous_receipt_sha256=previous,
    )
    text, sha256 = write_receipt(receipt, signer)
    summary = FAILURE.message if failed else ""
    return DrillRecord(drill_id, snapshot_id, "j1", verdict, NOW, NOW, 8.125, text, sha256, skips=1, summary=summary)


@pytest.fixture
def engine(filled: Catalog, tmp_path: Path) -> Engine:
    """Two snapshots of c1, three drills in a chain: a failed one of A, a proof of B, a proof of A."""
    with filled.write() as tx:
        catalogs.installation.put(tx, replace(installation(), signer_public=SIGNER.public_hex))
        catalogs.jobs.create(tx, job("j1"))
        for seq, id_ in enumerate((A, B), 1):
            catalogs.snapshots.add(tx, replace(snapshot(id_, seq=seq), tag=f"tag-{seq}"))
        previous = None
        plan = (("1" * 32, A, Verdict.FAILED), ("2" * 32, B, Verdict.PROVEN), ("3" * 32, A, Verdict.PROVEN_WITH_SKIPS))
        for id_, of, verdict in plan:
            record = signed(id_, of, previous, verdict)
            catalogs.drills.add(tx, record)
            previous = record.receipt_sha256
    return Engine(places.locate(tmp_path), Settings(), filled, clock=HandClock(), wake=print, held_keys=None)


def test_the_history_is_newest_first(engine: Engine) -> None:
    found = engine.drills.recent()
    assert [(d.id[0], d.snapshot_id, d.verdict) for d in found] == [
        ("3", A, Verdict.PROVEN_WITH_SKIPS),
        ("2", B, Verdict.PROVEN),
        ("1", A, Verdict.FAILED),
    ]
    last = found[2]
    assert (last.connection, last.tag, last.summary, last.skips) == ("name-c1", "tag-1", FAILURE.message, 1)
    assert (last.taken_at, last.drilled_at, last.restore_s) == (snapshot(A).taken_at, NOW, 8.125)
    assert engine.drills.recent(limit=1) == found[:1]
    assert engine.drills.recent("name-c1") == found
    assert engine.drills.recent("name-c2") == ()
    with pytest.raises(ConfigError):
        engine.drills.recent("name-c9")


def test_a_receipt_is_found_by_drill_and_by_snapshot(engine: Engine) -> None:
    for text, drill_id in (("1", "1"), ("2" * 32, "2"), (A, "3"), ("b", "2"), ("name-c1@latest", "2")):
        found = engine.drills.receipt(text)
        assert (found.drill_id, found.chained) == (drill_id * 32, True)
        with engine.catalog.read() as tx:
            record = catalogs.drills.get(tx, drill_id * 32)
        assert (found.text, found.sha256) == (record.receipt, record.receipt_sha256)
        assert found.attempt.drill is not None
        assert found.attempt.drill.id == record.id
        assert found.attempt.snapshot is not None
        assert found.attempt.snapshot.id == record.snapshot_id


def test_what_has_no_receipt(engine: Engine) -> None:
    with engine.catalog.write() as tx:
        catalogs.snapshots.add(tx, snapshot("3a" * 16, seq=3))
    for text, code in (
        ("", "not-found"),
        ("9", "not-found"),
        ("3a", "not-found"),
        ("3", "ambiguous"),
        ("%", "not-found"),
    ):
        with pytest.raises(ConfigError) as caught:
            engine.drills.receipt(text)
        assert caught.value.code == f"config.{code}", text


def _change(engine: Engine, drill_id: str, **values: object) -> None:
    with engine.catalog.write() as tx:
        tx.change(update(schema.drills).where(schema.drills.c.id == drill_id * 32).values(**values))


def test_a_tampered_receipt_is_refused(engine: Engine) -> None:
    text = engine.drills.receipt("1").text
    for altered in (
        text.replace('"FAILED"', '"PROVEN"'),
        text.replace('"restored":1', '"restored":2'),
        text.replace('"role":"reader"', '"role":"writer"'),
        text + " ",
        "{}",
        "",
    ):
        assert altered != text
        _change(engine, "1", receipt=altered)
        with pytest.raises(FormatError) as caught:
            engine.drills.receipt("1")
        assert caught.value.code == "format.receipt"
    _change(engine, "1", receipt=text)
    assert engine.drills.receipt("1").text == text


def test_a_foreign_signature_and_an_exchanged_receipt_are_refused(engine: Engine) -> None:
    foreign = signed("1" * 32, A, None, Verdict.PROVEN, OTHER)
    _change(engine, "1", receipt=foreign.receipt, receipt_sha256=foreign.receipt_sha256)
    with pytest.raises(FormatError, match="signature"):
        engine.drills.receipt("1")
    better = engine.drills.receipt("3")  # signed by us, and of the same snapshot
    _change(engine, "1", receipt=better.text, receipt_sha256=better.sha256)
    with pytest.raises(FormatError, match="another drill"):
        engine.drills.receipt("1")
    again = signed("1" * 32, A, None, Verdict.PROVEN)
    _change(engine, "1", receipt=again.receipt)
    with pytest.raises(FormatError, match="another drill"):
        engine.drills.receipt("1")


def test_a_broken_chain_is_seen(engine: Engine) -> None:
    written_anew = signed("2" * 32, B, engine.drills.receipt("1").sha256, Verdict.FAILED)
    _change(engine, "2", receipt=written_anew.receipt, receipt_sha256=written_anew.receipt_sha256)
    assert engine.drills.receipt("2").chained
    assert not engine.drills.receipt("3").chained
    assert engine.drills.receipt("1").chained
