"""What the API says of itself and of checkpoints: answers, OpenAPI, metrics, limits, pages."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import Response
from starlette.types import Message

from engine.codec import from_plain, to_plain
from engine.errors import AccessDenied
from engine.model import Failure, JobError, JobState, Skip, Verdict
from engine.model.watch import DrillLine
from offsitedb_tui.api import metrics, openapi, pages, waiting
from offsitedb_tui.api.answers import CheckpointAnswer, checkpoint_answer, refusal
from offsitedb_tui.api.app import make_api
from offsitedb_tui.api.limits import RequestLimit
from offsitedb_tui.api.metrics import Tally
from offsitedb_tui.api.patience import PatientAnswer
from tests.fixtures.answers import fits
from tests.fixtures.history import NOW, History, StoppedClock, acme
from tests.fixtures.hostile_text import STRINGS


def answers(history: History) -> list[CheckpointAnswer]:
    return [checkpoint_answer(a) for a in history.engine.ledger.entries()]


def test_ok_is_said_of_proofs_alone(history: History) -> None:
    prod = history.connection("prod")
    lost = Failure("drill.mismatch", "public.orders: 3 of 4 rows came back", "Look at its triggers.")
    at = NOW - timedelta(hours=1)
    history.drilled(prod, at, tag="proven")
    history.drilled(prod, at, Verdict.PROVEN_WITH_SKIPS, skips=[Skip("event trigger", "x", "y")], tag="skips")
    history.drilled(prod, at, Verdict.FAILED, failures=[lost], tag="lost")
    history.drilled(prod, at, Verdict.COULD_NOT_VERIFY, failures=[lost], tag="unknown")
    history.snapshot(prod, at, tag="undrilled")
    for state in JobState:
        error = JobError("pg.unreachable", "the server does not answer", "Check the network.", 20)
        needed = state in (JobState.FAILED, JobState.BLOCKED)
        history.job(prod, at, state=state, tag=state.value, error=error if needed else None)
    found = {a.tag: a for a in answers(history)}
    assert {tag for tag, a in found.items() if a.ok} == {"proven", "skips"}
    assert {tag: a.restore_drill for tag, a in found.items() if a.restore_drill != "not run"} == {
        "proven": "proven",
        "skips": "proven with skips",
        "lost": "failed",
        "unknown": "could not verify",
    }
    assert (found["proven"].size, found["skips"].skips, found["proven"].diagnosis) == ("412.3 MB", 1, None)
    assert found["lost"].failures == (lost.message,)
    diagnosis = found[JobState.FAILED.value].diagnosis
    assert diagnosis == "No snapshot was taken: the server does not answer. Check the network."
    assert "not drilled" in (found["undrilled"].diagnosis or "")
    for tag in (JobState.QUEUED.value, JobState.RUNNING.value):
        assert (found[tag].ok, found[tag].diagnosis) == (False, None)
    for answer in found.values():
        assert from_plain(CheckpointAnswer, to_plain(answer)) == answer
        fits(to_plain(answer), "CheckpointAnswer")


def test_other_peoples_text_is_made_visible(history: History) -> None:
    prod = history.connection("prod")
    for text in STRINGS[::5]:
        history.failed(prod, NOW, JobError("pg.dump-failed", f"a{text}b", f"c{text}d", 20))
    for answer in answers(history):
        assert answer.error is not None
        for text in (answer.diagnosis or "", answer.error.message, answer.error.hint):
            unseen = [ch for ch in text if unicodedata.category(ch) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")]
            assert [ch for ch in unseen if ch != "\n"] == []


def test_the_openapi_document_is_whole(history: History) -> None:
    document = openapi.document()
    json.dumps(document, allow_nan=False)
    refs = [v for k, v in _walk(document) if k == "$ref"]
    assert refs
    for ref in refs:
        at: Any = document
        for step in ref.removeprefix("#/").split("/"):
            at = at[step]
    operations = [
        (path, method.upper(), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    ids = [operation["operationId"] for _, _, operation in operations]
    assert len(ids) == len(set(ids))
    for path, _, operation in operations:
        assert {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"} == (
            {"id"} if "{id}" in path else set()
        )
        for status, response in operation["responses"].items():
            assert status.isdigit()
            assert response["description"]
    router: Any = make_api(history.engine, None, secure=False).app._app
    served = {
        (route.path, method)
        for route in router.routes
        for method in route.methods - {"HEAD"}
        if route.path.startswith(("/api", "/healthz", "/metrics", "/openapi"))
    }
    assert served == {(path, method) for path, method, _ in operations}


def _walk(value: Any) -> Any:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner)


def test_metrics_can_be_read(history: History) -> None:
    acme(history)
    hostile = 'a"b\\c\nd{e="f"} 1'
    history.drilled(history.connection(hostile), NOW)
    caller = history.engine.apikeys.authenticate(f"Bearer {history.engine.apikeys.create('prometheus').text}")
    tally = Tally()
    tally.count("/api/checkpoint", 200)
    page = metrics.exposition(history.engine.requests.figures(caller), tally, 3).decode()
    found = {
        (s.name, *sorted(s.labels.values())): s.value
        for family in text_string_to_metric_families(page)
        for s in family.samples
    }
    assert found["offsitedb_newest_proof_age_seconds", "prod-api"] == 12 * 60
    assert found["offsitedb_proof_overdue", "warehouse"] == 1
    assert found["offsitedb_drills_total", "FAILED", "warehouse"] == 1
    assert found["offsitedb_drills_total", "PROVEN", "billing"] == 1
    assert found["offsitedb_jobs", "failed"] == 2
    assert found["offsitedb_workers_alive",] == 1
    assert found["offsitedb_worker_heartbeat_age_seconds",] == 0
    assert found["offsitedb_restore_seconds", "last", "prod-api"] == 91
    assert found["offsitedb_api_answers_total", "/api/checkpoint", "200"] == 1
    assert found["offsitedb_api_waiting",] == 3
    assert ("offsitedb_newest_proof_age_seconds", hostile) in found


def test_requests_are_limited_one_caller_apart_from_another() -> None:
    clock = StoppedClock()
    limit = RequestLimit(60, clock)
    for _ in range(60):
        limit.take("a")
    with pytest.raises(AccessDenied) as e:
        limit.take("a")
    assert (e.value.code, e.value.context["wait_s"]) == ("access.rate-limited", 1)
    limit.take("b")
    clock.at += timedelta(seconds=2)
    limit.take("a")
    limit.take("a")
    with pytest.raises(AccessDenied):
        limit.take("a")


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple((name, None if name == "value" else value) for name, value in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = (
    *STRINGS,
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</title><script>",
    "<!--",
    "&lt;script&gt;",
    "javascript:alert(1)",
)


@pytest.mark.parametrize("part", range(4))
def test_hostile_names_are_text_on_every_page(part: int) -> None:
    """The tags of a page are the same, whatever the names in it are."""

    def receipts(text: str) -> str:
        line = DrillLine("f" * 32, "e" * 32, text, text, NOW, NOW, Verdict.FAILED, 0, 3.0, text, "0" * 64)
        return pages.receipts_page(text, [line], connection=text, more=True)

    def login(text: str) -> str:
        return pages.login_page(operators=True, message=text, name=text)

    for make in (receipts, login, lambda text: pages.refused_page("Receipt", text)):
        expected = _Tags(make("plain")).tags
        for text in HOSTILE[part::4]:
            page = make(text or "plain")
            assert _Tags(page).tags == expected, text
            assert not [c for c in page if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c != "\n"], text


def play(answer: PatientAnswer, leave_after: int | None = None) -> list[Message]:
    """What it sends; the client leaves after ``leave_after`` messages."""

    async def run() -> list[Message]:
        sent: list[Message] = []
        left = asyncio.Event()

        async def send(message: Message) -> None:
            sent.append(message)
            if leave_after is not None and len(sent) >= leave_after:
                left.set()

        async def receive() -> Message:
            await left.wait()
            return {"type": "http.disconnect"}

        await answer({"type": "http"}, receive, send)
        return sent

    return asyncio.run(run())


def test_blanks_come_before_an_answer_that_takes_long() -> None:
    async def late() -> Response:
        await asyncio.sleep(0.2)
        return Response(b'{"ok": false}', 424)

    sent = play(PatientAnswer(late, after_s=0.05, every_s=0.02))
    assert (sent[0]["status"], sent[-1]["more_body"]) == (200, False)
    body = b"".join(m["body"] for m in sent[1:])
    assert body.startswith(b"   ")
    assert json.loads(body) == {"ok": False}
    quick = play(PatientAnswer(late, after_s=5, every_s=5))
    assert quick[0]["status"] == 424


def test_a_client_that_leaves_ends_the_waiting() -> None:
    ended: list[str] = []

    async def never() -> Response:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("cancelled")
        return Response()

    sent = play(PatientAnswer(never, after_s=0.01, every_s=0.01), leave_after=4)
    assert ended == ["cancelled"]
    assert sent[-1]["more_body"] is True


def test_a_job_that_no_worker_takes_is_not_waited_for_for_ever(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "UNATTENDED_AFTER_S", 0.3)
    monkeypatch.setattr(waiting, "LOOK_FOR_WORKERS_EVERY_S", 0.05)
    history.connection("prod")
    job = history.engine.jobs.checkpoint("prod").id

    async def run() -> list[waiting.Why]:
        found = waiting.Waiting(history.engine)
        looking = asyncio.create_task(found.run())
        why = [await found.until_settled(job, 0.1), await found.until_settled(job, 20)]
        await asyncio.to_thread(history.engine.jobs.cancel, job)
        why.append(await found.until_settled(job, 20))
        assert found.count == 0
        found.stop()
        why.append(await found.until_settled(job, 20))
        looking.cancel()
        return why

    why = waiting.Why
    assert asyncio.run(run()) == [why.TIMEOUT, why.UNATTENDED, why.SETTLED, why.STOPPING]


def test_a_refusal_has_its_shape() -> None:
    fits(to_plain(refusal(AccessDenied("access.key", "no"), "0123")), "Refusal")
