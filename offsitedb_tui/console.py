"""Opening the console in a terminal, and leaving it at once whatever still hangs.

Textual reads some of its settings when it is imported, so they are set here, before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from engine.errors import ConfigError
from engine.service import Engine, Initialised

QUIET = {"TEXTUAL_ANIMATIONS": "none", "TEXTUAL_SMOOTH_SCROLL": "0", "TEXTUAL_FPS": "20"}
"""What a terminal behind a slow line is spared. Smooth scrolling needs pixel reports that tmux does not have."""


def in_terminal() -> bool:
    """Whether there is somebody to look at a screen."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def run(open_engine: Callable[[], Engine], make: Callable[[], Initialised] = Engine.initialise) -> int:
    """Run the console until its operator leaves; the exit status. Raises ConfigError where there is no terminal.

    Calls to the outside may still hang when it returns: see :func:`leave`.
    """
    if not in_terminal():
        raise ConfigError(
            "config.usage",
            "the console needs a terminal",
            hint="Over SSH ask for one: `ssh -t host offsitedb`. For scripts there is `offsitedb --help`.",
        )
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from offsitedb_tui.app import ConsoleApp

    app = ConsoleApp(open_engine, make)
    app.run()
    return app.return_code or 0


def leave(status: int) -> NoReturn:
    """End at once. Calls to the outside may still hang; their threads hold nothing that matters: all work is the
    worker's, and the catalog is closed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
