"""API keys: their text, how they are kept, when they are good, and what a machine may ask for with one."""

from __future__ import annotations

import re
import sqlite3
import threading
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import catalog as catalogs
from engine.access import apikeys as texts
from engine.errors import AccessDenied, ConfigError
from engine.model import JobKind, JobState, Principal, Role
from engine.model.apikeys import ApiCaller, KeyState, Scope
from engine.redact import redact
from engine.service.access import acting_as
from tests.fixtures.history import History


def header(text: str) -> str:
    return f"Bearer {text}"


def caller_of(history: History, name: str, **options: object) -> ApiCaller:
    made = history.engine.apikeys.create(name, **options)  # type: ignore[arg-type]
    return history.engine.apikeys.authenticate(header(made.text))


# the text


def test_a_key_is_recognised_without_asking_anybody() -> None:
    made = texts.make()
    assert re.fullmatch(r"odb_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", made.text)
    assert texts.read_id(made.text) == made.id
    assert made.text not in repr(made)
    assert redact(f"curl -H 'Authorization: Bearer {made.text}'") == "curl -H 'Authorization: Bearer ***'"
    assert len({texts.make().text for _ in range(200)}) == 200


def test_every_changed_character_shows() -> None:
    text = texts.make().text
    for at in range(len(text)):
        for other in "0Zz_-é":
            if other != text[at]:
                assert texts.read_id(text[:at] + other + text[at + 1 :]) is None, at
    for wrong in ("", text[:-1], text + "0", f" {text}", text.upper(), text.replace("live", "test")):
        assert texts.read_id(wrong) is None


@settings(max_examples=30)
@given(st.text(max_size=60))
def test_any_other_text_is_no_key(text: str) -> None:
    assert texts.read_id(text) is None
    assert texts.read_id(f"odb_live_{text}") is None


# how they are kept


def test_a_key_is_shown_once_and_kept_as_a_hash(history: History) -> None:
    made = history.engine.apikeys.create("ci")
    caller = history.engine.apikeys.authenticate(header(made.text))
    assert (caller.name, caller.key_id, caller.scopes) == ("ci", made.key.id, tuple(Scope))
    assert caller.principal == Principal(f"apikey:{made.key.id}", Role.OPERATOR)
    secret = made.text.rpartition("_")[2]
    for path in history.home.iterdir():
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    (listed,) = history.engine.apikeys.list()
    assert (listed.state, listed.created_by, listed.connections) == (KeyState.ACTIVE, history.engine.actor, ())
    with history.engine.catalog.read() as tx:
        told = catalogs.events.list_recent(tx, kind="apikey.created", limit=10)
    assert [(e.subject, e.data["name"]) for e in told] == [(made.key.id, "ci")]


def test_what_is_not_good_is_told_alike(history: History) -> None:
    keys = history.engine.apikeys
    good, revoked, stranger = keys.create("ci").text, keys.create("old").text, texts.make().text
    keys.revoke("old")
    wrong_secret = good[:22] + texts.make().text[22:]
    said = set()
    for wrong in (None, "", "Bearer", "Bearer ", f"Basic {good}", good, "Bearer x", header(stranger), header(revoked)):
        with pytest.raises(AccessDenied) as e:
            keys.authenticate(wrong)
        said.add((e.value.code, e.value.message, e.value.hint))
    for wrong in (header(wrong_secret), header(good + good), header("é" * 90), "Bearer " + "A" * 100_000):
        with pytest.raises(AccessDenied) as e:
            keys.authenticate(wrong)
        said.add((e.value.code, e.value.message, e.value.hint))
    assert len(said) == 1
    assert keys.authenticate(f"bearer {good}").name == "ci"


