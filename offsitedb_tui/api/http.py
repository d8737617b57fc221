"""What every request goes through: an id, a body within bounds, errors as JSON, headers, one line in the log.

``Authorization`` and bodies are never logged. What nobody foresaw is answered with the request's id and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.codec import to_plain
from engine.errors import AccessDenied, CatalogError, ConfigError, Internal, OffsiteError
from offsitedb_tui.api.answers import refusal

T = TypeVar("T")
LARGEST_BODY = 16 * 1024
_LEFT = 499
"""In log and metrics: the client went away before there was an answer."""
BODY_WITHIN_S = 10.0
_log = logging.getLogger("offsitedb.api")

_STATUS = {
    "access.key": 401,
    "access.login": 401,
    "access.rate-limited": 429,
    "config.not-found": 404,
    "api.idempotency": 422,
}
_NOT_SERVED = {404: "there is nothing at this path", 405: "this path does not know that method"}
HEADERS = (
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    ("cross-origin-resource-policy", "same-origin"),
)
"""Of every answer that does not say otherwise."""


class Refused(Exception):
    """A request that is answered with this status and error."""

    def __init__(self, status: int, error: OffsiteError, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.headers = tuple(headers)


def bad(message: str, *, status: int = 400, hint: str | None = None) -> NoReturn:
    """Refuse the request with ``api.request``."""
    raise Refused(status, ConfigError("api.request", message, hint=hint))


def status_of(error: OffsiteError) -> int:
    """The HTTP status that stands for an error of the engine."""
    if error.code in _STATUS:
        return _STATUS[error.code]
    match error:
        case AccessDenied():
            return 403
        case ConfigError():
            return 400
        case CatalogError() if error.retry:
            return 503
        case _:
            return 500


class JsonAnswer(Response):
    """A record as JSON."""

    media_type = "application/json"

    def __init__(self, record: object, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(json_bytes(record), status, dict(headers))


def json_bytes(record: object) -> bytes:
    return json.dumps(to_plain(record), ensure_ascii=False, allow_nan=False).encode() + b"\n"


async def call(verb: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """A verb of the engine, in a thread: it reads and writes files."""
    return await run_in_threadpool(verb, *arguments, **named)


async def read_body(request: Request) -> bytes:
    """The whole body. Raises Refused: 413 when it is too large, 408 when it does not come."""
    said = request.headers.get("content-length", "0")
    if not said.isdigit() or int(said[:18]) > LARGEST_BODY:
        bad("the body is larger than 16 KiB", status=413)
    body = b""
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_BODY:
                    bad("the body is larger than 16 KiB", status=413)
    except TimeoutError:
        bad(f"the body did not arrive within {BODY_WITHIN_S:g} s", status=408)
    return body


async def read_json(request: Request) -> dict[str, object]:
    """The body as one JSON object without doubled names. Raises Refused."""
    kind, _, rest = request.headers.get("content-type", "").lower().partition(";")
    if kind.strip() != "application/json" or rest.strip().replace('"', "") not in ("", "charset=utf-8"):
        bad("the body is not said to be JSON", status=415, hint="Send `Content-Type: application/json`.")
    body = await read_body(request)
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        bad("the body is not JSON, or names something twice")
    if not isinstance(found, dict):
        bad("the body is not a JSON object")
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name twice")
    return made


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)


class Guard:
    """The outermost layer. It sees raw messages and holds nothing back, so that blanks pass while somebody waits."""

    def __init__(self, app: ASGIApp, *, secure: bool, count: Callable[[str, int], None]) -> None:
        """``secure``: whether we speak TLS; ``count`` is told the route and status of every answer."""
        self._app = app
        self._secure = secure
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, began = secrets.token_hex(8), time.monotonic()
        scope.setdefault("state", {})["request_id"] = request_id
        scope["app"] = self  # the router then raises what it does not find, and does not answer it itself
        status = 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._head(MutableHeaders(scope=message), request_id)
            await send(message)

        try:
            await self._app(scope, receive, told)
        except ClientDisconnect:
            pass
        except Exception as e:  # noqa: BLE001 - the last line: whoever asks hears no more than the request's id
            if status == 0:
                await answer_for(e, request_id)(scope, receive, told)
            else:
                _log.exception("request %s broke off", request_id)
        finally:
            status = status or _LEFT
            route = getattr(scope.get("route"), "path", "other")
            self._count(route, status)
            took = time.monotonic() - began
            who = scope["state"].get("who", "-")
            path = scope.get("raw_path", b"").decode("ascii", "replace")[:200]
            _log.info("%s %s %s %d %.3f s %s", request_id, scope["method"], path, status, took, who)

    def _head(self, headers: MutableHeaders, request_id: str) -> None:
        headers["x-request-id"] = request_id
        for name, value in HEADERS:
            headers.setdefault(name, value)
        if self._secure:
            headers.setdefault("strict-transport-security", "max-age=31536000")


def answer_for(error: Exception, request_id: str) -> Response:
    """The answer to a request that ended with an exception."""
    headers: list[tuple[str, str]] = []
    if isinstance(error, HTTPException):
        status, headers = error.status_code, list((error.headers or {}).items())
        found: OffsiteError = ConfigError("api.request", _NOT_SERVED.get(status, "the request is refused"))
    elif isinstance(error, Refused):
        status, found, headers = error.status, error.error, list(error.headers)
    elif isinstance(error, OffsiteError):
        status, found = status_of(error), error
    else:
        _log.error("request %s failed", request_id, exc_info=error)
        status, found = 500, Internal("internal.error", "the server could not answer")
    if status == 500 and isinstance(error, OffsiteError):
        _log.error("request %s: %s [%s]", request_id, error.message, error.code)
        found = Internal("internal.error", "the server could not answer")
    if status == 401:
        headers.append(("www-authenticate", 'Bearer realm="offsitedb"'))
    wait = found.context.get("wait_s", 2 if status == 503 else None)
    if status in (429, 503) and isinstance(wait, int | float):
        headers.append(("retry-after", str(math.ceil(wait))))
    return JsonAnswer(refusal(found, request_id), status, headers)
