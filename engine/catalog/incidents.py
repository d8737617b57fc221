"""What is wrong, from when until when. At most one of a kind and subject is open: a partial unique index makes sure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, insert, select, update

from engine.catalog.schema_running import incidents as table
from engine.catalog.transaction import Tx
from engine.errors import ConfigError
from engine.model import Incident, IncidentKind

_FOUND_AT_MOST = 20


def add(tx: Tx, incident: Incident) -> None:
    """Open an incident. Raises Internal when one of its kind and subject is open."""
    tx.change(
        insert(table).values(
            id=incident.id,
            kind=incident.kind.value,
            subject=incident.subject,
            name=incident.name,
            summary=incident.summary,
            hint=incident.hint,
            opened_at=incident.opened_at,
        )
    )


def list_open(tx: Tx) -> list[Incident]:
    """Every open incident, oldest first."""
    oldest = (table.c.opened_at, table.c.kind, table.c.name, table.c.id)
    return _records(tx, select(table).where(table.c.closed_at.is_(None)).order_by(*oldest))


def list_recent(tx: Tx, *, limit: int) -> list[Incident]:
    """At most ``limit`` incidents, open ones first, then the newest."""
    newest = (table.c.closed_at.is_not(None), table.c.opened_at.desc(), table.c.id)
    return _records(tx, select(table).order_by(*newest).limit(limit))


def find(tx: Tx, prefix: str) -> list[Incident]:
    """Incidents whose id begins with ``prefix``, newest first, 20 at the most."""
    fits = table.c.id.startswith(prefix.lower(), autoescape=True)
    return _records(tx, select(table).where(fits).order_by(table.c.opened_at.desc()).limit(_FOUND_AT_MOST))


def known_subjects(tx: Tx, kind: IncidentKind, subjects: Collection[str]) -> set[str]:
    """Those of ``subjects`` that there was ever an incident of this kind about."""
    query = select(table.c.subject).where(table.c.kind == kind.value, table.c.subject.in_(list(subjects)))
    return {row.subject for row in tx.rows(query)} if subjects else set()


def reword(tx: Tx, incident: Incident) -> None:
    """Say something newer of an open incident: its name, summary and hint."""
    open_ = update(table).where(table.c.id == incident.id, table.c.closed_at.is_(None))
    tx.change(open_.values(name=incident.name, summary=incident.summary, hint=incident.hint))


def close(tx: Tx, incident: Incident, at: datetime) -> Incident | None:
    """The incident, closed; None when somebody closed it before."""
    open_ = update(table).where(table.c.id == incident.id, table.c.closed_at.is_(None))
    return replace(incident, closed_at=at) if tx.change(open_.values(closed_at=at)) else None


def acknowledge(tx: Tx, incident_id: str, at: datetime, by: str, note: str | None) -> Incident:
    """Somebody has seen an open incident; said again, the last one counts. Raises ConfigError config.not-found."""
    open_ = update(table).where(table.c.id == incident_id, table.c.closed_at.is_(None))
    if not tx.change(open_.values(acknowledged_at=at, acknowledged_by=by, acknowledged_note=note)):
        raise ConfigError(
            "config.not-found",
            f"no incident {incident_id[:12]} is open",
            hint="List those that are: `offsitedb alerts incidents`.",
        )
    return _records(tx, select(table).where(table.c.id == incident_id))[0]


def _records(tx: Tx, query: Select[Any]) -> list[Incident]:
    return [record_of(row) for row in tx.rows(query)]


def record_of(row: Row[Any]) -> Incident:
    """The incident in a whole row of the table."""
    return Incident(
        id=row.id,
        kind=IncidentKind(row.kind),
        subject=row.subject,
        name=row.name,
        summary=row.summary,
        hint=row.hint,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        acknowledged_note=row.acknowledged_note,
    )
