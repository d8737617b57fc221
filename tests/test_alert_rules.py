"""Which incidents there are: every kind with its border, what is not decided yet, and the words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.alerts import drift, messages, patience, rules
from engine.alerts.facts import ConnectionFacts, DriftFacts, Facts, FailedJob, WorkerFacts
from engine.model import Incident, IncidentKind, Occasion, Wanted
from engine.model.watch import Drift, RowDelta
from tests.fixtures.records import NOW

C = ConnectionFacts("c1", "shop", NOW - timedelta(days=9), 3600.0, NOW - timedelta(minutes=5), True)
FAILED = FailedJob("ab" * 16, "checkpoint", NOW, False, None, "the server is away", "Start it.")
ALIVE = WorkerFacts("w1", "here", NOW, True)
DEAD = WorkerFacts("w2", "there", NOW - timedelta(minutes=5), False)


def ago(**span: float) -> timedelta:
    return timedelta(**span)


def judged(facts: Facts) -> list[Wanted]:
    return list(rules.evaluate(facts, NOW).wanted)


def kinds(*connections: ConnectionFacts) -> list[IncidentKind]:
    return [w.kind for w in judged(Facts(connections=connections))]


def test_where_nothing_is_wrong_there_is_nothing() -> None:
    assert judged(Facts((C,), (ALIVE,), NOW, NOW - ago(days=1))) == []


def test_a_failure_says_what_failed_and_where_to_look() -> None:
    [told] = judged(Facts((replace(C, failed=FAILED),)))
    assert told.summary == "shop: checkpoint: no snapshot: the server is away"
    assert told.hint == "`offsitedb jobs show abababababab`. Start it."
    drilled = replace(FAILED, what="drill", snapshot_id="s", could_not_verify=True)
    assert "drill: COULD NOT VERIFY" in judged(Facts((replace(C, failed=drilled),)))[0].summary


def test_what_is_told_can_be_kept_and_sent() -> None:
    [told] = judged(Facts((replace(C, name="a\0b", failed=replace(FAILED, message="\udcff" * 900)),)))
    assert told.name == "a␀b"
    assert len(told.summary) == 500
    assert told.summary.encode().endswith("??…".encode())


@pytest.mark.parametrize(
    ("proven", "created", "target", "overdue"),
    [
        (ago(seconds=3600), ago(days=9), 3600.0, False),
        (ago(seconds=3601), ago(days=9), 3600.0, True),
        (None, ago(minutes=59), 3600.0, False),  # its first proof has as much time
        (None, ago(minutes=61), 3600.0, True),
        (None, ago(days=9), None, False),
        (ago(days=8), ago(days=9), None, False),
    ],
)
def test_overdue(proven: timedelta | None, created: timedelta, target: float | None, overdue: bool) -> None:
    at = None if proven is None else NOW - proven
    found = kinds(replace(C, newest_proven_at=at, created_at=NOW - created, proof_target_s=target))
    assert found == ([IncidentKind.OVERDUE] if overdue else [])


def test_what_is_said_of_an_overdue_proof_does_not_change_with_time() -> None:
    late = Facts((replace(C, newest_proven_at=NOW - ago(hours=9)),))
    assert rules.evaluate(late, NOW).wanted == rules.evaluate(late, NOW + ago(hours=5)).wanted


def test_a_paused_retention() -> None:
    assert kinds(replace(C, retention_paused="")) == [IncidentKind.RETENTION_PAUSED]
    [told] = judged(Facts((replace(C, retention_paused="three snapshots are missing"),)))
    assert told.summary == "shop: retention is paused: three snapshots are missing"


def test_a_blocked_key_is_one_incident_and_outlasts_a_job_that_looks_for_it_again() -> None:
    [told] = judged(Facts(blocked=("a", "b", "c", "d")))
    assert (told.subject, told.summary) == (rules.MASTER_KEY, "jobs wait for the master key: a, b, c and 1 more")
    again = rules.evaluate(Facts(key_tried_at=NOW - ago(seconds=2)), NOW)
    assert not again.wanted
    assert again.undecided == {(IncidentKind.KEY_BLOCKED, rules.MASTER_KEY)}
    assert not rules.evaluate(Facts(key_tried_at=NOW - ago(seconds=11)), NOW).undecided


@pytest.mark.parametrize(
    ("heard", "work", "wanted", "undecided"),
    [
        (ago(seconds=61), ago(days=1), True, False),
        (ago(seconds=59), ago(days=1), False, True),  # maybe it is being restarted
        (ago(days=1), ago(seconds=59), False, True),  # the job came just now
        (ago(days=1), ago(seconds=61), True, False),
        (ago(days=1), None, False, False),
        (None, ago(seconds=61), True, False),
    ],
)
def test_no_worker_at_all(heard: timedelta | None, work: timedelta | None, wanted: bool, undecided: bool) -> None:
    facts = Facts(last_heard_at=None if heard is None else NOW - heard, work_since=None if work is None else NOW - work)
    judgement = rules.evaluate(facts, NOW)
    assert [w.subject for w in judgement.wanted] == ([rules.ALL_WORKERS] if wanted else [])
    assert bool(judgement.undecided) is undecided


def test_a_worker_that_fell_silent_beside_others() -> None:
    [told] = judged(Facts(workers=(ALIVE, DEAD), last_heard_at=NOW, work_since=NOW))
    assert (told.subject, told.name) == ("w2", "there")
    assert judged(Facts(workers=(replace(ALIVE, host="there"), DEAD))) == []  # started again there
    lately = rules.evaluate(Facts(workers=(ALIVE, replace(DEAD, heard_at=NOW - ago(seconds=30)))), NOW)
    assert not lately.wanted
    assert lately.undecided == {(IncidentKind.WORKER_DEAD, "w2")}


def drifted(*rows: tuple[str, int, int], gone: tuple[str, ...] = ()) -> Drift:
    return Drift("s1", NOW, (), gone, tuple(RowDelta("public", *row) for row in rows))


@pytest.mark.parametrize(
    ("before", "after", "limit", "told"),
    [(100, 70, 0.3, False), (100, 69, 0.3, True), (100, 0, 0.99, True), (0, 5, 0.01, False), (3, 1, 0.5, True),
     (100, 0, drift.OFF, False), (100, 300, 0.01, False)],
)  # fmt: skip
def test_drift_by_rows(before: int, after: int, limit: float, told: bool) -> None:
    assert (drift.told(drifted(("t", before, after)), limit) is not None) is told


def test_drift_in_words() -> None:
    found = drifted(("a", 1000, 10), ("b", 10, 0), ("c", 10, 9), gone=("public.x",))
    assert drift.told(found, 0.5) == (
        "1 table is gone: public.x; 2 tables shrank by more than 50%: public.b 10 → 0 rows, public.a 1,000 → 10 rows"
    )
    assert drift.told(Drift(None, None), 0.5) is None
    facts = replace(C, drifts=(DriftFacts("s1", "s2", found),))
    [told] = judged(Facts((facts,)))
    assert rules.worded(told, "f" * 32)[2].endswith("`offsitedb alerts acknowledge ffffffffffff`.")
    assert kinds(replace(facts, drifts=(replace(facts.drifts[0], accepted=True),))) == []


KEYS = [(kind, subject) for kind in IncidentKind for subject in ("a", "b")]


def incident(kind: IncidentKind, subject: str) -> Incident:
    return Incident(f"{kind}{subject}", kind, subject, subject, "x", "y", NOW)


@given(st.sets(st.sampled_from(KEYS)), st.sets(st.sampled_from(KEYS)), st.sets(st.sampled_from(KEYS)))
def test_the_difference_makes_what_is_open_what_is_wanted(
    standing: set[tuple[IncidentKind, str]],
    wanted: set[tuple[IncidentKind, str]],
    undecided: set[tuple[IncidentKind, str]],
) -> None:
    open_ = [incident(*key) for key in sorted(standing)]
    judgement = rules.Judgement(tuple(Wanted(*key, key[1], "x", "y") for key in sorted(wanted)), frozenset(undecided))
    change = rules.difference(open_, judgement)
    after = standing - {(i.kind, i.subject) for i in change.closed} | {(w.kind, w.subject) for w in change.opened}
    assert wanted <= after <= wanted | (standing & undecided)
    assert not {(w.kind, w.subject) for w in change.opened} & standing
    assert change.reworded == ()


def test_freshness() -> None:
    assert C.fresh(NOW)
    assert not replace(C, newest_proven_at=None).fresh(NOW)
    assert not C.fresh(NOW + ago(hours=1))
    free = replace(C, proof_target_s=None)
    assert free.fresh(NOW + ago(days=30))
    assert not replace(free, last_proven=False).fresh(NOW)


def test_patience() -> None:
    pauses = [patience.pause_s(n) for n in range(1, 12)]
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    assert patience.pause_s(10**6) == 3600
    assert patience.next_try(NOW, 3, NOW) == NOW + ago(seconds=40)
    assert patience.next_try(NOW, 80, NOW + ago(days=3) - ago(hours=1)) is not None
    assert patience.next_try(NOW, 80, NOW + ago(days=3) - ago(minutes=59)) is None


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of the Standard Webhooks specification's own libraries."""
    signed = messages.sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        NOW.fromtimestamp(1614265330, tz=NOW.tzinfo),
        b'{"test": 2432232314}',
    )
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert (signed["webhook-id"], signed["webhook-timestamp"]) == ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")


@pytest.mark.parametrize("secret", ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!", "whsec_c2hvcnQ="])
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match=r"begin|Base64|bytes"):
        messages.check_secret(secret)
    messages.check_secret(messages.new_secret())


def test_a_document_in_words() -> None:
    one = incident(IncidentKind.DRIFT, "shop")
    title, text, severity = messages.plain(messages.body("d1", Occasion.OPENED, one))
    assert (title, text, severity) == ("OffsiteDB: drift: shop", "x\n→ y", "failure")
    closed = messages.body("d1", Occasion.CLOSED, replace(one, closed_at=NOW))
    assert messages.plain(closed) == ("OffsiteDB: back to normal: shop", "back to normal: x", "success")
    assert messages.about(closed) == "drift: shop"


def test_a_ledger_that_does_not_hold_is_told_until_a_look_finds_nothing() -> None:
    wrong = Facts(wrong=2, first_wrong="drill x: it is not what event 3 left behind")
    [told] = judged(wrong)
    assert (told.kind, told.name) == (IncidentKind.LEDGER, "ledger")
    assert "2 found wrong: drill x: it is not what event 3 left behind" in told.summary
    assert told.hint.startswith("`offsitedb verify`")
    assert judged(replace(wrong, wrong=0)) == []
