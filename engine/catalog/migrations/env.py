"""Alembic's environment: works on the connection that it is given and leaves the commit to whoever holds the lock."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from engine.catalog.migrate import VERSION_TABLE
from engine.catalog.schema import metadata
from engine.errors import Internal

connection = context.config.attributes.get("connection")
if not isinstance(connection, Connection):
    raise Internal("internal.error", "migrations run only on the connection of an opened catalog")

# SQLite can roll DDL back as PostgreSQL can; Alembic's default does not count on it.
context.configure(connection=connection, target_metadata=metadata, version_table=VERSION_TABLE, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
