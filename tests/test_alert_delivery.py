"""Alerts from the catalog to a real server: opened once, told once to each channel, closed once, whatever happens."""

from __future__ import annotations

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from engine import catalog as catalogs
from engine.alerts import patience
from engine.alerts.sending import Outbound
from engine.catalog.schema import jobs, snapshots
from engine.catalog.schema_running import alert_channels, deliveries, schedules
from engine.errors import AccessDenied, AlertFailed, ConfigError, KeyAccessError
from engine.evidence import chain
from engine.model import (
    AlertChannel,
    ChannelKind,
    ConnectionRecord,
    Delivery,
    Incident,
    IncidentKind,
    JobError,
    JobState,
    Occasion,
    Principal,
    Role,
    TableCount,
    Verdict,
    Worker,
)
from engine.service.access import acting_as
from tests.fixtures.history import NOW, History, new_history
from tests.fixtures.hostile_text import STRINGS
from tests.fixtures.postgres_server import create_database
from tests.fixtures.receiver import Receiver, answer, cut, hang

BROKEN = JobError("pg.unreachable", "the server does not answer", "Check the network.", 20)


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    """An installation on either dialect."""
    monkeypatch.setenv("OFFSITEDB_RUNTIME", str(tmp_path / "runtime"))
    if request.param == "postgresql":
        monkeypatch.setenv("OFFSITEDB_DATABASE_URL", create_database(request.getfixturevalue("postgres_server")))
    with new_history(tmp_path / "home") as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def hook(history: History, receiver: Receiver, name: str = "ops", *only: IncidentKind) -> str:
    """A webhook to the receiver; its secret."""
    made = history.engine.alerts.add(name, ChannelKind.WEBHOOK, receiver.url, only=only, allow_private=True)
    assert made.secret is not None
    return made.secret


