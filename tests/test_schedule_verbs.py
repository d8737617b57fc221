"""``schedule`` on the command line: what it says, what scripts read, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from engine import catalog as catalogs
from engine.model import Slot, SlotOutcome
from tests.fixtures.installation import installation
from tests.fixtures.program import Program, program_of
from tests.fixtures.records import connection
from tests.fixtures.shapes import TEXT_OR_NULL, check

SLOT = {"slot_at": str, "outcome": {"started", "missed", "overlapped"}, "job_id": TEXT_OR_NULL, "decided_at": str}
VIEW = {
    "connection": str,
    "cron": TEXT_OR_NULL,
    "words": str,
    "time_zone": TEXT_OR_NULL,
    "enabled": bool,
    "next_at": TEXT_OR_NULL,
    "drills": str,
    "proof_target_s": (int, float, type(None)),
    "slots": [SLOT],
}
NEXT = [{"connection": str, "time_zone": str, "at": [str], "local": [str]}]


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    """An installation with the connections ``prod`` and ``shop``."""
    with pytest.MonkeyPatch.context() as patch, installation(patch) as place:
        with place.engine() as engine, engine.catalog.write() as tx:
            here = catalogs.destinations.by_name(tx, "here").id
            for name in ("prod", "shop"):
                catalogs.connections.add(tx, replace(connection(f"id-{name}", name), destination_id=here))
        yield program_of(place)


def test_from_set_to_removed(program: Program) -> None:
    said = program.call("schedule", "set", "prod", "--preset", "daily 3:00", "--zone", "europe/berlin", "--json")
    view = said.document()
    check(view, VIEW)
    assert (view["words"], view["time_zone"], view["cron"]) == ("daily at 03:00", "Europe/Berlin", "0 3 * * *")
    assert (view["enabled"], view["drills"], view["proof_target_s"]) == (True, "every", 36 * 3600)
    found = program.call("schedule", "next", "prod", "--count", "2", "--json").document()
    check(found, NEXT)
    assert len(found[0]["at"]) == 2
    assert found[0]["at"][0] == view["next_at"]
    text = program.call("schedule", "next", "--count", "1").out
    assert " 03:00 CE" in text
    paused = program.call("schedule", "set", "prod", "--off", "--drills", "every 5", "--json").document()
    assert (paused["enabled"], paused["next_at"], paused["drills"]) == (False, None, "every 5")
    assert program.call("schedule", "next", "--json").document() == []
    assert "(paused)" in program.call("schedule", "show", "prod").out
    shown = program.call("schedule", "show").out.splitlines()
    assert shown[1].split("  ")[0] == "prod"
    assert "paused" in shown[1]
    assert "on demand" in shown[2]
    listed = program.call("schedule", "show", "--json").document()
    check(listed, [VIEW])
    assert [v["connection"] for v in listed] == ["prod", "shop"]
    on = program.call("schedule", "set", "prod", "--on", "--cron", "*/30 8-18 * * 1-5", "--json").document()
    assert (on["enabled"], on["words"]) == (True, "cron */30 8-18 * * 1-5")
    program.call("schedule", "remove", "prod", "--json").document()
    assert program.call("schedule", "remove", "prod", "--json").error(2)["code"] == "config.not-found"


def test_what_became_of_the_slots(program: Program) -> None:
    at = datetime(2026, 11, 23, 3, tzinfo=UTC)
    with program.place.engine() as engine, engine.catalog.write() as tx:
        job = "ab" * 16
        slots = [
            Slot("id-shop", at, SlotOutcome.MISSED, None, at),
            Slot("id-shop", at + timedelta(hours=1), SlotOutcome.STARTED, job, at + timedelta(hours=3, seconds=7)),
            Slot("id-shop", at + timedelta(hours=4), SlotOutcome.OVERLAPPED, None, at + timedelta(hours=4)),
        ]
        catalogs.schedules.add_slots(tx, slots)
    view = program.call("schedule", "show", "shop", "--json").document()
    check(view, VIEW)
    assert [slot["outcome"] for slot in view["slots"]] == ["overlapped", "started", "missed"]
    text = program.call("schedule", "show", "shop").out
    assert "overlapped" in text
    assert "started as job abababababab, 2 h late" in text


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["set", "prod"], "config.invalid", "--help"),
        (["set", "prod", "--preset", "now and then"], "config.cron", "`daily at 03:00`"),
        (["set", "prod", "--cron", "daily"], "config.cron", "--preset"),
        (["set", "prod", "--cron", "0 0 30 2 *"], "config.cron", "0 3 L * *"),
        (["set", "prod", "--cron", "* * * * *", "--preset", "daily"], "config.usage", "one of them"),
        (["set", "prod", "--preset", "daily", "--zone", "Berlin"], "config.zone", "Europe/Berlin"),
        (["set", "prod", "--drills", "sometimes"], "config.invalid", "every 5"),
        (["set", "prod", "--off"], "config.not-found", "schedule set prod"),
        (["set", "nobody", "--preset", "daily"], "config.not-found", "connection list"),
        (["show", "nobody"], "config.not-found", "connection list"),
        (["next", "nobody"], "config.not-found", "connection list"),
        (["next", "--count", "0"], "config.usage", "--help"),
    ],
)
def test_what_is_refused(program: Program, arguments: list[str], code: str, hint: str) -> None:
    error = program.call("schedule", *arguments, "--json").error(2)
    assert error["code"] == code
    assert hint in error["hint"]
