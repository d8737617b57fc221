"""Alerts in the console: the line on the ledger, the section of the settings, the form, and hostile text in them."""

from __future__ import annotations

import asyncio
import os
import re
from datetime import timedelta
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine import catalog as catalogs
from engine.model import ChannelKind, Incident, IncidentKind, JobError
from screens.forms.channel import AddChannel
from screens.ledger import LedgerPage
from screens.phrase import Phrase
from screens.present_alerts import incident_line
from screens.settings import SettingsPage
from tests.fixtures.history import NOW, History, acme
from tests.fixtures.hostile_text import STRINGS
from tests.fixtures.pilot import SIZES, app_of, console, screen_text, settled, until, until_shown
from tests.fixtures.receiver import Receiver, answer
from tests.tui.driving import field, paste, play, write
from tests.tui.test_hostile_text import check

GOLDEN = Path(__file__).parent / "golden"


def something_wrong(history: History) -> None:
    """acme's three databases; what is wrong with them is open, and one of it was seen."""
    acme(history)
    history.engine.alerts.check()
    overdue = next(i for i in history.engine.alerts.incidents() if i.kind is IncidentKind.OVERDUE)
    history.engine.alerts.acknowledge(overdue.id, "Kim looks at it")


async def to_alerts(pilot: Pilot[None]) -> None:
    app_of(pilot).go("settings", section="alerts")
    await until(pilot, lambda: isinstance(pilot.app.screen, SettingsPage), "the settings")
    await settled(pilot)


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x36"])
@pytest.mark.parametrize("name", ["ledger-incidents", "settings-alerts"])
def test_screen(history: History, name: str, size: tuple[int, int]) -> None:
    something_wrong(history)
    history.engine.alerts.add("ops", ChannelKind.WEBHOOK, "https://hooks.example.com/services/T0/B0/XX")
    history.engine.alerts.add("dead-man", ChannelKind.HEARTBEAT, "https://beats.example.com/abc")
    shown: list[str] = []

    async def scene(pilot: Pilot[None]) -> None:
        if name == "settings-alerts":
            await to_alerts(pilot)
        await settled(pilot)
        shown.append(screen_text(pilot))

    play(history, scene, size)
    text = re.sub(r"· [0-9a-f]{12}\b", "· ffffffffffff", shown[0]) + "\n"
    path = GOLDEN / f"{name}-{size[0]}x{size[1]}.txt"
    if os.environ.get("OFFSITEDB_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def test_the_line_on_the_ledger_is_there_only_when_something_is_open(history: History) -> None:
    shop = history.connection("shop")

    async def scene(pilot: Pilot[None]) -> None:
        line = pilot.app.screen.query_one("#incidents")
        assert not line.display
        history.failed(shop, NOW, JobError("pg.unreachable", "the server is away", "Wait.", 20))
        history.engine.alerts.check()
        await pilot.press("r")
        await until_shown(pilot, "! 1 incident (i) · shop: checkpoint: no snapshot: the server is away")
        await pilot.press("i")
        await until_shown(pilot, "What to do")
        await pilot.press("a")
        await write(pilot, "I am on it")
        await pilot.press("enter")
        await until_shown(pilot, "I am on it")
        history.drilled(shop, NOW + timedelta(minutes=1))
        history.engine.alerts.check()
        await pilot.press("escape", "r")
        await until_shown(pilot, "✓ no incident is open")
        await pilot.press("1")
        await until(pilot, lambda: isinstance(pilot.app.screen, LedgerPage), "the ledger")
        await until(pilot, lambda: not line.display, "the line to go")

    play(history, scene)


def test_a_webhook_is_added_tested_and_removed(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await to_alerts(pilot)
        await until_shown(pilot, "Nobody is told of anything.")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, AddChannel), "the form")
        field(pilot, "name").take_focus()
        await write(pilot, "ops")
        field(pilot, "url").take_focus()
        await paste(pilot, receiver.url)
        await pilot.press("ctrl+t")
        await until_shown(pilot, "the URL has to begin with https://")
        assert "s3cr3t" not in screen_text(pilot)
        field(pilot, "private").control.value = "yes"
        await pilot.press("ctrl+t")
        await until_shown(pilot, "It signs with this secret:")
        await pilot.press("ctrl+y")
        assert pilot.app.clipboard.startswith("whsec_")
        await pilot.press("escape", "escape")
        await until_shown(pilot, "webhook")
        await pilot.press("t")
        await until_shown(pilot, "ops took it")
        receiver.instead.append(answer(500))
        await pilot.press("escape", "t")
        await until_shown(pilot, "answered 500")
        await until_shown(pilot, "did not arrive")
        await pilot.press("escape", "y")
        assert "s3cr3t" not in pilot.app.clipboard
        for typed, told in (("no", "ops stays"), ("ops", "Nobody is told")):
            await pilot.press("escape", "x")
            await write(pilot, typed)
            await pilot.press("enter")
            await until_shown(pilot, told)

    with Receiver() as receiver:
        play(history, scene)
        assert len(receiver.received) == 2


def test_a_heartbeat_needs_no_more_than_its_url(history: History) -> None:
    async def scene(pilot: Pilot[None]) -> None:
        await to_alerts(pilot)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, AddChannel), "the form")
        field(pilot, "kind").control.value = "heartbeat"
        await pilot.press("ctrl+t")
        await until_shown(pilot, "it needs a name")
        field(pilot, "name").control.value = "dead-man"
        await pilot.press("ctrl+t")
        await until_shown(pilot, "this is needed")
        field(pilot, "url").control.value = "https://beats.example.com/x"
        await pilot.press("ctrl+t")
        await until_shown(pilot, "dead-man is told of incidents")

    play(history, scene)
    [made] = history.engine.alerts.channels()
    assert (made.kind, made.every_s) == (ChannelKind.HEARTBEAT, 300)


@pytest.mark.parametrize("step", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_hostile_text_is_shown_harmlessly(history: History, step: int) -> None:
    with history.engine.catalog.write() as tx:
        for n, text in enumerate(STRINGS[::step]):
            kind = list(IncidentKind)[n % len(IncidentKind)]
            catalogs.incidents.add(tx, Incident(f"{n:032x}", kind, str(n), text, text, text, NOW))
            catalogs.incidents.acknowledge(tx, f"{n:032x}", NOW, text, text)

    async def scene() -> None:
        async with console(history, (120, 36)) as pilot:
            check(pilot)
            await pilot.press("i")
            await settled(pilot)
            for _ in STRINGS[::step]:
                await pilot.press("down")
                check(pilot)

    asyncio.run(scene())


@pytest.mark.parametrize("text", STRINGS)
def test_the_line_holds_nothing_unseen(text: str) -> None:
    line = incident_line([Incident("i", IncidentKind.FAILED, "s", text, text, text, NOW)])
    assert line.fit(80).cells == 80
    assert Phrase(text).text in line.text
