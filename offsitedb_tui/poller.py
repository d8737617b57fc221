"""The one thread that looks at the catalog for the screens: did it change, then one frozen view, one message."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from engine.errors import Internal, OffsiteError
from engine.model.watch import Overview
from engine.service import Engine
from screens.messages import Looked, LookFailed

BUSY_S = 1.0
IDLE_S = 5.0
AGE_S = 30.0
"""Ages move on although nothing changed in the catalog."""


class Poller:
    """Posts :class:`Looked` when the catalog changed, once a second while a job runs, else every five."""

    def __init__(self, engine: Engine, post: Callable[[Looked | LookFailed], Any]) -> None:
        self._engine = engine
        self._post = post
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """Look now."""
        self._wake.set()

    def stop(self) -> None:
        """Ask it to end; nobody waits for it."""
        self._stopped = True
        self._wake.set()

    def _run(self) -> None:
        newest: Overview | None = None
        revision = -1
        since_s = 0.0
        pause_s = IDLE_S
        while not self._stopped:
            asked = self._wake.is_set()
            self._wake.clear()
            try:
                self._engine.operators.whoever()  # nobody is shown anything after their session has ended
                now = self._engine.watch.revision()
                if newest is None or now != revision or asked or since_s >= AGE_S:
                    overview = self._engine.watch.overview()
                    if overview != newest or asked or since_s >= AGE_S:
                        self._post(Looked(overview))
                        since_s = 0.0
                    newest, revision = overview, now
                pause_s = BUSY_S if newest.jobs else IDLE_S
            except OffsiteError as e:
                self._post(LookFailed(e))
                newest = None
            except Exception as e:  # noqa: BLE001 - the last line: the screens must not just stand still
                self._post(LookFailed(Internal("internal.error", f"{type(e).__name__}: {e}")))
                newest = None
            if not self._wake.wait(pause_s):
                since_s += pause_s
