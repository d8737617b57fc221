"""``jobs [list | show | cancel]``."""

from __future__ import annotations

from typing import Annotated

import typer

from offsitedb_tui.follow import describe
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import hint_lines, speaking
from screens.present import visible

app = typer.Typer(help="What the worker does, did and will do.")
Which = Annotated[str, typer.Argument(metavar="JOB", help="A job's id or a unique prefix of one.")]


@app.callback(invoke_without_command=True)
def jobs(context: typer.Context, as_json: AsJson = False) -> None:
    """The newest jobs."""
    if context.invoked_subcommand is None:
        list_(as_json=as_json)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """The newest jobs."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.jobs.recent(limit)
        talk.document(found)
        if not found:
            talk.show("There are no jobs yet.")
            return
        talk.table(
            ("CREATED", "JOB", "KIND", "CONNECTION", "STATE", "TRY", "ERROR"),
            [
                (
                    j.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
                    j.id[:12],
                    j.kind,
                    j.connection,
                    j.state,
                    j.attempt,
                    j.error.code if j.error else "",
                )
                for j in found
            ],
        )


@app.command()
def show(job: Which, as_json: AsJson = False) -> None:
    """One job with its log."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.jobs.get(job)
        talk.document(found)
        talk.show(f"job {found.id}  {found.kind} of {found.connection}  {found.state}")
        if not found.state.ended:
            talk.show(f"  {describe(found)}")
        if found.error is not None:
            talk.show(f"  error: {visible(found.error.message)}  [{found.error.code}]")
            for line in hint_lines(found.error.hint):
                talk.show(f"    {line}")
        for _, level, text in engine.jobs.log(found.id):
            talk.show(f"  {level:7} {visible(text)}")


@app.command()
def cancel(job: Which, as_json: AsJson = False) -> None:
    """Ask a job to stop; a running one ends within two seconds and leaves nothing behind."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.jobs.cancel(job)
        talk.document(found)
        talk.show(f"job {found.id[:12]} is {'cancelled' if found.state.ended else 'being cancelled'}")
