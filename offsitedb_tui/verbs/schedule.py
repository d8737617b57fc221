"""``schedule set | show | next | remove``: when checkpoints of a connection are due, and which of them are drilled."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.errors import ConfigError
from engine.model import ScheduleView, Slot
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking
from screens.present import human_span

app = typer.Typer(no_args_is_help=True, help="When checkpoints of a connection are due, and which are drilled.")


@app.command("set")
def set_(
    connection: str,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="WORDS",
            help="hourly, 'every 6 h', 'daily at 03:00', 'weekly on sunday at 03:00', 'monthly on 1 at 03:00'.",
        ),
    ] = None,
    cron: Annotated[
        str | None, typer.Option("--cron", metavar="CRON", help="Five fields, such as '*/30 8-18 * * 1-5'.")
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option("--zone", metavar="ZONE", help="The time zone, such as Europe/Berlin (default: this host's)."),
    ] = None,
    drills: Annotated[
        str | None,
        typer.Option("--drills", metavar="POLICY", help="Which snapshots are drilled: every, 'every 5', daily."),
    ] = None,
    off: Annotated[
        bool | None, typer.Option("--off/--on", help="Pause it, or go on; what is paused counts as missed nowhere.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; the rest stays as it is.

    A time that the clock leaves out in spring comes when the clock is put forward; one that comes twice in autumn
    counts once, except where every hour is meant. Snapshots that no drill is due for are unproven until somebody
    drills them; the snapshot after a drill that failed is drilled whatever the policy, and so is every checkpoint that
    somebody asks for.
    """
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        if preset is not None and cron is not None:
            raise ConfigError("config.usage", "--preset and --cron say the same thing", hint="Give one of them.")
        enabled = None if off is None else not off
        when = preset if cron is None else _only_cron(cron)
        view = engine.schedules.set(connection, when=when, zone=zone, enabled=enabled, drills=drills)
        talk.document(view)
        _show(view, talk)
        if view.enabled:
            for found in engine.schedules.next(connection):
                talk.show(f"  next       {', '.join(found.local)}")
            if not engine.worker.any_alive():
                talk.say("no worker is running; slots are decided while `offsitedb worker` runs")


@app.command()
def show(connection: Annotated[str | None, typer.Argument()] = None, as_json: AsJson = False) -> None:
    """The schedules of all connections, or one with what became of its newest slots."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        if connection is not None:
            view = engine.schedules.show(connection)
            talk.document(view)
            _show(view, talk)
            for slot in view.slots:
                talk.show(f"  {_at(slot)}  {_outcome(slot)}")
            return
        found = engine.schedules.list()
        talk.document(found)
        if not found:
            talk.show("There is no connection yet. Add one: `offsitedb connection add NAME --destination D`.")
            return
        head = ("CONNECTION", "SCHEDULE", "TIME ZONE", "NEXT", "DRILLS", "PROOF AT MOST")
        talk.table(head, [_row(view) for view in found])


@app.command("next")
def next_(
    connection: Annotated[str | None, typer.Argument()] = None,
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, max=1000, help="How many of each.")] = 3,
    as_json: AsJson = False,
) -> None:
    """The slots to come, in the time zone of the schedule."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.schedules.next(connection, count=count)
        talk.document(found)
        if not found:
            talk.show("No schedule is switched on. Set one: `offsitedb schedule set NAME --preset 'daily at 03:00'`.")
            return
        talk.table(
            ("CONNECTION", "SLOT", "UTC"),
            [
                (slots.connection, local, f"{at:%Y-%m-%d %H:%M}")
                for slots in found
                for at, local in zip(slots.at, slots.local, strict=True)
            ],
        )


@app.command()
def remove(connection: str, as_json: AsJson = False) -> None:
    """No slots any more: checkpoints on demand only. What became of earlier slots stays."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        engine.schedules.remove(connection)
        talk.document({"connection": connection, "removed": "schedule"})
        talk.show(f"{connection} has no schedule any more; `offsitedb checkpoint {connection}` works as before")


def _only_cron(text: str) -> str:
    """Raises ConfigError for words: they are a preset's."""
    if text.strip()[:1].isalpha():
        raise ConfigError(
            "config.cron", f"{text.strip()[:40]!r} is no cron expression", hint="Say it with `--preset`, if it is one."
        )
    return text


def _show(view: ScheduleView, talk: Talk) -> None:
    zone = f", {view.time_zone}" if view.time_zone else ""
    paused = "" if view.enabled or view.cron is None else "  (paused)"
    talk.show(f"{view.connection}  {view.words}{zone}{paused}")
    if view.cron is not None:
        talk.show(f"  cron       {view.cron}")
    talk.show(f"  drills     {view.drills}")
    if view.proof_target_s is not None:
        talk.show(f"  overdue    when the newest proof is older than {human_span(view.proof_target_s)}")


def _row(view: ScheduleView) -> tuple[str, ...]:
    paused = view.cron is not None and not view.enabled
    at = view.next_at.astimezone().strftime("%Y-%m-%d %H:%M") if view.next_at else "paused" if paused else "on demand"
    target = human_span(view.proof_target_s) if view.proof_target_s is not None else "none"
    return view.connection, view.words, view.time_zone or "", at, view.drills, target


def _at(slot: Slot) -> str:
    return slot.slot_at.astimezone().strftime("%Y-%m-%d %H:%M")


def _outcome(slot: Slot) -> str:
    if slot.job_id is not None:
        late = (slot.decided_at - slot.slot_at).total_seconds()
        after = f", {human_span(late // 60 * 60)} late" if late >= 60 else ""
        return f"started as job {slot.job_id[:12]}{after}"
    return str(slot.outcome)
