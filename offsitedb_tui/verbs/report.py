"""``report build | stamp | list | show | export | verify``: the monthly Restore Drill Report."""

from __future__ import annotations

import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from engine.config import load
from engine.errors import ConfigError, FormatError, PartialResult
from engine.model.report import STAMP_CHECK, BundleVerdict, ReportLine
from engine.paths import locate
from engine.service.report_export import FORMS
from engine.service.reports import verify_bundle
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking
from screens.present import human_bytes, visible

app = typer.Typer(
    no_args_is_help=True, help="The monthly Restore Drill Report: what was proven, signed, for an auditor to check."
)
Connections = Annotated[
    list[str] | None,
    typer.Option("--connection", metavar="NAME", help="About this connection only; repeat it. Default: all."),
]
HEAD = (
    "month",
    "revision",
    "about",
    "snapshots",
    "drills",
    "proven",
    "failed",
    "gaps",
    "open",
    "built",
    "stamp",
    "where",
)


class ShowFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    HTML = "html"
    PDF = "pdf"


class ExportFormat(StrEnum):
    BUNDLE = "bundle"
    PDF = "pdf"
    HTML = "html"
    JSON = "json"
    TEXT = "text"


@app.command()
def build(
    month: Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="Which month, such as 2026-11.")],
    connections: Connections = None,
    timestamp: Annotated[
        bool | None,
        typer.Option(
            "--timestamp/--no-timestamp",
            help="Ask the authority that config.toml names for a time stamp. Default: where it names one.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build the report of a month, sign it, and keep it on this host. What was built before stays.

    A worker does this by itself on the first of each month, about all connections. Where a time stamp was wanted and
    could not be had the report is built all the same, and the exit status is 3.
    """
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        line = engine.reports.build(month, connections or (), timestamp=timestamp)
        talk.document(line)
        talk.show(f"{line.month}, revision {line.revision}: {_figures(line)}")
        talk.show(visible(line.folder or ""))
        about = "".join(f" --connection {shlex.quote(name)}" for name in connections or ())
        talk.show(f"Read it: `offsitedb report show {line.month}{visible(about)}`")
        talk.show(f"Hand it out: `offsitedb report export {line.month} FILE.zip{visible(about)}`")
        _show_stamp(line, talk, about)


@app.command()
def stamp(
    month: Annotated[str, typer.Argument(metavar="MONTH", help="2026-11.")],
    connections: Connections = None,
    as_json: AsJson = False,
) -> None:
    """Get a time stamp for a month's newest report from the authority that config.toml names.

    No signed file of the report changes; a stamp that is there already is kept. Where none can be had the exit status
    is 3.
    """
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        line = engine.reports.stamp(engine.reports.newest(month, connections or ()))
        talk.document(line)
        _show_stamp(line, talk, "".join(f" --connection {shlex.quote(name)}" for name in connections or ()))


@app.command("list")
def list_(
    month: Annotated[str | None, typer.Option("--month", metavar="YYYY-MM", help="Of this month only.")] = None,
    as_json: AsJson = False,
) -> None:
    """The reports that were built, newest first."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        lines = engine.reports.list(month)
        talk.document(lines)
        talk.table(HEAD, [_row(line) for line in lines])
        if not lines:
            talk.show("There is none yet: `offsitedb report build --month YYYY-MM`")


@app.command()
def show(
    month: Annotated[str | None, typer.Argument(metavar="[MONTH]", help="2026-11; default: the newest.")] = None,
    connections: Connections = None,
    form: Annotated[ShowFormat, typer.Option("--format", help="html and pdf go into a pipe.")] = ShowFormat.TEXT,
    as_json: AsJson = False,
) -> None:
    """Read the newest report of a month."""
    with speaking(as_json=as_json or form is ShowFormat.JSON) as talk, open_engine() as engine:
        line = engine.reports.newest(month, connections or ())
        if form in (ShowFormat.HTML, ShowFormat.PDF):
            _pipe(engine.reports.file(line, FORMS[form.value]))
        elif talk.as_json:
            talk.document(engine.reports.show(line))
        else:
            # our own rendering: names in it have their control characters made visible already
            talk.show(engine.reports.file(line, FORMS["text"]).decode("utf-8").rstrip("\n"))


@app.command()
def export(
    month: Annotated[str, typer.Argument(metavar="MONTH", help="2026-11.")],
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="DEST", help="A new file; a bundle goes to what ends in .zip or .tar, or to a new folder."
        ),
    ],
    form: Annotated[
        ExportFormat, typer.Option("--format", help="The whole bundle, or one file of it.")
    ] = ExportFormat.BUNDLE,
    connections: Connections = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a month's newest report somewhere: everything that an auditor needs to check it, or one file of it."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        line = engine.reports.newest(month, connections or ())
        place = Path(os.path.abspath(destination.expanduser()))  # noqa: PTH100 - no link is followed
        done = engine.reports.export(line, place, form=form.value, force=force)
        talk.document(done)
        talk.show(f"{visible(done.path)}  {human_bytes(done.size_bytes)}")
        if form is ExportFormat.BUNDLE:
            talk.show(
                f"Whoever gets it can check it: VERIFY.txt says how; or `offsitedb report verify {visible(done.path)}`"
            )


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder, or a .zip or .tar file.")],
    fingerprint: Annotated[
        str | None,
        typer.Option("--signed-by", metavar="SHA256:…", help="The fingerprint that the signing key has to have."),
    ] = None,
    timestamp_ca: Annotated[
        Path | None,
        typer.Option(
            "--timestamp-ca",
            metavar="FILE",
            help="CA certificates (PEM) of the authority that has to have stamped it. Default: as config.toml says.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a report's bundle: sums, signature, receipts, history, every figure counted anew, and a time stamp.

    It needs no installation, no catalog and no key. The exit status is 40 when anything does not hold.
    """
    with speaking(as_json=as_json) as talk:
        place = timestamp_ca or _authority()
        found = verify_bundle(bundle.expanduser(), fingerprint=fingerprint, timestamp_ca=place and place.expanduser())
        talk.document(found)
        _show_verdict(found, talk)
        if not found.ok:
            failed = FormatError("format.bundle", _said_of(found))
            talk.say(f"error: {failed.message}  [{failed.code}]")
            talk.say(f"  → {failed.hint}")
            raise typer.Exit(FormatError.exit_status)


def _show_verdict(found: BundleVerdict, talk: Talk) -> None:
    for one in found.checks:
        talk.show(f"{'✓' if one.ok else '✗'} {one.name}: {visible(one.detail)}")
    if found.ok:
        talk.show(f"The report of {found.month}, revision {found.revision}, is as it was signed.")
        talk.show(
            f"Compare the key's fingerprint with one that you were given in another way: {found.signer_fingerprint}"
        )
        talk.show("It has no time stamp." if found.stamp is None else visible(found.stamp.shows))


def _said_of(found: BundleVerdict) -> str:
    if [one.name for one in found.checks if not one.ok] == [STAMP_CHECK]:
        return "the report is as it was signed, but its time stamp is none of this report or of this authority"
    return "this is not the report that was signed"


def _authority() -> Path | None:
    """The CA that the settings name, where there is an installation."""
    given = load(locate().config).report.timestamp_ca
    return Path(given) if given else None


def _show_stamp(line: ReportLine, talk: Talk, about: str) -> None:
    """What came of asking for a time stamp. Leaves with 3 where there is none."""
    stamp = line.stamp
    if stamp is None:
        return
    if stamp.at is not None:
        held = (
            "" if stamp.held else "; its signature was not checked: set `timestamp_ca` under `[report]` in config.toml"
        )
        talk.show(f"Time stamp: {stamp.at:%Y-%m-%d %H:%M:%S} UTC by {visible(stamp.by)}{held}")
        return
    missing = PartialResult(
        "partial.no-timestamp",
        f"the report is there, but has no time stamp: {stamp.error}",
        hint=f"Nothing of the report is lost. Ask again later: `offsitedb report stamp {line.month}{about}`.",
    )
    if not talk.as_json:
        raise missing
    talk.say(f"error: {missing.message}  [{missing.code}]")
    talk.say(f"  → {missing.hint}")
    raise typer.Exit(PartialResult.exit_status)


def _figures(line: ReportLine) -> str:
    told = (
        _n(line.made, "snapshot"),
        _n(line.drills, "drill"),
        f"{line.proven} proven",
        f"{line.failed} failed",
        f"{_n(line.gaps, 'day')} without a snapshot that was due",
        _n(line.open_exceptions, "open exception"),
    )
    return ", ".join(told)


def _n(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _row(line: ReportLine) -> tuple[object, ...]:
    about = "all" if line.scope.everything else ", ".join(line.scope.connections)
    where = line.folder or (f"on {line.host}" if line.host else "")
    built = f"{line.built_at.astimezone():%Y-%m-%d %H:%M}"
    counts = (line.made, line.drills, line.proven, line.failed, line.gaps, line.open_exceptions)
    return (line.month, line.revision, about, *counts, built, _stamp_cell(line), where)


def _stamp_cell(line: ReportLine) -> str:
    if line.stamp is None:
        return ""
    return f"none: {line.stamp.error}" if line.stamp.at is None else f"{line.stamp.at.astimezone():%Y-%m-%d %H:%M}"


def _pipe(data: bytes) -> None:
    if sys.stdout.isatty():
        raise ConfigError("config.invalid", "a report is not written to a terminal", hint="Pipe it into a file.")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
