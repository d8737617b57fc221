"""``alerts`` on the command line: every verb, as people and as scripts read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from engine import catalog as catalogs
from engine.model import JobError, JobState
from tests.fixtures import records
from tests.fixtures.installation import installation
from tests.fixtures.program import Program, program_of
from tests.fixtures.receiver import Receiver, answer
from tests.fixtures.shapes import check

CHANNEL = {"name": str, "kind": str, "shown": str, "waiting": int, "allow_private": bool}
INCIDENT = {"id": str, "kind": str, "name": str, "summary": str, "hint": str, "opened_at": str}


@pytest.fixture
def program() -> Iterator[Program]:
    with pytest.MonkeyPatch.context() as patch, installation(patch) as place:
        yield program_of(place)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def broken(program: Program) -> None:
    """A connection whose newest checkpoint failed."""
    error = JobError("pg.unreachable", "the server \x1b[31mis away", "Wait.", 20)
    with program.place.engine() as engine, engine.catalog.write() as tx:
        here = catalogs.destinations.by_name(tx, "here").id
        catalogs.connections.add(tx, records.connection("c1", "shop", here))
        job = records.job("ab" * 16, at=datetime.now(UTC))
        catalogs.jobs.create(tx, replace(job, state=JobState.FAILED, finished_at=job.created_at, error=error))


def test_a_channel_from_add_to_remove(program: Program, receiver: Receiver) -> None:
    assert program.call("alerts", "list", "--json").document() == []
    url = receiver.url + "\n"
    private = ("--allow-private", "--url-stdin", "--json")
    refused = program.call("alerts", "add", "ops", "--url-stdin", "--json", stdin=url).error(2)
    assert refused["code"] == "config.alert-url"
    assert "--allow-private" in refused["hint"]
    made = program.call("alerts", "add", "ops", *private, stdin=url)
    document = made.document()
    check(document["channel"], CHANNEL)
    assert document["secret"].startswith("whsec_")
    assert "s3cr3t" not in made.out + made.err
    assert program.call("alerts", "add", "ops", *private, stdin=url).error(2)["code"] == "config.name-taken"
    assert program.call("alerts", "add", "other", "--json").error(2)["code"] == "config.usage"
    own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    more = program.call("alerts", "add", "own", "--secret-stdin", "--only", "drift", *private, stdin=f"{url}{own}\n")
    assert (more.document()["secret"], more.document()["channel"]["only"]) == (own, ["drift"])
    beat = program.call("alerts", "add", "beat", "--kind", "heartbeat", "--every", "2m", *private, stdin=url)
    assert beat.document()["channel"]["every_s"] == 120
    odd = program.call("alerts", "add", "odd", "--kind", "heartbeat", "--every", "soon", *private, stdin=url)
    assert odd.error(2)["code"] == "config.usage"

    assert program.call("alerts", "test", "ops", "--json").document()["delivered_at"] is not None
    receiver.instead.append(answer(410))
    assert program.call("alerts", "test", "ops", "--json").error(90)["code"] == "alert.status"
    assert [d["occasion"] for d in program.call("alerts", "deliveries", "--json").document()].count("test") == 2
    listed = program.call("alerts", "list").out
    assert "answered 410" in listed
    assert "s3cr3t" not in listed
    assert program.call("alerts", "remove", "own", "--json").document() == {"removed": "own"}
    assert program.call("alerts", "remove", "own", "--json").error(2)["code"] == "config.not-found"


def test_an_incident_from_check_to_acknowledge(program: Program, receiver: Receiver) -> None:
    assert program.call("alerts", "check").out == ""
    assert "Nothing is wrong." in program.call("alerts", "incidents").out
    program.call("alerts", "add", "ops", "--allow-private", "--url-stdin", stdin=receiver.url)
    broken(program)
    alarm = program.call("alerts", "check", "--json").document()
    assert (len(alarm["opened"]), alarm["delivered"]) == (1, 1)
    [incident] = program.call("alerts", "incidents", "--json").document()
    check(incident, INCIDENT)
    said = program.call("alerts", "check").out
    assert "shop: checkpoint: no snapshot: the server" in said
    assert "\x1b" not in said
    assert len(receiver.received) == 1
    seen = program.call("alerts", "acknowledge", incident["id"][:6], "--note", "on it", "--json").document()
    assert seen["acknowledged_note"] == "on it"
    assert "seen by os:" in program.call("alerts", "incidents").out
    assert program.call("alerts", "acknowledge", "ffff", "--json").error(2)["code"] == "config.not-found"
    assert "opened" in program.call("alerts", "deliveries").out


def test_the_limit_of_drift(program: Program) -> None:
    broken(program)
    for text, fraction in (("30%", 0.3), ("0.5%", 0.005), ("off", 1.0)):
        said = program.call("alerts", "drift", "shop", "--limit", text, "--json").document()
        assert said == {"connection": "shop", "limit": pytest.approx(fraction)}
    for text in ("0%", "100%", "30", "x", "-5%"):
        assert program.call("alerts", "drift", "shop", f"--limit={text}", "--json").error(2)["code"] == "config.usage"
    unknown = program.call("alerts", "drift", "nobody", "--limit", "30%", "--json")
    assert unknown.error(2)["code"] == "config.not-found"
