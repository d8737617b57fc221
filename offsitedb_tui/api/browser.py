"""People with a browser: log in, see the receipts, take one along.

A session is a cookie that scripts cannot read, that is sent over TLS alone and never with a request that another site
began; what changes something is a POST that must come from a page of ours. Nothing here changes an installation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from engine.errors import AccessDenied, ConfigError
from engine.model import Principal, SessionKind
from engine.model.watch import DrillLine
from engine.service import Engine
from engine.service.access import acting_as
from offsitedb_tui.api import pages
from offsitedb_tui.api.answers import problem, sentence
from offsitedb_tui.api.http import Refused, bad, call, read_body, status_of

COOKIE = "__Host-offsitedb"
"""The prefix has browsers refuse it from another host, another path, or without TLS."""
SHOWN = 500
_ID = re.compile("[0-9a-f]{32}")
_TOKEN = re.compile(r"[A-Za-z0-9_.~-]{1,200}")
_POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


class Operators(Protocol):
    """``engine.operators``, as far as a browser needs it."""

    def any_exist(self) -> bool: ...

    def login(self, name: str, password: str, source: str, kind: SessionKind) -> str:
        """The token of a new session. Raises AccessDenied."""
        ...

    def session(self, token: str) -> Principal:
        """Who the token belongs to. Raises AccessDenied."""
        ...

    def logout(self, token: str) -> None: ...


class BrowserRoutes:
    """The endpoints."""

    def __init__(self, engine: Engine, operators: Operators | None) -> None:
        self._engine = engine
        self._operators = operators

    async def home(self, request: Request) -> Response:
        del request
        return RedirectResponse("/receipts", 303)

    async def style(self, request: Request) -> Response:
        del request
        return Response(pages.STYLE, media_type="text/css", headers={"cache-control": "max-age=3600"})

    async def login(self, request: Request) -> Response:
        """The form, and what is sent with it."""
        operators = self._operators
        if operators is None or not await call(operators.any_exist):
            return html_answer(pages.login_page(operators=False))
        if request.method != "POST":
            return html_answer(pages.login_page(operators=True))
        _demand_own_page(request)
        sent = await _form(request)
        name, password = sent.get("name", ""), sent.get("password", "")
        source = request.client.host if request.client is not None else "unix socket"
        try:
            token = await call(operators.login, name, password, source, SessionKind.BROWSER)
        except AccessDenied as e:
            status = status_of(e)
            said = sentence(problem(e))
            answer = html_answer(pages.login_page(operators=True, message=said, name=name[:100]), status)
            if status == 429:
                answer.headers["retry-after"] = str(e.context.get("wait_s", 5))
            return answer
        answer = RedirectResponse("/receipts", 303)
        _keep(answer, token)
        return answer

    async def logout(self, request: Request) -> Response:
        _demand_own_page(request)
        token = _token(request)
        if token is not None and self._operators is not None:
            await call(self._operators.logout, token)
        answer = RedirectResponse("/login", 303)
        _forget(answer)
        return answer

    async def receipts(self, request: Request) -> Response:
        """The newest drills, of one connection with ``?connection=NAME``."""
        principal = await self.principal(request)
        if principal is None:
            return to_login()
        connection = request.query_params.get("connection") or None
        try:
            drills = await call(self._drills, principal, connection)
        except ConfigError as e:
            return html_answer(pages.refused_page("Receipts", e.message), status_of(e))
        who = principal.actor.partition(":")[2] or principal.actor
        page = pages.receipts_page(who, drills[:SHOWN], connection=connection, more=len(drills) > SHOWN)
        return html_answer(page)

    async def receipt(self, request: Request) -> Response:
        """One signed document, exactly as it was signed, to be saved."""
        principal = await self.principal(request)
        if principal is None:
            return to_login()
        drill_id = request.path_params["id"]
        try:
            found = await call(self._receipt, principal, drill_id)
        except ConfigError as e:
            return html_answer(pages.refused_page("Receipt", e.message), status_of(e))
        headers = {"content-disposition": f'attachment; filename="receipt-{drill_id}.json"'}
        return Response(found, media_type="application/json", headers=headers)

    async def principal(self, request: Request) -> Principal | None:
        """Who is logged in; None: nobody."""
        token = _token(request)
        if token is None or self._operators is None:
            return None
        try:
            principal: Principal = await call(self._operators.session, token)
        except AccessDenied:
            return None
        request.state.who = principal.actor
        return principal

    def _drills(self, principal: Principal, connection: str | None) -> Sequence[DrillLine]:
        with acting_as(principal):
            found = self._engine.drills.recent(connection, SHOWN + 1)
            if principal.connections is None:
                return found
            mine = {c.name for c in self._engine.connections.list() if c.id in principal.connections}
            return [line for line in found if line.connection in mine]

    def _receipt(self, principal: Principal, drill_id: str) -> str:
        """Raises ConfigError ``config.not-found``, also for one that is not the principal's to see."""
        missing = ConfigError("config.not-found", "there is no such receipt")
        if not _ID.fullmatch(drill_id):
            raise missing
        with acting_as(principal):
            found = self._engine.drills.receipt(drill_id)
            seen = self._drills(principal, None) if principal.connections is not None else None
            if seen is not None and not any(line.id == found.drill_id for line in seen):
                raise missing
            return found.text


def _demand_own_page(request: Request) -> None:
    """Refuse a POST that a page of another site sent. Raises Refused."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")
    if foreign or site not in (None, "same-origin", "none"):
        raise Refused(403, AccessDenied("access.scope", "the request comes from a page of another site"))


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form. Raises Refused."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        bad("this is not what the form sends", status=415)
    try:
        found = parse_qs((await read_body(request)).decode("ascii"), max_num_fields=4, errors="strict")
    except ValueError:
        bad("this is not what the form sends")
    return {name: values[0] for name, values in found.items()}


def _token(request: Request) -> str | None:
    cookies = SimpleCookie()
    try:
        cookies.load(request.headers.get("cookie", "")[:4096])
    except CookieError:
        return None
    morsel = cookies.get(COOKIE)
    return morsel.value if morsel is not None and _TOKEN.fullmatch(morsel.value) else None


def _keep(answer: Response, token: str) -> None:
    answer.set_cookie(COOKIE, token, path="/", secure=True, httponly=True, samesite="strict")


def _forget(answer: Response) -> None:
    answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")


def to_login() -> Response:
    return RedirectResponse("/login", 303)


def html_answer(page: str, status: int = 200) -> Response:
    # a page without a referrer would send its forms with the origin "null"
    headers = {"content-security-policy": _POLICY, "referrer-policy": "same-origin"}
    return Response(page, status, headers, media_type="text/html")
