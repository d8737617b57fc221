"""When checkpoints of a connection are due, with the next slots as one types, and which of them are drilled."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from engine.errors import ConfigError, OffsiteError
from engine.model import ScheduleView
from engine.service import CancelToken
from engine.service.schedules import PRESETS, host_zone
from screens.forms.form import Form, FormBody, button
from screens.phrase import Phrase, Tone
from screens.widgets.fields import Choice, Field, Text

SHOWN = 3
"""Slots that stand beneath what is typed."""
EVERY, NTH, DAILY = "every", "nth", "daily"


class ScheduleForm(Form[str | None]):
    """Closes with what was saved, in words, or None."""

    TITLE_TEXT = "Schedule"
    HELP = (
        "Checkpoints are taken by themselves while a worker runs. What was missed is made up for once; while one runs, "
        "no second one is started. A time that the clock leaves out in spring comes when it is put forward. Snapshots "
        "that nobody drills are unproven; one that is taken by hand is always drilled."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t", "submit", "save", key_display="^t", id="schedule.save", tooltip="Save the schedule"),
    ]

    def __init__(self, view: ScheduleView) -> None:
        super().__init__()
        self._view = view

    def body(self) -> ComposeResult:
        view = self._view
        rule = view.drills if view.drills in (EVERY, DAILY) else NTH
        with FormBody():
            when = Text(view.words if view.cron else "", placeholder="empty: only on demand")
            yield Field("Checkpoints", when, id="when")
            yield Field("Time zone", Text(view.time_zone or host_zone()), id="zone")
            runs = Choice((("on", "by itself"), ("off", "paused")), "off" if view.cron and not view.enabled else "on")
            yield Field("It runs", runs, id="runs")
            rules = ((EVERY, "every snapshot"), (NTH, "every Nth"), (DAILY, "the newest of each day"))
            yield Field("Drilled", Choice(rules, rule), id="drills")
            nth = Text(view.drills.removeprefix("every ") if rule == NTH else "5")
            yield Field("N", nth, id="nth")
            with Horizontal(classes="buttons"):
                yield button("Save", "submit")

    def on_mount(self) -> None:
        self.title_line(Phrase("Schedule of ", Tone.STRONG) + Phrase(self._view.connection, Tone.STRONG))
        self._show_rule()
        self._foresee()

    @on(Text.Changed)
    def _typed(self, event: Text.Changed) -> None:
        if event.input in (self.field("when").control, self.field("zone").control):
            self._foresee()

    @on(Choice.Changed)
    def _chosen(self) -> None:
        self._show_rule()

    def _show_rule(self) -> None:
        rule, drills = self.field("drills").text, self.field("drills")
        self.field("nth").display = rule == NTH
        drills.say(*(() if rule == EVERY else (Phrase("the others are unproven until they are drilled", Tone.DIM),)))

    def _foresee(self) -> None:
        """Say what the text means so far, and when that is."""
        when, zone = self.field("when"), self.field("zone")
        zone.say()
        if not when.text:
            when.say(Phrase("such as: ", Tone.DIM) + Phrase(" · ".join(PRESETS[:4]), Tone.DIM))
            return
        try:
            words, slots = self.engine.schedules.preview(when.text, zone.text, count=SHOWN)
        except ConfigError as e:
            where = zone if e.code == "config.zone" else when
            if where is zone:
                when.say()
            where.say(Phrase("… ", Tone.DIM) + Phrase(e.message, Tone.DIM), Phrase(f"  {e.hint}", Tone.DIM))
            return
        next_ones = (Phrase("  next ", Tone.DIM) + Phrase(local) for local in slots.local)
        when.say(Phrase("✓ ", Tone.GOOD) + Phrase(words), *next_ones)

    def submit(self) -> None:
        when, zone = self.field("when").text, self.field("zone").text
        rule, nth = self.field("drills").text, self.field("nth").text
        self.field("nth").say()
        if rule == NTH and not (nth.isascii() and nth.isdigit() and 1 <= int(nth) <= 1000):
            self.refuse("nth", "say a number from 1 to 1000")
            return
        drills = f"every {int(nth)}" if rule == NTH else rule
        enabled = self.field("runs").text == "on"
        name, had = self._view.connection, self._view.cron is not None
        door = self.engine.schedules

        def save(_token: CancelToken) -> ScheduleView:
            if when:
                return door.set(name, when=when, zone=zone, enabled=enabled, drills=drills)
            view = door.set(name, drills=drills)
            if had:
                door.remove(name)
            return view if not had else door.show(name)

        self.call("try", save, self._saved, self._broke)

    def _saved(self, view: ScheduleView) -> None:
        self.console.nudge()
        paused = view.cron is not None and not view.enabled
        self.dismiss(f"{view.words}{f', {view.time_zone}' if view.time_zone else ''}{', paused' if paused else ''}")

    def _broke(self, error: OffsiteError) -> None:
        field = {"config.cron": "when", "config.zone": "zone"}.get(error.code)
        if field is None:
            self.fail(error)
        else:
            self.refuse(field, error.message, error.hint)
