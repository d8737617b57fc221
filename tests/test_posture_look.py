"""Looking at a real installation: what is changed there changes what posture says, and mending it turns it back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, update

from engine import catalog as catalogs
from engine import preflight
from engine.cancel import CancelToken
from engine.catalog import Catalog
from engine.catalog.schema import connections, drills
from engine.clock import SystemClock
from engine.codec import from_plain, to_plain
from engine.evidence import chain
from engine.keys.door import OsKeyring
from engine.model import (
    BackendState,
    BucketKey,
    BucketKeys,
    BucketSpec,
    Destination,
    DestinationKind,
    Role,
    RolePowers,
    SnapshotDetails,
)
from engine.model.posture import Standing, Statement
from engine.paths import make_private_file
from engine.postgres.conninfo import parse
from engine.postgres.probe import read_powers
from engine.postgres.session import connect
from engine.service import buckets
from offsitedb_tui.demo.source import Admin
from offsitedb_tui.verbs import posture as verb
from tests.fixtures import records
from tests.fixtures.history import NOW, History, new_history
from tests.fixtures.installation import Place
from tests.fixtures.people import people
from tests.fixtures.postgres_server import create_database
from tests.fixtures.program import Program
from tests.fixtures.source import as_role

HOLDS, WEAKER, UNKNOWN = Standing.HOLDS, Standing.WEAKER, Standing.UNKNOWN


@pytest.fixture(autouse=True)
def asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keyrings of this machine are asked in child processes: once is enough for a look after another."""
    monkeypatch.setattr(OsKeyring, "probe", lambda _self: _keyrings())


@cache
def _keyrings() -> tuple[BackendState, ...]:
    return _PROBE(OsKeyring())


_PROBE = OsKeyring.probe


def said(history: History, chapter: str, words: str) -> list[Statement]:
    """Statements of a chapter that hold these words, at a new look."""
    found = history.engine.posture.look()
    return [s for c in found.chapters if c.key == chapter for s in c.statements if words in s.text]


def standing(history: History, chapter: str, words: str) -> Standing:
    (one,) = said(history, chapter, words)
    return one.standing


def fact(statement: Statement, name: str) -> str:
    return next(f.value for f in statement.facts if f.name == name)


def test_the_way_to_a_database(history: History) -> None:
    history.connection("prod")
    history.connection("old", url="postgresql://u:Sekret99@db.example.org/shop?sslmode=require")
    assert standing(history, "transport", "The way to prod is encrypted, and its certificate") is HOLDS
    (weak,) = said(history, "transport", "The way to old")
    assert weak.standing is WEAKER
    assert fact(weak, "address") == "u@db.example.org:5432/shop"
    assert "Sekret99" not in repr(history.engine.posture.look())
    history.held.delete(history.keys.catalog_id, 1)
    assert standing(history, "transport", "How prod is reached") is UNKNOWN
    assert standing(history, "at-rest", "cannot be had now") is WEAKER


def test_what_is_captured_and_how_old_its_proof_is(history: History) -> None:
    prod = history.connection("prod", proof_target_s=3600)
    assert standing(history, "captured", "Nothing of prod") is WEAKER
    assert standing(history, "asked", "is not known: no snapshot") is UNKNOWN
    snapshot = history.snapshot(prod, NOW - timedelta(minutes=20))
    assert standing(history, "captured", "No snapshot of prod was ever proven") is WEAKER
    assert standing(history, "drills", "never drilled") is UNKNOWN
    history.drill(prod, snapshot)
    assert standing(history, "captured", "20 minutes ago, within its target") is HOLDS
    (drilled,) = said(history, "drills", "The last drill of prod")
    assert (drilled.standing, fact(drilled, "sandbox")) == (HOLDS, "bubblewrap")
    history.clock.at = NOW + timedelta(hours=3)
    assert standing(history, "captured", "older than it may be") is WEAKER


def test_a_receipt_that_was_altered_says_nothing(history: History) -> None:
    prod = history.connection("prod")
    _, drill = history.drilled(prod, NOW - timedelta(minutes=20))
    with history.engine.catalog.write() as tx:
        tx.change(
            update(drills).where(drills.c.id == drill.id).values(receipt=drill.receipt.replace("bubble", "rubble"))
        )
    assert standing(history, "drills", "at the last drill of prod is not known") is UNKNOWN


def test_modes_of_files_are_really_looked_at(history: History) -> None:
    assert standing(history, "host", "of the installation is its owner's alone") is HOLDS
    loose = history.home / "notes.txt"
    loose.write_text("x")
    loose.chmod(0o644)
    (weak,) = said(history, "host", "could be read by others")
    assert (weak.standing, fact(weak, "notes.txt")) == (WEAKER, "0644")
    assert f"chmod go-rwx {loose}" in weak.mend
    loose.chmod(0o600)
    assert not said(history, "host", "could be read by others")
    history.home.chmod(0o750)
    assert standing(history, "host", "mode 0750") is WEAKER
    history.home.chmod(0o700)
    assert standing(history, "host", "Nobody but its owner may enter") is HOLDS


