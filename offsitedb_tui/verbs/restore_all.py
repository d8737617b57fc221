"""``restore --all``: snapshots into new databases of one server, one after the other; what fails is named, the rest
goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from engine.errors import ConfigError, OffsiteError, PartialResult
from engine.model import JobState
from engine.model.restoring import NewDatabase, RestoreOptions, RestoreRecord
from engine.model.views import JobView
from engine.restoring import raise_if_refused
from engine.service import Engine
from offsitedb_tui.follow import follow_all
from offsitedb_tui.output import Talk
from screens.present import visible

_TERMINAL = Path("/dev/tty")


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of one snapshot. ``equal``: every table has the captured rows. ``error``: in words; None: none."""

    snapshot: str
    connection: str
    database: str
    captured_rows: int
    restored_rows: int | None
    tables: int | None
    equal: bool
    error: str | None = None
    remark: str | None = None


def restore_all(
    engine: Engine,
    url: str,
    options: RestoreOptions,
    talk: Talk,
    *,
    every: bool,
    connection: str | None,
    agreed: bool,
) -> None:
    """Restore the newest snapshot of each connection, or every snapshot. Raises PartialResult when one failed."""
    wanted = engine.restores.candidates(every=every, connection=connection)
    if not wanted:
        raise ConfigError("config.not-found", "there is no snapshot to restore", hint="`offsitedb ledger` lists them.")
    server = engine.restores.read(url)
    talk.say(f"into new databases at {visible(server.address)}:")
    for one in wanted:
        talk.say(f"  {one.database:<30} {visible(one.connection)}, taken {one.taken_at:%Y-%m-%d %H:%M} UTC")
    if not agreed:
        _ask(len(wanted))
    run = _Run(engine, url, options, talk, wanted)
    follow_all(engine, run.start_each(), talk, run.ended, interrupt_cancels=True)
    done = [run.results[one.snapshot_id] for one in wanted]
    equal = sum(one.equal for one in done)
    talk.document({"restored": done, "equal": equal})
    talk.table(
        ("DATABASE", "CONNECTION", "SNAPSHOT", "TABLES", "CAPTURED", "RESTORED", ""),
        [
            (
                one.database,
                one.connection,
                one.snapshot[:12],
                "" if one.tables is None else f"{one.tables:,}",
                f"{one.captured_rows:,}",
                "" if one.restored_rows is None else f"{one.restored_rows:,}",
                "✓ equal" if one.equal else f"✗ {one.error or 'rows differ'}",
            )
            for one in done
        ],
    )
    for result in done:
        if result.remark is not None:
            talk.show(f"  ! {result.database}: {visible(result.remark)}")
    talk.show(f"{equal} of {len(done)} restored, every table with the rows that were captured")
    if equal < len(done):
        if talk.as_json:
            raise typer.Exit(PartialResult.exit_status)
        raise PartialResult(
            "partial.some-failed",
            f"{len(done) - equal} of {len(done)} snapshots were not restored as they were captured",
        )


class _Run:
    """One restore after the other. What fails is a result like any other, and the next one is begun."""

    def __init__(
        self, engine: Engine, url: str, options: RestoreOptions, talk: Talk, wanted: Sequence[NewDatabase]
    ) -> None:
        self._engine = engine
        self._url = url
        self._options = options
        self._talk = talk
        self._wanted = wanted
        self._now: tuple[NewDatabase, str | None] | None = None
        self.results: dict[str, Restored] = {}

    def start_each(self) -> Iterator[JobView]:
        """The jobs, each begun when the one before it has ended."""
        for one in self._wanted:
            made, remark = False, None
            try:
                target, remark = self._engine.restores.make_database(one, self._url)
                made = True
                plan = self._engine.restores.plan(one.snapshot_id, target, self._options)
                raise_if_refused(plan)
                job = self._engine.restores.start(plan, target, typed=one.database)
            except OffsiteError as e:
                remark = self._take_away(one) if made else None
                self._tell(_result(one, None, f"{e.message} ({e.hint})", remark))
                continue
            self._now = one, remark
            yield job

    def ended(self, job: JobView) -> None:
        assert self._now is not None
        one, remark = self._now
        error = None
        if job.state is not JobState.SUCCEEDED:
            error = job.error.message if job.error is not None else str(job.state)
            remark = self._take_away(one)
        self._tell(_result(one, self._engine.restores.of_job(job.id), error, remark))

    def _take_away(self, one: NewDatabase) -> str | None:
        """The database that was made for what then failed, so that the same command can be given again. A remark where
        it stays."""
        try:
            if self._engine.restores.unmake_database(one, self._url):
                return None
            why = "it is not empty, or somebody is connected to it"
        except OffsiteError as e:
            why = e.message
        return f"the database made for it is still there: {why}"

    def _tell(self, result: Restored) -> None:
        self.results[result.snapshot] = result
        said = f"{result.restored_rows:,} rows" if result.equal else result.error or "rows differ"
        mark = "✓" if result.equal else "✗"
        self._talk.say(f"{len(self.results)} of {len(self._wanted)}  {mark} {result.database}  {visible(said)}")


def _result(wanted: NewDatabase, record: RestoreRecord | None, error: str | None, remark: str | None) -> Restored:
    tables = record.outcome.tables if record is not None else None
    return Restored(
        snapshot=wanted.snapshot_id,
        connection=wanted.connection,
        database=wanted.database,
        captured_rows=wanted.rows,
        restored_rows=None if tables is None else sum(t.restored or 0 for t in tables),
        tables=None if tables is None else len(tables),
        equal=record is not None and record.equal and error is None,
        error=error,
        remark=remark,
    )


def _ask(databases: int) -> None:
    """Agreement, typed on the terminal: stdin may have brought the connection string."""
    what = f"{databases} new database{'' if databases == 1 else 's'}"
    try:
        with _TERMINAL.open("r+b", buffering=0) as terminal:
            terminal.write(f"Make {what} there and restore into them? Type yes: ".encode())
            typed = terminal.readline(100).decode("utf-8", "replace").strip()
    except OSError:
        typed = ""
    if typed.lower() != "yes":
        raise ConfigError("config.consent", "nobody agreed; nothing was changed", hint="Say it: `--yes`.")