def documented_verify(now: float) -> Callable[[str, Mapping[str, str], bytes], bool]:
    """The code that docs/ALERTS.md shows, at an instant."""
    text = (Path(__file__).parent.parent / "docs" / "ALERTS.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    names["time"] = SimpleNamespace(time=lambda: now)
    verify: Callable[[str, Mapping[str, str], bytes], bool] = names["verify"]
    return verify


def open_(history: History) -> list[IncidentKind]:
    return [i.kind for i in history.engine.alerts.incidents()]


def rows(history: History) -> list[tuple[str, str]]:
    """Occasion and state of every delivery of an incident."""
    with history.engine.catalog.read() as tx:
        found = tx.rows(
            select(deliveries).where(deliveries.c.incident_id.is_not(None)).order_by(deliveries.c.created_at)
        )
    return [(r.occasion, "arrived" if r.delivered_at else "waits" if r.next_at else "ended") for r in found]


def test_a_failure_is_told_signed_and_told_to_be_over(both: History, receiver: Receiver) -> None:
    secret = hook(both, receiver)
    shop = both.connection("shop")
    both.failed(shop, NOW, BROKEN)
    alarm = both.engine.alerts.check()
    assert (len(alarm.opened), alarm.delivered, alarm.failed) == (1, 1, 0)
    [got] = receiver.received
    told = json.loads(got.body)
    assert told == {
        "kind": "failed",
        "subject": "shop",
        "summary": "shop: checkpoint: no snapshot: the server does not answer",
        "hint": told["hint"],
        "opened_at": "2026-11-23T14:02:10.000000Z",
        "closed_at": None,
        "incident": alarm.opened[0].id,
        "occasion": "opened",
        "delivery": got.headers["webhook-id"],
    }
    verify = documented_verify(float(got.headers["webhook-timestamp"]))
    assert verify(secret, got.headers, got.body)
    assert not verify(secret, got.headers, got.body + b" ")
    assert not verify(secret, {**got.headers, "webhook-timestamp": "1"}, got.body)
    assert got.headers["content-type"] == "application/json"

    assert both.engine.alerts.check() == type(alarm)((), (), alarm.open)  # nothing is told twice
    both.drilled(shop, NOW + timedelta(minutes=1))
    both.engine.alerts.check()
    assert [json.loads(r.body)["occasion"] for r in receiver.received] == ["opened", "closed"]
    assert json.loads(receiver.received[1].body)["closed_at"] is not None
    assert open_(both) == []
    with both.engine.catalog.read() as tx:
        kinds = [e.kind for e in catalogs.events.list_recent(tx, limit=9) if e.kind.startswith("incident")]
    assert kinds == ["incident.closed", "incident.opened"]


def test_a_channel_hears_only_of_what_it_asked_for(history: History, receiver: Receiver) -> None:
    hook(history, receiver, "drift", IncidentKind.DRIFT)
    hook(history, receiver, "all")
    history.failed(history.connection("shop"), NOW, BROKEN)
    assert history.engine.alerts.check().delivered == 1


def test_every_kind_opens_and_closes(history: History) -> None:
    shop = history.connection("shop", proof_target_s=3600)
    history.drilled(shop, NOW - timedelta(hours=2))
    with history.engine.catalog.write() as tx:
        data: dict[str, str | int | bool | None] = {"reason": "objects are missing"}
        chain.append_event(tx, history.clock, actor="x", kind="retention.paused", subject=shop.id, data=data)
    blocked = history.job(shop, NOW - timedelta(minutes=5), state=JobState.BLOCKED)
    alerts = history.engine.alerts
    alerts.check()
    wanted = {IncidentKind.OVERDUE, IncidentKind.RETENTION_PAUSED, IncidentKind.KEY_BLOCKED, IncidentKind.WORKER_DEAD}
    assert set(open_(history)) == wanted
    assert "objects are missing" in next(i for i in alerts.incidents() if i.kind == "retention-paused").summary

    history.worker()
    history.drilled(shop, NOW - timedelta(minutes=1))
    with history.engine.catalog.write() as tx:
        chain.append_event(tx, history.clock, actor="x", kind="retention.resumed", subject=shop.id)
        tx.change(update(jobs).where(jobs.c.id == blocked.id).values(state="cancelled"))
    assert len(alerts.check().closed) == 4
    assert len(alerts.incidents(closed=True)) == 4


def test_a_schedule_without_a_worker_is_told(history: History) -> None:
    shop = history.connection("shop")
    with history.engine.catalog.write() as tx:
        made = schedules.insert().values(connection_id=shop.id, cron="0 * * * *", time_zone="UTC", changed_at=NOW)
        tx.change(made)
    history.engine.alerts.check()
    assert open_(history) == []  # it was set just now
    history.clock.at += timedelta(seconds=61)
    history.engine.alerts.check()
    assert open_(history) == [IncidentKind.WORKER_DEAD]


def test_a_worker_that_does_not_come_back_is_signed_off_by_acknowledging_it(history: History) -> None:
    history.worker()
    with history.engine.catalog.write() as tx:
        gone = Worker("w9", "elsewhere", 1, "0.1.0", 1, NOW - timedelta(days=1), NOW - timedelta(hours=1), None)
        catalogs.workers.register(tx, gone)
    history.engine.alerts.check()
    [incident] = history.engine.alerts.incidents()
    assert incident.hint.endswith(f"`offsitedb alerts acknowledge {incident.id[:12]}`.")
    seen = history.engine.alerts.acknowledge(incident.id[:8], "it was sold")
    assert (seen.open, seen.acknowledged_note) == (False, "it was sold")


def counts(*rows: int) -> list[TableCount]:
    return [TableCount("public", f"t{n}", count) for n, count in enumerate(rows)]


def test_drift_stays_until_it_is_accepted_or_gone(history: History) -> None:
    shop, alerts = history.connection("shop"), history.engine.alerts

    def proven(minutes: int, *rows: int) -> None:
        history.drilled(shop, NOW + timedelta(minutes=minutes), tables=counts(*rows))

    proven(0, 1000, 500)
    proven(1, 990, 500)
    assert alerts.check().open == ()
    proven(2, 990)
    proven(3, 400)
    [one] = alerts.check().opened  # the newest against the one before it
    assert one.summary == "shop: 1 table shrank by more than 50%: public.t0 990 → 400 rows"
    proven(4, 390)
    [still] = alerts.check().open  # the rows are still gone
    assert (still.id, still.summary) == (one.id, one.summary.replace("400", "390"))
    assert alerts.incidents() == (still,)
    assert not alerts.acknowledge(one.id, "we cleaned up").open
    assert alerts.check().open == ()
    proven(5, 389)
    assert alerts.check().open == ()
    proven(6)
    [two] = alerts.check().opened
    assert "1 table is gone: public.t0" in two.summary
    proven(7, 389)
    assert alerts.check().closed[0].id == two.id  # it is back
    alerts.set_drift_limit("shop", 1.0)
    proven(8, 1)
    assert alerts.check().open == ()
    alerts.set_drift_limit("shop", 0.01)
    assert len(alerts.check().opened) == 1
    for bad in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(ConfigError):
            alerts.set_drift_limit("shop", bad)


def test_what_does_not_arrive_is_tried_again_with_growing_pauses(history: History, receiver: Receiver) -> None:
    hook(history, receiver)
    history.failed(history.connection("shop"), NOW, BROKEN)
    history.engine.alerts.postman.outbound = Outbound(step_s=0.3, attempt_s=0.5)
    receiver.instead += [answer(503), cut, hang, answer(302, location="http://127.0.0.1/")]
    alerts, errors = history.engine.alerts, []
    for pause in (10, 20, 40, 80):
        assert alerts.check().failed == 1
        errors.append(alerts.channels()[0].error or "")
        history.clock.at += timedelta(seconds=pause - 1)
        assert alerts.check().failed == 0  # not before its time
        history.clock.at += timedelta(seconds=1)
    assert [e.rpartition("[")[2] for e in errors] == [
        "alert.status]",
        "alert.unreachable]",
        "alert.timeout]",
        "alert.status]",
    ]
    assert alerts.check().delivered == 1
    assert len(set(receiver.ids())) == 1  # the same delivery every time
    assert len(receiver.received) == 5
    stamps = {r.headers["webhook-timestamp"] for r in receiver.received}
    assert len(stamps) == 5  # each attempt is signed anew
    assert (alerts.channels()[0].error, alerts.channels()[0].waiting) == (None, 0)
    assert "s3cr3t" not in repr(alerts.deliveries())


def test_a_channel_that_does_not_answer_holds_up_no_other(history: History, receiver: Receiver) -> None:
    alerts = history.engine.alerts
    alerts.postman.outbound = Outbound(step_s=0.2, attempt_s=0.4)
    with Receiver() as silent:
        silent.instead += [hang] * 99
        hook(history, silent, "a-silent")
        hook(history, receiver, "ops")
        for n in range(8):
            history.failed(history.connection(f"shop-{n}"), NOW, BROKEN)
        alarm = alerts.check()
        assert (alarm.delivered, alarm.failed) == (8, 1)  # one attempt a turn
        assert len(set(receiver.ids())) == 8
        assert alerts.check().failed == 1


def test_text_that_no_database_keeps_is_told_all_the_same(both: History, receiver: Receiver) -> None:
    hook(both, receiver)
    said = "".join(["a\0b\x1b[31m", *STRINGS])
    both.failed(both.connection("shop"), NOW, JobError("pg.unreachable", said, said, 20))
    assert both.engine.alerts.check().delivered == 1
    told = json.loads(receiver.received[0].body)
    assert told["summary"].startswith("shop: checkpoint: no snapshot: a␀b\x1b[31m")
    assert len(told["summary"]) <= 500


def test_a_row_that_is_damaged_keeps_no_alert_back(history: History) -> None:
    shop = history.connection("shop")
    history.drilled(shop, NOW - timedelta(minutes=2))
    history.drilled(shop, NOW - timedelta(minutes=1))
    history.failed(shop, NOW, BROKEN)
    with history.engine.catalog.write() as tx:
        tx.change(update(jobs).where(jobs.c.state == "failed").values(error="{"))
        tx.change(update(snapshots).values(details="{"))
    assert [i.kind for i in history.engine.alerts.check().opened] == [IncidentKind.FAILED]


def test_it_is_given_up_after_three_days_and_says_so(history: History, receiver: Receiver) -> None:
    hook(history, receiver)
    shop = history.connection("shop")
    history.failed(shop, NOW, BROKEN)
    alerts = history.engine.alerts
    receiver.instead += [answer(500)] * 9
    for hours in (0, 1, 24, 46, 0.99):  # the last one is within three days
        history.clock.at += timedelta(hours=hours)
        assert alerts.check().failed == 1
        assert alerts.channels()[0].waiting == (hours != 0.99)
    history.clock.at += timedelta(days=9)
    assert alerts.check().failed == 0
    assert "given up after" in (alerts.channels()[0].error or "")
    with history.engine.catalog.read() as tx:
        assert len(catalogs.events.list_recent(tx, kind="alert.given-up", limit=9)) == 1
    receiver.instead.clear()
    history.drilled(shop, NOW + timedelta(minutes=1))
    assert alerts.check().delivered == 1  # that it is over can be told all the same


def test_two_workers_send_nothing_twice_and_lose_nothing(both: History, receiver: Receiver) -> None:
    hook(both, receiver)
    hook(both, receiver, "second")
    for n in range(12):
        both.failed(both.connection(f"shop-{n}"), NOW, BROKEN)
    receiver.instead += [answer(500)] * 3
    engines = [both.open() for _ in range(2)]
    go = threading.Barrier(len(engines))
    errors: list[BaseException] = []

    def work(n: int) -> None:
        try:
            go.wait()
            engines[n].alerts.check()
        except BaseException as e:  # noqa: BLE001 - told below
            errors.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(engines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    both.clock.at += timedelta(seconds=10)
    engines[0].alerts.check()
    for engine in engines:
        engine.close()
    assert len(both.engine.alerts.incidents()) == 12
    sent = Counter(receiver.ids())
    assert len(sent) == 24
    assert sorted(sent.values()) == [1] * 21 + [2] * 3  # those that were refused once
    assert set(rows(both)) == {("opened", "arrived")}


def test_a_sender_killed_before_it_could_write_it_down_is_made_up_for(history: History, receiver: Receiver) -> None:
    hook(history, receiver)
    history.failed(history.connection("shop"), NOW, BROKEN)
    arrived, dead = threading.Event(), threading.Event()

    def hold(handler: object) -> None:
        arrived.set()
        dead.wait(30)

    receiver.instead.append(hold)
    pid = os.fork()
    if not pid:
        try:
            history.open().alerts.check()
        finally:
            os._exit(0)
    assert arrived.wait(30)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    dead.set()
    alerts = history.engine.alerts
    assert alerts.check().delivered == 0  # it still belongs to the one that died
    history.clock.at += timedelta(seconds=patience.HOLD_S)
    assert alerts.check().delivered == 1
    first, second = receiver.ids()
    assert first == second


def test_a_heartbeat_is_sent_only_while_every_proof_is_fresh(history: History, receiver: Receiver) -> None:
    alerts = history.engine.alerts
    alerts.add("dead-man", ChannelKind.HEARTBEAT, receiver.url, every_s=60, allow_private=True)
    alerts.check()
    assert receiver.received == []  # nothing is protected
    assert "nothing is protected" in (alerts.channels()[0].error or "")
    shop = history.connection("shop", proof_target_s=3600)
    free = history.connection("free")
    history.drilled(shop, NOW - timedelta(minutes=50))

    def beats(seconds: float) -> int:
        before = len(receiver.received)
        history.clock.at += timedelta(seconds=seconds)
        alerts.check()
        return len(receiver.received) - before

    assert beats(60) == 0
    assert "no fresh proof of free" in (alerts.channels()[0].error or "")
    history.drilled(free, NOW)
    assert beats(60) == 1
    assert receiver.received[0].method == "GET"
    assert alerts.channels()[0].error is None
    assert [beats(s) for s in (30, 29, 1, 60)] == [0, 0, 1, 1]
    receiver.instead.append(answer(500))
    assert beats(60) == 1
    assert beats(10) == 1  # a beat that did not arrive is sent again soon
    history.drilled(free, NOW + timedelta(minutes=1), Verdict.FAILED)
    assert beats(60) == 0
    history.drilled(free, NOW + timedelta(minutes=2))
    assert beats(60) == 1
    alerts.test("dead-man")
    assert beats(700) == 0  # shop's proof is old by now
    assert "no fresh proof of shop" in (alerts.channels()[0].error or "")
    assert [d.occasion for d in alerts.deliveries()] == [Occasion.TEST, Occasion.BEAT]


def test_the_key_is_gone_and_that_is_told(history: History, receiver: Receiver) -> None:
    hook(history, receiver)
    alerts = history.engine.alerts
    alerts.check()  # a worker that runs has its channels open
    with history.engine.catalog.read() as tx:
        found = catalogs.installation.get(tx)
    assert found is not None
    history.held.delete(found.catalog_id, found.key_epoch)
    with pytest.raises(KeyAccessError):
        history.engine.keys.open()
    history.job(_plain(history), NOW, state=JobState.BLOCKED)
    assert IncidentKind.KEY_BLOCKED in {i.kind for i in alerts.check().opened}
    assert any(json.loads(r.body)["kind"] == "key-blocked" for r in receiver.received)
    with history.open() as later:  # one that starts without the key says why it cannot
        history.clock.at += timedelta(seconds=61)
        assert later.alerts.check().failed > 0
        assert "[key." in (later.alerts.channels()[0].error or "")


def _plain(history: History) -> ConnectionRecord:
    """A connection written down without its key."""
    from tests.fixtures.records import connection

    with history.engine.catalog.write() as tx:
        record = connection("c1", "shop", catalogs.destinations.by_name(tx, "here").id)
        catalogs.connections.add(tx, record)
    return record


def test_a_test_is_sent_at_once_and_kept(history: History, receiver: Receiver) -> None:
    hook(history, receiver)
    alerts = history.engine.alerts
    sent = alerts.test("ops")
    assert sent.delivered_at is not None
    assert json.loads(receiver.received[0].body)["kind"] == "test"
    receiver.instead.append(answer(403))
    with pytest.raises(AlertFailed, match="answered 403"):
        alerts.test("ops")
    assert [d.error is None for d in alerts.deliveries()].count(False) == 1
    assert {d.subject for d in alerts.deliveries()} == {"test: ops"}
    with pytest.raises(ConfigError):
        alerts.test("nobody")


def test_a_removed_channel_forgets_its_url_and_is_told_nothing(history: History, receiver: Receiver) -> None:
    hook(history, receiver)
    history.failed(history.connection("shop"), NOW, BROKEN)
    alerts = history.engine.alerts
    receiver.instead.append(answer(500))
    assert alerts.check().failed == 1
    alerts.remove("ops")
    history.clock.at += timedelta(days=1)
    assert alerts.check().delivered == 0
    assert alerts.channels() == ()
    with history.engine.catalog.read() as tx:
        [row] = tx.rows(select(alert_channels))
        assert (row.url_sealed, row.secret_sealed) == ("", None)


def test_urls_and_secrets_lie_nowhere_in_the_open(history: History, receiver: Receiver) -> None:
    secret = hook(history, receiver)
    receiver.instead.append(answer(500))
    with pytest.raises(AlertFailed):
        history.engine.alerts.test("ops")
    for path in history.home.rglob("catalog*"):
        data = path.read_bytes()
        assert b"s3cr3t-token" not in data
        assert secret.encode() not in data


@pytest.mark.parametrize(
    ("kind", "url", "more"),
    [
        (ChannelKind.WEBHOOK, "http://example.com/", {}),
        (ChannelKind.WEBHOOK, "https://127.0.0.1/", {}),
        (ChannelKind.WEBHOOK, "https://example.com/", {"every_s": 60}),
        (ChannelKind.WEBHOOK, "https://example.com/", {"secret": "short"}),
        (ChannelKind.HEARTBEAT, "https://example.com/", {"every_s": 1}),
        (ChannelKind.HEARTBEAT, "https://example.com/", {"only": [IncidentKind.DRIFT]}),
        (ChannelKind.HEARTBEAT, "https://example.com/", {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}),
    ],
)
def test_what_cannot_be_a_channel(history: History, kind: ChannelKind, url: str, more: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        history.engine.alerts.add("ops", kind, url, **more)  # type: ignore[arg-type]
    assert history.engine.alerts.channels() == ()


def test_who_may_do_what(history: History) -> None:
    alerts = history.engine.alerts
    with acting_as(Principal("operator:o", Role.OPERATOR)):
        channels: tuple[Callable[[], object], ...] = (
            lambda: alerts.add("x", ChannelKind.WEBHOOK, "https://example.com/"),
            lambda: alerts.test("x"),
            lambda: alerts.remove("x"),
        )
        for verb in channels:
            with pytest.raises(AccessDenied):
                verb()
        with pytest.raises(ConfigError):
            alerts.acknowledge("x")
    with acting_as(Principal("operator:v", Role.VIEWER)):
        assert not alerts.incidents()
        assert not alerts.channels()
        looking: tuple[Callable[[], object], ...] = (
            lambda: alerts.acknowledge("x"),
            lambda: alerts.set_drift_limit("x", 0.5),
            alerts.check,
        )
        for verb in looking:
            with pytest.raises(AccessDenied):
                verb()


def test_what_a_worker_does_by_itself(history: History) -> None:
    assert {"alerts", "deliveries"} <= {duty.name for duty in history.engine.duties}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["fail", "succeed"]), st.integers(0, 1)),
        st.tuples(st.sampled_from(["block", "unblock", "deliver", "deaf", "hears"]), st.just(0)),
    ),
    min_size=1,
    max_size=14,
)


