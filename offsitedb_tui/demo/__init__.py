"""The embedded demo: the product's main job on this machine, with real parts, from nothing to a proven snapshot.

Everything is what an operator would use: a PostgreSQL server with a sample database, a read-only role, the keyring, the
worker process, a local-folder destination, a drill. Only where the machine has no usable keyring does the demo hold a
throw-away key in its own process tree, and it says so; the product proper never does that.
"""

from offsitedb_tui.demo.story import run

__all__ = ["run"]
