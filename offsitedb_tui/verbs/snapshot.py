"""``snapshot show | verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import speaking
from offsitedb_tui.verbs.drill import show_attempt, show_counts
from screens.present import human_bytes, human_seconds, visible

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
