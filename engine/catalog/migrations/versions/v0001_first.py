"""First tables: installation, destinations, connections, snapshots, drills, jobs, workers, events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_LIVE = sa.text("removed_at IS NULL")
_RUNNING = sa.text("kind = 'checkpoint' AND state = 'running'")


def upgrade() -> None:
    """Make every table, and the triggers that keep the history append-only."""
    _installation()
    _sources()
    _snapshots()
    _jobs()
    _history()
    if op.get_bind().dialect.name == "sqlite":
        _sqlite_triggers()
    else:
        _postgres_triggers()
    op.execute("INSERT INTO revision (one, n) VALUES (1, 0)")


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _installation() -> None:
    op.create_table(
        "revision",
        sa.Column("one", sa.Integer(), nullable=False, autoincrement=False),
        _big("n"),
        sa.PrimaryKeyConstraint("one", name="pk_revision"),
        sa.CheckConstraint("one = 1", name=op.f("ck_revision_one")),
    )
    op.create_table(
        "installation",
        sa.Column("one", sa.Integer(), nullable=False, autoincrement=False),
        _text("catalog_id"),
        _text("created_at"),
        _text("key_backend"),
        sa.Column("key_epoch", sa.Integer(), nullable=False),
        _text("kid"),
        _text("key_check"),
        _text("recovery_kid"),
        _text("recovery_public"),
        _text("recovery_bundle"),
        _text("signer_public"),
        _text("signer_sealed"),
        _text("recovery_confirmed_at", null=True),
        sa.PrimaryKeyConstraint("one", name="pk_installation"),
        sa.CheckConstraint("one = 1", name=op.f("ck_installation_one")),
    )
    op.create_table(
        "workers",
        _text("id"),
        _text("host"),
        _big("pid"),
        _text("version"),
        sa.Column("threads", sa.Integer(), nullable=False),
        _text("started_at"),
        _text("heartbeat_at"),
        _text("stopped_at", null=True),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )


def _sources() -> None:
    op.create_table(
        "destinations",
        _text("id"),
        _text("name"),
        _text("kind"),
        _text("folder", null=True),
        _text("created_at"),
        _text("tested_at", null=True),
        _text("removed_at", null=True),
        sa.PrimaryKeyConstraint("id", name="pk_destinations"),
    )
    _live_name("destinations")
    op.create_table(
        "connections",
        _text("id"),
        _text("name"),
        _text("destination_id"),
        _text("conninfo_sealed"),
        _text("provider", null=True),
        sa.Column("accept_empty", sa.Boolean(), nullable=False),
        _text("created_at"),
        _text("tested_at", null=True),
        _text("removed_at", null=True),
        sa.Column("last_seq", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("id", name="pk_connections"),
        sa.ForeignKeyConstraint(["destination_id"], ["destinations.id"], name="fk_connections_destination_id"),
    )
    _live_name("connections")
    op.create_index("ix_connections_destination_id", "connections", ["destination_id"])


def _live_name(table: str) -> None:
    """A name is taken only while what bears it has not been removed."""
    op.create_index(f"uq_{table}_live_name", table, ["name"], unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE)


def _snapshots() -> None:
    op.create_table(
        "snapshots",
        _text("id"),
        _text("connection_id"),
        _text("destination_id"),
        _text("job_id"),
        _big("seq"),
        _text("tag", null=True),
        _text("taken_at"),
        _text("object_key"),
        _text("manifest_key"),
        _big("size_bytes"),
        _text("artifact_sha256"),
        _text("manifest_sha256"),
        _big("tables"),
        _big("rows"),
        _text("counts"),
        _text("kid"),
        _text("details"),
        sa.PrimaryKeyConstraint("id", name="pk_snapshots"),
        sa.UniqueConstraint("connection_id", "seq", name="uq_snapshots_connection_id_seq"),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name="fk_snapshots_connection_id"),
        sa.ForeignKeyConstraint(["destination_id"], ["destinations.id"], name="fk_snapshots_destination_id"),
    )
    op.create_index("ix_snapshots_taken_at", "snapshots", ["taken_at"])
    op.create_table(
        "drills",
        _text("id"),
        _text("snapshot_id"),
        _text("job_id"),
        _text("verdict"),
        _text("started_at"),
        _text("finished_at"),
        sa.Column("restore_s", sa.Float(), nullable=False),
        _text("receipt"),
        _text("receipt_sha256"),
        _big("position"),
        sa.PrimaryKeyConstraint("id", name="pk_drills"),
        sa.UniqueConstraint("position", name="uq_drills_position"),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"], name="fk_drills_snapshot_id"),
    )
    op.create_index("ix_drills_snapshot_id_position", "drills", ["snapshot_id", "position"])


def _jobs() -> None:
    op.create_table(
        "jobs",
        _text("id"),
        _text("kind"),
        _text("connection_id"),
        _text("snapshot_id", null=True),
        _text("drill_id", null=True),
        _text("tag", null=True),
        _text("state"),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False, server_default=sa.text("0")),
        _big("fence"),
        _text("worker_id", null=True),
        _text("lease_until", null=True),
        _text("cancel_requested_at", null=True),
        _text("created_at"),
        _text("started_at", null=True),
        _text("finished_at", null=True),
        _text("error", null=True),
        _text("object_key", null=True),
        _text("progress", null=True),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.CheckConstraint("kind IN ('checkpoint', 'drill')", name=op.f("ck_jobs_kind")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'blocked')", name=op.f("ck_jobs_state")
        ),
        sa.ForeignKeyConstraint(["connection_id"], ["connections.id"], name="fk_jobs_connection_id"),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshots.id"], name="fk_jobs_snapshot_id", deferrable=True, initially="DEFERRED"
        ),
        sa.ForeignKeyConstraint(
            ["drill_id"], ["drills.id"], name="fk_jobs_drill_id", deferrable=True, initially="DEFERRED"
        ),
    )
    op.create_index(
        "uq_jobs_running_checkpoint",
        "jobs",
        ["connection_id"],
        unique=True,
        sqlite_where=_RUNNING,
        postgresql_where=_RUNNING,
    )
    op.create_index("ix_jobs_state_created_at", "jobs", ["state", "created_at"])
    op.create_index("ix_jobs_created_at", "jobs", ["created_at"])
    op.create_table(
        "job_log",
        _text("job_id"),
        sa.Column("n", sa.BigInteger(), nullable=False, autoincrement=False),
        _text("at"),
        _text("level"),
        _text("text"),
        sa.PrimaryKeyConstraint("job_id", "n", name="pk_job_log"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_log_job_id"),
    )


def _history() -> None:
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger(), nullable=False, autoincrement=False),
        _text("at"),
        _text("actor"),
        _text("kind"),
        _text("subject"),
        _text("data"),
        _text("previous"),
        _text("hash"),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
    )
    op.create_table(
        "heads",
        sa.Column("seq", sa.BigInteger(), nullable=False, autoincrement=False),
        _text("hash"),
        _text("signature"),
        _text("signed_at"),
        sa.PrimaryKeyConstraint("seq", name="pk_heads"),
    )


def _sqlite_triggers() -> None:
    """``INSERT OR REPLACE`` fires no DELETE trigger; the check for gaps refuses it, as its seq is not the next one."""
    for table in ("events", "heads"):
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
    op.execute(
        "CREATE TRIGGER events_no_gap BEFORE INSERT ON events "
        "WHEN NEW.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM events) "
        "BEGIN SELECT RAISE(ABORT, 'events has no gaps'); END"
    )
    op.execute(
        "CREATE TRIGGER heads_no_replace BEFORE INSERT ON heads "
        "WHEN EXISTS (SELECT 1 FROM heads WHERE seq = NEW.seq) "
        "BEGIN SELECT RAISE(ABORT, 'heads is append-only'); END"
    )


def _postgres_triggers() -> None:
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    op.execute(
        "CREATE FUNCTION refuse_gap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM events) THEN "
        "RAISE EXCEPTION 'events has no gaps'; END IF; RETURN NEW; END $$"
    )
    for table in ("events", "heads"):
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute("CREATE TRIGGER events_no_gap BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse_gap()")
