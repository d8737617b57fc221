"""Fixtures of every test: one family a file under ``fixtures``."""

pytest_plugins = [
    "tests.fixtures.source",
    "tests.fixtures.installation",
    "tests.fixtures.fire",
    "tests.fixtures.postgres_server",
]
