"""``posture``: what this installation can say of its own security."""

from __future__ import annotations

from typing import Annotated

import typer

from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import speaking
from screens.present_posture import text_lines


def posture(
    brief: Annotated[bool, typer.Option("--brief", help="Sentences alone, without the facts behind them.")] = False,
    as_json: AsJson = False,
) -> None:
    """The security posture in plain language, from this installation's own facts; what is weaker comes first.

    Nothing is changed, and no server, bucket or channel is reached. What could not be looked at is "not known".
    """
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.posture.look()
        talk.document(found)
        for line in text_lines(found, facts=not brief):
            talk.show(line)
