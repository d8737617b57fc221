"""What can be done by name (ctrl+p): pages, checkpoints and drills, what runs, settings, looks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from engine.model.watch import Overview
from offsitedb_tui import theme
from screens.base import Page
from screens.palette import Command
from screens.settings import SECTIONS
from screens.widgets.nav import PAGES

if TYPE_CHECKING:
    from offsitedb_tui.app import ConsoleApp


def commands(app: ConsoleApp, page: Page) -> Iterator[Command]:
    """What can be done now, the likeliest first. ``page`` is what lies below."""
    overview = app.overview
    if overview is not None:
        yield from _work(app, page, overview)
    for n, (mode, title) in enumerate(PAGES, 1):
        yield Command(f"Go to {title}", f"key {n}", partial(app.go, mode))
    yield Command("Receipts", "signed evidence of every drill", partial(app.go, "reports"))
    yield Command("Monthly reports", "read, build, export, verify", partial(app.go, "reports", then="months"))
    for section in SECTIONS:
        run = partial(app.go, "settings", section=section.PLACE)
        yield Command(f"Settings: {section.TITLE}", "key 6", run)
    yield Command("Start a worker for this session", "jobs are run by a worker", page.action_start_worker)
    yield Command("Help", "the keys of this page", app.action_help)
    for look in theme.THEMES:
        yield Command(f"Theme {look.name}", "how the console looks", partial(setattr, app, "theme", look.name))
    if app.engine.operators.token is not None:
        yield Command("Lock the console", "ctrl+l", app.lock)
        yield Command("Log out", "ends your session, and leaves", app.log_out)
    yield Command("Quit", "what runs goes on in the worker", app.exit)


def _work(app: ConsoleApp, page: Page, overview: Overview) -> Iterator[Command]:
    for job in overview.jobs:
        what = f"{job.kind} of {job.connection}"
        yield Command(f"Watch the {what}", "live", partial(app.go, "drill", job=job.id))
        yield Command(f"Cancel the {what}", "asks first", partial(app.go, "drill", job=job.id, then="cancel"))
    drillable = {line.connection for line in overview.lines if line.snapshot_id is not None}
    for headline in overview.headlines:
        name = headline.connection
        yield Command(f"Checkpoint of {name}", "snapshot and drill, now", partial(app.ask_checkpoint, page, name))
        if name in drillable:
            run = partial(app.drill_newest, page, name)
            yield Command(f"Drill the newest snapshot of {name}", "restore and compare, now", run)
