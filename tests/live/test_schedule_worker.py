"""A schedule kept by the real worker process: nobody asks for the checkpoint."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from engine import catalog as catalogs
from engine.model import JobKind, SlotOutcome
from tests.fixtures.installation import Place, running_worker, wait_until
from tests.fixtures.records import connection


@pytest.mark.slow
def test_a_worker_keeps_a_schedule_by_itself(place: Place) -> None:
    with place.engine() as engine:
        now = engine.clock.now()
        with engine.catalog.write() as tx:
            here = catalogs.destinations.by_name(tx, "here").id
            catalogs.connections.add(tx, replace(connection("c1", "prod"), destination_id=here))
        engine.schedules.set("prod", when="hourly", zone="UTC")
        with engine.catalog.write() as tx:  # as if it had been set three hours ago
            schedule = catalogs.schedules.get(tx, "c1")
            assert schedule is not None
            past = now - timedelta(hours=3)
            catalogs.schedules.put(tx, replace(schedule, changed_at=past, next_at=past))
        with running_worker(place):
            wait_until(lambda: bool(engine.jobs.recent()), "a job that nobody asked for")
            (job,) = engine.jobs.recent()
            wait_until(lambda: engine.jobs.get(job.id).started_at is not None, "the worker to take it")
        slots = engine.schedules.show("prod").slots
        assert [slot.outcome for slot in slots] == [SlotOutcome.STARTED, *[SlotOutcome.MISSED] * 2]
        assert (job.kind, slots[0].job_id) == (JobKind.CHECKPOINT, job.id)
