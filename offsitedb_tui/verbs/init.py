"""``init``: catalog, master key in the OS keyring, recovery code shown once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from engine.keys.recovery import RecoveryCode
from engine.service import Engine
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking


def init(
    no_confirm: Annotated[
        bool, typer.Option("--no-confirm", help="Do not ask to type parts of the recovery code back.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Set up this installation. The recovery code is shown once: keep it away from this machine."""
    with speaking(as_json=as_json) as talk:
        made = Engine.initialise()
        talk.document(
            {"catalog_id": made.catalog_id, "kid": made.kid, "backend": made.backend, "recovery_code": made.code.text}
        )
        talk.show(f"The master key {made.kid} lives in: {made.backend}")
        talk.show()
        talk.show("Recovery code (shown once; it opens every backup, even when this machine is gone):")
        talk.show()
        talk.show(f"    {made.code.text}")
        talk.show()
        if no_confirm or as_json or not sys.stdin.isatty():
            talk.say("Write it down now. Nobody confirmed it; `offsitedb doctor` will remind you.")
            return
        if _typed_back(made.code, talk):
            with open_engine() as engine:
                engine.keys.confirm_recovery()
            talk.say("Confirmed. Next: `offsitedb destination add NAME --folder PATH`.")
            talk.say(
                "Several people? `offsitedb operator add NAME --role admin` gives them logins; alone you need none."
            )


def _typed_back(code: RecoveryCode, talk: Talk) -> bool:
    positions = code.confirm_positions()
    for _ in range(3):
        typed = [typer.prompt(f"Group {n} of the code (after odbr1)", err=True) for n in positions]
        if code.confirms(positions, typed):
            return True
        talk.say("That is not what the code says. Look again.")
    talk.say("Not confirmed; `offsitedb doctor` will remind you. The code above is still the right one.")
    return False
