"""Duties of a worker: each in a thread of its own, again and again, whatever one of them runs into."""

from __future__ import annotations

import logging
import threading

import pytest

from engine.errors import StoreError
from engine.service.duties import Duties, Duty

WAIT_S = 10.0


def test_a_duty_that_fails_is_tried_again_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    done, turns = threading.Event(), 0

    def fail() -> None:
        nonlocal turns
        turns += 1
        if turns == 4:
            done.set()
        raise StoreError("store.timeout", "the bucket does not answer")

    caplog.set_level(logging.WARNING, "offsitedb.worker")
    duties = Duties([Duty("retention", 0.001, fail)])
    duties.start()
    assert done.wait(WAIT_S)
    duties.stop()
    assert [r.getMessage() for r in caplog.records if "does not answer" in r.getMessage()][1:] == []
    assert "store.timeout" in caplog.text


def test_one_that_hangs_or_breaks_does_not_hold_the_others_up() -> None:
    release, done, turns = threading.Event(), threading.Event(), 0

    def hang() -> None:
        release.wait()

    def work() -> None:
        nonlocal turns
        turns += 1
        if turns == 3:
            done.set()
        raise RuntimeError("a defect")

    duties = Duties([Duty("hangs", 1, hang), Duty("works", 0.001, work)])
    duties.start()
    assert done.wait(WAIT_S)
    duties.stop(within_s=0.2)
    release.set()
