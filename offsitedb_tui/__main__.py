"""``offsitedb`` and ``python -m offsitedb_tui``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit status."""
    from offsitedb_tui import forced
    from offsitedb_tui.cli import app
    from offsitedb_tui.output import run

    sys.exit(run(app, sys.argv[1:] or forced.arguments()))


if __name__ == "__main__":
    main()