def test_an_incident_that_comes_and_goes_is_told_each_time_it_does(history: History, receiver: Receiver) -> None:
    steps = ("fail", "deaf", "deliver", "succeed", "fail", "deliver", "block", "hears", "unblock", "fail", "succeed")
    run(history, receiver, [(step, 0) for step in steps])


@pytest.mark.slow
def test_whatever_happens_each_incident_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFSITEDB_RUNTIME", str(tmp_path / "runtime"))
    made = iter(range(10**6))

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(STEPS)
    def play(steps: list[tuple[str, int]]) -> None:
        with new_history(tmp_path / str(next(made))) as history, Receiver() as receiver:
            run(history, receiver, steps)

    play()


def run(history: History, receiver: Receiver, steps: list[tuple[str, int]]) -> None:
    for name in ("ops", "boss"):
        hook(history, receiver, name)
    shops = [history.connection(f"shop-{n}") for n in range(2)]
    history.worker()
    alerts = history.engine.alerts
    for step, n in steps:
        history.clock.at += timedelta(seconds=20)
        with history.engine.catalog.write() as tx:
            catalogs.workers.beat(tx, "w1", history.clock.at)
        match step:
            case "fail":
                history.failed(shops[n], history.clock.at, BROKEN)
            case "succeed":
                history.job(shops[n], history.clock.at)
            case "block":
                history.job(shops[0], history.clock.at, state=JobState.BLOCKED)
            case "unblock":
                with history.engine.catalog.write() as tx:
                    tx.change(update(jobs).where(jobs.c.state == "blocked").values(state="cancelled"))
            case "deaf":
                receiver.instead = [answer(500)] * 100
            case "hears":
                receiver.instead = []
            case _:
                alerts.postman.deliver()
        alerts._look()
        once(history)
    receiver.instead = []
    for _ in range(5):
        history.clock.at += timedelta(hours=1)
        alerts.postman.deliver()
    told = once(history)
    assert all(delivered for _, delivered in told.values())
    order = [json.loads(r.body) for r in receiver.received]
    for (incident, channel, occasion), (id_, _) in told.items():
        if occasion == "closed":  # and never before it was told that it opened
            arrived = [d["delivery"] for d in order]
            assert arrived.index(told[incident, channel, "opened"][0]) < arrived.index(id_)


def once(history: History) -> dict[tuple[str, str, str], tuple[str, bool]]:
    """Exactly one incident of a kind and subject is open, with one delivery of each occasion to each channel."""
    with history.engine.catalog.read() as tx:
        incidents: list[Incident] = catalogs.incidents.list_recent(tx, limit=1000)
        channels: list[AlertChannel] = catalogs.alert_channels.list_all(tx)
        every: list[Delivery] = catalogs.deliveries.list_recent(tx, limit=10_000)
    keys = [(i.kind, i.subject) for i in incidents if i.open]
    assert len(keys) == len(set(keys))
    found = [(str(d.incident_id), d.channel_id, d.occasion.value) for d in every]
    wanted = [
        (i.id, c.id, occasion)
        for i in incidents
        for c in channels
        for occasion in (["opened"] if i.open else ["opened", "closed"])
    ]
    assert Counter(found) == Counter(wanted)
    return {key: (d.id, d.delivered_at is not None) for key, d in zip(found, every, strict=True)}
