"""What is kept of a connection's snapshots: the rules, and below them what they do to the snapshots that there are.

Every key that is typed plans anew, and changes nothing. Saving removes nothing either: a worker prunes, at most daily,
and plans anew before it does.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from engine.errors import ConfigError, OffsiteError
from engine.model.retention import DAY_S, RetentionPlan, RetentionPolicy, RetentionView
from engine.service import CancelToken
from engine.service.durations import duration_text, parse_duration
from screens.forms.form import Form, FormBody, button
from screens.phrase import Phrase, Tone
from screens.present_retention import plan_lines
from screens.widgets.fields import Field, Text
from screens.widgets.lines import Lines

COUNTS = (
    ("last", "The newest"),
    ("hourly", "One an hour, for"),
    ("daily", "One a day, for"),
    ("weekly", "One a week, for"),
    ("monthly", "One a month, for"),
    ("yearly", "One a year, for"),
)


class RetentionForm(Form[str | None]):
    """Closes with what was saved, in words, or None."""

    TITLE_TEXT = "Retention"
    HELP = (
        "Each number says how many hours, days, weeks, months or years keep their newest proven snapshot; an empty one "
        "is no rule. What is pinned, used by a job or locked by the destination stays in any case, and so does the "
        "newest proven snapshot. With no rule at all everything is kept. Only proven snapshots take a place; the "
        "others stay until a newer one is proven, and some days longer."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t", "submit", "save", key_display="^t", id="retention.save", tooltip="Save these rules"),
    ]

    def __init__(self, view: RetentionView) -> None:
        super().__init__()
        self._view = view

    def body(self) -> ComposeResult:
        policy = self._view.policy
        with FormBody(id="rules"):
            for name, label in COUNTS:
                n = int(getattr(policy, f"keep_{name}")) if policy is not None else 0
                yield Field(label, Text(str(n) if n else ""), id=name)
            within = duration_text(policy.keep_within_s) if policy is not None and policy.keep_within_s else ""
            yield Field("All of the last", Text(within, placeholder="36h, 14d"), id="within")
            tags = ", ".join(policy.keep_tags) if policy is not None else ""
            yield Field("With these tags", Text(tags, placeholder="release-*, audit"), id="tags")
            unproven = duration_text(policy.keep_unproven_s if policy is not None else 7 * DAY_S)
            yield Field("Unproven ones for", Text(unproven), id="unproven")
            with Horizontal(classes="buttons"):
                yield button("Save", "submit")
        yield Lines(id="kept")

    def on_mount(self) -> None:
        self.title_line(Phrase("Retention of ", Tone.STRONG) + Phrase(self._view.connection, Tone.STRONG))
        self._preview()

    @on(Text.Changed)
    def _typed(self) -> None:
        self._preview()

    def _preview(self) -> None:
        """Plan with what is entered; the answer to what was entered before is forgotten."""
        try:
            policy = self._policy()
        except ConfigError as e:
            self.calls.cancel("plan")
            self._show(Phrase(" … ", Tone.DIM) + Phrase(e.message, Tone.DIM))
            return
        if policy is None:
            self.calls.cancel("plan")
            self._show(Phrase(" no rule: everything is kept", Tone.DIM))
            return
        name, door = self._view.connection, self.engine.retention

        def plan(_token: CancelToken) -> RetentionPlan:
            return door.plan(name, policy)

        def failed(error: OffsiteError) -> None:
            self._show(Phrase(" ✗ ", Tone.BAD) + Phrase(error.message))

        self.call("plan", plan, lambda found: self._show(*plan_lines(found)), failed)

    def _show(self, *lines: Phrase) -> None:
        self.query_one("#kept", Lines).show(*lines)

    def _policy(self) -> RetentionPolicy | None:
        """What is entered; None without a rule. Raises ConfigError."""
        counts = {name: self._count(name, label) for name, label in COUNTS}
        within, unproven = self.field("within").text, self.field("unproven").text
        tags = tuple(part for text in self.field("tags").text.split(",") if (part := text.strip()))
        if not any(counts.values()) and not within and not tags:
            return None
        kept = self._view.policy
        return RetentionPolicy(
            **{f"keep_{name}": n for name, n in counts.items()},
            keep_within_s=parse_duration(within) if within else None,
            keep_tags=tags,
            keep_unproven_s=(parse_duration(unproven) if unproven else None) or 7 * DAY_S,
            keep_newest_proven=kept.keep_newest_proven if kept is not None else 1,
        )

    def _count(self, name: str, label: str) -> int:
        text = self.field(name).text
        if text and not (text.isascii() and text.isdigit() and len(text) <= 6):
            raise ConfigError("config.invalid", f"{label.lower()} {text[:20]!r} is no number")
        return int(text or 0)

    def submit(self) -> None:
        try:
            policy = self._policy()
        except ConfigError as e:
            self.fail(e)
            return
        name, door = self._view.connection, self.engine.retention

        def save(_token: CancelToken) -> RetentionView:
            return door.clear(name) if policy is None else door.set(name, policy)

        self.call("try", save, lambda view: self.dismiss(view.words))
