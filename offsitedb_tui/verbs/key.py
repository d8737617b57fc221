"""``key status | rotate | restore | install-systemd``."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated

import typer

from engine.model.views import KeyEpoch
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import speaking

app = typer.Typer(no_args_is_help=True, help="The master key: where it lives, rotating it, and putting it back.")


@app.command()
def status(as_json: AsJson = False) -> None:
    """Where the master key lives, and whether it can be had."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.keys.status()
        talk.document(found)
        talk.show(f"master key {found.kid} (epoch {found.epoch}) in {found.backend}: {found.state}")
        talk.show(f"  {found.detail}")
        if found.rotated_at is not None:
            talk.show(f"  rotated {_when(found.rotated_at)}, first made {_when(found.created_at)}")
            talk.table(("EPOCH", "KEY", "STATE", "SINCE", "WHAT FOR"), [_row(epoch) for epoch in found.epochs])
        if found.recovery_confirmed_at is None:
            talk.show("  the recovery code was never confirmed")
        if found.state != "ok":
            raise typer.Exit(12)


@app.command()
def rotate(as_json: AsJson = False) -> None:
    """Make a new master key and seal everything in the catalog under it.

    The recovery code stays as it is. Snapshots are not touched: each opens with the key that it was taken under, which
    is kept for as long as one of them needs it. Jobs may run meanwhile; a rotation that is interrupted changes nothing.
    """
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        done = engine.keys.rotate()
        talk.document(done)
        talk.show(f"✓ rotated: master key {done.to_kid} (epoch {done.epoch}) in {done.backend}, was {done.from_kid}")
        fields = "1 sealed value" if done.fields == 1 else f"{done.fields:,} sealed values"
        talk.show(f"  {fields} in the catalog sealed anew; the recovery code is the same")
        if done.older_snapshots:
            what = "1 snapshot" if done.older_snapshots == 1 else f"{done.older_snapshots:,} snapshots"
            talk.show(f"  older epochs are kept for {what}: `offsitedb key status`")
        for line in done.next:
            talk.show(f"  → {line}")


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
    epoch: Annotated[
        int | None, typer.Option("--epoch", min=1, help="With --print-key: which epoch (default: the current one).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """How to make the key permanent on a server, as encrypted systemd credentials: one for each epoch in use.

    To be run again after a rotation.
    """
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        if print_key and (as_json or sys.stdout.isatty()):
            talk.say("refused: the key would stand on your screen. Use the pipe that `key install-systemd` shows.")
            raise typer.Exit(2)
        if print_key:
            talk.show(engine.keys.master_text(epoch))
            return
        found = engine.keys.systemd_install()
        talk.document(found)
        talk.show(found.text)


def _row(epoch: KeyEpoch) -> tuple[object, ...]:
    return (epoch.epoch, epoch.kid or "–", epoch.state, _when(epoch.since), epoch.why)


def _when(at: datetime | None) -> str:
    return "–" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M")
