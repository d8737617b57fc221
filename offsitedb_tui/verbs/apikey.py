"""``apikey create | list | rotate | revoke``: what machines present to the checkpoint API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from engine.model.apikeys import ApiKeyView, MadeApiKey
from engine.service.apikeys import parse_scopes
from engine.service.durations import parse_duration
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking
from screens.present import visible

app = typer.Typer(no_args_is_help=True, help="API keys: what machines present to the checkpoint API.")
Which = Annotated[str, typer.Argument(metavar="KEY", help="A key's id or name.")]


@app.command()
def create(
    name: str,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="checkpoint:create or checkpoint:read; may be said twice (default: both)."),
    ] = None,
    connection: Annotated[
        list[str] | None,
        typer.Option("--connection", metavar="NAME", help="Only this connection; may be said again (default: all)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown this once; the catalog keeps a hash of it."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        made = engine.apikeys.create(name, parse_scopes(scope or ()), connection or ())
        _show_made(made, talk)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Every key there ever was: who made it, what it may do, when it was used."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.apikeys.list()
        talk.document(found)
        if not found:
            talk.show("There is no API key. Make one: `offsitedb apikey create NAME`.")
            return
        head = ("ID", "NAME", "STATE", "SCOPES", "CONNECTIONS", "MADE", "USED", "ENDS")
        talk.table(head, [_row(key) for key in found])


@app.command()
def rotate(
    which: Which,
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="DURATION", help="How long the old key stays good: 24h at the most.")
    ] = "24h",
    as_json: AsJson = False,
) -> None:
    """Make a key that takes the place of another one; both are good while they overlap."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        made = engine.apikeys.rotate(which, parse_duration(overlap) or 0.0)
        _show_made(made, talk)
        talk.show(f"The old key ends {'now' if overlap.strip().lower() == 'none' else f'in {overlap.strip()}'}.")


@app.command()
def revoke(which: Which, as_json: AsJson = False) -> None:
    """End a key at once; by its name, every one of that name."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.apikeys.revoke(which)
        talk.document(found)
        for key in found:
            talk.show(f"API key {key.id} ({visible(key.name)}) is good for nothing any more")


def _show_made(made: MadeApiKey, talk: Talk) -> None:
    talk.document(made)
    talk.show(made.text)
    reach = ", ".join(made.key.connections) or "all connections"
    talk.say(f"API key {made.key.id} ({visible(made.key.name)}): {', '.join(made.key.scopes)}, {visible(reach)}")
    talk.say("It is shown this once: put it where your deploys find it, as a secret.")


def _row(key: ApiKeyView) -> tuple[object, ...]:
    reach = ", ".join(key.connections) or "all"
    return (
        key.id,
        key.name,
        key.state,
        " ".join(key.scopes),
        reach,
        _when(key.created_at),
        _when(key.last_used_at),
        _when(key.expires_at),
    )


def _when(at: datetime | None) -> str:
    return "–" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M")
