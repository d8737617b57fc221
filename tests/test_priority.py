"""The database goes first: what compresses takes its turns later, and so does a worker's whole session."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine.stream import priority

REPOSITORY = Path(__file__).parent.parent
AUTOGROUP = Path("/proc/self/autogroup")
PROGRAM = (
    "from engine.stream import priority; priority.stand_back_as_session(); print(open('/proc/self/autogroup').read())"
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux has a priority for each thread, and autogroups")


def test_a_thread_stands_back_alone() -> None:
    seen: list[int] = []

    def run() -> None:
        priority.stand_back()
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [5]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel has no autogroups")
@pytest.mark.parametrize(("own", "nice"), [(True, "nice 5"), (False, "nice 0")])
def test_a_session_stands_back_only_for_who_leads_it(own: bool, nice: str) -> None:
    program = [sys.executable, "-c", PROGRAM]
    if not own:  # a child of a session's leader, as in a terminal
        program = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", *program]
    done = subprocess.run(program, cwd=REPOSITORY, capture_output=True, text=True, check=True, start_new_session=True)
    assert done.stdout.strip().endswith(nice)
