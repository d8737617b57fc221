"""``retention show | set | plan | apply``, and ``reconcile``: what is kept, what goes, and whether it lies there."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from engine.errors import ConfigError, StoreError
from engine.model import JobState
from engine.model.retention import DAY_S, RetentionPlan, RetentionPolicy
from engine.service.durations import parse_duration
from offsitedb_tui.follow import follow
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson, Timeout, Wait, Yes
from offsitedb_tui.output import Talk, speaking
from screens import present_retention as words
from screens.present import visible

app = typer.Typer(no_args_is_help=True, help="What is kept of a connection's snapshots, and what is removed.")
Last = Annotated[int | None, typer.Option("--keep-last", min=0, metavar="N", help="The N newest.")]
Hourly = Annotated[int | None, typer.Option("--keep-hourly", min=0, metavar="N", help="The newest of each of N hours.")]
Daily = Annotated[int | None, typer.Option("--keep-daily", min=0, metavar="N", help="The newest of each of N days.")]
Weekly = Annotated[int | None, typer.Option("--keep-weekly", min=0, metavar="N", help="The newest of each of N weeks.")]
Monthly = Annotated[
    int | None, typer.Option("--keep-monthly", min=0, metavar="N", help="The newest of each of N months.")
]
Yearly = Annotated[int | None, typer.Option("--keep-yearly", min=0, metavar="N", help="The newest of each of N years.")]
Within = Annotated[
    str | None,
    typer.Option("--keep-within", metavar="TIME", help="All this close to the newest proven one: 36h, 14d."),
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--keep-tag", metavar="GLOB", help="All with such a tag, as in release-*; repeat it."),
]
Unproven = Annotated[
    str | None,
    typer.Option("--keep-unproven", metavar="TIME", help="How long unproven ones stay (7d)."),
]
Newest = Annotated[
    int | None,
    typer.Option("--keep-newest-proven", min=1, metavar="N", help="These are never removed (1)."),
]


@app.command()
def show(connection: str, as_json: AsJson = False) -> None:
    """The policy of a connection, its pins, and what came of it."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        view = engine.retention.show(connection)
        talk.document(view)
        for name, text in words.view_rows(view):
            talk.show(f"{name:<12} {visible(text)}")


