"""A real worker tells a real server by itself what is wrong, and ``alerts check`` tells that the worker is dead."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from engine import catalog as catalogs
from engine.catalog.schema_running import schedules
from engine.model import ChannelKind, JobState
from engine.service import Engine
from tests.fixtures import records
from tests.fixtures.history import StoppedClock
from tests.fixtures.installation import Place, running_worker, wait_until
from tests.fixtures.receiver import Receiver


@pytest.mark.slow
def test_what_is_wrong_is_told_by_the_worker_and_its_death_by_the_next_who_looks(place: Place) -> None:
    with Receiver() as receiver, place.engine() as engine:
        engine.alerts.add("ops", ChannelKind.WEBHOOK, receiver.url, allow_private=True)

        def told() -> list[tuple[str, str]]:
            found = [json.loads(r.body) for r in receiver.received]
            return [(d["kind"], d["occasion"]) for d in found]

        at = datetime.now(UTC)
        with engine.catalog.write() as tx:
            here = catalogs.destinations.by_name(tx, "here").id
            catalogs.connections.add(tx, records.connection("c1", "shop", here))
            tx.change(schedules.insert().values(connection_id="c1", cron="0 0 1 1 *", time_zone="UTC", changed_at=at))
        with running_worker(place) as worker:
            engine.jobs.checkpoint("shop")  # its string does not open: it fails, or waits for a key
            wait_until(lambda: engine.jobs.recent(1)[0].state in (JobState.FAILED, JobState.BLOCKED), "the job to fail")
            wait_until(lambda: bool(receiver.received), "the webhook to be told")
            first = told()[0]
            assert first in [("failed", "opened"), ("key-blocked", "opened")]
            worker.kill()
            worker.wait(30)
        engine.jobs.cancel(engine.jobs.recent(1)[0].id)
        assert ("worker-dead", "opened") not in told()
        later = StoppedClock(datetime.now(UTC) + timedelta(seconds=75))
        with Engine.open(home=place.home, key_store=place.held, clock=later) as other:
            other.alerts.check()
        assert ("worker-dead", "opened") in told()
