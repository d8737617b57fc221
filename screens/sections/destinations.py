"""Where artifacts go: list, try, policy, remove."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.errors import OffsiteError
from engine.model.retention import ReconciliationView
from engine.model.views import DestinationView, PolicyView, StepView
from engine.model.watch import DestinationUse, Overview
from engine.service import CancelToken
from screens import present_retention, present_settings
from screens.base import error_lines
from screens.phrase import Phrase, Tone
from screens.sections.base import Section, SectionRows
from screens.widgets.bar import confirm
from screens.widgets.lines import Lines
from screens.widgets.rows import Column, Rows
from screens.widgets.say import Say

COLUMNS = (
    Column("NAME", 14, grow=1),
    Column("WHERE", 24, grow=3),
    Column("HOLDS", 12, right=True, drop=2),
    Column("TRIED", 13, right=True, drop=1),
)


class DestinationsSection(Section):
    """A list, and below it the one under the cursor, its test or its policy."""

    PLACE = "destinations"
    TITLE = "Destinations"
    FOCUS = "#destinations"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "new", id="destination.new", tooltip="Add a bucket or a folder; tried before it is saved"),
        Binding("e", "keys", "new keys", show=False, id="destination.keys", tooltip="Other keys for the bucket"),
        Binding("t", "try", "test", id="destination.test", tooltip="A real round trip: upload, commit, read, delete"),
        Binding("p", "policy", "policy", id="destination.policy", tooltip="What the keys must be allowed to do"),
        Binding(
            "v",
            "reconcile",
            "reconcile",
            show=False,
            id="destination.reconcile",
            tooltip="Hold what lies there against the ledger",
        ),
        Binding("x", "remove", "remove", id="destination.remove", tooltip="Forget it; what lies there stays"),
    ]

    def __init__(self, examine: Callable[[], None]) -> None:
        super().__init__(examine)
        self._uses: dict[str, DestinationUse] = {}
        self._tests: dict[str, tuple[Phrase, ...]] = {}
        """What the last test of each destination said, by name."""
        self._last: dict[str, ReconciliationView] = {}
        """The newest reconciliation of each destination, by name."""
        self._policy: PolicyView | None = None
        self._prune = False

    def compose(self) -> ComposeResult:
        yield SectionRows[DestinationView](
            COLUMNS,
            key=lambda d: d.name,
            cells=lambda d: present_settings.destination_cells(d, self._uses.get(d.name), self.face.now()),
            id="destinations",
        )
        yield Lines(id="destination")
        yield Say(id="no-destination")

    def on_mount(self) -> None:
        self.query_one("#no-destination").display = False

    @property
    def item(self) -> DestinationView | None:
        item = self.query_one("#destinations", Rows).item
        return item if isinstance(item, DestinationView) else None

    def entered(self) -> None:
        self._load()

    def look(self, overview: Overview) -> None:
        uses = {use.name: use for use in overview.destinations}
        if uses != self._uses:
            self._uses = uses
            self._load()

    def _load(self) -> None:
        def read(_token: CancelToken) -> tuple[DestinationView, ...]:
            found = self.engine.destinations.list()
            self._last = {d.name: last for d in found if (last := self.engine.reconcile.last(d.name)) is not None}
            return found

        self.face.call("destinations", read, self._show)

    def _show(self, found: tuple[DestinationView, ...]) -> None:
        rows, empty = self.query_one("#destinations", Rows), self.query_one("#no-destination", Say)
        rows.styles.height = 1 + max(1, min(len(found), 8))
        rows.show(found)
        empty.display = not found
        empty.show(
            Phrase("  There is no destination yet.", Tone.STRONG),
            Phrase("  Press n: a bucket or a folder, tried with a real round trip before it is saved.", Tone.DIM),
        )
        self._show_item()

    @on(Rows.Moved, "#destinations")
    def moved(self) -> None:
        self._policy = None
        self._show_item()

    @on(Rows.Chosen, "#destinations")
    def chosen(self) -> None:
        """Enter: back from the policy to the destination itself."""
        self.moved()

    def _show_item(self) -> None:
        board, item = self.query_one("#destination", Lines), self.item
        if item is None:
            board.show()
        elif self._policy is not None:
            board.show(*present_settings.policy_lines(self._policy, prune=self._prune))
        else:
            told = self._tests.get(item.name, ())
            about = present_settings.destination_lines(item, self._uses.get(item.name), self._last.get(item.name))
            board.show(*about, *((Phrase(), *told) if told else ()))

    def copyable(self) -> tuple[str, str] | None:
        item = self.item
        if item is None:
            return None
        if self._policy is not None:
            return "the policy", self._policy.prune if self._prune else self._policy.worker
        return f"the place of {item.name}", item.where

    # what the keys do

    def action_new(self) -> None:
        from screens.forms.destination import AddDestination  # late: the form is large and seldom needed

        self.app.push_screen(AddDestination(), lambda _made: self._load())

    def action_keys(self) -> None:
        item = self.item
        if item is None:
            return
        if item.kind != "s3":
            self.face.notice(Phrase(f"{item.name} is a folder and has no keys", Tone.DIM))
            return
        from screens.forms.destination import EditDestinationKeys  # late, as above

        def changed(name: str | None) -> None:
            if name is not None:
                self._load()
                self.face.done(f"{name} has new keys")

        self.app.push_screen(EditDestinationKeys(item.name), changed)

    def action_try(self) -> None:
        item = self.item
        if item is None:
            return
        name = item.name

        def told(*lines: Phrase) -> None:
            self._tests[name] = lines
            self._policy = None
            self._load()

        def failed(error: OffsiteError) -> None:
            told(*(Phrase(" ") + line for line in error_lines(error)))
            self.face.fail(error)

        def went(steps: tuple[StepView, ...]) -> None:
            told(*present_settings.step_lines(name, steps))
            self.face.done(f"{name} works: every step of the round trip went well")

        told(Phrase(" ● ", Tone.BUSY) + Phrase(f"trying {name}: upload, commit, look, read, list, delete"))
        self.face.call(f"try {name}", lambda _token: self.engine.destinations.test(name), went, failed, keep=True)

    def action_reconcile(self) -> None:
        item = self.item
        if item is None:
            return
        name = item.name

        def told(*lines: Phrase) -> None:
            self._tests[name] = lines
            self._policy = None
            self._load()

        def failed(error: OffsiteError) -> None:
            told(*(Phrase(" ") + line for line in error_lines(error)))
            self.face.fail(error)

        def went(found: ReconciliationView) -> None:
            told(*present_retention.reconciled_lines(found))
            self.face.console.nudge()

        def run(token: CancelToken) -> ReconciliationView:
            return self.engine.reconcile.run(name, cancel=token)

        told(Phrase(" ● ", Tone.BUSY) + Phrase(f"listing {name}, and holding it against the ledger"))
        self.face.call(f"reconcile {name}", run, went, failed, keep=True)

    def action_policy(self) -> None:
        """The worker's policy, then the prune credential's, then the worker's again."""
        item = self.item
        if item is None:
            return
        if self._policy is not None:
            self._prune = not self._prune
            self._show_item()
            return
        self.face.call("policy", lambda _token: self.engine.destinations.policy(item.name), self._show_policy)

    def _show_policy(self, policy: PolicyView) -> None:
        self._policy, self._prune = policy, False
        self._show_item()

    def action_remove(self) -> None:
        item = self.item
        if item is None:
            return
        name = item.name

        def gone(_none: None) -> None:
            self._load()
            self.face.console.nudge()
            self.face.done(f"{name} is forgotten; what lies there was not touched")

        def agreed() -> None:
            self.face.call("remove", lambda _token: self.engine.destinations.remove(name), gone)

        def refused() -> None:
            self.face.notice(Phrase(f"{name} stays", Tone.DIM))

        self.face.ask(confirm(f"Forget {name}? What lies there stays.", name, agreed, refused))