def test_a_rotated_key_overlaps(history: History) -> None:
    keys, clock = history.engine.apikeys, history.clock
    history.connection("prod")
    old = keys.create("ci", [Scope.READ], ["prod"])
    new = keys.rotate("ci", 3600)
    assert new.key.replaces == old.key.id
    assert (new.key.scopes, new.key.connections, new.key.name) == ((Scope.READ,), ("prod",), "ci")
    assert {k.id: k.state for k in keys.list()} == {old.key.id: KeyState.ENDING, new.key.id: KeyState.ACTIVE}
    for text in (old.text, new.text):
        assert keys.authenticate(header(text)).principal.role is Role.VIEWER
    with pytest.raises(ConfigError, match="replaced already"):
        keys.rotate(old.key.id)
    clock.at += timedelta(seconds=3600)
    with pytest.raises(AccessDenied):
        keys.authenticate(header(old.text))
    assert keys.authenticate(header(new.text)).name == "ci"
    newest = keys.rotate("ci", 0)
    with pytest.raises(AccessDenied):
        keys.authenticate(header(new.text))
    for wrong in (-1.0, 24 * 3600 + 1.0):
        with pytest.raises(ConfigError, match="24 hours"):
            keys.rotate("ci", wrong)
    keys.rotate("ci")
    assert len(keys.revoke("ci")) == 2, "by its name, both of the overlap"
    with pytest.raises(AccessDenied):
        keys.authenticate(header(newest.text))
    with pytest.raises(ConfigError):
        keys.revoke("ci")


def test_names_scopes_and_connections_are_looked_at(history: History) -> None:
    keys = history.engine.apikeys
    keys.create("ci")
    for name in ("ci", "", "a b", "-x", "x" * 64, "\x1b[2J"):
        with pytest.raises(ConfigError):
            keys.create(name)
    with pytest.raises(ConfigError):
        keys.create("none", ())
    with pytest.raises(ConfigError):
        keys.create("nowhere", connections=["nosuch"])
    with acting_as(Principal("operator:eve", Role.OPERATOR)):
        for verb in (lambda: keys.create("x"), lambda: keys.rotate("ci"), lambda: keys.revoke("ci")):
            with pytest.raises(AccessDenied, match="admin"):
                verb()


def test_use_is_noted_once_a_minute(history: History) -> None:
    keys, clock = history.engine.apikeys, history.clock
    text = keys.create("ci").text
    for step_s, noted_s in ((0, 0), (30, 0), (29, 0), (1, 60), (59, 60), (1, 120)):
        clock.at += timedelta(seconds=step_s)
        before = history.engine.watch.revision()
        keys.authenticate(header(text))
        (key,) = keys.list()
        assert key.last_used_at == key.created_at + timedelta(seconds=noted_s)
        assert (history.engine.watch.revision() != before) is (key.last_used_at == clock.at)


def test_a_row_that_is_not_ours_is_said_to_be_damaged(history: History) -> None:
    text = history.engine.apikeys.create("ci").text
    with sqlite3.connect(history.home / "catalog.sqlite3") as db:
        db.execute("UPDATE api_keys SET scopes = '[\"everything\"]'")
    with pytest.raises(Exception, match="damaged"):
        history.engine.apikeys.authenticate(header(text))


# what they ask for


def test_equal_requests_share_a_job_while_it_lasts(history: History) -> None:
    history.connection("prod")
    requests, ci = history.engine.requests, caller_of(history, "ci")
    first = requests.checkpoint(ci, "prod", "v1")
    assert not first.joined
    again = requests.checkpoint(ci, "prod", "v1")
    assert (again.job_id, again.joined) == (first.job_id, True)
    others = [requests.checkpoint(ci, "prod", tag).job_id for tag in (None, "v2")]
    others.append(requests.checkpoint(caller_of(history, "other"), "prod", "v1").job_id)
    others.append(history.engine.jobs.checkpoint("prod", tag="v1").id)
    assert len({first.job_id, *others}) == 5
    history.engine.jobs.cancel(first.job_id)
    assert not requests.checkpoint(ci, "prod", "v1").joined, "it has ended"
    job = history.engine.jobs.get(first.job_id)
    assert (job.kind, job.state) == (JobKind.CHECKPOINT, JobState.CANCELLED)
    with history.engine.catalog.read() as tx:
        assert catalogs.jobs.get(tx, first.job_id).requested_by == ci.principal.actor


