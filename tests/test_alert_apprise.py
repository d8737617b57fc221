"""Alerts through Apprise: a service that it knows, at a real server; and what is said where it is not installed."""

from __future__ import annotations

import json

import pytest

from engine.alerts import sending
from engine.errors import AlertFailed, ConfigError
from engine.model import ChannelKind, JobError
from tests.fixtures.history import NOW, History
from tests.fixtures.receiver import Receiver, answer


def test_without_the_library_it_says_how_to_get_it(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="not installed") as missing:
        history.engine.alerts.add("phone", ChannelKind.APPRISE, "ntfy://topic")
    assert missing.value.code == "config.apprise"
    assert "offsitedb[apprise]" in missing.value.hint


def test_a_service_is_told(history: History) -> None:
    pytest.importorskip("apprise")
    with Receiver() as receiver:
        url = f"json://127.0.0.1:{receiver.port}/s3cr3t-token"
        made = history.engine.alerts.add("phone", ChannelKind.APPRISE, url)
        assert (made.secret, made.channel.shown) == (None, "json://…")
        shop = history.connection("shop")
        history.failed(shop, NOW, JobError("pg.unreachable", "the server is away", "Wait.", 20))
        assert history.engine.alerts.check().delivered == 1
        told = json.loads(receiver.received[0].body)
        assert (told["title"], told["type"]) == ("OffsiteDB: failed: shop", "failure")
        assert "the server is away" in told["message"]
        receiver.instead.append(answer(500))
        with pytest.raises(AlertFailed) as failed:
            history.engine.alerts.test("phone")
        assert failed.value.code == "alert.failed"
        assert "s3cr3t" not in repr((str(failed.value), history.engine.alerts.deliveries()))


def test_what_it_does_not_know_is_refused(history: History) -> None:
    pytest.importorskip("apprise")
    for url in ("nonsense", "https", "unknown-service://x", ""):
        with pytest.raises(ConfigError) as refused:
            history.engine.alerts.add("phone", ChannelKind.APPRISE, url)
        assert refused.value.code == "config.alert-url"
