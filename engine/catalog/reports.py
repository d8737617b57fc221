"""Monthly reports that were built, and which worker builds the next by itself. What they hold lies in their folders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from engine.catalog.failures import damaged
from engine.catalog.schema_running import report_months as months
from engine.catalog.schema_running import reports as table
from engine.catalog.transaction import Tx
from engine.codec import from_json, to_json
from engine.errors import ConfigError
from engine.model.report import ReportLine, ReportStamp

BUILDING, BUILT = "building", "built"


@dataclass(frozen=True, slots=True)
class ReportMonth:
    """A month whose report is a worker's turn. ``error``: why the last attempt came to nothing."""

    month: str
    attempts: int
    taken_until: datetime
    report_id: str | None
    error: str | None
    error_code: str | None


def begin(tx: Tx, report_id: str, month: str, scope: str, *, at: datetime, by: str, host: str) -> int:
    """Take the next revision of a month and scope; its number."""
    mine = (table.c.month == month, table.c.scope == scope)
    row = tx.row(select(func.coalesce(func.max(table.c.revision), 0).label("n")).where(*mine))
    revision = 1 + (int(row.n) if row else 0)
    tx.change(
        insert(table).values(
            id=report_id,
            month=month,
            scope=scope,
            revision=revision,
            state=BUILDING,
            begun_at=at,
            built_by=by,
            host=host,
        )
    )
    return revision


def built(tx: Tx, line: ReportLine) -> None:
    """The report is whole."""
    done = update(table).where(table.c.id == line.id)
    tx.change(
        done.values(state=BUILT, built_at=line.built_at, folder=line.folder, sha256=line.sha256, line=to_json(line))
    )


def stamped(tx: Tx, report_id: str, stamp: ReportStamp) -> ReportLine:
    """What came of asking for a time stamp. Raises ConfigError ``config.not-found`` where the report is gone."""
    row = tx.row(select(table.c.id, table.c.line).where(table.c.id == report_id, table.c.state == BUILT))
    if row is None:
        raise ConfigError("config.not-found", f"there is no report {report_id}")
    line = replace(_line(row), stamp=stamp)
    tx.change(update(table).where(table.c.id == report_id).values(line=to_json(line)))
    return line


def give_up(tx: Tx, report_id: str) -> None:
    """It came to nothing: its revision is free again."""
    tx.change(delete(table).where(table.c.id == report_id, table.c.state == BUILDING))


def list_recent(
    tx: Tx, *, month: str | None = None, scope: str | None = None, limit: int, before: datetime | None = None
) -> list[ReportLine]:
    """At most ``limit`` reports that were built, newest first; ``before`` (exclusive) continues a list."""
    query = select(table.c.id, table.c.line).where(table.c.state == BUILT)
    if month is not None:
        query = query.where(table.c.month == month)
    if scope is not None:
        query = query.where(table.c.scope == scope)
    if before is not None:
        query = query.where(table.c.built_at < before)
    rows = tx.rows(
        query.order_by(table.c.built_at.desc(), table.c.month.desc(), table.c.revision.desc(), table.c.id).limit(limit)
    )
    return [_line(row) for row in rows]


def take_month(tx: Tx, month: str, *, by: str, now: datetime, until: datetime) -> int | None:
    """Take a month that nobody has built and nobody builds now; its fence. None: it is not this one's turn."""
    row = tx.row(select(months).where(months.c.month == month))
    if row is None:
        tx.change(insert(months).values(month=month, attempts=1, taken_by=by, taken_until=until))
        return 1
    if row.report_id is not None or row.taken_until > now:
        return None
    attempts = int(row.attempts) + 1
    tx.change(update(months).where(months.c.month == month).values(attempts=attempts, taken_by=by, taken_until=until))
    return attempts


def settle_month(tx: Tx, month: str, fence: int, report_id: str) -> bool:
    """The month's report is built; False when another worker has taken the month since, and this one is too late."""
    mine = update(months).where(months.c.month == month, months.c.attempts == fence, months.c.report_id.is_(None))
    return bool(tx.change(mine.values(report_id=report_id, error=None, error_code=None)))


def mark_month(tx: Tx, month: str, report_id: str, *, by: str, at: datetime) -> None:
    """Somebody built the month's report by hand: no worker has to."""
    values = {"report_id": report_id, "error": None, "error_code": None}
    if not tx.change(update(months).where(months.c.month == month).values(**values)):
        tx.change(insert(months).values(month=month, attempts=0, taken_by=by, taken_until=at, **values))


def fail_month(tx: Tx, month: str, fence: int, *, error: str, code: str, again_at: datetime) -> bool:
    """An attempt came to nothing; it is tried again at ``again_at``."""
    mine = update(months).where(months.c.month == month, months.c.attempts == fence, months.c.report_id.is_(None))
    return bool(tx.change(mine.values(error=error, error_code=code, taken_until=again_at)))


def newest_month(tx: Tx) -> str | None:
    """The newest month that was ever taken."""
    row = tx.row(select(func.max(months.c.month).label("month")))
    return None if row is None else row.month


def list_open_months(tx: Tx) -> list[ReportMonth]:
    """Months that were taken and are not built, oldest first."""
    rows = tx.rows(select(months).where(months.c.report_id.is_(None)).order_by(months.c.month))
    return [ReportMonth(r.month, r.attempts, r.taken_until, r.report_id, r.error, r.error_code) for r in rows]


def _line(row: Row[Any]) -> ReportLine:
    try:
        return from_json(ReportLine, row.line)
    except (TypeError, ValueError) as e:
        raise damaged(f"report {row.id}", str(e)) from e
