"""``alerts add | list | test | remove | incidents | acknowledge | drift | deliveries | check``."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from engine.errors import ConfigError
from engine.model import ChannelKind, ChannelView, Incident, IncidentKind
from engine.redact import holding
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking
from screens.present import visible
from screens.present_alerts import channel_state, local_time

app = typer.Typer(no_args_is_help=True, help="What is wrong, and who is told of it.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The channel's name.")]
_PERIOD = re.compile(r"(\d{1,6})(s|m|h)?")
_SHARE = re.compile(r"(\d{1,2}(?:\.\d+)?) ?%")


@app.command()
def add(
    name: Name,
    kind: Annotated[ChannelKind, typer.Option("--kind", help="What is at the URL.")] = ChannelKind.WEBHOOK,
    url_stdin: Annotated[
        bool, typer.Option("--url-stdin", help="Read the URL from stdin (it holds a token: never on a command line).")
    ] = False,
    secret_stdin: Annotated[
        bool, typer.Option("--secret-stdin", help="Read a signing secret (whsec_…) from the second line of stdin.")
    ] = False,
    only: Annotated[
        list[IncidentKind] | None, typer.Option("--only", help="Tell it of this kind alone; may be said again.")
    ] = None,
    every: Annotated[
        str | None, typer.Option("--every", metavar="TIME", help="Of a heartbeat: 60s, 5m (default), 1h.")
    ] = None,
    allow_private: Annotated[
        bool,
        typer.Option("--allow-private", help="The URL may be http, any port, and in your own network or on this host."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Have alerts go somewhere. The URL is read from stdin, or asked for unseen; it is sealed and never shown again."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        url, secret = _typed(url_stdin=url_stdin, secret_stdin=secret_stdin)
        with holding(url, *((secret,) if secret else ())):
            made = engine.alerts.add(
                name,
                kind,
                url,
                only=only or (),
                every_s=None if every is None else _period(every),
                secret=secret,
                allow_private=allow_private,
            )
        talk.document(made)
        _show(made.channel, talk)
        if made.secret is not None and secret is None:
            talk.show(f"  signing secret, shown this once: {made.secret}")
        talk.show(f"Next: `offsitedb alerts test {made.channel.name}`.")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """The channels, and how the last thing told to each went."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.alerts.channels()
        talk.document(found)
        if not found:
            talk.show("Nobody is told of anything. Add a channel: `offsitedb alerts add NAME --url-stdin`.")
        for channel in found:
            _show(channel, talk)


@app.command("test")
def try_out(name: Name, as_json: AsJson = False) -> None:
    """Send something to a channel now, and say whether it arrived."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        sent = engine.alerts.test(name)
        talk.document(sent)
        talk.show(f"{name} took it")


@app.command()
def remove(name: Name, as_json: AsJson = False) -> None:
    """Tell a channel nothing any more, and forget its URL."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        engine.alerts.remove(name)
        talk.document({"removed": name})
        talk.show(f"channel {name} is forgotten")


@app.command()
def incidents(
    closed: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    as_json: AsJson = False,
) -> None:
    """What is wrong."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.alerts.incidents(closed=closed, limit=limit)
        talk.document(found)
        if not found:
            talk.show("Nothing is wrong." if not closed else "Nothing was ever wrong.")
        for incident in found:
            _tell(incident, talk)


@app.command()
def acknowledge(
    incident: Annotated[str, typer.Argument(metavar="INCIDENT", help="Its id or a unique prefix of one.")],
    note: Annotated[str | None, typer.Option("--note", help="What you want others to know.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say that you have seen an open incident. Drift is accepted by that; other incidents close when they are over."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        seen = engine.alerts.acknowledge(incident, note)
        talk.document(seen)
        _tell(seen, talk)


@app.command()
def drift(
    connection: str,
    limit: Annotated[
        str, typer.Option("--limit", metavar="SHARE", help="30%: tell when a table loses more of its rows; or off.")
    ],
    as_json: AsJson = False,
) -> None:
    """How much a table may shrink between two proven snapshots before somebody is told (default: 50%)."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        fraction = _share(limit)
        engine.alerts.set_drift_limit(connection, fraction)
        talk.document({"connection": connection, "limit": fraction})
        told = "drift is not told" if fraction >= 1 else f"a table that loses more than {fraction:.4g} of its rows"
        talk.show(f"{connection}: {told}")


