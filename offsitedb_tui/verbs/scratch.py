"""``scratch add | list | test | remove``: servers that drills may restore into."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.model.views import ScratchServerView
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking
from offsitedb_tui.verbs.connection import connection_string
from screens.present import visible

app = typer.Typer(no_args_is_help=True, help="Servers that drills may restore into, for what this host lacks.")


@app.command()
def add(
    name: str,
    url_stdin: Annotated[bool, typer.Option("--url-stdin", help="Read the connection string from stdin.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give drills a server. Its role needs CREATEDB and CREATEROLE; it must not hold a database that is backed up."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        view = engine.scratch.add(name, connection_string(url_stdin=url_stdin))
        talk.document(view)
        _show(view, talk)
        talk.show(f"Next: `offsitedb connection edit CONNECTION --scratch {view.name}`.")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """The servers, and whose drills use them."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.scratch.list()
        talk.document(found)
        if not found:
            talk.show("Drills use clusters of their own on this host; no server was given to them.")
            return
        for view in found:
            _show(view, talk)


@app.command("test")
def try_out(name: str, as_json: AsJson = False) -> None:
    """Look whether a drill could use the server now."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        view = engine.scratch.test(name)
        talk.document(view)
        _show(view, talk)


@app.command()
def remove(name: str, as_json: AsJson = False) -> None:
    """Forget a server's connection string."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        engine.scratch.remove(name)
        talk.document({"removed": name})
        talk.say(f"scratch server {name} is forgotten")


def _show(view: ScratchServerView, talk: Talk) -> None:
    version = f"  PostgreSQL {view.version}" if view.version else ""
    users = ", ".join(view.connections) or "no connection"
    talk.show(f"{view.name}  {visible(view.address)}{version}  used by {users}")
