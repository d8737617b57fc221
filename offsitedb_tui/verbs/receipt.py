"""``drills`` and ``receipt``: the history of proofs, and the signed evidence of one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import FormatError
from engine.model import Verdict
from engine.model.views import DrillView
from engine.model.watch import DrillLine, ReceiptView
from engine.service.outfile import new_file
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking
from offsitedb_tui.verbs.drill import show_counts, show_failure
from screens.present import GLYPHS, human_bytes, human_seconds, ledger_line, visible
from screens.present_compared import difference_text, kinds_text, structure_line
from screens.present_proof import checks_line, content_line
from screens.present_receipt import signed


def drills(
    connection: Annotated[str | None, typer.Option("--connection", metavar="NAME")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Drills and what they said, newest first."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.drills.recent(connection, limit)
        talk.document(found)
        if not found:
            talk.show("Nothing was drilled yet. Take a checkpoint: `offsitedb checkpoint NAME --wait`.")
            return
        head = ("DRILLED", "CONNECTION", "VERDICT", "SNAPSHOT", "TAKEN", "RESTORE", "DRILL")
        talk.table(head, [_row(line) for line in found])


def receipt(
    which: Annotated[
        str, typer.Argument(metavar="ID", help="A drill or snapshot: an id, a unique prefix of one, or NAME@latest.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the signed document there.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """The signed evidence of one drill, its signature and its place in the chain checked (40 if they do not hold)."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.drills.receipt(which)
        if output is not None:
            with new_file(output, force=force) as file:
                file.write(found.text.encode())
        talk.document(found)
        if output is None:
            show_receipt(found, talk)
        else:
            talk.show(f"{visible(str(output))}: the receipt as it was signed, sha256 {found.sha256}")
        if not found.chained:
            talk.say("error: the receipt does not name the one that this catalog holds before it")
            raise typer.Exit(FormatError.exit_status)


def show_receipt(found: ReceiptView, talk: Talk) -> None:
    """The verdict first, then what it rests on, down to every table."""
    snapshot, drill = found.attempt.snapshot, found.attempt.drill
    assert snapshot is not None
    assert drill is not None
    document = signed(found.text)
    said = (("content", content_line(document)), ("checks", checks_line(document)))
    talk.show(f"receipt of drill {drill.id}")
    talk.show(visible(ledger_line(found.attempt)))
    lines = (
        ("connection", snapshot.connection),
        ("snapshot", f"{snapshot.id}  {snapshot.tag or ''}".rstrip()),
        ("taken", f"{snapshot.taken_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("drilled", f"{drill.drilled_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("artifact", f"{snapshot.location} ({human_bytes(snapshot.size_bytes)})"),
        ("sha256", snapshot.artifact_sha256),
        ("versions", f"server {drill.versions.server}, restored by {drill.versions.pg_restore or 'nothing'}"),
        ("isolation", f"user {drill.isolation.user}, network {drill.isolation.network}, {drill.isolation.sandbox}"),
        ("restore", _timings(found)),
        ("coverage", f"{snapshot.tables} of {snapshot.tables_in_source} tables, {snapshot.rows:,} rows"),
        *_structure_lines(drill),
        *((name, line[0]) for name, line in said if line is not None),
        ("signature", "holds"),
        ("chain", "names the receipt before it" if found.chained else "does NOT name the receipt before it"),
        ("receipt", f"sha256 {found.sha256}"),
    )
    for name, text in lines:
        talk.show(f"  {name:10} {visible(text)}")
    for title, things in (("skipped", drill.skips), ("replayed in another form", drill.normalised)):
        for thing in things:
            talk.show(f"  {title}: {thing.kind} {visible(thing.name)}: {visible(thing.reason)}")
    for missing in snapshot.not_captured:
        talk.show(f"  not captured: {missing.kind} {visible(missing.name)}: {visible(missing.reason)}")
    for failure in drill.failures:
        show_failure(failure, talk)
    show_counts(found.attempt, talk)


def _structure_lines(drill: DrillView) -> Iterator[tuple[str, str]]:
    """How many objects are equal, of which kinds, and those that are not."""
    said = structure_line(drill)
    if said is None:
        return
    yield "structure", said[0]
    if drill.structure is not None:
        if drill.structure.counts:
            yield "", kinds_text(drill.structure)
        for difference in drill.structure.differences:
            yield "", f"✗ {difference_text(difference)}"


def _timings(found: ReceiptView) -> str:
    assert found.attempt.drill is not None
    t = found.attempt.drill.timings
    return (
        f"{human_seconds(t.total_s)}: fetch {t.fetch_s:.2f}, open {t.open_s:.2f}, list {t.list_s:.2f},"
        f" scratch {t.scratch_s:.2f}, restore {t.restore_s:.2f}, verify {t.verify_s:.2f} s"
    )


def _row(line: DrillLine) -> tuple[object, ...]:
    skips = f" ({line.skips})" if line.verdict is Verdict.PROVEN_WITH_SKIPS else ""
    return (
        line.drilled_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        line.connection,
        f"{GLYPHS[line.verdict]} {line.verdict}{skips}" + (f"  {line.summary[:60]}" if line.summary else ""),
        line.snapshot_id[:12] + (f"  {line.tag}" if line.tag else ""),
        line.taken_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        human_seconds(line.restore_s),
        line.id[:12],
    )
