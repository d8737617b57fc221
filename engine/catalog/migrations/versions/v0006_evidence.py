"""Events are found by their kind. Rows that are there are bound to the history by whoever opens the catalog next."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_events_kind", "events", ["kind", "seq"])
