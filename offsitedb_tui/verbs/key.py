"""``key status | restore | install-systemd``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import speaking

app = typer.Typer(no_args_is_help=True, help="The master key: where it lives, and putting it back.")


@app.command()
def status(as_json: AsJson = False) -> None:
    """Where the master key lives, and whether it can be had."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.keys.status()
        talk.document(found)
        talk.show(f"master key {found.kid} (epoch {found.epoch}) in {found.backend}: {found.state}")
        talk.show(f"  {found.detail}")
        if found.recovery_confirmed_at is None:
            talk.show("  the recovery code was never confirmed")
        if found.state != "ok":
            raise typer.Exit(12)


@app.command()
def restore(as_json: AsJson = False) -> None:
    """Put the master key back with the recovery code, from stdin or a prompt."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        asked = sys.stdin.isatty()
        code = typer.prompt("Recovery code", hide_input=True, err=True) if asked else sys.stdin.read(4096)
        found = engine.keys.restore(code)
        talk.document(found)
        talk.show(f"master key {found.kid} is back, in {found.backend}")


@app.command("install-systemd")
def install_systemd(
    print_key: Annotated[
        bool, typer.Option("--print-key", help="Write the key itself to stdout: only ever into the pipe that is shown.")
    ] = False,
) -> None:
    """How to make the key permanent on a server, as an encrypted systemd credential."""
    with speaking(as_json=False) as talk, open_engine() as engine:
        if print_key and sys.stdout.isatty():
            talk.say("refused: the key would stand on your screen. Use the pipe that `key install-systemd` shows.")
            raise typer.Exit(2)
        talk.show(engine.keys.master_text() if print_key else engine.keys.systemd_install())
