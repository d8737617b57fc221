"""What a console looks at lies in columns: targets, coverage, skips, the first failure; live rows per table.

Details and receipts are long texts, and SQLite reads a row's columns in their order: whatever stands behind a long text
costs the reading of that text. The two ``line`` indexes hold all that the ledger shows, so that it never touches a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_PAGE = 200
_SUMMARY_CHARS = 300


def upgrade() -> None:
    """Add the columns, fill them from the texts, and only then index them."""
    op.add_column("connections", sa.Column("proof_target_s", sa.Float(), nullable=True))
    op.add_column("connections", sa.Column("restore_target_s", sa.Float(), nullable=True))
    op.add_column(
        "snapshots", sa.Column("tables_in_source", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    )
    op.add_column("drills", sa.Column("skips", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("drills", sa.Column("summary", sa.Text(), nullable=False, server_default=sa.text("''")))
    _fill_snapshots()
    _fill_drills()
    _indexes()
    op.create_table(
        "job_tables",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("schema_name", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("restored", sa.BigInteger(), nullable=True),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "schema_name", "table_name", name="pk_job_tables"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_tables_job_id"),
    )


def _indexes() -> None:
    op.drop_index("ix_snapshots_taken_at", "snapshots")
    line = ["taken_at", "seq", "id", "connection_id", "destination_id", "job_id", "tag", "tables", "tables_in_source"]
    op.create_index("ix_snapshots_line", "snapshots", [*line, "rows", "size_bytes"])
    op.create_index("ix_snapshots_connection_id_taken_at", "snapshots", ["connection_id", "taken_at", "id"])
    op.drop_index("ix_drills_snapshot_id_position", "drills")
    line = ["snapshot_id", "position", "verdict", "job_id", "restore_s", "skips", "summary"]
    op.create_index("ix_drills_line", "drills", line)


def _fill_snapshots() -> None:
    table = sa.table(
        "snapshots",
        sa.column("id", sa.Text()),
        sa.column("details", sa.Text()),
        sa.column("tables_in_source", sa.BigInteger()),
    )
    for id_, details in _rows(table, table.c.details):
        total = _plain(details).get("relations_total")
        if isinstance(total, int):
            op.execute(table.update().where(table.c.id == id_).values(tables_in_source=total))


def _fill_drills() -> None:
    table = sa.table(
        "drills",
        sa.column("id", sa.Text()),
        sa.column("receipt", sa.Text()),
        sa.column("skips", sa.Integer()),
        sa.column("summary", sa.Text()),
    )
    for id_, document in _rows(table, table.c.receipt):
        receipt = _plain(document).get("receipt")
        if not isinstance(receipt, dict):
            continue
        skips, failures = receipt.get("skips"), receipt.get("failures")
        values: dict[str, object] = {"skips": len(skips) if isinstance(skips, list) else 0}
        first = failures[0] if isinstance(failures, list) and failures else {}
        if isinstance(first, dict):
            values["summary"] = str(first.get("message", "")).replace("\0", "")[:_SUMMARY_CHARS]
        op.execute(table.update().where(table.c.id == id_).values(**values))


def _rows(table: sa.TableClause, long_text: sa.ColumnElement[Any]) -> Iterator[tuple[str, str]]:
    """Id and long text of every row, in pages: all texts together may not fit into memory."""
    last = ""
    page = sa.select(table.c.id, long_text).order_by(table.c.id).limit(_PAGE)
    while rows := op.get_bind().execute(page.where(table.c.id > last)).all():
        for row in rows:
            last = str(row[0])
            yield last, str(row[1])


def _plain(text: str) -> dict[str, Any]:
    """The JSON object in ``text``. What cannot be read stays unfilled: whoever opens it will be told."""
    try:
        plain = json.loads(text)
    except ValueError:
        return {}
    return plain if isinstance(plain, dict) else {}
