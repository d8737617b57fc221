"""Restores as jobs, operator checks, content fingerprints, scratch servers that are given instead of started.

The kinds of jobs are a CHECK of the table ``jobs``. SQLite cannot alter one, and to copy a table that others refer to
would cost more care than it is worth: its manual names editing the stored text as the way where nothing on disk changes
(https://www.sqlite.org/lang_altertable.html, section 7).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BEFORE = "kind IN ('checkpoint', 'drill')"
_AFTER = "kind IN ('checkpoint', 'drill', 'restore', 'prune', 'report')"


def upgrade() -> None:
    """New columns are empty: what was captured before has no structure, and nobody asked for fingerprints."""
    _more_kinds()
    op.add_column("jobs", sa.Column("request_sealed", sa.Text(), nullable=True))
    op.create_table(
        "scratch_servers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("conninfo_sealed", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("tested_at", sa.Text(), nullable=True),
        sa.Column("removed_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_scratch_servers"),
    )
    live = sa.text("removed_at IS NULL")
    op.create_index(
        "uq_scratch_servers_live_name",
        "scratch_servers",
        ["name"],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )
    op.add_column("connections", sa.Column("scratch_server_id", sa.Text(), nullable=True))
    op.add_column("connections", sa.Column("fingerprint", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "checks",
        sa.Column("connection_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("expect", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", "name", name="pk_checks"),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name="fk_checks_connection_id"),
    )
    op.create_table(
        "restores",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=False),
        sa.Column("equal", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_restores"),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"], name="fk_restores_snapshot_id"),
    )
    op.create_index("ix_restores_finished_at", "restores", ["finished_at"])


def _more_kinds() -> None:
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        op.drop_constraint(op.f("ck_jobs_kind"), "jobs", type_="check")
        op.create_check_constraint(op.f("ck_jobs_kind"), "jobs", _AFTER)
        return
    version = bind.exec_driver_sql("PRAGMA schema_version").scalar_one()
    bind.exec_driver_sql("PRAGMA writable_schema = ON")
    changed = bind.exec_driver_sql(
        "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = 'jobs'"
        " AND instr(sql, ?) > 0",
        (_BEFORE, _AFTER, _BEFORE),
    )
    if changed.rowcount != 1:
        raise RuntimeError("the table of jobs does not look like one of the third step")
    bind.exec_driver_sql(f"PRAGMA schema_version = {int(version) + 1}")
    bind.exec_driver_sql("PRAGMA writable_schema = OFF")
