"""``connection add | list | show | test | edit | remove | preflight | grants``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from engine.errors import ConfigError, PreflightFailed
from engine.model import CheckStatus
from engine.model.views import ConnectionView, PreflightView
from engine.service.durations import duration_text, parse_duration
from engine.service.postgres import DEFAULT_ROLE, grant_recipe
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking
from screens.present import human_bytes, visible
from screens.present_proving import fingerprint_cost

app = typer.Typer(no_args_is_help=True, help="The databases that are protected.")

UrlStdin = Annotated[bool, typer.Option("--url-stdin", help="Read the connection string from stdin.")]
AcceptEmpty = Annotated[bool, typer.Option("--accept-empty", help="Accept a source of which no row can be read.")]
ProofTarget = Annotated[
    str | None, typer.Option("--proof-target", metavar="AGE", help="How old the newest proof may be: 6h, 1d, none.")
]
RestoreTarget = Annotated[
    str | None, typer.Option("--restore-target", metavar="TIME", help="How long a restore may take: 90s, 15min, none.")
]
T = TypeVar("T")
GLYPHS = {CheckStatus.OK: "✓", CheckStatus.INFO: "i", CheckStatus.WARN: "!", CheckStatus.FAIL: "✗"}


@app.command()
def add(
    name: str,
    destination: Annotated[str, typer.Option("--destination", metavar="D")],
    url_stdin: UrlStdin = False,
    accept_empty: AcceptEmpty = False,
    proof_target: ProofTarget = None,
    restore_target: RestoreTarget = None,
    as_json: AsJson = False,
) -> None:
    """Add a connection. The string comes from stdin or a prompt, never from the command line."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        proof_s, restore_s = parse_duration(proof_target or "none"), parse_duration(restore_target or "none")
        text = connection_string(url_stdin=url_stdin)
        view, found = _explaining(
            talk, lambda: engine.connections.add(name, destination, text, accept_empty=accept_empty)
        )
        if (proof_s, restore_s) != (None, None):
            view = engine.connections.set_targets(name, proof_s=proof_s, restore_s=restore_s)
        talk.document({"connection": view, "preflight": found})
        show_preflight(found, talk)
        talk.show(f"connection {view.name} is saved. Next: `offsitedb checkpoint {view.name} --wait`.")


