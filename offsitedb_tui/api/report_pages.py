"""Monthly reports for people with a browser: the list, one to be read, its files to be saved.

A report is shown as it was signed, under a policy of its own: nothing is loaded, nothing runs, it is in a sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from engine.errors import ConfigError, OffsiteError
from engine.model import Principal
from engine.model.report import ReportLine
from engine.service import Engine
from engine.service.access import acting_as
from offsitedb_tui.api import pages
from offsitedb_tui.api.browser import BrowserRoutes, html_answer, to_login
from offsitedb_tui.api.http import call, status_of

FILES = {
    "report.html": "text/html; charset=utf-8",
    "report.pdf": "application/pdf",
    "report.txt": "text/plain; charset=utf-8",
    "report.json": "application/json",
}
"""What can be had here, and as what."""
_SHOWN = 200
_ID = re.compile("[0-9a-f]{32}")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; sandbox"


class ReportRoutes:
    """The endpoints."""

    def __init__(self, engine: Engine, browser: BrowserRoutes) -> None:
        self._engine = engine
        self._browser = browser

    async def reports(self, request: Request) -> Response:
        """The newest reports."""
        principal = await self._browser.principal(request)
        if principal is None:
            return to_login()
        lines = await call(self._lines, principal)
        who = principal.actor.partition(":")[2] or principal.actor
        return html_answer(pages.reports_page(who, lines))

    async def file(self, request: Request) -> Response:
        """One file of a report, exactly as it was signed: the page to be read, the others to be saved."""
        principal = await self._browser.principal(request)
        if principal is None:
            return to_login()
        id_, name = request.path_params["id"], request.path_params["name"]
        try:
            line, data = await call(self._file, principal, id_, name)
        except OffsiteError as e:
            return html_answer(pages.refused_page("Report", e.message), status_of(e))
        headers = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff"}
        if name != "report.html":
            ending = name.rpartition(".")[2]
            saved = f"restore-drill-report-{line.month}-r{line.revision}.{ending}"
            headers["content-disposition"] = f'attachment; filename="{saved}"'
        return Response(data, headers=headers | {"content-type": FILES[name]})

    def _lines(self, principal: Principal) -> Sequence[ReportLine]:
        """Those that the principal may see: a report holds names and figures of everything that it is about."""
        with acting_as(principal):
            found = self._engine.reports.list(limit=_SHOWN)
            if principal.connections is None:
                return found
            mine = {c.name for c in self._engine.connections.list() if c.id in principal.connections}
        return [line for line in found if not line.scope.everything and mine.issuperset(line.scope.connections)]

    def _file(self, principal: Principal, id_: str, name: str) -> tuple[ReportLine, bytes]:
        """Raises ConfigError ``config.not-found``, also for one that is not the principal's to see, FormatError."""
        line = next((line for line in self._lines(principal) if _ID.fullmatch(id_) and line.id == id_), None)
        if line is None or name not in FILES:
            raise ConfigError("config.not-found", "there is no such report")
        with acting_as(principal):
            return line, self._engine.reports.file(line, name)
