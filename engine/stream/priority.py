"""Who goes first on a machine that runs the database too: the database.

A dump is as fast as the server's one process for it. What compresses, seals and sends can wait a moment where that
process cannot, so it takes its turns later. Alone on a machine it is as fast as ever.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

_NICE = 5
"""A third of the share that others have, while there are others."""
_AUTOGROUP = Path("/proc/self/autogroup")


def stand_back() -> None:
    """This thread takes its turns after others. Only on Linux: elsewhere it would be the whole process."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def stand_back_as_session() -> None:
    """The session that this process leads takes its turns after other sessions.

    Linux shares processors among sessions first (sched(7), autogroup): there a thread's priority says nothing to
    another session. Children that lead sessions of their own are not touched. A process that leads none, as one that
    was started in a terminal, leaves it as it is.
    """
    if sys.platform == "linux" and os.getsid(0) == os.getpid():
        with suppress(OSError):
            _AUTOGROUP.write_text(str(_NICE), encoding="ascii")