@app.command()
def edit(
    name: str,
    url_stdin: UrlStdin = False,
    ask_url: Annotated[bool, typer.Option("--url", help="Ask for a new connection string.")] = False,
    destination: Annotated[str | None, typer.Option("--destination", metavar="D")] = None,
    accept_empty: Annotated[bool | None, typer.Option("--accept-empty/--no-accept-empty")] = None,
    proof_target: ProofTarget = None,
    restore_target: RestoreTarget = None,
    scratch: Annotated[
        str | None, typer.Option("--scratch", metavar="S", help="The server that drills restore into; none: a cluster.")
    ] = None,
    fingerprint: Annotated[
        bool | None,
        typer.Option("--fingerprint/--no-fingerprint", help="Compare the content of every table, not only its rows."),
    ] = None,
    worker_label: Annotated[
        str | None,
        typer.Option(
            "--worker-label", metavar="L", help="Only workers with this label run its jobs; none: any worker."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; what a snapshot depends on is tested before it is saved."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        targets = proof_target is not None or restore_target is not None
        tested = url_stdin or ask_url or destination is not None or accept_empty is not None
        if not (tested or targets) and (scratch, fingerprint, worker_label) == (None, None, None):
            raise ConfigError(
                "config.invalid",
                "nothing to change",
                hint="See what there is: `offsitedb connection edit --help`.",
            )
        view = engine.connections.get(name)
        proof_s = parse_duration(proof_target) if proof_target is not None else view.proof_target_s
        restore_s = parse_duration(restore_target) if restore_target is not None else view.restore_target_s
        found = None
        if tested:
            text = connection_string(url_stdin=url_stdin) if url_stdin or ask_url else None
            view, found = _explaining(
                talk,
                lambda: engine.connections.edit(name, text=text, destination=destination, accept_empty=accept_empty),
            )
        if targets:
            view = engine.connections.set_targets(name, proof_s=proof_s, restore_s=restore_s)
        if scratch is not None:
            view = engine.scratch.use(name, None if scratch == "none" else scratch)
        if fingerprint is not None:
            if fingerprint:
                talk.say(fingerprint_cost(engine.connections.newest_size(name)))
            view = engine.connections.set_fingerprint(name, wanted=fingerprint)
        if worker_label is not None:
            view = engine.connections.set_worker_label(name, None if worker_label == "none" else worker_label)
        talk.document({"connection": view, "preflight": found})
        if found is not None:
            show_preflight(found, talk)
        if targets:
            talk.show(f"targets: {_targets(view)}")
        if scratch is not None:
            talk.show(f"drills restore into {view.scratch or 'a cluster of their own'}")
        if worker_label is not None:
            talk.show(f"its jobs are for {_workers(view)}")
        if fingerprint is not None:
            content = "compared from the next checkpoint on" if fingerprint else "not compared"
            talk.show(f"content of every table: {content}")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """The connections."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.connections.list()
        talk.document(found)
        if not found:
            talk.show("There is no connection yet. Add one: `offsitedb connection add NAME --destination D`.")
            return
        talk.table(
            ("NAME", "PROVIDER", "DESTINATION", "LAST VERDICT", "NEWEST PROVEN", "TARGET", "RESTORE TARGET"),
            [
                (
                    c.name,
                    c.provider or "",
                    c.destination,
                    c.last_verdict or "none",
                    c.newest_proven_at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if c.newest_proven_at else "never",
                    duration_text(c.proof_target_s),
                    duration_text(c.restore_target_s),
                )
                for c in found
            ],
        )


@app.command()
def show(name: str, as_json: AsJson = False) -> None:
    """One connection, without its password."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.connections.show(name)
        talk.document(found)
        talk.show(f"{found.connection.name}  {visible(found.address)}")
        talk.show(f"  sslmode      {found.sslmode}")
        talk.show(f"  provider     {found.connection.provider or 'unknown'}")
        talk.show(f"  destination  {found.connection.destination}")
        talk.show(f"  targets      {_targets(found.connection)}")
        if found.connection.scratch is not None:
            talk.show(f"  drills       restore into scratch server {found.connection.scratch}")
        if found.connection.worker_label is not None:
            talk.show(f"  jobs         are for {_workers(found.connection)}")
        if found.connection.fingerprint:
            talk.show("  content      of every table is compared")
        for note in found.notes:
            talk.show(f"  note: {visible(note)}")


@app.command("test")
def try_out(name: str, as_json: AsJson = False) -> None:
    """Connect and look whether a snapshot could be taken now."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = _explaining(talk, lambda: engine.connections.test(name))
        talk.document(found)
        show_preflight(found, talk)


@app.command()
def preflight(name: str, as_json: AsJson = False) -> None:
    """What will be captured, what will not and why, and the SQL that fixes it."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.connections.preflight(name)
        talk.document(found)
        show_preflight(found, talk)
        if found.blocking:
            raise typer.Exit(PreflightFailed.exit_status)


@app.command()
def remove(name: str, as_json: AsJson = False) -> None:
    """Forget a connection string. Its snapshots and receipts stay."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        engine.connections.remove(name)
        talk.document({"removed": name})
        talk.say(f"connection {name} is forgotten; its snapshots and receipts stay")


@app.command()
def grants(
    schema: Annotated[
        list[str] | None,
        typer.Option("--schema", metavar="S", help="Only this schema; repeat for each (default: all)."),
    ] = None,
    role: Annotated[str, typer.Option("--role", metavar="R", help="The role to make.")] = DEFAULT_ROLE,
    database: Annotated[
        str | None, typer.Option("--database", metavar="D", help="Its name (default: where the SQL is run).")
    ] = None,
) -> None:
    """The SQL for a read-only role, ready to paste into any client."""
    with speaking(as_json=False) as talk:
        talk.show(grant_recipe(tuple(schema or ()), role=role, database=database))


def show_preflight(found: PreflightView, talk: Talk) -> None:
    """Findings first, each with what it means and the exact cure."""
    captured = found.captured
    size = human_bytes(captured.database_bytes)
    talk.show(f"{captured.tables} of {captured.tables_in_source} tables can be captured · database {size}")
    for check in found.checks:
        talk.show(f"  {GLYPHS[check.status]} {visible(check.detail)}")
        for line in (check.fix_sql or "").splitlines():
            talk.show(f"      {visible(line)}")
    if found.not_captured:
        talk.show("Not captured:")
        for missing in found.not_captured:
            talk.show(f"  {missing.kind} {visible(missing.name)}: {visible(missing.reason)}")


def _targets(view: ConnectionView) -> str:
    """``age of the newest proof 6h · restore time none``."""
    return (
        f"age of the newest proof {duration_text(view.proof_target_s)}"
        f" · restore time {duration_text(view.restore_target_s)}"
    )


def _workers(view: ConnectionView) -> str:
    return f"workers with the label {view.worker_label}" if view.worker_label is not None else "any worker"


def _explaining(talk: Talk, act: Callable[[], T]) -> T:
    """Run ``act``; when preflight refuses, show its findings before the error."""
    try:
        return act()
    except PreflightFailed as e:
        if not talk.as_json:
            for check in getattr(e, "checks", ()):
                talk.say(f"  {GLYPHS[check.status]} {visible(check.detail)}")
                for line in (check.fix_sql or "").splitlines():
                    talk.say(f"      {visible(line)}")
        raise


def connection_string(*, url_stdin: bool) -> str:
    """A connection string from stdin or a prompt. Raises ConfigError."""
    if url_stdin:
        text = sys.stdin.read(65_536)
    elif sys.stdin.isatty():
        text = typer.prompt("Connection string", hide_input=True, err=True)
    else:
        raise ConfigError(
            "config.invalid",
            "no connection string was given",
            hint="Say --url-stdin and pipe it in: it never belongs on a command line.",
        )
    if not text.strip():
        raise ConfigError("config.conninfo", "the connection string is empty")
    return text
