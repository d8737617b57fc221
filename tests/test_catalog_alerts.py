"""Incidents, channels and deliveries as rows, on both dialects."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from engine import catalog as catalogs
from engine.catalog import Catalog
from engine.errors import ConfigError, Internal
from engine.model import AlertChannel, ChannelKind, Delivery, Incident, IncidentKind, JobState, Occasion, Verdict
from tests.fixtures.records import NOW, drill, job, snapshot

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.catalogs")
S = timedelta(seconds=1)


def channel(id_: str, kind: ChannelKind = ChannelKind.WEBHOOK) -> AlertChannel:
    every_s = 300 if kind is ChannelKind.HEARTBEAT else None
    only = (IncidentKind.DRIFT,) if kind is ChannelKind.APPRISE else ()
    return AlertChannel(id_, f"name-{id_}", kind, "sealed", None, "https://x/…", only, every_s, False, NOW)


def incident(id_: str, subject: str = "c1") -> Incident:
    return Incident(id_, IncidentKind.FAILED, subject, subject, "it is broken", "Mend it.", NOW)


def delivery(id_: str, incident_id: str | None, occasion: Occasion, at: datetime = NOW, to: str = "a1") -> Delivery:
    return Delivery(id_, to, incident_id, occasion, "{}", at, at)


@pytest.fixture
def told(filled: Catalog) -> Catalog:
    """Two channels and an open incident."""
    with filled.write() as tx:
        for id_ in ("a1", "a2"):
            catalogs.alert_channels.add(tx, channel(id_))
        catalogs.incidents.add(tx, incident("i1"))
    return filled


def test_channels_come_back_as_they_went_in(filled: Catalog) -> None:
    made = [channel("a1"), channel("a2", ChannelKind.HEARTBEAT), channel("a3", ChannelKind.APPRISE)]
    with filled.write() as tx:
        for one in made:
            catalogs.alert_channels.add(tx, one)
        with pytest.raises(ConfigError, match="already"):
            catalogs.alert_channels.add(tx, replace(made[0], id="a9"))
    with filled.read() as tx:
        assert catalogs.alert_channels.list_all(tx) == made
        assert catalogs.alert_channels.by_name(tx, "name-a2") == made[1]
    with filled.write() as tx:
        catalogs.alert_channels.remove(tx, "a1", NOW)
        catalogs.alert_channels.add(tx, replace(made[0], id="a9"))  # the name is free again
    with filled.read() as tx:
        assert catalogs.alert_channels.get(tx, "a1") is None
        assert catalogs.alert_channels.names(tx)["a1"] == "name-a1"


def test_one_incident_of_a_kind_and_subject_is_open(told: Catalog) -> None:
    with pytest.raises(Internal), told.write() as tx:
        catalogs.incidents.add(tx, incident("i2"))
    with told.write() as tx:
        catalogs.incidents.add(tx, incident("i3", "c2"))
        assert catalogs.incidents.close(tx, incident("i1"), NOW + S) is not None
        assert catalogs.incidents.close(tx, incident("i1"), NOW + S) is None
        catalogs.incidents.add(tx, incident("i2"))
    with told.read() as tx:
        assert [i.id for i in catalogs.incidents.list_open(tx)] == ["i2", "i3"]
        assert [i.id for i in catalogs.incidents.list_recent(tx, limit=9)] == ["i2", "i3", "i1"]
        assert catalogs.incidents.known_subjects(tx, IncidentKind.FAILED, ["c1", "c9"]) == {"c1"}


def test_an_incident_is_worded_anew_and_acknowledged_while_it_is_open(told: Catalog) -> None:
    with told.write() as tx:
        catalogs.incidents.reword(tx, replace(incident("i1"), summary="worse"))
        seen = catalogs.incidents.acknowledge(tx, "i1", NOW, "os:root", "I know")
        assert (seen.summary, seen.acknowledged_by, seen.acknowledged_note) == ("worse", "os:root", "I know")
        catalogs.incidents.close(tx, seen, NOW + S)
        with pytest.raises(ConfigError):
            catalogs.incidents.acknowledge(tx, "i1", NOW, "os:root", None)


def test_an_occasion_is_told_to_a_channel_once(told: Catalog) -> None:
    with told.write() as tx:
        catalogs.deliveries.add(tx, delivery("d1", "i1", Occasion.OPENED))
    with pytest.raises(Internal), told.write() as tx:
        catalogs.deliveries.add(tx, delivery("d2", "i1", Occasion.OPENED))
    with told.write() as tx:  # of tests there may be many
        for n in range(3):
            catalogs.deliveries.add(tx, delivery(f"t{n}", None, Occasion.TEST))


def test_a_delivery_belongs_to_whoever_took_it_for_a_while(told: Catalog) -> None:
    with told.write() as tx:
        catalogs.deliveries.add(tx, delivery("d1", "i1", Occasion.OPENED))
        first = catalogs.deliveries.take(tx, NOW, 90)
        assert first is not None
        assert first.attempts == 1
        assert catalogs.deliveries.take(tx, NOW + 89 * S, 90) is None
        second = catalogs.deliveries.take(tx, NOW + 90 * S, 90)
        assert second is not None
        catalogs.deliveries.failed(tx, first, "too late to say", NOW)  # the second attempt has it now
        assert catalogs.deliveries.get(tx, "d1") == second
        catalogs.deliveries.failed(tx, second, "no", NOW + 500 * S)
        again = catalogs.deliveries.get(tx, "d1")
        assert again is not None
        assert (again.error, again.next_at) == ("no", NOW + 500 * S)
        catalogs.deliveries.arrived(tx, first, NOW + 300 * S)  # that it has arrived is true whoever says it
        assert catalogs.deliveries.take(tx, NOW + 9999 * S, 90) is None
        done = catalogs.deliveries.newest_of(tx, "a1")
        assert done is not None
        assert (done.delivered_at, done.error) == (NOW + 300 * S, None)


def test_that_it_closed_is_told_after_that_it_opened(told: Catalog) -> None:
    with told.write() as tx:
        catalogs.deliveries.add(tx, delivery("d1", "i1", Occasion.OPENED, NOW + 50 * S))
        catalogs.deliveries.add(tx, delivery("d2", "i1", Occasion.CLOSED))
        catalogs.deliveries.add(tx, delivery("d3", "i1", Occasion.CLOSED, NOW + S, to="a2"))
        assert [d.id for d in (catalogs.deliveries.take(tx, NOW + 9 * S, 90),) if d] == ["d3"]
        assert not catalogs.deliveries.any_due(tx, NOW + 9 * S)
        opened = catalogs.deliveries.take(tx, NOW + 60 * S, 90)
        assert opened is not None
        catalogs.deliveries.failed(tx, opened, "given up", None)
        closed = catalogs.deliveries.take(tx, NOW + 60 * S, 90)
        assert closed is not None
        assert closed.id == "d2"
        assert catalogs.deliveries.told_of(tx, "i1") == {"a1"}
        catalogs.deliveries.drop(tx, "a1", "removed")
        assert catalogs.deliveries.waiting(tx) == {"a2": 1}


def test_facts_of_jobs(filled: Catalog) -> None:
    def ended(id_: str, minutes: int, state: JobState, **more: object) -> None:
        at = NOW + timedelta(minutes=minutes)
        with filled.write() as tx:
            catalogs.jobs.create(tx, replace(job(id_, at=at), state=state, finished_at=at, **more))  # type: ignore[arg-type]

    ended("j1", 1, JobState.FAILED)
    ended("j2", 2, JobState.SUCCEEDED)
    ended("j3", 3, JobState.CANCELLED)
    ended("j4", 4, JobState.BLOCKED, connection_id="c2")
    with filled.read() as tx:
        found = catalogs.alert_facts.newest_ended(tx)
        assert found == {}, "the checkpoint after the one that failed has a snapshot, and no drill to speak of"
        assert catalogs.alert_facts.blocked(tx) == ["name-c2"]
        assert catalogs.alert_facts.work_since(tx) == NOW + timedelta(minutes=4)
        assert catalogs.alert_facts.last_heard(tx) is None
        assert catalogs.alert_facts.last_begun(tx) is None


def test_a_snapshot_that_was_spared_the_drill_does_not_make_up_for_a_failed_one(filled: Catalog) -> None:
    def ended(id_: str, minutes: int, state: JobState, snapshot_id: str | None, drill_id: str | None = None) -> None:
        at = NOW + timedelta(minutes=minutes)
        with filled.write() as tx:
            made = replace(job(id_, at=at), state=state, finished_at=at, snapshot_id=snapshot_id, drill_id=drill_id)
            catalogs.jobs.create(tx, made)

    def said() -> list[tuple[str, bool]]:
        with filled.read() as tx:
            return [(j.id, j.failed) for j in catalogs.alert_facts.newest_ended(tx).get("c1", [])]

    with filled.write() as tx:
        for n, verdict in ((1, Verdict.FAILED), (2, Verdict.PROVEN)):
            catalogs.snapshots.add(tx, snapshot(f"s{n}", seq=n))
            catalogs.drills.add(tx, drill(f"r{n}", f"s{n}", verdict))
    ended("j1", 1, JobState.FAILED, "s1", "r1")
    ended("j2", 2, JobState.SUCCEEDED, "s2")
    assert said() == [("j1", True)]
    ended("j3", 3, JobState.FAILED, None)
    assert said() == [("j3", True), ("j1", True)]
    ended("j4", 4, JobState.SUCCEEDED, "s2", "r2")
    assert said() == [("j4", False)]


def test_the_two_newest_proven(filled: Catalog) -> None:
    with filled.write() as tx:
        for n in range(1, 5):
            catalogs.snapshots.add(tx, snapshot(f"s{n}", seq=n))
            catalogs.drills.add(tx, drill(f"r{n}", f"s{n}", Verdict.FAILED if n == 3 else Verdict.PROVEN))
    with filled.read() as tx:
        assert catalogs.alert_facts.two_newest_proven(tx) == {"c1": ["s4", "s2"], "c2": []}


def test_limits_of_drift(filled: Catalog) -> None:
    with filled.write() as tx:
        catalogs.drift_limits.put(tx, "c1", 0.5, NOW)
        catalogs.drift_limits.put(tx, "c1", 0.25, NOW)
        assert catalogs.drift_limits.all_of(tx) == {"c1": 0.25}
