"""Fixtures of every test: one family a file under ``fixtures``. What takes longest begins first."""

from __future__ import annotations

import pytest

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

LONGEST = (
    "test_runs_by_itself.py",
    "test_bucket_storms.py",
    "test_fleet.py",
    "test_hostile_groups.py",
    "test_crash_children.py",
    "test_network_faults.py",
    "test_crash_worker.py",
    "test_service_user.py",
)
"""Files of minutes, the longest first: begun at the end they would be what all others wait for."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Within a file, and of all other files, the order stays."""
    rank = {name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))
