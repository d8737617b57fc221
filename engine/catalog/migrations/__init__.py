"""How the catalog's tables came to be, step by step; run by Alembic from ``engine.catalog.migrate`` only."""
