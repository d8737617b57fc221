"""``catalog show | migrate``: where the catalog lies, and moving it."""

from __future__ import annotations

import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from engine.errors import ConfigError
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import speaking

app = typer.Typer(no_args_is_help=True, help="The catalog: where it lies, and moving it to PostgreSQL or back.")


@app.command()
def show(as_json: AsJson = False) -> None:
    """Where the catalog lies, and how much it holds."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.move.show()
        talk.document(found)
        talk.show(f"the catalog is {found.where} ({found.dialect}), {found.rows} rows in {found.tables} tables")


@app.command()
def migrate(
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="URL", help="postgresql://user@host/database without a password, or the path of a file."
        ),
    ] = None,
    to_stdin: Annotated[bool, typer.Option("--to-stdin", help="Read the URL, password and all, from stdin.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy the catalog to an empty database, all of it or nothing. No worker may run meanwhile.

    The old catalog is left as it is, but for one thing: it opens no more, so that nobody goes on writing to it.
    """
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        if to_stdin == (to is not None):
            raise ConfigError("config.invalid", "say where to, once", hint="Give --to URL, or --to-stdin and a pipe.")
        if to is not None and urlsplit(to).password:
            raise ConfigError(
                "config.invalid",
                "a password on a command line can be read by everybody on this machine",
                hint="Pipe the URL in: `catalog migrate --to-stdin < FILE`, or keep the password in ~/.pgpass.",
            )
        url = sys.stdin.read(8192).strip() if to_stdin else str(to)
        moved = engine.move.to(url)
        talk.document(moved)
        talk.show(f"{moved.rows} rows in {moved.tables} tables are at {moved.where}")
        talk.show(f"the old catalog is kept as {moved.kept}")
        talk.show(f"Next, in the environment of every worker and console: {moved.setting}")
