"""The receipt set for people: what it says, what is copied and written, and that it can be checked without us."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import stat
import subprocess
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from textual.pilot import Pilot

from engine.catalog.schema import drills
from engine.model import (
    CheckResult,
    DrillRecord,
    Failure,
    FingerprintResult,
    Normalised,
    NotCaptured,
    Skip,
    TableCount,
    TableResult,
    Verdict,
)
from screens.present_receipt import check_commands
from screens.receipt import ReceiptSheet
from screens.reports import ReportsPage
from screens.widgets.facts import Facts
from tests.fixtures.history import NOW, TABLES, History
from tests.fixtures.pilot import SIZES, app_of, console, screen_text, until, until_shown

Scene = Callable[[Pilot[None]], Awaitable[None]]


def play(history: History, drill: str, scene: Scene, size: tuple[int, int] = (80, 24)) -> None:
    """The receipt of ``drill``, on top of the reports."""

    async def run() -> None:
        async with console(history, size) as pilot:
            await pilot.press("5")
            await until(pilot, lambda: isinstance(pilot.app.screen, ReportsPage), "the page")
            app_of(pilot).push_screen(ReceiptSheet(drill))
            await until(pilot, lambda: isinstance(pilot.app.screen, ReceiptSheet), "the sheet")
            await until(pilot, lambda: any(word in receipt(pilot).text for word in ("Verdict", "✗")), "the receipt")
            await scene(pilot)

    asyncio.run(run())


def receipt(pilot: Pilot[None]) -> Facts:
    found = list(pilot.app.screen.query("#receipt").results(Facts))
    return found[0] if found else Facts()


def ended(history: History) -> DrillRecord:
    """A drill with something to say under every title."""
    shop = history.connection("shop", provider="Neon")
    history.drilled(shop, NOW - timedelta(days=1))
    return history.drilled(
        shop,
        NOW - timedelta(hours=1),
        Verdict.FAILED,
        failures=[Failure("drill.mismatch", "public.orders lost rows", "offsitedb drill shop@latest --wait")],
        restored=[
            TableResult("auth", "users", 88_241, 88_241),
            TableResult("public", "events", 4_102_533, None),
            TableResult("public", "orders", 1_002_117, 1_002_033),
        ],
        skips=[Skip("EVENT TRIGGER", "audit_ddl", "only a superuser can create it")],
        normalised=[Normalised("OWNER", "shop_owner", "everything belongs to the replaying role")],
        not_captured=[NotCaptured("table", "public.invoices", "no right to read", "GRANT SELECT ON public.invoices;")],
        tag="v2",
    )[1]


@pytest.mark.parametrize("size", SIZES)
def test_the_verdict_stands_first(history: History, size: tuple[int, int]) -> None:
    drill = ended(history)

    async def scene(pilot: Pilot[None]) -> None:
        lines = screen_text(pilot).splitlines()
        assert lines[0].strip() == "Receipt of shop · drilled 2026-11-23 13:03:44"
        assert lines[1].strip() == "Verdict      ✗ FAILED"
        assert "public.orders lost rows  [drill.mismatch]" in screen_text(pilot)
        assert "→ offsitedb drill shop@latest --wait" in screen_text(pilot)

    play(history, drill.id, scene, size)


def test_it_says_everything(history: History) -> None:
    drill = ended(history)

    async def scene(pilot: Pilot[None]) -> None:
        said = receipt(pilot).text
        for line in (
            "Restored     in 94 s · 1 of 3 tables equal · 1.1M rows (1,090,274)",
            "Captured     3 of the 4 tables in the database",
            "Tables  2 of 3 differ",
            "public.orders  1,002,117  1,002,033  ✗ -84",
            "public.events  4,102,533  –  ? unknown",
            "restore data and indexes  83.7 s",
            "Isolation    user offsitedb-drill, no network, sandbox bubblewrap",
            "pg_restore 17.11, scratch server 17.11",
            "Captured as  role reader, over TLSv1.3, verify-full",
            "Counted      exactly",
            "Settings     encoding UTF8",
            "             flags --no-owner --exit-on-error --jobs=2",
            "event trigger audit_ddl: only a superuser can create it",
            "owner shop_owner: everything belongs to the replaying role",
            "! table public.invoices: no right to read",
            "GRANT SELECT ON public.invoices;",
            "Signature    ✓",
            "Chain        ✓ follows the receipt before it",
            f"SHA-256      {drill.receipt_sha256}",
            "ssh-keygen -Y verify",
            "auth.users  88,241  88,241  ✓ equal",
        ):
            assert line in said, (line, said)
        assert said.index("public.orders  1,002,117") < said.index("Phases") < said.index("auth.users")

    play(history, drill.id, scene)


def test_a_good_one_says_so(history: History) -> None:
    snapshot, drill = history.drilled(history.connection("shop"), NOW - timedelta(hours=1))

    async def scene(pilot: Pilot[None]) -> None:
        said = receipt(pilot).text
        assert "every one came back with the rows that were captured" in said
        assert "✓ the first receipt of this installation" in said
        assert drill.id in said

    play(history, snapshot.id, scene)  # by the snapshot as well


def test_content_and_checks_are_a_line_each(history: History) -> None:
    shop = history.connection("shop")
    drill = history.drill(
        shop,
        history.snapshot(shop, NOW - timedelta(hours=1)),
        Verdict.FAILED,
        fingerprints=[FingerprintResult("public", name, "1", "1") for name in ("users", "orders")],
        checks=[
            CheckResult("newest", "SELECT 1", "1", "1", passed=True),
            CheckResult("many", "SELECT 2", ">2", "2", passed=False),
        ],
    )

    async def scene(pilot: Pilot[None]) -> None:
        said = receipt(pilot).text
        assert "Content      content equal in 2 of 2 tables" in said
        assert "Checks       1 of 2 checks hold; not many" in said

    play(history, drill.id, scene)


def test_a_receipt_that_was_changed_is_no_receipt(history: History) -> None:
    drill = ended(history)
    with history.engine.catalog.write() as tx:
        changed = drill.receipt.replace('"verdict":"FAILED"', '"verdict":"PROVEN"')
        assert changed != drill.receipt
        tx.change(update(drills).where(drills.c.id == drill.id).values(receipt=changed))

    async def scene(pilot: Pilot[None]) -> None:
        await until_shown(pilot, "[format.receipt]")
        await pilot.press("e", "Y")
        assert "Write the receipt" not in screen_text(pilot)

    play(history, drill.id, scene)


def test_a_broken_chain_is_said(history: History) -> None:
    drill = ended(history)
    with history.engine.catalog.write() as tx:
        tx.change(update(drills).where(drills.c.id != drill.id).values(receipt_sha256="0" * 64))

    async def scene(pilot: Pilot[None]) -> None:
        assert "Chain        ✗ does not follow the receipt before it" in receipt(pilot).text

    play(history, drill.id, scene)


def test_copying_a_row_and_the_document(history: History) -> None:
    drill = ended(history)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("right_square_bracket", "down", "down", "y")
        await until_shown(pilot, "copied the row")
        assert pilot.app.clipboard == "public.events\t4102533\tNone\t? unknown"
        await pilot.press("escape", "Y")
        await until_shown(pilot, "copied the signed receipt")
        assert pilot.app.clipboard == drill.receipt
        await pilot.press("escape", "home", "left_square_bracket", "y")
        await until_shown(pilot, "copied the verdict")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ReportsPage), "the page")

    play(history, drill.id, scene)


@pytest.mark.parametrize("size", SIZES)
def test_export_writes_what_was_signed_and_replaces_nothing(
    history: History, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drill = ended(history)
    monkeypatch.setenv("HOME", str(tmp_path))
    made = tmp_path / f"shop-receipt-{drill.id[:12]}.json"

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("e")
        await until_shown(pilot, f"~/{made.name}")
        await pilot.press("escape", "e", "enter")
        await until_shown(pilot, "written as it was signed")
        assert stat.S_IMODE(made.stat().st_mode) == 0o600
        assert hashlib.sha256(made.read_bytes()).hexdigest() == drill.receipt_sha256
        await pilot.press("escape", "e", "enter")
        await until_shown(pilot, "nothing is ever replaced from here")
        await pilot.press("escape", "e", "ctrl+u", "enter")
        await until_shown(pilot, "no file was named")
        await pilot.press("escape", "e", "ctrl+u", *"/proc/x.json", "enter")
        await until_shown(pilot, "[config.file]")

    play(history, drill.id, scene, size)
    assert made.read_text() == drill.receipt
    assert list(tmp_path.iterdir()) == [made]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen on this machine")
def test_the_commands_check_it_without_this_program(history: History, tmp_path: Path) -> None:
    """As they are shown, in a plain shell; and they find a changed receipt."""
    drill = ended(history)
    commands = check_commands(history.engine.keys.signers())
    (tmp_path / "receipt.json").write_text(drill.receipt)
    good = subprocess.run(["sh", "-c", commands], cwd=tmp_path, capture_output=True, text=True)
    assert good.returncode == 0, good.stderr
    assert good.stdout.startswith('Good "offsitedb-receipt" signature for offsitedb with ED25519 key')
    (tmp_path / "receipt.json").write_text(drill.receipt.replace("1002033", "1002117"))
    bad = subprocess.run(["sh", "-c", commands], cwd=tmp_path, capture_output=True, text=True)
    assert bad.returncode != 0


def test_hostile_names_do_not_spoil_the_commands(history: History, tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen on this machine")
    name = '","signature":"x"}\\n%s $(id)'
    drill = history.drilled(history.connection("shop"), NOW, tables=[*TABLES, TableCount("public", name, 1)], tag=name)[
        1
    ]
    (tmp_path / "receipt.json").write_text(drill.receipt)
    commands = check_commands(history.engine.keys.signers())
    good = subprocess.run(["sh", "-c", commands], cwd=tmp_path, capture_output=True, text=True)
    assert good.returncode == 0, good.stderr
