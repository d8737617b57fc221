"""How much a process keeps of what its jobs have given back.

glibc gives each thread an arena of its own and learns to take large buffers from there; what is freed in one arena is
of no use to the next. A worker whose jobs come with new threads would grow with every job.
"""

from __future__ import annotations

import ctypes
import gc
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_ARENAS = 1
_OWN_MAPPING_BYTES = 2 << 20
"""What is at least as large goes back to the system at once: parts of an upload, ranges of a download."""
_KEPT_BYTES = 3 << 20
"""What may lie free for the next block: a page that is given back and asked for again costs more than its cipher."""


def keep_little() -> None:
    """Settle glibc's allocator for this process, and look no more at the objects that are there for good."""
    gc.collect()
    gc.freeze()
    _call("mallopt", _M_ARENA_MAX, _ARENAS)
    _call("mallopt", _M_MMAP_THRESHOLD, _OWN_MAPPING_BYTES)
    _call("mallopt", _M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back() -> None:
    """Free what only refers to itself (a bucket's client is 3,500 such objects), and hand free memory to the system.

    Takes some milliseconds: something for the time between two jobs, or two halves of one.
    """
    gc.collect()
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    if sys.platform != "linux":
        return
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):  # another C library
        return
    function(*arguments)
