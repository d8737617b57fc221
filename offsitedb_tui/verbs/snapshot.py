"""``snapshot show | verify | drift | download``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from engine.service import Engine
from engine.service.outfile import new_file, unwritable
from offsitedb_tui.counting import Counting
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import speaking
from offsitedb_tui.verbs.drill import show_attempt, show_counts
from screens.present import human_bytes, human_seconds, visible
from screens.present_retention import kept_phrase

app = typer.Typer(no_args_is_help=True, help="One snapshot: what it holds, and whether it still opens.")
Which = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="An id, a unique prefix of one, or NAME@latest.")]


@app.command()
def show(snapshot: Which, as_json: AsJson = False) -> None:
    """What was captured and what not, and its newest drill, table by table."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        attempt, record = engine.snapshots.show(snapshot)
        talk.document(attempt)
        show_attempt(attempt, talk)
        details = record.details
        talk.show(f"  taken {record.taken_at.astimezone():%Y-%m-%d %H:%M:%S %Z} in {human_seconds(details.duration_s)}")
        talk.show(
            f"  server {details.versions.server}, pg_dump {details.versions.pg_dump}, role {visible(details.role)}"
        )
        talk.show(f"  plain {human_bytes(details.plaintext_bytes)}, sealed {human_bytes(record.size_bytes)}")
        if attempt.drill is not None:
            t = attempt.drill.timings
            talk.show(
                f"  fetch {t.fetch_s:.2f} s · open {t.open_s:.2f} s · scratch {t.scratch_s:.2f} s"
                f" · list {t.list_s:.2f} s · restore {t.restore_s:.2f} s"
                f" · verify {t.verify_s:.2f} s · total {t.total_s:.2f} s"
            )
            i = attempt.drill.isolation
            talk.show(f"  isolation: user {i.user}, network {i.network}, sandbox {i.sandbox}")
        why = kept_phrase(engine.retention.why(record.id), engine.retention.removal(record.id))
        talk.show(f"  retention: {visible(why.text)}")
        talk.show(f"  restore it: {engine.snapshots.restore_command(record.id)}")
        show_counts(attempt, talk)


@app.command()
def verify(snapshot: Which, as_json: AsJson = False) -> None:
    """Read the whole artifact: SHA-256, authenticated decryption, manifest and signature. Restores nothing."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        verified = engine.snapshots.verify(snapshot)
        talk.document(verified)
        talk.show(f"✓ every byte of {verified.snapshot[:12]} is authentic ({human_bytes(verified.size_bytes)})")
        talk.show(f"  sha256 {verified.artifact_sha256}")
        talk.show("  This says that the artifact opens, not that it restores: `offsitedb drill` says that.")


@app.command()
def drift(snapshot: Which, as_json: AsJson = False) -> None:
    """What changed since the connection's previous proven snapshot: tables, and the rows of each."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.snapshots.drift(snapshot)
        talk.document(found)
        if found.previous_at is None or found.previous_id is None:
            talk.show("There is no proven snapshot before it.")
            return
        talk.show(f"against {found.previous_id[:12]}, taken {found.previous_at.astimezone():%Y-%m-%d %H:%M:%S %Z}")
        for name in found.appeared:
            talk.show(f"  + {visible(name)}")
        for name in found.gone:
            talk.show(f"  - {visible(name)}")
        if found.rows:
            rows = [
                (f"{d.schema}.{d.table}", f"{d.before:,}", f"{d.after:,}", f"{d.after - d.before:+,}")
                for d in found.rows
            ]
            talk.table(("TABLE", "BEFORE", "NOW", "CHANGE"), rows)
        elif not (found.appeared or found.gone):
            talk.show("  the same tables with the same number of rows")


@app.command()
def pin(
    snapshot: Which,
    reason: Annotated[str, typer.Option("--reason", metavar="WORDS", help="Why; it stands beside the snapshot.")],
    as_json: AsJson = False,
) -> None:
    """Keep a snapshot whatever the retention policy says, until it is unpinned."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        line = engine.retention.pin(snapshot, reason)
        talk.document(line)
        talk.show(visible(kept_phrase(line, None).text))


@app.command()
def unpin(snapshot: Which, as_json: AsJson = False) -> None:
    """Leave a snapshot to the retention policy again."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        line = engine.retention.unpin(snapshot)
        talk.document(line)
        talk.show(visible(kept_phrase(line, None).text))


@app.command()
def download(
    snapshot: Which,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is a pipe.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """The decrypted archive, for pg_restore. A file appears only when every byte of it was verified."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        if output == "-":
            _to_pipe(engine, snapshot, as_json=as_json)
            return
        path = Path(output)
        with new_file(path, force=force) as file:
            with Counting("downloading") as count:
                verified = engine.snapshots.download(snapshot, file.write, on_bytes=count)
        talk.document(verified)
        talk.show(f"✓ {visible(str(path))}: {human_bytes(verified.plaintext_bytes)}, every byte verified")
        talk.show("  It is not encrypted: keep it as safe as the database itself.")


def _to_pipe(engine: Engine, snapshot: str, *, as_json: bool) -> None:
    """Whoever reads sees the end of the pipe in any case: only our exit status says that all of it was verified."""
    if as_json or sys.stdout.isatty():
        raise ConfigError(
            "config.invalid",
            "the archive is no text for a terminal or a JSON document",
            hint="Pipe it: `offsitedb snapshot download ID -o - | pg_restore --list`; or name a file.",
        )
    out = sys.stdout.buffer
    try:
        with Counting("downloading") as count:
            engine.snapshots.download(snapshot, out.write, on_bytes=count)
        out.flush()
    except OSError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered must not fail once more
        raise unwritable("the pipe", e) from e
