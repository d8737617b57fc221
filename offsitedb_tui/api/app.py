"""The ASGI app: which path leads where."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from engine.errors import CatalogError, OffsiteError
from engine.service import Engine
from offsitedb_tui.api import metrics, openapi
from offsitedb_tui.api.answers import Health
from offsitedb_tui.api.browser import BrowserRoutes, Operators
from offsitedb_tui.api.checkpoint import CheckpointRoutes
from offsitedb_tui.api.http import Guard, JsonAnswer, Refused, call
from offsitedb_tui.api.limits import RequestLimit
from offsitedb_tui.api.report_pages import ReportRoutes
from offsitedb_tui.api.waiting import Waiting


@dataclass(frozen=True, slots=True)
class Api:
    """The app, and what is told when the server stops."""

    app: Guard
    waiting: Waiting


def make_api(engine: Engine, operators: Operators | None, *, secure: bool) -> Api:
    """The whole server behind one engine. ``secure``: whether it speaks TLS itself."""
    waiting, tally = Waiting(engine), metrics.Tally()
    checkpoints = CheckpointRoutes(engine, waiting, RequestLimit(engine.settings.api.requests_per_minute, engine.clock))
    browser = BrowserRoutes(engine, operators)
    reports = ReportRoutes(engine, browser)
    document = openapi.document()

    async def health(request: Request) -> Response:
        del request
        try:
            await call(engine.watch.revision)
        except OffsiteError:
            raise Refused(503, CatalogError("catalog.unreachable", "the catalog cannot be read")) from None
        return JsonAnswer(Health(ok=True))

    async def figures(request: Request) -> Response:
        caller = await checkpoints.caller(request)
        found = await call(engine.requests.figures, caller)
        page = await call(metrics.exposition, found, tally, waiting.count)
        return Response(page, headers={"content-type": metrics.CONTENT_TYPE})

    async def described(request: Request) -> Response:
        del request
        return JsonAnswer(document)

    routes = [
        Route("/api/checkpoint", checkpoints.seal, methods=["POST"]),
        Route("/api/checkpoints", checkpoints.begin, methods=["POST"]),
        Route("/api/checkpoints", checkpoints.recent, methods=["GET"]),
        Route("/api/checkpoints/{id}", checkpoints.one, methods=["GET"]),
        Route("/healthz", health, methods=["GET"]),
        Route("/metrics", figures, methods=["GET"]),
        Route("/openapi.json", described, methods=["GET"]),
        Route("/", browser.home, methods=["GET"]),
        Route("/style.css", browser.style, methods=["GET"]),
        Route("/login", browser.login, methods=["GET", "POST"]),
        Route("/logout", browser.logout, methods=["POST"]),
        Route("/receipts", browser.receipts, methods=["GET"]),
        Route("/receipts/{id}", browser.receipt, methods=["GET"]),
        Route("/reports", reports.reports, methods=["GET"]),
        Route("/reports/{id}/{name}", reports.file, methods=["GET"]),
    ]
    router = Router(routes, redirect_slashes=False, lifespan=lambda _app: _looking(waiting))
    return Api(Guard(router, secure=secure, count=tally.count), waiting)


@asynccontextmanager
async def _looking(waiting: Waiting) -> AsyncIterator[None]:
    """While the server runs, jobs are looked at for those who wait."""
    looking = asyncio.create_task(waiting.run())
    try:
        yield
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
