"""API keys and requests in the catalog, on both dialects."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from engine import catalog as catalogs
from engine.catalog import Catalog
from engine.model import JobKind, JobState
from engine.model.apikeys import ApiKey, Scope
from tests.fixtures.records import job

pytest_plugins = ("tests.fixtures.postgres_server", "tests.fixtures.catalogs")

AT = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
KEY = ApiKey("k1", "ci", "00" * 32, tuple(Scope), ("c1",), AT, "os:root")


def test_a_key_comes_back_as_it_went(filled: Catalog) -> None:
    other = replace(KEY, id="k2", scopes=(Scope.READ,), connections=(), created_at=AT + timedelta(1), replaces="k1")
    with filled.write() as tx:
        catalogs.api_keys.add(tx, KEY)
        catalogs.api_keys.add(tx, other)
        assert catalogs.api_keys.get(tx, "k3") is None
        assert catalogs.api_keys.list_all(tx) == [other, KEY]
        catalogs.api_keys.expire(tx, "k1", AT + timedelta(hours=6))
        catalogs.api_keys.revoke(tx, "k2", AT)
        catalogs.api_keys.revoke(tx, "k2", AT + timedelta(1))
        for seconds in (0, 59, 60):
            catalogs.api_keys.touch(tx, "k1", AT + timedelta(seconds=seconds), 60)
    with filled.read() as tx:
        ended = replace(KEY, expires_at=AT + timedelta(hours=6), last_used_at=AT + timedelta(seconds=60))
        assert catalogs.api_keys.get(tx, "k1") == ended
        assert catalogs.api_keys.get(tx, "k2") == replace(other, revoked_at=AT)


def test_requests_and_what_is_in_flight(filled: Catalog) -> None:
    asked = replace(job("j1", "c1", at=AT), tag="v1", requested_by="apikey:k1")
    with filled.write() as tx:
        catalogs.api_keys.add(tx, KEY)
        catalogs.jobs.create(tx, asked)
        catalogs.jobs.create(tx, replace(job("j2", "c2", at=AT), tag=None, requested_by="apikey:k1"))
        catalogs.jobs.create(tx, replace(asked, id="j3", with_drill=False))
        found = catalogs.api_requests.in_flight
        assert found(tx, "c1", "v1", "apikey:k1") == "j1"
        assert found(tx, "c2", None, "apikey:k1") == "j2"
        for wrong in (("c1", None, "apikey:k1"), ("c1", "v1", "apikey:k2"), ("c2", "v1", "apikey:k1")):
            assert found(tx, *wrong) is None
        catalogs.api_requests.keep(tx, "k1", "i1", "ff", "j1", AT, AT - timedelta(days=7))
        kept = catalogs.api_requests.find(tx, "k1", "i1")
        assert kept is not None
        assert (kept.request_sha256, kept.job_id) == ("ff", "j1")
        assert catalogs.api_requests.find(tx, "k1", "i2") is None
        catalogs.jobs.request_cancel(tx, "j1", AT)
        assert found(tx, "c1", "v1", "apikey:k1") is None
        later = AT + timedelta(days=8)
        catalogs.api_requests.keep(tx, "k1", "i2", "ff", "j1", later, later - timedelta(days=7))
        assert catalogs.api_requests.find(tx, "k1", "i1") is None
        assert catalogs.api_requests.states(tx, ["j1", "j2", "j9"]) == {
            "j1": JobState.CANCELLED,
            "j2": JobState.QUEUED,
        }
        assert catalogs.api_requests.checkpoints(tx, connection_ids=["c1"], tag="v1", limit=1) == ["j1"]
        assert set(catalogs.api_requests.checkpoints(tx, connection_ids=None, tag=None, limit=9)) == {"j1", "j2", "j3"}
        assert catalogs.api_requests.checkpoints(tx, connection_ids=[], tag=None, limit=9) == []
        assert catalogs.api_requests.jobs_by_state(tx, connection_ids=["c2"]) == {JobState.QUEUED: 1}
        assert catalogs.api_requests.drills_by_verdict(tx, connection_ids=None) == []
        assert asked.kind is JobKind.CHECKPOINT
