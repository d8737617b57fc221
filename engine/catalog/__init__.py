"""The catalog: what the product knows, on SQLite or PostgreSQL, one small module per aggregate.

``Catalog`` opens it and hands out transactions; the modules hold plain functions that take a transaction and return
records of ``engine.model``. Rows, dialects and exceptions of the database library stay in here. The catalog stores
sealed values as opaque text and never opens one, and it is an index: the objects at the destinations are the truth.
"""

from engine.catalog import (
    alert_channels,
    alert_facts,
    api_keys,
    api_requests,
    checks,
    connections,
    deliveries,
    destinations,
    drift_limits,
    drills,
    events,
    incidents,
    installation,
    job_tables,
    jobs,
    login_limits,
    operators,
    reconciliations,
    removals,
    restores,
    retention,
    schedules,
    scratch_servers,
    sealed,
    sessions,
    snapshots,
    watch,
    workers,
)
from engine.catalog.database import Catalog, revision_of
from engine.catalog.transaction import Tx

__all__ = [
    "Catalog",
    "Tx",
    "alert_channels",
    "alert_facts",
    "api_keys",
    "api_requests",
    "checks",
    "connections",
    "deliveries",
    "destinations",
    "drift_limits",
    "drills",
    "events",
    "incidents",
    "installation",
    "job_tables",
    "jobs",
    "login_limits",
    "operators",
    "reconciliations",
    "removals",
    "restores",
    "retention",
    "revision_of",
    "schedules",
    "scratch_servers",
    "sealed",
    "sessions",
    "snapshots",
    "watch",
    "workers",
]