def test_twenty_at_once_make_one_job(history: History) -> None:
    history.connection("prod")
    ci = caller_of(history, "ci")
    asked, start = [], threading.Barrier(20)
    with history.open() as second:
        engines = (history.engine, second)

        def ask(n: int) -> None:
            start.wait()
            key = f"key-{n}" if n % 2 else None
            asked.append(engines[n % 2].requests.checkpoint(ci, "prod", "v1", key))

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({a.job_id for a in asked}) == 1
    assert [a.joined for a in asked].count(False) == 1


def test_an_idempotency_key_finds_its_job_again(history: History) -> None:
    history.connection("prod")
    history.connection("other")
    requests, ci = history.engine.requests, caller_of(history, "ci")
    first = requests.checkpoint(ci, "prod", "v1", "k1")
    history.engine.jobs.cancel(first.job_id)
    again = requests.checkpoint(ci, "prod", "v1", "k1")
    assert (again.job_id, again.joined) == (first.job_id, True), "also when it has ended"
    for database, tag in (("prod", "v2"), ("other", "v1"), ("prod", None)):
        with pytest.raises(ConfigError) as e:
            requests.checkpoint(ci, database, tag, "k1")
        assert e.value.code == "api.idempotency"
    stranger = caller_of(history, "stranger")
    assert requests.checkpoint(stranger, "prod", "v2", "k1").job_id != first.job_id, "keys are of one caller"
    for wrong in ("", "x" * 256, "a\nb", "é"):
        with pytest.raises(ConfigError):
            requests.checkpoint(ci, "prod", "v1", wrong)
    history.clock.at += timedelta(days=8)
    requests.checkpoint(ci, "prod", "v3", "k2")
    assert not requests.checkpoint(ci, "prod", "v1", "k1").joined, "forgotten after a week"


def test_what_a_key_may_not_see_does_not_exist(history: History) -> None:
    prod, other = history.connection("prod"), history.connection("other")
    requests = history.engine.requests
    ci = caller_of(history, "ci", connections=["prod"])
    boss, reader = caller_of(history, "boss"), caller_of(history, "reader", scopes=[Scope.READ])
    writer = caller_of(history, "writer", scopes=[Scope.CREATE])
    theirs = requests.checkpoint(boss, "other").job_id
    said = set()
    for database in ("other", other.id, "nosuch", "0" * 32, "", "x" * 5000, "a\x00b", "\ud800", "%", "'; --"):
        with pytest.raises(ConfigError) as e:
            requests.checkpoint(ci, database)
        said.add((e.value.code, e.value.message, e.value.hint))
    assert len(said) == 1
    said.clear()
    for checkpoint in (theirs, "0" * 32, theirs[:12], "", "%", "-"):
        with pytest.raises(ConfigError) as e:
            requests.get(ci, checkpoint)
        said.add((e.value.code, e.value.message, e.value.hint))
    assert len(said) == 1
    assert requests.recent(ci) == ()
    assert requests.checkpoint(ci, prod.id).job_id == requests.checkpoint(ci, "prod").job_id, "by id and by name"
    assert {a.job.connection for a in requests.recent(boss)} == {"prod", "other"}
    assert [a.job.connection for a in requests.recent(ci)] == ["prod"]
    with pytest.raises(AccessDenied):
        requests.checkpoint(reader, "prod")
    assert requests.get(reader, theirs).job.id == theirs
    for verb in (lambda: requests.recent(writer), lambda: requests.figures(writer)):
        with pytest.raises(AccessDenied):
            verb()
    mine = requests.checkpoint(writer, "prod").job_id
    assert requests.get(writer, mine).job.id == mine, "what it asked for itself it may follow"
    with pytest.raises(ConfigError):
        requests.get(writer, theirs)
    assert [f.connection for f in requests.figures(ci).connections] == ["prod"]


def test_a_checkpoint_is_found_by_its_snapshot_and_its_tag(history: History) -> None:
    prod = history.connection("prod")
    snapshot, _ = history.drilled(prod, history.clock.at, tag="v1")
    ci = caller_of(history, "ci")
    assert history.engine.requests.get(ci, snapshot.id).job.id == snapshot.job_id
    assert [a.job.id for a in history.engine.requests.recent(ci, "prod", "v1")] == [snapshot.job_id]
    assert history.engine.requests.recent(ci, "prod", "v2") == ()
