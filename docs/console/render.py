"""Pictures of the console for the README: the real app over an installation with a past.

``python docs/console/render.py`` writes them. Each is an SVG that asks for no font from anywhere. The text screens
beside them were captured from a terminal.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from engine import catalog as catalogs  # noqa: E402
from engine.model import JobKind, JobProgress, JobState  # noqa: E402
from engine.model.watch import PhaseTime  # noqa: E402
from engine.progress import TableRows  # noqa: E402
from tests.fixtures.history import NOW, TABLES, History, acme, new_history  # noqa: E402
from tests.fixtures.pilot import console, settled  # noqa: E402

SIZE = (100, 30)
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def a_drill_runs(history: History) -> None:
    """The newest snapshot of prod-api, being restored again."""
    newest = history.engine.ledger.entries("prod-api", limit=1)[0].snapshot
    assert newest is not None
    with history.engine.catalog.read() as tx:
        connection = catalogs.connections.by_name(tx, "prod-api")
    behind = (
        PhaseTime("fetch", 3.1, 412_300_000, 412_300_000, "bytes"),
        PhaseTime("scratch", 0.4, 0, None, "steps"),
        PhaseTime("list", 0.2, 0, None, "steps"),
    )
    progress = JobProgress("restore", 251_000_000, 412_300_000, "bytes", "", 38e6, NOW, phases=behind)
    job = history.job(
        connection,
        NOW - timedelta(seconds=62),
        kind=JobKind.DRILL,
        state=JobState.RUNNING,
        progress=progress,
        snapshot_id=newest.id,
        tag=newest.tag,
    )
    rows = ((2_518_004, False), (1_002_117, True), (88_241, True))
    with history.engine.catalog.write() as tx:
        told = [TableRows(t.schema, t.table, n, done) for t, (n, done) in zip(TABLES, rows, strict=True)]
        catalogs.job_tables.write(tx, job.id, job.fence, told)


SCENES: dict[str, tuple[tuple[str, ...], Callable[[History], None] | None]] = {
    "ledger": ((), None),
    "drill": (("4",), a_drill_runs),
    "snapshot": (("3", "down", "down"), None),
    "receipt": (("5", "enter"), None),
}


def main() -> None:
    """Write every picture."""
    os.environ["TZ"] = "UTC"
    for name, (keys, prepare) in SCENES.items():
        root = Path(tempfile.mkdtemp(prefix="odb-"))
        os.environ.update(OFFSITEDB_HOME=str(root / "home"), OFFSITEDB_RUNTIME=str(root / "runtime"))
        try:
            with new_history(root / "home") as history:
                acme(history)
                if prepare is not None:
                    prepare(history)
                svg = asyncio.run(picture(history, keys))
        finally:
            shutil.rmtree(root)
        text = _FONT.sub("", svg).replace(str(root), "/srv/offsitedb")
        (HERE / f"{name}.svg").write_text(text + "\n")


async def picture(history: History, keys: tuple[str, ...]) -> str:
    async with console(history, SIZE) as pilot:
        for key in keys:
            await pilot.press(key)
        await settled(pilot)
        return pilot.app.export_screenshot(title="offsitedb")


if __name__ == "__main__":
    main()
