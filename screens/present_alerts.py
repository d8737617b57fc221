"""Alerts in words: incidents, channels, deliveries. Pure text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from engine.model import ChannelView, DeliveryView, Incident, Occasion
from screens.phrase import Phrase, Tone, joined
from screens.present import both_times, clock_time, human_age, human_span
from screens.present_settings import field, heading

_LAST = 6
"""So many deliveries are shown below the channels."""


def local_time(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def incident_line(incidents: Sequence[Incident]) -> Phrase:
    """``! 2 incidents (i) · warehouse: the newest …``: one line of the ledger; nothing where nothing is open."""
    if not incidents:
        return Phrase()
    unseen = [i for i in incidents if i.acknowledged_at is None]
    noun = "incident" if len(incidents) == 1 else "incidents"
    tone = Tone.WARN if unseen else Tone.DIM
    seen = len(incidents) - len(unseen)
    first = (unseen or list(incidents))[-1]  # the newest one
    parts = [
        Phrase(f"! {len(incidents)} {noun}", tone) + Phrase(" (i)", Tone.DIM),
        Phrase(f"{seen} seen", Tone.DIM) if seen else Phrase(),
        Phrase(first.summary),
    ]
    return Phrase(" ") + joined(parts)


def incident_cells(i: Incident, now: datetime) -> tuple[Phrase, ...]:
    """State and kind, of what, since when, and what is said of it."""
    if i.closed_at is not None:
        state = Phrase(f"– {i.kind}", Tone.DIM)
    elif i.acknowledged_at is not None:
        state = Phrase(f"○ {i.kind}")
    else:
        state = Phrase(f"! {i.kind}", Tone.BAD)
    said = i.summary.removeprefix(f"{i.name}: ")
    return state, Phrase(i.name, Tone.STRONG), Phrase(clock_time(i.opened_at, now)), Phrase(said)


def incident_lines(i: Incident) -> tuple[Phrase, ...]:
    """One incident, whole."""
    lines = [
        field("Incident", Phrase(i.kind, Tone.STRONG) + Phrase(f" · {i.id[:12]}", Tone.DIM)),
        field("What", i.summary),
        field("What to do", i.hint),
        field("Since", both_times(i.opened_at)),
    ]
    if i.acknowledged_at is not None:
        note = f": {i.acknowledged_note}" if i.acknowledged_note else ""
        lines.append(field("Seen by", f"{i.acknowledged_by}{note}"))
    else:
        lines.append(field("Seen by", Phrase("nobody yet: a says that you have", Tone.DIM)))
    return tuple(lines)


def channel_cells(c: ChannelView, now: datetime) -> tuple[Phrase, ...]:
    """Name, kind, where, and how it is."""
    return Phrase(c.name, Tone.STRONG), Phrase(c.kind), Phrase(c.shown), channel_state(c, now)


def channel_state(c: ChannelView, now: datetime | None = None) -> Phrase:
    """Whether what was told last has arrived."""
    if c.error is not None:
        held = c.every_s is not None and c.error.startswith("not sent")
        return Phrase("– " if held else "✗ ", Tone.WARN if held else Tone.BAD) + Phrase(c.error)
    if c.waiting:
        return Phrase(f"● {c.waiting} under way", Tone.BUSY)
    if c.delivered_at is None:
        return Phrase("nothing was told yet", Tone.DIM)
    when = local_time(c.delivered_at) if now is None else human_age((now - c.delivered_at).total_seconds())
    return Phrase("✓ ", Tone.GOOD) + Phrase(f"arrived {when}")


def channel_lines(c: ChannelView, deliveries: Sequence[DeliveryView], now: datetime) -> tuple[Phrase, ...]:
    """One channel, and what it was told last."""
    hears = "every incident"
    if c.every_s is not None:
        hears = f"a ping every {human_span(c.every_s)}, only while every proof is fresh"
    elif c.only:
        hears = ", ".join(c.only)
    lines = [
        field("Channel", Phrase(c.name, Tone.STRONG) + Phrase(f" · {c.kind}")),
        field("Where", Phrase(c.shown) + Phrase(" · may be private" if c.allow_private else "", Tone.WARN)),
        field("Hears of", hears),
        field("State", channel_state(c, now)),
    ]
    mine = [d for d in deliveries if d.channel == c.name and d.occasion is not Occasion.BEAT][:_LAST]
    if mine:
        lines += [Phrase(), heading("Told last"), *(_delivery_line(d, now) for d in mine)]
    return tuple(lines)


def _delivery_line(d: DeliveryView, now: datetime) -> Phrase:
    if d.delivered_at is not None:
        state = Phrase("✓ arrived", Tone.GOOD)
    elif d.next_at is not None:
        state = Phrase("● under way", Tone.BUSY)
    else:
        state = Phrase("✗ did not arrive", Tone.BAD)
    tries = f"{d.attempts} tries" if d.attempts > 1 else ""
    when = Phrase(f" {clock_time(d.created_at, now)} ", Tone.DIM)
    about = "" if d.occasion is Occasion.TEST else d.occasion.value
    return when + joined([state, about, d.subject, tries, d.error or ""])
