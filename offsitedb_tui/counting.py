"""How far a download is, on stderr: one line that is rewritten on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time

from screens.present import human_bytes, human_seconds

CLEAR = "\r\x1b[K"
EVERY_S = 0.5
PLAIN_EVERY_S = 10.0


class Counting:
    """Called with the bytes that are read and their total; its block ends with the line taken away."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._tty = sys.stderr.isatty()
        self._began = self._last = time.monotonic()
        self._shown = False

    def __enter__(self) -> Counting:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._tty and self._shown:
            self._write(CLEAR)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last < (EVERY_S if self._tty else PLAIN_EVERY_S):
            return
        self._last = now
        text = f"● {self._what}  {describe(done, total, now - self._began)}"
        self._write(CLEAR + text if self._tty else text + "\n")
        self._shown = True

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def describe(done: int, total: int, seconds: float) -> str:
    """``61 %  245.1 MB of 412.3 MB  38.0 MB/s  ETA 4.4 s``."""
    parts = [f"{min(99, done * 100 // total)} %" if done < total else ""]
    parts.append(f"{human_bytes(done)} of {human_bytes(total)}")
    if done and seconds > 0:
        parts.append(f"{human_bytes(done / seconds)}/s")
        if total > done:
            parts.append(f"ETA {human_seconds((total - done) * seconds / done)}")
    return "  ".join(part for part in parts if part)
