"""``restore`` and ``restores``: a snapshot into a server of the user's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from engine.model import JobState
from engine.model.restoring import Parts, RestoreOptions, TargetPlan
from engine.restoring import raise_if_refused
from engine.service import Engine
from offsitedb_tui.follow import follow
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson, Yes
from offsitedb_tui.output import Talk, hint_lines, speaking
from offsitedb_tui.verbs.restore_all import restore_all
from screens.present import human_seconds, visible
from screens.present_restore import outcome_lines, plan_lines

_MAX_URL = 65_536
_TERMINAL = Path("/dev/tty")


def restore(
    snapshot: Annotated[
        str | None, typer.Argument(help="A snapshot's id, a unique prefix of one, or NAME@latest.")
    ] = None,
    to_url_stdin: Annotated[
        bool, typer.Option("--to-url-stdin", help="Read the target's connection string from stdin.")
    ] = False,
    table: Annotated[
        list[str] | None, typer.Option("--table", metavar="S.T", help="Only this table and what belongs to it; repeat.")
    ] = None,
    schema: Annotated[
        list[str] | None, typer.Option("--schema", metavar="S", help="Only this schema; repeat for each.")
    ] = None,
    data_only: Annotated[bool, typer.Option("--data-only", help="Rows alone, into tables that are there.")] = False,
    schema_only: Annotated[bool, typer.Option("--schema-only", help="Definitions alone.")] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", metavar="N", help="Sessions at once; with 1 it is one transaction.")
    ] = 1,
    clean: Annotated[
        bool, typer.Option("--clean", help="Drop first what the snapshot holds and the target has.")
    ] = False,
    superuser_objects: Annotated[
        bool, typer.Option("--superuser-objects", help="Also what only a superuser may create.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and end.")] = False,
    yes_target: Annotated[
        str | None, typer.Option("--yes-target", metavar="NAME", help="Agree: the name of the target's database.")
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="The newest snapshot of every connection, each into a new database.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--every", help="With --all: every snapshot, and not the newest alone.")
    ] = False,
    connection: Annotated[
        str | None, typer.Option("--connection", metavar="NAME", help="With --all: of this connection alone.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Restore SNAPSHOT into a live server: the plan first, then the database's name typed back.

    With --all the connection string names a server: a new database is made there for each snapshot (prod_20 for number
    20 of prod), and what is there already is not touched.
    """
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        if all_:
            if snapshot is not None or dry_run or table or schema or data_only or schema_only or clean or yes_target:
                raise ConfigError(
                    "config.usage",
                    "--all restores whole snapshots into new databases",
                    hint="Say it with --to-url-stdin, --every, --connection and --yes alone.",
                )
            url = _target_url(from_stdin=to_url_stdin)
            options = RestoreOptions(jobs=jobs, superuser_objects=superuser_objects)
            restore_all(engine, url, options, talk, every=every, connection=connection, agreed=yes)
            return
        if snapshot is None or every or connection is not None:
            raise ConfigError("config.usage", "say either a snapshot or --all", hint="`offsitedb ledger` lists them.")
        if data_only and schema_only:
            raise ConfigError("config.invalid", "--data-only and --schema-only exclude each other")
        parts = Parts.DATA if data_only else Parts.SCHEMA if schema_only else Parts.ALL
        options = RestoreOptions(tuple(table or ()), tuple(schema or ()), parts, jobs, clean, superuser_objects)
        url = _target_url(from_stdin=to_url_stdin)
        talk.say("reading the snapshot's contents and looking at the target…")
        plan = engine.restores.plan(snapshot, url, options)
        for line in plan_lines(plan):
            (talk.show if dry_run else talk.say)(line.text)
        if dry_run:
            talk.document(plan)
            return
        raise_if_refused(plan)
        typed = yes_target if yes_target is not None else _ask(plan)
        _run(engine, plan, url, typed, talk)


def restores(limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50, as_json: AsJson = False) -> None:
    """Past restores into live servers, newest first."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.restores.recent(limit)
        talk.document(found)
        if not found:
            talk.show("Nothing has been restored into a server yet.")
            return
        rows = [
            (
                line.record.finished_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
                line.connection,
                line.record.snapshot_id[:12],
                line.record.target,
                line.record.outcome.state,
                f"{len(line.record.outcome.tables):,}",
                f"{line.record.outcome.rows:,}",
                human_seconds((line.record.finished_at - line.record.started_at).total_seconds()),
            )
            for line in found
        ]
        talk.table(("ENDED", "CONNECTION", "SNAPSHOT", "TARGET", "STATE", "TABLES", "ROWS", "TOOK"), rows)


def _run(engine: Engine, plan: TargetPlan, url: str, typed: str, talk: Talk) -> None:
    job = engine.restores.start(plan, url, typed=typed)
    ended = follow(engine, job, talk, None, interrupt_cancels=True)
    record = engine.restores.of_job(ended.id)
    if ended.state is JobState.SUCCEEDED:
        talk.document(record)
    if record is not None:
        for line in outcome_lines(record):
            talk.show(line.text)
    if ended.state is JobState.SUCCEEDED:
        return
    error = ended.error
    if talk.as_json:
        talk.document({"error": error, "restore": record, "job": ended.id})
    elif error is not None:
        talk.say(f"error: {visible(error.message)}  [{error.code}]")
        for text in hint_lines(error.hint):
            talk.say(f"  {text}")
    raise typer.Exit(error.exit_status if error is not None else 130)


def _target_url(*, from_stdin: bool) -> str:
    if from_stdin:
        text = sys.stdin.read(_MAX_URL)
    elif sys.stdin.isatty():
        text = typer.prompt("Connection string of the target", hide_input=True, err=True)
    else:
        raise ConfigError(
            "config.invalid",
            "no target was given",
            hint="Say --to-url-stdin and pipe its connection string in: it never belongs on a command line.",
        )
    if not text.strip():
        raise ConfigError("config.conninfo", "the target's connection string is empty")
    return text


def _ask(plan: TargetPlan) -> str:
    """The database's name, typed on the terminal: stdin has brought the connection string."""
    try:
        with _TERMINAL.open("r+b", buffering=0) as terminal:
            asked = f"Type the name of the target's database ({visible(plan.target.database)}) to restore into it: "
            terminal.write(asked.encode())
            return terminal.readline(1000).decode("utf-8", "replace").strip()
    except OSError as e:
        raise ConfigError(
            "config.consent",
            "there is no terminal to type the name of the target's database on; nothing was changed",
            hint=f"Say it: `--yes-target {plan.target.database}`.",
        ) from e
