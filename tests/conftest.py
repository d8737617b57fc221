"""Fixtures of every test: one family a file under ``fixtures``."""

pytest_plugins = [
    "tests.fixtures.source",
    "tests.fixtures.awkward",
    "tests.fixtures.bare",
    "tests.fixtures.installation",
    "tests.fixtures.fire",
    "tests.fixtures.program",
    "tests.fixtures.ceph",
    "tests.fixtures.shore",
    "tests.fixtures.shop",
    "tests.fixtures.history",
    "tests.fixtures.postgres_server",
]
