"""Operator checks at the door: questions of a connection that every restored copy has to answer as expected."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.catalog import Tx
from engine.errors import ConfigError
from engine.evidence import chain
from engine.model import OperatorCheck, Role
from engine.service.access import needs
from engine.service.connections import check_name

if TYPE_CHECKING:
    from engine.service import Engine

_UNPAIRED = re.compile("[\ud800-\udfff]")
"""What Python makes of arguments that are not UTF-8."""
_QUERY_CHARS = 20_000
_EXPECT_CHARS = 1_000


class ChecksFacet:
    """``engine.checks``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @needs(Role.OPERATOR)
    def add(self, connection: str, name: str, query: str, expect: str) -> OperatorCheck:
        """Have every later drill of ``connection`` ask ``query`` of the copy; the first drill shows whether it holds.

        Raises ConfigError ``config.not-found``, ``config.name-taken``, ``config.invalid``.
        """
        check_name(name)
        _check_text("query", query, _QUERY_CHARS)
        _check_text("expected answer", expect, _EXPECT_CHARS, empty=True)
        check = OperatorCheck(name, query, expect)
        with self._engine.catalog.write() as tx:
            record = catalogs.connections.by_name(tx, connection)
            catalogs.checks.add(tx, record.id, check, self._engine.clock.now())
            self._event(tx, "check.added", record.id, {"check": name, "query": query, "expect": expect})
        return check

    def list(self, connection: str) -> tuple[OperatorCheck, ...]:
        """The checks of ``connection``, by name. Raises ConfigError ``config.not-found``."""
        with self._engine.catalog.read() as tx:
            record = catalogs.connections.by_name(tx, connection)
            return tuple(catalogs.checks.list_all(tx, record.id))

    @needs(Role.OPERATOR)
    def remove(self, connection: str, name: str) -> None:
        """Ask it no more; what receipts say of it stays. Raises ConfigError ``config.not-found``."""
        with self._engine.catalog.write() as tx:
            record = catalogs.connections.by_name(tx, connection)
            catalogs.checks.remove(tx, record.id, name)
            self._event(tx, "check.removed", record.id, {"check": name})

    def _event(self, tx: Tx, kind: str, subject: str, data: dict[str, str]) -> None:
        chain.append_event(tx, self._engine.clock, actor=self._engine.actor, kind=kind, subject=subject, data=data)


def _check_text(what: str, text: str, most: int, *, empty: bool = False) -> None:
    if not (empty or text.strip()) or len(text) > most or "\0" in text or _UNPAIRED.search(text):
        raise ConfigError(
            "config.invalid",
            f"this cannot be the {what} of a check",
            hint=f"Give 1 to {most:,} characters in UTF-8, without a NUL among them.",
        )
