"""``recovery show | verify | kit``."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated

import typer

from engine.model.kit import KitState, KitView
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking
from screens.present import visible

app = typer.Typer(no_args_is_help=True, help="The recovery code, and the kit that lies with it at every destination.")

_WORDS = {
    KitState.CURRENT: "up to date",
    KitState.STALE: "stale: a worker writes it anew, or `offsitedb recovery kit` now",
    KitState.ABSENT: "not written yet: a worker writes it, or `offsitedb recovery kit` now",
    KitState.FAILING: "cannot be written",
}
_NOT_VERIFIED = 12


@app.command()
def show(as_json: AsJson = False) -> None:
    """Which recovery key this is, when its code was last proven, and where the kit lies. Reaches no destination."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.recovery.show()
        talk.document(found)
        talk.show(f"recovery key k-{found.recovery_kid}")
        talk.show(f"  typed back: {_when(found.confirmed_at)} · proven to open everything: {_when(found.verified_at)}")
        if found.overdue:
            talk.show("  Nobody should rely on a code that was never tried: `offsitedb recovery verify`.")
        _show_kits(found.kits, talk)


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Prove that the recovery code still opens the catalog's keys, the newest snapshot and the kit at each destination.

    The code is asked for without echo, or read from stdin. Nothing is changed but the date of the proof.
    """
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        asked = sys.stdin.isatty()
        code = typer.prompt("Recovery code", hide_input=True, err=True) if asked else sys.stdin.read(4096)
        proof = engine.recovery.verify(code)
        talk.document(proof)
        for step in proof.steps:
            talk.show(f"{'✓' if step.ok else '✗'} {visible(step.name)}: {visible(step.detail)}")
        if not proof.verified:
            talk.show("The code is right, and it does not open everything yet: mend what is marked, then try again.")
            raise typer.Exit(_NOT_VERIFIED)
        talk.show(f"The recovery code opens everything (k-{proof.recovery_kid}).")


@app.command()
def kit(
    destination: Annotated[str | None, typer.Option(help="Only to this destination.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the kit now, to RECOVERY/ at every destination: instructions, a decryptor, the keys sealed to the code."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        views = engine.recovery.kit(destination)
        talk.document(views)
        _show_kits(views, talk)
        if any(view.state is KitState.FAILING for view in views):
            raise typer.Exit(1)


def _show_kits(views: tuple[KitView, ...], talk: Talk) -> None:
    if not views:
        talk.show("There is no destination yet, so the kit lies nowhere.")
        return
    rows = [(v.destination, visible(v.where), _when(v.written_at), _state(v)) for v in views]
    talk.table(("DESTINATION", "WHERE", "WRITTEN", "KIT"), rows)


def _state(view: KitView) -> str:
    return _WORDS[view.state] + (f": {visible(view.error)}" if view.error else "")


def _when(at: datetime | None) -> str:
    return "never" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"
