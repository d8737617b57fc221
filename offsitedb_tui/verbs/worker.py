"""``worker``: the Huey consumer, with our names for its options."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Annotated

import typer

from engine.service import Engine
from offsitedb_tui.output import speaking


def worker(
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, max=64, metavar="N", help="Jobs at a time (default: worker.threads)."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="L", help="A network that this host reaches; repeat (also: worker.labels)."),
    ] = None,
    until_stdin_ends: Annotated[
        bool, typer.Option("--until-stdin-ends", hidden=True, help="Stop when whoever started it has gone.")
    ] = False,
) -> None:
    """Run jobs until stopped. SIGTERM lets running ones end within the grace period, then puts them back."""
    with speaking(as_json=False) as talk:
        with Engine.open() as engine:  # needs no login; says what is wrong before anything starts
            threads = workers or engine.settings.worker.threads
            for name in label or ():
                engine.workers.check_label(name)
        import huey_config  # late: makes the queue's file

        if until_stdin_ends:
            threading.Thread(target=_stop_with_stdin, name="stdin", daemon=True).start()
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
        huey_config.labels = tuple(label or ())
        talk.say(f"worker with {threads} threads is running; stop it with Ctrl-C or SIGTERM")
        huey_config.huey.create_consumer(workers=threads, graceful_signal="TERM").run()


def _stop_with_stdin() -> None:
    """Stop like on SIGTERM when nobody holds the other end of stdin any more."""
    while os.read(0, 1 << 10):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
