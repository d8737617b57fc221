"""``check add | list | remove``: questions that every restored copy of a connection has to answer as expected."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.model import OperatorCheck
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking
from screens.present import visible

app = typer.Typer(no_args_is_help=True, help="Questions that every restored copy of a connection has to answer.")


@app.command()
def add(
    connection: str,
    name: str,
    sql: Annotated[
        str, typer.Option("--sql", metavar="QUERY", help="One SELECT; only the first column of its first row counts.")
    ],
    expect: Annotated[
        str, typer.Option("--expect", metavar="ANSWER", help="The answer as text, or >=N, <=N, >N, <N for a number.")
    ],
    as_json: AsJson = False,
) -> None:
    """Have every drill of a connection ask QUERY; another answer than ANSWER, or an error, fails the drill.

    Names in QUERY must be schema-qualified (public.orders): the search path is empty. The query sees only the restored
    copy, never the source, and may not write. Question and answer stand in the signed receipt.
    """
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        check = engine.checks.add(connection, name, sql, expect)
        talk.document(check)
        _show(check, talk)
        talk.show(f"Next: `offsitedb drill {connection}@latest --wait` asks it.")


@app.command("list")
def list_(connection: str, as_json: AsJson = False) -> None:
    """The checks of a connection."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.checks.list(connection)
        talk.document(found)
        if not found:
            talk.show(f"There is no check. Add one: `offsitedb check add {connection} NAME --sql … --expect …`.")
        for check in found:
            _show(check, talk)


@app.command()
def remove(connection: str, name: str, as_json: AsJson = False) -> None:
    """Ask it no more. What receipts say of it stays."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        engine.checks.remove(connection, name)
        talk.document({"connection": connection, "removed": name})
        talk.show(f"check {name} of {connection} is forgotten; what receipts say of it stays")


def _show(check: OperatorCheck, talk: Talk) -> None:
    talk.show(f"{check.name}  {visible(check.query)}  expects {visible(check.expect)}")