@app.command("set")
def set_(
    connection: str,
    last: Last = None,
    hourly: Hourly = None,
    daily: Daily = None,
    weekly: Weekly = None,
    monthly: Monthly = None,
    yearly: Yearly = None,
    within: Within = None,
    tags: Tags = None,
    unproven: Unproven = None,
    newest_proven: Newest = None,
    everything: Annotated[
        bool, typer.Option("--keep-everything", help="No policy any more: nothing is removed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Give a connection this policy, instead of the one it has. Only proven snapshots fill a place.

    Nothing is removed before the next pruning, which a worker makes at most daily and only after a new proof.
    """
    with speaking(as_json=as_json) as talk:
        policy = _policy(last, hourly, daily, weekly, monthly, yearly, within, tags, unproven, newest_proven)
        if everything and policy is not None:
            raise ConfigError("config.invalid", "--keep-everything goes with no other rule")
        with open_engine() as engine:
            if everything:
                view = engine.retention.clear(connection)
            else:
                view = engine.retention.set(connection, policy or RetentionPolicy())
            talk.document(view)
            talk.show(f"{connection}: {visible(view.words)}")
            if not everything:
                talk.show(f"As things are {words.plan_summary(engine.retention.plan(connection))}.")
                talk.show(f"See which: `offsitedb retention plan {connection}`")


@app.command()
def plan(
    connection: str,
    last: Last = None,
    hourly: Hourly = None,
    daily: Daily = None,
    weekly: Weekly = None,
    monthly: Monthly = None,
    yearly: Yearly = None,
    within: Within = None,
    tags: Tags = None,
    unproven: Unproven = None,
    newest_proven: Newest = None,
    as_json: AsJson = False,
) -> None:
    """What the policy keeps and removes now, and why. With rules: what those would do. Changes nothing."""
    with speaking(as_json=as_json) as talk:
        policy = _policy(last, hourly, daily, weekly, monthly, yearly, within, tags, unproven, newest_proven)
        with open_engine() as engine:
            found = engine.retention.plan(connection, policy)
            talk.document(found)
            _show_plan(found, talk)


@app.command()
def apply(
    connection: str, yes: Yes = False, wait: Wait = False, timeout: Timeout = None, as_json: AsJson = False
) -> None:
    """Have a worker remove now what the policy does not keep. It plans anew before it removes anything."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.retention.plan(connection)
        _show_plan(found, talk)
        if found.policy is not None and found.removes and found.paused is None and not yes:
            _agree(found, as_json=as_json)
        job = engine.retention.apply(connection)
        if not wait:
            talk.document(job)
            talk.show(f"job {job.id[:12]} is queued; follow it with `offsitedb jobs show {job.id[:12]}`")
            return
        ended = follow(engine, job, talk, timeout)
        talk.document(ended)
        for _, level, text in engine.jobs.log(ended.id):
            (talk.say if level == "warning" else talk.show)(visible(text))
        if ended.error is not None:
            talk.say(f"error: {visible(ended.error.message)}  [{ended.error.code}]")
            talk.say(f"  → {visible(ended.error.hint)}")
        if ended.state is not JobState.SUCCEEDED:
            raise typer.Exit(ended.error.exit_status if ended.error is not None else 130)


def reconcile(
    destination: Annotated[str | None, typer.Argument(help="Its name; without one, every destination.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold what lies at a destination against the ledger, in both directions, and write down what was found.

    Uploads that nobody will finish are aborted. What is not known here is named, and never touched. The exit status is
    30 when something is missing, of another size, or not known.
    """
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        names = [destination] if destination is not None else [d.name for d in engine.destinations.list()]
        found = [engine.reconcile.run(name) for name in names]
        talk.document(found)
        for one in found:
            talk.show(f"{'✓' if one.agrees else '✗'} {visible(words.reconciled_summary(one))}")
            for bad, text in words.reconciled_details(one):
                talk.show(f"  {'!' if bad else 'i'} {visible(text)}")
            talk.show(f"  sha256 of the listing {one.listing_sha256}")
        if any(not one.agrees for one in found):
            disagrees = StoreError("store.disagrees", "a destination does not hold what the ledger says")
            talk.say(f"error: {disagrees.message}  [{disagrees.code}]")
            talk.say(f"  → {disagrees.hint}")
            raise typer.Exit(StoreError.exit_status)


def _policy(
    last: int | None,
    hourly: int | None,
    daily: int | None,
    weekly: int | None,
    monthly: int | None,
    yearly: int | None,
    within: str | None,
    tags: list[str] | None,
    unproven: str | None,
    newest_proven: int | None,
) -> RetentionPolicy | None:
    """The policy that the options make; None without any. Raises ConfigError ``config.invalid``."""
    given = (last, hourly, daily, weekly, monthly, yearly, within, tags or None, unproven, newest_proven)
    if all(value is None for value in given):
        return None
    return RetentionPolicy(
        keep_last=last or 0,
        keep_hourly=hourly or 0,
        keep_daily=daily or 0,
        keep_weekly=weekly or 0,
        keep_monthly=monthly or 0,
        keep_yearly=yearly or 0,
        keep_within_s=parse_duration(within) if within is not None else None,
        keep_tags=tuple(tags or ()),
        keep_unproven_s=(parse_duration(unproven) if unproven is not None else None) or 7 * DAY_S,
        keep_newest_proven=newest_proven or 1,
    )


def _show_plan(found: RetentionPlan, talk: Talk) -> None:
    talk.show(f"{visible(found.words)} (days of {found.time_zone})")
    if found.lines:
        talk.table(words.PLAN_HEAD, words.plan_rows(found))
    if found.paused is not None:
        talk.show(f"! paused: {found.paused}")
    talk.show(words.plan_summary(found))


def _agree(found: RetentionPlan, *, as_json: bool) -> None:
    """Raises ConfigError ``config.consent`` unless somebody at a terminal says yes."""
    what = "1 snapshot" if found.removes == 1 else f"{found.removes:,} snapshots"
    question = f"Remove {what} of {found.connection} for good?"
    if as_json or not sys.stdin.isatty() or not typer.confirm(question, err=True):
        raise ConfigError("config.consent", f"{what} would be removed, and nobody agreed; nothing was changed")
