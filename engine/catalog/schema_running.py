"""Tables of what an installation does by itself: schedules, retention, alerts. See ``engine.catalog.schema``."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

from engine.catalog.schema import Instant, metadata, sealed

schedules = Table(
    "schedules",
    metadata,
    Column("connection_id", Text, ForeignKey("connections.id"), primary_key=True),
    Column("cron", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("next_at", Instant),
    Column("changed_at", Instant, nullable=False),
)
"""When checkpoints of a connection are due. ``next_at`` is the next slot: a look for due work reads no more."""
Index("ix_schedules_next_at", schedules.c.next_at)

slots = Table(
    "slots",
    metadata,
    Column("connection_id", Text, ForeignKey("connections.id"), primary_key=True),
    Column("slot_at", Instant, primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("job_id", Text),
    Column("decided_at", Instant, nullable=False),
)
"""Each slot of a schedule is decided once: ``started`` (a job), ``missed`` (a later one makes up), ``overlapped``."""
Index("ix_slots_job_id", slots.c.job_id)

drill_policies = Table(
    "drill_policies",
    metadata,
    Column("connection_id", Text, ForeignKey("connections.id"), primary_key=True),
    Column("policy", Text, nullable=False),
    Column("changed_at", Instant, nullable=False),
)
"""Which snapshots are drilled: ``every`` (also without a row), ``every N``, ``daily``."""

retention_policies = Table(
    "retention_policies",
    metadata,
    Column("connection_id", Text, ForeignKey("connections.id"), primary_key=True),
    Column("policy", Text, nullable=False),
    Column("changed_at", Instant, nullable=False),
)
"""What is kept, as JSON; without a row everything is."""

pins = Table(
    "pins",
    metadata,
    Column("snapshot_id", Text, ForeignKey("snapshots.id"), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("pinned_at", Instant, nullable=False),
)

removals = Table(
    "removals",
    metadata,
    Column("snapshot_id", Text, ForeignKey("snapshots.id"), primary_key=True),
    Column("connection_id", Text, nullable=False),
    Column("job_id", Text),
    Column("rule", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default=text("''")),
    Column("removed_at", Instant, nullable=False),
    Column("kept_until", Instant),
)
"""Snapshots whose object is gone (``removed``, ``missing``), or would be if a lock did not hold it (``locked``).

The snapshot's own row stays: it is evidence.
"""
Index("ix_removals_connection_id", removals.c.connection_id, removals.c.removed_at)

deletions = Table(
    "deletions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("destination_id", Text, ForeignKey("destinations.id"), nullable=False),
    Column("snapshot_id", Text),
    Column("object_key", Text, nullable=False),
    Column("version", Text),
    Column("rule", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default=text("''")),
    Column("deleted_at", Instant, nullable=False),
)
"""Every attempt to delete an object at a destination, and what was true afterwards."""
Index("ix_deletions_deleted_at", deletions.c.deleted_at)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("destination_id", Text, ForeignKey("destinations.id"), nullable=False),
    Column("reconciled_at", Instant, nullable=False),
    Column("objects", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("listing_sha256", Text, nullable=False),
    Column("outcome", Text, nullable=False),
)
"""A destination's listing held against the ledger, in both directions. ``outcome`` is the record as JSON."""
Index("ix_reconciliations_reconciled_at", reconciliations.c.reconciled_at)

drift_limits = Table(
    "drift_limits",
    metadata,
    Column("connection_id", Text, ForeignKey("connections.id"), primary_key=True),
    Column("fraction", Float, nullable=False),
    Column("changed_at", Instant, nullable=False),
)
"""How much a table may shrink between two proven snapshots before somebody is told: 0.3 is 30 per cent."""

alert_channels = Table(
    "alert_channels",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    sealed("url", nullable=False),
    sealed("secret"),
    Column("shown", Text, nullable=False),
    Column("only", Text, nullable=False, server_default=text("''")),
    Column("allow_private", Boolean, nullable=False, server_default=false()),
    Column("created_at", Instant, nullable=False),
    Column("removed_at", Instant),
)
"""Where alerts go. URLs hold tokens: they are sealed, ``shown`` is what people may see of them."""
_live = text("removed_at IS NULL")
Index(
    "uq_alert_channels_live_name",
    alert_channels.c.name,
    unique=True,
    sqlite_where=_live,
    postgresql_where=_live,
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("hint", Text, nullable=False, server_default=text("''")),
    Column("opened_at", Instant, nullable=False),
    Column("closed_at", Instant),
    Column("acknowledged_at", Instant),
    Column("acknowledged_by", Text),
    Column("acknowledged_note", Text),
)
"""Something that is wrong, from when until when: at most one open of a kind and subject."""
_open = text("closed_at IS NULL")
Index(
    "uq_incidents_open",
    incidents.c.kind,
    incidents.c.subject,
    unique=True,
    sqlite_where=_open,
    postgresql_where=_open,
)
Index("ix_incidents_opened_at", incidents.c.opened_at)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel_id", Text, ForeignKey("alert_channels.id"), nullable=False),
    Column("incident_id", Text, ForeignKey("incidents.id")),
    Column("occasion", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("next_at", Instant),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("delivered_at", Instant),
    Column("error", Text),
    UniqueConstraint("channel_id", "incident_id", "occasion"),
)
"""What is told to whom: ``opened``, ``closed``, ``test``. ``next_at`` is empty once it has arrived or was given up."""
Index("ix_deliveries_next_at", deliveries.c.next_at)
Index("ix_deliveries_created_at", deliveries.c.created_at)

reports = Table(
    "reports",
    metadata,
    Column("id", Text, primary_key=True),
    Column("month", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("begun_at", Instant, nullable=False),
    Column("built_at", Instant),
    Column("built_by", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("folder", Text),
    Column("sha256", Text),
    Column("line", Text),
    UniqueConstraint("month", "scope", "revision"),
)
"""Monthly reports. ``scope``: ids of connections, or empty for all; ``state``: ``building`` or ``built``.

``folder`` is a path on ``host``, ``line`` the record that lists show, as JSON.
"""
Index("ix_reports_built_at", reports.c.built_at)

report_months = Table(
    "report_months",
    metadata,
    Column("month", Text, primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("taken_by", Text, nullable=False),
    Column("taken_until", Instant, nullable=False),
    Column("report_id", Text),
    Column("error", Text),
    Column("error_code", Text),
)
"""The months whose report a worker builds by itself, each once: ``report_id`` says that it is done.

``attempts`` is the fence: a worker that took a month too long ago can settle nothing.
"""