def test_what_a_killed_drill_left(history: History) -> None:
    assert standing(history, "drills", "No restored database lies on disk") is HOLDS
    left = history.engine.paths.scratch / "left"
    left.mkdir()
    assert standing(history, "drills", "may have left a restored database") is WEAKER
    left.rmdir()
    assert standing(history, "drills", "No restored database lies on disk") is HOLDS


def test_people_and_keys(history: History) -> None:
    engine = history.engine
    key = engine.apikeys.create("ci").key
    assert standing(history, "access", "Nobody logs in") is WEAKER
    assert standing(history, "access", "The API key ci, made just now") is HOLDS
    history.clock.at = NOW + timedelta(days=91)
    assert standing(history, "access", "The API key ci was not used") is WEAKER
    engine.apikeys.revoke(key.id)
    assert not said(history, "access", "The API key ci")
    people(engine, alice=Role.ADMIN)
    assert not said(history, "access", "Nobody logs in")
    assert standing(history, "access", "1 person logs in") is HOLDS
    assert standing(history, "access", "Roles are guard-rails") is WEAKER
    (logins,) = said(history, "access", "A login lasts")
    assert fact(logins, "passwords are kept as") == "scrypt ln=4,r=8,p=1"


def test_the_recovery_code_and_rotation_by_events(history: History) -> None:
    assert standing(history, "at-rest", "The recovery code was confirmed") is HOLDS
    (made,) = said(history, "at-rest", "was never rotated")
    assert fact(made, "last rotation") == "never"
    with history.engine.catalog.write() as tx:
        chain.append_event(tx, history.clock, actor="os:x", kind="key.rotated", subject="0" * 16)
    history.clock.at = NOW + timedelta(days=200)
    assert standing(history, "at-rest", "was rotated 200 days ago") is HOLDS
    assert standing(history, "at-rest", "Whether it can still be found") is WEAKER
    history.engine.keys.confirm_recovery()
    assert standing(history, "at-rest", "The recovery code was confirmed just now") is HOLDS


def test_a_cell_that_somebody_wrote_in_clear(history: History) -> None:
    prod = history.connection("prod")
    with history.engine.catalog.write() as tx:
        tx.change(update(connections).where(connections.c.id == prod.id).values(conninfo_sealed="postgresql://u@h/d"))
    (weak,) = said(history, "at-rest", "somebody altered the catalog")
    assert (weak.standing, fact(weak, "not sealed")) == (WEAKER, "connection prod")


@pytest.mark.parametrize(
    ("spec", "standing_", "words"),
    [
        (BucketSpec("b-1", "s3", "https://s3.example.org", "eu-1"), HOLDS, "by https, and its certificate"),
        (
            BucketSpec("b-1", "ceph", "http://127.0.0.1:7480", "x", allow_http=True),
            WEAKER,
            "an address of this machine",
        ),
        (BucketSpec("b-1", "ceph", "http://s3.lan:7480", "x", allow_http=True), WEAKER, "can be read and altered"),
    ],
)
def test_the_way_to_a_bucket(history: History, spec: BucketSpec, standing_: Standing, words: str) -> None:
    record = Destination(history.new_id(), "away", DestinationKind.S3, None, history.clock.at, None, spec)
    keys = BucketKeys(BucketKey("AKIDEXAMPLE", "secret-of-the-worker"))
    sealed = buckets.seal_keys(history.engine, history.keys, record.id, keys)
    with history.engine.catalog.write() as tx:
        catalogs.destinations.add(tx, replace(record, keys=sealed))
    assert standing(history, "transport", words) is standing_
    assert standing(history, "artifacts", "Whether away locks what is written is not known") is UNKNOWN


def test_a_folder_on_the_same_file_system_is_not_off_site(history: History) -> None:
    assert standing(history, "artifacts", "what destroys the machine") is WEAKER
    (history.home / "destination").rename(history.home / "elsewhere")
    assert standing(history, "artifacts", "Whether the folder of here is off-site is not known") is UNKNOWN


def test_a_report_about_one_connection_names_no_other(history: History) -> None:
    for name in ("prod", "billing"):
        history.drilled(history.connection(name), NOW - timedelta(hours=1))
    history.engine.destinations.add_folder("elsewhere", history.home / "elsewhere")
    history.engine.apikeys.create("both", connections=("prod", "billing"))
    history.engine.apikeys.create("other", connections=("billing",))
    told = repr(history.engine.posture.report(["prod"]))
    assert all(name in told for name in ("prod", "The API key both"))
    assert not any(name in told for name in ("billing", "elsewhere", "The API key other"))
    assert "billing" in repr(history.engine.posture.report())


def test_looking_changes_nothing(history: History) -> None:
    history.drilled(history.connection("prod"), NOW - timedelta(hours=1))
    before = history.engine.watch.revision()
    history.engine.posture.look()
    assert history.engine.watch.revision() == before


