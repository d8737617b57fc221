"""``checkpoint``, ``drill`` and ``ledger``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from engine.model import Failure, JobState
from engine.model.views import Attempt, JobView
from engine.service import Engine
from offsitedb_tui.follow import follow, follow_all
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
    snapshot: Annotated[
        str | None, typer.Argument(help="A snapshot's id, a unique prefix of one, or NAME@latest.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every snapshot that is there and not proven.")] = False,
    connection: Annotated[
        str | None, typer.Option("--connection", metavar="NAME", help="With --all: of this connection alone.")
    ] = None,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Restore SNAPSHOT into a scratch cluster and compare every table; with --all each one that is not proven."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        if all_ is (snapshot is not None) or (connection is not None and not all_):
            raise ConfigError("config.usage", "say either a snapshot or --all", hint="`offsitedb drill NAME@latest`.")
        if snapshot is None:
            if timeout is not None:
                raise ConfigError("config.usage", "--timeout is for one snapshot", hint="Leave --wait away instead.")
            drill_all(engine, engine.jobs.drill_all(connection), talk, wait=wait)
            return
        _start(engine, engine.jobs.drill(snapshot), talk, wait=wait, timeout_s=timeout)


def drill_all(engine: Engine, jobs: Sequence[JobView], talk: Talk, *, wait: bool) -> None:
    """Follow many drills; the exit status is that of the first which did not prove its snapshot."""
    if not jobs:
        talk.document({"drills": [], "proven": 0})
        talk.show("Every snapshot that is there is proven.")
        return
    if not wait:
        talk.document({"jobs": jobs})
        queued = "1 drill is queued" if len(jobs) == 1 else f"{len(jobs):,} drills are queued"
        talk.show(f"{queued}; `offsitedb jobs` lists them, `offsitedb ledger` their verdicts")
        if not engine.worker.any_alive():
            talk.say("no worker is running; they start when you run `offsitedb worker`")
        return
    attempts: list[Attempt] = []
    done: list[JobView] = []

    def ended(job: JobView) -> None:
        done.append(job)
        attempts.append(engine.ledger.of_job(job.id))
        talk.say(f"{len(attempts)} of {len(jobs)}  {visible(ledger_line(attempts[-1]))}")

    follow_all(engine, jobs, talk, ended)
    proven = sum(a.drill is not None and a.drill.verdict.proven for a in attempts)
    talk.document({"drills": attempts, "proven": proven})
    head = ("TIME", "CONNECTION", "VERDICT", "TABLES", "ROWS", "SIZE", "RESTORE", "ID")
    talk.table(head, [ledger_row(a) for a in attempts])
    talk.show(f"{proven} of {len(attempts)} proven")
    for attempt in attempts:
        if attempt.drill is not None and not attempt.drill.verdict.proven:
            show_attempt(attempt, talk)
    bad = next((job for job in done if job.state is not JobState.SUCCEEDED), None)
    if bad is not None:
        raise typer.Exit(bad.error.exit_status if bad.error is not None else 130)


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
