"""Schedules, retention, alerts, operators and API keys; labels of workers; what a job was asked with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_LIVE = sa.text("removed_at IS NULL")
_OPEN = sa.text("closed_at IS NULL")


def upgrade() -> None:
    """Everything new is empty: nothing is scheduled, everything is kept, and nobody has to log in."""
    op.add_column("connections", sa.Column("worker_label", sa.Text(), nullable=True))
    op.add_column("workers", sa.Column("labels", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.add_column("workers", sa.Column("place", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("with_drill", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("jobs", sa.Column("requested_by", sa.Text(), nullable=True))
    _schedules()
    _retention()
    _alerts()
    _operators()
    _api_keys()


def _schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("connection_id", sa.Text(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("next_at", sa.Text(), nullable=True),
        sa.Column("changed_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", name="pk_schedules"),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name="fk_schedules_connection_id"),
    )
    op.create_index("ix_schedules_next_at", "schedules", ["next_at"])
    op.create_table(
        "slots",
        sa.Column("connection_id", sa.Text(), nullable=False),
        sa.Column("slot_at", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", "slot_at", name="pk_slots"),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name="fk_slots_connection_id"),
    )
    op.create_index("ix_slots_job_id", "slots", ["job_id"])
    op.create_table(
        "drill_policies",
        sa.Column("connection_id", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", name="pk_drill_policies"),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name="fk_drill_policies_connection_id"),
    )


def _retention() -> None:
    op.create_table(
        "retention_policies",
        sa.Column("connection_id", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", name="pk_retention_policies"),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name="fk_retention_policies_connection_id"),
    )
    op.create_table(
        "pins",
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("pinned_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("snapshot_id", name="pk_pins"),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"], name="fk_pins_snapshot_id"),
    )
    op.create_table(
        "removals",
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("removed_at", sa.Text(), nullable=False),
        sa.Column("kept_until", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("snapshot_id", name="pk_removals"),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"], name="fk_removals_snapshot_id"),
    )
    op.create_index("ix_removals_connection_id", "removals", ["connection_id", "removed_at"])
    op.create_table(
        "deletions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("destination_id", sa.Text(), nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=True),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("deleted_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deletions"),
        sa.ForeignKeyConstraint(["destination_id"], ["destinations.id"], name="fk_deletions_destination_id"),
    )
    op.create_index("ix_deletions_deleted_at", "deletions", ["deleted_at"])
    op.create_table(
        "reconciliations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("destination_id", sa.Text(), nullable=False),
        sa.Column("reconciled_at", sa.Text(), nullable=False),
        sa.Column("objects", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("listing_sha256", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reconciliations"),
        sa.ForeignKeyConstraint(["destination_id"], ["destinations.id"], name="fk_reconciliations_destination_id"),
    )
    op.create_index("ix_reconciliations_reconciled_at", "reconciliations", ["reconciled_at"])


def _alerts() -> None:
    op.create_table(
        "drift_limits",
        sa.Column("connection_id", sa.Text(), nullable=False),
        sa.Column("fraction", sa.Float(), nullable=False),
        sa.Column("changed_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", name="pk_drift_limits"),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name="fk_drift_limits_connection_id"),
    )
    op.create_table(
        "alert_channels",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("url_sealed", sa.Text(), nullable=False),
        sa.Column("secret_sealed", sa.Text(), nullable=True),
        sa.Column("shown", sa.Text(), nullable=False),
        sa.Column("only", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("allow_private", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("removed_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_alert_channels"),
    )
    op.create_index(
        "uq_alert_channels_live_name",
        "alert_channels",
        ["name"],
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
    op.create_table(
        "incidents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("opened_at", sa.Text(), nullable=False),
        sa.Column("closed_at", sa.Text(), nullable=True),
        sa.Column("acknowledged_at", sa.Text(), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_incidents"),
    )
    op.create_index("ix_incidents_opened_at", "incidents", ["opened_at"])
    op.create_index(
        "uq_incidents_open", "incidents", ["kind", "subject"], unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=True),
        sa.Column("occasion", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("next_at", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("delivered_at", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["channel_id"], ["alert_channels.id"], name="fk_deliveries_channel_id"),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name="fk_deliveries_incident_id"),
        sa.UniqueConstraint(
            "channel_id", "incident_id", "occasion", name="uq_deliveries_channel_id_incident_id_occasion"
        ),
    )
    op.create_index("ix_deliveries_created_at", "deliveries", ["created_at"])
    op.create_index("ix_deliveries_next_at", "deliveries", ["next_at"])


def _operators() -> None:
    op.create_table(
        "operators",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("password_at", sa.Text(), nullable=False),
        sa.Column("last_login_at", sa.Text(), nullable=True),
        sa.Column("disabled_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_operators"),
    )
    op.create_index("uq_operators_name", "operators", ["name"], unique=True)
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.Text(), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.Text(), nullable=False),
        sa.Column("confirmed_at", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.Text(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("token_sha256", name="pk_sessions"),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name="fk_sessions_operator_id"),
    )
    op.create_index("ix_sessions_operator_id", "sessions", ["operator_id"])
    op.create_table(
        "login_limits",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.Text(), nullable=False),
        sa.Column("blocked_until", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("scope", name="pk_login_limits"),
    )


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("connections", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=True),
        sa.Column("revoked_at", sa.Text(), nullable=True),
        sa.Column("last_used_at", sa.Text(), nullable=True),
        sa.Column("replaces", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_table(
        "api_requests",
        sa.Column("api_key_id", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("request_sha256", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("api_key_id", "idempotency_key", name="pk_api_requests"),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name="fk_api_requests_api_key_id"),
    )
    op.create_index("ix_api_requests_created_at", "api_requests", ["created_at"])