@pytest.fixture
def roles(server: Admin) -> Iterator[str]:
    """Two roles: one that only reads, one that could do more."""
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute("CREATE SCHEMA posture CREATE TABLE t (id int) CREATE TABLE u (id int)")
        conn.execute("CREATE ROLE posture_reads LOGIN PASSWORD 'Re4dsOnly' BYPASSRLS")
        conn.execute("ALTER ROLE posture_reads SET default_transaction_read_only = on")
        conn.execute("GRANT pg_read_all_data TO posture_reads")
        conn.execute("CREATE ROLE posture_writes LOGIN PASSWORD 'Wr1tes' CREATEDB")
        conn.execute("GRANT pg_write_server_files TO posture_writes")
        conn.execute("GRANT USAGE, CREATE ON SCHEMA posture TO posture_writes")
        conn.execute("GRANT UPDATE ON posture.t TO posture_writes")
        conn.execute("ALTER TABLE posture.u OWNER TO posture_writes")
        try:
            yield server.url()
        finally:
            conn.execute("DROP SCHEMA posture CASCADE")
            conn.execute("DROP OWNED BY posture_reads, posture_writes")
            conn.execute("DROP ROLE posture_reads, posture_writes")


def _powers(url: str) -> RolePowers:
    conninfo = parse(url)
    with connect(conninfo, application_name="offsitedb/powers", cancel=CancelToken()) as conn:
        found = read_powers(conn, conninfo)
    assert found is not None
    return found


def test_the_server_says_what_a_role_could_do(roles: str) -> None:
    reads = _powers(as_role(roles, "posture_reads", "Re4dsOnly"))
    assert reads == RolePowers(True, False, False, False, 0, 0, (), (), True)
    assert not reads.beyond_reading
    writes = _powers(as_role(roles, "posture_writes", "Wr1tes"))
    assert writes == RolePowers(False, False, True, False, 2, 1, ("posture",), ("pg_write_server_files",), False)
    assert writes.beyond_reading
    assert _powers(roles).createrole


def test_the_queue_is_its_owners_alone(history: History) -> None:
    queue = history.engine.paths.queue
    queue.touch(0o644)
    queue.chmod(0o644)
    beside = queue.with_name(f"{queue.name}-wal")
    beside.touch()
    beside.chmod(0o644)
    make_private_file(queue)
    assert {oct(p.stat().st_mode & 0o777) for p in (queue, beside)} == {"0o600"}


def test_a_look_before_a_snapshot_takes_the_powers_along(roles: str) -> None:
    found = preflight.run(
        parse(as_role(roles, "posture_writes", "Wr1tes")),
        toolsets=(),
        accept_empty=True,
        cancel=CancelToken(),
        clock=SystemClock(),
        job="powers",
    )
    assert found.facts.powers is not None
    details = replace(records.details(), powers=found.facts.powers)
    assert from_plain(SnapshotDetails, to_plain(details)) == details
    assert details.powers is not None
    assert details.powers.member_of == ("pg_write_server_files",)


def test_the_verb(history: History, monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    monkeypatch.setattr(verb, "open_engine", history.open)
    history.drilled(history.connection("prod"), NOW - timedelta(hours=1))
    program = Program(place, {})
    document = program.call("posture", "--json").document()
    assert document["weaker"] == sum(
        s["standing"] == "weaker than recommended" for c in document["chapters"] for s in c["statements"]
    )
    whole, brief = program.call("posture"), program.call("posture", "--brief")
    assert (whole.status, brief.status) == (0, 0)
    assert f"{document['weaker']} things are weaker than recommended" in brief.out
    assert "WHAT THIS IS NOT" in brief.out
    assert "sslmode: verify-full" in whole.out
    assert "sslmode: verify-full" not in brief.out


@pytest.mark.parametrize(
    ("url", "host", "sslmode"),
    [
        ("postgresql+psycopg://u@db.example.org/odb?sslmode=verify-full", "db.example.org", "verify-full"),
        ("postgresql+psycopg://u@/odb?host=db.example.org", "db.example.org", "prefer"),
        ("postgresql+psycopg://u@/odb?host=/run/postgresql", "/run/postgresql", "prefer"),
        ("postgresql+psycopg://u@/odb", None, "prefer"),
        ("sqlite:////srv/catalog.sqlite3", None, None),
    ],
)
def test_the_way_to_the_catalog(url: str, host: str | None, sslmode: str | None) -> None:
    catalog = Catalog(make_url(url))
    assert (catalog.host, catalog.sslmode) == (host, sslmode)
    catalog.close()


@pytest.mark.slow
def test_a_catalog_in_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("OFFSITEDB_DATABASE_URL", create_database(request.getfixturevalue("postgres_server")))
    monkeypatch.setenv("OFFSITEDB_RUNTIME", str(tmp_path / "runtime"))
    with new_history(tmp_path / "home") as made:
        made.drilled(made.connection("prod"), NOW - timedelta(hours=1))
        assert standing(made, "transport", "The catalog is a PostgreSQL database") is HOLDS
        assert standing(made, "drills", "The last drill of prod") is HOLDS
