"""Tables of who may do what: operators, sessions, limits, API keys. See ``engine.catalog.schema``.

Of passwords, tokens and keys there are hashes only.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text

from engine.catalog.schema import Instant, metadata

_ROLES = "role IN ('viewer', 'operator', 'admin')"

operators = Table(
    "operators",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, CheckConstraint(_ROLES, name="role"), nullable=False),
    Column("password", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("password_at", Instant, nullable=False),
    Column("last_login_at", Instant),
    Column("disabled_at", Instant),
)
"""``password`` is a PHC string of scrypt. A disabled operator keeps the row and the name: events speak of it."""
Index("uq_operators_name", operators.c.name, unique=True)

sessions = Table(
    "sessions",
    metadata,
    Column("token_sha256", Text, primary_key=True),
    Column("operator_id", Text, ForeignKey("operators.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("confirmed_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("end_reason", Text),
)
"""``kind``: ``console`` or ``browser``; ``confirmed_at``: when the password was last given in it."""
Index("ix_sessions_operator_id", sessions.c.operator_id)

login_limits = Table(
    "login_limits",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("blocked_until", Instant),
)
"""Failures of late: per account (named or not), per source, and of all."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_sha256", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("connections", Text),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("last_used_at", Instant),
    Column("replaces", Text),
)
"""``scopes`` and ``connections`` (ids; empty: all) are JSON lists.

A key that was rotated expires when its overlap ends.
"""

api_requests = Table(
    "api_requests",
    metadata,
    Column("api_key_id", Text, ForeignKey("api_keys.id"), primary_key=True),
    Column("idempotency_key", Text, primary_key=True),
    Column("request_sha256", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)
"""Requests that were given an ``Idempotency-Key``: asked again, they answer with the job that they began."""
Index("ix_api_requests_created_at", api_requests.c.created_at)
