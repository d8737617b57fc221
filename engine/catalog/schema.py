"""The tables of the catalog as they are now; how they came to be is the business of ``migrations``.

Everything is kept in types that both dialects store alike: instants as RFC 3339 text that sorts like time, records of
more than one value as JSON text of ``engine.codec``, sealed values as the opaque text that the key room made. Nothing
here knows what a sealed value holds.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.types import TypeDecorator

from engine.clock import from_rfc3339, rfc3339


class Instant(TypeDecorator[datetime]):
    """An aware instant, kept as RFC 3339 text in UTC with microseconds, so that texts sort like instants."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        del dialect
        return None if value is None else rfc3339(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        del dialect
        return None if value is None else from_rfc3339(value)


SEALED = "sealed"
"""Marks a column that holds sealed values; what it says is the column's name as values are bound to it."""


def sealed(column: str, *, nullable: bool = True) -> Column[str]:
    """The column ``<column>_sealed``: an opaque text of the key room, bound to table, column and row.

    Declared like this and in no other way: a rotation of the master key finds its cells by the mark.
    """
    return Column(f"{column}_sealed", Text, nullable=nullable, info={SEALED: column})


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

revision = Table(
    "revision",
    metadata,
    Column("one", Integer, CheckConstraint("one = 1", name="one"), primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
)
"""One row whose number grows with every transaction that changed something: what pollers look at."""

installation = Table(
    "installation",
    metadata,
    Column("one", Integer, CheckConstraint("one = 1", name="one"), primary_key=True, autoincrement=False),
    Column("catalog_id", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("key_backend", Text, nullable=False),
    Column("key_epoch", Integer, nullable=False),
    Column("kid", Text, nullable=False),
    Column("key_check", Text, nullable=False),
    Column("recovery_kid", Text, nullable=False),
    Column("recovery_public", Text, nullable=False),
    Column("recovery_bundle", Text, nullable=False),
    Column("signer_public", Text, nullable=False),
    sealed("signer", nullable=False),
    Column("recovery_confirmed_at", Instant),
)

destinations = Table(
    "destinations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("folder", Text),
    Column("created_at", Instant, nullable=False),
    Column("tested_at", Instant),
    Column("removed_at", Instant),
    Column("bucket", Text),
    Column("provider", Text),
    Column("endpoint", Text),
    Column("region", Text),
    Column("prefix", Text),
    Column("ca_pem", Text),
    sealed("access_key"),
    sealed("secret_key"),
    sealed("prune_access_key"),
    sealed("prune_secret_key"),
    Column("allow_http", Boolean, nullable=False, server_default=false()),
)
"""A bucket's endpoint and region are kept as they were when it was added; ``ca_pem`` is a certificate, no path."""
Index(
    "uq_destinations_live_name",
    destinations.c.name,
    unique=True,
    sqlite_where=text("removed_at IS NULL"),
    postgresql_where=text("removed_at IS NULL"),
)

connections = Table(
    "connections",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("destination_id", Text, ForeignKey("destinations.id"), nullable=False),
    sealed("conninfo", nullable=False),
    Column("provider", Text),
    Column("accept_empty", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("tested_at", Instant),
    Column("removed_at", Instant),
    Column("last_seq", BigInteger, nullable=False, server_default=text("0")),
    Column("proof_target_s", Float),
    Column("restore_target_s", Float),
    Column("scratch_server_id", Text),
    Column("fingerprint", Boolean, nullable=False, server_default=false()),
    Column("worker_label", Text),
)
"""``worker_label``: only a worker that bears it reaches the database's network; empty: any worker."""
Index(
    "uq_connections_live_name",
    connections.c.name,
    unique=True,
    sqlite_where=text("removed_at IS NULL"),
    postgresql_where=text("removed_at IS NULL"),
)
Index("ix_connections_destination_id", connections.c.destination_id)

scratch_servers = Table(
    "scratch_servers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    sealed("conninfo", nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("tested_at", Instant),
    Column("removed_at", Instant),
)
"""Servers that drills may restore into instead of a cluster of their own."""
Index(
    "uq_scratch_servers_live_name",
    scratch_servers.c.name,
    unique=True,
    sqlite_where=text("removed_at IS NULL"),
    postgresql_where=text("removed_at IS NULL"),
)

checks = Table(
    "checks",
    metadata,
    Column("connection_id", Text, ForeignKey("connections.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("query", Text, nullable=False),
    Column("expect", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)
"""Questions that an operator has every restored copy asked, each with the answer that is expected."""

# The job of a snapshot or drill is not a foreign key: a catalog rebuilt from a destination has no jobs.
snapshots = Table(
    "snapshots",
    metadata,
    Column("id", Text, primary_key=True),
    Column("connection_id", Text, ForeignKey("connections.id"), nullable=False),
    Column("destination_id", Text, ForeignKey("destinations.id"), nullable=False),
    Column("job_id", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("tag", Text),
    Column("taken_at", Instant, nullable=False),
    Column("object_key", Text, nullable=False),
    Column("manifest_key", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("artifact_sha256", Text, nullable=False),
    Column("manifest_sha256", Text, nullable=False),
    Column("tables", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("counts", Text, nullable=False),
    Column("kid", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("tables_in_source", BigInteger, nullable=False, server_default=text("0")),
    UniqueConstraint("connection_id", "seq"),
)
Index(
    "ix_snapshots_line",
    *(snapshots.c[name] for name in ("taken_at", "seq", "id", "connection_id", "destination_id", "job_id", "tag")),
    *(snapshots.c[name] for name in ("tables", "tables_in_source", "rows", "size_bytes")),
)
"""All that the ledger shows of a snapshot: SQLite would read ``details`` on its way to the column behind it."""
Index("ix_snapshots_connection_id_taken_at", snapshots.c.connection_id, snapshots.c.taken_at, snapshots.c.id)

drills = Table(
    "drills",
    metadata,
    Column("id", Text, primary_key=True),
    Column("snapshot_id", Text, ForeignKey("snapshots.id"), nullable=False),
    Column("job_id", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant, nullable=False),
    Column("restore_s", Float, nullable=False),
    Column("receipt", Text, nullable=False),
    Column("receipt_sha256", Text, nullable=False),
    Column("position", BigInteger, nullable=False, unique=True),
    Column("skips", Integer, nullable=False, server_default=text("0")),
    Column("summary", Text, nullable=False, server_default=text("''")),
)
"""``position`` is the order in which drills were written: the order of the chain of receipts."""
Index(
    "ix_drills_line",
    *(drills.c[name] for name in ("snapshot_id", "position", "verdict", "job_id", "restore_s", "skips", "summary")),
)
"""All that the ledger shows of a drill; ``receipt`` is as long as ``details``."""

# A job may name its snapshot or drill before that row is written, as long as both are there at the commit.
jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column(
        "kind",
        Text,
        CheckConstraint("kind IN ('checkpoint', 'drill', 'restore', 'prune', 'report')", name="kind"),
        nullable=False,
    ),
    Column("connection_id", Text, ForeignKey("connections.id"), nullable=False),
    Column("snapshot_id", Text, ForeignKey("snapshots.id", deferrable=True, initially="DEFERRED")),
    Column("drill_id", Text, ForeignKey("drills.id", deferrable=True, initially="DEFERRED")),
    Column("tag", Text),
    Column(
        "state",
        Text,
        CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'blocked')", name="state"),
        nullable=False,
    ),
    Column("attempt", Integer, nullable=False),
    Column("crashes", Integer, nullable=False, server_default=text("0")),
    Column("fence", BigInteger, nullable=False),
    Column("worker_id", Text),
    Column("lease_until", Instant),
    Column("cancel_requested_at", Instant),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("error", Text),
    Column("object_key", Text),
    Column("progress", Text),
    sealed("request"),
    Column("with_drill", Boolean, nullable=False, server_default=true()),
    Column("requested_by", Text),
)
"""``with_drill``: whether a checkpoint ends with a drill; ``requested_by``: who asked, as in events.

``request_sealed``: what a restore was asked for, its target's connection string included; gone when it has ended.
"""
Index(
    "uq_jobs_running_checkpoint",
    jobs.c.connection_id,
    unique=True,
    sqlite_where=text("kind = 'checkpoint' AND state = 'running'"),
    postgresql_where=text("kind = 'checkpoint' AND state = 'running'"),
)
Index("ix_jobs_state_created_at", jobs.c.state, jobs.c.created_at)
Index("ix_jobs_created_at", jobs.c.created_at)

job_log = Table(
    "job_log",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("level", Text, nullable=False),
    Column("text", Text, nullable=False),
)

job_tables = Table(
    "job_tables",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("schema_name", Text, primary_key=True),
    Column("table_name", Text, primary_key=True),
    Column("restored", BigInteger),
    Column("done", Boolean, nullable=False),
)
"""Rows of each table while a restore runs; gone when the job is settled: the receipt says what came of it."""

restores = Table(
    "restores",
    metadata,
    Column("id", Text, primary_key=True),
    Column("job_id", Text, nullable=False),
    Column("snapshot_id", Text, ForeignKey("snapshots.id"), nullable=False),
    Column("target", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant, nullable=False),
    Column("equal", Boolean, nullable=False),
    Column("outcome", Text, nullable=False),
)
"""Restores into servers of the user's, as they ended. ``outcome`` is the record with every table."""
Index("ix_restores_finished_at", restores.c.finished_at)

workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("version", Text, nullable=False),
    Column("threads", Integer, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("heartbeat_at", Instant, nullable=False),
    Column("stopped_at", Instant),
    Column("labels", Text, nullable=False, server_default=text("''")),
    Column("place", Text),
)
"""``labels``: networks that the worker reaches, separated by commas; ``place``: where its locked file lies."""

events = Table(
    "events",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
)
Index("ix_events_kind", events.c.kind, events.c.seq)
"""The newest event of a kind, which is asked for again and again."""

heads = Table(
    "heads",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("signed_at", Instant, nullable=False),
)
