"""The command line: which verbs there are. Each lives in ``verbs``; reading verbs take ``--json``.

Without a verb, in a terminal, it is the console.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from offsitedb_tui import entrance
from offsitedb_tui.console import in_terminal, leave, run
from offsitedb_tui.opening import open_engine
from offsitedb_tui.output import speaking
from offsitedb_tui.verbs import (
    alerts,
    apikey,
    catalog,
    check,
    connection,
    destination,
    doctor,
    drill,
    init,
    job,
    key,
    operator,
    postgres,
    posture,
    receipt,
    recover,
    recovery,
    report,
    restore,
    retention,
    schedule,
    scratch,
    serve,
    snapshot,
    verify,
    worker,
    workers,
)

app = typer.Typer(
    help="Back up any Postgres database off-site, and prove that every backup restores.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(destination.app, name="destination")
app.add_typer(connection.app, name="connection")
app.add_typer(snapshot.app, name="snapshot")
app.add_typer(job.app, name="jobs")
app.add_typer(key.app, name="key")
app.add_typer(recovery.app, name="recovery")
app.add_typer(postgres.app, name="postgres")
app.add_typer(scratch.app, name="scratch")
app.add_typer(check.app, name="check")
app.add_typer(alerts.app, name="alerts")
app.add_typer(schedule.app, name="schedule")
app.add_typer(retention.app, name="retention")
app.add_typer(report.app, name="report")
app.add_typer(operator.app, name="operator")
app.add_typer(apikey.app, name="apikey")
app.add_typer(catalog.app, name="catalog")
app.command("init")(init.init)
app.command("recover")(recover.recover)
app.command("checkpoint")(drill.checkpoint)
app.command("drill")(drill.drill)
app.command("ledger")(drill.ledger)
app.command("drills")(receipt.drills)
app.command("receipt")(receipt.receipt)
app.command("restore")(restore.restore)
app.command("restores")(restore.restores)
app.command("reconcile")(retention.reconcile)
app.command("verify")(verify.verify)
app.command("worker")(worker.worker)
app.command("serve")(serve.serve)
app.command("workers")(workers.workers)
app.command("doctor")(doctor.doctor)
app.command("posture")(posture.posture)
app.command("login")(operator.login)
app.command("logout")(operator.logout)


@app.callback(invoke_without_command=True)
def console(context: typer.Context) -> None:
    """Without a verb: the console. In a pipe, this help."""
    if context.invoked_subcommand is not None:
        return
    with speaking(as_json=False) as talk:
        if not in_terminal():
            talk.say(context.get_help())
            raise typer.Exit(ConfigError.exit_status)
        entrance.refuse_first_run()
        leave(run(lambda: open_engine(login=False)))


@app.command()
def demo(
    no_console: Annotated[
        bool, typer.Option("--no-console", help="End after the proof, do not open the console.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the demo's databases and files in place.")] = False,
    home: Annotated[Path | None, typer.Option(help="Where the demo lives (default: a temporary directory).")] = None,
) -> None:
    """A source database, a checkpoint and its drill, on this machine, with nothing set up beforehand."""
    from offsitedb_tui.demo import story

    with speaking(as_json=False) as talk:
        story.run(talk, keep=keep, home=home, look_around=in_terminal() and not no_console)
