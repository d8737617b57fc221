"""The child process that talks to a foreign keyring: one request on standard input, one reply on standard output.

A locked Secret Service makes its client wait for ever; a process can be killed, a thread cannot. Started by
``engine.keys.door`` only. Secrets travel through the two pipes, never through arguments or environment.
"""

from __future__ import annotations

import sys

from engine import codec
from engine.keys.backends import Request, perform


def main() -> None:
    """Read one request, perform it, write the reply."""
    request = codec.from_json(Request, sys.stdin.buffer.read())
    sys.stdout.write(codec.to_json(perform(request)))


if __name__ == "__main__":
    main()
