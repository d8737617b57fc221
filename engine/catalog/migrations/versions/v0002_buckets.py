"""Destinations can be buckets: where they are, and their keys, sealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COLUMNS = (
    "bucket",
    "provider",
    "endpoint",
    "region",
    "prefix",
    "ca_pem",
    "access_key_sealed",
    "secret_key_sealed",
    "prune_access_key_sealed",
    "prune_secret_key_sealed",
)


def upgrade() -> None:
    """Add the columns; all are empty for a folder."""
    for name in _COLUMNS:
        op.add_column("destinations", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("destinations", sa.Column("allow_http", sa.Boolean(), nullable=False, server_default=sa.false()))
