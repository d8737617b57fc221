"""``offsitedb`` and ``python -m offsitedb_tui``."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from offsitedb_tui.cli import app

    app(prog_name="offsitedb")


if __name__ == "__main__":
    main()
