"""The Huey object and the one thin task: build an Engine, call one verb.

`huey_consumer huey_config.huey` and `offsitedb worker` run the same thing. The queue carries job ids as JSON and says
only *wake up*; the jobs table is the truth, so a lost or doubled message harms nothing. Jobs run in threads: one
process dies as a whole and takes its children with it.
"""

from __future__ import annotations

import json
import threading
from typing import Any

from huey import Huey
from huey.consumer import Consumer
from huey.registry import Message
from huey.serializer import Serializer
from huey.storage import PostgresStorage, SqliteStorage

from engine import paths as places
from engine.catalog import queue
from engine.config import database_url
from engine.errors import ConfigError
from engine.service import Engine
from engine.service.keys import KeyStore

POLL_S = 0.5
"""Longest pause between two looks at an empty queue."""


class IdSerializer(Serializer):  # type: ignore[misc]  # huey has no types
    """Messages as JSON, field by field: no pickle, nothing but short strings and numbers gets through."""

    def _serialize(self, message: Message) -> bytes:
        return json.dumps(message._asdict()).encode()

    def _deserialize(self, data: bytes) -> Message:
        fields = json.loads(data)
        return Message(**fields)


class GracefulConsumer(Consumer):  # type: ignore[misc]  # huey has no types
    """Any stop signal lets running jobs end within the grace period, then puts them back in the queue."""

    def stop(self, graceful: bool = False) -> None:
        del graceful  # both kinds of signal mean the same here
        self.stop_flag.set()
        _close_engine()
        super().stop(graceful=True)


class OffsiteHuey(Huey):  # type: ignore[misc]  # huey has no types
    """Huey with our consumer. Thread workers only: see the module's docstring."""

    def create_consumer(self, **options: Any) -> GracefulConsumer:
        if options.get("worker_type", "thread") != "thread":
            raise ConfigError("config.invalid", "jobs run in threads", hint="Start the consumer without `-k`.")
        options["max_delay"] = min(options.get("max_delay", POLL_S), POLL_S)
        options["periodic"] = False
        _open_engine(options.get("workers", 1))
        return GracefulConsumer(self, **options)


def _create() -> OffsiteHuey:
    common = {"results": False, "store_none": False, "serializer": IdSerializer(), "utc": True}
    url = database_url()
    if url is not None:
        return OffsiteHuey("offsitedb", storage_class=PostgresStorage, connection=lambda: queue.connect(url), **common)
    where = places.locate()
    places.make_private(where.home)
    places.make_private_file(where.queue)
    return OffsiteHuey("offsitedb", storage_class=SqliteStorage, filename=str(where.queue), **common)


huey = _create()
key_store: KeyStore | None = None
"""Set by whoever holds the key in its own process tree (the demo); None means the OS keyring."""

labels: tuple[str, ...] = ()
"""Networks that this process reaches, besides those of the settings."""

_engine: Engine | None = None
_lock = threading.Lock()


@huey.task()  # type: ignore[untyped-decorator]  # huey has no types
def run_job(job_id: str) -> None:
    """Run one job to its end, unless somebody else does or has."""
    with _lock:
        engine = _engine
    if engine is not None:
        engine.worker.run(job_id)


def wake(job_id: str) -> None:
    """Tell the workers that there is a job."""
    run_job(job_id)


def _open_engine(threads: int) -> None:
    global _engine
    with _lock:
        if _engine is None:
            _engine = Engine.open(wake=wake, key_store=key_store)
            _engine.worker.start(threads, labels)


def _close_engine() -> None:
    global _engine
    with _lock:
        engine = _engine
    if engine is not None:
        engine.worker.stop()
        with _lock:
            _engine = None
        engine.close()
