"""``checkpoint``, ``drill`` and ``ledger``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from engine.model import Failure, JobState
from engine.model.views import Attempt, JobView
from engine.service import Engine
from offsitedb_tui.follow import follow
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson, Tag, Timeout, Wait
from offsitedb_tui.output import Talk, hint_lines, speaking
from screens.present import count_rows, human_bytes, ledger_line, ledger_row, visible
from screens.present_compared import structure_line


def checkpoint(
    name: str,
    tag: Tag = None,
    wait: Wait = False,
    timeout: Timeout = None,
    remote: Annotated[
        str | None,
        typer.Option("--remote", metavar="URL", help="Ask another machine's server; the key: OFFSITEDB_API_KEY."),
    ] = None,
    key_stdin: Annotated[bool, typer.Option("--key-stdin", help="With --remote: read the key from stdin.")] = False,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", metavar="FILE", help="With --remote: the CA to trust, PEM.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take a snapshot of connection NAME now, and drill it."""
    if remote is not None:
        from offsitedb_tui.verbs.remotely import checkpoint_at  # late: it loads the HTTP client

        checkpoint_at(
            remote, name, tag, wait=wait, timeout_s=timeout, key_stdin=key_stdin, ca_file=ca_file, as_json=as_json
        )
        return
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        if key_stdin or ca_file is not None:
            raise ConfigError("config.usage", "the key and the CA are for a remote server", hint="Say `--remote URL`.")
        _start(engine, engine.jobs.checkpoint(name, tag=tag), talk, wait=wait, timeout_s=timeout)


def drill(
    snapshot: Annotated[str, typer.Argument(help="A snapshot's id, a unique prefix of one, or NAME@latest.")],
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Restore SNAPSHOT into a scratch cluster and compare every table."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        _start(engine, engine.jobs.drill(snapshot), talk, wait=wait, timeout_s=timeout)


def ledger(
    connection: Annotated[str | None, typer.Option("--connection", metavar="NAME")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Snapshots and their verdicts, newest first."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        attempts = engine.ledger.entries(connection, limit)
        talk.document(attempts)
        if not attempts:
            talk.show("The ledger is empty. Take a checkpoint: `offsitedb checkpoint NAME --wait`.")
            return
        head = ("TIME", "CONNECTION", "VERDICT", "TABLES", "ROWS", "SIZE", "RESTORE", "ID")
        talk.table(head, [ledger_row(a) for a in attempts])


def _start(engine: Engine, job: JobView, talk: Talk, *, wait: bool, timeout_s: float | None) -> None:
    if not wait:
        attempt = engine.ledger.of_job(job.id)
        talk.document(attempt)
        talk.show(f"job {job.id[:12]} is queued; follow it with `offsitedb jobs show {job.id[:12]}`")
        if not engine.worker.any_alive():
            talk.say("no worker is running; it starts when you run `offsitedb worker`")
        return
    ended = follow(engine, job, talk, timeout_s)
    attempt = engine.ledger.of_job(ended.id)
    talk.document(attempt)
    show_attempt(attempt, talk)
    if ended.state is not JobState.SUCCEEDED:
        raise typer.Exit(ended.error.exit_status if ended.error is not None else 130)


def show_attempt(attempt: Attempt, talk: Talk) -> None:
    """The ledger line first, then what it rests on."""
    snapshot, drill = attempt.snapshot, attempt.drill
    error = attempt.job.error
    talk.show(visible(ledger_line(attempt)))
    if snapshot is not None:
        talk.show(f"  snapshot {snapshot.id[:12]} · {human_bytes(snapshot.size_bytes)} · {visible(snapshot.location)}")
        talk.show(f"  sha256 {snapshot.artifact_sha256}")
        for missing in snapshot.not_captured:
            talk.show(f"  not captured: {missing.kind} {visible(missing.name)}: {visible(missing.reason)}")
    if drill is not None:
        structure = structure_line(drill)
        if structure is not None:
            talk.show(f"  structure: {visible(structure[0])}")
        for skip in drill.skips:
            talk.show(f"  skipped: {skip.kind} {visible(skip.name)}: {visible(skip.reason)}")
        for failure in drill.failures:
            show_failure(failure, talk)
    elif error is not None:
        talk.say(f"error: {visible(error.message)}  [{error.code}]")
        for line in hint_lines(error.hint):
            talk.say(f"  {line}")


def show_failure(failure: Failure, talk: Talk) -> None:
    """What went wrong and what to do next, SQL line by line as it can be pasted."""
    talk.show(f"  ✗ {visible(failure.message)}")
    for line in hint_lines(failure.hint):
        talk.show(f"    {line}")


def show_counts(attempt: Attempt, talk: Talk) -> None:
    """Captured and restored rows of every table."""
    if attempt.drill is not None:
        talk.table(("TABLE", "CAPTURED", "RESTORED", ""), count_rows(attempt.drill))
