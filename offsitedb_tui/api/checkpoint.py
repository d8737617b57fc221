"""``POST /api/checkpoint``, which answers when the drill is done, and ``/api/checkpoints``, which answers at once.

Both queue a job and nothing else: a client that goes away, a proxy that cuts and a server that stops change nothing of
it. Equal requests share a job, and the same ``Idempotency-Key`` finds its job again.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from engine.config import ApiSettings
from engine.errors import OffsiteError, StillRunning
from engine.model import JobState
from engine.model.apikeys import ApiCaller, Asked
from engine.service import Engine
from offsitedb_tui.api.answers import CheckpointAnswer, CheckpointList, checkpoint_answer
from offsitedb_tui.api.http import JsonAnswer, answer_for, bad, call, read_json
from offsitedb_tui.api.limits import RequestLimit
from offsitedb_tui.api.patience import PatientAnswer
from offsitedb_tui.api.waiting import UNATTENDED_AFTER_S, Waiting, Why

LONGEST_LOOK_S = 60
"""How long ``?wait=`` may wait: shorter than what proxies let an answer take."""
_ID = re.compile("[0-9a-f]{32}")
_log = logging.getLogger("offsitedb.api")


@dataclass(frozen=True, slots=True)
class _Wanted:
    database: str
    tag: str | None
    idempotency_key: str | None


class CheckpointRoutes:
    """The endpoints. Each authenticates first: nobody without a key learns anything."""

    def __init__(self, engine: Engine, waiting: Waiting, limit: RequestLimit) -> None:
        self._engine = engine
        self._waiting = waiting
        self._limit = limit

    async def caller(self, request: Request) -> ApiCaller:
        """Who asks. Raises AccessDenied ``access.key``, ``access.rate-limited``."""
        caller: ApiCaller = await call(self._engine.apikeys.authenticate, request.headers.get("authorization"))
        request.state.who = caller.principal.actor
        self._limit.take(caller.key_id)
        return caller

    async def seal(self, request: Request) -> Response:
        """``POST /api/checkpoint``: blocks until there is a verdict, unless ``Prefer: respond-async`` is said."""
        caller = await self.caller(request)
        asked = await self._ask(caller, await _wanted(request))
        if "respond-async" in request.headers.get("prefer", "").lower():
            return await self._accepted(asked, (("preference-applied", "respond-async"),))
        settings, request_id = self._settings, str(request.state.request_id)

        async def answer() -> Response:
            try:
                return await self._verdict(asked)
            except Exception as e:  # noqa: BLE001 - blanks may have gone out: whatever it was, a whole answer has to follow
                return answer_for(e, request_id)

        return PatientAnswer(answer, after_s=settings.keep_alive_after_s, every_s=settings.keep_alive_every_s)

    async def begin(self, request: Request) -> Response:
        """``POST /api/checkpoints``: 202 and a place to look at."""
        caller = await self.caller(request)
        return await self._accepted(await self._ask(caller, await _wanted(request)))

    async def one(self, request: Request) -> Response:
        """``GET /api/checkpoints/{id}?wait=SECONDS``: 202 while it goes on, 200 when it has ended."""
        caller = await self.caller(request)
        checkpoint, wait_s = request.path_params["id"], _whole(request, "wait", 0, LONGEST_LOOK_S)
        if not _ID.fullmatch(checkpoint):
            checkpoint = "-"  # no id of ours: the same answer as for one that is not there
        attempt = await call(self._engine.requests.get, caller, checkpoint)
        if wait_s and not attempt.job.state.ended:
            await self._waiting.until_settled(attempt.job.id, wait_s)
            attempt = await call(self._engine.requests.get, caller, attempt.job.id)
        if attempt.job.state.ended:
            return JsonAnswer(checkpoint_answer(attempt))
        soon = "30" if attempt.job.state is JobState.BLOCKED else "5"
        return JsonAnswer(checkpoint_answer(attempt), 202, (("retry-after", soon),))

    async def recent(self, request: Request) -> Response:
        """``GET /api/checkpoints?database=&tag=&limit=``: the newest ones."""
        caller = await self.caller(request)
        query = request.query_params
        limit = _whole(request, "limit", 20, 100)
        found = await call(
            self._engine.requests.recent, caller, query.get("database"), query.get("tag") or None, limit or 1
        )
        return JsonAnswer(CheckpointList(tuple(checkpoint_answer(attempt) for attempt in found)))

    @property
    def _settings(self) -> ApiSettings:
        return self._engine.settings.api

    async def _ask(self, caller: ApiCaller, wanted: _Wanted) -> Asked:
        asked: Asked = await call(
            self._engine.requests.checkpoint, caller, wanted.database, wanted.tag, wanted.idempotency_key
        )
        return asked

    async def _accepted(self, asked: Asked, more: tuple[tuple[str, str], ...] = ()) -> Response:
        answer = await self._answer(asked)
        return JsonAnswer(answer, 202, (("location", f"/api/checkpoints/{asked.job_id}"), ("retry-after", "5"), *more))

    async def _verdict(self, asked: Asked) -> Response:
        """The answer when it has ended, or when it is no use to wait any longer."""
        why = await self._waiting.until_settled(asked.job_id, self._settings.longest_wait_s)
        if why is Why.SETTLED:
            answer = await self._answer(asked)
            return JsonAnswer(answer, 200 if answer.ok else 424)
        answer = await self._answer(asked, _not_any_longer(why, asked.job_id, self._settings.longest_wait_s))
        if answer.ok:  # it ended in this very moment
            return JsonAnswer(answer)
        return JsonAnswer(answer, 202 if why is Why.TIMEOUT else 503, (("retry-after", "30"),))

    async def _answer(self, asked: Asked, instead: OffsiteError | None = None) -> CheckpointAnswer:
        attempt = await call(self._engine.requests.come_to, asked.job_id)
        return checkpoint_answer(attempt, joined=asked.joined, instead=instead)


async def _wanted(request: Request) -> _Wanted:
    """What is asked for. Raises Refused."""
    found = await read_json(request)
    strange = sorted(found.keys() - {"database", "tag"})
    if strange:
        bad("the body names something that is not known", hint="Send `database` and, if you want, `tag`.")
    database, tag = found.get("database"), found.get("tag")
    if not isinstance(database, str) or not database:
        bad("`database` is missing", hint="Send the connection's name or id as `database`.")
    if tag is not None and not isinstance(tag, str):
        bad("`tag` is not a text")
    return _Wanted(database, tag or None, request.headers.get("idempotency-key"))


def _whole(request: Request, name: str, default: int, most: int) -> int:
    """A whole number of the query, cut to ``most``. Raises Refused."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        bad(f"`{name}` is not a whole number")
    return min(int(text), most)


def _not_any_longer(why: Why, job_id: str, longest_wait_s: float) -> OffsiteError:
    message = {
        Why.TIMEOUT: f"the checkpoint has not ended after {longest_wait_s:g} s and goes on",
        Why.UNATTENDED: f"the checkpoint waits for a worker, and for {UNATTENDED_AFTER_S:g} s there has been none",
        Why.STOPPING: "the server stops; the checkpoint goes on",
    }[why]
    look = f"`GET /api/checkpoints/{job_id}?wait=50` says what comes of it."
    hint = f"Start a worker: `offsitedb worker`. {look}" if why is Why.UNATTENDED else look[0] + look[1:]
    return StillRunning("job.still-running", message, hint=hint)
