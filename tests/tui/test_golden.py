"""Screens as text, to be read in a diff. ``OFFSITEDB_GOLDEN=write`` writes them anew: look at what changed."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from tests.fixtures.history import History, acme
from tests.fixtures.pilot import SIZES, console, screen_text, settled

GOLDEN = Path(__file__).parent / "golden"
SCENES: dict[str, tuple[str, ...]] = {
    "ledger": (),
    "ledger-filter": ("slash", *"warehouse"),
    "ledger-checkpoint": ("c",),
    "connections": ("2",),
    "proving": ("2", "down", "o"),
    "snapshots": ("3",),
    "drill": ("4",),
    "reports": ("5",),
    "receipt": ("5", "enter"),
    "months": ("5", "m"),
    "settings": ("6",),
    "help": ("question_mark",),
}
_HASH = re.compile(r"\b[0-9a-f]{16,64}\b")
"""Hashes of what was signed with this run's own key; ids of a history are the same in every run."""
_PLACE = re.compile(r"/tmp/odb-\w{8}")


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x36"])
@pytest.mark.parametrize("name", SCENES)
def test_screen(history: History, name: str, size: tuple[int, int]) -> None:
    acme(history)
    if name == "proving":
        history.engine.checks.add("prod-api", "enough-orders", "SELECT count(*) FROM public.orders", ">=1000000")
        history.engine.checks.add("prod-api", "no-orphans", "SELECT count(*) FROM auth.users WHERE id IS NULL", "0")
    if name == "months":
        history.engine.reports.build("2026-11")
    shown: list[str] = []

    async def scene() -> None:
        async with console(history, size) as pilot:
            for key in SCENES[name]:
                await settled(pilot)
                await pilot.press(key)
            await settled(pilot)
            shown.append(screen_text(pilot))

    asyncio.run(scene())
    golden(f"{name}-{size[0]}x{size[1]}", shown[0])


def golden(name: str, shown: str) -> None:
    """Hold what is shown against the file of this name."""
    text = _PLACE.sub("/srv/offsitedb/11", _HASH.sub(lambda m: "f" * len(m[0]), shown)) + "\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("OFFSITEDB_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()