@app.command()
def deliveries(limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50, as_json: AsJson = False) -> None:
    """What was told to whom, newest first, with what has not arrived."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.alerts.deliveries(limit)
        talk.document(found)
        if not found:
            talk.show("Nothing was told yet.")
            return
        talk.table(
            ("CREATED", "CHANNEL", "OCCASION", "OF", "TRIES", "ARRIVED", "ERROR"),
            [
                (
                    local_time(d.created_at),
                    d.channel,
                    d.occasion,
                    d.subject,
                    d.attempts,
                    local_time(d.delivered_at) if d.delivered_at else "waits" if d.next_at else "no",
                    d.error or "",
                )
                for d in found
            ],
        )


@app.command()
def check(as_json: AsJson = False) -> None:
    """Look what is wrong and tell the channels, once, without being a worker: for cron, on this or another host.

    A worker does this by itself. Where none lives, nobody would tell that none does: run this every few minutes.
    """
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        alarm = engine.alerts.check()
        talk.document(alarm)
        for incident in alarm.closed:
            talk.show(f"over: {visible(incident.summary)}")
        for incident in alarm.open:
            _tell(incident, talk)
        if alarm.failed:
            talk.say(f"{alarm.failed} deliveries did not arrive and are tried again: `offsitedb alerts list`")


def _tell(incident: Incident, talk: Talk) -> None:
    since = local_time(incident.opened_at)
    until = f" to {local_time(incident.closed_at)}" if incident.closed_at is not None else ""
    talk.show(f"{incident.id[:12]}  {incident.kind}  {since}{until}  {visible(incident.summary)}")
    if incident.open and incident.hint:
        talk.show(f"  → {visible(incident.hint)}")
    if incident.acknowledged_by is not None:
        note = f": {visible(incident.acknowledged_note)}" if incident.acknowledged_note else ""
        talk.show(f"  seen by {visible(incident.acknowledged_by)}{note}")


def _show(channel: ChannelView, talk: Talk) -> None:
    what = "every incident"
    if channel.every_s is not None:
        what = f"every {channel.every_s} s while every proof is fresh"
    elif channel.only:
        what = ", ".join(channel.only)
    private = "  may be private" if channel.allow_private else ""
    talk.show(f"{channel.name}  {channel.kind}  {visible(channel.shown)}  {what}{private}")
    talk.show(f"  {visible(channel_state(channel).text)}")


def _typed(*, url_stdin: bool, secret_stdin: bool) -> tuple[str, str | None]:
    """URL and secret: from stdin, or asked for without an echo."""
    if not url_stdin:
        if secret_stdin or not sys.stdin.isatty():
            raise ConfigError(
                "config.usage", "there is no URL", hint="Pipe it in: `… | offsitedb alerts add NAME --url-stdin`."
            )
        return str(typer.prompt("URL", hide_input=True, err=True)).strip(), None
    lines = [line.strip() for line in sys.stdin.read(65_536).splitlines() if line.strip()]
    if len(lines) != 1 + secret_stdin:
        wanted = "the URL and the secret, a line each" if secret_stdin else "one line, the URL"
        raise ConfigError("config.usage", f"stdin must hold {wanted}")
    return lines[0], lines[1] if secret_stdin else None


def _period(text: str) -> int:
    found = _PERIOD.fullmatch(text)
    if found is None:
        raise ConfigError("config.usage", f"{text!r} is no time", hint="Write it as 60s, 5m or 1h.")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2] or "s"]


def _share(text: str) -> float:
    if text == "off":
        return 1.0
    found = _SHARE.fullmatch(text)
    if found is None or not 0 < float(found[1]) < 100:
        raise ConfigError("config.usage", f"{text!r} is no share of the rows", hint="Write it as 30%, or off.")
    return float(found[1]) / 100
